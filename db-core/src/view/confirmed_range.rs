//! Reading a range of keys of the view before the tail: the view and what the tail has overwritten of it, side by side.

use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::Arc;

use redb::Range;

use super::SnapshotTables;
use super::confirmed::is_present;
use super::gaps::{End, Gap, Gaps, behind};
use super::keyspace::KeyBounds;
use super::stored::{Item, Page, Stored};
use crate::error::Result;

/// How many keys are passed before it is looked up what is known to be empty.
const PASSED_UNTIL_LOOKED: usize = 3;
/// From how many on others are to know of them.
pub(crate) const NOTED_MIN: usize = if cfg!(any(test, feature = "simulation")) { 3 } else { 16 };
/// After how many it is noted how far a reader has come, who may stop in the middle.
const PASSED_UNTIL_NOTED: usize = 4_096;

/// A range of keys of the view before the tail; read from one end or from the other, not from both.
pub(crate) struct ConfirmedRange {
    tables: Arc<SnapshotTables>,
    bounds: KeyBounds,
    latest: Pages,
    rows: Pages,
    /// The next of each, once it is known.
    latest_head: Option<(Page<'static>, Page<'static>)>,
    row_head: Option<(Page<'static>, Page<'static>)>,
    passed: Passed,
    /// How many keys under which nothing is confirmed are passed at the most, one after the other.
    passed_max: usize,
}

/// Keys and values as they lie in the file.
type Pages = Range<'static, &'static [u8], &'static [u8]>;

/// The keys under which nothing is confirmed, since the last one that is, or since the beginning.
#[derive(Default)]
struct Passed {
    /// How many since the beginning, or since the last gap.
    keys: usize,
    last: Option<Page<'static>>,
    /// From where on nothing is confirmed, once that may be of use to others.
    from: Option<Vec<u8>>,
    /// What is known to lie ahead.
    ahead: Option<Gap>,
}

impl ConfirmedRange {
    pub(super) fn new(tables: &Arc<SnapshotTables>, bounds: &KeyBounds) -> Result<Self> {
        let (latest, rows) = pages(tables, bounds)?;
        let (tables, bounds, passed) = (Arc::clone(tables), bounds.clone(), Passed::default());
        let (latest_head, row_head, passed_max) = (None, None, usize::MAX);
        Ok(Self { tables, bounds, latest, rows, latest_head, row_head, passed, passed_max })
    }

    pub(super) fn next(&mut self) -> Result<Option<Item<'static>>> {
        self.step(End::Front)
    }

    pub(super) fn next_back(&mut self) -> Result<Option<Item<'static>>> {
        self.step(End::Back)
    }

    /// How far nothing is confirmed from this end of the range on: the first key of that, or the first behind it. After
    /// [`PASSED_UNTIL_NOTED`] in a row it is looked no further. None if the range has no keys.
    pub(super) fn empty_up_to(mut self, end: End) -> Result<Option<Vec<u8>>> {
        self.passed_max = PASSED_UNTIL_NOTED;
        let found = self.step(end)?.map(|(key, _)| key.value().to_vec());
        let last = || self.passed.last.as_ref().map(|key| key.value().to_vec());
        Ok(match end {
            End::Front => found.or_else(|| Some(behind(&last()?))),
            End::Back => found.map(|key| behind(&key)).or_else(last),
        })
    }

    fn step(&mut self, end: End) -> Result<Option<Item<'static>>> {
        loop {
            if self.latest_head.is_none() {
                self.latest_head = read(&mut self.latest, end)?;
            }
            if self.row_head.is_none() {
                self.row_head = read(&mut self.rows, end)?;
            }
            let order = match (&self.latest_head, &self.row_head) {
                (None, None) => {
                    self.note_passed();
                    return Ok(None);
                }
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((key, _)), Some((changed, _))) => {
                    let (low, high) = end.order(key.value(), changed.value());
                    low.cmp(high)
                }
            };
            if order == Ordering::Less {
                self.has_passed();
                let unchanged = self.latest_head.take();
                return Ok(unchanged.map(|(key, value)| (Stored::Page(key), Stored::Page(value))));
            }
            if order == Ordering::Equal {
                self.latest_head = None;
            }
            let Some((key, row)) = self.row_head.take() else { continue };
            if is_present(row.value())? {
                self.has_passed();
                return Ok(Some((Stored::Page(key), Stored::Row(row))));
            }
            self.pass(key, end)?;
            if self.passed.keys >= self.passed_max {
                return Ok(None);
            }
        }
    }

    /// Passes a key under which nothing is confirmed, and all behind it that is known to be like it.
    fn pass(&mut self, key: Page<'static>, end: End) -> Result<()> {
        let (passed, gaps) = (&mut self.passed, &self.tables.gaps);
        #[cfg(test)]
        gaps.passed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        passed.keys += 1;
        if passed.keys == PASSED_UNTIL_LOOKED {
            passed.from.get_or_insert_with(|| key.value().to_vec());
            passed.ahead = gaps.ahead(key.value(), end);
        }
        if passed.keys.is_multiple_of(PASSED_UNTIL_NOTED)
            && let Some(from) = &passed.from
        {
            note(gaps, from, key.value());
        }
        let gap = passed.ahead.take_if(|gap| gap.is_reached(key.value(), end));
        passed.last = Some(key);
        gap.map_or(Ok(()), |gap| self.go_on_behind(gap, end))
    }

    /// Goes on behind a gap that the reader has come to. Where it has come past its end that is a little back, with nothing in between.
    fn go_on_behind(&mut self, gap: Gap, end: End) -> Result<()> {
        if let Some(from) = &self.passed.from {
            match end {
                End::Front => self.tables.gaps.note(from.min(&gap.low), &gap.high),
                End::Back => self.tables.gaps.note(&gap.low, (&behind(from)).max(&gap.high)),
            }
        }
        (self.passed.keys, self.latest_head, self.row_head) = (0, None, None);
        let (low, high) = &mut self.bounds;
        let limit = match end {
            End::Front => key_of(high).filter(|limit| **limit < gap.high).cloned(),
            End::Back => key_of(low).filter(|limit| **limit >= gap.low).cloned(),
        };
        match (limit, end) {
            // Nothing is left of the range.
            (Some(limit), _) => (*low, *high) = (Bound::Included(limit.clone()), Bound::Excluded(limit)),
            (None, End::Front) => *low = Bound::Included(gap.high),
            (None, End::Back) => *high = Bound::Excluded(gap.low),
        }
        (self.latest, self.rows) = pages(&self.tables, &self.bounds)?;
        Ok(())
    }

    /// A key that is confirmed ends what was passed.
    fn has_passed(&mut self) {
        self.note_passed();
        if self.passed.keys > 0 || self.passed.from.is_some() {
            self.passed = Passed::default();
        }
    }

    fn note_passed(&self) {
        if let (Some(from), Some(last)) = (&self.passed.from, &self.passed.last)
            && self.passed.keys >= NOTED_MIN
        {
            note(&self.tables.gaps, from, last.value());
        }
    }
}

