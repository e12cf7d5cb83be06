//! Random histories of concurrent edits: what is left of each is what walking through the graph says.

use std::collections::{BTreeMap, BTreeSet};

use bson::{Bson, rawdoc};
use proptest::prelude::*;

use super::*;

/// What an entry of a random history assigned.
#[derive(Debug, Clone)]
struct Assigned {
    field: &'static str,
    value: i32,
}

/// Everything that the peers wrote, and what each entry's past holds, by walking.
struct Whole {
    order: Vec<EntryHash>,
    headers: BTreeMap<EntryHash, Header>,
    pasts: BTreeMap<EntryHash, BTreeSet<EntryHash>>,
}

impl Whole {
    fn of(peer: &Peer) -> Self {
        let entries: Vec<Entry> = peer.runs().iter().flat_map(|run| run.entries().to_vec()).collect();
        let mut pasts: BTreeMap<EntryHash, BTreeSet<EntryHash>> = BTreeMap::new();
        for entry in &entries {
            let mut past = BTreeSet::from([entry.hash]);
            for parent in entry.header.prev.iter().chain(&entry.header.parents) {
                past.extend(&pasts[parent]);
            }
            pasts.insert(entry.hash, past);
        }
        let headers = entries.into_iter().map(|entry| (entry.hash, entry.header)).collect();
        Self { order: peer.order().0, headers, pasts }
    }

    fn key(&self, entry: &EntryHash) -> (u64, WriterKey, u64) {
        let header = &self.headers[entry];
        (header.time, header.writer, header.seq)
    }

    /// The assignments of a field that no other has seen.
    fn maximal(&self, assignments: &[EntryHash]) -> Vec<EntryHash> {
        let is_seen =
            |one: &EntryHash| assignments.iter().any(|other| other != one && self.pasts[other].contains(one));
        assignments.iter().copied().filter(|one| !is_seen(one)).collect()
    }

    /// The winner by the rule: along the order, who has seen the winner wins, else the later time.
    fn winner(&self, assignments: &[EntryHash]) -> EntryHash {
        let mut winner: Option<EntryHash> = None;
        for entry in self.order.iter().filter(|entry| assignments.contains(entry)) {
            let wins = winner.is_none_or(|winner| {
                self.pasts[entry].contains(&winner) || self.key(entry) > self.key(&winner)
            });
            if wins {
                winner = Some(*entry);
            }
        }
        winner.unwrap()
    }
}

#[derive(Debug, Clone)]
enum Edit {
    Set(usize, usize, bool),
    Clock(usize, u64),
    Meet(usize, usize),
    Restart(usize),
}

fn any_edit(peers: usize) -> impl Strategy<Value = Edit> {
    let peer = 0..peers;
    prop_oneof![
        8 => (peer.clone(), 0..3_usize, any::<bool>()).prop_map(|(peer, field, replaces)| Edit::Set(peer, field, replaces)),
        2 => (peer.clone(), 0..2_000_u64).prop_map(|(peer, now)| Edit::Clock(peer, now)),
        4 => (peer.clone(), peer.clone()).prop_map(|(a, b)| Edit::Meet(a, b)),
        1 => peer.prop_map(Edit::Restart),
    ]
}

fn check_history(count: usize, edits: &[Edit], clocks_are_sane: bool) {
    const FIELDS: [&str; 3] = ["x", "y", "z"];
    let mut peers: Vec<Peer> = (1..=count as u8).map(|number| peer(number, &open())).collect();
    peers[0].insert(rawdoc! { "_id": 1, "x": 0, "y": 0, "z": 0 }).unwrap();
    let runs = peers[0].runs();
    for peer in &mut peers[1..] {
        peer.receive(&runs);
    }
    let mut written: BTreeMap<EntryHash, Assigned> = BTreeMap::new();
    for (number, edit) in edits.iter().enumerate() {
        match *edit {
            Edit::Set(index, field, replaces) => {
                let (field, value) = (FIELDS[field], number as i32 + 1);
                if clocks_are_sane {
                    peers[index].now_ms = 10_000 + number as u64;
                }
                let peer = &mut peers[index];
                let entry = if replaces {
                    let mut document = bson::Document::try_from(&*peer.document(1).unwrap()).unwrap();
                    document.insert(field, value);
                    let replacement = RawDocumentBuf::try_from(document).unwrap();
                    let mut request = update_request(rawdoc! { "_id": 1 }, replacement);
                    (request.multi, request.replacement) = (false, true);
                    peer.call(Request::Update(request)).unwrap().entry.unwrap()
                } else {
                    let path = <&bson::raw::CStr>::try_from(field).unwrap();
                    let mut fields = RawDocumentBuf::new();
                    fields.append(path, value);
                    peer.set(1, fields)
                };
                written.insert(entry, Assigned { field, value });
            }
            Edit::Clock(index, now_ms) => peers[index].now_ms = now_ms,
            Edit::Meet(a, b) if a != b => {
                let (low, high) = peers.split_at_mut(a.max(b));
                meet(&mut low[a.min(b)], &mut high[0]);
                assert_eq!(low[a.min(b)].digest(), high[0].digest());
            }
            Edit::Meet(..) => {}
            Edit::Restart(index) => {
                let peer = peers.remove(index);
                peers.insert(index, peer.restart());
            }
        }
    }
    for _ in 0..2 {
        for index in 1..count {
            let (low, high) = peers.split_at_mut(index);
            meet(&mut low[index - 1], &mut high[0]);
        }
    }
    let (first, last) = (&peers[0], &peers[count - 1]);
    assert_eq!((first.digest(), first.order()), (last.digest(), last.order()));

    let whole = Whole::of(first);
    let document = first.document(1).unwrap();
    let conflicts = first.conflicts();
    for field in FIELDS {
        let assignments: Vec<EntryHash> =
            written.iter().filter(|(_, assigned)| assigned.field == field).map(|(entry, _)| *entry).collect();
        if assignments.is_empty() {
            assert_eq!(document.get_i32(field).ok(), Some(0));
            continue;
        }
        let maximal = whole.maximal(&assignments);
        let winner = whole.winner(&assignments);
        assert_eq!(document.get_i32(field).ok(), Some(written[&winner].value), "{field}");
        assert!(maximal.contains(&winner), "what somebody has seen and written over is gone");
        if clocks_are_sane {
            assert_eq!(maximal.iter().max_by_key(|entry| whole.key(entry)), Some(&winner));
        }
        for loser in maximal.iter().filter(|entry| **entry != winner) {
            let value = Some(Bson::Int32(written[loser].value));
            let is_listed = conflicts
                .iter()
                .any(|conflict| conflict.path.as_deref() == Some(field) && conflict.loser.value == value);
            assert!(is_listed, "what lost is listed: {field} {value:?}");
        }
    }
    assert!(first.listed("system.rejected").is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 300, ..ProptestConfig::default() })]

    #[test]
    fn of_two_peers_every_field_is_the_last_of_what_nobody_had_seen(
        edits in proptest::collection::vec(any_edit(2), 1..40),
        clocks_are_sane in any::<bool>(),
    ) {
        check_history(2, &edits, clocks_are_sane);
    }

    #[test]
    fn of_three_peers_every_field_is_the_last_of_what_nobody_had_seen(
        edits in proptest::collection::vec(any_edit(3), 1..60),
        clocks_are_sane in any::<bool>(),
    ) {
        check_history(3, &edits, clocks_are_sane);
    }
}
