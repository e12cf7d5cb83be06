//! Transactions are serializable where they are confirmed: whatever was written apart and met in whichever order, the history is
//! that of the accepted ones run one after the other. Here they are programs, which a model runs again without any knowledge of
//! how the engine tells whether they hold.

use std::collections::{BTreeMap, BTreeSet};

use bson::rawdoc;
use proptest::prelude::*;

use super::*;
use crate::log::rejections::Rejections;
use crate::operation::{Done, Found, Read, Step};
use crate::query::FindOptions;
use crate::query::witness::Aspect;

/// What a closure of a program's does; numbers are of accounts, peers' duties and amounts.
#[derive(Debug, Clone)]
enum Program {
    /// Takes an amount from one account for another, as far as it is there: both are read and set.
    Transfer { from: u8, to: u8, amount: i32 },
    /// Adds to an account without looking.
    Blind { account: u8, amount: i32 },
    /// Goes off duty if somebody else stays on.
    Leave { person: u8 },
    /// Goes on duty.
    Join { person: u8 },
    /// Notes how many accounts hold at least so much, and what those hold together.
    Audit { least: i32 },
    /// Empties every account that holds less than so much, into one; by an update of many.
    Sweep { below: i32, into: u8 },
    /// Takes the poorest account away and opens one with its amount under another name.
    Rename,
}

/// What a program sees of the database, and does to it.
trait Bank {
    fn account(&mut self, id: i32) -> Option<i32>;
    fn set(&mut self, id: i32, amount: i32);
    fn add(&mut self, id: i32, amount: i32) -> u64;
    fn at_least(&mut self, least: i32) -> Vec<(i32, i32)>;
    fn zero_below(&mut self, below: i32) -> u64;
    fn poorest(&mut self) -> Option<i32>;
    fn take(&mut self, id: i32) -> Option<i32>;
    fn open(&mut self, amount: i32) -> i32;
    fn on_duty(&mut self) -> u64;
    fn set_duty(&mut self, person: i32, on: bool);
    fn note(&mut self, count: i32, sum: i32);
}

impl Program {
    /// Runs it; gives everything that it saw.
    fn run(&self, bank: &mut impl Bank) -> Vec<i64> {
        match *self {
            Self::Transfer { from, to, amount } => {
                let (from, to) = (i32::from(from), i32::from(to));
                let (Some(has), Some(gets)) = (bank.account(from), bank.account(to)) else { return vec![-1] };
                if from != to && has >= amount {
                    bank.set(from, has - amount);
                    bank.set(to, gets + amount);
                }
                // Its own writes are seen.
                let after = bank.account(from).unwrap_or(-1);
                vec![has.into(), gets.into(), after.into()]
            }
            Self::Blind { account, amount } => vec![bank.add(account.into(), amount).cast_signed()],
            Self::Leave { person } => {
                let on = bank.on_duty();
                if on >= 2 {
                    bank.set_duty(person.into(), false);
                }
                vec![on.cast_signed(), bank.on_duty().cast_signed()]
            }
            Self::Join { person } => {
                bank.set_duty(person.into(), true);
                vec![]
            }
            Self::Audit { least } => {
                let found = bank.at_least(least);
                let sum = found.iter().map(|(_, amount)| amount).sum();
                bank.note(found.len() as i32, sum);
                found.into_iter().flat_map(|(id, amount)| [i64::from(id), i64::from(amount)]).collect()
            }
            Self::Sweep { below, into } => {
                let before: i32 = bank.at_least(i32::MIN).iter().map(|(_, amount)| amount).sum();
                let swept = bank.zero_below(below);
                let after: i32 = bank.at_least(i32::MIN).iter().map(|(_, amount)| amount).sum();
                let met = bank.add(into.into(), before - after);
                if met == 0 && before != after {
                    bank.open(before - after);
                }
                vec![before.into(), swept.cast_signed(), after.into(), met.cast_signed()]
            }
            Self::Rename => {
                let Some(poorest) = bank.poorest() else { return vec![-1] };
                let amount = bank.take(poorest).unwrap_or(0);
                let id = bank.open(amount);
                vec![poorest.into(), amount.into(), id.into()]
            }
        }
    }
}

