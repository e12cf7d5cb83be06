//! MongoDB's query language on raw BSON: order, keys, filters, updates, projections, index definitions, planner.
//!
//! Pure by contract: no I/O, no clock, no randomness, no async; it knows neither logs nor peers. What it computes, every
//! peer computes.

mod error;

pub use error::{ErrorCode, QueryError};
