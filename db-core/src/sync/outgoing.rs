//! What is still to be sent to the peer, in which order, and how much of it may be on its way.

use std::collections::{BTreeMap, BTreeSet};

use super::close::CloseReason;
use super::frame::{RUNS_FRAME_MAX, RUNS_HEADER_BYTES, encode_runs};
use super::frontier::Lack;
use crate::ids::{EntryHash, WriterKey};
use crate::log_reader::{LogReader, StoredRun};

/// How many bytes of runs may be on their way; a frame beyond it may go only when nothing else is.
pub(super) const WINDOW_BYTES: u64 = 4 * 1024 * 1024;
/// Frames are closed once they have this many bytes.
const FRAME_BYTES_TARGET: usize = 512 * 1024;
/// How much one call reads at the most, so that a long search does not hold up the engine: entries, and so many bytes count
/// as one.
const READS_PER_CALL: usize = 4_096;
const BYTES_PER_READ: usize = 4_096;
/// How many runs of the peer are remembered as its own, so as not to send them back; more are merely sent in vain.
const RECEIVED_MAX: usize = 16_384;

/// The entries to send: first what the peer lacked when the logs were compared, then whatever was stored since.
///
/// Each part goes by ascending local numbers, which is causal order.
#[derive(Default)]
pub(super) struct Outgoing {
    /// For each log with one branch that the peer lacks: the number of the next entry to send.
    behind: BTreeSet<(u64, WriterKey)>,
    /// The logs with several branches, to be sent whole, and from which number on they are still to be looked for.
    forked: BTreeSet<WriterKey>,
    forked_next: u64,
    /// Entries below this number were compared.
    compared_end: u64,
    /// From this number on entries are new and not yet sent.
    fresh_next: u64,
    /// The last hashes of runs that the peer sent and that were not yet passed by `fresh_next`.
    received: BTreeSet<EntryHash>,
    /// A run that did not fit into the last frame, encoded, and how many entries it holds.
    stash: Option<(Vec<u8>, u64)>,
    in_flight: u64,
    told_caught_up: bool,
}

/// What a call to [`Outgoing::next`] gives.
pub(super) enum Next {
    /// A frame of runs, and how many entries are in it.
    Frame(Vec<u8>, u64),
    /// All that the peer lacked when the logs were compared has been sent.
    CaughtUp,
    /// There is more, and this call has done enough.
    More,
    /// There is nothing to send, or no room for it.
    Nothing,
}

enum NextRun {
    Run(Vec<u8>, u64),
    More,
    Nothing,
}

impl Outgoing {
    /// Nothing but what comes after the first `compared_end` entries: the frontiers were equal.
    pub(super) fn of_equals(compared_end: u64) -> Self {
        Self {
            compared_end,
            fresh_next: compared_end,
            forked_next: compared_end,
            told_caught_up: true,
            ..Self::default()
        }
    }

    /// What the peer lacked, and then what comes after the first `compared_end` entries.
    pub(super) fn new<L: LogReader>(
        lacks: BTreeMap<WriterKey, Lack>,
        compared_end: u64,
        log: &L,
    ) -> Result<Self, L::Error> {
        let mut outgoing =
            Self { compared_end, fresh_next: compared_end, forked_next: compared_end, ..Self::default() };
        for (writer, lack) in lacks {
            let from = match lack {
                Lack::From(from) => from,
                Lack::AllBranches => 0,
            };
            let Some(number) = log.number_at(&writer, from)?.filter(|number| *number < compared_end) else {
                continue;
            };
            if lack == Lack::AllBranches {
                outgoing.forked.insert(writer);
                outgoing.forked_next = outgoing.forked_next.min(number);
            } else {
                outgoing.behind.insert((number, writer));
            }
        }
        Ok(outgoing)
    }

