//! A run is no more than its entries: whoever takes it whole, and whoever has had them one by one, ends with the same.

use bson::rawdoc;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// What a forged entry carries.
#[derive(Debug, Clone, Default)]
struct Carried {
    operations: Vec<Operation>,
    parents: Vec<EntryHash>,
    position: (u64, u64),
}

fn carried(epoch: u64, wave: u64) -> Carried {
    Carried { position: (epoch, wave), ..Carried::default() }
}

/// Entries of one log that follow one another, the first of them `prev`.
fn entries_after(peer: &Peer, author: &SigningKey, prev: Option<&Header>, all: &[Carried]) -> Vec<Entry> {
    let id = &peer.engine.id;
    let mut before = prev.map(|header| (header.hash(id), header.seq));
    let mut entries = Vec::new();
    for Carried { operations, parents, position } in all {
        let payload = match operations.as_slice() {
            [] => Vec::new(),
            some => crate::payload::pack(&crate::operation::encode(some)),
        };
        let mut parents = parents.clone();
        parents.sort_unstable();
        parents.dedup();
        let header = Header {
            writer: WriterKey::from_bytes(author.verifying_key().to_bytes()),
            seq: before.map_or(0, |(_, seq)| seq + 1),
            prev: before.map(|(hash, _)| hash),
            parents,
            time: 1_000_000,
            epoch: position.0,
            wave: position.1,
            checkpoint: None,
            payload_length: payload.len() as u32,
            payload_hash: *blake3::hash(&payload).as_bytes(),
        };
        let hash = header.hash(id);
        before = Some((hash, header.seq));
        entries.push(Entry { header, hash, payload });
    }
    entries
}

fn signed(entries: &[Entry], author: &SigningKey) -> VerifiedRun {
    VerifiedRun::sign(entries.to_vec(), author).unwrap()
}

impl Peer {
    /// The end of a log; of a forked one the longest branch.
    fn end_of_log(&self, writer: &WriterKey) -> Option<Header> {
        let log = self.log();
        let tips = log.tips().unwrap().into_iter().filter(|tip| tip.writer == *writer);
        let head = tips.max_by_key(|tip| tip.length)?.head;
        Some(log.record(log.number_of(&head).unwrap().unwrap()).unwrap().unwrap().header)
    }

    /// The ends of all logs but one.
    fn heads_but(&self, writer: &WriterKey) -> Vec<EntryHash> {
        let tips = self.log().tips().unwrap();
        tips.into_iter().filter(|tip| tip.writer != *writer).map(|tip| tip.head).collect()
    }

    fn ingest(&mut self, run: &VerifiedRun) -> Result<(), IngestError> {
        let taken = self.engine.ingest(run).unwrap();
        self.settle();
        taken
    }

    /// Of each entry, by its hash, what the linearizer keeps of it.
    fn standings(&self) -> std::collections::BTreeMap<EntryHash, Vec<u8>> {
        let log = self.log();
        let record = |number| log.record(number).unwrap().unwrap();
        (0..log.end()).map(record).map(|record| (record.hash, record.standing)).collect()
    }

    fn truth(&self) -> impl PartialEq + std::fmt::Debug {
        (self.digest(), self.order(), self.standings(), self.engine.status().unwrap().epoch)
    }
}

#[test]
fn what_follows_the_vote_that_ends_an_epoch_is_judged_alike_in_one_run_with_it_and_after_it() {
    let founder = secret(1);
    let change = Operation::SetIndexers { writers: vec![writer_key(1), writer_key(2)] };
    for (follows_in_epoch, change_in_run) in [(0, false), (0, true), (1, false), (1, true)] {
        let (mut a, mut b) = (peer(5, &closed(1)), peer(6, &closed(1)));
        let changes = Carried { operations: vec![change.clone()], ..Carried::default() };
        let all = [changes, carried(0, 1), carried(follows_in_epoch, follows_in_epoch ^ 1)];
        let entries = entries_after(&a, &founder, None, &all);
        let first = usize::from(!change_in_run);
        if !change_in_run {
            for peer in [&mut a, &mut b] {
                peer.ingest(&signed(&entries[..1], &founder)).unwrap();
            }
        }
        b.ingest(&signed(&entries[first..2], &founder)).unwrap();
        assert_eq!(b.engine.status().unwrap().epoch, 1, "the vote ends the epoch");
        let whole = signed(&entries[first..], &founder);
        let of_a = a.ingest(&whole);
        let of_b = b.ingest(&whole);
        assert_eq!(of_b.is_ok(), follows_in_epoch == 1, "{of_b:?}");
        assert!(of_a.is_err(), "nobody is to have what not everybody takes");
        // Whatever one of them has the other takes from it.
        meet(&mut a, &mut b);
        assert_eq!(a.truth(), b.truth());
        assert_eq!(a.engine.end(), 2 + follows_in_epoch);
    }
}

