//! Sets of entry numbers that the engine keeps, a table each. What has changed is written, not what is in them.
//!
//! ```text
//! unordered   entry number -> nothing    stored, not yet ordered and applied
//! heads       entry number -> nothing    named as a parent by no other entry
//! membership  entry number -> nothing    not confirmed, and changes members or tries to
//! ```

use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};

use crate::error::Result;
use crate::linearizer::{EntryNumber, NumberSet};

pub(super) const UNORDERED: TableDefinition<'_, u64, ()> = TableDefinition::new("unordered");
const HEADS: TableDefinition<'_, u64, ()> = TableDefinition::new("heads");
const MEMBERSHIP: TableDefinition<'_, u64, ()> = TableDefinition::new("membership");

/// One of the sets, inside a write transaction.
pub(crate) struct SetTable<'txn>(Table<'txn, u64, ()>);

/// All of them.
pub(crate) struct Sets<'txn> {
    pub(crate) unordered: SetTable<'txn>,
    pub(crate) heads: SetTable<'txn>,
    pub(crate) membership: SetTable<'txn>,
}

impl<'txn> Sets<'txn> {
    pub(super) fn open(transaction: &'txn WriteTransaction) -> Result<Self> {
        Ok(Self {
            unordered: SetTable(transaction.open_table(UNORDERED)?),
            heads: SetTable(transaction.open_table(HEADS)?),
            membership: SetTable(transaction.open_table(MEMBERSHIP)?),
        })
    }
}

impl SetTable<'_> {
    /// The whole set.
    pub(crate) fn all(&self) -> Result<NumberSet> {
        self.0.iter()?.map(|item| Ok(EntryNumber(item?.0.value()))).collect()
    }

    /// Puts numbers in or takes them out, as is said with each.
    pub(crate) fn change(&mut self, changes: impl IntoIterator<Item = (EntryNumber, bool)>) -> Result<()> {
        for (EntryNumber(number), is_in) in changes {
            if is_in {
                self.0.insert(number, ())?;
            } else {
                self.0.remove(number)?;
            }
        }
        Ok(())
    }
}
