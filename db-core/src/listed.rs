//! What comes up in a list of the system, told as it does.

use std::collections::{BTreeSet, VecDeque};

use bson::{Document, RawBson, RawDocumentBuf};
use tokio::sync::watch;

use crate::database::{Database, closed};
use crate::engine::EngineStatus;
use crate::error::Result;

/// The documents of a list that have not been told of yet. One that a reorder takes back and brings again is told of again.
pub(crate) struct NewlyListed {
    database: Database,
    list: &'static str,
    filter: Document,
    commits: watch::Receiver<EngineStatus>,
    /// The `_id`s of those that are listed now.
    known: BTreeSet<Vec<u8>>,
    new: VecDeque<RawDocumentBuf>,
}

impl NewlyListed {
    /// Those of `list` that match, the ones that are listed by now first.
    ///
    /// # Errors
    /// If the storage fails.
    pub(crate) fn open(database: &Database, list: &'static str, filter: Document) -> Result<Self> {
        let (database, commits) = (database.clone(), database.commits());
        let mut listed =
            Self { database, list, filter, commits, known: BTreeSet::new(), new: VecDeque::new() };
        listed.look()?;
        Ok(listed)
    }

    /// Passes over those that are listed by now.
    pub(crate) fn skip_present(&mut self) {
        self.new.clear();
    }

    /// The database whose list it is.
    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    /// Waits for the next one.
    ///
    /// # Errors
    /// `Unavailable` once the database is closed; if the storage fails.
    pub(crate) async fn next(&mut self) -> Result<RawDocumentBuf> {
        loop {
            if let Some(document) = self.new.pop_front() {
                return Ok(document);
            }
            let commands = self.database.commands().clone();
            tokio::select! {
                biased;
                changed = self.commits.changed() => changed.map_err(|_| closed())?,
                () = commands.closed() => return Err(closed()),
            }
            self.look()?;
        }
    }

    fn look(&mut self) -> Result<()> {
        self.commits.mark_unchanged();
        let mut known = BTreeSet::new();
        let list = self.database.collection::<RawDocumentBuf>(self.list);
        for listed in list.find(self.filter.clone()).run()? {
            let listed = listed?;
            let id = listed.get("_id").ok().flatten().map(RawBson::from);
            let Some(RawBson::Document(id)) = id else { continue };
            let id = id.as_bytes().to_vec();
            if !self.known.contains(&id) {
                self.new.push_back(listed);
            }
            known.insert(id);
        }
        self.known = known;
        Ok(())
    }
}
