//! Comparing frontiers: from the peer's list of tips and our own, which logs the peer lacks and from where.

use std::collections::BTreeMap;
use std::ops::Range;

use super::close::CloseReason;
use crate::ids::WriterKey;
use crate::log_reader::{LogReader, Tip};

/// The most tips that a peer may list.
pub(super) const TIPS_MAX: u64 = 1 << 20;

/// One hash for a whole frontier, so that equal peers see it at once.
pub(super) fn fingerprint(tips: &[Tip]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("combdb frontier v1");
    for tip in tips {
        hasher.update(tip.writer.as_bytes()).update(&tip.length.to_le_bytes()).update(tip.head.as_bytes());
    }
    *hasher.finalize().as_bytes()
}

/// What the peer lacks of one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lack {
    /// Everything from this place on, of a log with one branch.
    From(u64),
    /// All of a log that has more than one branch.
    AllBranches,
}

/// Compares our tips, as they were told to the peer, with the peer's as they come in. Both lists ascend, so the memory
/// it takes depends on our own list, however long the peer's.
pub(super) struct Comparison {
    /// Our tips when our fingerprint was taken, ascending.
    own: Vec<Tip>,
    /// The number of entries stored then: what arrived later is unknown to the comparison, as it is to the peer.
    end: u64,
    /// How many of our tips belong to writers at or before the peer's last.
    passed: usize,
    count: u64,
    last: Option<Tip>,
    group: Option<Group>,
    lacks: BTreeMap<WriterKey, Lack>,
    wanted: Vec<WriterKey>,
}

/// What the peer listed of one writer of whom we have entries.
struct Group {
    own: Range<usize>,
    /// The length of our longest branch.
    own_length: u64,
    /// How many of our tips the peer listed.
    matched: usize,
    /// Up to where the peer is known to hold our branch.
    known_length: u64,
    /// The peer listed an unknown head beyond our length: it holds our branch, or it will want all of it.
    ahead: bool,
    /// The peer listed an unknown head at a length that we have: the branches differ.
    forked: bool,
}

impl Comparison {
    pub(super) fn new(own: Vec<Tip>, end: u64) -> Self {
        Self {
            own,
            end,
            passed: 0,
            count: 0,
            last: None,
            group: None,
            lacks: BTreeMap::new(),
            wanted: Vec::new(),
        }
    }

    /// Takes in a part of the peer's list.
    pub(super) fn add<L: LogReader>(
        &mut self,
        tips: &[Tip],
        log: &L,
    ) -> Result<Result<(), CloseReason>, L::Error> {
        for tip in tips {
            if let Err(reason) = self.check(tip) {
                return Ok(Err(reason));
            }
            if self.last.is_none_or(|last| last.writer != tip.writer) {
                self.open_group(tip.writer);
            }
            self.last = Some(*tip);
            self.compare(tip, log)?;
        }
        Ok(Ok(()))
    }

    fn check(&mut self, tip: &Tip) -> Result<(), CloseReason> {
        self.count += 1;
        if self.count > TIPS_MAX {
            return Err(CloseReason::InvalidFrontier("too many tips"));
        }
        if tip.length == 0 {
            return Err(CloseReason::InvalidFrontier("a tip of an empty log"));
        }
        if self.last.is_some_and(|last| last >= *tip) {
            return Err(CloseReason::InvalidFrontier("tips out of order"));
        }
        Ok(())
    }

    /// Goes on to the next writer of the peer's list; those of ours that the list passes over lack everything.
    fn open_group(&mut self, writer: WriterKey) {
        self.close_group();
        while let Some(tip) = self.own.get(self.passed).filter(|tip| tip.writer < writer) {
            let own = self.branches(tip.writer);
            self.lacks.insert(tip.writer, lack(own.len(), 0));
            self.passed = own.end;
        }
        let own = self.branches(writer);
        if let Some(branches) = self.own.get(own.clone()).filter(|branches| !branches.is_empty()) {
            let own_length = branches.iter().map(|tip| tip.length).max().unwrap_or(0);
            self.passed = own.end;
            self.group =
                Some(Group { own, own_length, matched: 0, known_length: 0, ahead: false, forked: false });
        }
    }

    /// Our tips of this writer.
    fn branches(&self, writer: WriterKey) -> Range<usize> {
        let start = self.own.partition_point(|tip| tip.writer < writer);
        start..self.own.partition_point(|tip| tip.writer <= writer)
    }

    fn compare<L: LogReader>(&mut self, tip: &Tip, log: &L) -> Result<(), L::Error> {
        let Some(group) = &mut self.group else { return Ok(()) };
        let branches = self.own.get(group.own.clone()).unwrap_or_default();
        if branches.binary_search(tip).is_ok() {
            group.matched += 1;
            group.known_length = group.known_length.max(tip.length);
        } else if log.number_of(&tip.head)?.is_some_and(|number| number < self.end) {
            group.known_length = group.known_length.max(tip.length);
        } else if tip.length > group.own_length {
            group.ahead = true;
        } else {
            group.forked = true;
        }
        Ok(())
    }

