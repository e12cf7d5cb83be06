//! Entries: the signed items of a writer's log, and the runs in which they are signed and sent.
//!
//! An entry is a *header* ([`Header`]) of fixed binary layout and a *payload*, kept apart so that a peer can check and pass
//! on entries whose payload it cannot read. A *run* ([`Run`]) is a batch of entries of one log that were appended
//! together: it needs one signature, on its last entry, since the `prev` chain holds the others.

mod fork;
mod genesis;
mod header;
mod link;
mod run;

#[cfg(test)]
pub(crate) use fork::tests::proof as tests_proof;
pub(crate) use fork::{Branch, ForkProof};
pub(crate) use genesis::founder_secret;
pub use genesis::{Admission, Genesis};
pub use header::{Checkpoint, Header};
pub(crate) use link::{link_holds, sign_link};
pub use run::{Entry, InvalidRun, Run, VerifiedRun};
pub(crate) use run::{verify_head, verifying_key};
