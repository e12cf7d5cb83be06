//! The history of a document: who assigned which of its paths last, who updated it, who deleted it.
//!
//! It is what an update is compared with whose author may not have seen those before it in the order. Only updates and
//! deletes write it; that of a deleted document stays, since an update that had not seen the delete may yet come. It is a part
//! of the view, bounded and equal on all peers. Beyond its bounds what happened longest ago is forgotten: where nothing is
//! remembered, the place in the order decides.
//!
//! Layout, numbers as varints:
//!
//! ```text
//! count, count × 32 bytes                            the writers that follow
//! count, count × stamp                               the last update of each writer, the latest applied last
//! count, count × (length, path, stamp)               the last assignment of each path, the latest applied last
//! u8                                                 1: whole, 2: deleted, 4: kept
//! stamp                                              whole: the upsert that inserted it, which assigned all that it had then
//! stamp                                              deleted: its last delete
//! ...                                                kept: the document as it was deleted, up to the end
//!
//! stamp: number of the writer above, seq, time
//! ```

use crate::bytes::{Malformed, Reader, put_varint, take_varint};
use crate::error::Result;
use crate::ids::WriterKey;
use crate::limits;

use super::documents::CollectionWriter;
use super::journal::ViewWriter;
use super::{ReadView, keyspace};

/// Who wrote, at which place of its log, and when by its own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) writer: WriterKey,
    pub(crate) seq: u64,
    pub(crate) time: u64,
}

impl Stamp {
    /// Whether this one wins over another that is concurrent with it.
    pub(crate) fn is_later_than(&self, other: &Self) -> bool {
        (self.time, self.writer, self.seq) > (other.time, other.writer, other.seq)
    }
}

/// What is remembered of one document.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct History {
    /// The last update of each writer, the latest applied last.
    updates: Vec<Stamp>,
    /// The last assignment of each path, the latest applied last. An assignment of a path is one of all below it, so those
    /// are not listed beside it unless they came later.
    paths: Vec<(String, Stamp)>,
    /// The upsert that inserted the document: it has assigned all that this had then.
    whole: Option<Stamp>,
    /// The last delete.
    pub(crate) deleted: Option<Stamp>,
    /// The document as it was deleted, where concurrent updates win over deletes.
    pub(crate) kept: Option<Vec<u8>>,
}

/// The last assignment of a path that meets another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rival<'h> {
    /// Its path, if that is below the other.
    pub(crate) below: Option<&'h str>,
    pub(crate) stamp: Stamp,
    /// Whether it is the upsert that inserted the document: one of this path only if the document has that.
    pub(crate) is_insert: bool,
}

impl History {
    /// The history of a document that an upsert has inserted.
    pub(crate) fn of_upsert(stamp: Stamp) -> Self {
        Self { updates: vec![stamp], whole: Some(stamp), ..Self::default() }
    }

