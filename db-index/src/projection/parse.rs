//! Compiles projection documents.

use bson::{RawArray, RawBsonRef, RawDocument};

use crate::{
    context::QueryContext,
    error::{ErrorCode, QueryError},
    expression::Expression,
    filter::{Filter, truthy},
    number::Number,
    path::{Path, elements, fields},
    projection::{Fields, Kind, Node, Projection},
    sort::check_field_path,
    text,
};

/// What has been seen of a projection so far.
struct Parser<'c> {
    context: &'c QueryContext,
    fields: Fields,
    computed: Vec<Expression>,
    kind: Option<Kind>,
    id: Option<bool>,
    positional: bool,
    slice: bool,
    elem_match: bool,
    scores: Vec<Box<str>>,
}

pub(super) fn projection(
    document: &RawDocument,
    filter: Option<&Filter>,
    context: &QueryContext,
) -> Result<Projection, QueryError> {
    crate::guard::check_document(document.as_bytes())?;
    let mut parser = Parser {
        context,
        fields: Fields::new(),
        computed: Vec::new(),
        kind: None,
        id: None,
        positional: false,
        slice: false,
        elem_match: false,
        scores: Vec::new(),
    };
    for (name, value) in fields(document) {
        parser.field(name, value, "")?;
    }
    let kind = parser.kind.unwrap_or(match parser.id {
        Some(true) => Kind::Inclusion,
        _ if parser.slice => Kind::Exclusion,
        _ if parser.elem_match => Kind::Inclusion,
        _ => Kind::Exclusion,
    });
    if kind == Kind::Exclusion && !parser.scores.is_empty() {
        // Neither what the document has under the name nor the score that it carries is shown.
        let hidden = parser.scores.iter().map(|name| &**name).chain([text::TEXT_SCORE]);
        let hidden: Fields = hidden.map(|name| (name.into(), Node::Leaf)).collect();
        parser.fields.extend(hidden);
    }
    Ok(Projection {
        scores: parser.scores,
        fields: parser.fields,
        kind,
        id: parser.id.unwrap_or(true),
        positional: if parser.positional { Some(filter.cloned().unwrap_or_else(Filter::all)) } else { None },
        computed: parser.computed,
    })
}

