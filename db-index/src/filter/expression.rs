//! `$expr` and `$sampleRate` in filters.

use bson::raw::RawDocumentBuf;
use bson::{RawArrayBuf, RawBson, RawBsonRef, RawDocument};

use crate::{
    collation::Collation,
    context::QueryContext,
    error::QueryError,
    expression::{Comparison, Expression},
    filter::node::{Node, Trace},
    number::Number,
    order,
};

/// A compiled `$expr`, or one of the conditions that it asks for together.
#[derive(Debug, Clone)]
pub(crate) struct ExpressionTest {
    expression: Expression,
    comparison: Option<Comparison>,
}

impl ExpressionTest {
    /// Whether the expression is true of `document`; a failure is left in `trace`.
    pub(super) fn holds(&self, document: &RawDocument, trace: &mut Trace) -> bool {
        match self.expression.evaluate(document, &[], 0) {
            Ok(value) => value.is_true(),
            Err(error) => {
                trace.failure.get_or_insert(error);
                false
            }
        }
    }

    /// The comparison of a field with a constant, if the test is nothing else.
    pub(crate) fn comparison(&self) -> Option<&Comparison> {
        self.comparison.as_ref()
    }

    /// How the strings of the expression are compared.
    pub(crate) fn collation(&self) -> Option<&Collation> {
        self.expression.collation()
    }

    pub(super) fn suits(&self, own: Option<&Collation>) -> bool {
        let plain = |comparison: &Comparison| !comparison.operands.iter().any(is_text);
        self.collation() == own || self.comparison.as_ref().is_none_or(plain)
    }

    pub(super) fn is_replayable(&self) -> bool {
        self.expression.is_replayable()
    }
}

/// Compiles the operand of `$expr`.
pub(super) fn expression(operand: RawBsonRef<'_>, context: &QueryContext) -> Result<Node, QueryError> {
    let conditions = Expression::parse_in(operand, &[], context)?.conjuncts();
    let test = |expression: Expression| {
        let comparison = expression.comparison();
        Node::Expression(Box::new(ExpressionTest { expression, comparison }))
    };
    Ok(Node::all(conditions.into_iter().map(test).collect()))
}

/// Compiles the operand of `$sampleRate`.
pub(super) fn sample(operand: RawBsonRef<'_>, context: &QueryContext) -> Result<Node, QueryError> {
    let Some(rate) = Number::from_raw(operand) else {
        return Err(QueryError::bad_value("argument to $sampleRate must be a numeric type"));
    };
    let rate = rate.to_f64();
    if !(0.0..=1.0).contains(&rate) {
        return Err(QueryError::bad_value("numeric argument to $sampleRate must be in [0, 1]"));
    }
    Ok(Node::Sample { rate, chance: context.chance.clone() })
}

/// `filter` with every `$expr` in it closed: it means the same without the context. Variables are bound around it, `$$NOW` gives
/// way to its value.
pub(super) fn closed(filter: &RawDocument, context: &QueryContext) -> RawDocumentBuf {
    let mut whole = RawDocumentBuf::new();
    for (name, value) in order::elements(filter) {
        match (name.as_str(), value) {
            ("$expr", operand) => whole.append(name, closed_expression(operand, context)),
            ("$and" | "$or" | "$nor", RawBsonRef::Array(clauses)) => {
                let mut parts = RawArrayBuf::new();
                for clause in order::array_elements(clauses) {
                    match clause {
                        RawBsonRef::Document(clause) => parts.push(closed(clause, context)),
                        other => parts.push(other),
                    }
                }
                whole.append(name, parts);
            }
            (_, value) => whole.append(name, value),
        }
    }
    whole
}

fn closed_expression(operand: RawBsonRef<'_>, context: &QueryContext) -> RawBson {
    let body = without_now(operand, context.now_ms);
    if context.variables.is_empty() {
        return body;
    }
    let mut variables = RawDocumentBuf::new();
    for (name, value) in &context.variables {
        if let Ok(name) = bson::raw::CString::try_from(name.clone()) {
            variables.append(name, literal(value.clone()));
        }
    }
    let mut bindings = RawDocumentBuf::new();
    bindings.append(bson::raw::cstr!("vars"), variables);
    bindings.append(bson::raw::cstr!("in"), body);
    let mut bound = RawDocumentBuf::new();
    bound.append(bson::raw::cstr!("$let"), bindings);
    RawBson::Document(bound)
}

/// The recursion is as deep as the document.
fn without_now(value: RawBsonRef<'_>, now_ms: i64) -> RawBson {
    match value {
        RawBsonRef::String("$$NOW") => {
            RawBson::Document(literal(RawBson::DateTime(bson::DateTime::from_millis(now_ms))))
        }
        RawBsonRef::Document(document) => {
            let mut whole = RawDocumentBuf::new();
            for (name, value) in order::elements(document) {
                if matches!(name.as_str(), "$literal" | "$const") {
                    whole.append(name, value);
                } else {
                    whole.append(name, without_now(value, now_ms));
                }
            }
            RawBson::Document(whole)
        }
        RawBsonRef::Array(array) => {
            let mut whole = RawArrayBuf::new();
            for item in order::array_elements(array) {
                whole.push(without_now(item, now_ms));
            }
            RawBson::Array(whole)
        }
        other => other.into(),
    }
}

fn literal(value: RawBson) -> RawDocumentBuf {
    let mut document = RawDocumentBuf::new();
    document.append(bson::raw::cstr!("$literal"), value);
    document
}

fn is_text(operand: &RawBson) -> bool {
    order::holds_text(operand.as_raw_bson_ref())
}

#[cfg(test)]
mod tests;
