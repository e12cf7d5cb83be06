//! Errors: what the command line tells a person, and how the engine's errors become gRPC's.

use std::collections::HashMap;
use std::io;

use db_core::{ErrorKind, TRANSIENT_TRANSACTION_ERROR};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The domain of `google.rpc.ErrorInfo` in this program's answers.
pub(crate) const DOMAIN: &str = "combdb";

/// MongoDB's code for documents and filters that are no BSON.
pub(crate) const INVALID_BSON: i32 = 22;

const NAMESPACE_NOT_FOUND: i32 = 26;
/// MongoDB's code for an index that is not there.
pub(crate) const INDEX_NOT_FOUND: i32 = 27;
const NAMESPACE_EXISTS: i32 = 48;
const INDEX_OPTIONS_CONFLICT: i32 = 85;
const INDEX_KEY_SPECS_CONFLICT: i32 = 86;
const MAX_TIME_MS_EXPIRED: i32 = 50;
const NO_SUCH_TRANSACTION: i32 = 251;

/// What ends a command with exit code 1.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum CliError {
    /// The command cannot be carried out as it stands; the text says what to do.
    #[error("{0}")]
    Usage(String),
    /// A file or the terminal failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done to what.
        what: String,
        /// The system's word.
        source: io::Error,
    },
    /// Nobody answers at the server's address.
    #[error("no server answers at {0}: start one with `combdb serve`, or name another with --server")]
    NoServer(String),
    /// The server refused a call.
    #[error("{}", describe(.0))]
    Refused(Box<Status>),
    /// The engine refused.
    #[error("{}", with_source(.0))]
    Engine(#[from] db_core::Error),
    /// The server itself failed.
    #[error("the server stopped: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The command did its work, but not on everything; what failed has been said already.
    #[error("{0}")]
    Incomplete(String),
}

