//! What the black-box tests share: real server processes in folders of their own, and short ways to call them.

// Helpers of tests: what fails here fails the test, with its message.
#![allow(clippy::expect_used)]

mod calls;
mod folders;
mod load;
mod peer;
mod transfers;

pub use calls::{Calls, code_of, json, json_text, value_text};
pub use folders::copy_folder;
pub use load::Ledger;
pub use peer::{Peer, PeerOptions, eventually, free_port};
pub use transfers::Transfers;
