//! From the operand of a stage to what becomes of each field.

use bson::RawBsonRef;
use bson::raw::RawDocument;

use super::{Fields, Kind, Place, Reshape};
use crate::context::QueryContext;
use crate::error::QueryError;
use crate::expression::error;
use crate::expression::node::Node;
use crate::expression::parse::{expression, field_path};
use crate::filter::truthy;
use crate::number::Number;
use crate::order;

/// The most levels of fields.
const DEPTH_MAX: usize = 100;

pub(super) fn stage(
    name: &str,
    operand: RawBsonRef<'_>,
    variables: Vec<Box<str>>,
    context: Option<&QueryContext>,
) -> Result<Reshape, QueryError> {
    let mut parser = Parser { computed: Vec::new(), variables: &variables, context };
    let kind = match name {
        "$addFields" | "$set" => parser.added(name, operand)?,
        "$project" => parser.projected(operand)?,
        "$unset" => unset(operand)?,
        "$replaceWith" => {
            parser.compute(operand)?;
            Kind::Root
        }
        "$replaceRoot" => {
            let RawBsonRef::Document(document) = operand else {
                return error(40229, "$replaceRoot needs a document with 'newRoot'");
            };
            let mut root = None;
            for (name, value) in order::elements(document) {
                match name.as_str() {
                    "newRoot" => root = Some(value),
                    other => return error(40415, format!("$replaceRoot knows no field '{other}'")),
                }
            }
            let Some(root) = root else {
                return error(40231, "no newRoot specified for the $replaceRoot stage");
            };
            parser.compute(root)?;
            Kind::Root
        }
        other => return error(40324, format!("unrecognized pipeline stage name: '{other}'")),
    };
    let computed = parser.computed;
    let collation = context.and_then(|context| context.collation.clone());
    Ok(Reshape { kind, computed, variables, collation })
}

struct Parser<'v> {
    computed: Vec<Node>,
    variables: &'v [Box<str>],
    context: Option<&'v QueryContext>,
}

/// What the values of a `$project` ask for.
#[derive(Default)]
struct Wishes {
    shown: bool,
    hidden: bool,
    computed: bool,
}

impl Parser<'_> {
    fn compute(&mut self, value: RawBsonRef<'_>) -> Result<usize, QueryError> {
        self.computed.push(expression(value, self.variables, self.context)?);
        Ok(self.computed.len() - 1)
    }

    fn added(&mut self, name: &str, operand: RawBsonRef<'_>) -> Result<Kind, QueryError> {
        let RawBsonRef::Document(document) = operand else {
            return error(40272, format!("{name} specification stage must be an object"));
        };
        if document.is_empty() {
            return error(40177, format!("invalid {name}: specification must have at least one field"));
        }
        let mut fields = Fields::new();
        for (path, value) in order::elements(document) {
            let parts = field_path(path.as_str())?;
            self.add(&mut fields, &parts, value)?;
        }
        Ok(Kind::Add(fields))
    }

    /// Puts a value to compute, or each value of a document of such, at a path.
    fn add(
        &mut self,
        fields: &mut Fields,
        path: &[Box<str>],
        value: RawBsonRef<'_>,
    ) -> Result<(), QueryError> {
        if path.len() > DEPTH_MAX {
            return error(15, "the specification nests too deep");
        }
        if let RawBsonRef::Document(document) = value
            && !is_operator(document)
            && !document.is_empty()
        {
            for (name, value) in order::elements(document) {
                let mut below = path.to_vec();
                below.extend(nested_name(name.as_str())?);
                self.add(fields, &below, value)?;
            }
            return Ok(());
        }
        let number = self.compute(value)?;
        insert(fields, path, Place::Computed(number), 40176)
    }

    fn projected(&mut self, operand: RawBsonRef<'_>) -> Result<Kind, QueryError> {
        let RawBsonRef::Document(document) = operand else {
            return error(15969, "$project specification must be an object");
        };
        if document.is_empty() {
            return error(51272, "$project specification must have at least one field");
        }
        let (mut fields, mut wishes) = (Fields::new(), Wishes::default());
        let mut id = None;
        for (path, value) in order::elements(document) {
            if let ("_id", Some(flag)) = (path.as_str(), flag(value)) {
                id = Some(flag);
                continue;
            }
            let parts = field_path(path.as_str())?;
            self.project(&mut fields, &parts, value, &mut wishes)?;
        }
        let hides = wishes.hidden || (id == Some(false) && !wishes.shown && !wishes.computed);
        if hides {
            if wishes.computed {
                return error(31252, "cannot use an expression in a $project that hides fields");
            }
            if id == Some(false) {
                fields.insert(0, ("_id".into(), Place::Named));
            }
            return Ok(Kind::Exclude(fields));
        }
        if id != Some(false) && !fields.iter().any(|(name, _)| **name == *"_id") {
            fields.insert(0, ("_id".into(), Place::Named));
        }
        Ok(Kind::Include(fields))
    }

    fn project(
        &mut self,
        fields: &mut Fields,
        path: &[Box<str>],
        value: RawBsonRef<'_>,
        wishes: &mut Wishes,
    ) -> Result<(), QueryError> {
        if path.len() > DEPTH_MAX {
            return error(15, "the specification nests too deep");
        }
        if let Some(show) = flag(value) {
            if show && wishes.hidden {
                return error(
                    31253,
                    format!("cannot do inclusion on field {} in an exclusion projection", path.join(".")),
                );
            }
            if !show && (wishes.shown || wishes.computed) {
                return error(
                    31254,
                    format!("cannot do exclusion on field {} in an inclusion projection", path.join(".")),
                );
            }
            wishes.shown |= show;
            wishes.hidden |= !show;
            return insert(fields, path, Place::Named, 31250);
        }
        if let RawBsonRef::Document(document) = value
            && !is_operator(document)
        {
            if document.is_empty() {
                return error(51270, "an empty object is not a valid value: use $literal");
            }
            for (name, value) in order::elements(document) {
                let mut below = path.to_vec();
                below.extend(nested_name(name.as_str())?);
                self.project(fields, &below, value, wishes)?;
            }
            return Ok(());
        }
        wishes.computed = true;
        let number = self.compute(value)?;
        insert(fields, path, Place::Computed(number), 31250)
    }
}