/// The model: plain maps.
#[derive(Debug, Clone, PartialEq, Default)]
struct Model {
    accounts: BTreeMap<i32, i32>,
    duty: BTreeMap<i32, bool>,
    notes: Vec<(i32, i32)>,
}

impl Bank for Model {
    fn account(&mut self, id: i32) -> Option<i32> {
        self.accounts.get(&id).copied()
    }

    fn set(&mut self, id: i32, amount: i32) {
        self.accounts.insert(id, amount);
    }

    fn add(&mut self, id: i32, amount: i32) -> u64 {
        self.accounts.get_mut(&id).map_or(0, |has| {
            *has += amount;
            1
        })
    }

    fn at_least(&mut self, least: i32) -> Vec<(i32, i32)> {
        self.accounts
            .iter()
            .filter(|(_, amount)| **amount >= least)
            .map(|(id, amount)| (*id, *amount))
            .collect()
    }

    fn zero_below(&mut self, below: i32) -> u64 {
        let swept = self.accounts.values_mut().filter(|amount| **amount < below && **amount > 0);
        swept.map(|amount| *amount = 0).count() as u64
    }

    fn poorest(&mut self) -> Option<i32> {
        self.accounts.iter().min_by_key(|(id, amount)| (**amount, **id)).map(|(id, _)| *id)
    }

    fn take(&mut self, id: i32) -> Option<i32> {
        self.accounts.remove(&id)
    }

    fn open(&mut self, amount: i32) -> i32 {
        let id = self.accounts.keys().max().map_or(0, |id| id + 1);
        self.accounts.insert(id, amount);
        id
    }

    fn on_duty(&mut self) -> u64 {
        self.duty.values().filter(|on| **on).count() as u64
    }

    fn set_duty(&mut self, person: i32, on: bool) {
        self.duty.insert(person, on);
    }

    fn note(&mut self, count: i32, sum: i32) {
        self.notes.push((count, sum));
    }
}

/// A transaction of the engine's.
struct Inside<'a> {
    draft: Draft,
    moment: &'a Moment,
}

impl Inside<'_> {
    fn find(
        &mut self,
        name: &str,
        filter: RawDocumentBuf,
        sort: Option<RawDocumentBuf>,
        limit: u64,
    ) -> Vec<RawDocumentBuf> {
        self.draft.find(name, &FindOptions { filter, sort, limit, ..FindOptions::default() }).unwrap()
    }

    fn update(&mut self, name: &str, filter: RawDocumentBuf, update: RawDocumentBuf, multi: bool) -> Reply {
        let update = UpdateRequest { collection: name.to_owned(), multi, ..update_request(filter, update) };
        self.draft.write(Request::Update(update), self.moment).unwrap()
    }

    fn insert(&mut self, name: &str, document: RawDocumentBuf) {
        let insert =
            Request::Insert { collection: name.to_owned(), documents: vec![document], ordered: true };
        let reply = self.draft.write(insert, self.moment).unwrap();
        assert_eq!(reply.outcome.inserted, 1);
    }
}

