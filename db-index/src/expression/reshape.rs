//! The stages that make one document of one document: `$addFields`, `$project`, `$unset`, `$replaceRoot` and their other
//! names. Pipelines of updates and of aggregations are made of them.

mod parse;

use std::borrow::Cow;

use bson::RawBsonRef;

use super::node::{Node, Scope};
use super::parse::check_variable_name;
use super::value::{Field, Value};
use super::{Expression, error};
use crate::collation::Collation;
use crate::context::QueryContext;
use crate::error::QueryError;

/// A compiled stage that makes one document of one document.
#[derive(Debug, Clone)]
pub struct Reshape {
    kind: Kind,
    /// The computed values, evaluated once for each document.
    computed: Vec<Node>,
    variables: Vec<Box<str>>,
    collation: Option<Collation>,
}

#[derive(Debug, Clone)]
enum Kind {
    /// `$addFields`, `$set`: all fields stay.
    Add(Fields),
    /// `$project` of what to show.
    Include(Fields),
    /// `$project` of what to hide, `$unset`.
    Exclude(Fields),
    /// `$replaceRoot`, `$replaceWith`.
    Root,
}

/// Field names at one level, each with what becomes of it.
type Fields = Vec<(Box<str>, Place)>;

/// What becomes of a field.
#[derive(Debug, Clone)]
enum Place {
    /// It gets the computed value of this number.
    Computed(usize),
    /// It is shown (inclusion) or hidden (exclusion).
    Named,
    /// Its fields are looked at, within arrays too.
    Children(Fields),
}

impl Reshape {
    /// Compiles a stage by its name and operand. `variables` are those that the caller gives values for.
    ///
    /// # Errors
    /// 40324 for a name that is none of these stages; MongoDB's codes for their operands: 40176 and 40177, 31249 and
    /// 31250, 31253 and 31254, 15969 and 51272, 31002, 40230 and 40231; those of [`Expression::parse`].
    pub fn parse(name: &str, operand: RawBsonRef<'_>, variables: &[&str]) -> Result<Self, QueryError> {
        let variables: Vec<Box<str>> = variables.iter().map(|name| (*name).into()).collect();
        parse::stage(name, operand, variables, None)
    }

    /// As [`Reshape::parse`], in surroundings that are known ([`Expression::parse_in`]).
    ///
    /// # Errors
    /// Those of [`Reshape::parse`].
    pub fn parse_in(
        name: &str,
        operand: RawBsonRef<'_>,
        variables: &[&str],
        context: &QueryContext,
    ) -> Result<Self, QueryError> {
        let variables: Vec<Box<str>> = variables.iter().map(|name| (*name).into()).collect();
        parse::stage(name, operand, variables, Some(context))
    }

    /// The document that the stage makes of `root`, with a value for each variable.
    ///
    /// # Errors
    /// 40228 if the new root is no document; those of [`Expression::evaluate`].
    pub fn apply<'a>(
        &'a self,
        root: &Value<'a>,
        variables: &[Value<'a>],
        now_ms: i64,
    ) -> Result<Value<'a>, QueryError> {
        let mut scope = Scope::new(root.clone(), now_ms, self.collation.as_ref());
        scope.variables.extend(
            self.variables
                .iter()
                .enumerate()
                .map(|(index, _)| variables.get(index).cloned().unwrap_or(Value::Missing)),
        );
        let values: Vec<Value<'a>> =
            self.computed.iter().map(|node| node.evaluate(&mut scope)).collect::<Result<_, _>>()?;
        match &self.kind {
            Kind::Add(fields) => add(&mut scope, fields, &values, root),
            Kind::Include(fields) => include(&mut scope, fields, &values, root),
            Kind::Exclude(fields) => exclude(&mut scope, fields, root),
            Kind::Root => match values.into_iter().next() {
                Some(root) if root.is_document() => Ok(root),
                root => error(
                    40228,
                    format!(
                        "the new root must be a document, not {}",
                        root.map_or("missing", |root| root.type_name())
                    ),
                ),
            },
        }
    }
}

fn find<'f>(fields: &'f Fields, name: &str) -> Option<(usize, &'f Place)> {
    fields
        .iter()
        .position(|(known, _)| **known == *name)
        .and_then(|place| Some((place, &fields.get(place)?.1)))
}

/// Goes into each element of an array.
fn each<'a>(
    scope: &mut Scope<'a>,
    value: &Value<'a>,
    mut apply: impl FnMut(&mut Scope<'a>, &Value<'a>) -> Result<Value<'a>, QueryError>,
) -> Result<Option<Value<'a>>, QueryError> {
    let Some(items) = value.items() else { return Ok(None) };
    let mut made = Vec::with_capacity(items.len());
    for item in items.iter() {
        let item = apply(scope, item)?;
        if !item.is_missing() {
            made.push(item);
        }
    }
    scope.array(made).map(Some)
}

