//! On the first line a filter `q`, and what may go with it: a collation `c`, the keys `i` and options `o` of an index, a
//! projection `p` and a sort `s`; documents on the others.
#![no_main]

use bson::{RawBsonRef, RawDocument};
use db_index::{
    Filter, IndexDefinition, Projection, QueryContext, Sort, check_document, with_text_score,
    without_text_score,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(lines) = db_index_fuzz::documents(data) else { return };
    let Some((first, documents)) = lines.split_first() else { return };
    let part = |name: &str| match first.get(name) {
        Ok(Some(RawBsonRef::Document(part))) => Some(part),
        _ => None,
    };
    let Some(query) = part("q") else { return };
    let nothing = bson::RawDocumentBuf::new();
    let mut context = QueryContext::at(1_700_000_000_000);
    if let Some(collation) = part("c") {
        let Ok(collated) = context.with_collation(collation) else { return };
        context = collated;
    }
    let index = part("i").and_then(|keys| IndexDefinition::parse(keys, part("o").unwrap_or(&nothing)).ok());
    context = context.with_text(index.as_ref().and_then(|index| index.text().cloned()));
    let Ok(filter) = Filter::parse_in(query, &context) else { return };
    if let Ok(guard) = filter.replayable() {
        let read = Filter::parse_logged(guard.to_document()).expect("what is logged can be read");
        for document in documents {
            if let (Ok(true), Ok(kept)) = (filter.matches(document), read.matches(document)) {
                assert!(kept, "the logged guard rules out what matches");
            }
        }
    }
    let projection = part("p").map(|projection| Projection::parse_in(projection, Some(&filter), &context));
    let sort =
        part("s").and_then(|sort| Sort::parse(sort).ok()).map(|sort| sort.by(context.collation.as_ref()));
    for document in documents {
        if let Some(index) = &index
            && let Ok(entries) = index.entries(document)
        {
            let _ = entries;
        }
        let _ = filter.nearness().map(|near| near.distance(document));
        show(&filter, projection.as_ref().and_then(|projection| projection.as_ref().ok()), document);
        if let Some(sort) = &sort {
            let _ = sort.key(document);
        }
    }
});

fn show(filter: &Filter, projection: Option<&Projection>, document: &RawDocument) {
    let (Ok(true), Some(projection)) = (filter.matches(document), projection) else { return };
    let shown = match filter.text_score(document) {
        Some(score) => projection.apply(&with_text_score(document, score)),
        None => projection.apply(document),
    };
    if let Ok(shown) = shown {
        check_document(without_text_score(&shown).as_bytes()).expect("what is shown keeps the limits");
    }
}
