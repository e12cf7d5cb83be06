//! Where a collection is read and written: as it is, in a transaction, or as it was.

use crate::database::Database;
use crate::error::{Error, Result};
use crate::past::Past;
use crate::query::Stop;
use crate::transaction::Transaction;
use crate::view::ViewSnapshot;

use super::ReadConcern;

/// Where a collection is read and written.
#[derive(Clone, Default)]
pub(crate) enum Within {
    /// In the database as it is.
    #[default]
    Present,
    /// In a transaction.
    Transaction(Transaction),
    /// In the database as it was; there it is not written.
    Past(Past),
}

impl Within {
    /// The same, or as it was after the entry at `position` if there is one.
    ///
    /// # Errors
    /// `InvalidOptions` (72) where it is not the present; as for [`Database::at_until`].
    pub(crate) fn at(self, database: &Database, position: Option<u64>, stop: &Stop) -> Result<Self> {
        match (self, position) {
            (within, None) => Ok(within),
            (Self::Present, Some(position)) => database.at_with(position, stop.clone()).map(Self::Past),
            (Self::Transaction(_) | Self::Past(_), Some(_)) => {
                let message = "a transaction or a past state is read as it is, not at a position";
                Err(Error::invalid(message).with_code(72))
            }
        }
    }

    /// The transaction.
    pub(crate) fn transaction(&self) -> Option<&Transaction> {
        match self {
            Self::Transaction(transaction) => Some(transaction),
            Self::Present | Self::Past(_) => None,
        }
    }

    /// What a read of this concern sees; waits for it, if need be, until `stop` says that it is enough.
    pub(crate) fn view_at(
        &self,
        database: &Database,
        concern: ReadConcern,
        stop: &Stop,
    ) -> Result<ViewSnapshot> {
        match self {
            Self::Present => database.view_at(concern, stop),
            Self::Transaction(transaction) => transaction.view_at(concern),
            Self::Past(past) => past.view_at(concern),
        }
    }

    /// Refuses in the past what only the present can do.
    pub(crate) fn refuse_past(&self, what: &str) -> Result<()> {
        match self {
            Self::Past(past) => Err(past.refused(what)),
            Self::Present | Self::Transaction(_) => Ok(()),
        }
    }
}