/// Sets fields; what is no document becomes one.
fn add<'a>(
    scope: &mut Scope<'a>,
    fields: &'a Fields,
    values: &[Value<'a>],
    value: &Value<'a>,
) -> Result<Value<'a>, QueryError> {
    if let Some(array) = each(scope, value, |scope, item| add(scope, fields, values, item))? {
        return Ok(array);
    }
    let mut made: Vec<Field<'a>> = value.fields().unwrap_or_default();
    scope.charge(48 * (made.len() + fields.len()))?;
    let existing = made.len();
    for (name, place) in fields {
        let slot = made.iter().take(existing).position(|(known, _)| *known == **name);
        let old = slot.and_then(|slot| made.get(slot)).map_or(Value::Missing, |(_, value)| value.clone());
        let new = match place {
            Place::Computed(number) => values.get(*number).cloned().unwrap_or(Value::Missing),
            Place::Children(children) => add(scope, children, values, &old)?,
            Place::Named => old,
        };
        match slot.and_then(|slot| made.get_mut(slot)) {
            Some(field) => field.1 = new,
            None => made.push((Cow::Borrowed(&**name), new)),
        }
    }
    Value::document(made)
}

/// Shows the named fields in the document's order, then the computed ones in the stage's.
fn include<'a>(
    scope: &mut Scope<'a>,
    fields: &'a Fields,
    values: &[Value<'a>],
    value: &Value<'a>,
) -> Result<Value<'a>, QueryError> {
    if let Some(array) = each(scope, value, |scope, item| include(scope, fields, values, item))? {
        return Ok(array);
    }
    let old = value.fields();
    if old.is_none() && !fields.iter().any(|(_, place)| computes(place)) {
        return Ok(Value::Missing);
    }
    let mut made: Vec<Field<'a>> = Vec::with_capacity(fields.len());
    let mut done = vec![false; fields.len()];
    for (name, value) in old.unwrap_or_default() {
        let Some((number, place)) = find(fields, &name) else { continue };
        let shown = match place {
            Place::Named => value,
            Place::Children(children) => include(scope, children, values, &value)?,
            Place::Computed(_) => continue,
        };
        if let Some(done) = done.get_mut(number) {
            *done = true;
        }
        made.push((name, shown));
    }
    for ((name, place), done) in fields.iter().zip(done) {
        let new = match place {
            Place::Computed(number) => values.get(*number).cloned().unwrap_or(Value::Missing),
            Place::Children(children) if !done && computes(place) => {
                include(scope, children, values, &Value::Missing)?
            }
            _ => continue,
        };
        made.push((Cow::Borrowed(&**name), new));
    }
    scope.charge(48 * made.len())?;
    Value::document(made)
}

fn computes(place: &Place) -> bool {
    match place {
        Place::Computed(_) => true,
        Place::Named => false,
        Place::Children(children) => children.iter().any(|(_, place)| computes(place)),
    }
}

fn exclude<'a>(
    scope: &mut Scope<'a>,
    fields: &'a Fields,
    value: &Value<'a>,
) -> Result<Value<'a>, QueryError> {
    if let Some(array) = each(scope, value, |scope, item| exclude(scope, fields, item))? {
        return Ok(array);
    }
    let Some(old) = value.fields() else { return Ok(value.clone()) };
    let mut made: Vec<Field<'a>> = Vec::with_capacity(old.len());
    for (name, value) in old {
        match find(fields, &name) {
            None => made.push((name, value)),
            Some((_, Place::Children(children))) => {
                let value = exclude(scope, children, &value)?;
                made.push((name, value));
            }
            Some(_) => {}
        }
    }
    scope.charge(48 * made.len())?;
    Value::document(made)
}

/// The values of `let` variables: expressions that know no document, in the surroundings of `context` (whose own variables
/// they may use).
///
/// # Errors
/// `FailedToParse` (9) for names that no variable can have; those of [`Expression::parse`] and [`Expression::evaluate`].
pub fn constant_variables(
    variables: &bson::raw::RawDocument,
    context: &QueryContext,
) -> Result<Vec<(String, bson::RawBson)>, QueryError> {
    let empty = bson::raw::RawDocumentBuf::new();
    let mut constants = Vec::new();
    for (name, value) in crate::order::elements(variables) {
        check_variable_name(name.as_str())?;
        let expression = Expression::parse_in(value, &[], context)?;
        let value = expression.evaluate(&empty, &[], context.now_ms)?.to_raw_bson()?;
        constants.push((name.as_str().to_owned(), value.unwrap_or(bson::RawBson::Null)));
    }
    Ok(constants)
}
