//! `$setWindowFields`: fields computed over windows of documents around each one.
//!
//! All documents are held, sorted by partition and sort fields. Within a partition each function moves its window from
//! document to document: what comes in is added to its state and what goes out is taken out again, so that a window of many
//! documents costs no more than a small one. Only the present document's values are ever there.

mod bounds;
mod follow;
mod function;
mod list;
mod ordered;
mod pairs;
mod parse;
mod partition;
mod slide;
mod sum;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use bson::raw::{RawDocument, RawDocumentBuf};
use bson::{RawBson, RawBsonRef};

use self::function::{Function, Running};
use self::parse::Setting;
use self::partition::{Partition, Surroundings, value_of};
use super::accumulator::{Compile, Owned};
use super::outside::{Context, Outside, Rows};
use super::parse::Parser;
use super::rows::{Held, check_memory, lazily, to_row};
use crate::error::{ErrorCode, QueryError};
use crate::expression::{Expression, Reshape, Value};
use crate::order;
use crate::raw::type_name;
use crate::sort::{Sort, SortKey};

const STAGE: &str = "$setWindowFields";

/// A compiled `$setWindowFields`.
#[derive(Debug)]
pub(super) struct WindowStage {
    partition_by: Option<Expression>,
    sort: Option<Sort>,
    /// The value of the only sort field, for windows by value.
    sort_by: Option<Expression>,
    functions: Vec<Function>,
    /// Sets the fields from variables, one for each function.
    output: Option<Reshape>,
}

impl WindowStage {
    /// Compiles the operand of the stage.
    ///
    /// # Errors
    /// `FailedToParse` (9) for one that is no object, 40414 and 40415 for absent and unknown fields, 14 for fields of the
    /// wrong type, 6307900 for output paths of which one is the other's beginning; those of window functions, sorts and
    /// expressions.
    pub(super) fn parse(operand: RawBsonRef<'_>, parser: &Parser<'_>) -> Result<Self, QueryError> {
        let RawBsonRef::Document(operand) = operand else {
            let found = type_name(operand.element_type());
            return error(9, format!("the {STAGE} stage specification must be an object, found {found}"));
        };
        Self::parse_with(operand, &|value| parser.expression(value))
    }

    fn parse_with(operand: &RawDocument, compile: Compile<'_>) -> Result<Self, QueryError> {
        let (mut partition_by, mut sort_by, mut output) = (None, None, None);
        for (name, value) in order::elements(operand) {
            match (name.as_str(), value) {
                ("partitionBy", value) => partition_by = Some(value),
                ("sortBy", RawBsonRef::Document(document)) => sort_by = Some(document),
                ("output", RawBsonRef::Document(document)) => output = Some(document),
                (name @ ("sortBy" | "output"), other) => {
                    let found = type_name(other.element_type());
                    return error(
                        14,
                        format!(
                            "BSON field '{STAGE}.{name}' is the wrong type '{found}', expected type 'object'"
                        ),
                    );
                }
                (name, _) => {
                    return error(40415, format!("BSON field '{STAGE}.{name}' is an unknown field."));
                }
            }
        }
        let Some(output) = output else {
            return error(40414, format!("BSON field '{STAGE}.output' is missing but a required field"));
        };
        let partition_by = partition_by.map(compile).transpose()?;
        if let Some(RawBson::Array(_)) = partition_by.as_ref().and_then(Expression::constant) {
            return array_partition();
        }
        let sort = sort_by.map(Sort::parse).transpose()?;
        let first = sort_by.and_then(|sort| order::elements(sort).next());
        let sort_by = match first {
            Some((field, _)) => {
                let path = format!("${}", field.as_str());
                Some(compile(RawBsonRef::String(&path))?)
            }
            None => None,
        };
        let sort = sort.map(|sort| sort.by(sort_by.as_ref().and_then(Expression::collation)));
        Self::with_outputs(output, partition_by, sort, sort_by, compile)
    }

    fn with_outputs(
        output: &RawDocument,
        partition_by: Option<Expression>,
        sort: Option<Sort>,
        sort_by: Option<Expression>,
        compile: Compile<'_>,
    ) -> Result<Self, QueryError> {
        let mut functions = Vec::new();
        let mut fields: Vec<&str> = Vec::new();
        let mut reshape = RawDocumentBuf::new();
        let setting = Setting { sort: sort.as_ref(), compile };
        let names: Vec<String> = order::elements(output).enumerate().map(|(n, _)| format!("w{n}")).collect();
        for ((field, value), name) in order::elements(output).zip(&names) {
            let path = field.as_str();
            if fields.iter().any(|known| collide(known, path)) {
                return error(
                    6_307_900,
                    format!("{STAGE} 'output' specification contains two conflicting paths"),
                );
            }
            fields.push(path);
            functions.push(setting.function(path, value)?);
            reshape.append(field, RawBsonRef::String(&format!("$${name}")));
        }
        let output = if functions.is_empty() {
            None
        } else {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            Some(Reshape::parse("$addFields", RawBsonRef::Document(&reshape), &names)?)
        };
        Ok(Self { partition_by, sort, sort_by, functions, output })
    }

    /// The stage as an adapter of `input`.
    pub(super) fn run<O: Outside>(
        self: &Arc<Self>,
        input: Rows<O::Error>,
        context: Context<O>,
    ) -> Rows<O::Error> {
        let stage = Arc::clone(self);
        lazily(move || {
            let surroundings =
                Surroundings { variables: context.variables.clone(), now_ms: context.query.now_ms };
            let mut held = Held::new(STAGE);
            held.fill(input)?;
            let output = Output::new(stage, held.documents, surroundings)?;
            Ok(output.map(|document| document.map_err(O::Error::from)))
        })
    }

