//! The logs: appending and reading entries by their local number.
//!
//! Record in `headers`, integers little-endian:
//!
//! ```text
//! 32     hash
//! u8     1 if a signature follows: the entry is the last of its run
//! 64     signature (only then)
//! u32    how many entries before it belong to its run
//! u32    length of the standing, then the standing (what the linearizer keeps of the entry)
//! ...    header, in the layout of `entry::Header`
//! ```

use std::ops::Bound;

use redb::{Range, ReadTransaction, ReadableTable, Table};

use super::clocks::LogPlace;
use super::tables::{HASHES, HEADERS, LOGS, PAYLOADS, TIPS, Tables, WriterNumber, WriterSeq};
use crate::bytes::{Put, Reader};
use crate::entry::{Entry, Header, VerifiedRun};
use crate::error::{Error, Result};
use crate::ids::{DatabaseId, EntryHash, WriterKey};
use crate::limits;
use crate::log_reader::{LogReader, StoredRun, Tip};

/// How many records are read on over rather than looking for the next one that is asked for.
const READ_ON_MAX: u64 = 32;

/// What is stored of an entry beside its payload.
#[derive(Debug, Clone)]
pub(crate) struct EntryRecord {
    pub(crate) hash: EntryHash,
    pub(crate) signature: Option<[u8; 64]>,
    /// How many entries before it, which have the numbers just below its own, belong to its run.
    pub(crate) run_offset: u32,
    /// The linearizer's encoded standing.
    pub(crate) standing: Vec<u8>,
    pub(crate) header: Header,
}

impl EntryRecord {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(self.hash.as_bytes());
        bytes.put_u8(u8::from(self.signature.is_some()));
        if let Some(signature) = &self.signature {
            bytes.extend_from_slice(signature);
        }
        bytes.put_u32(self.run_offset);
        bytes.put_bytes(&self.standing);
        bytes.extend_from_slice(&self.header.encode());
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let hash = EntryHash::from_bytes(reader.array()?);
        let signature = if reader.u8()? == 0 { None } else { Some(reader.array()?) };
        let run_offset = reader.u32()?;
        let standing = reader.bytes(usize::MAX)?.to_vec();
        let header = Header::decode(reader.take(reader.remaining())?)?;
        Ok(Self { hash, signature, run_offset, standing, header })
    }
}