impl CliError {
    /// Says what was being done when the system failed.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// Whether the reader of our output is gone, which is no failure of ours.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl From<Status> for CliError {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

/// A call that is wrong: `INVALID_ARGUMENT` with MongoDB's code for it, if it has one.
pub(crate) fn invalid(message: impl Into<String>, code: Option<i32>) -> Status {
    status(Code::InvalidArgument, "INVALID", message, code, &[])
}

/// A status with a `google.rpc.ErrorInfo` that programs can read.
pub(crate) fn status(
    grpc: Code,
    reason: &str,
    message: impl Into<String>,
    code: Option<i32>,
    more: &[(&str, String)],
) -> Status {
    let mut metadata: HashMap<String, String> =
        more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    if let Some(code) = code {
        metadata.insert("code".to_owned(), code.to_string());
    }
    let details = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
    Status::with_error_details(grpc, shorten(message.into()), details)
}

/// What the engine says, as a status.
pub(crate) fn from_engine(error: impl Into<db_core::Error>) -> Status {
    let error = error.into();
    let (grpc, reason) = code_of(&error);
    if matches!(grpc, Code::Internal | Code::DataLoss | Code::Unavailable) {
        tracing::error!(error = ?error, "a call failed");
    }
    let label =
        error.contains_label(TRANSIENT_TRANSACTION_ERROR).then(|| TRANSIENT_TRANSACTION_ERROR.to_owned());
    let labels: Vec<_> = label.into_iter().map(|label| (LABELS, label)).collect();
    status(grpc, reason, error.message(), error.code(), &labels)
}

/// Where the metadata of an error holds MongoDB's labels.
pub(crate) const LABELS: &str = "labels";

/// The gRPC code and the reason for an error: by MongoDB's code where that says more than the kind.
pub(crate) fn code_of(error: &db_core::Error) -> (Code, &'static str) {
    if error.contains_label(TRANSIENT_TRANSACTION_ERROR) {
        return (Code::Aborted, "CONFLICT");
    }
    match error.code() {
        Some(NO_SUCH_TRANSACTION) => return (Code::NotFound, "NO_SUCH_TRANSACTION"),
        Some(NAMESPACE_NOT_FOUND | INDEX_NOT_FOUND) => return (Code::NotFound, "NOT_FOUND"),
        Some(NAMESPACE_EXISTS | INDEX_OPTIONS_CONFLICT | INDEX_KEY_SPECS_CONFLICT) => {
            return (Code::AlreadyExists, "CONFLICT");
        }
        Some(MAX_TIME_MS_EXPIRED) => return (Code::DeadlineExceeded, "TIME_LIMIT"),
        _ => {}
    }
    match error.kind() {
        ErrorKind::Invalid => (Code::InvalidArgument, "INVALID"),
        ErrorKind::NotFound => (Code::NotFound, "NOT_FOUND"),
        ErrorKind::Conflict => (Code::AlreadyExists, "CONFLICT"),
        ErrorKind::Denied => (Code::PermissionDenied, "DENIED"),
        ErrorKind::Unavailable => (Code::Unavailable, "UNAVAILABLE"),
        ErrorKind::Data => (Code::DataLoss, "DATA"),
        _ => (Code::Internal, "INTERNAL"),
    }
}

/// The longest message of a status, in bytes: it travels in a header, and clients bound those.
const MESSAGE_BYTES_MAX: usize = 1_024;

fn shorten(mut message: String) -> String {
    if message.len() > MESSAGE_BYTES_MAX {
        let end = (0..=MESSAGE_BYTES_MAX).rev().find(|&at| message.is_char_boundary(at)).unwrap_or(0);
        message.truncate(end);
        message.push('…');
    }
    message
}

/// An error of the engine with what is underneath.
fn with_source(error: &db_core::Error) -> String {
    let mut text = error.message().to_owned();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// A refusal in words for a person.
fn describe(status: &Status) -> String {
    let is_none_of_ours = match status.code() {
        Code::Unknown | Code::Unavailable | Code::Cancelled => true,
        // A stream that breaks in the middle.
        Code::Internal => {
            std::error::Error::source(status).is_some() || status.message().starts_with("h2 protocol error")
        }
        _ => false,
    };
    if status.get_details_error_info().is_none() && is_none_of_ours {
        // No answer of our server's: the connection broke.
        return format!("the server went away before it had answered: {}", status.message());
    }
    let message = if status.message().is_empty() { status.code().description() } else { status.message() };
    match status.get_details_error_info().and_then(|info| info.metadata.get("code").cloned()) {
        Some(code) => format!("{message} (code {code})"),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_carries_the_code_of_mongodb_for_programs_and_people() {
        let status = invalid("unknown operator: $foo", Some(2));
        assert_eq!(status.code(), Code::InvalidArgument);
        let info = status.get_details_error_info().unwrap();
        assert_eq!((info.domain.as_str(), info.reason.as_str()), ("combdb", "INVALID"));
        assert_eq!(info.metadata.get("code").map(String::as_str), Some("2"));
        assert_eq!(CliError::from(status).to_string(), "unknown operator: $foo (code 2)");
    }

    #[test]
    fn a_broken_connection_is_told_from_a_refusal() {
        let told = CliError::from(Status::unknown("transport error")).to_string();
        assert_eq!(told, "the server went away before it had answered: transport error");
        let told = CliError::from(Status::cancelled("operation was canceled")).to_string();
        assert_eq!(told, "the server went away before it had answered: operation was canceled");
        let told = CliError::from(Status::internal("h2 protocol error: http2 error")).to_string();
        assert_eq!(told, "the server went away before it had answered: h2 protocol error: http2 error");
        let told = CliError::from(Status::internal("a document cannot be written")).to_string();
        assert_eq!(told, "a document cannot be written");
        let refused = status(Code::Unavailable, "UNAVAILABLE", "the database is closed", None, &[]);
        assert_eq!(CliError::from(refused).to_string(), "the database is closed");
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let message = shorten("é".repeat(2_000));
        assert!(message.len() <= MESSAGE_BYTES_MAX + '…'.len_utf8());
        assert!(message.ends_with('…'));
    }
}
