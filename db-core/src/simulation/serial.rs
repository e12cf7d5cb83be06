//! Transactions, and whether what has come of them is what one gets who runs those that hold one after the other, in the order of
//! entries, on a model that knows nothing of the engine.

use std::collections::{BTreeMap, BTreeSet};

use bson::rawdoc;
use redb::ReadableDatabase;

use super::Chance;
use super::bank::{ACCOUNTS, Inside, Model, PEOPLE, Program, bank_of};
use super::node::Node;
use super::requests;
use crate::apply::read_operations;
use crate::engine::{Draft, Moment, Request};
use crate::ids::EntryHash;
use crate::log::rejections::Rejections;
use crate::log_reader::LogReader;
use crate::operation::{Operation, Step};
use crate::storage::OrderSnapshot;
use crate::view::ViewSnapshot;
use crate::view::settled::{self, Settled};

/// The collection in which each transaction leaves its number.
const RUNS: &str = "runs";

/// How many transactions stay open at the most.
const OPEN_MAX: usize = 6;

/// All transactions of a run.
#[derive(Default)]
pub(super) struct Transactions {
    /// By number, whether or not they have been committed.
    runs: Vec<Run>,
    /// Which transaction an entry holds, if it holds one.
    numbers: BTreeMap<EntryHash, Option<usize>>,
    /// Begun, with nothing done in them yet: by peer.
    open: Vec<(usize, Draft)>,
}

/// A program as it was run, and what it saw.
struct Run {
    program: Program,
    seen: Vec<i64>,
}

impl Transactions {
    /// Begins a transaction on what the peer's readers see, or on what of it is confirmed.
    pub(super) fn begin(&mut self, node: &Node, chance: &mut Chance) {
        if self.open.len() < OPEN_MAX {
            self.open.push((node.number, draft(node, chance.one_in(4))));
        }
    }

    /// The transactions of a peer that has gone are gone as well.
    pub(super) fn forget(&mut self, number: usize) {
        self.open.retain(|(at, _)| *at != number);
    }

    /// Runs a program in a transaction, sometimes in one that was begun before; gives what is to be committed.
    pub(super) fn run(&mut self, node: &Node, moment: &Moment, chance: &mut Chance) -> Option<Request> {
        let begun = self.open.iter().position(|(at, _)| *at == node.number);
        let draft = match begun.filter(|_| chance.one_in(2)) {
            Some(at) => self.open.remove(at).1,
            None => draft(node, false),
        };
        self.run_in(draft, program(chance), moment)
    }

    /// Founds the bank.
    pub(super) fn found(&mut self, node: &Node, moment: &Moment) -> Request {
        self.run_in(draft(node, false), Program::Found, moment).unwrap()
    }

    /// None if the peer may not write.
    fn run_in(&mut self, mut draft: Draft, program: Program, moment: &Moment) -> Option<Request> {
        let number = self.runs.len() as i32;
        let mark = requests::insert(RUNS, vec![rawdoc! { "_id": number }]);
        if let Err(refused) = draft.write(mark, moment) {
            assert_eq!(refused.code(), Some(13), "peer may write: {refused}");
            return None;
        }
        let mut inside = Inside { draft, moment, number };
        let seen = program.run(&mut inside);
        self.runs.push(Run { program, seen });
        Some(inside.draft.into_request())
    }

    /// What of the transactions is in a peer's view is what a serial run in its order gives, of all that is applied and of what is
    /// confirmed.
    pub(super) fn check(&mut self, node: &Node, order: &[EntryHash], confirmed: u64) {
        let view = node.view();
        let settled = view.confirmed().unwrap();
        let (mut model, mut done) = (Model::default(), BTreeSet::new());
        let (of_all, of_settled) = (numbers_in(node, &view), numbers_in(node, &settled));
        let rejections = Rejections::open(&view).unwrap();
        for (place, entry) in order.iter().enumerate() {
            if place as u64 == confirmed {
                compare(node, "confirmed", &settled, &model, (&done, &of_settled));
            }
            let Some(number) = self.number_of(node, entry) else { continue };
            let is_rejected = !rejections.of(entry).unwrap().is_empty();
            // A rejected one may be done again while others have done that, or given it up.
            let is_superseded = settled::of(&view, entry).unwrap() == Settled::Superseded;
            if is_rejected || is_superseded || !of_all.contains(&number) {
                let is_told = is_rejected || is_superseded || is_skipped(node, entry);
                assert!(is_told, "peer {}: a transaction is without effect and not rejected", node.number);
                continue;
            }
            let Run { program, seen } = &self.runs[number];
            assert_eq!(
                &program.run(&mut model),
                seen,
                "peer {}: at its place a transaction would have seen something else: {program:?}",
                node.number
            );
            if !matches!(program, Program::Found) {
                let is_covered = model.duty.is_empty() || model.duty.values().any(|on| *on);
                assert!(is_covered, "peer {}: nobody is on duty", node.number);
            }
            assert!(done.insert(number), "peer {}: a transaction holds twice", node.number);
        }
        if order.len() as u64 == confirmed {
            compare(node, "confirmed", &settled, &model, (&done, &of_settled));
        }
        compare(node, "applied", &view, &model, (&done, &of_all));
    }

