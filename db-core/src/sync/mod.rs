//! Replication between two peers of one database: a state machine without I/O, clock or randomness of its own.
//!
//! One [`Session`] stands for one connected peer and one database. The engine feeds it frames and news of stored entries,
//! and does what its [`SessionOutput`]s say. Frames travel whole and in order over any byte stream.
//!
//! ```text
//! dialer                              acceptor
//!   Hello (version, nonce)      <->   Hello
//!   Proof                        ->
//!                               <-    Proof, Frontier (writer, fingerprint of all tips, how many they are)
//!   Frontier                     ->                        equal fingerprints: both are caught up, go on to pushing
//!   Groups                      <->   Groups               where there are many: fingerprints of the tips in groups
//!   Tips …                      <->   Tips …               the ends of all logs in groups that differ, ascending, in as many frames as needed
//!   Head                        <->   Head                 the signed end of the other's own log, where the other lacks it
//!   Whole …                     <->   Whole …              "of these writers send me everything: our branches differ"
//!   Runs …, CaughtUp            <->   Runs …, CaughtUp     what the other lacked, in causal order
//!   Runs …                      <->   Runs …               push: entries as they come
//!   Credit …                    <->   Credit …             bytes of runs that are stored now, so that more may be sent
//! ```
//!
//! **Who is told what.** A peer proves that it knows the database's key by a keyed hash of both nonces, the channel's
//! binding, its role and the database's identity. The dialer proves first, so that an acceptor says nothing but a nonce to
//! strangers; roles differ, so that an answer cannot be played back. Writer keys, tips and entries follow the proofs. On a
//! stream that is not encrypted itself, the proof keeps strangers out but hides nothing from who can read the wire.
//!
//! **What is sent.** Of each log, from the first place that the peer lacks, always the lowest local number next, which
//! keeps causal order without searching. A peer that holds another branch of a log gets the whole log once; both ends then
//! hold both branches, and whatever either had already is recognised by its hash.
//!
//! **What is trusted.** Nothing: frames have limits by kind, lists are ascending and bounded, bytes in flight are bounded by
//! credit that is returned once entries are stored, runs are verified before the engine sees them. A peer that breaks a
//! rule is closed with a [`CloseReason`].

mod close;
mod frame;
mod frontier;
mod groups;
mod outgoing;
mod proof;
mod session;

#[cfg(test)]
pub(crate) mod memory_log;
#[cfg(test)]
mod tests;

pub use close::CloseReason;
pub use frame::{FRAME_BYTES_MAX, frame_bytes_max};
pub use session::{Session, SessionConfig, SessionOutput, SessionStats};

/// A frame that ends a session before it began, for a reason that is told to the peer.
pub(crate) fn farewell(reason: &str) -> Vec<u8> {
    frame::encode_bye(&close::clip(reason))
}