impl Bank for Inside<'_> {
    fn account(&mut self, id: i32) -> Option<i32> {
        let found = self.find("accounts", rawdoc! { "_id": id }, None, 1);
        found.first().map(|account| account.get_i32("amount").unwrap())
    }

    fn set(&mut self, id: i32, amount: i32) {
        let reply =
            self.update("accounts", rawdoc! { "_id": id }, rawdoc! { "$set": { "amount": amount } }, false);
        assert_eq!(reply.outcome.matched, 1);
    }

    fn add(&mut self, id: i32, amount: i32) -> u64 {
        let update = rawdoc! { "$inc": { "amount": amount } };
        self.update("accounts", rawdoc! { "_id": id }, update, false).outcome.matched
    }

    fn at_least(&mut self, least: i32) -> Vec<(i32, i32)> {
        let found = self.find("accounts", rawdoc! { "amount": { "$gte": least } }, None, 0);
        let mut found: Vec<_> = found
            .iter()
            .map(|account| (account.get_i32("_id").unwrap(), account.get_i32("amount").unwrap()))
            .collect();
        found.sort_unstable();
        found
    }

    fn zero_below(&mut self, below: i32) -> u64 {
        let filter = rawdoc! { "amount": { "$lt": below, "$gt": 0 } };
        self.update("accounts", filter, rawdoc! { "$set": { "amount": 0 } }, true).outcome.modified
    }

    fn poorest(&mut self) -> Option<i32> {
        let found = self.find("accounts", rawdoc! {}, Some(rawdoc! { "amount": 1, "_id": 1 }), 1);
        found.first().map(|account| account.get_i32("_id").unwrap())
    }

    fn take(&mut self, id: i32) -> Option<i32> {
        let delete = DeleteRequest {
            collection: "accounts".to_owned(),
            filter: rawdoc! { "_id": id },
            multi: false,
            sort: None,
            hint: None,
            variables: None,
            collation: None,
            returning: Some(Returning::default()),
        };
        let reply = self.draft.write(Request::Delete(delete), self.moment).unwrap();
        reply.document.map(|account| account.get_i32("amount").unwrap())
    }

    fn open(&mut self, amount: i32) -> i32 {
        let last = self.find("accounts", rawdoc! {}, Some(rawdoc! { "_id": -1 }), 1);
        let id = last.first().map_or(0, |account| account.get_i32("_id").unwrap() + 1);
        self.insert("accounts", rawdoc! { "_id": id, "amount": amount });
        id
    }

    fn on_duty(&mut self) -> u64 {
        let filter = db_index::Filter::parse(&rawdoc! { "on": true }).unwrap();
        self.draft.note_search("duty", &filter, Aspect::Count).unwrap();
        let view = self.draft.view();
        let Some(meta) = crate::view::catalog::collection(&view, "duty").unwrap() else { return 0 };
        let count = FindOptions { filter: rawdoc! { "on": true }, ..FindOptions::default() };
        crate::query::count(view, &Arc::new(meta), &count).unwrap()
    }

    fn set_duty(&mut self, person: i32, on: bool) {
        self.update("duty", rawdoc! { "_id": person }, rawdoc! { "$set": { "on": on } }, false);
    }

    fn note(&mut self, count: i32, sum: i32) {
        let id = bson::oid::ObjectId::new();
        self.insert("notes", rawdoc! { "_id": id, "count": count, "sum": sum });
    }
}

/// A program as it was run, by the entry that holds it.
type Runs = BTreeMap<EntryHash, (Program, Vec<i64>)>;

impl Peer {
    fn draft(&self) -> Draft {
        Draft::new(self.engine.view().unwrap(), self.engine.identity.genesis.clone(), self.engine.writer())
    }

    /// Runs a program on what the peer sees, or on an older draft, and commits it; whether it had to be given up.
    fn transact(&mut self, program: &Program, draft: Draft, runs: &mut Runs) -> bool {
        let moment = self.moment();
        let mut inside = Inside { draft, moment: &moment };
        let seen = program.run(&mut inside);
        match self.call(inside.draft.into_request()) {
            Ok(Reply { entry: Some(entry), .. }) => {
                runs.insert(entry, (program.clone(), seen));
                false
            }
            Ok(_) => false, // it wrote nothing
            Err(error) => {
                assert_eq!(
                    (error.code(), error.contains_label(crate::TRANSIENT_TRANSACTION_ERROR)),
                    (Some(112), true)
                );
                true
            }
        }
    }

