//! What properties let peers do: writes of all kinds, changes of the catalog, what was rejected done again, and meetings whole
//! and in part.

use bson::rawdoc;
use proptest::prelude::*;

use super::*;
use crate::apply::read_operations;

#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Insert(usize, i32),
    /// An array, where the index has met none yet.
    Push(usize, i32),
    Increment(usize, i32),
    UpdateMany(usize),
    /// A value of so many KiB, so that undo records go to the table in parts.
    Large(usize, i32),
    Delete(usize, i32),
    CreateIndex(usize, Kind),
    DropIndex(usize, Kind),
    HideIndex(usize, bool),
    DropCollection(usize),
    Rename(usize, bool),
    /// Updates win over deletes from then on, or no more.
    Policy(usize, bool),
    Transaction(usize, i32),
    /// Of what was rejected the first is done again or given up.
    Rejected(usize, bool),
    Meet(usize, usize),
    /// The first takes what the second has, and orders some of it.
    Overhear(usize, usize),
    Ack(usize),
    Restart(usize),
}

/// An index.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    OnOne,
    OnMany,
    /// Unique: what comes second is rejected.
    Rejects,
    /// Unique: what comes second is kept in quarantine.
    Keeps,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::OnOne => "n",
            Self::OnMany => "m",
            Self::Rejects => "u",
            Self::Keeps => "q",
        }
    }

    fn definition(self) -> RawDocumentBuf {
        let name = self.name();
        match self {
            Self::OnOne => rawdoc! { "name": name, "key": { "n": 1 } },
            Self::OnMany => rawdoc! { "name": name, "key": { "m": -1, "_id": 1 } },
            Self::Rejects => rawdoc! { "name": name, "key": { "u": 1 }, "unique": true, "sparse": true },
            Self::Keeps => {
                rawdoc! { "name": name, "key": { "q": 1 }, "unique": true, "onDuplicate": "quarantine", "sparse": true }
            }
        }
    }
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        2 => Just(Kind::OnOne),
        2 => Just(Kind::OnMany),
        1 => Just(Kind::Rejects),
        2 => Just(Kind::Keeps),
    ]
}

/// A step of one of the first `peers`, with large values or without.
pub(super) fn step(peers: usize, with_large: bool) -> impl Strategy<Value = Step> {
    let (peer, id) = (0..peers, 0_i32..8);
    let of_id = || (peer.clone(), id.clone());
    prop_oneof![
        6 => of_id().prop_map(|(peer, id)| Step::Insert(peer, id)),
        2 => of_id().prop_map(|(peer, id)| Step::Push(peer, id)),
        3 => of_id().prop_map(|(peer, id)| Step::Increment(peer, id)),
        2 => peer.clone().prop_map(Step::UpdateMany),
        1 => of_id().prop_map(move |(peer, id)| if with_large { Step::Large(peer, id) } else { Step::Delete(peer, id) }),
        2 => of_id().prop_map(|(peer, id)| Step::Delete(peer, id)),
        3 => (peer.clone(), kind()).prop_map(|(peer, kind)| Step::CreateIndex(peer, kind)),
        1 => (peer.clone(), kind()).prop_map(|(peer, kind)| Step::DropIndex(peer, kind)),
        1 => (peer.clone(), any::<bool>()).prop_map(|(peer, hidden)| Step::HideIndex(peer, hidden)),
        1 => peer.clone().prop_map(Step::DropCollection),
        2 => (peer.clone(), any::<bool>()).prop_map(|(peer, back)| Step::Rename(peer, back)),
        1 => (peer.clone(), any::<bool>()).prop_map(|(peer, update_wins)| Step::Policy(peer, update_wins)),
        2 => of_id().prop_map(|(peer, id)| Step::Transaction(peer, id)),
        3 => (peer.clone(), any::<bool>()).prop_map(|(peer, again)| Step::Rejected(peer, again)),
        5 => (peer.clone(), peer.clone()).prop_map(|(a, b)| Step::Meet(a, b)),
        1 => (peer.clone(), peer.clone()).prop_map(|(a, b)| Step::Overhear(a, b)),
        4 => peer.clone().prop_map(Step::Ack),
        1 => peer.prop_map(Step::Restart),
    ]
}