    /// Notes that the peer holds the run that ends with this entry, whose number, if it is stored, is given.
    pub(super) fn note_received(&mut self, head: EntryHash, number: Option<u64>) {
        if number.is_some_and(|number| number < self.fresh_next) {
            return;
        }
        if self.received.len() >= RECEIVED_MAX {
            self.received.clear();
        }
        self.received.insert(head);
    }

    /// Notes that the peer has stored this many bytes and may be sent as many more.
    pub(super) fn credit(&mut self, bytes: u64) -> Result<(), CloseReason> {
        let in_flight = self.in_flight;
        self.in_flight =
            in_flight.checked_sub(bytes).ok_or(CloseReason::CreditExceeded { bytes, in_flight })?;
        Ok(())
    }

    /// The next thing to send; to be called until it gives `More` or `Nothing`. `reads` starts at 0 and is kept between
    /// the calls of one turn.
    pub(super) fn next<L: LogReader>(&mut self, log: &L, reads: &mut usize) -> Result<Next, L::Error> {
        let (mut runs, mut entries, mut bytes) = (Vec::new(), 0, RUNS_HEADER_BYTES);
        let mut stopped = Next::Nothing;
        while bytes < FRAME_BYTES_TARGET && runs.len() < RUNS_FRAME_MAX && self.has_room(bytes) {
            let (run, count) = match self.next_run(log, reads)? {
                NextRun::Run(run, count) => (run, count),
                NextRun::More => {
                    stopped = Next::More;
                    break;
                }
                NextRun::Nothing => break,
            };
            let longer = bytes + 4 + run.len();
            if !runs.is_empty() && (longer > FRAME_BYTES_TARGET || !self.has_room(longer)) {
                self.stash = Some((run, count));
                break;
            }
            if runs.is_empty() && !self.has_room(longer) {
                self.stash = Some((run, count));
                return Ok(Next::Nothing);
            }
            bytes = longer;
            entries += count;
            runs.push(run);
        }
        if !runs.is_empty() {
            let frame = encode_runs(&runs);
            self.in_flight += frame.len() as u64;
            return Ok(Next::Frame(frame, entries));
        }
        if !self.told_caught_up && self.is_caught_up() {
            self.told_caught_up = true;
            return Ok(Next::CaughtUp);
        }
        Ok(stopped)
    }

    /// Whether a frame of this length may go out now. One that is longer than the window waits until it is alone.
    fn has_room(&self, bytes: usize) -> bool {
        self.in_flight == 0 || self.in_flight + bytes as u64 <= WINDOW_BYTES
    }

    fn is_caught_up(&self) -> bool {
        self.stash.is_none() && self.behind.is_empty() && self.forked_next >= self.compared_end
    }

    fn next_run<L: LogReader>(&mut self, log: &L, reads: &mut usize) -> Result<NextRun, L::Error> {
        if let Some((run, count)) = self.stash.take() {
            return Ok(NextRun::Run(run, count));
        }
        loop {
            if *reads >= READS_PER_CALL {
                return Ok(NextRun::More);
            }
            *reads += 1;
            let found = if !self.is_caught_up() {
                self.next_compared(log, reads)?
            } else if self.told_caught_up {
                if self.fresh_next >= log.end() {
                    return Ok(NextRun::Nothing);
                }
                self.next_fresh(log, reads)?
            } else {
                return Ok(NextRun::Nothing);
            };
            if let Some(stored) = found {
                return Ok(NextRun::Run(stored.run.encode(), stored.run.entries().len() as u64));
            }
        }
    }

