//! What a request is answered with.

use serde_json::Value;

/// The result of a request, or why there is none.
pub(crate) type Answer<T = Value> = Result<T, Stop>;

/// Why a request has no result.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The database refuses it.
    Error {
        /// MongoDB's code.
        code: Option<i32>,
        message: String,
    },
    /// The database cannot do it yet, and says so.
    Unsupported(String),
}

impl Stop {
    /// A fault that a server finds in a command before the database sees it.
    pub(crate) fn refused(code: i32, message: impl Into<String>) -> Self {
        Self::Error { code: Some(code), message: message.into() }
    }
}

impl From<db_core::Error> for Stop {
    fn from(error: db_core::Error) -> Self {
        let code = error.write_failures().first().map(|failure| failure.code).or(error.code());
        if code == Some(db_index::ErrorCode::NOT_IMPLEMENTED.0) {
            return Self::Unsupported(error.to_string());
        }
        Self::Error { code, message: error.to_string() }
    }
}

impl From<db_index::QueryError> for Stop {
    fn from(error: db_index::QueryError) -> Self {
        if error.code == db_index::ErrorCode::NOT_IMPLEMENTED {
            return Self::Unsupported(error.message);
        }
        Self::refused(error.code.0, error.message)
    }
}
