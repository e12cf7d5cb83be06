//! Updates on documents written as `doc!`.
#![allow(clippy::needless_pass_by_value)] // literals read better by value

use bson::raw::RawDocumentBuf;
use bson::{Bson, Document, RawBson, bson, doc};

use super::*;
use crate::filter::Filter;

mod arrays;
mod effects;
mod fields;
mod paths;
mod pipelines;
mod property;
mod upserts;

fn raw(document: Document) -> RawDocumentBuf {
    RawDocumentBuf::try_from(document).unwrap()
}

fn parse(update: Document) -> Result<Update, QueryError> {
    Update::parse(&raw(update), &UpdateOptions::default())
}

fn parse_with(update: Document, array_filters: Vec<Document>) -> Result<Update, QueryError> {
    let options = UpdateOptions {
        array_filters: array_filters.into_iter().map(raw).collect(),
        ..UpdateOptions::default()
    };
    Update::parse(&raw(update), &options)
}

const CONTEXT: UpdateContext =
    UpdateContext { now_ms: 1_700_000_000_123, positional: None, is_insert: false };

fn try_update(document: Document, update: Document) -> Result<Updated, QueryError> {
    parse(update)?.apply(&raw(document), &CONTEXT)
}

/// The document after the update, field order and number types included.
#[track_caller]
fn check(document: Document, update: Document, expected: Document) {
    let updated =
        try_update(document.clone(), update.clone()).unwrap_or_else(|error| panic!("{update}: {error}"));
    assert_eq!(decoded(&updated.document), expected, "{update} on {document}");
    assert_eq!(updated.changed, document != expected, "{update} on {document}: changed");
}

#[track_caller]
fn check_kept(document: Document, update: Document) {
    check(document.clone(), update, document);
}

#[track_caller]
fn check_refused(document: Document, update: Document, code: i32) {
    match try_update(document.clone(), update.clone()) {
        Ok(updated) => panic!("{update} on {document} gave {}", decoded(&updated.document)),
        Err(error) => assert_eq!(error.code.0, code, "{update} on {document}: {error}"),
    }
}

/// Refused without a document.
#[track_caller]
fn check_unparsed(update: Document, code: i32) {
    match parse(update.clone()) {
        Ok(_) => panic!("{update} was accepted"),
        Err(error) => assert_eq!(error.code.0, code, "{update}: {error}"),
    }
}

fn decoded(document: &RawDocument) -> Document {
    Document::try_from(document).unwrap()
}
