//! Many peers under a virtual clock, with a network and disks that fail by chance: real engines and real sessions, everything
//! else simulated, so that one seed is one history.
//!
//! **What happens.** Peers write, alone and in transactions over several collections that are sometimes begun long before they
//! are committed, do again or give up what was rejected, connect, part, order what has come now or later, ack, take other keys,
//! restart, lose power at any write to the disk (what was not synced is kept, lost or torn), go back to a backup of their disk
//! (also to one from before they took another key), leave and come back; new ones join. Some are busy and order nothing for a while.
//! The network delays frames, loses, doubles and swaps them, is parted or goes one way only. Clocks are wrong and jump. The
//! founder changes who may do what and lets newcomers go on for others. Members without manners fork their logs, carry false
//! waves, withhold entries and send garbage; in runs that are asked for it, an indexer forks its log. In the end all faults end.
//!
//! **What is checked** of every peer that a step has touched:
//!
//! * Confirmed orders are prefixes of one another and never shrink; equal sets of entries give equal views, orders and
//!   confirmations. Undoing everything that is not confirmed gives the view of the confirmed entries byte for byte, and applying
//!   it again the view from before.
//! * Index entries, counts and marks of quarantine are those that the documents give; nothing that breaks a rule is stored.
//! * Nothing acknowledged is lost: a peer's view holds all that it has written itself. No entry stands before one that its author
//!   had seen, so no peer shows an effect without its cause.
//! * What transactions have left is what those that hold come to when a model runs them one after the other, of all that is applied
//!   and of what is confirmed; each sees there what it saw. Those without effect are rejected, or their author may not write.
//! * Whoever was told that its log goes further than its backup writes nothing and forks nothing; a log that is forked all the same
//!   is proved to be.
//! * What was confirmed of an entry, its receipt says on all peers and for ever.
//! * A past state is what was confirmed then, wherever it is read. What an entry has changed stands in the histories of the documents,
//!   and what somebody is said to have written is what it has been since.
//! * What clients build from local and confirmed events and from live queries is what a find gives; all peers tell the same
//!   confirmed events, in one order and none twice, also to a client that resumes after a power cut or at another peer. Some
//!   peers keep few changes: who falls behind those is told and begins anew. Who follows the lists of the system is told of what comes up there, and of nothing else.
//!
//! In the end all peers have the same and everything is confirmed.
//!
//! Everything here panics where it must not go on; [`run`] turns that into a [`Failure`] that names the seed.
// It is a test, though it stands where other crates' tests can run it; and methods' paths are not general enough over lifetimes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::redundant_closure_for_method_calls)]

mod bank;
mod byzantine;
mod chance;
mod checks;
mod crowd;
mod disk;
mod following;
mod meeting;
mod network;
mod node;
mod pasts;
pub(crate) mod requests;
mod serial;
mod watching;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

#[cfg(test)]
pub(crate) use bank::{ACCOUNTS, Bank, Inside, Model, PEOPLE, Program, bank_of};
pub(crate) use chance::Chance;
pub use crowd::{Acquaintance, Applications, Crowd, Talk};
pub(crate) use disk::SimDisk;
pub use meeting::{MeetingOptions, MeetingReport, Topology, meet};

#[cfg(feature = "planted-faults")]
pub use crate::faults::{Fault, plant};

/// What a run is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How many things happen before all faults end.
    pub steps: u64,
    /// Whether the indexers are changed at times.
    pub changes_indexers: bool,
    /// Whether there are members without manners.
    pub has_outlaws: bool,
    /// Whether an indexer forks its log. Then what was confirmed may be taken back, which is what the alarm is for, and it is
    /// not held against the peers; all else is. Goes with indexers that are not changed.
    pub forks_indexers: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { steps: 400, changes_indexers: true, has_outlaws: true, forks_indexers: false }
    }
}

/// What a run has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Report {
    /// How many things happened.
    pub steps: u64,
    /// How many calls held, and how many were run while the view was not to be shown.
    pub calls: u64,
    /// See above.
    pub calls_meanwhile: u64,
    /// How many transactions were run, how many rejections were done again or given up, how many conflicts were settled, how many
    /// keys were changed by their owners, and how many writers go on for others.
    pub transactions: u64,
    /// See above.
    pub resolved: u64,
    /// See above.
    pub resubmitted: u64,
    /// See above.
    pub rotated: u64,
    /// See above.
    pub replaced: u64,
    /// How many entries there were in the end, and how many of them confirmed.
    pub entries: u64,
    /// See above.
    pub confirmed: u64,
    /// How many times something had to be at its place before more of what had come could be judged.
    pub waited: u64,
    /// How many connections were made, and how many of them a session has closed.
    pub connections: u64,
    /// See above.
    pub closed: u64,
    /// How many times the power went.
    pub crashes: u64,
    /// How many times a client went on with the confirmed events at another peer, and how many times one had to begin anew,
    /// because its peer did not keep what it had not seen.
    pub roamed: u64,
    /// See above.
    pub lost: u64,
    /// How many past states were read, how many entries' changes were found in the histories of documents, and how many times
    /// somebody asked who wrote what a document holds.
    pub looked_back: u64,
    /// See above.
    pub histories: u64,
    /// See above.
    pub blamed: u64,
    /// How many times a disk was set back to a backup, how many owners gave up what they had written since, and how many logs
    /// were forked by that in the end.
    pub restored: u64,
    /// See above.
    pub given_up: u64,
    /// See above.
    pub forked_by_backups: u64,
    /// How many keys were lost with what was written since a backup.
    pub lost_keys: u64,
    /// How many entries that break a rule were refused.
    pub refused: u64,
    /// How many entries were stored that somebody without manners has signed, on whatever branch of its log.
    pub outlawed: u64,
    /// How many indexers all peers name in the end that have forked their logs.
    pub forked_indexers: u64,
    /// How many proofs of forks were logged.
    pub proofs: u64,
    /// A hash of all that happened: the same for the same seed.
    pub trace: [u8; 32],
}

/// A run that has shown a mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("seed {seed}: {what}")]
pub struct Failure {
    /// The seed, which gives the same run again.
    pub seed: u64,
    /// What did not hold.
    pub what: String,
}

/// Runs what this seed gives.
///
/// # Errors
/// The first thing that did not hold.
pub fn run(seed: u64, options: Options) -> Result<Report, Failure> {
    let ran = catch_unwind(AssertUnwindSafe(|| world::World::new(seed, options).run()));
    ran.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let what = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Failure { seed, what: what.unwrap_or_else(|| "it panicked".to_owned()) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_is_one_history() {
        for seed in [1, 2] {
            let options = Options { steps: 150, ..Options::default() };
            let first = run(seed, options).unwrap();
            assert_eq!(run(seed, options).unwrap(), first);
            assert!(first.calls > 0 && first.entries > 0);
        }
        assert_ne!(run(1, Options::default()).unwrap().trace, run(2, Options::default()).unwrap().trace);
    }
}
