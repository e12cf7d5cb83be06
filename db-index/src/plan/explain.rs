//! Plans in the words of MongoDB's `explain`.

use bson::{Bson, Document, RawBson, doc};

use super::{
    Branch, Combination, IndexInfo, Output, Plan, PlanRequest, ScanDirection, Source, choice,
    interval::{Cut, Interval, IntervalSet},
};
use crate::{
    index::{ID_INDEX_NAME, IndexDefinition},
    key::{Bracket, Direction, decode_value},
    sort::SORT_BYTES_MAX,
};

impl Plan {
    /// The `queryPlanner` part of an explanation, without the namespace: which stages find the documents, by which index and
    /// within which bounds, and in which other ways they could have been found.
    pub fn explain(&self, request: &PlanRequest<'_>) -> Document {
        let others = choice::all(request).unwrap_or_default().into_iter().skip(1);
        let rejected = others.filter(|plan| plan.uses_index() || !self.uses_index());
        let rejected: Vec<Document> = rejected.map(|plan| plan.stages(request)).collect();
        doc! {
            "indexFilterSet": false,
            "parsedQuery": decoded(request.filter.to_document()),
            "winningPlan": self.stages(request),
            "rejectedPlans": rejected,
        }
    }

    /// Whether the entries of indexes give all that is asked for.
    pub fn is_covered(&self) -> bool {
        !self.branches.is_empty() && self.branches.iter().all(|branch| branch.covered)
    }

    fn stages(&self, request: &PlanRequest<'_>) -> Document {
        let mut stage = match (self.combination, self.branches.as_slice()) {
            (_, []) => doc! { "stage": "EOF" },
            (_, [only]) => branch_stage(only, request),
            (Combination::Intersection, branches) => intersection_stage(branches, request),
            (Combination::Sequence, branches) => {
                let stages: Vec<Document> =
                    branches.iter().map(|branch| branch_stage(branch, request)).collect();
                doc! { "stage": "OR", "inputStages": stages }
            }
            (Combination::Merge, branches) => {
                let stages: Vec<Document> =
                    branches.iter().map(|branch| branch_stage(branch, request)).collect();
                doc! { "stage": "SORT_MERGE", "sortPattern": sort_pattern(request), "inputStages": stages }
            }
        };
        if self.sorts {
            let mut sort = doc! { "stage": "SORT", "sortPattern": sort_pattern(request), "memLimit": count(SORT_BYTES_MAX) };
            if let Some(limit) = request.limit {
                sort.insert("limitAmount", i64::try_from(limit).unwrap_or(i64::MAX));
            }
            sort.insert("type", "simple");
            sort.insert("inputStage", stage);
            stage = sort;
        }
        stage
    }
}

/// Indexes of which the documents in all of them are fetched.
fn intersection_stage(branches: &[Branch], request: &PlanRequest<'_>) -> Document {
    let index = |branch: &Branch| match branch.source {
        Source::Index(place) => request.indexes.get(place).map(|index| index_stage(branch, index)),
        Source::Documents => None,
    };
    let stages: Vec<Document> = branches.iter().filter_map(index).collect();
    let mut fetch = doc! { "stage": "FETCH" };
    if branches.first().is_some_and(|branch| branch.tests_documents) {
        fetch.insert("filter", decoded(request.filter.to_document()));
    }
    fetch.insert("inputStage", doc! { "stage": "AND_SORTED", "inputStages": stages });
    fetch
}

fn branch_stage(branch: &Branch, request: &PlanRequest<'_>) -> Document {
    if branch.runs.is_empty() {
        return doc! { "stage": "EOF" };
    }
    let index = match branch.source {
        Source::Documents => return documents_stage(branch, request),
        Source::Index(place) => request.indexes.get(place),
    };
    let Some(index) = index else { return doc! { "stage": "EOF" } };
    let mut stage = index_stage(branch, index);
    if branch.runs.len() > 1 {
        stage = doc! {
            "stage": "SORT_MERGE",
            "sortPattern": sort_pattern(request),
            "runs": count(branch.runs.len()),
            "inputStage": stage,
        };
    }
    if branch.covered {
        let name = if matches!(request.output, Output::Count) { "COUNT_SCAN" } else { "PROJECTION_COVERED" };
        return doc! { "stage": name, "inputStage": stage };
    }
    let mut fetch = doc! { "stage": "FETCH" };
    if branch.tests_documents {
        fetch.insert("filter", decoded(request.filter.to_document()));
    }
    fetch.insert("inputStage", stage);
    fetch
}

