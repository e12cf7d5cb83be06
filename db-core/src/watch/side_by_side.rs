//! A collection as it was and as it is.

use std::cmp::Ordering;
use std::ops::Bound;

use crate::error::Result;
use crate::view::{KeyRange, ViewSnapshot, keyspace};

/// The documents of a collection in two views, in the order of their `_id`s.
pub(crate) struct SideBySide {
    old: Side,
    new: Side,
    /// The key of the last that was given.
    last: Option<Vec<u8>>,
}

/// A document in the old view and in the new, if it is there.
pub(crate) type Pair = (Option<Vec<u8>>, Option<Vec<u8>>);

struct Side {
    range: Option<KeyRange<'static>>,
    /// The next document, once it is known: the key of its `_id`, and itself.
    head: Option<(Vec<u8>, Vec<u8>)>,
}

impl SideBySide {
    /// Those after this key; a collection that is not there has none.
    ///
    /// # Errors
    /// If the storage fails.
    pub(crate) fn new(
        old: (&ViewSnapshot, Option<u32>),
        new: (&ViewSnapshot, Option<u32>),
        after: Option<&[u8]>,
    ) -> Result<Self> {
        let last = after.map(<[u8]>::to_vec);
        Ok(Self { old: Side::new(old, after)?, new: Side::new(new, after)?, last })
    }

    /// The next document, be it in one of them or in both.
    ///
    /// # Errors
    /// If the storage fails.
    pub(crate) fn next(&mut self) -> Result<Option<Pair>> {
        let order = match (self.old.peek()?, self.new.peek()?) {
            (None, None) => return Ok(None),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((old, _)), Some((new, _))) => old.cmp(new),
        };
        let old = if order.is_le() { self.old.head.take() } else { None };
        let new = if order.is_ge() { self.new.head.take() } else { None };
        self.last = old.as_ref().or(new.as_ref()).map(|(key, _)| key.clone());
        Ok(Some((old.map(|(_, document)| document), new.map(|(_, document)| document))))
    }

    /// The key of the last that was given: what to go on after.
    pub(crate) fn into_last(self) -> Option<Vec<u8>> {
        self.last
    }
}

impl Side {
    fn new((view, id): (&ViewSnapshot, Option<u32>), after: Option<&[u8]>) -> Result<Self> {
        let Some(id) = id else { return Ok(Self { range: None, head: None }) };
        let (mut low, high) = keyspace::prefix_bounds(&keyspace::documents(id));
        if let Some(after) = after {
            low = Bound::Excluded(keyspace::document(id, after));
        }
        Ok(Self { range: Some(view.keys(&(low, high))?), head: None })
    }

    fn peek(&mut self) -> Result<Option<&(Vec<u8>, Vec<u8>)>> {
        if self.head.is_none()
            && let Some(item) = self.range.as_mut().and_then(Iterator::next)
        {
            let (key, document) = item?;
            let key = keyspace::split_document(key.value()).map(|(_, id_key)| id_key.to_vec());
            self.head = Some((key.unwrap_or_default(), document.value().to_vec()));
        }
        Ok(self.head.as_ref())
    }
}
