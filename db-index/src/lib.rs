//! MongoDB's query language on raw BSON: order, keys, filters, updates, projections, index definitions, planner.
//!
//! Pure by contract: no I/O, no clock, no randomness, no async; it knows neither logs nor peers. What it computes, every
//! peer computes.

#[doc = include_str!("../docs/reference.md")]
pub mod reference {}

mod aggregate;
mod collation;
mod context;
mod decimal;
mod distinct;
mod error;
mod expression;
mod filter;
mod geo;
mod guard;
mod index;
mod key;
mod limits;
mod number;
mod order;
mod path;
mod plan;
mod projection;
mod raw;
mod sort;
#[cfg(test)]
mod testing;
mod text;
mod update;

pub use aggregate::{
    CollectionStatistics, Leading, MergeMatched, MergePipeline, MergeTarget, MergeUnmatched, OutTarget,
    Outside, PIPELINE_BYTES_MAX, PIPELINE_DEPTH_MAX, PIPELINE_STAGES_MAX, Pipeline, PipelineFind,
    PipelineSettings, Rows, Target,
};
pub use collation::Collation;
pub use context::{Chance, QueryContext};
pub use decimal::Decimal;
pub use distinct::Distinct;
pub use error::{ErrorCode, QueryError};
pub use expression::{
    EXPRESSION_BYTES_MAX, EXPRESSION_STEPS_MAX, Expression, Fields, Items, Reshape, Value, constant_variables,
};
pub use filter::{ElementFilter, Filter, Near, NearRings};
pub use guard::{check_document, check_storable};
pub use index::{
    FieldKind, ID_INDEX_NAME, IndexDefinition, IndexEntries, IndexEntry, IndexField, MultikeyFields,
};
pub use key::{
    Direction, KeyError, bracket_prefix, decode_field, decode_value, encode_collated, encode_missing,
    encode_string_prefix, encode_value, join_types, prefix_end, skip_value, split_types, trim_types,
};
pub use limits::{
    DEPTH_MAX, DOCUMENT_BYTES_MAX, ELEMENTS_MAX, INDEX_BYTES_PER_DOCUMENT_MAX, INDEX_FIELDS_MAX,
};
pub use number::Number;
pub use order::{Bracket, bracket, compare, compare_arrays, compare_collated, compare_documents};
pub use plan::{
    Branch, Combination, Hint, IndexInfo, KeyCounts, KeyFilter, KeyRange, Output, Plan, PlanRequest, Run,
    ScanDirection, Source, covered_document,
};
pub use projection::Projection;
pub use sort::{SORT_BYTES_MAX, Sort, SortKey, Sorter};
pub use text::{TextSettings, with_text_score, without_text_score};
pub use update::{
    Update, UpdateContext, UpdateOptions, Updated, changed_fields, plain_effects, upsert_document,
};
