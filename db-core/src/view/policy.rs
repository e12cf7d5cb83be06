//! How a collection settles concurrent changes: `{delete: …, paths: {…}}`, one of its options.

use std::collections::BTreeMap;

use bson::{RawBsonRef, RawDocument, RawDocumentBuf};
use db_index::{ErrorCode, QueryError};

use crate::limits;

/// How concurrent changes of a collection's documents are settled.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConflictPolicy {
    /// What wins of a delete and a concurrent update.
    pub delete: DeletePolicy,
    /// How concurrent assignments of these paths, and of paths below them, are settled; of others the one with the later
    /// author's time wins.
    pub paths: BTreeMap<String, PathPolicy>,
}

/// What wins of a delete and an update that had not seen each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum DeletePolicy {
    /// The delete; the update is listed.
    #[default]
    DeleteWins,
    /// The update: the document stays or comes back, and the delete is listed.
    UpdateWins,
}

/// Which of two assignments that had not seen each other wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum PathPolicy {
    /// The one with the later author's time.
    #[default]
    Last,
    /// The one with the greater value.
    Max,
    /// The one with the smaller value.
    Min,
    /// The one that is first in the order; the other is rejected, with everything that it says of the document.
    RejectConcurrent,
}

impl DeletePolicy {
    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DeleteWins => "delete-wins",
            Self::UpdateWins => "update-wins",
        }
    }

    /// The policy of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::DeleteWins, Self::UpdateWins].into_iter().find(|policy| policy.name() == name)
    }
}

impl PathPolicy {
    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Last => "last",
            Self::Max => "max",
            Self::Min => "min",
            Self::RejectConcurrent => "reject-concurrent",
        }
    }

    /// The policy of this name.
    pub fn named(name: &str) -> Option<Self> {
        let all = [Self::Last, Self::Max, Self::Min, Self::RejectConcurrent];
        all.into_iter().find(|policy| policy.name() == name)
    }
}

impl ConflictPolicy {
    /// How concurrent assignments of a path are settled. Values are compared where the policy names the very path.
    pub(crate) fn of_path(&self, path: &str) -> PathPolicy {
        if self.paths.is_empty() {
            return PathPolicy::Last;
        }
        let mut end = Some(path.len());
        while let Some(at) = end {
            let above = path.get(..at).unwrap_or(path);
            match self.paths.get(above) {
                Some(PathPolicy::Max | PathPolicy::Min) if above != path => {}
                Some(policy) => return *policy,
                None => {}
            }
            end = above.rfind('.');
        }
        PathPolicy::Last
    }

    /// Reads `{delete: "delete-wins" | "update-wins", paths: {"a.b": "last" | "max" | "min" | "reject-concurrent"}}`.
    pub(crate) fn from_document(document: &RawDocument) -> Result<Self, QueryError> {
        let mut policy = Self::default();
        for element in document.iter_elements() {
            let element = element.ok().and_then(|element| Some((element.key(), element.value().ok()?)));
            match element {
                Some((key, RawBsonRef::String(name))) if key == "delete" => {
                    policy.delete = DeletePolicy::named(name)
                        .ok_or_else(|| invalid("'conflicts.delete' is delete-wins or update-wins"))?;
                }
                Some((key, RawBsonRef::Document(paths))) if key == "paths" => {
                    policy.paths = paths_from(paths)?;
                }
                _ => return Err(invalid("'conflicts' has a text 'delete' and a document 'paths'")),
            }
        }
        Ok(policy)
    }

    /// What [`ConflictPolicy::from_document`] reads.
    pub(crate) fn to_document(&self) -> RawDocumentBuf {
        let mut document = RawDocumentBuf::new();
        if self.delete != DeletePolicy::default() {
            document.append(bson::raw::cstr!("delete"), self.delete.name());
        }
        if !self.paths.is_empty() {
            let mut paths = RawDocumentBuf::new();
            for (path, policy) in &self.paths {
                if let Ok(path) = <&bson::raw::CStr>::try_from(path.as_str()) {
                    paths.append(path, policy.name());
                }
            }
            document.append(bson::raw::cstr!("paths"), paths);
        }
        document
    }
}

fn paths_from(document: &RawDocument) -> Result<BTreeMap<String, PathPolicy>, QueryError> {
    let mut paths = BTreeMap::new();
    for element in document.iter_elements() {
        let element = element.ok().and_then(|element| Some((element.key(), element.value().ok()?)));
        let Some((path, RawBsonRef::String(name))) = element else {
            return Err(invalid("'conflicts.paths' names a policy for each path"));
        };
        let path = path.as_str();
        if path.split('.').any(|part| part.is_empty() || part.starts_with('$'))
            || path.len() > limits::HISTORY_PATH_BYTES_MAX
        {
            return Err(invalid(
                "a path of 'conflicts.paths' is empty, too long or has a part with a dollar",
            ));
        }
        let policy = PathPolicy::named(name)
            .ok_or_else(|| invalid("a policy of 'conflicts.paths' is last, max, min or reject-concurrent"))?;
        paths.insert(path.to_owned(), policy);
        if paths.len() > limits::POLICY_PATHS_MAX {
            return Err(invalid("'conflicts.paths' names more than 256 paths"));
        }
    }
    Ok(paths)
}

fn invalid(message: &'static str) -> QueryError {
    QueryError::new(ErrorCode::INVALID_OPTIONS, message)
}

#[cfg(test)]
mod tests {
    use bson::rawdoc;

    use super::*;

    #[test]
    fn a_policy_reads_back_and_holds_for_what_is_below_its_paths() {
        let document = rawdoc! {
            "delete": "update-wins",
            "paths": { "a": "reject-concurrent", "a.b": "last", "n": "max" },
        };
        let policy = ConflictPolicy::from_document(&document).unwrap();
        assert_eq!(policy.to_document(), document);
        assert_eq!(policy.of_path("a.c.d"), PathPolicy::RejectConcurrent);
        assert_eq!(policy.of_path("a.b.c"), PathPolicy::Last);
        assert_eq!(policy.of_path("n"), PathPolicy::Max);
        assert_eq!(policy.of_path("n.x"), PathPolicy::Last, "values are compared at the very path only");
        assert_eq!(policy.of_path("ab"), PathPolicy::Last);
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        for document in [
            rawdoc! { "delete": "both" },
            rawdoc! { "delete": 1 },
            rawdoc! { "paths": { "a": "first" } },
            rawdoc! { "paths": { "a.$.b": "last" } },
            rawdoc! { "paths": { "": "last" } },
            rawdoc! { "other": true },
        ] {
            assert!(ConflictPolicy::from_document(&document).is_err(), "{document:?}");
        }
    }
}
