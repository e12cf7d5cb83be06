//! Every limit of the engine in one place. Those marked *format* are part of the protocol: another value would make
//! peers disagree, so they change only with the format's version.

/// Format: the longest payload of an entry as it is stored and sent, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Format: the longest payload after decompression, in bytes: one document of the largest size and what names it.
pub const PAYLOAD_PLAIN_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + 64 * 1024;

/// Format: the most parents an entry may name.
pub const PARENTS_MAX: usize = 1_024;

/// Format: the most entries under one signature.
pub const RUN_ENTRIES_MAX: usize = 1_024;

/// Format: the most bytes of a run as it is sent: room for one entry of the largest size, with its header.
pub const RUN_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + 128 * 1024;

/// Format: the most bytes of the headers of one run, so that a fork can always be proved by headers alone.
pub const RUN_HEADERS_BYTES_MAX: usize = 1024 * 1024 + 64 * 1024;

/// Format: the most proofs of forks that one entry may hold.
pub const FORK_PROOFS_MAX: usize = 16;

/// Format: the longest name of a writer, in bytes.
pub const WRITER_NAME_BYTES_MAX: usize = 128;

/// Format: the most operations in one entry.
pub const OPERATIONS_MAX: usize = 100_000;

/// Format: the longest collection name, in bytes.
pub const COLLECTION_NAME_BYTES_MAX: usize = 120;

/// Format: the longest index name, in bytes.
pub const INDEX_NAME_BYTES_MAX: usize = 512;

/// Format: the most indexers a database may have at once.
pub const INDEXERS_MAX: usize = 256;

/// Format: the most indexes of one collection, the one on `_id` not counted.
pub const INDEXES_MAX: usize = 64;

/// Format: how many bytes of documents and index entries one entry may read and write, each part being counted before the
/// next is begun. What comes after that is rejected with `TransactionTooLarge` (257), on every peer alike.
pub const ENTRY_WORK_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// Format: how many passes over a whole collection or index (building or dropping one) an entry may ask for. Their cost
/// goes by what is stored, not by what the entry says, so they are counted and not weighed.
pub const ENTRY_SCANS_MAX: u32 = 256;

/// Format: how many searches beyond look-ups by `_id` a transaction may have made. Each costs up to a pass over its
/// collection, whatever it finds.
pub const TRANSACTION_SEARCHES_MAX: u32 = 256;

/// Format: how many documents those searches may have found together.
pub const TRANSACTION_FOUND_MAX: u64 = 100_000;

/// How many bytes of documents and index entries a transaction may change before it is committed, and how many its finds
/// may give at once.
pub const TRANSACTION_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Format: of how many paths of a document it is remembered who assigned them last.
pub const HISTORY_PATHS_MAX: usize = 64;

/// Format: the longest path of which that is remembered, in bytes.
pub const HISTORY_PATH_BYTES_MAX: usize = 256;

/// Format: of how many writers it is remembered when they last updated a document.
pub const HISTORY_WRITERS_MAX: usize = 64;

/// Format: the longest value that a listed conflict holds, in bytes; a longer one stands in the log only.
pub const CONFLICT_VALUE_BYTES_MAX: usize = 1024 * 1024;

/// Format: how many conflicts an update lists of one document.
pub const CONFLICTS_PER_DOCUMENT_MAX: usize = 1_000;

/// Format: for how many paths a collection may say how concurrent assignments are settled.
pub const POLICY_PATHS_MAX: usize = 256;

/// How many writers' entries that are held back are remembered.
pub const HELD_BACK_MAX: usize = 16_384;

/// How many bytes of own entries share a signature at the most, unless a single one is longer.
pub const OWN_RUN_BYTES_MAX: usize = 1024 * 1024;

/// How many calls may wait for the engine before callers are made to wait.
pub const COMMAND_QUEUE_MAX: usize = 1_024;

/// How many bytes of a peer's frames may be held until the engine has taken them, one frame of the largest size among them.
pub const PEER_QUEUE_BYTES_MAX: usize = RUN_BYTES_MAX + 5 * 1024 * 1024;

/// How many bytes of frames may be held so of all peers of a database together.
pub const PEERS_QUEUE_BYTES_MAX: usize = 6 * PEER_QUEUE_BYTES_MAX;

/// How many peers may be connected to a database at once.
pub const PEERS_MAX: usize = 256;

/// How many waiting writes share one commit at the most.
pub const GROUP_COMMIT_MAX: usize = 256;

/// How many bytes of operations share one commit at the most.
pub const GROUP_COMMIT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// About how many bytes of entries and of what they overwrote are ordered in one storage transaction.
pub const SETTLE_BYTES_MAX: usize = if cfg!(test) { 16 * 1024 } else { 64 * 1024 * 1024 };