    fn rejected(&self, entry: &EntryHash) -> Vec<crate::RejectedOperation> {
        let view = self.engine.view().unwrap();
        Rejections::open(&view).unwrap().of(entry).unwrap()
    }

    /// What the database holds, as the model has it.
    fn bank(&self) -> Model {
        let mut inside = Inside { draft: self.draft(), moment: &Moment::default() };
        let number = |document: &RawDocumentBuf, field: &str| document.get_i32(field).unwrap();
        let mut of = |name: &str| inside.find(name, rawdoc! {}, None, 0);
        let accounts = of("accounts")
            .iter()
            .map(|account| (number(account, "_id"), number(account, "amount")))
            .collect();
        let duty =
            of("duty").iter().map(|person| (number(person, "_id"), person.get_bool("on").unwrap())).collect();
        let mut notes: Vec<_> =
            of("notes").iter().map(|note| (number(note, "count"), number(note, "sum"))).collect();
        notes.sort_unstable();
        Model { accounts, duty, notes }
    }
}

const ACCOUNTS: i32 = 5;
const PEOPLE: i32 = 3;

/// The founder and two others, all of whom vote, with accounts and people on duty.
fn bank(indexes: bool) -> [Peer; 3] {
    let identity = closed(1);
    let mut peers = [1, 2, 3].map(|number| peer(number, &identity));
    for number in [2, 3] {
        peers[0].call(Request::SetRoles { writer: writer_key(number), roles: Roles::WRITER }).unwrap();
    }
    let insert = |collection: &str, documents| Request::Insert {
        collection: collection.to_owned(),
        documents,
        ordered: true,
    };
    let accounts = (0..ACCOUNTS).map(|id| rawdoc! { "_id": id, "amount": 10 }).collect();
    peers[0].call(insert("accounts", accounts)).unwrap();
    let duty = (0..PEOPLE).map(|id| rawdoc! { "_id": id, "on": true }).collect();
    peers[0].call(insert("duty", duty)).unwrap();
    if indexes {
        let definitions = vec![rawdoc! { "name": "amount_1", "key": { "amount": 1 } }];
        peers[0].call(Request::CreateIndexes { collection: "accounts".to_owned(), definitions }).unwrap();
    }
    peers[0].call(Request::SetIndexers { writers: (1..=3).map(writer_key).collect() }).unwrap();
    let runs = peers[0].runs();
    peers[1].receive(&runs);
    peers[2].receive(&runs);
    peers
}

fn first() -> Model {
    Model {
        accounts: (0..ACCOUNTS).map(|id| (id, 10)).collect(),
        duty: (0..PEOPLE).map(|id| (id, true)).collect(),
        notes: Vec::new(),
    }
}

/// Runs the accepted programs of an order one after the other on the model; each must see what it saw.
fn serial(peer: &Peer, order: &[EntryHash], runs: &Runs) -> (Model, usize) {
    let (mut model, mut rejected) = (first(), 0);
    for entry in order {
        let Some((program, seen)) = runs.get(entry) else { continue };
        if !peer.rejected(entry).is_empty() {
            rejected += 1;
            continue;
        }
        assert_eq!(&program.run(&mut model), seen, "{program:?} would have seen something else at its place");
        assert!(model.duty.values().any(|on| *on), "nobody is on duty");
    }
    model.notes.sort_unstable();
    (model, rejected)
}

#[derive(Debug, Clone)]
enum Act {
    Run(Program),
    /// Runs a program on what was seen before another was committed.
    RunLate(Program, Program),
    Meet(usize),
    Ack,
    Restart,
}