fn unset(operand: RawBsonRef<'_>) -> Result<Kind, QueryError> {
    let mut fields = Fields::new();
    let mut hide = |path: RawBsonRef<'_>, code: i32| match path {
        RawBsonRef::String(path) => insert(&mut fields, &field_path(path)?, Place::Named, 31250),
        _ => error(code, "$unset specification must be a string or an array of strings"),
    };
    match operand {
        RawBsonRef::Array(paths) => {
            if order::array_elements(paths).next().is_none() {
                return error(31119, "$unset specification must have at least one field");
            }
            for path in order::array_elements(paths) {
                hide(path, 31120)?;
            }
        }
        path => hide(path, 31002)?,
    }
    Ok(Kind::Exclude(fields))
}

/// Whether a value of `$project` shows or hides, rather than computes.
fn flag(value: RawBsonRef<'_>) -> Option<bool> {
    (matches!(value, RawBsonRef::Boolean(_)) || Number::from_raw(value).is_some()).then(|| truthy(value))
}

fn is_operator(document: &RawDocument) -> bool {
    order::elements(document).next().is_some_and(|(name, _)| name.as_str().starts_with('$'))
}

fn nested_name(name: &str) -> Result<Vec<Box<str>>, QueryError> {
    if name.contains('.') {
        return error(16405, format!("a dotted field name is not allowed below the top level: '{name}'"));
    }
    field_path(name)
}

/// Puts a place at a path; another one there, above or below is an error.
fn insert(fields: &mut Fields, path: &[Box<str>], place: Place, code: i32) -> Result<(), QueryError> {
    let Some((first, rest)) = path.split_first() else { return Ok(()) };
    let collision = || error(code, format!("the path collides with another one at '{first}'"));
    let known = fields.iter().position(|(name, _)| name == first);
    match (known.and_then(|known| fields.get_mut(known)), rest.is_empty()) {
        (None, true) => fields.push((first.clone(), place)),
        (None, false) => {
            let mut children = Fields::new();
            insert(&mut children, rest, place, code)?;
            fields.push((first.clone(), Place::Children(children)));
        }
        (Some((_, Place::Children(children))), false) => insert(children, rest, place, code)?,
        (Some(_), false) if code == 31250 => {
            return error(31249, format!("the path goes on below one that is given already, '{first}'"));
        }
        (Some(_), _) => return collision(),
    }
    Ok(())
}