impl Parser<'_> {
    /// The recursion is as deep as the document.
    fn field(&mut self, name: &str, value: RawBsonRef<'_>, prefix: &str) -> Result<(), QueryError> {
        let path = format!("{prefix}{name}");
        match value {
            RawBsonRef::Boolean(_)
            | RawBsonRef::Int32(_)
            | RawBsonRef::Int64(_)
            | RawBsonRef::Double(_)
            | RawBsonRef::Decimal128(_) => self.plain(&path, truthy(value)),
            RawBsonRef::Document(document) => self.object(&path, document),
            literal => {
                if path.ends_with(".$") {
                    return Err(with_value("a literal"));
                }
                check_path(&path)?;
                if self.kind == Some(Kind::Exclusion) {
                    return Err(QueryError::new(
                        ErrorCode::LITERAL_IN_EXCLUSION,
                        format!("cannot use an expression in an exclusion projection: '{path}'"),
                    ));
                }
                self.computed(&path, literal)
            }
        }
    }

    /// A field with the value of an expression.
    fn computed(&mut self, path: &str, value: RawBsonRef<'_>) -> Result<(), QueryError> {
        if self.kind == Some(Kind::Exclusion) {
            return Err(QueryError::new(
                ErrorCode::EXPRESSION_IN_EXCLUSION,
                "cannot use an expression other than $meta in an exclusion projection",
            ));
        }
        self.kind = Some(Kind::Inclusion);
        self.computed.push(Expression::parse_in(value, &[], self.context)?);
        self.add(path, Node::Computed(self.computed.len() - 1))
    }

    fn plain(&mut self, path: &str, shown: bool) -> Result<(), QueryError> {
        if let Some(array) = path.strip_suffix(".$") {
            return self.positional(array, shown);
        }
        check_path(path)?;
        if path == "_id" {
            self.id = Some(shown);
            return Ok(());
        }
        self.set_kind(if shown { Kind::Inclusion } else { Kind::Exclusion }, path)?;
        self.add(path, Node::Leaf)
    }

    fn positional(&mut self, path: &str, shown: bool) -> Result<(), QueryError> {
        check_path(path)?;
        if self.positional {
            return Err(QueryError::new(
                ErrorCode::POSITIONAL_TWICE,
                "cannot specify more than one positional projection per query",
            ));
        }
        if self.elem_match {
            return Err(QueryError::new(
                ErrorCode::POSITIONAL_AND_ELEM_MATCH,
                "cannot specify a positional operator and $elemMatch",
            ));
        }
        if !shown || self.kind == Some(Kind::Exclusion) {
            return Err(QueryError::new(
                ErrorCode::POSITIONAL_IN_EXCLUSION,
                "a positional projection cannot be used with exclusion",
            ));
        }
        self.set_kind(Kind::Inclusion, path)?;
        self.add(path, Node::Positional)?;
        if self.slice {
            return Err(QueryError::new(
                ErrorCode::POSITIONAL_AND_SLICE,
                "a positional projection and $slice cannot be used together",
            ));
        }
        self.positional = true;
        Ok(())
    }

    fn object(&mut self, path: &str, document: &RawDocument) -> Result<(), QueryError> {
        let mut inner = fields(document);
        let Some((operator, operand)) = inner.next() else {
            return Err(QueryError::new(
                ErrorCode::EMPTY_SUB_PROJECTION,
                format!("an empty sub-projection is not a valid value, found at '{path}'"),
            ));
        };
        if !operator.starts_with('$') {
            check_path(path)?;
            return fields(document)
                .try_for_each(|(name, value)| self.field(name, value, &format!("{path}.")));
        }
        if inner.next().is_some() {
            return Err(QueryError::new(
                ErrorCode::FIELD_PATH_DOLLAR,
                format!("a field path may not have a part that starts with '$': {path}.{operator}"),
            ));
        }
        if path.ends_with(".$") {
            return Err(with_value("an expression or a sub-object"));
        }
        check_path(path)?;
        match operator {
            "$slice" => self.slice(path, operand, document),
            "$elemMatch" => self.elem_match(path, operand),
            "$meta" if path.contains('.') => Err(QueryError::new(
                ErrorCode::NOT_IMPLEMENTED,
                format!("$meta is not supported below the top of a projection: '{path}'"),
            )),
            "$meta" => {
                text::parse_meta(operand)?;
                self.scores.push(path.into());
                Ok(())
            }
            _ => self.computed(path, RawBsonRef::Document(document)).map_err(|error| match error.code {
                ErrorCode(168) if error.message.contains(&format!("'{operator}'")) => {
                    QueryError { code: ErrorCode::UNKNOWN_EXPRESSION_IN_PROJECTION, ..error }
                }
                _ => error,
            }),
        }
    }

    fn slice(
        &mut self,
        path: &str,
        operand: RawBsonRef<'_>,
        expression: &RawDocument,
    ) -> Result<(), QueryError> {
        let malformed = |why: &str| {
            Err(QueryError::new(ErrorCode::SLICE_SYNTAX, format!("invalid $slice syntax: {why}")))
        };
        if self.positional {
            return malformed("it cannot be used with a positional projection");
        }
        let node = match operand {
            RawBsonRef::Array(list) => match pair(list) {
                Pair::Numbers(_, limit) if limit <= 0 => {
                    return Err(QueryError::new(
                        ErrorCode::SLICE_LIMIT,
                        "the second argument of $slice must be a positive number",
                    ));
                }
                Pair::Numbers(skip, limit) => Node::Slice { skip, limit },
                Pair::Expression => return self.computed(path, RawBsonRef::Document(expression)),
                Pair::Malformed => return malformed("it takes a number or a list of two"),
            },
            other => match Number::from_raw(other).map(whole) {
                Some(limit) if limit < 0 => Node::Slice { skip: limit, limit: limit.saturating_neg() },
                Some(limit) => Node::Slice { skip: 0, limit },
                None => return malformed("it takes a number or a list of two"),
            },
        };
        self.slice = true;
        self.add(path, node)
    }

    fn elem_match(&mut self, path: &str, operand: RawBsonRef<'_>) -> Result<(), QueryError> {
        let RawBsonRef::Document(_) = operand else {
            return Err(QueryError::new(
                ErrorCode::ELEM_MATCH_OPERAND,
                "elemMatch: invalid argument, an object is required",
            ));
        };
        if self.positional {
            return Err(QueryError::new(
                ErrorCode::POSITIONAL_AND_ELEM_MATCH,
                "cannot specify a positional operator and $elemMatch",
            ));
        }
        if path.contains('.') {
            return Err(QueryError::new(
                ErrorCode::ELEM_MATCH_ON_NESTED,
                format!("cannot use $elemMatch projection on a nested field: '{path}'"),
            ));
        }
        let node = Filter::element_match(path, operand, self.context)?;
        self.elem_match = true;
        self.add(path, Node::ElemMatch(node))
    }

    fn set_kind(&mut self, kind: Kind, path: &str) -> Result<(), QueryError> {
        match (self.kind, kind) {
            (Some(Kind::Exclusion), Kind::Inclusion) => Err(QueryError::new(
                ErrorCode::INCLUSION_IN_EXCLUSION,
                format!("cannot do inclusion on field {path} in exclusion projection"),
            )),
            (Some(Kind::Inclusion), Kind::Exclusion) => Err(QueryError::new(
                ErrorCode::EXCLUSION_IN_INCLUSION,
                format!("cannot do exclusion on field {path} in inclusion projection"),
            )),
            _ => {
                self.kind = Some(kind);
                Ok(())
            }
        }
    }

    fn add(&mut self, path: &str, node: Node) -> Result<(), QueryError> {
        let parsed = Path::parse(path)?;
        let through = matches!(node, Node::Positional);
        let computes = matches!(node, Node::Computed(_));
        let mut level = &mut self.fields;
        let Some((last, way)) = parsed.parts().split_last() else {
            return Ok(());
        };
        for part in way {
            let place = level.iter().position(|(name, _)| **name == *part.name()).unwrap_or(level.len());
            if place == level.len() {
                let children = Node::Children { fields: Vec::new(), positional: false, computed: false };
                level.push((part.name().into(), children));
            }
            level = match level.get_mut(place) {
                Some((_, Node::Children { fields, positional, computed })) => {
                    *positional |= through;
                    *computed |= computes;
                    fields
                }
                _ => {
                    return Err(QueryError::new(
                        ErrorCode::PATH_COLLISION_BELOW,
                        format!("path collision at {path}, below {}", part.name()),
                    ));
                }
            };
        }
        if level.iter().any(|(name, _)| **name == *last.name()) {
            return Err(QueryError::new(ErrorCode::PATH_COLLISION, format!("path collision at {path}")));
        }
        level.push((last.name().into(), node));
        Ok(())
    }
}

