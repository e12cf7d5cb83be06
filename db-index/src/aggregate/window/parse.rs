//! From BSON to window functions.

use bson::raw::RawDocument;
use bson::{RawBson, RawBsonRef};

use super::bounds::Bounds;
use super::follow::RankKind;
use super::function::Function;
use super::{constant, error};
use crate::aggregate::accumulator::{AccumulatorExpression, Compile};
use crate::decimal::Decimal;
use crate::error::QueryError;
use crate::expression::Expression;
use crate::expression::date::Unit;
use crate::number::Number;
use crate::order;
use crate::raw::type_name;
use crate::sort::Sort;

/// What a window function is parsed with.
#[derive(Clone, Copy)]
pub(super) struct Setting<'s> {
    pub(super) sort: Option<&'s Sort>,
    pub(super) compile: Compile<'s>,
}

/// The accumulators that are window functions.
const ACCUMULATORS: &[&str] = &[
    "$sum",
    "$avg",
    "$min",
    "$max",
    "$push",
    "$addToSet",
    "$stdDevPop",
    "$stdDevSamp",
    "$count",
    "$mergeObjects",
    "$concatArrays",
    "$setUnion",
    "$firstN",
    "$lastN",
    "$minN",
    "$maxN",
    "$top",
    "$topN",
    "$bottom",
    "$bottomN",
    "$median",
    "$percentile",
];

/// The other window functions.
const FUNCTIONS: &[&str] = &[
    "$first",
    "$last",
    "$shift",
    "$rank",
    "$denseRank",
    "$documentNumber",
    "$derivative",
    "$integral",
    "$covariancePop",
    "$covarianceSamp",
    "$expMovingAvg",
    "$linearFill",
    "$locf",
    "$minMaxScaler",
];

