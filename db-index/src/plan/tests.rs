//! Plans read in memory and compared with a full scan.

use std::collections::{BTreeMap, BTreeSet};

use bson::{RawDocumentBuf, rawdoc};
use proptest::prelude::*;

use super::*;
use crate::key::{encode_value, join_types, split_types, trim_types};

mod kinds;
mod property;
mod reading;

mod collation;

/// A collection in memory, read the way that plans say.
#[derive(Default)]
struct Collection {
    documents: BTreeMap<Vec<u8>, RawDocumentBuf>,
    indexes: Vec<Index>,
}

impl fmt::Debug for Collection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for index in &self.indexes {
            writeln!(formatter, "index {} multikey {:?}", index.definition.name(), index.multikey)?;
        }
        for document in self.documents.values() {
            writeln!(formatter, "{}", bson::Document::try_from(&**document).unwrap())?;
        }
        Ok(())
    }
}

struct Index {
    definition: IndexDefinition,
    multikey: MultikeyFields,
    /// Key and key of `_id`: joined types and key of `_id`.
    entries: BTreeMap<Vec<u8>, (Vec<u8>, Vec<u8>)>,
}

/// What reading by a plan gave, and what it took.
#[derive(Debug, Default)]
struct Answer {
    documents: Vec<RawDocumentBuf>,
    keys_examined: usize,
    documents_examined: usize,
}

impl Collection {
    fn with_indexes(definitions: Vec<IndexDefinition>) -> Self {
        let index =
            |definition| Index { definition, multikey: MultikeyFields::default(), entries: BTreeMap::new() };
        Self { documents: BTreeMap::new(), indexes: definitions.into_iter().map(index).collect() }
    }

    /// Inserts a document, unless an index refuses it.
    fn insert(&mut self, document: RawDocumentBuf) {
        let (mut id_key, mut id_types) = (Vec::new(), Vec::new());
        encode_value(document.get("_id").unwrap().unwrap(), Direction::Ascending, &mut id_key, &mut id_types);
        trim_types(&mut id_types);
        let entries = self
            .indexes
            .iter()
            .map(|index| index.definition.entries(&document))
            .collect::<Result<Vec<_>, _>>();
        let Ok(entries) = entries else { return };
        for (index, entries) in self.indexes.iter_mut().zip(entries) {
            index.multikey = index.multikey.union(entries.multikey);
            for entry in entries.entries {
                let key = [entry.key, id_key.clone()].concat();
                index.entries.insert(key, (join_types(&entry.types, &id_types), id_key.clone()));
            }
        }
        self.documents.insert(id_key, document);
    }

