//! What a filter says for certain: equality facts for upserts, the `_id` it fixes, and its replayable part.

use bson::{RawBson, RawBsonRef, RawDocument, RawDocumentBuf, raw::CStr};

use crate::{
    context::QueryContext,
    error::{ErrorCode, QueryError},
    filter::{
        node::{Node, Predicate},
        parse::{self, is_operator_document},
    },
    order,
    path::Path,
};

/// The value that every matching document has as `_id`.
pub(super) fn id_equality(root: &Node) -> Option<RawBsonRef<'_>> {
    match root {
        Node::And(nodes) => nodes.iter().find_map(id_equality),
        Node::Or(nodes) => match nodes.as_slice() {
            [only] => id_equality(only),
            _ => None,
        },
        Node::Field { path, predicate: Predicate::Eq(value) } if path.is("_id") => {
            Some(value.as_raw_bson_ref())
        }
        Node::Field { path, predicate: Predicate::In(members) }
            if path.is("_id") && !members.has_patterns() =>
        {
            match members.values() {
                [only] => Some(only.as_raw_bson_ref()),
                _ => None,
            }
        }
        _ => None,
    }
}

/// All equalities, checked against one another.
pub(super) fn equality_facts(root: &Node) -> Result<Vec<(String, RawBsonRef<'_>)>, QueryError> {
    let mut facts: Vec<(&Path, RawBsonRef<'_>)> = Vec::new();
    let mut conflict = None;
    visit_equalities(root, &mut |path, value| match facts.iter().find(|(known, _)| known.overlaps(path)) {
        None => facts.push((path, value)),
        Some((known, other)) if *known == path => {
            if order::compare(*other, value).is_ne() {
                conflict.get_or_insert_with(|| format!("path '{path}' is matched twice"));
            }
        }
        Some((known, _)) => {
            conflict.get_or_insert_with(|| format!("both paths '{path}' and '{known}' are matched"));
        }
    });
    match conflict {
        Some(conflict) => Err(QueryError::new(
            ErrorCode::NOT_SINGLE_VALUE_FIELD,
            format!("cannot infer query fields to set, {conflict}"),
        )),
        None => Ok(facts.into_iter().map(|(path, value)| (path.to_string(), value)).collect()),
    }
}

fn visit_equalities<'a>(node: &'a Node, visit: &mut impl FnMut(&'a Path, RawBsonRef<'a>)) {
    match node {
        Node::And(nodes) => {
            for node in nodes {
                visit_equalities(node, visit);
            }
        }
        Node::Or(nodes) => {
            if let [only] = nodes.as_slice() {
                visit_equalities(only, visit);
            }
        }
        Node::Field { path, predicate: Predicate::Eq(value) } => visit(path, value.as_raw_bson_ref()),
        Node::Field { path, predicate: Predicate::In(members) } => {
            if let ([only], false) = (members.values(), members.has_patterns()) {
                visit(path, only.as_raw_bson_ref());
            }
        }
        // The collation is about finding: what is not found is made as it was asked for.
        Node::Field { path, predicate: Predicate::Collated(collated) } => {
            if let Some(value) = collated.fact() {
                visit(path, value);
            }
        }
        _ => {}
    }
}

/// The clauses of the filter `source` that may be replayed: whole fields and operators, members of `$and`, and single
/// operators of a field.
pub(super) fn replayable(source: &RawDocument) -> Result<RawDocumentBuf, QueryError> {
    let mut kept = RawDocumentBuf::new();
    for element in source {
        let (name, value) =
            element.map_err(|error| QueryError::new(ErrorCode::INVALID_BSON, error.to_string()))?;
        if may_replay(name, value)? {
            kept.append(name, value);
            continue;
        }
        match value {
            RawBsonRef::Array(clauses) if name.as_str() == "$and" => {
                let mut parts = bson::RawArrayBuf::new();
                for clause in clauses {
                    if let Ok(RawBsonRef::Document(clause)) = clause {
                        let part = replayable(clause)?;
                        if !part.is_empty() {
                            parts.push(part);
                        }
                    }
                }
                if !parts.is_empty() {
                    kept.append(name, RawBson::Array(parts));
                }
            }
            RawBsonRef::Document(operators)
                if !name.as_str().starts_with('$') && is_operator_document(operators) =>
            {
                let part = replayable_operators(name, operators)?;
                if !part.is_empty() {
                    kept.append(name, part);
                }
            }
            _ => {}
        }
    }
    Ok(kept)
}

fn replayable_operators(field: &CStr, operators: &RawDocument) -> Result<RawDocumentBuf, QueryError> {
    let mut kept = RawDocumentBuf::new();
    for (name, operand) in operators.iter().map_while(Result::ok) {
        if matches!(
            name.as_str(),
            "$regex" | "$options" | "$near" | "$nearSphere" | "$geoNear" | "$minDistance" | "$maxDistance"
        ) {
            continue;
        }
        let mut single = RawDocumentBuf::new();
        single.append(name, operand);
        if may_replay(field, RawBsonRef::Document(&single))? {
            kept.append(name, operand);
        }
    }
    Ok(kept)
}

fn may_replay(name: &CStr, value: RawBsonRef<'_>) -> Result<bool, QueryError> {
    let mut single = RawDocumentBuf::new();
    single.append(name, value);
    match parse::filter(&single, &QueryContext::default()) {
        Ok(node) => Ok(node.is_replayable()),
        // A search of texts, which nobody replays: the index is not known here.
        Err(error) if error.code == ErrorCode::INDEX_NOT_FOUND => Ok(false),
        Err(error) => Err(error),
    }
}
