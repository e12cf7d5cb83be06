//! The operands of `$group` and `$sortByCount`.

use bson::RawBsonRef;

use super::Group;
use crate::aggregate::accumulator::{AccumulatorExpression, counted};
use crate::aggregate::parse::{Parser, error};
use crate::error::QueryError;
use crate::order;

impl Group {
    pub(in crate::aggregate) fn parse(
        operand: RawBsonRef<'_>,
        parser: &Parser<'_>,
    ) -> Result<Self, QueryError> {
        let RawBsonRef::Document(document) = operand else {
            return error(15947, "a group's fields must be specified in an object");
        };
        let (mut key, mut fields) = (None, Vec::new());
        for (name, value) in order::elements(document) {
            if name.as_str() == "_id" {
                key = Some(parser.expression(value)?);
            } else {
                fields.push((name.as_str().into(), field(name.as_str(), value, parser)?));
            }
        }
        let Some(key) = key else { return error(15955, "a group specification must include an _id") };
        Ok(Self { key, boundaries: None, fields })
    }

    /// The groups of `$sortByCount`, with how many documents they have.
    pub(in crate::aggregate) fn parse_counts(
        operand: RawBsonRef<'_>,
        parser: &Parser<'_>,
    ) -> Result<Self, QueryError> {
        match operand {
            RawBsonRef::Document(document) => {
                let is_operator =
                    order::elements(document).next().is_some_and(|(name, _)| name.as_str().starts_with('$'));
                if !is_operator {
                    return error(
                        40147,
                        "the sortByCount field must be defined as a $-prefixed path or an expression inside an object",
                    );
                }
            }
            RawBsonRef::String(path) if !path.starts_with('$') => {
                return error(
                    40148,
                    "the sortByCount field must be defined as a $-prefixed path or an expression inside an object",
                );
            }
            RawBsonRef::String(_) => {}
            _ => {
                return error(40149, "the sortByCount field must be specified as a string or as an object");
            }
        }
        let fields = counted(&|operand| parser.expression(operand))?;
        Ok(Self { key: parser.expression(operand)?, boundaries: None, fields })
    }
}

/// An output field.
pub(super) fn field(
    name: &str,
    value: RawBsonRef<'_>,
    parser: &Parser<'_>,
) -> Result<AccumulatorExpression, QueryError> {
    let field = AccumulatorExpression::parse_field(name, value, &|operand| parser.expression(operand))?;
    Ok(field.in_group())
}