fn program() -> impl Strategy<Value = Program> {
    let account = 0..ACCOUNTS as u8;
    let person = 0..PEOPLE as u8;
    prop_oneof![
        4 => (account.clone(), account.clone(), 1..8).prop_map(|(from, to, amount)| Program::Transfer { from, to, amount }),
        1 => (account.clone(), -3..4).prop_map(|(account, amount)| Program::Blind { account, amount }),
        3 => person.clone().prop_map(|person| Program::Leave { person }),
        1 => person.prop_map(|person| Program::Join { person }),
        2 => (0..25).prop_map(|least| Program::Audit { least }),
        1 => (1..12, account).prop_map(|(below, into)| Program::Sweep { below, into }),
        1 => Just(Program::Rename),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => program().prop_map(Act::Run),
        2 => (program(), program()).prop_map(|(one, other)| Act::RunLate(one, other)),
        3 => (0_usize..3).prop_map(Act::Meet),
        2 => Just(Act::Ack),
        1 => Just(Act::Restart),
    ]
}

/// Brings everybody together until nothing is left to confirm.
fn gather(mut peers: [Peer; 3]) -> [Peer; 3] {
    loop {
        for (one, other) in [(0, 1), (1, 2), (0, 2), (0, 1)] {
            meet_of(&mut peers, one, other);
        }
        let acked = peers.iter_mut().map(Peer::ack).fold(false, |any, acked| any | acked);
        if !acked {
            return peers;
        }
    }
}

fn meet_of(peers: &mut [Peer; 3], one: usize, other: usize) {
    let (of_one, of_other) = (peers[one].runs(), peers[other].runs());
    peers[one].receive(&of_other);
    peers[other].receive(&of_one);
}

proptest! {
    #[test]
    fn every_confirmed_history_is_that_of_a_serial_run_in_the_order_of_entries(
        acts in proptest::collection::vec((0_usize..3, act()), 1..40),
        indexes in any::<bool>(),
    ) {
        let mut peers = bank(indexes);
        let mut runs = Runs::new();
        for (at, act) in acts {
            match act {
                Act::Run(program) => {
                    let draft = peers[at].draft();
                    prop_assert!(!peers[at].transact(&program, draft, &mut runs), "nobody was in between");
                }
                Act::RunLate(late, early) => {
                    let draft = peers[at].draft();
                    let between = peers[at].draft();
                    peers[at].transact(&early, between, &mut runs);
                    peers[at].transact(&late, draft, &mut runs);
                }
                Act::Meet(other) if other != at => meet_of(&mut peers, at, other),
                Act::Meet(_) => {}
                Act::Ack => {
                    peers[at].ack();
                }
                Act::Restart => {
                    let [a, b, c] = peers;
                    peers = [a.restart(), b.restart(), c.restart()];
                }
            }
            // The whole order of a peer, its tail included, is a serial run of what holds there.
            let (order, _) = peers[at].order();
            prop_assert_eq!(serial(&peers[at], &order, &runs).0, peers[at].bank());
        }
        let peers = gather(peers);
        let (order, confirmed) = peers[0].order();
        prop_assert!(!peers[0].engine.has_unconfirmed_writes(), "all but acks are confirmed");
        let (model, _) = serial(&peers[0], &order, &runs);
        for peer in &peers {
            prop_assert_eq!(peer.order(), (order.clone(), confirmed));
            prop_assert_eq!(peer.digest(), peers[0].digest());
            prop_assert_eq!(&peer.bank(), &model);
            peer.check_statistics();
        }
    }
}

#[test]
fn of_two_transactions_that_would_skew_each_others_reads_the_later_is_rejected_whole() {
    let mut peers = bank(false);
    let mut runs = Runs::new();
    // Together they would leave nobody on duty.
    let mut off = [Program::Leave { person: 0 }, Program::Leave { person: 1 }, Program::Leave { person: 2 }]
        .into_iter();
    for peer in &mut peers {
        let draft = peer.draft();
        peer.transact(&off.next().unwrap(), draft, &mut runs);
    }
    let peers = gather(peers);
    let (order, _) = peers[0].order();
    let (model, rejected) = serial(&peers[0], &order, &runs);
    assert_eq!((model.duty.values().filter(|on| **on).count(), rejected), (2, 2));
    let codes: BTreeSet<i32> =
        runs.keys().flat_map(|entry| peers[1].rejected(entry)).map(|row| row.parts[0].1).collect();
    assert_eq!(codes, BTreeSet::from([112]), "one row each, with the code of a conflict");
}

