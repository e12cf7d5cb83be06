//! The store: a directory with one device secret and many databases, or the same in memory.
//!
//! ```text
//! DIR/device.key           32 secret bytes in hexadecimal, file mode 0600
//! DIR/databases/NAME.redb  a database; NAME is local to this store
//! ```
//!
//! What is created is created under a temporary name, made durable and then linked to its own, so that a crash leaves
//! either nothing or the whole.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use redb::backends::{FileBackend, InMemoryBackend};
use zeroize::Zeroizing;

use crate::database::Database;
use crate::driver::patience::PATIENCE;
use crate::engine::Engine;
use crate::entry::{Admission, Genesis};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{DatabaseKey, WriterKey};
use crate::limits;
use crate::storage::{self, Identity};
use crate::ticket::Ticket;

/// How much memory a database may use to cache its file, unless said otherwise, in bytes.
const CACHE_BYTES: usize = 256 * 1024 * 1024;

const DEVICE_KEY: &str = "device.key";
const DATABASES: &str = "databases";

/// A directory (or memory) with one device secret and many databases.
///
/// ```
/// let store = db_core::Store::in_memory()?;
/// let films = store.create_database("films")?;
/// assert_eq!(store.database_names()?, ["films"]);
/// # Ok::<(), db_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    /// None for a store in memory.
    directory: Option<PathBuf>,
    secret: Zeroizing<[u8; 32]>,
    open: Mutex<BTreeMap<String, Database>>,
    /// How many bytes of confirmed changes databases keep that are opened from now on.
    change_history: AtomicU64,
    /// How long databases that are opened from now on wait for indexers that say nothing, in milliseconds.
    patience_ms: AtomicU64,
}