    /// Takes one step through what the peer lacked when the logs were compared; none if that met nothing to send.
    fn next_compared<L: LogReader>(
        &mut self,
        log: &L,
        reads: &mut usize,
    ) -> Result<Option<StoredRun>, L::Error> {
        let forked_next = (self.forked_next < self.compared_end).then_some(self.forked_next);
        let behind = self.behind.first().copied();
        let in_order = |(number, _): &(u64, WriterKey)| forked_next.is_none_or(|forked| *number < forked);
        if let Some((number, writer)) = behind.filter(in_order) {
            self.behind.remove(&(number, writer));
            let Some(stored) = read_run(log, number, reads)? else { return Ok(None) };
            let after = stored.run.entries().last().and_then(|entry| entry.header.seq.checked_add(1));
            if let Some(after) = after
                && let Some(next) = log.number_at(&writer, after)?.filter(|next| *next < self.compared_end)
            {
                self.behind.insert((next, writer));
            }
            return Ok(Some(stored));
        }
        let Some(writer) = log.writer_at(self.forked_next)? else {
            self.forked_next = self.compared_end;
            return Ok(None);
        };
        if !self.forked.contains(&writer) {
            self.forked_next += 1;
            return Ok(None);
        }
        let stored = read_run(log, self.forked_next, reads)?;
        self.forked_next = stored.as_ref().map_or(self.forked_next, end_of).max(self.forked_next + 1);
        Ok(stored)
    }

    /// Takes one step through what was stored since; none if the peer sent it itself.
    fn next_fresh<L: LogReader>(
        &mut self,
        log: &L,
        reads: &mut usize,
    ) -> Result<Option<StoredRun>, L::Error> {
        let Some(stored) = read_run(log, self.fresh_next, reads)? else {
            self.fresh_next += 1;
            return Ok(None);
        };
        self.fresh_next = end_of(&stored).max(self.fresh_next + 1);
        let head = stored.run.entries().last().map(|entry| entry.hash);
        Ok(if head.is_some_and(|head| self.received.remove(&head)) { None } else { Some(stored) })
    }
}

/// Reads a run and counts what that has cost.
fn read_run<L: LogReader>(log: &L, number: u64, reads: &mut usize) -> Result<Option<StoredRun>, L::Error> {
    let stored = log.run_at(number)?;
    let entries = stored.iter().flat_map(|stored| stored.run.entries());
    *reads += entries.map(|entry| 1 + entry.payload.len() / BYTES_PER_READ).sum::<usize>();
    Ok(stored)
}

/// The number after the run's last entry.
fn end_of(stored: &StoredRun) -> u64 {
    stored.first + stored.run.entries().len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::memory_log::MemoryLog;

    #[test]
    fn a_search_through_large_entries_for_a_forked_log_is_cut_into_short_turns() {
        let mut log = MemoryLog::default();
        log.write_branch(9, 1, 0);
        for _ in 0..6 {
            let tip = log.tips().unwrap().into_iter().find(|tip| tip.writer == MemoryLog::writer(1));
            log.write_after(1, tip, vec![vec![1; 4_000_000]]);
        }
        log.write_after(9, None, vec![vec![5; 20]]);
        let lacks = BTreeMap::from([(MemoryLog::writer(9), Lack::AllBranches)]);
        let mut outgoing = Outgoing::new(lacks, log.end(), &log).unwrap();
        let (mut entries, mut caught_up) = (0, false);
        while !caught_up {
            match outgoing.next(&log, &mut 0).unwrap() {
                Next::Frame(_, count) => entries += count,
                Next::CaughtUp => caught_up = true,
                Next::More => {}
                Next::Nothing => panic!("the search stopped short"),
            }
        }
        assert_eq!(entries, 2, "both branches, and none of the entries between them");

        // What has to be read costs by its bytes: 24 MB of entries are no single turn's work.
        let lacks = BTreeMap::from([(MemoryLog::writer(1), Lack::From(0))]);
        let mut outgoing = Outgoing::new(lacks, log.end(), &log).unwrap();
        let (mut reads, mut frames) = (0, 0);
        while let Next::Frame(frame, _) = outgoing.next(&log, &mut reads).unwrap() {
            outgoing.credit(frame.len() as u64).unwrap();
            frames += 1;
        }
        assert!(frames < 6 && reads >= READS_PER_CALL, "{frames} frames, {reads} reads");
    }
}