/// Notes that nothing is confirmed between these keys, themselves included, in either order.
fn note(gaps: &Gaps, from: &[u8], last: &[u8]) {
    gaps.note(from.min(last), &behind(from.max(last)));
}

fn key_of(bound: &Bound<Vec<u8>>) -> Option<&Vec<u8>> {
    match bound {
        Bound::Included(key) | Bound::Excluded(key) => Some(key),
        Bound::Unbounded => None,
    }
}

fn pages(tables: &SnapshotTables, (low, high): &KeyBounds) -> Result<(Pages, Pages)> {
    let bounds = (low.as_ref().map(Vec::as_slice), high.as_ref().map(Vec::as_slice));
    Ok((tables.view.range::<&[u8]>(bounds)?, tables.overwritten.range::<&[u8]>(bounds)?))
}

fn read(pages: &mut Pages, end: End) -> Result<Option<(Page<'static>, Page<'static>)>> {
    let read = match end {
        End::Front => pages.next(),
        End::Back => pages.next_back(),
    };
    Ok(read.transpose()?)
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::Ordering::Relaxed;

    use proptest::prelude::*;
    use redb::{ReadableDatabase, TableDefinition};

    use super::*;
    use crate::view::confirmed::OVERWRITTEN;

    const VIEW: TableDefinition<'_, &'static [u8], &'static [u8]> = TableDefinition::new("view");

    const ALL: KeyBounds = (Bound::Unbounded, Bound::Unbounded);

    pub(in crate::view) type Keys = BTreeMap<Vec<u8>, u8>;

    /// What readers see who share `gaps`, once a tail has made `latest` of what was confirmed; as long as the file is open.
    pub(in crate::view) fn tables(
        confirmed: &Keys,
        latest: &Keys,
        gaps: &Arc<Gaps>,
    ) -> (redb::Database, Arc<SnapshotTables>) {
        let memory = redb::backends::InMemoryBackend::new();
        let file = redb::Database::builder().create_with_backend(memory).unwrap();
        let transaction = file.begin_write().unwrap();
        {
            let mut view = transaction.open_table(VIEW).unwrap();
            for (key, value) in latest {
                view.insert(&key[..], &[*value][..]).unwrap();
            }
            let mut overwritten = transaction.open_table(OVERWRITTEN).unwrap();
            for key in confirmed.keys().chain(latest.keys()) {
                let before = confirmed.get(key);
                if before != latest.get(key) {
                    let row = match before {
                        Some(value) => vec![0, 0, 0, 0, 0, 0, 0, 0, 1, *value],
                        None => vec![0; 8],
                    };
                    overwritten.insert(&key[..], &row[..]).unwrap();
                }
            }
        }
        transaction.commit().unwrap();
        let read = file.begin_read().unwrap();
        let (view, overwritten) = (read.open_table(VIEW).unwrap(), read.open_table(OVERWRITTEN).unwrap());
        (file, Arc::new(SnapshotTables { view, overwritten, gaps: Arc::clone(gaps) }))
    }

    fn read_some(
        tables: &Arc<SnapshotTables>,
        bounds: &KeyBounds,
        end: End,
        count: usize,
    ) -> Vec<(Vec<u8>, u8)> {
        let mut range = ConfirmedRange::new(tables, bounds).unwrap();
        let read = std::iter::from_fn(|| match end {
            End::Front => range.next().unwrap(),
            End::Back => range.next_back().unwrap(),
        });
        read.take(count).map(|(key, value)| (key.value().to_vec(), value.value()[0])).collect()
    }

    fn passed(gaps: &Gaps) -> u64 {
        gaps.passed.load(Relaxed)
    }

    pub(in crate::view) fn key(number: u16) -> Vec<u8> {
        number.to_be_bytes().to_vec()
    }

    #[test]
    fn what_a_reader_has_passed_the_next_one_leaps() {
        let confirmed: Keys = (0..20).map(|number| (key(number), 1)).collect();
        let mut latest = confirmed.clone();
        latest.extend((20..1_020).map(|number| (key(number), 2)));
        let gaps = Arc::default();
        let newest = |latest: &Keys| {
            let before = passed(&gaps);
            let (_file, tables) = tables(&confirmed, latest, &gaps);
            let found = read_some(&tables, &ALL, End::Back, 10);
            assert_eq!(found, (10..20).rev().map(|number| (key(number), 1)).collect::<Vec<_>>());
            passed(&gaps) - before
        };
        assert_eq!(newest(&latest), 1_000);
        assert_eq!(newest(&latest), PASSED_UNTIL_LOOKED as u64);
        latest.extend((1_020..1_070).map(|number| (key(number), 3)));
        assert_eq!(
            newest(&latest),
            50 + PASSED_UNTIL_LOOKED as u64,
            "up to the first that was passed before, and noted"
        );
        assert_eq!(newest(&latest), PASSED_UNTIL_LOOKED as u64);
        // The other way round, and a reader that stops where the tail begins.
        let behind = (Bound::Included(key(20)), Bound::Unbounded);
        for _ in 0..2 {
            let before = passed(&gaps);
            let (_file, tables) = tables(&confirmed, &latest, &gaps);
            assert!(read_some(&tables, &behind, End::Front, 1).is_empty());
            assert!(passed(&gaps) - before <= 2 * PASSED_UNTIL_LOOKED as u64);
        }
    }

    fn bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
        prop_oneof![
            Just(Bound::Unbounded),
            (0_u16..600).prop_map(|number| Bound::Included(key(number))),
            (0_u16..600).prop_map(|number| Bound::Excluded(key(number))),
        ]
    }

    proptest! {
        #[test]
        fn what_is_confirmed_is_read_whatever_others_have_passed(
            confirmed in prop::collection::btree_map((0_u16..600).prop_map(key), 0_u8..3, 0..20),
            tails in prop::collection::vec(prop::collection::vec((0_u16..600, 0_u16..200, 0_u8..4), 0..6), 1..4),
            reads in prop::collection::vec((bound(), bound(), any::<bool>(), 1_usize..12), 1..30),
        ) {
            let gaps = Arc::default();
            let states: Vec<_> = tails
                .iter()
                .map(|tail| {
                    let mut latest = confirmed.clone();
                    for (first, count, value) in tail {
                        for number in *first..first + count {
                            match value {
                                3 => drop(latest.remove(&key(number))),
                                value => drop(latest.insert(key(number), *value)),
                            }
                        }
                    }
                    tables(&confirmed, &latest, &gaps)
                })
                .collect();
            for (at, (low, high, is_ascending, count)) in reads.into_iter().enumerate() {
                if let (Some(from), Some(to)) = (key_of(&low), key_of(&high)) && from >= to {
                    continue;
                }
                let expected = confirmed.range((low.clone(), high.clone())).map(|(key, value)| (key.clone(), *value));
                let expected: Vec<_> = if is_ascending {
                    expected.take(count).collect()
                } else {
                    expected.rev().take(count).collect()
                };
                let end = if is_ascending { End::Front } else { End::Back };
                prop_assert_eq!(read_some(&states[at % states.len()].1, &(low, high), end, count), expected);
            }
        }
    }
}