impl Tables<'_> {
    /// Appends entries that follow one another in one log, with their payloads, under `first`, which must be the next number,
    /// and those after it.
    pub(crate) fn append_entries<'e>(
        &mut self,
        first: u64,
        entries: impl Iterator<Item = (&'e EntryRecord, &'e [u8])> + Clone,
    ) -> Result<()> {
        let numbered = (first..).zip(entries);
        let Some((_, (record, _))) = numbered.clone().next() else { return Ok(()) };
        let author = record.header.writer;
        let writer = *author.as_bytes();
        let mut continues = record.header.seq > 0 || self.numbers_at(&author, 0)?.is_empty();
        let mut before = None;
        if let Some(prev) = &record.header.prev {
            let number = self.hashes.get(prev.as_bytes())?.map(|number| number.value());
            if let Some(number) = number {
                continues = self.tips.remove((writer, number))?.is_some();
                let seq = record.header.seq.saturating_sub(1);
                before = Some(LogPlace { writer: author, seq, number });
            }
        }
        // What has ascending keys is written by cursors, page by page.
        let mut headers = self.headers.upper_bound_mut(Bound::<u64>::Unbounded)?;
        for (number, (record, _)) in numbered.clone() {
            headers.insert_before(number, &record.encode()[..])?;
        }
        headers.close()?;
        let mut payloads = self.payloads.upper_bound_mut(Bound::<u64>::Unbounded)?;
        for (number, (_, payload)) in numbered.clone().filter(|(_, (_, payload))| !payload.is_empty()) {
            payloads.insert_before(number, payload)?;
        }
        payloads.close()?;
        let mut tip = None;
        for (number, (record, _)) in numbered.clone() {
            self.hashes.insert(record.hash.as_bytes(), number)?;
            self.logs.insert((writer, record.header.seq, number), ())?;
            tip = Some((number, record));
        }
        if let Some((number, record)) = tip {
            self.tips.insert((writer, number), (record.header.seq + 1, *record.hash.as_bytes()))?;
        }
        for (number, (record, _)) in numbered {
            let parents = record.header.parents.iter().map(|parent| self.place_of(parent));
            let parents = parents.collect::<Result<Vec<_>>>()?;
            let place = LogPlace { writer: author, seq: record.header.seq, number };
            self.clocks.note(&place, before.as_ref(), continues, &parents)?;
            (before, continues) = (Some(place), true);
        }
        Ok(())
    }

    /// Where in its log a stored entry stands.
    fn place_of(&self, hash: &EntryHash) -> Result<LogPlace> {
        let number = self.number_of(hash)?.ok_or_else(|| Error::data("a parent is missing"))?;
        let header = self.record(number)?.ok_or_else(|| missing(number))?.header;
        Ok(LogPlace { writer: header.writer, seq: header.seq, number })
    }

    /// Puts the signature of a run on its last entry, once the whole run is appended.
    pub(crate) fn sign_entry(&mut self, number: u64, signature: [u8; 64]) -> Result<()> {
        let mut record = self.record(number)?.ok_or_else(|| missing(number))?;
        record.signature = Some(signature);
        self.headers.insert(number, &record.encode()[..])?;
        Ok(())
    }

    pub(crate) fn record(&self, number: u64) -> Result<Option<EntryRecord>> {
        record_in(&self.headers, number)
    }

    pub(crate) fn payload(&self, number: u64) -> Result<Vec<u8>> {
        Ok(self.payloads.get(number)?.map(|payload| payload.value().to_vec()).unwrap_or_default())
    }

    pub(crate) fn number_of(&self, hash: &EntryHash) -> Result<Option<u64>> {
        Ok(self.hashes.get(hash.as_bytes())?.map(|number| number.value()))
    }

    /// The numbers of all entries at place `seq` of a log: more than one if it is forked there.
    pub(crate) fn numbers_at(&self, writer: &WriterKey, seq: u64) -> Result<Vec<u64>> {
        numbers_at_in(&self.logs, writer, seq)
    }

    /// The tips of one writer's log: number and length of each branch.
    pub(crate) fn tips_of(&self, writer: &WriterKey) -> Result<Vec<(u64, u64)>> {
        let writer = *writer.as_bytes();
        self.tips
            .range((writer, 0)..=(writer, u64::MAX))?
            .map(|item| {
                let (key, value) = item?;
                Ok((key.value().1, value.value().0))
            })
            .collect()
    }
}

/// Records read by ascending numbers: what is close by is read on to instead of being looked up.
pub(crate) struct AscendingRecords<'a, 'txn: 'a> {
    headers: &'a Table<'txn, u64, &'static [u8]>,
    rows: Range<'a, u64, &'static [u8]>,
    /// Below this number everything is passed.
    next: u64,
}

impl<'txn> Tables<'txn> {
    /// To read records by ascending numbers.
    pub(crate) fn ascending_records(&self) -> Result<AscendingRecords<'_, 'txn>> {
        Ok(AscendingRecords { headers: &self.headers, rows: self.headers.range::<u64>(..)?, next: 0 })
    }
}

impl AscendingRecords<'_, '_> {
    /// The record of the entry with this number, which is not below the last one asked for.
    pub(crate) fn at(&mut self, number: u64) -> Result<Option<EntryRecord>> {
        if number.saturating_sub(self.next) > READ_ON_MAX {
            self.rows = self.headers.range::<u64>(number..)?;
        }
        self.next = number.saturating_add(1);
        for row in self.rows.by_ref() {
            let (key, record) = row?;
            if key.value() == number {
                return EntryRecord::decode(record.value()).map(Some);
            }
            if key.value() > number {
                break;
            }
        }
        Ok(None)
    }
}

/// The logs as a read transaction sees them.
pub(crate) struct LogSnapshot {
    database: DatabaseId,
    headers: redb::ReadOnlyTable<u64, &'static [u8]>,
    payloads: redb::ReadOnlyTable<u64, &'static [u8]>,
    hashes: redb::ReadOnlyTable<[u8; 32], u64>,
    logs: redb::ReadOnlyTable<WriterSeq, ()>,
    tips: redb::ReadOnlyTable<WriterNumber, (u64, [u8; 32])>,
    end: u64,
}

