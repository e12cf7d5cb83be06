//! What tells two views apart, for who reads of a failed run.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::ops::Bound;

use bson::RawDocument;

use crate::view::{ReadView, ViewSnapshot};

/// How many keys are told at the most.
const KEYS: usize = 12;

/// A line for each of the first keys that one view has and the other has not or has with another value.
pub(super) fn differing(one: &ViewSnapshot, other: &ViewSnapshot) -> String {
    let (mut one, mut other) = (rows(one), rows(other));
    one.retain(|key, value| {
        let is_shared = other.get(key) == Some(value);
        if is_shared {
            other.remove(key);
        }
        !is_shared
    });
    let keys: BTreeSet<_> = one.keys().chain(other.keys()).collect();
    let mut told = format!("{} keys differ", keys.len());
    for key in keys.into_iter().take(KEYS) {
        let (one, other) = (shown(one.get(key)), shown(other.get(key)));
        let _ = write!(told, "\n  {}: {one} | {other}", key.escape_ascii());
    }
    told
}

fn rows(view: &ViewSnapshot) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let rows = view.range((Bound::Unbounded, Bound::Unbounded)).unwrap();
    rows.map(|row| row.map(|(key, value)| (key.value().to_vec(), value.value().to_vec())).unwrap()).collect()
}

fn shown(value: Option<&Vec<u8>>) -> String {
    let Some(value) = value else { return "absent".to_owned() };
    // Some values have a head before their document.
    let document = (0..value.len().min(80)).find_map(|at| {
        let document = RawDocument::from_bytes(&value[at..]).ok()?;
        bson::Document::try_from(document).ok()
    });
    document.map_or_else(|| value.escape_ascii().to_string(), |document| document.to_string())
}
