//! What the benchmarks share: documents, CombDB and raw redb side by side doing the same, peers that meet.
#![allow(clippy::expect_used)] // a benchmark that meets the unexpected ends there

mod combdb;
mod films;
mod graph;
mod latencies;
mod meeting;
pub mod memory;
mod raw;

pub use combdb::CombDb;
pub use films::{Film, FilmSource, SHELF_FILMS, Weight, film_source, films};
pub use graph::{Orderer, node, writer};
pub use latencies::Latencies;
pub use meeting::{
    Arrival, Coming, Liveness, Meeting, Reorder, arrive, come_once, come_together, live, meet, reorder,
};
pub use raw::{RawBuild, RawRedb};

/// How many indexes a store keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Indexes {
    /// Only that on `_id`.
    None,
    /// A string, a number, and a number with a string.
    Three,
}

impl Indexes {
    /// How many they are.
    pub fn count(self) -> usize {
        self.keys().len()
    }

    /// The key patterns.
    pub fn keys(self) -> Vec<bson::Document> {
        use bson::doc;
        match self {
            Self::None => Vec::new(),
            Self::Three => vec![doc! { "title": 1 }, doc! { "shelf": 1 }, doc! { "year": -1, "title": 1 }],
        }
    }
}
