//! `$pull` and `$pullAll`.

use bson::RawBsonRef;

use super::push::write_array;
use super::{Change, expect_array, set};
use crate::collation::Collation;
use crate::context::QueryContext;
use crate::error::{ErrorCode, QueryError};
use crate::filter::ElementFilter;
use crate::raw::{Element, Elements, Operand, Writer, array_items, type_name};

/// What `$pull` takes out.
pub(in crate::update) type Condition = ElementFilter;

/// The operand of `$pull`: a value, a query on object elements, or operators on the element.
pub(in crate::update) fn parse_condition(
    given: &Element<'_>,
    context: &QueryContext,
) -> Result<Condition, QueryError> {
    ElementFilter::parse_pull(given.value()?, context)
}

/// The operand of `$pullAll`: the values to take out.
pub(in crate::update) fn parse_values(
    path: &str,
    given: &Element<'_>,
    collation: Option<&Collation>,
) -> Result<Vec<Operand>, QueryError> {
    let RawBsonRef::Array(values) = given.value()? else {
        return Err(QueryError::bad_value(format!(
            "$pullAll needs an array for '{path}', not a value of type {}",
            type_name(given.kind)
        )));
    };
    let values: Vec<Operand> = array_items(values)?.into_iter().map(Operand::of).collect();
    set::sort_values(&values, collation)
}

pub(super) fn pull(
    condition: &Condition,
    path: &str,
    element: &Element<'_>,
    writer: &mut Writer,
) -> Result<Change, QueryError> {
    remove_if("$pull", path, element, writer, |value| Ok(condition.matches(value)))
}

pub(super) fn pull_all(
    values: &[Operand],
    path: &str,
    element: &Element<'_>,
    collation: Option<&Collation>,
    writer: &mut Writer,
) -> Result<Change, QueryError> {
    remove_if("$pullAll", path, element, writer, |value| set::contains(values, value, collation))
}

fn remove_if(
    operator: &str,
    path: &str,
    element: &Element<'_>,
    writer: &mut Writer,
    unwanted: impl Fn(RawBsonRef<'_>) -> Result<bool, QueryError>,
) -> Result<Change, QueryError> {
    let array = expect_array(element, operator, path, ErrorCode::BAD_VALUE)?;
    let mut kept = Vec::new();
    let mut length = 0_usize;
    for element in Elements::of_array(array) {
        let element = element?;
        length += 1;
        if !unwanted(element.value()?)? {
            kept.push(element.item());
        }
    }
    if kept.len() == length {
        return Ok(Change::Kept);
    }
    write_array(element.key, &kept, writer);
    Ok(Change::Written)
}