fn documents_stage(branch: &Branch, request: &PlanRequest<'_>) -> Document {
    let mut stage = match branch.bounds.as_slice() {
        [set] if set.is_one_point() => doc! { "stage": "IDHACK" },
        [set] if !set.is_full() => doc! { "stage": "CLUSTERED_IXSCAN" },
        _ => doc! { "stage": "COLLSCAN" },
    };
    if let [set] = branch.bounds.as_slice()
        && !set.is_full()
    {
        stage.insert("keyPattern", doc! { "_id": 1 });
        stage.insert("indexName", ID_INDEX_NAME);
        stage.insert(
            "indexBounds",
            doc! { "_id": bound_strings(set, Direction::Ascending, branch.direction) },
        );
    }
    if branch.tests_documents {
        stage.insert("filter", decoded(request.filter.to_document()));
    }
    stage.insert("direction", direction_name(branch.direction));
    stage
}

fn index_stage(branch: &Branch, index: &IndexInfo<'_>) -> Document {
    let definition: &IndexDefinition = index.definition;
    let mut bounds = Document::new();
    for ((path, direction), set) in branch.columns.iter().zip(&branch.bounds) {
        bounds.insert(path, bound_strings(set, *direction, branch.direction));
    }
    let multikey: Vec<Bson> = (definition.fields().iter().enumerate())
        .filter(|(place, _)| index.multikey.contains(*place))
        .map(|(_, field)| Bson::from(field.path()))
        .collect();
    let mut stage = doc! {
        "stage": "IXSCAN",
        "keyPattern": decoded(&definition.key_pattern()),
        "indexName": definition.name(),
        "isMultiKey": !index.multikey.is_empty(),
        "multiKeyPaths": multikey,
        "isUnique": definition.is_unique(),
        "isSparse": definition.is_sparse(),
        "isPartial": definition.partial_filter().is_some(),
        "indexVersion": 2,
        "direction": direction_name(branch.direction),
        "indexBounds": bounds,
    };
    if branch.key_filter.is_some() {
        stage.insert("filtersKeys", true);
    }
    stage
}

fn direction_name(direction: ScanDirection) -> &'static str {
    match direction {
        ScanDirection::Forward => "forward",
        ScanDirection::Backward => "backward",
    }
}

fn sort_pattern(request: &PlanRequest<'_>) -> Document {
    let sign = |direction: &Direction| if *direction == Direction::Ascending { 1 } else { -1 };
    request
        .sort
        .keys()
        .iter()
        .map(|(path, direction)| (path.to_string(), Bson::from(sign(direction))))
        .collect()
}

fn decoded(document: &bson::RawDocument) -> Document {
    Document::try_from(document).unwrap_or_default()
}