/// Carries out a step; what does not hold changes nothing. Gives the peer that it was about.
pub(super) fn carry_out(peers: &mut Vec<Peer>, step: Step) -> usize {
    let of_c = || "c".to_owned();
    match step {
        Step::Insert(peer, id) => {
            let number = peer as i32;
            let _ = peers[peer].insert(rawdoc! { "_id": id, "n": number, "u": id + number, "q": id % 3 });
            peer
        }
        Step::Push(peer, id) => {
            let set = rawdoc! { "n": [id, 70, "x"], "q": [id % 3, 5] };
            let _ = peers[peer].update(rawdoc! { "_id": id }, rawdoc! { "$set": set });
            peer
        }
        Step::Increment(peer, id) => {
            let add = rawdoc! { "$inc": { "m": 1, "u": 1, "t": 1 } };
            let _ = peers[peer].update(rawdoc! { "_id": { "$gte": id, "$lt": id + 2 } }, add);
            peer
        }
        Step::UpdateMany(peer) => {
            let _ =
                peers[peer].update(rawdoc! {}, rawdoc! { "$inc": { "m": 1 }, "$set": { "by": peer as i32 } });
            peer
        }
        Step::Large(peer, id) => {
            let large = rawdoc! { "$set": { "large": "x".repeat(200_000 + id as usize) } };
            let _ = peers[peer].update(rawdoc! { "_id": id }, large);
            peer
        }
        Step::Delete(peer, id) => {
            let _ = peers[peer].delete(rawdoc! { "_id": id });
            peer
        }
        Step::CreateIndex(peer, kind) => {
            let _ = peers[peer].create_index(kind.definition());
            peer
        }
        Step::DropIndex(peer, kind) => {
            let name = kind.name().to_owned();
            let _ = peers[peer].call(Request::DropIndex { collection: of_c(), name });
            peer
        }
        Step::HideIndex(peer, hidden) => {
            let (name, change) = ("m".to_owned(), rawdoc! { "hidden": hidden });
            let _ = peers[peer].call(Request::ChangeIndex { collection: of_c(), name, change });
            peer
        }
        Step::DropCollection(peer) => {
            let _ = peers[peer].call(Request::DropCollection { collection: of_c() });
            peer
        }
        Step::Rename(peer, back) => {
            let (from, to) = if back { ("d", "c") } else { ("c", "d") };
            let (collection, to) = (from.to_owned(), to.to_owned());
            let _ = peers[peer].call(Request::RenameCollection { collection, to, drop_target: true });
            peer
        }
        Step::Policy(peer, update_wins) => {
            let wins = if update_wins { "update-wins" } else { "delete-wins" };
            let change = rawdoc! { "conflicts": { "delete": wins } };
            let _ = peers[peer].call(Request::ChangeCollection { collection: of_c(), change });
            peer
        }
        Step::Transaction(number, id) => {
            transaction(&mut peers[number], id);
            number
        }
        Step::Rejected(peer, again) => {
            peers[peer].end_rejection(again);
            peer
        }
        Step::Meet(a, b) => {
            let (of_a, of_b) = (peers[a].runs(), peers[b].runs());
            peers[a].receive(&of_b);
            peers[b].receive(&of_a);
            a
        }
        Step::Overhear(a, b) => {
            let runs = peers[b].runs();
            let heard = |batch: &mut Batch<'_, '_>| {
                runs.iter().try_for_each(|run| batch.ingest(run).map(|taken| taken.unwrap()))?;
                batch.settle_within(2_000)
            };
            peers[a].engine.run(heard).unwrap();
            a
        }
        Step::Ack(peer) => {
            peers[peer].ack();
            peer
        }
        Step::Restart(number) => {
            let peer = peers.remove(number);
            peers.insert(number, peer.restart());
            number
        }
    }
}

fn transaction(peer: &mut Peer, id: i32) {
    let genesis = peer.engine.identity.genesis.clone();
    let mut draft = Draft::new(peer.engine.view().unwrap(), genesis, peer.engine.writer());
    let moment = peer.moment();
    for collection in ["c", "e"] {
        let documents = vec![rawdoc! { "_id": 100 + id, "n": ["t", id], "q": id % 3 }];
        let collection = collection.to_owned();
        let _ = draft.write(Request::Insert { collection, documents, ordered: true }, &moment);
    }
    let _ = peer.call(draft.into_request());
}

impl Peer {
    /// Does the first of what was rejected again, or gives it up.
    pub(super) fn end_rejection(&mut self, again: bool) {
        let Some(first) = self.listed("system.rejected").into_iter().next() else { return };
        let id = first.get_document("_id").unwrap();
        let listed = rawdoc! { "_id": id.to_owned() };
        if !again {
            self.call(Request::Discard { id: listed }).unwrap();
            return;
        }
        let entry = EntryHash::from_bytes(id.get_binary("entry").unwrap().bytes.try_into().unwrap());
        let number = self.log().number_of(&entry).unwrap().unwrap();
        let operations = read_operations(&self.log().payload(number).unwrap()).unwrap();
        let operation = operations.into_iter().nth(id.get_i64("operation").unwrap() as usize).unwrap();
        let parts = first.get_array("parts").unwrap().into_iter();
        let parts = parts.map(|part| part.unwrap().as_document().unwrap().get_i64("part").unwrap() as usize);
        let operation = operation.only_parts(&parts.collect::<Vec<_>>());
        let _ = self.call(Request::Resubmit { id: listed, operation });
    }
}
