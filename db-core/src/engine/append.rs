//! Appending to this device's log: an operation that was tried, or an ack.
//!
//! All entries of one batch are one run and share a signature, on the last of them. A run ends where the epoch does: what
//! comes after it is judged by the new epoch's rules, which hold only once the run before is counted. It also ends with every
//! vote while a change of members is not confirmed, since others may know only by that vote whether the epoch ends.

use std::collections::BTreeSet;

use super::Batch;
use super::request::Request;
use super::state::OpenRun;
use super::stored_past::StoredPast;
use crate::entry::Header;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{EntryHash, WriterKey};
use crate::limits;
use crate::linearizer::{EntryNumber, IllegalEntry, Node, Position, Standing};
use crate::operation::{self, Operation};
use crate::payload;
use crate::storage::EntryRecord;
use crate::view::history::Stamp;
use crate::view::undo::Undo;

/// When an entry is appended, and which indexers are not waited for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Moment {
    /// The device's clock, in milliseconds since 1970.
    pub(crate) now_ms: u64,
    /// Indexers that are disconnected or silent.
    pub(crate) gone: BTreeSet<WriterKey>,
}

impl Batch<'_, '_> {
    /// Appends a payload whose operations have been run on the view, after everything that is applied to it, with what they
    /// overwrote unless that is stored under the entry's number.
    pub(super) fn append(
        &mut self,
        author: WriterKey,
        operations: &Payload,
        undo: Option<Undo>,
        moment: &Moment,
    ) -> Result<EntryHash> {
        let Written { node, standing, names_all_heads } =
            self.write_entry(author, operations, moment, Past::Applied)?;
        self.add_to_order(&node, &standing)?;
        if let Some(heads) = &mut self.state.applied_heads {
            // Its past is what is applied: there it is the last, wherever it stands once the others are ordered.
            for parent in &node.parents {
                heads.remove(*parent);
            }
            heads.insert(node.number);
            self.push_applied(node.number, undo)?;
            return self.finish_append(&node);
        }
        if !self.state.unordered.contains(node.number) {
            return self.finish_append(&node); // the view was built anew, with the entry
        }
        let (kept, entries) = self.tail_to_apply()?;
        let is_last = names_all_heads && kept == self.state.applied.len() && entries == [node.number];
        if is_last {
            self.push_applied(node.number, undo)?;
            self.state.is_unsettled = false;
        } else {
            // An entry that cannot name all heads may have its place before some of them, and has not seen all that the call
            // was tried on: it is applied at its place.
            let nobody = self.nobody();
            self.with_view(node.number.0, &nobody, |view, applier| {
                applier.catalog.clear();
                view.undo_entry(undo.as_ref())
            })?;
            self.apply_tail(kept, &entries, &mut |_| false)?;
        }
        self.finish_append(&node)
    }

    /// Ends an append of what is applied: what it has confirmed may have left something to order.
    fn finish_append(&mut self, node: &Node) -> Result<EntryHash> {
        self.after_append(node)?;
        if self.state.applied_heads.is_none() {
            self.order_if_little()?;
        } else {
            self.confirm_in_place(limits::ORDERED_AT_ONCE)?;
        }
        Ok(node.hash)
    }

    /// Orders what is left to order where everything stored is applied, if that is little. Else it stays for when nobody waits
    /// for it, and the view as it is until then.
    pub(super) fn order_if_little(&mut self) -> Result<()> {
        if self.is_little_left()? {
            return self.settle();
        }
        self.state.applied_heads = Some(self.state.heads.numbers().clone());
        Ok(())
    }

    /// Whether ordering all that is stored is little.
    fn is_little_left(&mut self) -> Result<bool> {
        if !self.state.is_unsettled {
            return Ok(true);
        }
        let backlog = self.backlog()?;
        let waiting = self.state.confirming.len() as u64;
        let left = backlog.displaced.saturating_add(backlog.unordered).saturating_add(waiting);
        Ok(left <= limits::ORDERED_AT_ONCE)
    }

    /// Whether a call can be tried on the view without much being ordered before.
    pub(crate) fn may_call(&mut self, request: &Request) -> Result<bool> {
        let me = self.writer();
        let is_tried_on_all = matches!(request, Request::ProveForks | Request::RotateKey { .. });
        let may_append = !is_tried_on_all && self.may_append_to_applied(&me)?;
        Ok(self.is_presentable() && (may_append || self.is_little_left()?))
    }

    /// Whether an ack can be appended without much being ordered before.
    pub(crate) fn may_ack(&mut self) -> Result<bool> {
        Ok(self.is_presentable() && self.is_little_left()?)
    }