impl Store {
    /// Opens the store in `directory`, which is created where it does not exist.
    ///
    /// # Errors
    /// `Unavailable` if the directory or the device's secret cannot be read or made, `Data` if the secret is damaged.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self> {
        let directory = directory.as_ref().to_path_buf();
        let databases = directory.join(DATABASES);
        fs::create_dir_all(&databases)
            .map_err(|error| file_error("cannot make the store's directory", &databases, error))?;
        let secret = read_or_make_secret(&directory)?;
        remove_unfinished(&directory);
        remove_unfinished(&databases);
        Ok(Self::with(Some(directory), secret))
    }

    /// A store in memory, with a device secret of its own; everything is gone with the last handle.
    ///
    /// # Errors
    /// `Unavailable` if the system gives no random bytes.
    pub fn in_memory() -> Result<Self> {
        Ok(Self::with(None, random()?))
    }

    fn with(directory: Option<PathBuf>, secret: Zeroizing<[u8; 32]>) -> Self {
        let change_history = AtomicU64::new(limits::CHANGES_BYTES);
        let patience_ms = AtomicU64::new(PATIENCE.as_millis() as u64);
        let open = Mutex::default();
        Self { shared: Arc::new(Shared { directory, secret, open, change_history, patience_ms }) }
    }

    /// How long databases that are opened from now on wait for indexers that say nothing: see
    /// [`Database::set_indexer_patience`], which says it of one that is open.
    pub fn set_indexer_patience(&self, patience: Duration) {
        let millis = patience.as_millis().try_into().unwrap_or(u64::MAX);
        self.shared.patience_ms.store(millis, Ordering::Relaxed);
    }

    /// How many bytes of what confirmed entries have changed a database keeps that is opened from now on: see
    /// [`Database::set_change_history`], which says it of one that is open. Said before it is opened, nothing that is there is
    /// forgotten meanwhile.
    pub fn set_change_history(&self, bytes: u64) {
        self.shared.change_history.store(bytes, Ordering::Relaxed);
    }

    /// Creates a database with a key of its own. This device is its founder: admin and sole indexer.
    ///
    /// `name` (1 to 120 of `a-z 0-9 _ . -`, not beginning with a dot) is what the database is called in this store.
    ///
    /// # Errors
    /// `Invalid` for a bad name, `Conflict` if there is a database of that name, `Unavailable` if the storage fails.
    pub fn create_database(&self, name: &str) -> Result<Database> {
        let key = DatabaseKey::from_bytes(*random()?);
        let founder = self.writer_secret(&key).verifying_key().to_bytes();
        let genesis = Genesis::closed(WriterKey::from_bytes(founder));
        self.create(name, Identity { key, genesis })
    }

    /// Opens the open database that everybody who knows `topic` shares: the same wherever it is started, with or without
    /// other peers at hand. In this store it is called like its topic.
    ///
    /// # Errors
    /// `Invalid` for a topic that is no name (see [`Store::create_database`]), `Conflict` if a database of that name exists
    /// that is not the topic's, `Unavailable` or `Data` if the storage fails.
    pub fn open_topic(&self, topic: &str) -> Result<Database> {
        let key = DatabaseKey::of_open_topic(topic);
        let genesis = Genesis::open(&key);
        self.open_or_create(topic, Identity { key, genesis })
    }

    /// Joins the database of a ticket, or opens it if this store has joined it before. It is called as the ticket says.
    ///
    /// # Errors
    /// As for [`Store::open_topic`].
    pub fn join(&self, ticket: &Ticket) -> Result<Database> {
        self.join_as(&ticket.name, ticket)
    }

    /// Joins the database of a ticket under a name of one's own.
    ///
    /// # Errors
    /// As for [`Store::open_topic`].
    pub fn join_as(&self, name: &str, ticket: &Ticket) -> Result<Database> {
        self.open_or_create(name, Identity { key: ticket.key.clone(), genesis: ticket.genesis.clone() })
    }

    /// Opens a database of this store.
    ///
    /// # Errors
    /// `NotFound` if there is none of that name, `Invalid` for a bad name, `Unavailable` if another process has it open or
    /// the storage fails, `Data` if its file is damaged.
    pub fn database(&self, name: &str) -> Result<Database> {
        check_database_name(name)?;
        let mut open = self.lock();
        if let Some(database) = open.get(name) {
            return Ok(database.clone());
        }
        let path = self.path_of(name).filter(|path| path.exists());
        let path = path.ok_or_else(|| Error::not_found(format!("database not found: name={name}")))?;
        let file = open_file(&path)?;
        let backend = FileBackend::new(file).map_err(Error::from)?;
        let (file, identity) = storage::open(backend, CACHE_BYTES).map_err(|error| at_path(error, &path))?;
        let database = self.start(name, file, identity)?;
        open.insert(name.to_owned(), database.clone());
        Ok(database)
    }

    /// The names of the databases in this store, ascending.
    ///
    /// # Errors
    /// `Unavailable` if the directory cannot be read.
    pub fn database_names(&self) -> Result<Vec<String>> {
        let Some(directory) = &self.shared.directory else {
            return Ok(self.lock().keys().cloned().collect());
        };
        let directory = directory.join(DATABASES);
        let unreadable = |error| file_error("cannot list the store's databases", &directory, error);
        let mut names = Vec::new();
        for entry in fs::read_dir(&directory).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            let name = path.file_stem().and_then(|stem| stem.to_str());
            let is_database = path.extension().is_some_and(|extension| extension == "redb");
            names.extend(
                name.filter(|name| is_database && check_database_name(name).is_ok()).map(str::to_owned),
            );
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Finishes what waits in every open database and closes their files. Handles that are left refuse further work.
    pub fn close(&self) {
        let open = std::mem::take(&mut *self.lock());
        for database in open.into_values() {
            database.close();
        }
    }

    /// The secret under which this device appears on the network.
    pub fn endpoint_secret(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(blake3::derive_key("combdb endpoint v1", &*self.shared.secret))
    }

    fn open_or_create(&self, name: &str, identity: Identity) -> Result<Database> {
        match self.database(name) {
            Ok(database) if database.key() == &identity.key && database.genesis() == &identity.genesis => {
                Ok(database)
            }
            Ok(_) => Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "another database of that name is in this store: name={name}; join under another name"
                ),
            )),
            Err(error) if error.kind() == ErrorKind::NotFound => self.create(name, identity),
            Err(error) => Err(error),
        }
    }

    fn create(&self, name: &str, identity: Identity) -> Result<Database> {
        check_database_name(name)?;
        let mut open = self.lock();
        let path = self.path_of(name);
        if open.contains_key(name) || path.as_ref().is_some_and(|path| path.exists()) {
            return Err(Error::new(ErrorKind::Conflict, format!("database exists: name={name}")));
        }
        let file = match &path {
            None => storage::create(InMemoryBackend::new(), &identity, CACHE_BYTES)?,
            Some(path) => create_file(path, &identity)?,
        };
        let database = self.start(name, file, identity)?;
        open.insert(name.to_owned(), database.clone());
        Ok(database)
    }

    fn start(&self, name: &str, file: redb::Database, identity: Identity) -> Result<Database> {
        let secret = self.writer_secret(&identity.key);
        let file = Arc::new(file);
        let engine = Engine::open(Arc::clone(&file), identity.clone(), secret)?;
        let directory = self.shared.directory.as_ref().map(|directory| directory.join(DATABASES));
        let change_history = self.shared.change_history.load(Ordering::Relaxed);
        let database = Database::start(name, file, identity, engine, directory, change_history)?;
        let patience_ms = self.shared.patience_ms.load(Ordering::Relaxed);
        database.set_indexer_patience(Duration::from_millis(patience_ms));
        Ok(database)
    }

    /// The secret of this device's log in the database with this key.
    fn writer_secret(&self, key: &DatabaseKey) -> SigningKey {
        let mut hasher = blake3::Hasher::new_derive_key("combdb writer v1");
        hasher.update(&*self.shared.secret).update(key.expose_bytes());
        SigningKey::from_bytes(&Zeroizing::new(*hasher.finalize().as_bytes()))
    }

    fn path_of(&self, name: &str) -> Option<PathBuf> {
        let directory = self.shared.directory.as_ref()?;
        Some(directory.join(DATABASES).join(format!("{name}.redb")))
    }

    /// The databases that are open; one that was closed by itself can be opened again.
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Database>> {
        let mut open = self.shared.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        open.retain(|_, database| {
            let is_closed = database.is_closed();
            if is_closed {
                database.close(); // its thread may have ended by itself, and then its file is still open
            }
            !is_closed
        });
        open
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("directory", &self.shared.directory).finish_non_exhaustive()
    }
}

