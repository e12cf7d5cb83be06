//! Members: who may write, vote and administer, what they are called, and the keys that they have had.

use std::collections::BTreeMap;

use crate::database::{Database, no_view};
use crate::engine::Request;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::WriterKey;
use crate::log_reader::{LogReader, Tip};
use crate::operation::Roles;
use crate::storage::{self, LogSnapshot};
use crate::view::{identities, members};
use crate::write::Write;

/// What a writer may do. Each role but that of a reader includes writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// Writes nothing, also in an open database.
    Reader,
    /// Writes documents, collections and indexes.
    Writer,
    /// And votes on the order.
    Indexer,
    /// And adds and removes writers.
    Admin,
}

/// How a writer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriterState {
    /// It may do what its roles say.
    Active,
    /// It was never admitted, or every right was taken from it.
    NotAdmitted,
    /// Another key goes on for it.
    Replaced(WriterKey),
    /// It has signed two entries for one place of its log. Once that is proved by an entry, its rights are taken from it; the
    /// last indexer and the last admin keep theirs.
    Forked,
}

/// A writer as the database knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(clippy::struct_excessive_bools)] // independent facts, each with its name
pub struct WriterInfo {
    /// Its key.
    pub writer: WriterKey,
    /// The first key of the same writer: itself, unless it goes on for another.
    pub identity: WriterKey,
    /// What the writer is called.
    pub name: Option<String>,
    /// How it stands.
    pub state: WriterState,
    /// Whether it may write.
    pub is_writer: bool,
    /// Whether it votes on the order.
    pub is_indexer: bool,
    /// Whether it adds and removes writers.
    pub is_admin: bool,
    /// Whether it was said that it only reads.
    pub is_reader: bool,
    /// How many entries of its log are stored here.
    pub length: u64,
    /// When it wrote the last of them, by its own clock, in milliseconds since 1970; none if there are none. Of whom nothing has
    /// come for long may be withheld by the peers that are met.
    pub last_time_ms: Option<u64>,
    /// Whether it has signed two entries for one place of its log.
    pub is_forked: bool,
}

/// What a device's going on with another key has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyRotation {
    /// The key that it had.
    pub from: WriterKey,
    /// The key that it has.
    pub to: WriterKey,
    /// Whether rights and name have passed to the new key. If not, the old one had none: an admin may link the two
    /// ([`Database::replace_writer`]).
    pub is_linked: bool,
}

impl Database {
    /// The writers that the database knows: those about whom something was decided, and the authors of entries.
    ///
    /// # Errors
    /// If the storage fails.
    pub fn writers(&self) -> Result<Vec<WriterInfo>> {
        let transaction = self.begin_read()?;
        let view = storage::view_snapshot(&transaction)?.ok_or_else(no_view)?;
        let log = LogSnapshot::open(&transaction, self.id())?;
        let mut logs: BTreeMap<WriterKey, Vec<Tip>> = BTreeMap::new();
        for tip in log.tips()? {
            logs.entry(tip.writer).or_default().push(tip);
        }
        for (writer, _) in members::all(&view)? {
            logs.entry(writer).or_default();
        }
        let time_of = |tip: &Tip| {
            let record = log.number_of(&tip.head)?.map(|number| log.record(number)).transpose()?.flatten();
            Ok(record.map(|record| record.header.time))
        };
        let info = |(writer, tips): (WriterKey, Vec<Tip>)| {
            let last_times = tips.iter().map(time_of).collect::<Result<Vec<_>>>()?;
            let roles = members::roles(&view, self.genesis(), &writer)?;
            let is_forked = tips.len() > 1 || identities::is_forked(&view, &writer)?;
            let state = match identities::replaced_by(&view, &writer)? {
                Some(by) => WriterState::Replaced(by),
                None if is_forked => WriterState::Forked,
                None if roles == Roles::NONE => WriterState::NotAdmitted,
                None => WriterState::Active,
            };
            Ok(WriterInfo {
                writer,
                identity: identities::identity(&view, &writer)?,
                name: identities::name(&view, &writer)?,
                state,
                is_writer: roles.has(Roles::WRITER),
                is_indexer: roles.has(Roles::INDEXER),
                is_admin: roles.has(Roles::ADMIN),
                is_reader: roles.has(Roles::READER),
                length: tips.iter().map(|tip| tip.length).max().unwrap_or_default(),
                last_time_ms: last_times.into_iter().flatten().max(),
                is_forked,
            })
        };
        logs.into_iter().map(info).collect()
    }