    /// Whether `author`'s next entry can have just what is applied in its past, so that what else is stored need not be ordered
    /// before it: all heads of what is applied fit in, and the log's own end is applied.
    pub(super) fn may_append_to_applied(&self, author: &WriterKey) -> Result<bool> {
        let Some(heads) = &self.state.applied_heads else { return Ok(false) };
        let tips = self.tables.tips_of(author)?;
        let is_applied = tips.iter().all(|(number, _)| !self.state.unordered.contains(EntryNumber(*number)));
        Ok(is_applied && heads.len() <= limits::PARENTS_MAX && self.is_decided(heads)?)
    }

    /// Appends an ack: an entry that only votes.
    pub(crate) fn append_ack(&mut self, moment: &Moment) -> Result<()> {
        self.settle()?;
        let author = self.state.acking_key(&moment.gone).unwrap_or_else(|| self.writer());
        if !self.own_log_is_whole(&author)? {
            return Ok(());
        }
        let Written { node, standing, .. } =
            self.write_entry(author, &Payload::default(), moment, Past::Applied)?;
        self.add_to_order(&node, &standing)?;
        if self.state.unordered.contains(node.number) {
            let (kept, entries) = self.tail_to_apply()?;
            self.apply_tail(kept, &entries, &mut |_| false)?;
        }
        self.finish_append(&node)?;
        Ok(())
    }

    /// Signs the run being appended.
    pub(super) fn sign_run(&mut self) -> Result<()> {
        let Some(OpenRun { writer, .. }) = self.state.open_run.take() else { return Ok(()) };
        let last = self.state.next_number.saturating_sub(1);
        let record = self.tables.record(last)?.ok_or_else(|| Error::data("an own entry is missing"))?;
        let secret =
            self.secret_of(&writer).ok_or_else(|| Error::new(ErrorKind::Internal, "no key to sign with"))?;
        let signature = ed25519_dalek::Signer::sign(&secret, record.hash.as_bytes()).to_bytes();
        self.tables.sign_entry(last, signature)
    }

    pub(super) fn after_append(&mut self, node: &Node) -> Result<()> {
        let epoch = self.state.linearizer.epoch();
        self.take_parts()?;
        let run_is_full = self
            .state
            .open_run
            .is_some_and(|run| node.number.0 + 1 - run.first >= limits::RUN_ENTRIES_MAX as u64);
        if self.state.linearizer.epoch() != epoch || run_is_full {
            self.sign_run()?;
        }
        Ok(())
    }

    /// Makes the next entry of `author`'s log and stores it, unsigned.
    pub(super) fn write_entry(
        &mut self,
        author: WriterKey,
        payload: &Payload,
        moment: &Moment,
        past: Past,
    ) -> Result<Written> {
        if self.state.open_run.is_some_and(|run| run.writer != author) {
            self.sign_run()?;
        }
        let (prev, Stamp { seq, time, .. }) = self.next_of_log(&author, moment)?;
        let prev_number = prev.as_ref().map(|(number, _)| *number);
        let mut parents: Vec<(EntryHash, u64)> = Vec::new();
        let mut names_all_heads = true;
        let heads = match (past, &self.state.meanwhile) {
            (Past::Seen, Some(meanwhile)) => meanwhile.heads(),
            _ => self.state.applied_heads.as_ref().unwrap_or(self.state.heads.numbers()),
        };
        for head in heads.iter().map(|head| head.0).filter(|head| Some(*head) != prev_number) {
            if parents.len() == limits::PARENTS_MAX {
                names_all_heads = false;
                break;
            }
            parents.push((self.record(head)?.hash, head));
        }
        parents.sort_unstable();
        let number = self.state.next_number;
        let mut node = Node {
            number: EntryNumber(number),
            hash: EntryHash::from_bytes([0; 32]),
            writer: author,
            seq,
            time,
            epoch: 0,
            wave: 0,
            parents: prev_number
                .into_iter()
                .chain(parents.iter().map(|(_, number)| *number))
                .map(EntryNumber)
                .collect(),
            is_ack: payload.bytes.is_empty(),
            is_fork: false,
        };
        let header = prev.as_ref().map(|(_, record)| &record.header);
        let standing = self.choose_position(&mut node, header, moment, past)?;
        self.state.is_as_shown = false;
        let header = Header {
            writer: author,
            seq,
            prev: prev.map(|(_, record)| record.hash),
            parents: parents.into_iter().map(|(hash, _)| hash).collect(),
            time: node.time,
            epoch: node.epoch,
            wave: node.wave,
            checkpoint: None,
            payload_length: payload.bytes.len() as u32,
            payload_hash: *blake3::hash(&payload.bytes).as_bytes(),
        };
        node.hash = header.hash(&self.engine.id);
        let bytes = 8 + header.encode().len() + payload.bytes.len();
        // A run is sent whole, and one beyond the format's limit could never be.
        if self.state.open_run.is_some_and(|run| run.bytes + bytes > limits::OWN_RUN_BYTES_MAX) {
            self.sign_run()?;
        }
        let run = self.state.open_run.get_or_insert(OpenRun { first: number, writer: author, bytes: 0 });
        run.bytes += bytes;
        let first = run.first;
        let record = EntryRecord {
            hash: node.hash,
            signature: None,
            run_offset: (number - first) as u32,
            standing: standing.encode(),
            header,
        };
        self.store(&node, &record, &payload.bytes, payload.touches_membership)?;
        if standing.votes() && !self.state.membership.is_empty() {
            self.sign_run()?;
        }
        Ok(Written { node, standing, names_all_heads })
    }