/// Checks the name of a database, which is also the name of its file.
fn check_database_name(name: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || name.len() > 120 || name.starts_with('.') || !name.chars().all(allowed) {
        let shown: String = name.chars().take(40).collect();
        return Err(Error::invalid(format!(
            "a database's name is 1 to 120 of a-z 0-9 _ - . and does not begin with a dot: {shown:?}"
        ))
        .with_code(73));
    }
    Ok(())
}

/// Makes a database's file under a temporary name and gives it its own once it is durable: a crash inside redb's first
/// commit would leave a file that is no database. A link does not replace what another process has made meanwhile.
fn create_file(path: &Path, identity: &Identity) -> Result<redb::Database> {
    let temporary = unfinished(path)?;
    let failed = |error| file_error("cannot make the database's file", path, error);
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&temporary).map_err(failed)?;
    let database = storage::create(FileBackend::new(file).map_err(Error::from)?, identity, CACHE_BYTES)?;
    let linked = fs::hard_link(&temporary, path);
    let _ = fs::remove_file(&temporary);
    linked.map_err(failed)?;
    sync_directory(path)?;
    Ok(database)
}

/// A name beside `path` that nobody else uses.
fn unfinished(path: &Path) -> Result<PathBuf> {
    let random = data_encoding::HEXLOWER.encode(random()?.get(..8).unwrap_or_default());
    Ok(path.with_extension(format!("{random}.unfinished")))
}

fn open_file(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(|error| file_error("cannot open the database's file", path, error))
}

/// Removes files that a crash left before they became databases.
fn remove_unfinished(directory: &Path) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        if path.extension().is_some_and(|extension| extension == "unfinished") {
            let _ = fs::remove_file(path);
        }
    }
}

fn read_or_make_secret(directory: &Path) -> Result<Zeroizing<[u8; 32]>> {
    let path = directory.join(DEVICE_KEY);
    let mut text = Zeroizing::new(String::new());
    match File::open(&path) {
        Ok(mut file) => {
            file.read_to_string(&mut text)
                .map_err(|error| file_error("cannot read the device's secret", &path, error))?;
            let secret = data_encoding::HEXLOWER_PERMISSIVE.decode(text.trim().as_bytes()).ok();
            let secret = secret.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()).map(Zeroizing::new);
            secret.ok_or_else(|| {
                Error::data(format!("the device's secret is damaged: path={}", path.display()))
            })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let secret = random()?;
            write_secret(&path, &secret)?;
            // Of two processes that start in one new directory at once, both have the secret of the first.
            read_or_make_secret(directory)
        }
        Err(error) => Err(file_error("cannot read the device's secret", &path, error)),
    }
}

fn write_secret(path: &Path, secret: &[u8; 32]) -> Result<()> {
    let temporary = unfinished(path)?;
    let failed = |error| file_error("cannot keep the device's secret", path, error);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&temporary).map_err(failed)?;
    let text = Zeroizing::new(data_encoding::HEXLOWER.encode(secret));
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    let linked = fs::hard_link(&temporary, path);
    let _ = fs::remove_file(&temporary);
    match linked {
        Err(error) if !path.exists() => Err(failed(error)),
        _ => sync_directory(path),
    }
}

/// Makes a rename or link durable.
fn sync_directory(path: &Path) -> Result<()> {
    let directory = path.parent().unwrap_or(path);
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|error| file_error("cannot sync the directory", directory, error))
}

fn random() -> Result<Zeroizing<[u8; 32]>> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *bytes)
        .map_err(|_| Error::new(ErrorKind::Unavailable, "the system gives no random bytes"))?;
    Ok(bytes)
}

fn file_error(what: &str, path: &Path, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("{what}: path={}: {error}", path.display())).with_source(error)
}

fn at_path(error: Error, path: &Path) -> Error {
    let message = format!("{}: path={}", error.message(), path.display());
    error.with_message(message)
}

impl Genesis {
    /// Whether anybody with the key may write.
    pub fn is_open(&self) -> bool {
        self.admission == Admission::Open
    }
}
