//! A disk that loses power: what was not synced is kept, dropped or torn at random, by a seed. It may also fail without that, and
//! say that it has synced what it has not.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::StorageBackend;

use super::Chance;

/// The unit in which a write is torn, in bytes.
const SECTOR_BYTES: usize = 512;

/// A disk in memory; clones are the same disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct SimDisk(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// What a power cut leaves.
    durable: Vec<u8>,
    /// What reads see.
    current: Vec<u8>,
    /// The writes since the last sync, in their order.
    pending: Vec<Pending>,
    operations: u64,
    bytes_written: u64,
    /// The operation at which the power goes.
    cut_at: Option<u64>,
    is_cut: bool,
    /// How often it was asked for anything, reads included.
    asked: u64,
    /// When it was asked so often it fails.
    fails: Range<u64>,
    has_failed: bool,
    /// Whether syncs do nothing.
    lies: bool,
}

#[derive(Debug, Clone)]
enum Pending {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

impl SimDisk {
    /// A disk that holds `image`, whose power goes at the operation `cut_at` from now.
    pub(crate) fn new(image: Vec<u8>, cut_at: Option<u64>) -> Self {
        let inner = Inner { durable: image.clone(), current: image, cut_at, ..Inner::default() };
        Self(Arc::new(Mutex::new(inner)))
    }

    /// Whether the power has gone.
    pub(crate) fn is_cut(&self) -> bool {
        self.0.lock().unwrap().is_cut
    }

    /// How many operations there were.
    #[cfg(test)]
    pub(crate) fn operations(&self) -> u64 {
        self.0.lock().unwrap().operations
    }

    /// How many bytes were written.
    pub(crate) fn bytes_written(&self) -> u64 {
        self.0.lock().unwrap().bytes_written
    }

    /// Lets the power go at the operation `operations` from now.
    pub(crate) fn cut_after(&self, operations: u64) {
        let mut inner = self.0.lock().unwrap();
        inner.cut_at = Some(inner.operations + operations);
    }

    /// Lets the power last.
    pub(crate) fn cut_never(&self) {
        self.0.lock().unwrap().cut_at = None;
    }

    /// Lets it fail once it is asked so often from now, and so many times then.
    #[cfg(test)]
    pub(crate) fn fail_after(&self, asked: u64, times: u64) {
        let mut inner = self.0.lock().unwrap();
        let from = inner.asked + asked;
        inner.fails = from..from.saturating_add(times);
    }

    /// Whether it has failed.
    #[cfg(test)]
    pub(crate) fn has_failed(&self) -> bool {
        self.0.lock().unwrap().has_failed
    }

    /// Lets it say from now on that it has synced what it has not.
    #[cfg(test)]
    pub(crate) fn lie(&self) {
        self.0.lock().unwrap().lies = true;
    }

    /// What reads see.
    pub(crate) fn image(&self) -> Vec<u8> {
        self.0.lock().unwrap().current.clone()
    }

    /// What is synced.
    pub(crate) fn durable_image(&self) -> Vec<u8> {
        self.0.lock().unwrap().durable.clone()
    }

    /// What is found when the power is back.
    pub(crate) fn after_power_cut(&self, chance: &mut Chance) -> Vec<u8> {
        let inner = self.0.lock().unwrap();
        let mut image = inner.durable.clone();
        if chance.one_in(4) {
            return image; // nothing that was not synced has come through
        }
        for pending in &inner.pending {
            match pending {
                Pending::Length(length) if chance.one_in(2) => image.resize(*length, 0),
                Pending::Length(_) => {}
                Pending::Write { offset, bytes } => {
                    for (sector, bytes) in bytes.chunks(SECTOR_BYTES).enumerate() {
                        let start = offset + sector * SECTOR_BYTES;
                        let end = start + bytes.len();
                        if chance.one_in(2) && end <= image.len() {
                            image[start..end].copy_from_slice(bytes);
                        }
                    }
                }
            }
        }
        image
    }

    /// What it is, unless it fails now.
    fn ask(&self) -> io::Result<MutexGuard<'_, Inner>> {
        let mut inner = self.0.lock().unwrap();
        let asked = inner.asked;
        inner.asked += 1;
        if inner.fails.contains(&asked) {
            inner.has_failed = true;
            return Err(io::Error::other("the disk has failed"));
        }
        Ok(inner)
    }

    /// What is found when the power is back and all has come through that was not synced, but for so many writes.
    #[cfg(test)]
    pub(crate) fn after_losing(&self, writes: u64, chance: &mut Chance) -> Vec<u8> {
        let inner = self.0.lock().unwrap();
        let mut image = inner.durable.clone();
        let lost: Vec<_> = (0..writes).map(|_| chance.below(inner.pending.len() as u64)).collect();
        for (number, pending) in (0..).zip(&inner.pending) {
            match pending {
                Pending::Length(length) => image.resize(*length, 0),
                Pending::Write { .. } if lost.contains(&number) => {}
                Pending::Write { offset, bytes } => {
                    image[*offset..offset + bytes.len()].copy_from_slice(bytes);
                }
            }
        }
        image
    }

    fn operate<T>(&self, operation: impl FnOnce(&mut Inner) -> io::Result<T>) -> io::Result<T> {
        let mut inner = self.ask()?;
        inner.operations += 1;
        if inner.cut_at.is_some_and(|cut| inner.operations > cut) {
            inner.is_cut = true;
            return Err(io::Error::other("the power is gone"));
        }
        operation(&mut inner)
    }
}

// The power gone reads as an I/O error.
impl StorageBackend for SimDisk {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.ask()?.current.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let inner = self.ask()?;
        let start = offset as usize;
        let bytes = inner.current.get(start..start + out.len());
        out.copy_from_slice(bytes.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.operate(|inner| {
            inner.current.resize(len as usize, 0);
            inner.pending.push(Pending::Length(len as usize));
            Ok(())
        })
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.operate(|inner| {
            if inner.lies {
                return Ok(());
            }
            let length = inner.current.len();
            for pending in std::mem::take(&mut inner.pending) {
                match pending {
                    Pending::Length(length) => inner.durable.resize(length, 0),
                    Pending::Write { offset, bytes } => {
                        inner.durable[offset..offset + bytes.len()].copy_from_slice(&bytes);
                    }
                }
            }
            inner.durable.resize(length, 0);
            Ok(())
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.operate(|inner| {
            let start = offset as usize;
            let place = inner.current.get_mut(start..start + data.len());
            place.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?.copy_from_slice(data);
            inner.bytes_written += data.len() as u64;
            inner.pending.push(Pending::Write { offset: start, bytes: data.to_vec() });
            Ok(())
        })
    }
}