    /// The number of the transaction that an entry holds.
    fn number_of(&mut self, node: &Node, entry: &EntryHash) -> Option<usize> {
        if let Some(number) = self.numbers.get(entry) {
            return *number;
        }
        let log = node.log();
        let payload = log.payload(log.number_of(entry).unwrap().unwrap()).unwrap();
        let mark = |step: &Step| match step {
            Step::Write { operation: Operation::Insert { collection, documents }, .. }
                if collection == RUNS =>
            {
                documents.first().map(|mark| mark.get_i32("_id").unwrap() as usize)
            }
            _ => None,
        };
        let number = read_operations(&payload).unwrap_or_default().iter().find_map(|operation| {
            let Operation::Transaction { steps } = operation else { return None };
            steps.iter().find_map(mark)
        });
        self.numbers.insert(*entry, number);
        number
    }
}

/// A transaction on what the peer's readers see, or on what of that is confirmed.
fn draft(node: &Node, confirmed: bool) -> Draft {
    let view = node.readers.as_ref().unwrap().view();
    let view = if confirmed { view.confirmed().unwrap() } else { view };
    Draft::new(view, node.identity.genesis.clone(), node.key())
}

/// Whether an entry has no effect because its author may not write.
fn is_skipped(node: &Node, entry: &EntryHash) -> bool {
    let number = node.log().number_of(entry).unwrap().unwrap();
    let file = node.engine.as_ref().unwrap().database();
    OrderSnapshot::open(&file.begin_read().unwrap()).unwrap().is_skipped(number).unwrap()
}

/// The numbers of the transactions that have left theirs in a view.
fn numbers_in(node: &Node, view: &ViewSnapshot) -> BTreeSet<usize> {
    let draft = Draft::new(view.clone(), node.identity.genesis.clone(), node.key());
    let mut inside = Inside { draft, moment: &Moment::default(), number: 0 };
    let found = inside.find(RUNS, rawdoc! {}, None, 0);
    found.iter().map(|mark| mark.get_i32("_id").unwrap() as usize).collect()
}

fn compare(
    node: &Node,
    which: &str,
    view: &ViewSnapshot,
    model: &Model,
    (done, found): (&BTreeSet<usize>, &BTreeSet<usize>),
) {
    assert_eq!(done, found, "peer {}: other transactions have left their numbers ({which})", node.number);
    let mut model = model.clone();
    model.notes.sort_unstable();
    let bank = bank_of(Draft::new(view.clone(), node.identity.genesis.clone(), node.key()));
    assert_eq!(bank, model, "peer {}: the bank is not that of a serial run ({which})", node.number);
}

/// Any program.
fn program(chance: &mut Chance) -> Program {
    let account = |chance: &mut Chance| chance.below(ACCOUNTS as u64) as u8;
    let person = |chance: &mut Chance| chance.below(PEOPLE as u64) as u8;
    match chance.below(14) {
        0..4 => {
            let (from, to) = (account(chance), account(chance));
            Program::Transfer { from, to, amount: 1 + chance.below(7) as i32 }
        }
        4 | 5 => Program::Blind { account: account(chance), amount: chance.below(7) as i32 - 3 },
        6..9 => Program::Leave { person: person(chance) },
        9 => Program::Join { person: person(chance) },
        10 | 11 => Program::Audit { least: chance.below(25) as i32 },
        12 => Program::Sweep { below: 1 + chance.below(11) as i32, into: account(chance) },
        _ => Program::Rename,
    }
}