#[test]
fn what_follows_a_vote_is_judged_alike_where_others_have_ended_its_epoch_long_ago() {
    let identity = closed(1);
    let (mut a, mut b) = (peer(1, &identity), peer(2, &identity));
    a.call(Request::SetIndexers { writers: (1..=3).map(writer_key).collect() }).unwrap();
    confirm(&mut [&mut a, &mut b]);
    assert_eq!(a.engine.status().unwrap().epoch, 1);
    a.call(Request::SetIndexers { writers: (1..=4).map(writer_key).collect() }).unwrap();
    // What a third indexer sees who hears of the proposal and not of the votes for it.
    let mut seen = peer(9, &identity);
    let mut others: Vec<&mut Peer> = vec![&mut a, &mut b];
    while others[0].engine.status().unwrap().epoch == 1 {
        for at in [0, 1] {
            let runs = others[1 - at].runs();
            others[at].receive(&runs);
            let mut moment = others[at].moment();
            moment.gone.insert(writer_key(3));
            if others[at].engine.status().unwrap().epoch == 1 {
                seen.receive(&others[1 - at].runs());
                others[at].engine.run(|batch| batch.append_ack(&moment)).unwrap();
            }
        }
    }
    assert_eq!(seen.engine.status().unwrap().epoch, 1, "it lacks the last vote");
    meet(&mut a, &mut b);
    let third = secret(3);
    let heads = seen.heads_but(&writer_key(3));
    let wave = 1 + heads.len() as u64;
    let mut vote = None;
    for wave in (1..=wave).rev() {
        let first = Carried { parents: heads.clone(), ..carried(1, wave) };
        let entries = entries_after(&a, &third, None, &[first, carried(1, wave)]);
        let mut trial = peer(9, &identity);
        trial.receive(&a.runs());
        if trial.ingest(&signed(&entries[..1], &third)).is_ok() {
            vote = Some((entries, trial));
            break;
        }
    }
    let (entries, mut one_by_one) = vote.expect("it may vote");
    let alone = one_by_one.ingest(&signed(&entries[1..], &third));
    assert!(alone.is_err(), "its past holds two of three votes: {alone:?}");
    a.ingest(&signed(&entries, &third)).unwrap_err();
    meet(&mut a, &mut one_by_one);
    assert_eq!(a.truth(), one_by_one.truth());
}

/// A run that is offered.
#[derive(Debug, Clone)]
struct Offer {
    author: u8,
    entries: Vec<Offered>,
    /// Where its log is forked, if it is.
    fork: Option<Index>,
}

#[derive(Debug, Clone)]
struct Offered {
    /// Which indexers it makes, one bit each, if it does.
    indexers: Option<u8>,
    /// How much of what there is it names; otherwise one entry of it.
    names_heads: bool,
    names: Index,
    behind: u64,
    rise: u64,
}

fn offers() -> impl Strategy<Value = Vec<Offer>> {
    let entry = (
        proptest::option::weighted(0.15, 1_u8..16),
        proptest::bool::weighted(0.6),
        any::<Index>(),
        prop_oneof![8 => Just(0_u64), 2 => Just(1)],
        prop_oneof![2 => Just(0_u64), 5 => Just(1), 1 => Just(2)],
    );
    let entry = entry.prop_map(|(indexers, names_heads, names, behind, rise)| Offered {
        indexers,
        names_heads,
        names,
        behind,
        rise,
    });
    let fork = proptest::option::weighted(0.3, any::<Index>());
    let offer = (1_u8..5, proptest::collection::vec(entry, 1..4), fork)
        .prop_map(|(author, entries, fork)| Offer { author, entries, fork });
    proptest::collection::vec(offer, 20..90)
}

