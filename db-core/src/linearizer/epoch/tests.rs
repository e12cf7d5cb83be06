//! What is kept of an epoch that has ended.

use super::super::findings::SharedFindings;
use super::super::{Facts, Past};
use super::*;

struct Nothing;

impl Past for Nothing {
    fn standing(&self, _: EntryNumber) -> Option<Standing> {
        None
    }

    fn parents(&self, _: EntryNumber) -> Vec<EntryNumber> {
        Vec::new()
    }

    fn facts(&self, _: EntryNumber) -> Option<Facts> {
        None
    }
}

fn writer(number: u8) -> WriterKey {
    WriterKey::from_bytes([number; 32])
}

/// An entry that goes by all waves below `wave`, and what it sees of the first of three indexers.
fn vote(number: u64, by: u8, wave: u64, sees_of_first: u64) -> (Node, Standing) {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&number.to_be_bytes());
    let node = Node {
        number: EntryNumber(number),
        hash: EntryHash::from_bytes(hash),
        writer: writer(by),
        seq: 0,
        time: 0,
        epoch: 0,
        wave,
        parents: Vec::new(),
        is_ack: false,
        is_fork: false,
    };
    let mut seen = vec![Seen::default(); 3];
    seen[0].next = sees_of_first;
    (node, Standing { epoch: 0, rise: wave, seen })
}

#[test]
fn of_an_ended_epoch_late_entries_look_at_what_passes_the_end_and_at_nothing_else() {
    let mut epoch = Epoch::new((0..3).map(writer).collect());
    let (forked, findings) = (BTreeSet::new(), SharedFindings::default());
    let ancestry = Ancestry { forked: &forked, forks: None, findings: &findings, past: &Nothing };
    let count = |epoch: &mut Epoch, (node, standing): (Node, Standing)| {
        epoch.count(&node, &standing, &ancestry);
        let key = (node.wave - 1, node.hash);
        epoch.proposals.contains_key(&key).then_some(key)
    };
    let end = count(&mut epoch, vote(0, 0, 1, 1)).unwrap();
    epoch.finish_anchor(end);
    epoch.end();
    // Its leader has forked its log: of the proposals of the next wave some know the end, and most do not.
    for number in 1..1_000 {
        let sees_end = number % 100 == 0;
        let proposal = count(&mut epoch, vote(number, 1, 2, u64::from(sees_end))).unwrap();
        assert_eq!(epoch.past_end.contains(&proposal), sees_end);
    }
    assert_eq!((epoch.proposals.len(), epoch.past_end.len()), (1_000, 10));
    assert_eq!(epoch.passing(end), epoch.past_end);
}
