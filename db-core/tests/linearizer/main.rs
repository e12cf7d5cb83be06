//! The linearizer from outside: against a plain reference, in any order of arrival, over restarts and forks, and its acks.

#![allow(clippy::expect_used, clippy::unwrap_used)] // helpers of tests outside #[test] functions

mod acks;
mod agreement;
mod late;
mod legality;
mod model;
mod replica;
mod scenarios;
mod schedule;