    /// The last entry of `author`'s log with its number, and the stamp of the next one. Of a log that was forked the longest
    /// branch goes on.
    pub(super) fn next_of_log(
        &self,
        author: &WriterKey,
        moment: &Moment,
    ) -> Result<(Option<(u64, EntryRecord)>, Stamp)> {
        let tip = self.tables.tips_of(author)?.into_iter().max_by_key(|(_, length)| *length);
        let prev = match tip {
            Some((number, _)) => Some((number, self.record(number)?)),
            None => None,
        };
        let header = prev.as_ref().map(|(_, record)| &record.header);
        let seq = header.map_or(0, |header| header.seq + 1);
        let time = header.map_or(0, |header| header.time).max(moment.now_ms);
        Ok((prev, Stamp { writer: *author, seq, time }))
    }

    /// Sets epoch and wave to what votes and proposes as the entry can; gives its standing.
    ///
    /// An entry that cannot name all heads as parents may see less than the linearizer takes it to see; then it carries
    /// the wave of the entry before it, which is always legal. So does one that is not to vote.
    fn choose_position(
        &self,
        node: &mut Node,
        prev: Option<&Header>,
        moment: &Moment,
        of: Past,
    ) -> Result<Standing> {
        let past = StoredPast::new(&self.tables);
        let mut best = self.state.linearizer.next_position(&node.writer, &moment.gone);
        let wave_before = |epoch| prev.filter(|prev| prev.epoch == epoch).map_or(0, |prev| prev.wave);
        if of == Past::Seen {
            best.wave = best.wave.min(wave_before(best.epoch));
        }
        let mut next = Some(best);
        let mut refused = None;
        for _ in 0..3 {
            let Some(position) = next else { break };
            (node.epoch, node.wave) = (position.epoch, position.wave);
            let checked = self.state.linearizer.check(node, &past);
            match past.checked(checked)? {
                Ok(standing) => return Ok(standing),
                Err(IllegalEntry::WrongEpoch { known, .. }) => {
                    next = Some(Position { epoch: known, wave: wave_before(known) });
                }
                Err(illegal) => {
                    refused = Some(illegal);
                    next = Some(Position { epoch: position.epoch, wave: wave_before(position.epoch) });
                }
            }
        }
        let error = Error::new(ErrorKind::Internal, "an own entry breaks the linearizer's rules");
        Err(match refused {
            Some(illegal) => error.with_source(illegal),
            None => error,
        })
    }

    fn record(&self, number: u64) -> Result<EntryRecord> {
        self.tables.record(number)?.ok_or_else(|| Error::data("a stored entry is missing"))
    }
}

/// What an own entry has in its past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Past {
    /// All that is applied, or all that is stored.
    Applied,
    /// What readers see while the view does not hold that.
    Seen,
}

/// An own entry that was stored.
pub(super) struct Written {
    pub(super) node: Node,
    pub(super) standing: Standing,
    /// Whether it has seen everything that was stored before it.
    names_all_heads: bool,
}

/// The payload of an own entry; an ack's by default.
#[derive(Default)]
pub(super) struct Payload {
    bytes: Vec<u8>,
    touches_membership: bool,
}

/// Why a call that would be too large an entry is refused.
pub(super) fn too_large() -> Error {
    Error::invalid("the call is too large for one entry: split it; limit_bytes=16777216").with_code(10_334)
}

/// The payload of these operations.
pub(super) fn payload_of(operations: &[Operation]) -> Result<Payload> {
    if operations.len() > limits::OPERATIONS_MAX {
        return Err(too_large());
    }
    let plain = operation::encode(operations);
    if plain.len() > limits::PAYLOAD_PLAIN_BYTES_MAX {
        return Err(too_large());
    }
    // What other peers cannot read is a no-op to them, while it is applied here: nothing of the kind may be logged.
    if let Err(unreadable) = operation::decode(&plain) {
        return Err(Error::invalid(format!("the call breaks a limit once it is logged: {unreadable}")));
    }
    let bytes = payload::pack(&plain);
    if bytes.len() > limits::PAYLOAD_BYTES_MAX {
        return Err(too_large());
    }
    Ok(Payload { bytes, touches_membership: operations.iter().any(Operation::touches_membership) })
}