impl Setting<'_> {
    /// The value of an output field: an object of one window function and perhaps a `window`.
    ///
    /// # Errors
    /// `FailedToParse` (9) for one of another form and for most operands; those of accumulators, bounds and expressions;
    /// 5371601 to 5371603 for ranks, 605001 for `$linearFill`, 5490710 for units that are too long.
    pub(super) fn function(&self, field: &str, value: RawBsonRef<'_>) -> Result<Function, QueryError> {
        let RawBsonRef::Document(document) = value else {
            return error(9, format!("The field '{field}' must be an object"));
        };
        let named = order::elements(document).find(|(key, _)| key.as_str().starts_with('$'));
        let Some((name, operand)) = named else {
            let first = order::elements(document).next().map_or("", |(key, _)| key.as_str());
            return error(9, format!("Expected a $-prefixed window function, {first}"));
        };
        let name = name.as_str();
        if !ACCUMULATORS.contains(&name) && !FUNCTIONS.contains(&name) {
            return error(9, format!("Unrecognized window function, {name}"));
        }
        if let Some(kind) = rank_kind(name) {
            return self.rank(name, kind, operand, document);
        }
        if name == "$expMovingAvg" {
            return self.moving_average(operand, document);
        }
        if matches!(name, "$derivative" | "$integral") {
            self.check_single_sort(name)?;
        }
        let window = only_window(name, document)?;
        if window.is_some() && matches!(name, "$shift" | "$linearFill" | "$locf") {
            return error(9, format!("'window' field is not allowed in {name}"));
        }
        let bounds = match window {
            Some(window) => Some(Bounds::parse(window, self.sort, self.compile)?),
            None => None,
        };
        let compile = self.compile;
        let or_whole = bounds.unwrap_or(Bounds::WHOLE);
        Ok(match name {
            "$first" | "$last" => Function::One {
                input: compile(operand)?,
                last: name == "$last",
                otherwise: RawBson::Null,
                bounds: or_whole,
            },
            "$shift" => self.shift(operand)?,
            "$derivative" => {
                let (input, unit_ms) = self.with_unit(name, operand)?;
                let Some(bounds) = bounds else {
                    return error(9, "$derivative requires explicit window bounds");
                };
                Function::Derivative { input, unit_ms, bounds }
            }
            "$integral" => {
                let (input, unit_ms) = self.with_unit(name, operand)?;
                Function::Integral { input, unit_ms, bounds: or_whole }
            }
            "$covariancePop" | "$covarianceSamp" => Function::Covariance {
                input: compile(operand)?,
                of_sample: name == "$covarianceSamp",
                bounds: or_whole,
            },
            "$linearFill" => {
                if self.sort.is_none_or(|sort| sort.keys().len() != 1) {
                    return error(
                        605_001,
                        format!(
                            "{name} must be specified with a top level sortBy expression with exactly one element"
                        ),
                    );
                }
                Function::LinearFill { input: compile(operand)? }
            }
            "$locf" => Function::CarryForward { input: compile(operand)? },
            "$minMaxScaler" => self.scaler(operand, or_whole)?,
            _ => Function::Accumulator {
                name: name.into(),
                expression: AccumulatorExpression::parse(name, operand, compile)?,
                bounds: or_whole,
            },
        })
    }

    fn rank(
        &self,
        name: &str,
        kind: RankKind,
        operand: RawBsonRef<'_>,
        document: &RawDocument,
    ) -> Result<Function, QueryError> {
        if order::elements(document).nth(1).is_some() {
            return error(5_371_601, "Rank style window functions take no other arguments");
        }
        if !matches!(operand, RawBsonRef::Document(operand) if order::elements(operand).next().is_none()) {
            return error(5_371_603, format!("{name} must be specified with '{{}}' as the value"));
        }
        if self.sort.is_none_or(|sort| sort.keys().len() != 1) {
            return error(
                5_371_602,
                format!(
                    "{name} must be specified with a top level sortBy expression with exactly one element"
                ),
            );
        }
        Ok(Function::Rank { kind })
    }

    fn moving_average(
        &self,
        operand: RawBsonRef<'_>,
        document: &RawDocument,
    ) -> Result<Function, QueryError> {
        const FORM: &str = "$expMovingAvg sub object must have exactly two fields: An 'input' field, and either an 'N' field or an 'alpha' field";
        let only = order::elements(document).nth(1).is_none();
        let RawBsonRef::Document(operand) = operand else {
            return error(9, "$expMovingAvg must have exactly one argument that is an object");
        };
        if !only {
            return error(9, "$expMovingAvg must have exactly one argument that is an object");
        }
        let [mut input, mut count, mut alpha] = [None; 3];
        let mut fields = 0;
        for (key, value) in order::elements(operand) {
            fields += 1;
            match key.as_str() {
                "input" => input = Some(value),
                "N" => count = Some(value),
                "alpha" => alpha = Some(value),
                _ => {}
            }
        }
        let Some(input) = input.filter(|_| fields == 2) else { return error(9, FORM) };
        if self.sort.is_none() {
            return error(9, "$expMovingAvg requires an explicit 'sortBy'");
        }
        let input = (self.compile)(input)?;
        let alpha = match (count, alpha) {
            (Some(count), _) => {
                let Some(number) = Number::from_raw(count) else {
                    let found = type_name(count.element_type());
                    return error(9, format!("'N' field must be an integer, but found type {found}"));
                };
                match number.to_i64_exact() {
                    None => {
                        return error(
                            9,
                            "'N' field must be an integer. To use a non-integer, use the 'alpha' argument instead",
                        );
                    }
                    Some(count) if count <= 0 => {
                        return error(9, format!("'N' must be greater than zero. Got {count}"));
                    }
                    Some(count) => Decimal::from_i64(2) / (Decimal::from_i64(count) + Decimal::from_i64(1)),
                }
            }
            (None, Some(alpha)) => {
                let Some(number) = Number::from_raw(alpha) else {
                    return error(9, "'alpha' must be a number");
                };
                let alpha = number.to_decimal();
                let (zero, one) = (Decimal::ZERO, Decimal::from_i64(1));
                if alpha.is_nan() || !alpha.compare(zero).is_gt() || !alpha.compare(one).is_lt() {
                    return error(9, "'alpha' must be between 0 and 1 (exclusive)");
                }
                alpha
            }
            (None, None) => return error(9, FORM),
        };
        Ok(Function::MovingAverage { input, alpha })
    }

    fn shift(&self, operand: RawBsonRef<'_>) -> Result<Function, QueryError> {
        let RawBsonRef::Document(operand) = operand else {
            return error(9, "Argument to $shift must be an object");
        };
        let (mut output, mut by, mut otherwise) = (None, None, RawBson::Null);
        for (key, value) in order::elements(operand) {
            match key.as_str() {
                "output" => output = Some((self.compile)(value)?),
                "by" => {
                    let number = Number::from_raw(value).and_then(Number::to_i64_exact);
                    by = match number.filter(|number| i32::try_from(*number).is_ok()) {
                        Some(number) => Some(number),
                        None => return error(9, "'$shift:by' field must be an integer"),
                    };
                }
                "default" => match constant(value, self.compile)? {
                    Some(value) => otherwise = value,
                    None => return error(9, "'$shift:default' expression must yield a constant value."),
                },
                _ => return error(9, "Unknown argument in $shift"),
            }
        }
        let Some(input) = output else { return error(9, "$shift requires an 'output' expression.") };
        let Some(by) = by else { return error(9, "$shift requires 'by' as an integer value.") };
        if self.sort.is_none() {
            return error(9, "'$shift' requires a sortBy");
        }
        Ok(Function::One { input, last: false, otherwise, bounds: Bounds::offset(by) })
    }

    fn check_single_sort(&self, name: &str) -> Result<(), QueryError> {
        match self.sort.map(|sort| sort.keys().len()) {
            None => error(9, format!("{name} requires a sortBy")),
            Some(1) => Ok(()),
            Some(_) => error(9, format!("{name} requires a non-compound sortBy")),
        }
    }

    /// `{input, unit}`, the unit in milliseconds.
    fn with_unit(
        &self,
        name: &str,
        operand: RawBsonRef<'_>,
    ) -> Result<(Expression, Option<i64>), QueryError> {
        let RawBsonRef::Document(operand) = operand else {
            let found = type_name(operand.element_type());
            return error(9, format!("{name} expects an object, but got a {found}"));
        };
        let (mut input, mut unit) = (None, None);
        for (key, value) in order::elements(operand) {
            match (key.as_str(), value) {
                ("input", value) => input = Some((self.compile)(value)?),
                ("unit", RawBsonRef::String(name)) => {
                    let Some(known) = Unit::named(name) else {
                        return error(9, format!("unknown time unit value: {name}"));
                    };
                    match known.millis() {
                        Some(millis) => unit = Some(millis),
                        None => return error(5_490_710, "unit must be 'week' or smaller"),
                    }
                }
                ("unit", other) => {
                    let found = type_name(other.element_type());
                    return error(9, format!("'unit' must be a string, but got {found}"));
                }
                (other, _) => return error(9, format!("{name} got unexpected argument: {other}")),
            }
        }
        match input {
            Some(input) => Ok((input, unit)),
            None => error(9, format!("{name} requires an 'input' expression")),
        }
    }

    fn scaler(&self, operand: RawBsonRef<'_>, bounds: Bounds) -> Result<Function, QueryError> {
        let RawBsonRef::Document(operand) = operand else {
            let found = type_name(operand.element_type());
            return error(
                14,
                format!("BSON field '$minMaxScaler' is the wrong type '{found}', expected type 'object'"),
            );
        };
        if !bounds.hold_current() {
            return error(
                9,
                "the bounds of $minMaxScaler must ensure that the current document is always within the window",
            );
        }
        let (mut input, mut min, mut max) = (None, None, None);
        for (key, value) in order::elements(operand) {
            let number = |name: &str| match constant(value, self.compile)? {
                None => error(9, format!("'{name}' argument to $minMaxScaler must be a constant")),
                Some(number) if Number::from_raw(number.as_raw_bson_ref()).is_none() => {
                    error(9, format!("'{name}' argument to $minMaxScaler must be a numeric type"))
                }
                Some(number) => Ok(Some(number)),
            };
            match key.as_str() {
                "input" => input = Some((self.compile)(value)?),
                "min" => min = number("min")?,
                "max" => max = number("max")?,
                other => {
                    return error(40415, format!("BSON field '$minMaxScaler.{other}' is an unknown field."));
                }
            }
        }
        let Some(input) = input else {
            return error(40414, "BSON field '$minMaxScaler.input' is missing but a required field");
        };
        let (min, max) = match (min, max) {
            (Some(min), Some(max)) => (min, max),
            (None, None) => (RawBson::Int32(0), RawBson::Int32(1)),
            _ => {
                return error(
                    9,
                    "Only one of 'min' and 'max' were specified as an argument to $minMaxScaler. Neither or both must be specified",
                );
            }
        };
        if order::compare(min.as_raw_bson_ref(), max.as_raw_bson_ref()).is_ge() {
            return error(9, "the 'max' must be strictly greater than 'min', as arguments to $minMaxScaler");
        }
        Ok(Function::Scaler { input, min, max, bounds })
    }
}

fn rank_kind(name: &str) -> Option<RankKind> {
    match name {
        "$rank" => Some(RankKind::Rank),
        "$denseRank" => Some(RankKind::DenseRank),
        "$documentNumber" => Some(RankKind::DocumentNumber),
        _ => None,
    }
}

/// The `window` beside a function, beside which nothing else may stand.
fn only_window<'d>(name: &str, document: &'d RawDocument) -> Result<Option<RawBsonRef<'d>>, QueryError> {
    let mut window = None;
    for (key, value) in order::elements(document) {
        match key.as_str() {
            "window" => window = Some(value),
            key if key == name => {}
            key if ACCUMULATORS.contains(&key) || FUNCTIONS.contains(&key) => {
                return error(9, "Cannot specify two functions in window function spec");
            }
            key => return error(9, format!("Window function found an unknown argument: {key}")),
        }
    }
    Ok(window)
}