    fn close_group(&mut self) {
        let Some(group) = self.group.take() else { return };
        let Some(tip) = self.own.get(group.own.start) else { return };
        let (writer, branches) = (tip.writer, group.own.len());
        if group.forked {
            // The peer took us for being ahead of it, on its own branch; it has to be told.
            self.wanted.push(writer);
        }
        if group.matched == branches {
            return;
        }
        if branches > 1 {
            self.lacks.insert(writer, Lack::AllBranches);
        } else if group.forked {
            self.lacks.insert(writer, Lack::From(0));
        } else if !group.ahead && group.known_length < group.own_length {
            self.lacks.insert(writer, Lack::From(group.known_length));
        }
    }

    /// Ends the peer's list, and gives the writers whose whole log the peer must send.
    pub(super) fn finish(&mut self) -> Vec<WriterKey> {
        self.close_group();
        while let Some(tip) = self.own.get(self.passed) {
            let own = self.branches(tip.writer);
            self.lacks.insert(tip.writer, lack(own.len(), 0));
            self.passed = own.end;
        }
        self.last = None;
        std::mem::take(&mut self.wanted)
    }

    /// The end of a writer's log, if the peer lacks some of it; of its longest branch, if there are several.
    pub(super) fn lacked_head(&self, writer: &WriterKey) -> Option<Tip> {
        self.lacks.get(writer)?;
        self.own.get(self.branches(*writer))?.iter().max_by_key(|tip| tip.length).copied()
    }

    /// Takes in a part of the peer's list of writers whose whole log it wants.
    pub(super) fn want(&mut self, writers: &[WriterKey]) -> Result<(), CloseReason> {
        for writer in writers {
            if self.last.is_some_and(|last| last.writer >= *writer) {
                return Err(CloseReason::InvalidFrontier("wanted logs out of order"));
            }
            let own = self.branches(*writer);
            let Some(tip) = self.own.get(own.start).filter(|_| !own.is_empty()) else {
                return Err(CloseReason::InvalidFrontier("a log is wanted that was not offered"));
            };
            self.last = Some(*tip);
            self.lacks.insert(*writer, lack(own.len(), 0));
        }
        Ok(())
    }

    /// What the peer lacks, and the number of entries that were compared.
    pub(super) fn into_lacks(self) -> (BTreeMap<WriterKey, Lack>, u64) {
        (self.lacks, self.end)
    }
}

fn lack(branches: usize, from: u64) -> Lack {
    if branches > 1 { Lack::AllBranches } else { Lack::From(from) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::memory_log::MemoryLog;

    /// Lists what `peer` lacks of `own`, and whose logs it must send whole.
    fn compare(own: &MemoryLog, peer: &MemoryLog) -> (BTreeMap<WriterKey, Lack>, Vec<WriterKey>) {
        let mut comparison = Comparison::new(own.tips().unwrap(), own.end());
        for tip in peer.tips().unwrap() {
            comparison.add(&[tip], own).unwrap().unwrap();
        }
        let wanted = comparison.finish();
        (comparison.into_lacks().0, wanted)
    }

    #[test]
    fn a_log_is_lacked_from_where_the_peer_holds_it_and_never_by_who_is_ahead() {
        let mut behind = MemoryLog::default();
        behind.write(1, 2);
        behind.write(2, 1);
        let mut ahead = behind.clone();
        ahead.write(1, 3);
        ahead.write(3, 1);
        let (lacks, wanted) = compare(&ahead, &behind);
        let expected =
            BTreeMap::from([(MemoryLog::writer(1), Lack::From(2)), (MemoryLog::writer(3), Lack::From(0))]);
        assert_eq!((lacks, wanted), (expected, vec![]));
        assert_eq!(compare(&behind, &ahead), (BTreeMap::new(), vec![]));
    }

    #[test]
    fn of_two_branches_both_ends_come_to_send_all() {
        let mut short = MemoryLog::default();
        short.write(1, 2);
        let mut long = short.clone();
        short.write(1, 1);
        long.write_branch(1, 4, 77);
        let writer = MemoryLog::writer(1);
        // The longer sees that the branches differ, sends all and asks for all; the shorter could not know.
        assert_eq!(compare(&long, &short), (BTreeMap::from([(writer, Lack::From(0))]), vec![writer]));
        assert_eq!(compare(&short, &long), (BTreeMap::new(), vec![]));
        let mut both = long.clone();
        both.take_over(&short);
        assert_eq!(compare(&both, &short).0, BTreeMap::from([(writer, Lack::AllBranches)]));
        assert_eq!(compare(&both, &both), (BTreeMap::new(), vec![]));
    }

    #[test]
    fn lists_that_contradict_themselves_are_refused() {
        let mut log = MemoryLog::default();
        log.write(1, 2);
        log.write(2, 2);
        let tips = log.tips().unwrap();
        let fresh = || Comparison::new(tips.clone(), log.end());
        let backwards: Vec<Tip> = tips.iter().rev().copied().collect();
        for bad in [backwards, vec![tips[0], tips[0]], vec![Tip { length: 0, ..tips[0] }]] {
            assert!(matches!(fresh().add(&bad, &log).unwrap(), Err(CloseReason::InvalidFrontier(_))));
        }
        let mut comparison = fresh();
        comparison.finish();
        assert!(comparison.want(&[WriterKey::from_bytes([0; 32])]).is_err());
        let mut comparison = fresh();
        comparison.finish();
        assert!(comparison.want(&[tips[0].writer, tips[0].writer]).is_err());
    }
}
