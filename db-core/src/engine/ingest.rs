//! Taking in runs of peers: everything about a run that its signature does not say is checked here.

use std::cell::RefCell;
use std::collections::BTreeMap;

use thiserror::Error;

use super::Batch;
use super::state::State;
use super::stored_past::{StoredPast, new_node};
use crate::apply::{EntryToApply, read_operations, read_with_size};
use crate::entry::{Admission, Entry, VerifiedRun, link_holds, verifying_key};
use crate::error::{Error as StoreError, Result};
use crate::ids::{EntryHash, WriterKey};
use crate::limits;
use crate::linearizer::{EntryNumber, Facts, IllegalEntry, Node, Past, Standing};
use crate::operation::Operation;
use crate::payload::Unreadable;
use crate::storage::EntryRecord;

/// Why a run of a peer is refused. Nothing of it is stored, and the peer that sent it is cut off.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub(crate) enum IngestError {
    /// `prev` is not stored: the run leaves a gap in its log.
    #[error("the entry before it in its log is not known: entry={}", .0.short())]
    AbsentPrev(EntryHash),
    /// A parent is not stored: the peer sends out of causal order.
    #[error("a parent is not known: entry={}", .0.short())]
    AbsentParent(EntryHash),
    /// `prev` is an entry of another log or place, or of a later time.
    #[error("the entry does not continue its log: entry={}", .0.short())]
    WrongPrev(EntryHash),
    /// The entry breaks a rule of the linearizer: an illegal wave, for example.
    #[error("{reason}: entry={}", entry.short())]
    Illegal {
        /// Which rule.
        reason: IllegalEntry,
        /// The entry.
        entry: EntryHash,
    },
    /// What follows a vote in its run can be judged only once that is counted, which takes its own signature.
    #[error("the run goes on after a vote that may change who votes: entry={}", .0.short())]
    RunGoesOn(EntryHash),
    /// Not for ever: an indexer that has forked its log demands another order of what is confirmed, and as often as that is
    /// allowed now it was done. The run is to be taken in later ([`super::Engine::allow_rebuilds`]).
    #[error("a forked indexer's log breaks what was confirmed, too soon after the last time: entry={}", .0.short())]
    BreaksTooSoon(EntryHash),
    /// The writer is nobody that this database knows.
    #[error("the writer is not admitted: writer={}", .0.short())]
    Denied(WriterKey),
    /// Only the founding entry may stand in the founder's log of an open database: one that holds.
    #[error("an open database's founder writes one entry only, which appoints indexers: entry={}", .0.short())]
    FounderLog(EntryHash),
    /// The entry accuses a writer of a fork and does not prove it, or accuses more of them than one entry may.
    #[error("a proof of a fork does not hold: entry={}", .0.short())]
    FalseProof(EntryHash),
    /// The entry holds what only a later version of this program understands.
    #[error("upgrade needed: {0}")]
    UpgradeNeeded(&'static str),
}

/// How many bytes of operations, unpacked, a transaction holds from their check until they are applied; more are read again.
const HELD_BYTES_MAX: usize = 1024 * 1024;

/// An entry that has passed every check.
struct Checked<'a> {
    entry: &'a Entry,
    node: Node,
    standing: Standing,
    touches_membership: bool,
    /// As they were read, unless those of the transaction are too much to be held together.
    operations: Option<Result<Vec<Operation>, Unreadable>>,
}

impl Batch<'_, '_> {
    /// Stores a run and hands it to the linearizer; what is confirmed by it, and the tail, are applied by [`Batch::settle`]. Of
    /// a run that is not in order nothing is stored. One that is stored already is nothing new.
    pub(crate) fn ingest(&mut self, run: &VerifiedRun) -> Result<Result<(), IngestError>> {
        loop {
            if let Some(taken) = self.ingest_or_wait(run)? {
                return Ok(taken);
            }
            self.confirm(&mut |_| false)?;
        }
    }