/// The operand of `$slice` as a list.
enum Pair {
    Numbers(i64, i64),
    Expression,
    Malformed,
}

fn pair(list: &RawArray) -> Pair {
    let mut members = elements(list);
    match (members.next(), members.next(), members.next(), members.next()) {
        (Some(skip), Some(limit), None, _) => match (Number::from_raw(skip), Number::from_raw(limit)) {
            (Some(skip), Some(limit)) => Pair::Numbers(whole(skip), whole(limit)),
            (None, _)
                if matches!(skip, RawBsonRef::String(_) | RawBsonRef::Array(_) | RawBsonRef::Document(_)) =>
            {
                Pair::Expression
            }
            _ => Pair::Malformed,
        },
        (Some(_), Some(_), Some(_), None) => Pair::Expression,
        _ => Pair::Malformed,
    }
}

/// Truncated, and clamped to what an array can have.
fn whole(number: Number) -> i64 {
    let bound = i64::from(i32::MAX);
    match number.truncated_to_i64() {
        Some(whole) => whole.clamp(-bound, bound),
        None if number.is_nan() => 0,
        None if number.to_f64() < 0.0 => -bound,
        None => bound,
    }
}

fn check_path(path: &str) -> Result<(), QueryError> {
    if path.split('.').any(|part| part == "$") && path.contains(".$.") {
        return Err(QueryError::new(
            ErrorCode::POSITIONAL_IN_PATH,
            "the positional operator may stand at the end of a path only",
        ));
    }
    check_field_path(path)
}

fn with_value(what: &str) -> QueryError {
    QueryError::new(
        ErrorCode::POSITIONAL_WITH_VALUE,
        format!("a positional projection cannot have {what} as its value"),
    )
}
