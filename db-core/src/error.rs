//! The one error that users of the crate meet: a coarse kind that says what to do, MongoDB's code where it has one, and
//! a message.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use db_index::QueryError;

use crate::bytes::Malformed;
use crate::collection::BulkWriteResult;

/// What went wrong with a call.
///
/// [`Error::kind`] says what the caller can do about it, [`Error::code`] is MongoDB's code for the same fault where there
/// is one, and the source, if any, is the error underneath.
pub struct Error {
    kind: ErrorKind,
    code: Option<i32>,
    message: String,
    /// Shared where many callers meet one fault.
    source: Option<Arc<dyn StdError + Send + Sync>>,
    write_failures: Vec<WriteFailure>,
    partial_result: Option<Box<BulkWriteResult>>,
    is_transient: bool,
}

/// The label of errors after which a transaction may succeed if it is made again: see [`Error::contains_label`].
pub const TRANSIENT_TRANSACTION_ERROR: &str = "TransientTransactionError";

/// One document of a bulk write that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteFailure {
    /// Its position in the call, from 0.
    pub index: usize,
    /// MongoDB's code: 11000 for a duplicate key, say.
    pub code: i32,
    /// What was wrong.
    pub message: String,
}

impl WriteFailure {
    /// The parts of a call that were rejected, by position.
    pub(crate) fn of(rejected: &BTreeMap<usize, QueryError>) -> Vec<Self> {
        let failure = |(index, error): (&usize, &QueryError)| Self {
            index: *index,
            code: error.code.0,
            message: error.message.clone(),
        };
        rejected.iter().map(failure).collect()
    }
}

/// What to do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The call is wrong: correct it.
    Invalid,
    /// What the call names does not exist.
    NotFound,
    /// What the call would create exists, or a unique index holds its key.
    Conflict,
    /// This device may not do that: ask an admin of the database.
    Denied,
    /// The storage or the engine is not to be had now: free what is missing (disk, memory), reopen, try again.
    Unavailable,
    /// Stored data is damaged or of a version that this program does not know: check or restore it.
    Data,
    /// A fault of this program: report it.
    Internal,
    /// The closure of a transaction gave up, for a reason of its own: see [`Error::aborted`].
    Aborted,
}

/// The result of a call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            code: None,
            message: message.into(),
            source: None,
            write_failures: Vec::new(),
            partial_result: None,
            is_transient: false,
        }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    pub(crate) fn denied(message: impl Into<String>) -> Self {
        Self { code: Some(13), ..Self::new(ErrorKind::Denied, message) }
    }

    pub(crate) fn data(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Data, message)
    }

    pub(crate) fn with_code(self, code: i32) -> Self {
        Self { code: Some(code), ..self }
    }

    pub(crate) fn with_message(self, message: String) -> Self {
        Self { message, ..self }
    }

    pub(crate) fn with_source(self, source: impl StdError + Send + Sync + 'static) -> Self {
        Self { source: Some(Arc::new(source)), ..self }
    }

    /// With what is underneath another error, for one more caller who meets it.
    pub(crate) fn with_source_of(self, other: &Self) -> Self {
        Self { source: other.source.clone(), ..self }
    }

    pub(crate) fn with_write_failures(self, write_failures: Vec<WriteFailure>) -> Self {
        Self { write_failures, ..self }
    }

    pub(crate) fn with_partial_result(self, result: BulkWriteResult) -> Self {
        Self { partial_result: Some(Box::new(result)), ..self }
    }

    pub(crate) fn into_transient(self) -> Self {
        Self { is_transient: true, ..self }
    }

    /// An error of the caller's own, with which the closure of a transaction gives up; the transaction is aborted.
    pub fn aborted(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Aborted, message)
    }

    /// Whether the error has a label, as MongoDB's drivers ask; there is [`TRANSIENT_TRANSACTION_ERROR`] alone.
    pub fn contains_label(&self, label: &str) -> bool {
        self.is_transient && label == TRANSIENT_TRANSACTION_ERROR
    }

    /// Of a bulk write that failed in part: what was done.
    pub fn partial_result(&self) -> Option<&BulkWriteResult> {
        self.partial_result.as_deref()
    }

    /// Of a bulk write that failed in part: which documents failed. What is not listed here, and in an ordered write comes
    /// before the failure, is written.
    pub fn write_failures(&self) -> &[WriteFailure] {
        &self.write_failures
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The MongoDB server's code for the same fault, where it has one: 11000 for a duplicate key, say.
    pub fn code(&self) -> Option<i32> {
        self.code
    }

    /// The message alone, without the source.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.kind)
            .field("code", &self.code)
            .field("message", &self.message)
            .field("write_failures", &self.write_failures.len())
            .field("partial_result", &self.partial_result.is_some())
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<QueryError> for Error {
    fn from(error: QueryError) -> Self {
        let kind = if error.code == db_index::ErrorCode::DUPLICATE_KEY {
            ErrorKind::Conflict
        } else {
            ErrorKind::Invalid
        };
        Self {
            kind,
            code: Some(error.code.0),
            message: error.message,
            source: None,
            write_failures: Vec::new(),
            partial_result: None,
            is_transient: false,
        }
    }
}

impl From<Malformed> for Error {
    fn from(error: Malformed) -> Self {
        Self::data("stored bytes are damaged").with_source(error)
    }
}

/// Errors of the storage, each of which may surface anywhere that it is touched.
macro_rules! from_storage {
    ($($error:ty),+) => {$(
        impl From<$error> for Error {
            fn from(error: $error) -> Self {
                storage_error(error.into())
            }
        }
    )+};
}

from_storage!(
    redb::StorageError,
    redb::TableError,
    redb::CursorError,
    redb::TransactionError,
    redb::CommitError,
    redb::DatabaseError
);

fn storage_error(error: redb::Error) -> Error {
    let (kind, message) = match &error {
        redb::Error::Corrupted(_)
        | redb::Error::UpgradeRequired(_)
        | redb::Error::TableTypeMismatch { .. } => {
            (ErrorKind::Data, "the stored data is damaged or of another version")
        }
        redb::Error::DatabaseAlreadyOpen => (
            ErrorKind::Unavailable,
            "the database is open in another process: stop that one, or talk to it over gRPC",
        ),
        _ => (ErrorKind::Unavailable, "the storage failed; nothing acknowledged is lost: reopen the store"),
    };
    Error::new(kind, message).with_source(error)
}