    /// The same; none, and nothing is done, if what is confirmed has to be at its place before the run can be judged
    /// ([`Batch::confirm_until`]).
    pub(crate) fn ingest_or_wait(&mut self, run: &VerifiedRun) -> Result<Option<Result<(), IngestError>>> {
        // No entry is stored without those before it in its log.
        let (mut stored, entries) = (0, run.entries());
        while let Some(entry) = entries.get(stored)
            && self.tables.number_of(&entry.hash)?.is_some()
        {
            stored += 1;
        }
        let new: Vec<&Entry> = entries.iter().skip(stored).collect();
        let Some(first) = new.first() else { return Ok(Some(Ok(()))) };
        let goes_on_for = match self.admit(first)? {
            Ok(goes_on_for) => goes_on_for,
            Err(refused) => {
                // It may have been admitted by somebody whose entries are held back: then it has no more effect than those.
                let is_dropped =
                    self.state.held_back.is_any() && self.state.held_back.note(&first.header.writer);
                return Ok(Some(if is_dropped { Ok(()) } else { Err(refused) }));
            }
        };
        if self.holds_back(&first.header.writer, goes_on_for.as_ref())? {
            return Ok(Some(Ok(())));
        }
        let checked = match self.check(&new)? {
            Ok(checked) => checked,
            Err(IngestError::Illegal { reason: IllegalEntry::PartInHand, .. }) => return Ok(None),
            Err(refused) => {
                if matches!(refused, IngestError::AbsentParent(_) | IngestError::AbsentPrev(_)) {
                    self.state.held_back.note_absent();
                }
                return Ok(Some(Err(refused)));
            }
        };
        self.sign_run()?;
        if self.state.unordered.is_empty() && self.state.applied_heads.is_none() {
            self.order_if_little()?; // a part may have left the tail in another order
            self.state.applied_heads = Some(self.state.heads.numbers().clone());
        }
        let record = |(offset, one): (usize, &Checked<'_>)| EntryRecord {
            hash: one.entry.hash,
            signature: (offset + 1 == checked.len()).then(|| *run.signature()),
            run_offset: offset as u32,
            standing: one.standing.encode(),
            header: one.entry.header.clone(),
        };
        let records: Vec<EntryRecord> = checked.iter().enumerate().map(record).collect();
        let payloads = checked.iter().map(|one| one.entry.payload.as_slice());
        self.tables.append_entries(self.state.next_number, records.iter().zip(payloads))?;
        for one in checked {
            self.note_stored(&one.node, &one.entry.payload, one.touches_membership)?;
            if let Some(operations) = one.operations {
                let header = &one.entry.header;
                let (hash, writer) = (one.entry.hash, header.writer);
                let entry = EntryToApply { hash, writer, seq: header.seq, time: header.time, operations };
                self.state.at_hand.entries.insert(one.node.number.0, (entry, one.entry.payload.len()));
            }
            self.add_to_order(&one.node, &one.standing)?;
            self.take_parts()?;
        }
        if self.state.keys.secret_of(&first.header.writer).is_some() {
            self.own_log_is_whole(&first.header.writer)?; // what was missing of it may have come
        }
        Ok(Some(Ok(())))
    }

    /// Stores an entry under its node's number and notes what it means for heads, forks and members.
    pub(super) fn store(
        &mut self,
        node: &Node,
        record: &EntryRecord,
        payload: &[u8],
        touches_membership: bool,
    ) -> Result<()> {
        self.tables.append_entries(node.number.0, std::iter::once((record, payload)))?;
        self.note_stored(node, payload, touches_membership)
    }

    /// Notes of an entry that is stored under its node's number what it means for heads, forks and members.
    fn note_stored(&mut self, node: &Node, payload: &[u8], touches_membership: bool) -> Result<()> {
        let number = node.number.0;
        self.state.next_number = number + 1;
        for parent in &node.parents {
            self.state.heads.remove(*parent);
        }
        self.state.heads.insert(node.number);
        if node.is_fork && self.state.forked.insert(node.writer) {
            tracing::warn!(writer = %node.writer.short(), seq = node.seq, "a writer has signed two entries with one seq");
        }
        if node.is_fork
            && self.state.linearizer.indexers().contains(&node.writer)
            && self.state.alarms.insert(node.writer)
        {
            tracing::error!(
                indexer = %node.writer,
                "ALARM: an indexer has forked its log: what it has confirmed may be confirmed otherwise elsewhere"
            );
        }
        if touches_membership {
            self.state.membership.insert(node.number);
            for operation in read_operations(payload).unwrap_or_default() {
                for writer in operation.named_writers() {
                    self.state.held_back.note_named(writer);
                    self.tables.put_named(writer)?;
                }
            }
        }
        Ok(())
    }