    /// Admits a writer, or changes what it may do to this one role. Only an admin may.
    pub fn add_writer(&self, writer: WriterKey, role: Role) -> Write<()> {
        self.set_roles(writer, &[role])
    }

    /// Gives a writer exactly these roles. Only an admin may; the last indexer and the last admin keep theirs.
    pub fn set_roles(&self, writer: WriterKey, roles: &[Role]) -> Write<()> {
        self.plain_write(Request::SetRoles { writer, roles: bits_of(roles) })
    }

    /// Takes every role from a writer: its entries after that place of the order are skipped, and once that place is
    /// confirmed nobody takes any in. Only an admin may.
    pub fn remove_writer(&self, writer: WriterKey) -> Write<()> {
        self.plain_write(Request::RemoveWriter { writer })
    }

    /// Makes exactly these writers the indexers. Only an admin may; in an open database that nobody has founded yet anybody
    /// may, and these writers become its admins too. Found it once only: two foundings are a fork.
    pub fn set_indexers(&self, writers: Vec<WriterKey>) -> Write<()> {
        self.plain_write(Request::SetIndexers { writers })
    }

    /// Names a writer (an empty name takes its name away): 128 bytes at the most, nothing that controls or hides text.
    /// Everybody may name itself, an admin anybody. The name is the writer's under all its keys.
    pub fn name_writer(&self, writer: WriterKey, name: &str) -> Write<()> {
        self.plain_write(Request::NameWriter { writer: Some(writer), name: name.to_owned() })
    }

    /// Goes on with a new key and a new log: roles and name pass to it, and the old key has no rights from there on. The
    /// secret of the new key follows from the store's and from chance that is kept with the database; it is durable
    /// together with the entry that links the keys.
    ///
    /// Where the old log goes further than what is here ([`Status::misses_own_entries`](crate::Status)), the new one begins
    /// with the link, and nothing is forked: the way to go on with a backup that was restored. Where the old key has no
    /// rights, the device takes a new key that nothing links to it.
    pub fn rotate_key(&self) -> Write<KeyRotation> {
        let mut seed = [0; 32];
        let request = getrandom::fill(&mut seed)
            .map(|()| Request::RotateKey { seed })
            .map_err(|_| Error::new(ErrorKind::Unavailable, "the system gives no random bytes"));
        let (database, from) = (self.clone(), self.writer());
        self.write(request, move |reply| {
            Ok(KeyRotation { from, to: database.writer(), is_linked: reply.entry.is_some() })
        })
    }

    /// Lets the writer `to` go on for `from`, whose key is lost or revoked: identity and name pass to it, and with them the
    /// roles of `from`, or these; `from` has none from there on. Only an admin may. A writer that had none passes on the
    /// right to write.
    pub fn replace_writer(&self, from: WriterKey, to: WriterKey, roles: Option<&[Role]>) -> Write<()> {
        self.plain_write(Request::Replace { from, to, roles: roles.map(bits_of) })
    }

    /// Goes on writing without the entries that this device has written and its store does not hold (see
    /// [`Status::misses_own_entries`](crate::Status)). If a peer holds them all the same, this device's log is forked from
    /// then on: only for when they are lost for good. [`Database::rotate_key`] forks nothing.
    pub fn give_up_own_entries(&self) -> Write<()> {
        self.plain_write(Request::GiveUpOwnEntries)
    }
}

fn bits_of(roles: &[Role]) -> Roles {
    let bits = |role: &Role| match role {
        Role::Reader => Roles::READER,
        Role::Writer => Roles::WRITER,
        Role::Indexer => Roles::INDEXER,
        Role::Admin => Roles::ADMIN,
    };
    roles.iter().map(bits).fold(Roles::NONE, Roles::joined_with)
}