impl Offer {
    /// The entries, as they follow what this peer holds.
    fn entries(&self, peer: &Peer, may_fork: bool) -> Vec<Entry> {
        let log = peer.log();
        let writer = writer_key(self.author);
        let mut prev = peer.end_of_log(&writer);
        if let (Some(fork), Some(last)) = (self.fork.filter(|_| may_fork && self.author == 4), &prev) {
            let seq = fork.index(last.seq as usize + 1) as u64;
            let number = log.number_at(&writer, seq).unwrap().unwrap();
            prev = Some(log.record(number).unwrap().unwrap().header);
        }
        let present = peer.engine.status().unwrap().epoch;
        let mut at = prev.as_ref().map_or((0, 0), |prev| (prev.epoch, prev.wave));
        let mut all = Vec::new();
        for offered in &self.entries {
            let epoch = present.saturating_sub(offered.behind);
            at = if at.0 == epoch { (epoch, at.1 + offered.rise) } else { (epoch, offered.rise) };
            let members =
                |bits: u8| (1..5).filter(|key| bits & 1 << (key - 1) != 0).map(writer_key).collect();
            let indexers = offered.indexers.map(|bits| if may_fork { bits | 7 } else { bits });
            let operations = indexers.map(|bits| Operation::SetIndexers { writers: members(bits) });
            let parents = if offered.names_heads {
                peer.heads_but(&writer)
            } else {
                let other = log.record(offered.names.index(log.end() as usize) as u64).unwrap().unwrap();
                if other.header.writer == writer { Vec::new() } else { vec![other.hash] }
            };
            all.push(Carried { operations: operations.into_iter().collect(), parents, position: at });
        }
        entries_after(peer, &secret(self.author), prev.as_ref(), &all)
    }
}

fn check_offers(offers: &[Offer], may_fork: bool, chosen: &[bool]) -> (usize, u64) {
    let identity = closed(1);
    let mut founder = peer(1, &identity);
    for number in 2..5 {
        founder.call(Request::SetRoles { writer: writer_key(number), roles: Roles::WRITER }).unwrap();
    }
    if may_fork {
        founder.call(Request::SetIndexers { writers: (1..4).map(writer_key).collect() }).unwrap();
    }
    let (mut whole, mut one_by_one) = (peer(11, &identity), peer(12, &identity));
    let mut some = peer(13, &identity);
    for peer in [&mut whole, &mut one_by_one, &mut some] {
        peer.receive(&founder.runs());
    }
    let mut taken = 0;
    let mut chosen = chosen.iter().cycle();
    for offer in offers {
        let (entries, author) = (offer.entries(&whole, may_fork), secret(offer.author));
        if whole.ingest(&signed(&entries, &author)).is_err() {
            continue;
        }
        taken += usize::from(entries.len() > 1);
        for entry in entries {
            let alone = signed(std::slice::from_ref(&entry), &author);
            one_by_one.ingest(&alone).expect("whoever has them one by one takes them too");
            if *chosen.next().unwrap() {
                let _ = some.ingest(&alone); // unless it has refused one before it
            }
        }
        assert_eq!(whole.truth(), one_by_one.truth());
    }
    // What a peer has stored everybody takes from it, whatever that one has already.
    some.receive(&whole.runs());
    let mut none = peer(14, &identity);
    none.receive(&whole.runs());
    assert_eq!(none.truth(), whole.truth());
    assert_eq!(some.truth(), whole.truth());
    assert_eq!(whole.restart().truth(), none.truth());
    (taken, none.engine.status().unwrap().epoch)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_taken_as_a_run_is_taken_entry_by_entry(
        offers in offers(),
        chosen in proptest::collection::vec(any::<bool>(), 8),
    ) {
        check_offers(&offers, false, &chosen);
    }

    #[test]
    fn so_it_is_where_an_indexer_forks_its_log(
        offers in offers(),
        chosen in proptest::collection::vec(any::<bool>(), 8),
    ) {
        check_offers(&offers, true, &chosen);
    }
}

#[test]
fn a_clock_that_jumps_back_leaves_a_log_in_order_and_what_it_writes_over_what_it_has_seen_wins() {
    let mut a = peer(1, &open());
    a.insert(rawdoc! { "_id": 1, "n": 0 }).unwrap();
    let mut b = peer(2, &open());
    for (n, now_ms) in (1_i32..).zip([5_000_000, 10, 4_000_000, 0]) {
        a.now_ms = now_ms;
        a.update(rawdoc! { "_id": 1 }, rawdoc! { "$set": { "n": n } }).unwrap();
        a.insert(rawdoc! { "_id": 1 + n }).unwrap();
        b.receive(&a.runs());
        assert_eq!((b.digest(), b.order()), (a.digest(), a.order()));
        assert_eq!(b.documents()[0], rawdoc! { "_id": 1, "n": n });
    }
    let runs = a.runs();
    let times: Vec<_> = runs.iter().flat_map(VerifiedRun::entries).map(|entry| entry.header.time).collect();
    assert!(times.is_sorted() && times.len() == 9, "{times:?}");
}
