//! Where a view is made that nobody keeps: a file without a name, or memory.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::backends::{FileBackend, InMemoryBackend};
use redb::{Builder, Database, StorageBackend};

use crate::error::{Error, ErrorKind, Result};
use crate::limits;

/// How many bytes of the view redb may hold beside what it lies in.
const CACHE_BYTES: usize = 32 * 1024 * 1024;

/// Room for a view that is gone with its last reader, also after a crash.
#[derive(Clone)]
pub(super) struct Scratch {
    file: Arc<Database>,
    is_full: Arc<AtomicBool>,
    bytes_max: u64,
}

impl Scratch {
    /// A file in `directory` that has no name there, or memory without one.
    ///
    /// # Errors
    /// If there can be no file.
    pub(super) fn new(directory: Option<&Path>) -> Result<Self> {
        let (bytes_max, is_full) = match directory {
            Some(_) => (limits::PAST_REPLAY_DISK_BYTES_MAX, Arc::default()),
            None => (limits::PAST_REPLAY_BYTES_MAX, Arc::default()),
        };
        let bytes: Box<dyn StorageBackend> = match directory {
            None => Box::new(InMemoryBackend::new()),
            Some(directory) => {
                let file = tempfile::tempfile_in(directory).map_err(|error| {
                    let message =
                        format!("cannot make a file for a past state: path={}", directory.display());
                    Error::new(ErrorKind::Unavailable, message).with_source(error)
                })?;
                Box::new(FileBackend::new(file)?)
            }
        };
        let bounded = Bounded { bytes, is_full: Arc::clone(&is_full), bytes_max };
        let file = Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(bounded)?;
        Ok(Self { file: Arc::new(file), is_full, bytes_max })
    }

    /// What lies there.
    pub(super) fn file(&self) -> &Arc<Database> {
        &self.file
    }

    /// How much room there is, once more was asked for.
    pub(super) fn exceeded(&self) -> Option<u64> {
        self.is_full.load(Ordering::Relaxed).then_some(self.bytes_max)
    }
}

/// Bytes up to a bound, which outlive no crash.
struct Bounded {
    bytes: Box<dyn StorageBackend>,
    is_full: Arc<AtomicBool>,
    bytes_max: u64,
}

impl fmt::Debug for Bounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bounded").field("bytes_max", &self.bytes_max).finish_non_exhaustive()
    }
}

impl StorageBackend for Bounded {
    fn len(&self) -> Result<u64, io::Error> {
        self.bytes.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.bytes.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        if len > self.bytes_max {
            self.is_full.store(true, Ordering::Relaxed);
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        self.bytes.set_len(len)
    }

    /// Nothing has to be durable.
    fn sync_data(&self) -> Result<(), io::Error> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.bytes.write(offset, data)
    }

    fn close(&self) -> Result<(), io::Error> {
        self.bytes.close()
    }
}