    /// Whether entries of a run's writer are stored at all. In a closed database a stranger's are not, or anybody with the key
    /// could fill the disk. Whoever stands in a stored entry that gives or takes roles is none, whether that entry is in
    /// force or not: the order may yet void it, and a peer that stored a newcomer's entries before must not be cut off for them.
    /// Nor is who begins its log by showing, signed, that it goes on for one of those, which is given back.
    fn admit(&self, first: &Entry) -> Result<Result<Option<WriterKey>, IngestError>> {
        let genesis = &self.engine.identity.genesis;
        let writer = &first.header.writer;
        let is_stored = |writer: &WriterKey| -> Result<bool> {
            Ok(*writer == genesis.founder || self.tables.is_named(writer)?)
        };
        if genesis.admission == Admission::Open {
            return Ok(Ok(None));
        }
        if first.header.seq == 0
            && let Ok([Operation::Rotate { from, to, signature }, ..]) =
                read_operations(&first.payload).as_deref()
            && to == writer
            && is_stored(from)?
            && link_holds(&self.engine.id, from, to, from, signature)
        {
            return Ok(Ok(Some(*from)));
        }
        if is_stored(writer)? {
            return Ok(Ok(None));
        }
        Ok(Err(IngestError::Denied(*writer)))
    }

    /// Checks consecutive entries of one log before any of them is stored.
    fn check<'a>(&mut self, entries: &[&'a Entry]) -> Result<Result<Vec<Checked<'a>>, IngestError>> {
        let mut checked: Vec<Checked<'a>> = Vec::with_capacity(entries.len());
        let mut held_bytes = self.state.at_hand.plain_bytes;
        let past = RunPast { stored: StoredPast::new(&self.tables), of_run: RefCell::default() };
        for entry in entries {
            let node = match self.node_of_new(entry, &checked)? {
                Ok(node) => node,
                Err(refused) => return Ok(Err(refused)),
            };
            let checked_by_rules = self.state.linearizer.check_in_run(&node, forks_in(&checked), &past);
            let standing = match past.stored.checked(checked_by_rules)? {
                Ok(standing) => standing,
                Err(reason) => return Ok(Err(IngestError::Illegal { reason, entry: entry.hash })),
            };
            let (operations, plain_bytes) = read_with_size(&entry.payload);
            let touches_membership = match &operations {
                Ok(operations) => operations.iter().any(Operation::touches_membership),
                Err(Unreadable::Malformed(_)) => false,
                Err(Unreadable::UpgradeNeeded(what)) => return Ok(Err(IngestError::UpgradeNeeded(what))),
            };
            if let Ok(operations) = &operations
                && !self.proofs_hold(operations)
            {
                return Ok(Err(IngestError::FalseProof(entry.hash)));
            }
            held_bytes = held_bytes.saturating_add(plain_bytes);
            let operations = (held_bytes <= HELD_BYTES_MAX).then_some(operations);
            past.of_run.borrow_mut().insert(node.number, (standing.clone(), node.parents.clone()));
            checked.push(Checked { entry, node, standing, touches_membership, operations });
        }
        let deciding = self.state.deciding_vote(&checked, &past);
        if let Some(entry) = past.stored.checked(deciding)? {
            // It may be decided already, by what is in hand.
            let is_decided = self.state.confirming.is_decided();
            let waits = IngestError::Illegal { reason: IllegalEntry::PartInHand, entry };
            return Ok(Err(if is_decided { IngestError::RunGoesOn(entry) } else { waits }));
        }
        if self.state.rebuilds.are_spent() {
            let entries = checked.iter().map(|one| (&one.node, &one.standing));
            let may_break = self.state.linearizer.may_break(entries, forks_in(&checked), &past);
            if let (true, Some(first)) = (past.stored.checked(may_break)?, checked.first()) {
                return Ok(Err(IngestError::BreaksTooSoon(first.entry.hash)));
            }
        }
        self.state.at_hand.plain_bytes = held_bytes;
        Ok(Ok(checked))
    }

    /// Whether all that is said of forks is proved. Whoever accuses falsely is no honest program, so its entry is not stored.
    fn proofs_hold(&self, operations: &[Operation]) -> bool {
        let proofs = operations.iter().filter_map(|operation| match operation {
            Operation::ForkProof(proof) => Some(proof),
            _ => None,
        });
        proofs.clone().count() <= limits::FORK_PROOFS_MAX
            && proofs.into_iter().all(|proof| proof.verify(&self.engine.id).is_ok())
    }

    /// The node of an entry that is about to be stored after `before`, the entries of its run.
    fn node_of_new(&self, entry: &Entry, before: &[Checked<'_>]) -> Result<Result<Node, IngestError>> {
        let header = &entry.header;
        let is_founders = self.engine.identity.genesis.admission == Admission::Open
            && header.writer == self.engine.identity.genesis.founder;
        if is_founders && (header.seq > 0 || !is_founding(&entry.payload)) {
            return Ok(Err(IngestError::FounderLog(entry.hash)));
        }
        let mut parents = Vec::with_capacity(header.parents.len() + 1);
        if let Some(prev) = header.prev {
            let (number, continues) = if let Some(last) = before.last() {
                (last.node.number, true) // the run's own chain is verified
            } else {
                let Some(number) = self.tables.number_of(&prev)? else {
                    return Ok(Err(IngestError::AbsentPrev(entry.hash)));
                };
                let record =
                    self.tables.record(number)?.ok_or_else(|| StoreError::data("an entry is missing"))?;
                let continues = record.header.writer == header.writer
                    && record.header.seq.checked_add(1) == Some(header.seq)
                    && record.header.time <= header.time;
                (EntryNumber(number), continues)
            };
            if !continues {
                return Ok(Err(IngestError::WrongPrev(entry.hash)));
            }
            parents.push(number);
        }
        for parent in &header.parents {
            let in_run = before.iter().find(|checked| checked.entry.hash == *parent);
            match in_run.map(|checked| checked.node.number.0).or(self.tables.number_of(parent)?) {
                Some(number) => parents.push(EntryNumber(number)),
                None => return Ok(Err(IngestError::AbsentParent(entry.hash))),
            }
        }
        // Where nothing is stored at one place of a log, nothing is at the next.
        let is_fork = before.last().is_none_or(|before| before.node.is_fork)
            && !self.tables.numbers_at(&header.writer, header.seq)?.is_empty();
        let number = EntryNumber(self.state.next_number + before.len() as u64);
        Ok(Ok(new_node(number, entry.hash, header, parents, is_fork)))
    }
}

