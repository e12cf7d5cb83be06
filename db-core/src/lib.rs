//! CombDB to embed: a local-first document database with many writers.

mod apply;
mod away;
mod bytes;
mod collection;
mod conflicts;
mod database;
mod driver;
mod engine;
mod entry;
mod error;
mod error_line;
mod faults;
mod history;
mod ids;
pub mod limits;
pub mod linearizer;
mod listed;
mod log;
mod log_reader;
mod membership;
mod operation;
mod past;
mod payload;
mod peer_address;
mod query;
mod receipt;
mod rejections;
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
mod storage;
mod store;
#[cfg(feature = "swarm")]
pub mod swarm;
mod sync;
mod ticket;
mod transaction;
mod view;
mod watch;
mod write;

pub use apply::IndexBuild;
pub use bytes::Malformed;
pub use collection::{
    Aggregate, BulkWriteResult, Collection, CollectionOptions, Count, Cursor, DeleteResult, Distinct, Find,
    FindOne, IndexChange, IndexModel, IndexOptions, InsertManyResult, InsertOneResult, QuarantineCursor,
    Quarantined, RawCursor, ReadConcern, ReadOptions, ReturnDocument, ToRawDocument, ToUpdate, UpdateResult,
    WriteModel, WriteOptions,
};
pub use conflicts::{Conflict, ConflictSide, ConflictStream};
pub use database::{Database, Status};
pub use driver::{
    ConnectionError, ConnectionMonitor, ConnectionOptions, EngineLink, PEER_FRAMES_MAX, PREAMBLE_BYTES,
    PeerFrame, PeerInput, PeerLink, PeerOutput, PeerStatus, Progress, Room, read_topic, refuse,
    run_connection, write_topic,
};
pub use engine::Resolution;
pub use entry::{Admission, Checkpoint, Entry, Genesis, Header, InvalidRun, Run, VerifiedRun};
pub use error::{Error, ErrorKind, Result, TRANSIENT_TRANSACTION_ERROR, WriteFailure};
pub use history::{
    Blame, Change, ChangeAuthor, ChangeOutcome, HistoryCursor, HistoryPage, HistoryRange, PathBlame,
};
pub use ids::{DatabaseId, DatabaseKey, EntryHash, Topic, WriterKey};
pub use log::{LogPage, LogRange, LoggedEntry, LoggedOperation, Place, RejectedOperation, Settled};
pub use log_reader::{LogReader, StoredRun, Tip};
pub use membership::{KeyRotation, Role, WriterInfo, WriterState};
pub use past::Past;
pub use peer_address::{EndpointKey, PeerAddress, PeerAddressError, SOCKETS_MAX};
pub use query::Hint;
pub use receipt::{Acknowledged, Outcome, Receipt, ReceiptState};
pub use rejections::{RejectedPart, Rejection, RejectionId, RejectionStream};
pub use store::Store;
pub use sync::{
    CloseReason, FRAME_BYTES_MAX, Session, SessionConfig, SessionOutput, SessionStats, frame_bytes_max,
};
pub use ticket::{TICKET_ADDRESSES_MAX, TICKET_NAME_BYTES_MAX, TICKET_TEXT_MAX, Ticket, TicketError};
pub use transaction::{MajorityTransaction, RunTransaction, Transaction, TransactionOptions};
pub use view::policy::{ConflictPolicy, DeletePolicy, PathPolicy};
pub use watch::{
    ChangeNamespace, ChangeStream, ChangeStreamEvent, FullDocumentBeforeChangeType, FullDocumentType,
    LiveChange, LiveQuery, OperationType, ResumeToken, UpdateDescription, Watch,
};
pub use write::{MajorityWrite, Write};