    /// The history of a document that was deleted.
    pub(crate) fn of_deleted(stamp: Stamp) -> Self {
        Self { deleted: Some(stamp), ..Self::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The last update of each writer, the latest applied last.
    pub(crate) fn updates(&self) -> &[Stamp] {
        &self.updates
    }

    /// The assignments that stand where this path would be assigned: the last one of it or of a path above it, and those of
    /// paths below it.
    pub(crate) fn rivals(&self, path: &str) -> Vec<Rival<'_>> {
        let (mut above, mut rivals) = (self.whole.map(|stamp| (stamp, true)), Vec::new());
        for (other, stamp) in &self.paths {
            let stamp = *stamp;
            match relation(other, path) {
                Relation::Apart => {}
                Relation::Covers => above = Some((stamp, false)),
                Relation::Below => rivals.push(Rival { below: Some(other), stamp, is_insert: false }),
                Relation::Crosses => rivals.push(Rival { below: None, stamp, is_insert: false }),
            }
        }
        rivals.extend(above.map(|(stamp, is_insert)| Rival { below: None, stamp, is_insert }));
        rivals
    }

    /// The last assignment of this path, or of one above it, that is remembered.
    pub(crate) fn assigned_by(&self, path: &str) -> Option<Stamp> {
        let mut above = self.rivals(path).into_iter().filter(|rival| rival.below.is_none());
        above.next_back().map(|rival| rival.stamp)
    }

    /// The upsert that inserted the document.
    pub(crate) fn inserted_by(&self) -> Option<Stamp> {
        self.whole
    }

    /// Notes an update, whatever it does.
    pub(crate) fn update(&mut self, stamp: Stamp) {
        self.updates.retain(|update| update.writer != stamp.writer);
        if self.updates.len() >= limits::HISTORY_WRITERS_MAX {
            self.updates.remove(0);
        }
        self.updates.push(stamp);
    }

    /// Notes that a path was assigned.
    pub(crate) fn assign(&mut self, path: &str, stamp: Stamp) {
        self.paths.retain(|(other, _)| other != path && relation(path, other) != Relation::Covers);
        if path.len() > limits::HISTORY_PATH_BYTES_MAX {
            return;
        }
        if self.paths.len() >= limits::HISTORY_PATHS_MAX {
            self.paths.remove(0);
        }
        self.paths.push((path.to_owned(), stamp));
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writers: Vec<WriterKey> = Vec::new();
        let stamps = self.updates.iter().chain(self.paths.iter().map(|(_, stamp)| stamp));
        for stamp in stamps.chain(&self.whole).chain(&self.deleted) {
            if !writers.contains(&stamp.writer) {
                writers.push(stamp.writer);
            }
        }
        let put_stamp = |bytes: &mut Vec<u8>, stamp: &Stamp| {
            let writer = writers.iter().position(|writer| *writer == stamp.writer).unwrap_or_default();
            put_varint(bytes, writer as u64);
            put_varint(bytes, stamp.seq);
            put_varint(bytes, stamp.time);
        };
        let mut bytes = Vec::with_capacity(64 + 32 * self.paths.len());
        put_varint(&mut bytes, writers.len() as u64);
        for writer in &writers {
            bytes.extend_from_slice(writer.as_bytes());
        }
        put_varint(&mut bytes, self.updates.len() as u64);
        for update in &self.updates {
            put_stamp(&mut bytes, update);
        }
        put_varint(&mut bytes, self.paths.len() as u64);
        for (path, stamp) in &self.paths {
            put_varint(&mut bytes, path.len() as u64);
            bytes.extend_from_slice(path.as_bytes());
            put_stamp(&mut bytes, stamp);
        }
        let flags = [self.whole.is_some(), self.deleted.is_some(), self.kept.is_some()];
        bytes.push(flags.iter().rev().fold(0, |bits, flag| bits << 1 | u8::from(*flag)));
        for stamp in self.whole.iter().chain(&self.deleted) {
            put_stamp(&mut bytes, stamp);
        }
        bytes.extend(self.kept.iter().flatten());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let count = take_count(&mut reader, limits::HISTORY_PATHS_MAX + limits::HISTORY_WRITERS_MAX + 2)?;
        let mut writers = Vec::with_capacity(count);
        for _ in 0..count {
            writers.push(WriterKey::from_bytes(reader.array()?));
        }
        let take_stamp = |reader: &mut Reader<'_>| {
            let writer = usize::try_from(take_varint(reader)?).ok().and_then(|at| writers.get(at));
            let writer = *writer.ok_or(Malformed("no such writer"))?;
            Ok::<_, Malformed>(Stamp { writer, seq: take_varint(reader)?, time: take_varint(reader)? })
        };
        let mut history = Self::default();
        for _ in 0..take_count(&mut reader, limits::HISTORY_WRITERS_MAX)? {
            history.updates.push(take_stamp(&mut reader)?);
        }
        for _ in 0..take_count(&mut reader, limits::HISTORY_PATHS_MAX)? {
            let length = take_count(&mut reader, limits::HISTORY_PATH_BYTES_MAX)?;
            let path = std::str::from_utf8(reader.take(length)?).map_err(|_| Malformed("a path"))?;
            history.paths.push((path.to_owned(), take_stamp(&mut reader)?));
        }
        let flags = reader.u8()?;
        if flags & 1 != 0 {
            history.whole = Some(take_stamp(&mut reader)?);
        }
        if flags & 2 != 0 {
            history.deleted = Some(take_stamp(&mut reader)?);
        }
        if flags & 4 != 0 {
            history.kept = Some(reader.take(reader.remaining())?.to_vec());
        }
        reader.end()?;
        Ok(history)
    }
}

impl CollectionWriter {
    /// What is remembered of a document; nothing of most.
    pub(crate) fn history(&self, view: &mut ViewWriter<'_, '_>, id_key: &[u8]) -> Result<History> {
        let stored = view.get(&keyspace::history(self.id(), id_key))?;
        let history = stored.as_ref().map(|stored| History::decode(stored.value())).transpose()?;
        let bytes = stored.map_or(0, |stored| stored.value().len());
        view.work().add(bytes);
        Ok(history.unwrap_or_default())
    }

    pub(crate) fn put_history(
        &self,
        view: &mut ViewWriter<'_, '_>,
        id_key: &[u8],
        history: &History,
    ) -> Result<()> {
        let key = keyspace::history(self.id(), id_key);
        if history.is_empty() {
            return view.delete(&key);
        }
        let bytes = history.encode();
        view.work().add(key.len() + bytes.len());
        view.put(&key, &bytes)
    }

