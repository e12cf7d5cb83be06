//! What is watched: a collection by its name, or all of a database.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::view::catalog;
use crate::view::{ReadView, keyspace};

/// What is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Collection(String),
    /// All collections but those of the system.
    Database,
}

impl Target {
    /// Whether events of this collection are told of.
    pub(super) fn includes(&self, name: &str) -> bool {
        match self {
            Self::Collection(collection) => collection == name,
            Self::Database => !catalog::is_system(name),
        }
    }

    /// The watched collections that there are, by name.
    pub(super) fn collections(&self, view: &impl ReadView) -> Result<BTreeMap<String, u32>> {
        match self {
            Self::Collection(name) => {
                let record = view.get(&keyspace::collection(name))?;
                let id = record.map(|record| catalog::collection_id(record.value())).transpose()?;
                Ok(id.map(|id| (name.clone(), id)).into_iter().collect())
            }
            Self::Database => {
                let mut ids = catalog::collection_ids(view)?;
                ids.retain(|name, _| self.includes(name));
                Ok(ids)
            }
        }
    }

    /// What tells it from others in a token.
    pub(super) fn tag(&self) -> &str {
        match self {
            Self::Collection(name) => name,
            Self::Database => "",
        }
    }
}
