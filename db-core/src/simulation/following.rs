//! Clients of confirmed events: some stay with a peer, others go from peer to peer. A peer may keep so few changes that clients
//! fall behind them and have to begin anew.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};

use bson::RawDocumentBuf;

use super::watching::Built;
use crate::collection::ReadConcern;
use crate::database::Database;
use crate::driver::feed::HISTORY_LOST;
use crate::query::Stop;
use crate::watch::{
    ChangeStream, ChangeStreamEvent, FullDocumentBeforeChangeType, FullDocumentType, ResumeToken, Watch,
};

/// Where the position stands in a token: behind version and database.
const POSITION: Range<usize> = 18..34;

/// What clients have been told of confirmed events, by all peers together. The text of tokens ascends with the order.
#[derive(Default)]
pub(super) struct Told {
    events: BTreeMap<String, RawDocumentBuf>,
    /// Stretches of the order of which somebody was told all events: each after a token and up to another.
    whole: BTreeMap<String, String>,
}

impl Told {
    /// A client that had been told of everything up to `before` is told of everything up to `after`, where there is an event
    /// or none.
    fn extend(&mut self, number: usize, before: &str, after: &str, event: Option<&RawDocumentBuf>) {
        assert!(before < after, "peer {number}: events go back: after {before} comes {after}");
        let known = self.events.range::<str, _>((Bound::Excluded(before), Bound::Included(after)));
        let known: Vec<_> = known.collect();
        match (event, known.as_slice()) {
            (None, []) => {}
            (Some(event), [(token, known)]) if token.as_str() == after => {
                assert_eq!(*known, event, "peer {number}: another event is confirmed");
            }
            (Some(event), []) => {
                let mut whole = self.whole.iter();
                let is_passed = whole.any(|(begin, end)| begin.as_str() < after && after <= end.as_str());
                assert!(!is_passed, "peer {number}: nobody else was told of a confirmed event: {event:?}");
                self.events.insert(after.to_owned(), event.clone());
            }
            _ => panic!("peer {number}: confirmed events are left out: {event:?} where there are {known:?}"),
        }
        let up_to = (Bound::Unbounded, Bound::Included(before));
        let mut joined = self.whole.range::<str, _>(up_to).filter(|(_, end)| end.as_str() >= before);
        let begin = joined.next().map_or(before, |(begin, _)| begin).to_owned();
        let end = self.whole.entry(begin).or_default();
        if end.as_str() < after {
            after.clone_into(end);
        }
    }
}

/// A client of the confirmed events of a database; it outlives the peers that it asks.
#[derive(Default)]
pub(super) struct Client {
    /// After what it goes on; none: with the first event.
    after: Option<ResumeToken>,
    built: Built,
    /// How often it had to begin anew.
    pub(super) lost: u64,
}

impl Client {
    /// Goes on where it has left off, or, where what comes next is not kept any more, with what a peer holds now.
    pub(super) fn open(&mut self, database: &Database) -> ChangeStream<RawDocumentBuf> {
        let from = watch(database);
        let opened = match &self.after {
            Some(token) => from.resume_after(token.clone()).run(),
            None => from.start_at(0).run(),
        };
        opened.unwrap_or_else(|error| {
            assert_eq!(error.code(), Some(HISTORY_LOST), "a stream does not open: {error}");
            self.begin_anew(database)
        })
    }

    /// Begins with what is confirmed at a peer.
    fn begin_anew(&mut self, database: &Database) -> ChangeStream<RawDocumentBuf> {
        let stream = watch(database).run().unwrap();
        let confirmed = database.status().confirmed;
        // Nobody forgets what has not happened; a peer that a client has gone to may be behind where it comes from.
        assert!(confirmed > 0, "a stream is lost where nothing is confirmed");
        self.built = Built::of(&database.view_at(ReadConcern::Majority, &Stop::default()).unwrap());
        self.after = stream.resume_token();
        self.lost += 1;
        stream
    }

    /// Takes so many events at the most. All peers tell the same, and what comes of all is what a find of the concern majority
    /// gives.
    pub(super) fn follow(
        &mut self,
        number: usize,
        database: &Database,
        stream: &mut ChangeStream<RawDocumentBuf>,
        told: &mut Told,
        events_max: u64,
    ) {
        for _ in 0..events_max {
            match stream.next_raw_if_any() {
                Ok(Some(event)) => {
                    let token = token_of(&event);
                    told.extend(number, self.text(), token.as_str(), Some(&event));
                    self.built.follow(&event);
                    self.after = Some(token);
                }
                Ok(None) => return self.catch_up(number, database, stream.resume_token(), told),
                Err(error) => {
                    assert_eq!(error.code(), Some(HISTORY_LOST), "a stream fails: {error}");
                    *stream = self.begin_anew(database);
                }
            }
        }
    }

    /// All events that there are were taken.
    fn catch_up(&mut self, number: usize, database: &Database, token: Option<ResumeToken>, told: &mut Told) {
        if let Some(token) = token.filter(|token| token.as_str() != self.text()) {
            told.extend(number, self.text(), token.as_str(), None);
            self.after = Some(token);
        }
        // It may have seen more than is confirmed here.
        if self.position().is_none_or(|position| position < database.status().confirmed) {
            let found = Built::of(&database.view_at(ReadConcern::Majority, &Stop::default()).unwrap());
            assert!(
                self.built == found,
                "peer {number}: what confirmed events come to and what a find gives: {}",
                self.built.differences(&found)
            );
        }
    }

    /// The position of the entry that it was told of last.
    fn position(&self) -> Option<u64> {
        let digits = self.after.as_ref()?.as_str().get(POSITION)?;
        Some(u64::from_str_radix(digits, 16).unwrap())
    }

    fn text(&self) -> &str {
        self.after.as_ref().map_or("", ResumeToken::as_str)
    }
}

fn watch(database: &Database) -> Watch<RawDocumentBuf> {
    let watch = database.watch().with_type().read_concern(ReadConcern::Majority);
    let watch = watch.full_document(FullDocumentType::Required);
    watch.full_document_before_change(FullDocumentBeforeChangeType::Required)
}

fn token_of(event: &RawDocumentBuf) -> ResumeToken {
    let event: ChangeStreamEvent<RawDocumentBuf> = bson::deserialize_from_slice(event.as_bytes()).unwrap();
    event.id
}
