//! Text search: from documents to the terms that an index holds, and from a search to what matches and how well.

mod analysis;
mod language;
mod meta;
mod query;
mod settings;
mod stop_words;

pub(crate) use meta::{TEXT_SCORE, parse_meta};
pub use meta::{with_text_score, without_text_score};
pub(crate) use query::TextQuery;
pub(crate) use settings::OPTIONS as TEXT_INDEX_OPTIONS;
pub use settings::TextSettings;
