//! The bytes of operations.
//!
//! Layout: number of operations (u32); for each its kind (u8) and its fields in the order of [`Operation`]'s
//! definition; what a replacement replaces behind a byte that is 1, or 2 for a strict one, or 0 for nothing. Text,
//! documents and lists stand behind their length or count (u32). Nothing may follow the last. The steps of a transaction are
//! drawn in [`super::transaction`].

use bson::RawDocumentBuf;
use db_index::check_document;

use super::{Operation, Replaces, Roles, UpdateOperation, transaction};
use crate::bytes::{Malformed, Put, Reader};
use crate::entry::ForkProof;
use crate::ids::WriterKey;
use crate::limits;
use crate::payload::Unreadable;

const INSERT: u8 = 1;
const UPDATE: u8 = 2;
const UPSERT: u8 = 3;
const DELETE: u8 = 4;
const CREATE_COLLECTION: u8 = 5;
const DROP_COLLECTION: u8 = 6;
const CREATE_INDEXES: u8 = 7;
const DROP_INDEX: u8 = 8;
const SET_ROLES: u8 = 9;
const REMOVE_WRITER: u8 = 10;
const SET_INDEXERS: u8 = 11;
const RENAME_COLLECTION: u8 = 12;
const CHANGE_INDEX: u8 = 13;
const EXPIRE: u8 = 14;
const CHANGE_COLLECTION: u8 = 15;
const DISMISS: u8 = 16;
pub(super) const TRANSACTION: u8 = 17;
const FORK_PROOF: u8 = 18;
const ROTATE: u8 = 19;
const REPLACE: u8 = 20;
const NAME_WRITER: u8 = 21;

/// Stands for the roles that a replaced key had.
const ROLES_AS_BEFORE: u8 = u8::MAX;

/// The plain bytes of an entry's operations.
pub(crate) fn encode(operations: &[Operation]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.put_u32(operations.len() as u32);
    for operation in operations {
        put_operation(&mut bytes, operation);
    }
    bytes
}

/// Reads an entry's operations; every document in them has passed the guard.
pub(crate) fn decode(plain: &[u8]) -> Result<Vec<Operation>, Unreadable> {
    let mut reader = Reader::new(plain);
    let count = reader.u32()? as usize;
    if count > limits::OPERATIONS_MAX {
        return Err(Malformed("too many operations").into());
    }
    let mut operations = Vec::new();
    for _ in 0..count {
        operations.push(take_operation(&mut reader)?);
    }
    reader.end()?;
    Ok(operations)
}

