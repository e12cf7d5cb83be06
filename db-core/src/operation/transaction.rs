//! Transactions as they are logged: what was read and written, step by step.
//!
//! Layout: number of steps (u32); for each its kind (u8). A read (1): collection, filter, and what was found behind its kind
//! (u8): a digest of documents (1) or of `_id`s (2), 16 bytes, or a number of documents (3, u64). A write (2): how many
//! documents it matched, modified and deleted (u64 each), whether an upsert inserted (u8), then the operation.

use bson::RawDocumentBuf;

use super::Operation;
use super::codec::{put_operation, take_document, take_name, take_operation};
use crate::bytes::{Malformed, Put, Reader};
use crate::limits;
use crate::payload::Unreadable;

const READ: u8 = 1;
const WRITE: u8 = 2;

const DOCUMENTS: u8 = 1;
const IDS: u8 = 2;
const COUNT: u8 = 3;

/// One step of a transaction, in the order in which its author made them: a read sees the writes before it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// Something was looked for; it has to be found again.
    Read(Read),
    /// Documents were written: an insert, update, upsert or delete.
    Write {
        operation: Operation,
        /// What its author was told; it has to come true again.
        done: Done,
    },
}

/// What was looked for, and found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Read {
    pub(crate) collection: String,
    /// A filter that replay may compute. Whatever it does not match has no bearing on what the transaction saw.
    pub(crate) filter: RawDocumentBuf,
    pub(crate) found: Found,
}

/// What was found, as far as it has a bearing on the transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// A digest of the documents, in the order of their `_id`s.
    Documents([u8; 16]),
    /// A digest of their `_id`s.
    Ids([u8; 16]),
    /// How many there are.
    Count(u64),
}

/// What a write did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Done {
    pub(crate) matched: u64,
    pub(crate) modified: u64,
    pub(crate) deleted: u64,
    /// Whether an upsert inserted its document.
    pub(crate) upserted: bool,
}

pub(super) fn put_steps(bytes: &mut Vec<u8>, steps: &[Step]) {
    bytes.put_u32(steps.len() as u32);
    for step in steps {
        match step {
            Step::Read(Read { collection, filter, found }) => {
                bytes.put_u8(READ);
                bytes.put_bytes(collection.as_bytes());
                bytes.put_bytes(filter.as_bytes());
                put_found(bytes, found);
            }
            Step::Write { operation, done } => {
                put_done(bytes, done);
                put_operation(bytes, operation);
            }
        }
    }
}

pub(super) fn take_steps(reader: &mut Reader<'_>) -> Result<Vec<Step>, Unreadable> {
    let count = reader.u32()? as usize;
    if count > limits::OPERATIONS_MAX {
        return Err(Malformed("too many steps of a transaction").into());
    }
    let mut steps = Vec::new();
    for _ in 0..count {
        steps.push(match reader.u8()? {
            READ => Step::Read(Read {
                collection: take_name(reader)?,
                filter: take_document(reader)?,
                found: take_found(reader)?,
            }),
            WRITE => {
                let done = take_done(reader)?;
                Step::Write { operation: take_write(reader)?, done }
            }
            _ => return Err(Unreadable::UpgradeNeeded("an unknown step of a transaction")),
        });
    }
    Ok(steps)
}

fn put_found(bytes: &mut Vec<u8>, found: &Found) {
    match found {
        Found::Documents(digest) => {
            bytes.put_u8(DOCUMENTS);
            bytes.extend_from_slice(digest);
        }
        Found::Ids(digest) => {
            bytes.put_u8(IDS);
            bytes.extend_from_slice(digest);
        }
        Found::Count(count) => {
            bytes.put_u8(COUNT);
            bytes.put_u64(*count);
        }
    }
}

fn take_found(reader: &mut Reader<'_>) -> Result<Found, Unreadable> {
    Ok(match reader.u8()? {
        DOCUMENTS => Found::Documents(reader.array()?),
        IDS => Found::Ids(reader.array()?),
        COUNT => Found::Count(reader.u64()?),
        _ => return Err(Unreadable::UpgradeNeeded("an unknown kind of read")),
    })
}

fn put_done(bytes: &mut Vec<u8>, done: &Done) {
    bytes.put_u8(WRITE);
    for count in [done.matched, done.modified, done.deleted] {
        bytes.put_u64(count);
    }
    bytes.put_u8(u8::from(done.upserted));
}

fn take_done(reader: &mut Reader<'_>) -> Result<Done, Malformed> {
    let (matched, modified, deleted) = (reader.u64()?, reader.u64()?, reader.u64()?);
    let upserted = match reader.u8()? {
        0 => false,
        1 => true,
        _ => return Err(Malformed("a flag is neither 0 nor 1")),
    };
    Ok(Done { matched, modified, deleted, upserted })
}

/// An operation that may stand in a transaction. Transactions do not nest: reading them goes one level deep.
fn take_write(reader: &mut Reader<'_>) -> Result<Operation, Unreadable> {
    if reader.clone().u8()? == super::codec::TRANSACTION {
        return Err(Malformed("a transaction within a transaction").into());
    }
    let operation = take_operation(reader)?;
    let is_write = matches!(
        operation,
        Operation::Insert { .. } | Operation::Update(_) | Operation::Upsert { .. } | Operation::Delete { .. }
    );
    if is_write { Ok(operation) } else { Err(Malformed("a transaction writes documents only").into()) }
}

#[cfg(test)]
pub(super) fn one_of_each_step() -> Vec<Step> {
    use bson::rawdoc;

    let read =
        |found| Step::Read(Read { collection: "films".to_owned(), filter: rawdoc! { "year": 1979 }, found });
    let delete = Operation::Delete {
        collection: "films".to_owned(),
        ids: vec![rawdoc! { "_id": 1 }],
        guard: RawDocumentBuf::new(),
    };
    let done = Done { matched: 1, modified: 2, deleted: 3, upserted: true };
    vec![
        read(Found::Documents([1; 16])),
        read(Found::Ids([2; 16])),
        read(Found::Count(3)),
        Step::Write { operation: delete, done },
    ]
}

/// What stands before the operation of a write that did nothing.
#[cfg(test)]
pub(super) fn put_write_of_nothing(bytes: &mut Vec<u8>) {
    put_done(bytes, &Done::default());
}