impl LogSnapshot {
    pub(crate) fn open(transaction: &ReadTransaction, database: DatabaseId) -> Result<Self> {
        let headers = transaction.open_table(HEADERS)?;
        let end = headers.last()?.map_or(0, |(number, _)| number.value() + 1);
        Ok(Self {
            database,
            headers,
            payloads: transaction.open_table(PAYLOADS)?,
            hashes: transaction.open_table(HASHES)?,
            logs: transaction.open_table(LOGS)?,
            tips: transaction.open_table(TIPS)?,
            end,
        })
    }

    pub(crate) fn record(&self, number: u64) -> Result<Option<EntryRecord>> {
        record_in(&self.headers, number)
    }

    pub(crate) fn payload(&self, number: u64) -> Result<Vec<u8>> {
        Ok(self.payloads.get(number)?.map(|payload| payload.value().to_vec()).unwrap_or_default())
    }

    /// The entry with this number, hashed again: a flipped bit on disk must never be sent on.
    fn entry(&self, number: u64, record: EntryRecord) -> Result<Entry> {
        let payload = self.payload(number)?;
        let sound = record.header.hash(&self.database) == record.hash
            && record.header.payload_length as usize == payload.len()
            && record.header.payload_hash == *blake3::hash(&payload).as_bytes();
        if !sound {
            return Err(Error::data(format!("a stored entry is damaged: entry={}", record.hash.short())));
        }
        Ok(Entry { header: record.header, hash: record.hash, payload })
    }
}

impl LogReader for LogSnapshot {
    type Error = Error;

    fn tips(&self) -> Result<Vec<Tip>> {
        let mut tips = Vec::new();
        for item in self.tips.iter()? {
            let (key, value) = item?;
            let (writer, _) = key.value();
            let (length, head) = value.value();
            let (writer, head) = (WriterKey::from_bytes(writer), EntryHash::from_bytes(head));
            tips.push(Tip { writer, length, head });
        }
        tips.sort_unstable();
        Ok(tips)
    }

    fn end(&self) -> u64 {
        self.end
    }

    fn number_of(&self, hash: &EntryHash) -> Result<Option<u64>> {
        Ok(self.hashes.get(hash.as_bytes())?.map(|number| number.value()))
    }

    fn number_at(&self, writer: &WriterKey, seq: u64) -> Result<Option<u64>> {
        Ok(numbers_at_in(&self.logs, writer, seq)?.first().copied())
    }

    fn writer_at(&self, number: u64) -> Result<Option<WriterKey>> {
        Ok(self.record(number)?.map(|record| record.header.writer))
    }

    fn run_at(&self, number: u64) -> Result<Option<StoredRun>> {
        let Some(record) = self.record(number)? else { return Ok(None) };
        let first = number.saturating_sub(u64::from(record.run_offset));
        let mut entries = Vec::new();
        for number in first..first + limits::RUN_ENTRIES_MAX as u64 {
            let record = self.record(number)?.ok_or_else(|| missing(number))?;
            let signature = record.signature;
            entries.push(self.entry(number, record)?);
            if let Some(signature) = signature {
                return Ok(Some(StoredRun { first, run: VerifiedRun::from_stored(entries, signature) }));
            }
        }
        Err(Error::data(format!("a stored run has no end: entry number={first}")))
    }
}

fn record_in(headers: &impl ReadableTable<u64, &'static [u8]>, number: u64) -> Result<Option<EntryRecord>> {
    headers.get(number)?.map(|record| EntryRecord::decode(record.value())).transpose()
}

fn numbers_at_in(logs: &impl ReadableTable<WriterSeq, ()>, writer: &WriterKey, seq: u64) -> Result<Vec<u64>> {
    let writer = *writer.as_bytes();
    logs.range((writer, seq, 0)..=(writer, seq, u64::MAX))?.map(|item| Ok(item?.0.value().2)).collect()
}

fn missing(number: u64) -> Error {
    Error::data(format!("a stored entry is missing: number={number}"))
}