pub(super) fn put_operation(bytes: &mut Vec<u8>, operation: &Operation) {
    match operation {
        Operation::Insert { collection, documents } => {
            bytes.put_u8(INSERT);
            bytes.put_bytes(collection.as_bytes());
            put_documents(bytes, documents);
        }
        Operation::Update(update) => {
            bytes.put_u8(UPDATE);
            bytes.put_bytes(update.collection.as_bytes());
            put_documents(bytes, &update.ids);
            bytes.put_bytes(update.guard.as_bytes());
            bytes.put_bytes(update.update.as_bytes());
            put_documents(bytes, &update.array_filters);
            put_replaces(bytes, update.replaces.as_ref());
        }
        Operation::Upsert { collection, id, guard, update, array_filters, document } => {
            bytes.put_u8(UPSERT);
            bytes.put_bytes(collection.as_bytes());
            bytes.put_bytes(id.as_bytes());
            bytes.put_bytes(guard.as_bytes());
            bytes.put_bytes(update.as_bytes());
            put_documents(bytes, array_filters);
            bytes.put_bytes(document.as_bytes());
        }
        Operation::Delete { collection, ids, guard } => {
            bytes.put_u8(DELETE);
            bytes.put_bytes(collection.as_bytes());
            put_documents(bytes, ids);
            bytes.put_bytes(guard.as_bytes());
        }
        Operation::CreateCollection { collection, options } => {
            bytes.put_u8(CREATE_COLLECTION);
            bytes.put_bytes(collection.as_bytes());
            bytes.put_bytes(options.as_bytes());
        }
        Operation::DropCollection { collection } => {
            bytes.put_u8(DROP_COLLECTION);
            bytes.put_bytes(collection.as_bytes());
        }
        Operation::CreateIndexes { collection, definitions } => {
            bytes.put_u8(CREATE_INDEXES);
            bytes.put_bytes(collection.as_bytes());
            put_documents(bytes, definitions);
        }
        Operation::DropIndex { collection, name } => {
            bytes.put_u8(DROP_INDEX);
            bytes.put_bytes(collection.as_bytes());
            bytes.put_bytes(name.as_bytes());
        }
        Operation::RenameCollection { collection, to, drop_target } => {
            bytes.put_u8(RENAME_COLLECTION);
            bytes.put_bytes(collection.as_bytes());
            bytes.put_bytes(to.as_bytes());
            bytes.put_u8(u8::from(*drop_target));
        }
        Operation::ChangeIndex { collection, name, change } => {
            bytes.put_u8(CHANGE_INDEX);
            bytes.put_bytes(collection.as_bytes());
            bytes.put_bytes(name.as_bytes());
            bytes.put_bytes(change.as_bytes());
        }
        Operation::Expire { collection, index, now_ms, ids } => {
            bytes.put_u8(EXPIRE);
            bytes.put_bytes(collection.as_bytes());
            bytes.put_bytes(index.as_bytes());
            bytes.put_u64(now_ms.cast_unsigned());
            put_documents(bytes, ids);
        }
        Operation::ChangeCollection { collection, change } => {
            bytes.put_u8(CHANGE_COLLECTION);
            bytes.put_bytes(collection.as_bytes());
            bytes.put_bytes(change.as_bytes());
        }
        Operation::Dismiss { collection, ids } => {
            bytes.put_u8(DISMISS);
            bytes.put_bytes(collection.as_bytes());
            put_documents(bytes, ids);
        }
        Operation::Transaction { steps } => {
            bytes.put_u8(TRANSACTION);
            transaction::put_steps(bytes, steps);
        }
        Operation::SetRoles { writer, roles } => {
            bytes.put_u8(SET_ROLES);
            bytes.extend_from_slice(writer.as_bytes());
            bytes.put_u8(roles.bits());
        }
        Operation::RemoveWriter { writer } => {
            bytes.put_u8(REMOVE_WRITER);
            bytes.extend_from_slice(writer.as_bytes());
        }
        Operation::SetIndexers { writers } => {
            bytes.put_u8(SET_INDEXERS);
            bytes.put_u32(writers.len() as u32);
            for writer in writers {
                bytes.extend_from_slice(writer.as_bytes());
            }
        }
        Operation::ForkProof(proof) => {
            bytes.put_u8(FORK_PROOF);
            proof.put(bytes);
        }
        Operation::Rotate { from, to, signature } => {
            bytes.put_u8(ROTATE);
            bytes.extend_from_slice(from.as_bytes());
            bytes.extend_from_slice(to.as_bytes());
            bytes.extend_from_slice(signature);
        }
        Operation::Replace { from, to, roles } => {
            bytes.put_u8(REPLACE);
            bytes.extend_from_slice(from.as_bytes());
            bytes.extend_from_slice(to.as_bytes());
            bytes.put_u8(roles.map_or(ROLES_AS_BEFORE, Roles::bits));
        }
        Operation::NameWriter { writer, name } => {
            bytes.put_u8(NAME_WRITER);
            bytes.extend_from_slice(writer.as_bytes());
            bytes.put_bytes(name.as_bytes());
        }
    }
}

