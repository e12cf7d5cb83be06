//! The stages, a file each.

pub(super) mod bucket_auto;
pub(super) mod count;
pub(super) mod densify;
pub(super) mod facet;
pub(super) mod fill;
pub(super) mod geo_near;
pub(super) mod graph_lookup;
pub(super) mod group;
pub(super) mod limit;
pub(super) mod lookup;
pub(super) mod matching;
pub(super) mod redact;
pub(super) mod sample;
pub(super) mod sort;
pub(super) mod source;
pub(super) mod transform;
pub(super) mod union;
pub(super) mod unwind;
