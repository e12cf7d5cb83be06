//! The one redb file of a database: its tables, and opening it.
//!
//! Logs, order, view and undo change in one redb transaction, so a crash at any point leaves no half-applied state.

mod changes;
mod clock_trees;
mod clocks;
mod logs;
mod sets;
mod tables;

pub(crate) use changes::{ChangesKept, ChangesSnapshot, read_row as read_changes};
pub(crate) use clocks::{ClocksSnapshot, LogPlace};
pub(crate) use logs::{AscendingRecords, EntryRecord, LogSnapshot};
pub(crate) use tables::{
    OrderSnapshot, Tables, engine_state_snapshot, order_snapshot, view_snapshot, view_snapshot_with,
};

use redb::{Builder, Database, ReadableDatabase, StorageBackend};

use crate::bytes::{Malformed, Put, Reader};
use crate::entry::Genesis;
use crate::error::{Error, Result};
use crate::ids::DatabaseKey;

/// The version of the stored format; a program refuses files of a later one.
const FORMAT_VERSION: u16 = 7;

/// What a file says of itself: whose database it is.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) key: DatabaseKey,
    pub(crate) genesis: Genesis,
}

/// Makes the file of a new database.
pub(crate) fn create(
    backend: impl StorageBackend,
    identity: &Identity,
    cache_bytes: usize,
) -> Result<Database> {
    let database = Builder::new().set_cache_size(cache_bytes).create_with_backend(backend)?;
    let mut transaction = database.begin_write()?;
    transaction.set_two_phase_commit(true);
    {
        let mut tables = Tables::open(&transaction)?;
        tables.put_meta(tables::IDENTITY, &encode_identity(identity))?;
    }
    transaction.commit()?;
    Ok(database)
}

/// Opens the file of a database that exists.
///
/// A damaged file can make redb panic while it repairs it (it trusts its disk); that is turned into an error.
pub(crate) fn open(backend: impl StorageBackend, cache_bytes: usize) -> Result<(Database, Identity)> {
    let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        Builder::new().set_cache_size(cache_bytes).create_with_backend(backend)
    }));
    let database =
        opened.map_err(|_| Error::data("the database file is damaged beyond what can be repaired"))??;
    let identity = {
        let transaction = database.begin_read()?;
        let stored = tables::read_meta(&transaction, tables::IDENTITY)?;
        decode_identity(&stored.ok_or_else(|| Error::data("the file holds no database of this program"))?)?
    };
    Ok((database, identity))
}

fn encode_identity(identity: &Identity) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.put_u16(FORMAT_VERSION);
    bytes.extend_from_slice(identity.key.expose_bytes());
    bytes.extend_from_slice(&identity.genesis.encode());
    bytes
}

fn decode_identity(bytes: &[u8]) -> Result<Identity> {
    let mut reader = Reader::new(bytes);
    let version = reader.u16()?;
    if version != FORMAT_VERSION {
        return Err(Error::data(format!(
            "stored format of another version: found={version} known={FORMAT_VERSION}"
        )));
    }
    let key = DatabaseKey::from_bytes(reader.array()?);
    let genesis = Genesis::decode(reader.take(Genesis::BYTES)?)?;
    reader.end().map_err(|_: Malformed| Error::data("the database's identity is damaged"))?;
    Ok(Identity { key, genesis })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::WriterKey;

    #[test]
    fn a_file_of_another_format_is_refused_by_its_version() {
        let genesis = Genesis::closed(WriterKey::from_bytes([1; 32]));
        let identity = Identity { key: DatabaseKey::from_bytes([2; 32]), genesis };
        let mut bytes = encode_identity(&identity);
        assert_eq!(decode_identity(&bytes).unwrap().genesis, identity.genesis);
        for version in [FORMAT_VERSION - 1, FORMAT_VERSION + 1] {
            bytes[..2].copy_from_slice(&version.to_le_bytes());
            let refused = decode_identity(&bytes).unwrap_err();
            assert_eq!(
                refused.message(),
                format!("stored format of another version: found={version} known={FORMAT_VERSION}")
            );
        }
    }
}