impl State {
    /// A vote in a run, and not the last entry of it, that may change who votes once it is counted: then what follows was not judged
    /// as those judge it who had the vote before. In the past of such a vote is a change of members that is not confirmed, or the
    /// end of its epoch. No honest author goes on in the same run: see [`Batch::write_entry`].
    ///
    /// Whoever has stored such a run had what decides it before. It comes first to those who are sent both.
    fn deciding_vote(&mut self, run: &[Checked<'_>], past: &RunPast<'_, '_>) -> Option<EntryHash> {
        let (_, followed) = run.split_last()?;
        let last = followed.iter().rposition(|one| one.standing.votes())?;
        let until = followed.get(..=last)?;
        let last = until.last()?.entry.hash;
        if until.iter().any(|one| one.touches_membership) {
            return Some(last);
        }
        if !self.membership.is_empty() {
            let parents: Vec<_> = until.iter().flat_map(|one| one.node.parents.iter().copied()).collect();
            if self.linearizer.may_hold_change(&parents, self.membership.numbers(), past) {
                return Some(last);
            }
        }
        // What a vote has in its past those after it have too, as long as the epoch is the same.
        let mut looked_at = None;
        for (at, one) in until.iter().enumerate().rev().filter(|(_, one)| one.standing.votes()) {
            let (epoch, forks) = (one.standing.epoch(), forks_in(run.get(..at)?));
            if looked_at.replace(epoch) != Some(epoch)
                && self.linearizer.sees_end(&one.standing, &one.node.parents, forks, past)
            {
                return Some(one.entry.hash);
            }
        }
        None
    }
}

/// The author of these entries of a run, which follow one another, if the first of them is a fork.
fn forks_in<'a>(run: &'a [Checked<'_>]) -> Option<&'a WriterKey> {
    run.first().filter(|first| first.node.is_fork).map(|first| &first.node.writer)
}

/// Whether a payload is that of a founding entry which holds wherever it stands: one that does not would take the place of
/// every other, for ever.
fn is_founding(payload: &[u8]) -> bool {
    match read_operations(payload).as_deref() {
        Ok([Operation::SetIndexers { writers }]) => {
            !writers.is_empty() && writers.iter().all(|writer| verifying_key(writer).is_some())
        }
        _ => false,
    }
}

/// The past of an entry of a run: what is stored, and the entries of the run before it.
struct RunPast<'a, 'txn> {
    stored: StoredPast<'a, 'txn>,
    of_run: RefCell<BTreeMap<EntryNumber, (Standing, Vec<EntryNumber>)>>,
}

impl Past for RunPast<'_, '_> {
    fn standing(&self, number: EntryNumber) -> Option<Standing> {
        let of_run = self.of_run.borrow().get(&number).map(|(standing, _)| standing.clone());
        of_run.or_else(|| self.stored.standing(number))
    }

    fn parents(&self, number: EntryNumber) -> Vec<EntryNumber> {
        let of_run = self.of_run.borrow().get(&number).map(|(_, parents)| parents.clone());
        of_run.unwrap_or_else(|| self.stored.parents(number))
    }

    fn facts(&self, number: EntryNumber) -> Option<Facts> {
        self.stored.facts(number) // nothing of the run is in the order yet
    }
}