pub(super) fn take_operation(reader: &mut Reader<'_>) -> Result<Operation, Unreadable> {
    Ok(match reader.u8()? {
        INSERT => Operation::Insert { collection: take_name(reader)?, documents: take_documents(reader)? },
        UPDATE => Operation::Update(UpdateOperation {
            collection: take_name(reader)?,
            ids: take_documents(reader)?,
            guard: take_document(reader)?,
            update: take_document(reader)?,
            array_filters: take_documents(reader)?,
            replaces: take_replaces(reader)?,
        }),
        UPSERT => Operation::Upsert {
            collection: take_name(reader)?,
            id: take_document(reader)?,
            guard: take_document(reader)?,
            update: take_document(reader)?,
            array_filters: take_documents(reader)?,
            document: take_document(reader)?,
        },
        DELETE => Operation::Delete {
            collection: take_name(reader)?,
            ids: take_documents(reader)?,
            guard: take_document(reader)?,
        },
        CREATE_COLLECTION => {
            Operation::CreateCollection { collection: take_name(reader)?, options: take_document(reader)? }
        }
        DROP_COLLECTION => Operation::DropCollection { collection: take_name(reader)? },
        CREATE_INDEXES => {
            Operation::CreateIndexes { collection: take_name(reader)?, definitions: take_documents(reader)? }
        }
        DROP_INDEX => Operation::DropIndex { collection: take_name(reader)?, name: take_index_name(reader)? },
        RENAME_COLLECTION => Operation::RenameCollection {
            collection: take_name(reader)?,
            to: take_name(reader)?,
            drop_target: take_flag(reader)?,
        },
        CHANGE_INDEX => Operation::ChangeIndex {
            collection: take_name(reader)?,
            name: take_index_name(reader)?,
            change: take_document(reader)?,
        },
        EXPIRE => Operation::Expire {
            collection: take_name(reader)?,
            index: take_index_name(reader)?,
            now_ms: reader.u64()?.cast_signed(),
            ids: take_documents(reader)?,
        },
        CHANGE_COLLECTION => {
            Operation::ChangeCollection { collection: take_name(reader)?, change: take_document(reader)? }
        }
        TRANSACTION => Operation::Transaction { steps: transaction::take_steps(reader)? },
        DISMISS => Operation::Dismiss { collection: take_name(reader)?, ids: take_documents(reader)? },
        SET_ROLES => Operation::SetRoles {
            writer: WriterKey::from_bytes(reader.array()?),
            roles: Roles::from_bits(reader.u8()?).ok_or(Unreadable::UpgradeNeeded("an unknown role"))?,
        },
        REMOVE_WRITER => Operation::RemoveWriter { writer: WriterKey::from_bytes(reader.array()?) },
        SET_INDEXERS => {
            let count = reader.u32()? as usize;
            if count > limits::INDEXERS_MAX {
                return Err(Malformed("too many indexers").into());
            }
            let mut writers = Vec::with_capacity(count);
            for _ in 0..count {
                writers.push(WriterKey::from_bytes(reader.array()?));
            }
            Operation::SetIndexers { writers }
        }
        FORK_PROOF => Operation::ForkProof(Box::new(ForkProof::take(reader)?)),
        ROTATE => Operation::Rotate {
            from: WriterKey::from_bytes(reader.array()?),
            to: WriterKey::from_bytes(reader.array()?),
            signature: reader.array()?,
        },
        REPLACE => Operation::Replace {
            from: WriterKey::from_bytes(reader.array()?),
            to: WriterKey::from_bytes(reader.array()?),
            roles: match reader.u8()? {
                ROLES_AS_BEFORE => None,
                bits => Some(Roles::from_bits(bits).ok_or(Unreadable::UpgradeNeeded("an unknown role"))?),
            },
        },
        NAME_WRITER => Operation::NameWriter {
            writer: WriterKey::from_bytes(reader.array()?),
            name: reader.text(limits::WRITER_NAME_BYTES_MAX)?.to_owned(),
        },
        _ => return Err(Unreadable::UpgradeNeeded("an unknown operation")),
    })
}