    fn infos(&self) -> Vec<IndexInfo<'_>> {
        let info = |index: &'_ Index| index.entries.len() as u64;
        let infos = self.indexes.iter().map(|index| IndexInfo {
            definition: &index.definition,
            multikey: index.multikey,
            entries: info(index),
        });
        infos.collect()
    }

    fn run(&self, plan: &Plan, request: &PlanRequest<'_>) -> Answer {
        let mut answer = Answer::default();
        let limit = request.limit.filter(|_| !plan.sorts).map_or(usize::MAX, |limit| limit as usize);
        let mut seen = BTreeSet::new();
        match plan.combination {
            Combination::Sequence => {
                for branch in &plan.branches {
                    self.read(branch, plan, request, limit, &mut seen, &mut answer);
                }
            }
            Combination::Merge => {
                for branch in &plan.branches {
                    let mut own = Answer::default();
                    self.read(branch, plan, request, usize::MAX, &mut BTreeSet::new(), &mut own);
                    let keys = own.documents.iter().map(|document| request.sort.key(document).unwrap());
                    assert!(keys.is_sorted(), "a branch to merge is out of order");
                    answer.keys_examined += own.keys_examined;
                    let new = own
                        .documents
                        .into_iter()
                        .filter(|document| seen.insert(document.as_bytes().to_vec()));
                    answer.documents.extend(new);
                }
                answer.documents.sort_by_key(|document| request.sort.key(document).unwrap());
                answer.documents.truncate(limit);
            }
            Combination::Intersection => {
                let ids = plan.branches.iter().map(|branch| {
                    let keys = self.keys_of(branch);
                    answer.keys_examined += keys.len();
                    let ids: Vec<Vec<u8>> = keys.into_iter().map(|(_, id)| id).collect();
                    assert!(
                        ids.is_sorted_by(|a, b| a < b),
                        "a branch to intersect is not in the order of _id"
                    );
                    ids.into_iter().collect::<BTreeSet<Vec<u8>>>()
                });
                let common = ids.reduce(|a, b| a.intersection(&b).cloned().collect()).unwrap();
                answer.documents_examined += common.len();
                let documents = common.iter().map(|id| &self.documents[id]);
                let tests = plan.branches[0].tests_documents;
                let matching =
                    documents.filter(|document| !tests || request.filter.matches(document).unwrap());
                answer.documents.extend(matching.take(limit).cloned());
            }
        }
        if plan.sorts {
            answer.documents.sort_by_key(|document| request.sort.key(document).unwrap());
            answer.documents.truncate(request.limit.map_or(usize::MAX, |limit| limit as usize));
        }
        answer
    }

    /// Reads one branch, up to `limit` documents in all.
    fn read(
        &self,
        branch: &Branch,
        plan: &Plan,
        request: &PlanRequest<'_>,
        limit: usize,
        seen: &mut BTreeSet<Vec<u8>>,
        answer: &mut Answer,
    ) {
        for (key, id_key) in self.keys_of(branch) {
            if answer.documents.len() >= limit {
                break;
            }
            answer.keys_examined += 1;
            let index = match branch.source {
                Source::Documents => None,
                Source::Index(place) => Some(&self.indexes[place]),
            };
            let joined = index.map(|index| index.entries[&key].0.as_slice()).unwrap_or_default();
            let (types, id_types) = split_types(joined).unwrap();
            if branch.key_filter.as_ref().is_some_and(|filter| !filter.matches(&key, types).unwrap()) {
                continue;
            }
            if !seen.insert(id_key.clone()) {
                assert!(plan.deduplicates, "a document came twice");
                continue;
            }
            if branch.covered
                && let (Output::Fields(fields), Some(index)) = (request.output, index)
            {
                assert!(!branch.tests_documents);
                let shown = covered_document(&index.definition, fields, &key, types, id_types);
                answer.documents.push(shown.unwrap());
                continue;
            }
            answer.documents_examined += 1;
            let document = &self.documents[&id_key];
            if !branch.tests_documents || request.filter.matches(document).unwrap() {
                answer.documents.push(document.clone());
            }
        }
    }

    /// Keys, each with that of its `_id`, in the order in which the branch reads them.
    fn keys_of(&self, branch: &Branch) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut keys = Vec::new();
        for run in &branch.runs {
            for range in &run.ranges {
                let inside =
                    |key: &Vec<u8>| *key >= range.start && range.end.as_ref().is_none_or(|end| key < end);
                let mut found: Vec<(Vec<u8>, Vec<u8>, usize)> = match branch.source {
                    Source::Documents => self
                        .documents
                        .keys()
                        .filter(|key| inside(key))
                        .map(|key| (key.clone(), key.clone(), run.prefix_bytes))
                        .collect(),
                    Source::Index(place) => self.indexes[place]
                        .entries
                        .iter()
                        .filter(|(key, _)| inside(key))
                        .map(|(key, (_, id))| (key.clone(), id.clone(), run.prefix_bytes))
                        .collect(),
                };
                if branch.direction == ScanDirection::Backward {
                    found.reverse();
                }
                keys.extend(found);
            }
        }
        if branch.runs.len() > 1 {
            keys.sort_by(|(a, _, a_prefix), (b, _, b_prefix)| {
                let order = a[*a_prefix..].cmp(&b[*b_prefix..]);
                if branch.direction == ScanDirection::Backward { order.reverse() } else { order }
            });
        }
        keys.into_iter().map(|(key, id, _)| (key, id)).collect()
    }
}

