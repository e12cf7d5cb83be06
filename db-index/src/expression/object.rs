//! Documents and their fields.

use std::borrow::Cow;

use super::error;
use super::node::Scope;
use super::value::{Field, Value};
use crate::error::QueryError;

type Outcome<'a> = Result<Value<'a>, QueryError>;

pub(super) fn to_array<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let Some(value) = arguments.first().filter(|value| !value.is_nullish()) else { return Ok(Value::NULL) };
    let Some(fields) = value.fields() else {
        return error(
            40390,
            format!("$objectToArray requires a document input, found: {}", value.type_name()),
        );
    };
    let mut pairs = Vec::with_capacity(fields.len());
    for (name, value) in fields {
        let name = scope.text(&name)?;
        pairs.push(Value::document(vec![(Cow::Borrowed("k"), name), (Cow::Borrowed("v"), value)])?);
    }
    scope.array(pairs)
}

pub(super) fn from_array<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let Some(value) = arguments.first().filter(|value| !value.is_nullish()) else { return Ok(Value::NULL) };
    let Some(items) = value.items() else {
        return error(40386, format!("$arrayToObject requires an array input, found: {}", value.type_name()));
    };
    let mut fields = FieldList::default();
    let mut pairs_as_arrays = None;
    for item in items.iter() {
        scope.step(1)?;
        let is_array = item.is_array();
        if let Some(before) = pairs_as_arrays.replace(is_array)
            && before != is_array
        {
            let (code, wanted) = if before { (40396, "array") } else { (40391, "object") };
            return error(
                code,
                format!(
                    "$arrayToObject requires a consistent input format: expected {wanted}, found {}",
                    item.type_name()
                ),
            );
        }
        let (key, value) = if let Some(pair) = item.items() {
            let [key, value] = &*pair else {
                return error(
                    40397,
                    format!("$arrayToObject requires an array of size 2 arrays, found {}", pair.len()),
                );
            };
            let Some(key) = key.as_str() else {
                return error(
                    40395,
                    format!("$arrayToObject requires keys of type string, found {}", key.type_name()),
                );
            };
            (key.to_owned(), value.clone())
        } else if let Some(pair) = item.fields() {
            if pair.len() != 2 {
                return error(
                    40392,
                    format!("$arrayToObject requires object keys of 'k' and 'v', found {} keys", pair.len()),
                );
            }
            let (key, value) = (item.get("k"), item.get("v"));
            if key.is_missing() || value.is_missing() {
                return error(40393, "$arrayToObject requires an object with keys 'k' and 'v'");
            }
            let Some(key) = key.as_str() else {
                return error(
                    40394,
                    format!("$arrayToObject requires keys of type string, found {}", key.type_name()),
                );
            };
            (key.to_owned(), value)
        } else {
            let code = if fields.fields.is_empty() { 40398 } else { 40391 };
            return error(
                code,
                format!("unrecognised input type format for $arrayToObject: {}", item.type_name()),
            );
        };
        check_name(&key, if is_array { 4_940_400 } else { 4_940_401 })?;
        scope.charge(48 + key.len())?;
        fields.set(Cow::Owned(key), value);
    }
    Value::document(fields.fields)
}

fn check_name(name: &str, code: i32) -> Result<(), QueryError> {
    if name.contains('\0') { error(code, "a field name cannot contain a null byte") } else { Ok(()) }
}

/// Fields of distinct names, the later value in the earlier place.
#[derive(Default)]
struct FieldList<'a> {
    fields: Vec<Field<'a>>,
    places: std::collections::BTreeMap<Cow<'a, str>, usize>,
}

impl<'a> FieldList<'a> {
    fn set(&mut self, name: Cow<'a, str>, value: Value<'a>) {
        if let Some(field) = self.places.get(&name).and_then(|place| self.fields.get_mut(*place)) {
            field.1 = value;
            return;
        }
        self.places.insert(name.clone(), self.fields.len());
        self.fields.push((name, value));
    }
}

pub(super) fn merge<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let mut merged = FieldList::default();
    // A single array stands for its elements.
    let items = match arguments {
        [one] => one.items(),
        _ => None,
    };
    for value in items.as_deref().unwrap_or(arguments) {
        if value.is_nullish() {
            continue;
        }
        let Some(fields) = value.fields() else {
            return error(
                40400,
                format!("$mergeObjects requires object inputs, but input is of type {}", value.type_name()),
            );
        };
        scope.step(fields.len())?;
        scope.charge(48 * fields.len())?;
        for (name, value) in fields {
            merged.set(name, value);
        }
    }
    Value::document(merged.fields)
}

pub(super) fn get_field<'a>(scope: &mut Scope<'a>, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
    let [Some(field), input] = arguments else { return Ok(Value::NULL) };
    let input = match input {
        Some(input) => input.clone(),
        None => scope.variables.first().cloned().unwrap_or(Value::Missing),
    };
    let Some(name) = field.as_str() else {
        return error(
            3_041_704,
            format!("$getField requires 'field' to be a string, found {}", field.type_name()),
        );
    };
    Ok(if input.is_document() {
        input.get(name)
    } else if matches!(input, Value::Missing) || !input.is_nullish() {
        Value::Missing
    } else {
        Value::NULL
    })
}

pub(super) fn set_field<'a>(scope: &mut Scope<'a>, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
    let [Some(field), Some(input), Some(value)] = arguments else { return Ok(Value::NULL) };
    with_field(scope, "$setField", field, input, value.clone())
}

pub(super) fn unset_field<'a>(scope: &mut Scope<'a>, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
    let [Some(field), Some(input)] = arguments else { return Ok(Value::NULL) };
    with_field(scope, "$unsetField", field, input, Value::Missing)
}

fn with_field<'a>(
    scope: &mut Scope<'a>,
    operator: &str,
    field: &Value<'a>,
    input: &Value<'a>,
    value: Value<'a>,
) -> Outcome<'a> {
    let Some(name) = field.as_str() else {
        return error(
            4_161_107,
            format!("{operator} requires 'field' to be a string, found {}", field.type_name()),
        );
    };
    check_name(name, 9_534_700)?;
    if input.is_nullish() {
        return Ok(Value::NULL);
    }
    let Some(mut fields) = input.fields() else {
        return error(
            4_161_105,
            format!("{operator} requires 'input' to evaluate to an object, not {}", input.type_name()),
        );
    };
    scope.charge(48 * fields.len())?;
    match fields.iter_mut().find(|(key, _)| key == name) {
        Some(slot) => slot.1 = value,
        None => fields.push((Cow::Owned(name.to_owned()), value)),
    }
    Value::document(fields)
}