fn put_replaces(bytes: &mut Vec<u8>, replaces: Option<&Replaces>) {
    let Some(replaces) = replaces else {
        bytes.put_u8(0);
        return;
    };
    bytes.put_u8(1 + u8::from(replaces.strict));
    bytes.extend_from_slice(&replaces.base);
    bytes.put_bytes(replaces.changed.as_bytes());
}

fn take_replaces(reader: &mut Reader<'_>) -> Result<Option<Replaces>, Unreadable> {
    let strict = match reader.u8()? {
        0 => return Ok(None),
        1 => false,
        2 => true,
        _ => return Err(Unreadable::UpgradeNeeded("an unknown kind of replacement")),
    };
    Ok(Some(Replaces { base: reader.array()?, changed: take_document(reader)?, strict }))
}

fn put_documents(bytes: &mut Vec<u8>, documents: &[RawDocumentBuf]) {
    bytes.put_u32(documents.len() as u32);
    for document in documents {
        bytes.put_bytes(document.as_bytes());
    }
}

pub(super) fn take_name(reader: &mut Reader<'_>) -> Result<String, Malformed> {
    Ok(reader.text(limits::COLLECTION_NAME_BYTES_MAX)?.to_owned())
}

fn take_index_name(reader: &mut Reader<'_>) -> Result<String, Malformed> {
    Ok(reader.text(limits::INDEX_NAME_BYTES_MAX)?.to_owned())
}

fn take_flag(reader: &mut Reader<'_>) -> Result<bool, Malformed> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Malformed("a flag is neither 0 nor 1")),
    }
}

pub(super) fn take_document(reader: &mut Reader<'_>) -> Result<RawDocumentBuf, Malformed> {
    let bytes = reader.bytes(limits::PAYLOAD_PLAIN_BYTES_MAX)?;
    let document = check_document(bytes).map_err(|_| Malformed("a document is no valid BSON"))?;
    Ok(document.to_owned())
}

fn take_documents(reader: &mut Reader<'_>) -> Result<Vec<RawDocumentBuf>, Malformed> {
    let count = reader.u32()? as usize;
    // The smallest document takes five bytes and its length four: no memory for a claim beyond what is there.
    if count > reader.remaining() / 9 {
        return Err(Malformed("a list claims more than it holds"));
    }
    let mut documents = Vec::with_capacity(count);
    for _ in 0..count {
        documents.push(take_document(reader)?);
    }
    Ok(documents)
}

#[cfg(test)]
mod tests {
    use bson::rawdoc;
    use proptest::prelude::*;

    use super::*;

