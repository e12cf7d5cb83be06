//! Transactions are serializable where they are confirmed: whatever was written apart and met in whichever order, the history is
//! that of the accepted ones run one after the other: see the programs of the simulator's bank.

use std::collections::{BTreeMap, BTreeSet};

use bson::rawdoc;
use proptest::prelude::*;

use super::*;
use crate::log::rejections::Rejections;
use crate::operation::{Done, Found, Read, Step};
use crate::simulation::{ACCOUNTS, Bank, Inside, Model, PEOPLE, Program, bank_of};

/// A program as it was run, by the entry that holds it.
type Runs = BTreeMap<EntryHash, (Program, Vec<i64>)>;

impl Peer {
    fn draft(&self) -> Draft {
        Draft::new(self.engine.view().unwrap(), self.engine.identity.genesis.clone(), self.engine.writer())
    }

    /// Runs a program on what the peer sees, or on an older draft, and commits it; whether it had to be given up.
    fn transact(&mut self, program: &Program, draft: Draft, runs: &mut Runs) -> bool {
        let moment = self.moment();
        let number = runs.len() as i32;
        let mut inside = Inside { draft, moment: &moment, number };
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
        bank_of(self.draft())
    }
}

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
        let mut acknowledged: i32 = 0;
        if let Ok(engine) = opened {
            let mut a = Peer { engine, now_ms: 1_000 };
            for _ in 0..60 {
                let moment = a.moment();
                let number = acknowledged;
                let mut inside = Inside { draft: a.draft(), moment: &moment, number };
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
        assert!((acknowledged..=acknowledged + 1).contains(&(bank.notes.len() as i32)), "seed {seed}");
        assert!(found.engine.status().unwrap().entries > acknowledged as u64);
    }
}