#[test]
fn blind_writes_of_one_document_do_not_conflict_and_unread_documents_do_not_matter() {
    let mut peers = bank(true);
    let mut runs = Runs::new();
    for peer in &mut peers {
        let draft = peer.draft();
        assert!(!peer.transact(&Program::Blind { account: 0, amount: 1 }, draft, &mut runs));
    }
    let draft = peers[0].draft();
    peers[0].transact(&Program::Transfer { from: 1, to: 2, amount: 1 }, draft, &mut runs);
    let draft = peers[1].draft();
    peers[1].transact(&Program::Transfer { from: 3, to: 4, amount: 1 }, draft, &mut runs);
    let peers = gather(peers);
    let (order, _) = peers[0].order();
    let (model, rejected) = serial(&peers[0], &order, &runs);
    assert_eq!((model.accounts[&0], model.accounts[&2], model.accounts[&4], rejected), (13, 11, 11, 0));
}

/// A peer with documents 0 to 9 and one of a collection that is not named in what follows.
fn stocked() -> Peer {
    let mut a = peer(1, &open());
    let documents = (0..10).map(|n| rawdoc! { "_id": n, "n": n }).collect();
    a.call(Request::Insert { collection: "c".to_owned(), documents, ordered: true }).unwrap();
    a
}

fn logged(steps: Vec<Step>) -> Vec<u8> {
    crate::payload::pack(&crate::operation::encode(&[Operation::Transaction { steps }]))
}

fn hand_made_read(filter: RawDocumentBuf, found: Found) -> Step {
    Step::Read(Read { collection: "c".to_owned(), filter, found })
}

fn hand_made_write(id: i32) -> Step {
    let operation = Operation::Insert { collection: "c".to_owned(), documents: vec![rawdoc! { "_id": id }] };
    Step::Write { operation, done: Done::default() }
}

#[test]
fn hand_made_transactions_are_rejected_as_a_whole_and_never_more_than_measured() {
    let insert = || hand_made_write(100);
    let nothing = Found::Count(0);
    let count = |n: i32| hand_made_read(rawdoc! { "n": n }, Found::Count(1));
    let repeated = |step: &dyn Fn() -> Step, times: usize| {
        (0..times).map(|_| step()).chain([insert()]).collect::<Vec<_>>()
    };
    let cases = [
        (vec![insert(), insert()], 11_000),
        (vec![insert(), hand_made_read(rawdoc! { "n": 1 }, nothing)], 112),
        (vec![insert(), hand_made_read(rawdoc! { "n": 1 }, Found::Documents([0; 16]))], 112),
        (vec![insert(), hand_made_read(rawdoc! { "n": { "$regex": "1" } }, nothing)], 2),
        (vec![insert(), hand_made_read(rawdoc! { "$expr": { "$divide": [1, "$n"] } }, nothing)], 2),
        (vec![insert(), hand_made_read(rawdoc! { "$no": 1 }, nothing)], 2),
        (repeated(&|| count(3), 257), 257),
    ];
    for (steps, code) in cases {
        let mut a = stocked();
        let before = a.documents();
        let run = forged_run_with(&a, &secret(9), logged(steps), |_| {});
        a.receive(std::slice::from_ref(&run));
        assert_eq!(a.documents(), before);
        let rejected = a.rejected(&run.entries()[0].hash);
        assert_eq!(rejected.len(), 1);
        assert_eq!((rejected[0].count, rejected[0].parts[0].1), (1, code));
        a.check_statistics();
        let mut b = peer(2, &open());
        b.receive(&a.runs());
        assert_eq!(a.digest(), b.digest());
    }
    let mut a = stocked();
    let run = forged_run_with(&a, &secret(9), logged(repeated(&|| count(3), 256)), |_| {});
    a.receive(std::slice::from_ref(&run));
    assert_eq!(a.documents().len(), 11, "as many searches as may be");
    let mut looked = vec![insert()];
    looked.extend((0..1_000).map(|_| hand_made_read(rawdoc! { "_id": 1 }, Found::Count(1))));
    let mut a = stocked();
    a.receive(&[forged_run_with(&a, &secret(9), logged(looked), |_| {})]);
    assert_eq!(a.documents().len(), 11, "look-ups by _id are no searches");
}