    fn one_of_each() -> Vec<Operation> {
        let collection = || "films".to_owned();
        vec![
            Operation::Insert {
                collection: collection(),
                documents: vec![rawdoc! { "_id": 1 }, rawdoc! { "_id": 2 }],
            },
            Operation::Update(UpdateOperation {
                collection: collection(),
                ids: vec![rawdoc! { "_id": 1 }],
                guard: rawdoc! { "stock": { "$gt": 0 } },
                update: rawdoc! { "$inc": { "stock": -1 } },
                array_filters: vec![rawdoc! { "x": 1 }],
                replaces: None,
            }),
            Operation::Update(UpdateOperation {
                collection: collection(),
                ids: vec![rawdoc! { "_id": 1 }],
                guard: rawdoc! {},
                update: rawdoc! { "a": 1 },
                array_filters: vec![],
                replaces: Some(Replaces { base: [3; 16], changed: rawdoc! { "a": true }, strict: true }),
            }),
            Operation::Upsert {
                collection: collection(),
                id: rawdoc! { "_id": 1 },
                guard: rawdoc! {},
                update: rawdoc! { "$inc": { "n": 1 } },
                array_filters: vec![],
                document: rawdoc! { "_id": 1, "n": 1 },
            },
            Operation::Delete {
                collection: collection(),
                ids: vec![rawdoc! { "_id": 1 }],
                guard: rawdoc! {},
            },
            Operation::CreateCollection { collection: collection(), options: rawdoc! { "collation": {} } },
            Operation::RenameCollection { collection: collection(), to: "b".to_owned(), drop_target: true },
            Operation::ChangeIndex {
                collection: collection(),
                name: "a_1".to_owned(),
                change: rawdoc! { "hidden": true },
            },
            Operation::Expire {
                collection: collection(),
                index: "a_1".to_owned(),
                now_ms: -1,
                ids: vec![rawdoc! { "_id": 1 }],
            },
            Operation::ChangeCollection {
                collection: collection(),
                change: rawdoc! { "conflicts": { "delete": "update-wins" } },
            },
            Operation::Dismiss { collection: "system.conflicts".to_owned(), ids: vec![rawdoc! { "_id": 1 }] },
            Operation::Transaction { steps: transaction::one_of_each_step() },
            Operation::DropCollection { collection: collection() },
            Operation::CreateIndexes {
                collection: collection(),
                definitions: vec![rawdoc! { "name": "a_1" }],
            },
            Operation::DropIndex { collection: collection(), name: "a_1".to_owned() },
            Operation::SetRoles { writer: WriterKey::from_bytes([1; 32]), roles: Roles::ADMIN },
            Operation::RemoveWriter { writer: WriterKey::from_bytes([1; 32]) },
            Operation::SetIndexers {
                writers: vec![WriterKey::from_bytes([1; 32]), WriterKey::from_bytes([2; 32])],
            },
            Operation::ForkProof(Box::new(crate::entry::tests_proof())),
            Operation::Rotate {
                from: WriterKey::from_bytes([1; 32]),
                to: WriterKey::from_bytes([2; 32]),
                signature: [3; 64],
            },
            Operation::Replace {
                from: WriterKey::from_bytes([1; 32]),
                to: WriterKey::from_bytes([2; 32]),
                roles: None,
            },
            Operation::Replace {
                from: WriterKey::from_bytes([1; 32]),
                to: WriterKey::from_bytes([2; 32]),
                roles: Some(Roles::READER),
            },
            Operation::NameWriter { writer: WriterKey::from_bytes([1; 32]), name: "Ada".to_owned() },
        ]
    }

    #[test]
    fn decoding_inverts_encoding_for_every_operation() {
        let operations = one_of_each();
        assert_eq!(decode(&encode(&operations)), Ok(operations));
    }

    #[test]
    fn every_truncation_and_every_addition_is_refused() {
        let bytes = encode(&one_of_each());
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "{length} bytes passed");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(decode(&longer).is_err());
    }

    #[test]
    fn what_is_no_write_of_documents_is_refused_inside_of_a_transaction() {
        let nothing = |inner: &Operation| {
            let mut bytes = 1_u32.to_le_bytes().to_vec();
            bytes.push(TRANSACTION);
            bytes.put_u32(1);
            transaction::put_write_of_nothing(&mut bytes);
            put_operation(&mut bytes, inner);
            decode(&bytes)
        };
        for inner in one_of_each() {
            let is_write = matches!(
                inner,
                Operation::Insert { .. }
                    | Operation::Update(_)
                    | Operation::Upsert { .. }
                    | Operation::Delete { .. }
            );
            assert_eq!(nothing(&inner).is_ok(), is_write, "{inner:?}");
        }
    }

    #[test]
    fn transactions_cannot_be_nested_so_deep_that_reading_them_ends_the_stack() {
        let mut bytes = 1_u32.to_le_bytes().to_vec();
        for _ in 0..1_000_000 {
            bytes.push(TRANSACTION);
            bytes.put_u32(1);
            transaction::put_write_of_nothing(&mut bytes);
        }
        assert!(matches!(decode(&bytes), Err(Unreadable::Malformed(_))));
    }

    #[test]
    fn an_unknown_operation_asks_for_an_upgrade() {
        let mut bytes = 1_u32.to_le_bytes().to_vec();
        bytes.push(200);
        assert!(matches!(decode(&bytes), Err(Unreadable::UpgradeNeeded(_))));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