/// How many entries are undone and applied at the most while somebody waits for a call; more is ordered in steps.
pub const ORDERED_AT_ONCE: u64 = if cfg!(test) { 32 } else { 1_024 };

/// About how much memory the changes of calls may take that are made while a backlog is being ordered; more calls wait.
pub const MEANWHILE_BYTES_MAX: usize = if cfg!(test) { 256 * 1024 } else { 32 * 1024 * 1024 };

/// How many entries a page of the log holds at the most.
pub const LOG_PAGE_ENTRIES_MAX: usize = 1_000;

/// How many entries a page of one writer's log is looked for in at the most.
pub const LOG_SCAN_ENTRIES_MAX: usize = 10_000;

/// How many bytes of payloads are read for a page of the log at the most, but for one entry; a parent counts as 1 KiB.
pub const LOG_PAGE_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// How many entries a search for a document's past looks at, unless said otherwise.
pub const HISTORY_SCAN_ENTRIES: u64 = 1_000_000;

/// How many entries it looks at, whatever is said.
pub const HISTORY_SCAN_ENTRIES_MAX: u64 = if cfg!(test) { 500 } else { 10_000_000 };

/// Of how many outermost fields of a document it is looked for who wrote them.
pub const BLAME_FIELDS_MAX: usize = 10_000;

/// How many operations of an entry the log shows, and how many rejected parts of each.
pub const LOG_PARTS_MAX: usize = 20;

/// How many documents that one commit has changed are noted by their keys for streams; beyond that collections are compared
/// as a whole.
pub const TOUCHED_KEYS_MAX: usize = 100_000;

/// How many bytes those keys may take: an `_id` can be as long as a document.
pub const TOUCHED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How many commits a local stream may fall behind, and how many changed documents, the last commit not counted. A stream
/// that falls further behind is told so and ended, since it keeps old pages in the file.
pub const STREAM_COMMITS_MAX: usize = if cfg!(test) { 200 } else { 16_384 };

/// See [`STREAM_COMMITS_MAX`].
pub const STREAM_KEYS_MAX: usize = 262_144;

/// How many bytes the keys of those documents may take.
pub const STREAM_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How many bytes of what confirmed entries have changed are kept for streams to resume from, unless a database is told
/// otherwise.
pub const CHANGES_BYTES: u64 = 64 * 1024 * 1024;

/// How many bytes of kept changes are read at once.
pub const CHANGES_CHUNK_BYTES: usize = if cfg!(test) { 4 * 1024 } else { 1024 * 1024 };

/// How many bytes of documents and index entries that were others in a past state are held to read it.
pub const PAST_BYTES_MAX: usize = if cfg!(test) { 256 * 1024 } else { 128 * 1024 * 1024 };

/// How many entries a past state that is made from the logs goes on by in one transaction.
pub const PAST_REPLAY_CHUNK: u64 = if cfg!(test) { 10 } else { 10_000 };

/// How much memory a past state may take that is made from the logs of a database in memory.
pub const PAST_REPLAY_BYTES_MAX: u64 = if cfg!(test) { 8 * 1024 * 1024 } else { 256 * 1024 * 1024 };

/// How much room on the disk one may take that is made from the logs of a stored database.
pub const PAST_REPLAY_DISK_BYTES_MAX: u64 =
    if cfg!(test) { 32 * 1024 * 1024 } else { 16 * 1024 * 1024 * 1024 };

/// How many bytes of documents the result of a live query may have.
pub const LIVE_QUERY_BYTES_MAX: usize = 16 * 1024 * 1024;

const _: () = {
    assert!(PEERS_QUEUE_BYTES_MAX <= u32::MAX as usize);
    assert!(PAYLOAD_BYTES_MAX < RUN_BYTES_MAX);
    assert!(OWN_RUN_BYTES_MAX + PARENTS_MAX * 32 + 1_024 <= RUN_HEADERS_BYTES_MAX);
    assert!(2 * RUN_HEADERS_BYTES_MAX < PAYLOAD_BYTES_MAX);
    assert!(PAYLOAD_BYTES_MAX <= u32::MAX as usize);
    assert!(PARENTS_MAX * 32 < RUN_BYTES_MAX - PAYLOAD_BYTES_MAX);
    assert!(ENTRY_SCANS_MAX as usize > INDEXES_MAX);
    assert!(GROUP_COMMIT_MAX <= RUN_ENTRIES_MAX);
    assert!(PARENTS_MAX <= u16::MAX as usize && RUN_ENTRIES_MAX <= u16::MAX as usize);
};