    /// The documents by partition, each partition in order.
    fn partitions(
        &self,
        documents: Vec<RawDocumentBuf>,
        surroundings: &Surroundings,
    ) -> Result<VecDeque<Vec<RawDocumentBuf>>, QueryError> {
        let mut keyed = Vec::with_capacity(documents.len());
        for document in documents {
            keyed.push((self.partition_of(&document, surroundings)?, self.sort_key(&document)?, document));
        }
        keyed.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
        let mut partitions: VecDeque<Vec<RawDocumentBuf>> = VecDeque::new();
        let mut last: Option<Owned> = None;
        for (partition, _, document) in keyed {
            match partitions.back_mut().filter(|_| last.as_ref() == Some(&partition)) {
                Some(documents) => documents.push(document),
                None => partitions.push_back(vec![document]),
            }
            last = Some(partition);
        }
        Ok(partitions)
    }

    fn partition_of(&self, document: &RawDocument, surroundings: &Surroundings) -> Result<Owned, QueryError> {
        let Some(partition_by) = &self.partition_by else { return Ok(Owned(RawBson::Null, None)) };
        let variables = surroundings.variables.values();
        match partition_by.evaluate(document, &variables, surroundings.now_ms)?.to_raw_bson()? {
            Some(RawBson::Array(_)) => array_partition(),
            // Missing and null are one partition.
            value => Ok(Owned(value.unwrap_or(RawBson::Null), partition_by.collation().cloned())),
        }
    }

    fn sort_key(&self, document: &RawDocument) -> Result<Option<SortKey>, QueryError> {
        self.sort.as_ref().filter(|sort| !sort.is_empty()).map(|sort| sort.key(document)).transpose()
    }
}

/// The documents that come out, one after the other.
#[derive(Debug)]
struct Output {
    stage: Arc<WindowStage>,
    surroundings: Surroundings,
    partitions: VecDeque<Vec<RawDocumentBuf>>,
    current: Option<Current>,
    /// The bytes of all documents.
    document_bytes: usize,
}

/// The partition that is being worked on.
#[derive(Debug)]
struct Current {
    partition: Partition,
    running: Vec<Running>,
    at: usize,
}

impl Output {
    fn new(
        stage: Arc<WindowStage>,
        documents: Vec<RawDocumentBuf>,
        surroundings: Surroundings,
    ) -> Result<Self, QueryError> {
        let document_bytes = documents.iter().map(|document| document.as_bytes().len()).sum();
        let partitions = stage.partitions(documents, &surroundings)?;
        Ok(Self { stage, surroundings, partitions, current: None, document_bytes })
    }

    fn begin(&self, documents: Vec<RawDocumentBuf>) -> Result<Current, QueryError> {
        let needs_sort_values = self.stage.functions.iter().any(Function::needs_sort_values);
        let sort_by = self.stage.sort_by.as_ref().filter(|_| needs_sort_values);
        let partition = Partition::new(documents, sort_by, self.surroundings.clone())?;
        let running = self
            .stage
            .functions
            .iter()
            .map(|function| function.start(&partition))
            .collect::<Result<_, _>>()?;
        Ok(Current { partition, running, at: 0 })
    }

    fn next_document(&mut self) -> Result<Option<RawDocumentBuf>, QueryError> {
        loop {
            if let Some(current) = &mut self.current
                && current.at < current.partition.len()
            {
                return current.next(&self.stage, self.document_bytes).map(Some);
            }
            let Some(documents) = self.partitions.pop_front() else { return Ok(None) };
            self.current = Some(self.begin(documents)?);
        }
    }
}

impl Iterator for Output {
    type Item = Result<RawDocumentBuf, QueryError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_document().transpose()
    }
}

impl Current {
    fn next(&mut self, stage: &WindowStage, document_bytes: usize) -> Result<RawDocumentBuf, QueryError> {
        let at = self.at;
        self.at += 1;
        let mut values = Vec::with_capacity(self.running.len());
        for (function, running) in stage.functions.iter().zip(&mut self.running) {
            values.push(function.next(running, stage.sort.as_ref(), &self.partition, at)?);
        }
        let windows: usize = self.running.iter().map(Running::memory).sum();
        check_memory(STAGE, document_bytes + self.partition.memory() + windows)?;
        let document = self.partition.document(at);
        let Some(output) = &stage.output else { return Ok(document.to_owned()) };
        let root = Value::Raw(RawBsonRef::Document(document));
        let values: Vec<Value<'_>> = values.iter().map(|value| value_of(value.as_ref())).collect();
        let now_ms = self.partition.surroundings().now_ms;
        Ok(to_row(&output.apply(&root, &values, now_ms)?)?.unwrap_or_default())
    }
}

/// Whether one of both paths is the other, or its beginning.
fn collide(one: &str, other: &str) -> bool {
    let begins = |short: &str, long: &str| {
        long.strip_prefix(short).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    begins(one, other) || begins(other, one)
}

fn array_partition<T>() -> Result<T, QueryError> {
    error(14, "An expression used to partition cannot evaluate to value of type array")
}

/// The value of an expression that knows no document.
fn constant(value: RawBsonRef<'_>, compile: Compile<'_>) -> Result<Option<RawBson>, QueryError> {
    Ok(compile(value)?.constant().cloned())
}

/// An error with one of the codes of windows.
fn error<T>(code: i32, message: impl Into<String>) -> Result<T, QueryError> {
    Err(QueryError::new(ErrorCode(code), message))
}