#[test]
fn what_may_not_stand_in_a_transaction_makes_its_entry_a_recorded_no_op() {
    let inner = [
        Operation::DropCollection { collection: "c".to_owned() },
        Operation::SetRoles { writer: writer_key(9), roles: Roles::ADMIN },
        Operation::SetIndexers { writers: vec![writer_key(9)] },
        Operation::Transaction { steps: vec![hand_made_write(100)] },
    ];
    for operation in inner {
        let mut a = stocked();
        let before = (a.documents(), a.engine.status().unwrap().indexers);
        let steps = vec![hand_made_write(100), Step::Write { operation, done: Done::default() }];
        let run = forged_run_with(&a, &secret(9), logged(steps), |_| {});
        a.receive(std::slice::from_ref(&run));
        assert_eq!((a.documents(), a.engine.status().unwrap().indexers), before);
        assert_eq!(a.rejected(&run.entries()[0].hash).len(), 1);
    }
}

#[test]
fn a_power_cut_leaves_all_of_a_transaction_or_nothing() {
    use crate::simulation::{Chance, SimDisk};
    for seed in 0..40 {
        let mut chance = Chance::new(seed + 1);
        let disk = SimDisk::new(Vec::new(), None);
        let database = storage::create(disk.clone(), &open(), 1 << 20).unwrap();
        let mut a = Peer { engine: Engine::open(Arc::new(database), open(), secret(1)).unwrap(), now_ms: 1 };
        let documents = (0..ACCOUNTS).map(|id| rawdoc! { "_id": id, "amount": 10 }).collect();
        a.call(Request::Insert { collection: "accounts".to_owned(), documents, ordered: true }).unwrap();
        drop(a);
        let image = disk.after_power_cut(&mut chance);
        let disk = SimDisk::new(image, Some(20 + chance.below(300)));
        let opened = storage::open(disk.clone(), 1 << 20)
            .and_then(|(database, identity)| Engine::open(Arc::new(database), identity, secret(1)));
        let mut acknowledged = 0;
        if let Ok(engine) = opened {
            let mut a = Peer { engine, now_ms: 1_000 };
            for _ in 0..60 {
                let moment = a.moment();
                let mut inside = Inside { draft: a.draft(), moment: &moment };
                let (from, to) = (chance.below(5) as u8, chance.below(5) as u8);
                Program::Transfer { from, to, amount: 1 }.run(&mut inside);
                inside.note(1, 1);
                let request = inside.draft.into_request();
                if a.engine.run(|batch| batch.execute(request, &moment)).is_err() {
                    assert!(disk.is_cut());
                    break;
                }
                acknowledged += 1;
            }
        }
        let image = disk.after_power_cut(&mut chance);
        let (database, identity) = storage::open(SimDisk::new(image, None), 1 << 20).unwrap();
        let found = Peer {
            engine: Engine::open(Arc::new(database), identity, secret(1)).unwrap(),
            now_ms: 1_000_000,
        };
        let bank = found.bank();
        assert_eq!(bank.accounts.values().sum::<i32>(), 10 * ACCOUNTS);
        assert!((acknowledged..=acknowledged + 1).contains(&bank.notes.len()), "seed {seed}");
        assert!(found.engine.status().unwrap().entries > acknowledged as u64);
    }
}
