//! What any call may say besides what it asks for: hint, variables, collation, comment, time limit, position.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bson::RawDocumentBuf;
use db_core::{Hint, ReadConcern, ReadOptions, WriteOptions};
use proto::v1::{self, QueryOptions, hint};
use tokio::time::Instant;
use tonic::Status;

use crate::convert;
use crate::error::invalid;
use crate::node::Sees;

/// The longest remark that the log repeats, in bytes.
const COMMENT_BYTES_MAX: usize = 1_024;

/// The options of a read, and what it sees.
pub(super) struct Reading {
    options: ReadOptions,
    sees: Sees,
}

impl Reading {
    /// Reads them.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` if one is malformed.
    pub(super) fn read(hint: Option<v1::Hint>, options: Option<QueryOptions>) -> Result<Self, Status> {
        let (Common { hint, variables, collation }, of_reads) = read(hint, options)?;
        let concern = of_reads.read_concern;
        let mut reading = ReadOptions::default().read_concern(match v1::ReadConcern::try_from(concern) {
            Ok(v1::ReadConcern::Majority) => ReadConcern::Majority,
            Ok(_) => ReadConcern::Local,
            Err(_) => return Err(invalid(format!("unknown read_concern {concern}"), None)),
        });
        if let Some(hint) = hint {
            reading = reading.hint(hint);
        }
        if let Some(collation) = collation {
            reading = reading.collation(collation);
        }
        if let Some(variables) = variables {
            reading = reading.let_vars(variables);
        }
        if let Some(position) = of_reads.at_position {
            reading = reading.at_position(position);
        }
        let until = Instant::now().checked_add(Duration::from_millis(of_reads.max_time_ms));
        let until = until.filter(|_| of_reads.max_time_ms > 0);
        if let Some(until) = until {
            // Waiting counts: for a turn, and for something to be seen.
            reading = reading.stop_when(move || Instant::now() >= until);
        }
        let is_settled = concern == v1::ReadConcern::Majority as i32 || of_reads.at_position.is_some();
        let sees = if is_settled { Sees::Settled } else { Sees::Present { until } };
        Ok(Self { options: reading, sees })
    }

    /// What it sees.
    pub(super) fn sees(&self) -> Sees {
        self.sees
    }

    /// The same, and an end to the read as soon as the other half is dropped: when nobody waits for the answer any more.
    pub(super) fn until_dropped(self) -> (Self, Waiting) {
        let (is_gone, waiting) = until_dropped();
        (Self { options: self.options.stop_when(is_gone), ..self }, waiting)
    }

    /// What the engine takes.
    pub(super) fn into_options(self) -> ReadOptions {
        self.options
    }
}

/// What a read sees that is of the present unless it names a position.
pub(super) fn present_unless(at_position: Option<u64>) -> Sees {
    if at_position.is_some() { Sees::Settled } else { Sees::Present { until: None } }
}

/// The question whether the other half was dropped: whether nobody waits for the answer any more.
pub(super) fn until_dropped() -> (impl Fn() -> bool + Send + Sync + 'static, Waiting) {
    let gone = Arc::new(AtomicBool::new(false));
    let waiting = Waiting(Arc::clone(&gone));
    (move || gone.load(Ordering::Relaxed), waiting)
}

/// Held while somebody waits for the answer to a read.
pub(super) struct Waiting(Arc<AtomicBool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Reads the options of a write.
///
/// # Errors
/// `INVALID_ARGUMENT` if one is malformed or for reads, such as a time limit: a write is carried out whole or refused. If
/// there is a write concern: that of a call is to be taken out before.
pub(super) fn writing(
    sort: Option<v1::Document>,
    hint: Option<v1::Hint>,
    options: Option<QueryOptions>,
) -> Result<WriteOptions, Status> {
    let (Common { hint, variables, collation }, of_reads) = read(hint, options)?;
    if of_reads != OfReads::default() {
        let message = "max_time_ms, read_concern and at_position are for reads";
        return Err(invalid(message, Some(INVALID_OPTIONS)));
    }
    let mut writing = WriteOptions::default();
    if let Some(collation) = collation {
        writing = writing.collation(collation);
    }
    if let Some(variables) = variables {
        writing = writing.let_vars(variables);
    }
    if let Some(sort) = convert::optional(sort, "sort")? {
        writing = writing.sort(sort);
    }
    if let Some(hint) = hint {
        writing = writing.hint(hint);
    }
    Ok(writing)
}

/// What reads and writes alike can say.
struct Common {
    hint: Option<Hint>,
    variables: Option<RawDocumentBuf>,
    collation: Option<RawDocumentBuf>,
}

/// What only reads can say.
#[derive(PartialEq, Default)]
struct OfReads {
    max_time_ms: u64,
    read_concern: i32,
    at_position: Option<u64>,
}

/// Reads all that is said. What a call has taken out before must not be there any more.
fn read(hint: Option<v1::Hint>, options: Option<QueryOptions>) -> Result<(Common, OfReads), Status> {
    let QueryOptions {
        variables,
        collation,
        comment,
        max_time_ms,
        read_concern,
        write_concern,
        transaction,
        at_position,
    } = options.unwrap_or_default();
    if write_concern.is_some() {
        let message = "a write concern is for writes, and for a whole call, not for a part";
        return Err(invalid(message, Some(INVALID_OPTIONS)));
    }
    check_taken(&transaction)?;
    remark(&comment)?;
    let common = Common {
        hint: read_hint(hint)?,
        variables: convert::optional(variables, "variables")?,
        collation: convert::optional(collation, "collation")?,
    };
    Ok((common, OfReads { max_time_ms, read_concern, at_position }))
}

/// Refuses a transaction where it cannot be named: that of a call has been taken out before.
fn check_taken(transaction: &str) -> Result<(), Status> {
    if transaction.is_empty() {
        return Ok(());
    }
    let message = "a transaction is for a whole call, not for a part, and not for an explanation";
    Err(invalid(message, Some(INVALID_OPTIONS)))
}

/// MongoDB's code for options that a call cannot have.
const INVALID_OPTIONS: i32 = 72;

fn read_hint(hint: Option<v1::Hint>) -> Result<Option<Hint>, Status> {
    Ok(match hint.and_then(|hint| hint.index) {
        None => None,
        Some(hint::Index::Name(name)) => Some(Hint::Name(name)),
        Some(hint::Index::Keys(keys)) => {
            Some(Hint::Keys(convert::decode(&convert::required(Some(keys), "hint")?, "hint")?))
        }
    })
}

/// Writes a remark into the log.
fn remark(comment: &str) -> Result<(), Status> {
    if comment.len() > COMMENT_BYTES_MAX {
        return Err(invalid(format!("a comment is at most {COMMENT_BYTES_MAX} bytes long"), None));
    }
    if !comment.is_empty() {
        tracing::info!(comment, "a call");
    }
    Ok(())
}