fn count(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The intervals in the order in which they are read: `[5, 5]`, `("a", {})`.
fn bound_strings(set: &IntervalSet, own: Direction, read: ScanDirection) -> Vec<Bson> {
    let upward = (own == Direction::Ascending) == (read == ScanDirection::Forward);
    let mut strings: Vec<Bson> =
        set.intervals().iter().map(|interval| bound_string(interval, upward)).collect();
    if !upward {
        strings.reverse();
    }
    strings
}

fn bound_string(interval: &Interval, upward: bool) -> Bson {
    let (low, low_inclusive) = end(&interval.low, true);
    let (high, high_inclusive) = end(&interval.high, false);
    let (first, last) = if upward {
        ((low, low_inclusive), (high, high_inclusive))
    } else {
        ((high, high_inclusive), (low, low_inclusive))
    };
    let (open, close) = (if first.1 { '[' } else { '(' }, if last.1 { ']' } else { ')' });
    Bson::String(format!("{open}{}, {}{close}", first.0, last.0))
}

/// The value at a cut, and whether the interval below or above it holds the value.
fn end(cut: &Cut, is_low: bool) -> (String, bool) {
    if cut.prefix().is_empty() {
        return (if is_low { "MinKey" } else { "MaxKey" }.to_owned(), true);
    }
    let mut rest = cut.prefix();
    if let Ok(value) = decode_value(&mut rest, &mut [].as_slice(), Direction::Ascending)
        && rest.is_empty()
    {
        return (shown(value), cut.is_after() != is_low);
    }
    // A prefix of strings: its end is shown as the first string beyond.
    let terminated = [cut.prefix(), &[0]].concat();
    if let Ok(RawBson::String(mut text)) =
        decode_value(&mut terminated.as_slice(), &mut [].as_slice(), Direction::Ascending)
        && !text.is_empty()
    {
        if cut.is_after() {
            let next = text.pop().and_then(|last| char::from_u32(last as u32 + 1)).unwrap_or(char::MAX);
            text.push(next);
        }
        return (shown(RawBson::String(text)), is_low);
    }
    let bracket = cut.prefix().first().copied().unwrap_or(0);
    let brackets: [(Bracket, &str, &str, bool); 14] = [
        (Bracket::Number, "nan", "inf", true),
        (Bracket::String, "\"\"", "{}", false),
        (Bracket::Object, "{}", "[]", false),
        (Bracket::Array, "[]", "BinData(0, )", false),
        (Bracket::Binary, "BinData(0, )", "ObjectId('000000000000000000000000')", false),
        (
            Bracket::ObjectId,
            "ObjectId('000000000000000000000000')",
            "ObjectId('ffffffffffffffffffffffff')",
            true,
        ),
        (Bracket::Boolean, "false", "true", true),
        (Bracket::DateTime, "new Date(-9223372036854775808)", "new Date(9223372036854775807)", true),
        (Bracket::Timestamp, "Timestamp(0, 0)", "Timestamp(4294967295, 4294967295)", true),
        (Bracket::Regex, "//", "DBPointer", false),
        (Bracket::DbPointer, "DBPointer", "Code", false),
        (Bracket::Code, "Code", "CodeWithScope", false),
        (Bracket::CodeWithScope, "CodeWithScope", "MaxKey", false),
        (Bracket::MaxKey, "MaxKey", "MaxKey", true),
    ];
    match brackets.iter().find(|(own, ..)| *own as u8 == bracket) {
        Some((_, _, high, inclusive)) if cut.is_after() => ((*high).to_owned(), *inclusive != is_low),
        Some((_, low, _, _)) => ((*low).to_owned(), is_low),
        None => ("?".to_owned(), false),
    }
}

fn shown(value: RawBson) -> String {
    match value {
        RawBson::Double(value) if value.is_infinite() => if value > 0.0 { "inf" } else { "-inf" }.to_owned(),
        RawBson::Double(value) if value.is_nan() => "nan".to_owned(),
        RawBson::Double(value) => format!("{value:?}"),
        RawBson::Int32(value) => value.to_string(),
        RawBson::Int64(value) => value.to_string(),
        RawBson::Decimal128(value) => value.to_string(),
        RawBson::String(text) => format!("{text:?}"),
        RawBson::ObjectId(id) => format!("ObjectId('{id}')"),
        RawBson::DateTime(date) => format!("new Date({})", date.timestamp_millis()),
        RawBson::Boolean(value) => value.to_string(),
        RawBson::Null => "null".to_owned(),
        RawBson::Undefined => "undefined".to_owned(),
        RawBson::MinKey => "MinKey".to_owned(),
        RawBson::MaxKey => "MaxKey".to_owned(),
        other => Bson::try_from(other).map_or_else(|_| "?".to_owned(), |value| value.to_string()),
    }
}