/// A question with the defaults of `find`.
fn request<'a>(
    filter: &'a Filter,
    sort: &'a Sort,
    indexes: &'a [IndexInfo<'a>],
    documents: usize,
) -> PlanRequest<'a> {
    PlanRequest {
        filter,
        sort,
        output: Output::Documents,
        limit: None,
        hint: None,
        indexes,
        documents: documents as u64,
        counts: None,
    }
}

fn index_on(keys: &RawDocumentBuf) -> IndexDefinition {
    IndexDefinition::parse(keys, &rawdoc! {}).unwrap()
}

/// A thousand documents of numbers: `a` to 100, `b` to 10, `c` every one once, `t` a list.
fn numbers(indexes: &[RawDocumentBuf]) -> Collection {
    let mut collection = Collection::with_indexes(indexes.iter().map(index_on).collect());
    for n in 0..1000 {
        collection.insert(rawdoc! { "_id": n, "a": n % 100, "b": n % 10, "c": 1000 - n, "t": [n % 7, n % 5 + 10], "s": format!("s{}", n % 50) });
    }
    collection
}

struct Asked {
    plan: Plan,
    answer: Answer,
    explained: bson::Document,
}

/// Plans and runs a question on [`numbers`], checks the documents against a full scan, and gives what it took.
#[track_caller]
fn ask(
    indexes: &[RawDocumentBuf],
    filter: &RawDocumentBuf,
    sort: &RawDocumentBuf,
    limit: Option<u64>,
) -> Asked {
    let collection = numbers(indexes);
    let (filter, sort) = (Filter::parse(filter).unwrap(), Sort::parse(sort).unwrap());
    let infos = collection.infos();
    let request = PlanRequest { limit, ..request(&filter, &sort, &infos, collection.documents.len()) };
    let plan = Plan::new(&request).unwrap();
    let answer = collection.run(&plan, &request);
    check_answer(&collection, &request, &answer).unwrap();
    let explained = plan.explain(&request);
    Asked { plan, answer, explained }
}

/// Checks that an answer holds the documents that a full scan finds, in the order asked for.
fn check_answer(
    collection: &Collection,
    request: &PlanRequest<'_>,
    answer: &Answer,
) -> Result<(), TestCaseError> {
    let mut expected: Vec<_> =
        collection.documents.values().filter(|document| request.filter.matches(document).unwrap()).collect();
    let total = expected.len();
    expected.sort_by_key(|document| request.sort.key(document).unwrap());
    let limit = request.limit.map_or(usize::MAX, |limit| limit as usize);
    expected.truncate(limit);
    let key = |document: &RawDocumentBuf| request.sort.key(document).unwrap();
    prop_assert_eq!(answer.documents.len(), total.min(limit), "of {} matching", total);
    for (found, expected) in answer.documents.iter().zip(&expected) {
        prop_assert_eq!(key(found), key(expected), "out of order");
        prop_assert!(request.filter.matches(found).unwrap());
    }
    let ids: BTreeSet<Vec<u8>> =
        answer.documents.iter().map(|document| document.as_bytes().to_vec()).collect();
    prop_assert_eq!(ids.len(), answer.documents.len(), "a document came twice");
    Ok(())
}

fn winning(explained: &bson::Document) -> &bson::Document {
    explained.get_document("winningPlan").unwrap()
}

/// The stages from the outermost in.
fn stages(explained: &bson::Document) -> Vec<String> {
    let mut names = Vec::new();
    let mut stage = Some(winning(explained));
    while let Some(own) = stage {
        names.push(own.get_str("stage").unwrap().to_owned());
        stage = own.get_document("inputStage").ok();
    }
    names
}

fn index_bounds(explained: &bson::Document) -> String {
    let mut stage = winning(explained);
    while let Ok(inner) = stage.get_document("inputStage") {
        stage = inner;
    }
    stage.get_document("indexBounds").unwrap().to_string()
}
