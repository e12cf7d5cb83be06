//! Programs that are run as transactions, and a model that runs them again without any knowledge of how the engine tells whether
//! they hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use bson::{RawDocumentBuf, rawdoc};
use db_index::Filter;

use super::requests;
use crate::engine::{DeleteRequest, Draft, Moment, Reply, Request, Returning, UpdateRequest};
use crate::query::witness::Aspect;
use crate::query::{self, FindOptions};
use crate::view::catalog;

/// How many accounts there are at first, what is on each, and how many people are on duty.
pub(crate) const ACCOUNTS: i32 = 5;
/// See above.
pub(crate) const AMOUNT: i32 = 10;
/// See above.
pub(crate) const PEOPLE: i32 = 3;

/// What a closure of a program's does; numbers are of accounts, peers' duties and amounts.
#[derive(Debug, Clone)]
pub(crate) enum Program {
    /// Opens the accounts and puts everybody on duty.
    Found,
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
pub(crate) trait Bank {
    fn found(&mut self);
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
    pub(crate) fn run(&self, bank: &mut impl Bank) -> Vec<i64> {
        match *self {
            Self::Found => {
                bank.found();
                vec![]
            }
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
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Model {
    pub(crate) accounts: BTreeMap<i32, i32>,
    pub(crate) duty: BTreeMap<i32, bool>,
    pub(crate) notes: Vec<(i32, i32)>,
}

impl Bank for Model {
    fn found(&mut self) {
        self.accounts = (0..ACCOUNTS).map(|id| (id, AMOUNT)).collect();
        self.duty = (0..PEOPLE).map(|id| (id, true)).collect();
    }

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
        if let Some(known) = self.duty.get_mut(&person) {
            *known = on;
        }
    }

    fn note(&mut self, count: i32, sum: i32) {
        self.notes.push((count, sum));
    }
}

/// A transaction of the engine's.
pub(crate) struct Inside<'a> {
    pub(crate) draft: Draft,
    pub(crate) moment: &'a Moment,
    /// What the documents are called that it makes: a number of its own.
    pub(crate) number: i32,
}

impl Inside<'_> {
    pub(crate) fn find(
        &mut self,
        name: &str,
        filter: RawDocumentBuf,
        sort: Option<RawDocumentBuf>,
        limit: u64,
    ) -> Vec<RawDocumentBuf> {
        self.draft.find(name, &FindOptions { filter, sort, limit, ..FindOptions::default() }).unwrap()
    }

    fn update(&mut self, name: &str, filter: RawDocumentBuf, update: RawDocumentBuf, multi: bool) -> Reply {
        let update = UpdateRequest { multi, ..requests::update(name, filter, update) };
        self.draft.write(Request::Update(update), self.moment).unwrap()
    }

    pub(crate) fn insert(&mut self, name: &str, documents: Vec<RawDocumentBuf>) {
        let count = documents.len() as u64;
        let reply = self.draft.write(requests::insert(name, documents), self.moment).unwrap();
        assert_eq!(reply.outcome.inserted, count);
    }
}

/// What a view holds, as the model has it.
pub(crate) fn bank_of(draft: Draft) -> Model {
    let mut inside = Inside { draft, moment: &Moment::default(), number: 0 };
    let number = |document: &RawDocumentBuf, field: &str| document.get_i32(field).unwrap();
    let mut of = |name: &str| inside.find(name, rawdoc! {}, None, 0);
    let accounts =
        of("accounts").iter().map(|account| (number(account, "_id"), number(account, "amount"))).collect();
    let duty =
        of("duty").iter().map(|person| (number(person, "_id"), person.get_bool("on").unwrap())).collect();
    let mut notes: Vec<_> =
        of("notes").iter().map(|note| (number(note, "count"), number(note, "sum"))).collect();
    notes.sort_unstable();
    Model { accounts, duty, notes }
}

impl Bank for Inside<'_> {
    fn found(&mut self) {
        self.insert("accounts", (0..ACCOUNTS).map(|id| rawdoc! { "_id": id, "amount": AMOUNT }).collect());
        self.insert("duty", (0..PEOPLE).map(|id| rawdoc! { "_id": id, "on": true }).collect());
    }

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
            returning: Some(Returning::default()),
            ..requests::delete("accounts", rawdoc! { "_id": id })
        };
        let reply = self.draft.write(Request::Delete(delete), self.moment).unwrap();
        reply.document.map(|account| account.get_i32("amount").unwrap())
    }

    fn open(&mut self, amount: i32) -> i32 {
        let last = self.find("accounts", rawdoc! {}, Some(rawdoc! { "_id": -1 }), 1);
        let id = last.first().map_or(0, |account| account.get_i32("_id").unwrap() + 1);
        self.insert("accounts", vec![rawdoc! { "_id": id, "amount": amount }]);
        id
    }

    fn on_duty(&mut self) -> u64 {
        let filter = Filter::parse(&rawdoc! { "on": true }).unwrap();
        self.draft.note_search("duty", &filter, Aspect::Count).unwrap();
        let view = self.draft.view();
        let Some(meta) = catalog::collection(&view, "duty").unwrap() else { return 0 };
        let count = FindOptions { filter: rawdoc! { "on": true }, ..FindOptions::default() };
        query::count(view, &Arc::new(meta), &count).unwrap()
    }

    fn set_duty(&mut self, person: i32, on: bool) {
        self.update("duty", rawdoc! { "_id": person }, rawdoc! { "$set": { "on": on } }, false);
    }

    fn note(&mut self, count: i32, sum: i32) {
        self.insert("notes", vec![rawdoc! { "_id": self.number, "count": count, "sum": sum }]);
    }
}