    /// Whether anything is remembered of any document of the collection.
    pub(crate) fn has_history(&self, view: &impl ReadView) -> Result<bool> {
        let prefix = keyspace::histories(self.id());
        Ok(view.range(keyspace::prefix_bounds(&prefix))?.next().transpose()?.is_some())
    }
}

/// How one path lies to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    /// Neither holds anything of the other.
    Apart,
    /// It is the other or above it.
    Covers,
    /// It is below the other.
    Below,
    /// Both may hold something of the other: one has a part that stands for any element.
    Crosses,
}

fn relation(path: &str, other: &str) -> Relation {
    let (mut parts, mut others) = (path.split('.'), other.split('.'));
    let mut crosses = false;
    loop {
        match (parts.next(), others.next()) {
            (Some(part), Some(other)) if part == other && !is_any(part) => {}
            (Some(part), Some(other)) if is_any(part) || is_any(other) => crosses = true,
            (Some(_), Some(_)) => return Relation::Apart,
            _ if crosses => return Relation::Crosses,
            (Some(_), None) => return Relation::Below,
            (None, _) => return Relation::Covers,
        }
    }
}

/// Whether a part of a path stands for any element of an array: `$`, `$[]`, `$[id]`.
pub(crate) fn is_any(part: &str) -> bool {
    part == "$" || part.starts_with("$[")
}

fn take_count(reader: &mut Reader<'_>, max: usize) -> Result<usize, Malformed> {
    let count = usize::try_from(take_varint(reader)?).unwrap_or(usize::MAX);
    if count > max { Err(Malformed("more than is remembered")) } else { Ok(count) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stamp(writer: u8, seq: u64) -> Stamp {
        Stamp { writer: WriterKey::from_bytes([writer; 32]), seq, time: 1_000 + seq }
    }

    fn any_stamp() -> impl Strategy<Value = Stamp> {
        (0_u8..4, any::<u64>(), any::<u64>())
            .prop_map(|(writer, seq, time)| Stamp { time, ..stamp(writer, seq % 9) })
    }

    proptest! {
        #[test]
        fn a_history_reads_back(
            updates in proptest::collection::vec(any_stamp(), 0..6),
            paths in proptest::collection::vec(("[a-c](\\.[a-c$0]){0,2}", any_stamp()), 0..80),
            whole in proptest::option::of(any_stamp()),
            deleted in proptest::option::of(any_stamp()),
            kept in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..30)),
        ) {
            let mut history = History { whole, deleted, kept, ..History::default() };
            for stamp in updates {
                history.update(stamp);
            }
            for (path, stamp) in &paths {
                history.assign(path, *stamp);
                let assigned = Rival { below: None, stamp: *stamp, is_insert: false };
                prop_assert!(history.rivals(path).contains(&assigned));
            }
            prop_assert!(history.paths.len() <= limits::HISTORY_PATHS_MAX);
            prop_assert_eq!(History::decode(&history.encode()), Ok(history));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = History::decode(&bytes);
        }
    }

    #[test]
    fn an_assignment_takes_the_place_of_those_at_and_below_its_path() {
        let mut history = History::default();
        for (seq, path) in ["a.b", "a", "a.c", "ab", "a.c.d", "a.b"].into_iter().enumerate() {
            history.assign(path, stamp(1, seq as u64));
        }
        let paths: Vec<&str> = history.paths.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["a", "a.c", "ab", "a.c.d", "a.b"]);
        let seqs = |path: &str| history.rivals(path).iter().map(|rival| rival.stamp.seq).collect::<Vec<_>>();
        assert_eq!(seqs("a"), [2, 4, 5, 1]);
        assert_eq!(seqs("a.c"), [4, 2], "what came last at or above it, and what is below");
        assert_eq!(seqs("a.x.y"), [1]);
        assert_eq!(seqs("b"), Vec::<u64>::new());
        history.assign("a", stamp(1, 9));
        assert_eq!(history.paths.len(), 2);
    }

    #[test]
    fn a_path_that_stands_for_any_element_meets_each_of_them() {
        let mut history = History::default();
        history.assign("a.$[].b", stamp(1, 0));
        assert_eq!(history.rivals("a.3.b.c").len(), 1);
        assert_eq!(history.rivals("a.3.c").len(), 0);
        assert_eq!(history.rivals("a").len(), 1);
    }

    #[test]
    fn what_was_assigned_longest_ago_is_forgotten_first() {
        let mut history = History::default();
        for seq in 0..=limits::HISTORY_PATHS_MAX as u64 {
            history.assign(&format!("p{seq}"), stamp(1, seq));
        }
        assert!(history.rivals("p0").is_empty());
        assert_eq!(history.rivals("p1").len(), 1);
        history.assign(&"x".repeat(limits::HISTORY_PATH_BYTES_MAX + 1), stamp(1, 0));
        assert_eq!(history.rivals("p1").len(), 1, "a path too long is not remembered at all");
    }
}
