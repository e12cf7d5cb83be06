//! Compiles query documents into the tree of [`super::node`].

use bson::{RawArray, RawBson, RawBsonRef, RawDocument};

use crate::{
    collation::Collation,
    context::QueryContext,
    error::{ErrorCode, QueryError},
    expression::Relation,
    filter::{
        bits::{BitQuestion, BitTest},
        collated::Collated,
        expression,
        near::{self, Nearness},
        node::{Members, Node, Predicate},
        pattern::Pattern,
        schema,
        types::{TypeSet, truthy},
    },
    geo::{GeoTest, NearTest},
    limits::DEPTH_MAX,
    number::Number,
    order,
    path::{Path, elements, fields},
    text::TextQuery,
};

/// How many conditions a filter may have.
const NODES_MAX: usize = 20_000;
/// How many members all `$in` lists of a filter may have together.
const MEMBERS_MAX: usize = 500_000;
/// How many regular expressions a filter may have.
const PATTERNS_MAX: usize = 512;

/// Operators that are known and left out, at the top of a filter or under a field.
const NOT_IMPLEMENTED: [&str; 1] = ["$where"];

/// Compiles a whole filter.
pub(super) fn filter(document: &RawDocument, context: &QueryContext) -> Result<Node, QueryError> {
    let mut parser = Parser::new(context);
    let root = parser.document(document, 0)?;
    near::check(&root, parser.nears)?;
    Ok(match root {
        Node::And(_) => root,
        other => Node::And(vec![other]),
    })
}

/// Compiles a document of operators (`{$gt: 3}`) or a regular expression as the condition on the field `name`.
pub(super) fn condition(
    name: &str,
    operand: RawBsonRef<'_>,
    context: &QueryContext,
) -> Result<Node, QueryError> {
    let mut parser = Parser::new(context);
    let node = parser.field(name, operand, 0)?;
    if parser.nears > 0 {
        return Err(QueryError::bad_value("geo $near must be top-level expr"));
    }
    Ok(node)
}

/// Whether an operand is a document of operators and no literal: its first key starts with `$`, and it is no reference
/// to a document of another collection.
pub(crate) fn is_operator_document(document: &RawDocument) -> bool {
    fields(document)
        .next()
        .is_some_and(|(name, _)| name.starts_with('$') && !matches!(name, "$ref" | "$id" | "$db"))
}

/// Counts what has been compiled.
struct Parser<'c> {
    context: &'c QueryContext,
    nodes: usize,
    members: usize,
    patterns: usize,
    /// How many conditions on distances there are.
    nears: usize,
    /// How many searches for texts there are.
    texts: usize,
    /// How many `$elemMatch` there are around: what is about the whole document cannot stand there.
    within_elements: usize,
}

impl<'c> Parser<'c> {
    fn new(context: &'c QueryContext) -> Self {
        Self { context, nodes: 0, members: 0, patterns: 0, nears: 0, texts: 0, within_elements: 0 }
    }

    fn document(&mut self, document: &RawDocument, depth: usize) -> Result<Node, QueryError> {
        if depth > DEPTH_MAX {
            return Err(QueryError::bad_value(format!("a filter may be at most {DEPTH_MAX} levels deep")));
        }
        let mut nodes = Vec::new();
        for element in document {
            let (name, value) = element.map_err(|error| invalid(&error))?;
            nodes.push(match name.as_str() {
                "$comment" => continue,
                name if name.starts_with('$') => self.top_operator(name, value, depth)?,
                name => self.field(name, value, depth)?,
            });
        }
        Ok(Node::all(nodes))
    }

    fn top_operator(
        &mut self,
        name: &str,
        operand: RawBsonRef<'_>,
        depth: usize,
    ) -> Result<Node, QueryError> {
        match name {
            "$and" => Ok(Node::all(self.clauses(name, operand, depth)?)),
            "$or" => {
                let clauses = self.clauses(name, operand, depth)?;
                Ok(if clauses.len() == 1 { Node::all(clauses) } else { Node::Or(clauses) })
            }
            "$nor" => Ok(Node::Nor(self.clauses(name, operand, depth)?)),
            "$alwaysTrue" | "$alwaysFalse" => {
                if Number::from_raw(operand).and_then(Number::to_i64_exact) != Some(1) {
                    return Err(QueryError::new(ErrorCode::FAILED_TO_PARSE, format!("{name} must be 1")));
                }
                self.count_node()?;
                Ok(Node::Always(name == "$alwaysTrue"))
            }
            "$expr" | "$sampleRate" => {
                if self.within_elements > 0 {
                    let message = format!("{name} can only be applied to the top-level document");
                    return Err(QueryError::bad_value(message));
                }
                self.count_node()?;
                if name == "$expr" {
                    expression::expression(operand, self.context)
                } else {
                    expression::sample(operand, self.context)
                }
            }
            "$text" => {
                if self.within_elements > 0 {
                    return Err(QueryError::bad_value("$text can only be applied to the top-level document"));
                }
                self.count_node()?;
                self.texts += 1;
                if self.texts > 1 {
                    return Err(QueryError::bad_value("Too many text expressions"));
                }
                Ok(Node::Text(Box::new(TextQuery::parse(operand, self.context.text.as_ref())?)))
            }
            "$jsonSchema" => Ok(Node::Schema(Box::new(schema::parse(operand, self)?))),
            name if NOT_IMPLEMENTED.contains(&name) => Err(not_implemented(name)),
            name => Err(QueryError::bad_value(format!("unknown top level operator: {name}"))),
        }
    }

    fn clauses(
        &mut self,
        name: &str,
        operand: RawBsonRef<'_>,
        depth: usize,
    ) -> Result<Vec<Node>, QueryError> {
        self.count_node()?;
        let RawBsonRef::Array(list) = operand else {
            return Err(QueryError::bad_value(format!("{name} must be an array")));
        };
        let mut nodes = Vec::new();
        for clause in elements(list) {
            let RawBsonRef::Document(clause) = clause else {
                return Err(QueryError::bad_value(format!("{name} takes an array of documents")));
            };
            nodes.push(self.document(clause, depth + 1)?);
        }
        if nodes.is_empty() {
            return Err(QueryError::bad_value(format!("{name} takes a nonempty array")));
        }
        Ok(nodes)
    }

    /// `name: value` in a query: a document of operators, a regular expression, or a value to equal.
    fn field(&mut self, name: &str, value: RawBsonRef<'_>, depth: usize) -> Result<Node, QueryError> {
        let path = Path::parse(name)?;
        match value {
            RawBsonRef::Document(operators) if is_operator_document(operators) => {
                self.operators(&path, operators, depth)
            }
            RawBsonRef::RegularExpression(_) => {
                let pattern = self.pattern(value, None)?;
                self.leaf(&path, Predicate::Regex(pattern))
            }
            value => self.equality(&path, value),
        }
    }

    fn operators(&mut self, path: &Path, operators: &RawDocument, depth: usize) -> Result<Node, QueryError> {
        let mut nodes = Vec::new();
        for element in operators {
            let (name, operand) = element.map_err(|error| invalid(&error))?;
            match name.as_str() {
                "$regex" => {
                    let options =
                        fields(operators).find(|(name, _)| *name == "$options").map(|(_, value)| value);
                    let pattern = self.pattern(operand, options)?;
                    nodes.push(self.leaf(path, Predicate::Regex(pattern))?);
                }
                "$options" => {
                    if !fields(operators).any(|(name, _)| name == "$regex") {
                        return Err(QueryError::bad_value("$options needs a $regex"));
                    }
                }
                "$minDistance" | "$maxDistance" => {
                    if !fields(operators)
                        .any(|(name, _)| matches!(name, "$near" | "$nearSphere" | "$geoNear"))
                    {
                        return Err(QueryError::bad_value(format!("{name} needs a $near")));
                    }
                }
                name => nodes.push(self.operator(path, name, operand, operators, depth)?),
            }
        }
        Ok(Node::all(nodes))
    }

    fn operator(
        &mut self,
        path: &Path,
        name: &str,
        operand: RawBsonRef<'_>,
        beside: &RawDocument,
        depth: usize,
    ) -> Result<Node, QueryError> {
        let predicate = match name {
            "$eq" => return self.equality(path, operand),
            "$ne" => {
                refuse_regex(path, name, operand)?;
                return Ok(self.equality(path, operand)?.negated());
            }
            "$gt" | "$gte" | "$lt" | "$lte" => self.range(name, comparable(path, name, operand)?),
            "$in" => self.members(name, operand)?,
            "$nin" => {
                let members = self.members(name, operand)?;
                return Ok(self.leaf(path, members)?.negated());
            }
            "$exists" => {
                let node = self.leaf(path, Predicate::Exists)?;
                return Ok(if truthy(operand) { node } else { node.negated() });
            }
            "$type" => Predicate::Type(TypeSet::parse(operand)?),
            "$size" => Predicate::Size(size(operand)?),
            "$mod" => modulo(operand)?,
            "$not" => return self.negation(path, operand, depth),
            "$all" => return self.every(path, operand, depth),
            "$elemMatch" => self.element_match(operand, depth)?,
            "$bitsAllSet" => Predicate::Bits(BitTest::parse(BitQuestion::AllSet, name, operand)?),
            "$bitsAllClear" => Predicate::Bits(BitTest::parse(BitQuestion::AllClear, name, operand)?),
            "$bitsAnySet" => Predicate::Bits(BitTest::parse(BitQuestion::AnySet, name, operand)?),
            "$bitsAnyClear" => Predicate::Bits(BitTest::parse(BitQuestion::AnyClear, name, operand)?),
            "$geoWithin" | "$within" | "$geoIntersects" => {
                Predicate::Geo(Box::new(GeoTest::parse(name, operand)?))
            }
            "$near" | "$nearSphere" | "$geoNear" => return self.nearness(path, name, operand, beside),
            name if NOT_IMPLEMENTED.contains(&name) => return Err(not_implemented(name)),
            name => return Err(QueryError::bad_value(format!("unknown operator: {name}"))),
        };
        self.leaf(path, predicate)
    }

    /// `$near` and `$nearSphere`, whose bounds may stand beside them.
    fn nearness(
        &mut self,
        path: &Path,
        name: &str,
        operand: RawBsonRef<'_>,
        beside: &RawDocument,
    ) -> Result<Node, QueryError> {
        self.count_node()?;
        self.nears += 1;
        let test = NearTest::parse(name, operand, beside)?;
        Ok(Node::Near(Box::new(Nearness { path: path.clone(), test })))
    }

    fn equality(&mut self, path: &Path, value: RawBsonRef<'_>) -> Result<Node, QueryError> {
        refuse_undefined(value)?;
        let predicate = match self.collation_of(value) {
            Some(collation) => Collated::predicate(collation, Relation::Equal, value.into()),
            None => Predicate::Eq(value.into()),
        };
        self.leaf(path, predicate)
    }

    /// The collation by which a comparison with `operand` is made, if there are strings to compare.
    fn collation_of(&self, operand: RawBsonRef<'_>) -> Option<&'c Collation> {
        self.context.collation.as_ref().filter(|_| order::holds_text(operand))
    }

    fn range(&self, name: &str, operand: RawBson) -> Predicate {
        if let Some(collation) = self.collation_of(operand.as_raw_bson_ref()) {
            let relation = match name {
                "$gt" => Relation::Greater,
                "$gte" => Relation::GreaterOrEqual,
                "$lt" => Relation::Less,
                _ => Relation::LessOrEqual,
            };
            return Collated::predicate(collation, relation, operand);
        }
        match name {
            "$gt" => Predicate::Gt(operand),
            "$gte" => Predicate::Gte(operand),
            "$lt" => Predicate::Lt(operand),
            _ => Predicate::Lte(operand),
        }
    }

    fn leaf(&mut self, path: &Path, predicate: Predicate) -> Result<Node, QueryError> {
        self.count_node()?;
        Ok(Node::Field { path: path.clone(), predicate })
    }

    fn negation(&mut self, path: &Path, operand: RawBsonRef<'_>, depth: usize) -> Result<Node, QueryError> {
        if depth >= DEPTH_MAX {
            return Err(QueryError::bad_value(format!("a filter may be at most {DEPTH_MAX} levels deep")));
        }
        match operand {
            RawBsonRef::RegularExpression(_) => {
                let pattern = self.pattern(operand, None)?;
                Ok(self.leaf(path, Predicate::Regex(pattern))?.negated())
            }
            RawBsonRef::Document(operators) if operators.is_empty() => {
                Err(QueryError::bad_value("$not cannot be empty"))
            }
            RawBsonRef::Document(operators) => Ok(self.operators(path, operators, depth + 1)?.negated()),
            _ => Err(QueryError::bad_value("$not needs a regex or a document")),
        }
    }

    /// `$all`: every member is a condition of its own on the path.
    fn every(&mut self, path: &Path, operand: RawBsonRef<'_>, depth: usize) -> Result<Node, QueryError> {
        let RawBsonRef::Array(list) = operand else {
            return Err(QueryError::bad_value("$all needs an array"));
        };
        self.count_node()?;
        let is_element_match = |member: RawBsonRef<'_>| match member {
            RawBsonRef::Document(document) => {
                fields(document).next().is_some_and(|(name, _)| name == "$elemMatch")
            }
            _ => false,
        };
        let by_element = elements(list).next().is_some_and(is_element_match);
        let mut nodes = Vec::new();
        for member in elements(list) {
            nodes.push(match member {
                member if by_element != is_element_match(member) => {
                    return Err(QueryError::bad_value("$all/$elemMatch has to be consistent"));
                }
                RawBsonRef::Document(document) if by_element => self.operators(path, document, depth)?,
                RawBsonRef::Document(document) if is_operator_document(document) => {
                    return Err(QueryError::bad_value("no $ expressions in $all"));
                }
                RawBsonRef::RegularExpression(_) => {
                    let pattern = self.pattern(member, None)?;
                    self.leaf(path, Predicate::Regex(pattern))?
                }
                member => self.equality(path, member)?,
            });
        }
        Ok(if nodes.is_empty() { Node::Always(false) } else { Node::all(nodes) })
    }

    fn element_match(&mut self, operand: RawBsonRef<'_>, depth: usize) -> Result<Predicate, QueryError> {
        let RawBsonRef::Document(condition) = operand else {
            return Err(QueryError::bad_value("$elemMatch needs an Object"));
        };
        if depth >= DEPTH_MAX {
            return Err(QueryError::bad_value(format!("a filter may be at most {DEPTH_MAX} levels deep")));
        }
        let logical = fields(condition).next().is_some_and(|(name, _)| {
            matches!(name, "$and" | "$or" | "$nor" | "$where" | "$expr" | "$comment" | "$jsonSchema")
        });
        if is_operator_document(condition) && !logical {
            let node = self.operators(&Path::empty(), condition, depth + 1)?;
            return Ok(Predicate::ElemMatchValue(Box::new(node)));
        }
        self.within_elements += 1;
        let node = self.document(condition, depth + 1)?;
        self.within_elements -= 1;
        Ok(Predicate::ElemMatchObject(Box::new(node)))
    }

    fn members(&mut self, name: &str, operand: RawBsonRef<'_>) -> Result<Predicate, QueryError> {
        let RawBsonRef::Array(list) = operand else {
            return Err(QueryError::bad_value(format!("{name} needs an array")));
        };
        let (mut values, mut patterns) = (Vec::new(), Vec::new());
        for member in elements(list) {
            self.members += 1;
            if self.members > MEMBERS_MAX {
                return Err(QueryError::bad_value(format!(
                    "a filter may list at most {MEMBERS_MAX} values in $in"
                )));
            }
            match member {
                RawBsonRef::RegularExpression(_) => patterns.push(self.pattern(member, None)?),
                RawBsonRef::Document(document) if is_operator_document(document) => {
                    return Err(QueryError::bad_value(format!("cannot nest $ under {name}")));
                }
                member => {
                    refuse_undefined(member)?;
                    values.push(RawBson::from(member));
                }
            }
        }
        Ok(match self.collation_of(operand) {
            Some(collation) => Collated::members(collation, values, patterns),
            None => Predicate::In(Members::new(values, patterns)),
        })
    }

    fn pattern(
        &mut self,
        operand: RawBsonRef<'_>,
        options: Option<RawBsonRef<'_>>,
    ) -> Result<Pattern, QueryError> {
        self.patterns += 1;
        if self.patterns > PATTERNS_MAX {
            return Err(QueryError::bad_value(format!(
                "a filter may have at most {PATTERNS_MAX} regular expressions"
            )));
        }
        Pattern::parse(operand, options, self.patterns)
    }

    fn count_node(&mut self) -> Result<(), QueryError> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(QueryError::bad_value(format!("a filter may have at most {NODES_MAX} conditions")));
        }
        Ok(())
    }
}

impl schema::Counter for Parser<'_> {
    fn count_node(&mut self) -> Result<(), QueryError> {
        Self::count_node(self)
    }

    fn pattern(&mut self, pattern: RawBsonRef<'_>) -> Result<Pattern, QueryError> {
        Self::pattern(self, pattern, None)
    }
}

fn invalid(error: &bson::error::Error) -> QueryError {
    QueryError::new(ErrorCode::INVALID_BSON, format!("the filter is no valid BSON: {error}"))
}

fn not_implemented(name: &str) -> QueryError {
    QueryError::new(ErrorCode::NOT_IMPLEMENTED, format!("{name} is not supported in filters"))
}

fn refuse_undefined(value: RawBsonRef<'_>) -> Result<(), QueryError> {
    match value {
        RawBsonRef::Undefined => Err(QueryError::bad_value("cannot compare to undefined")),
        _ => Ok(()),
    }
}

fn refuse_regex(path: &Path, name: &str, operand: RawBsonRef<'_>) -> Result<(), QueryError> {
    match operand {
        RawBsonRef::RegularExpression(_) => {
            Err(QueryError::bad_value(format!("cannot have a regex as operand of {name} on field '{path}'")))
        }
        _ => Ok(()),
    }
}

fn comparable(path: &Path, name: &str, operand: RawBsonRef<'_>) -> Result<RawBson, QueryError> {
    refuse_regex(path, name, operand)?;
    refuse_undefined(operand)?;
    Ok(RawBson::from(operand))
}

fn size(operand: RawBsonRef<'_>) -> Result<usize, QueryError> {
    Number::from_raw(operand)
        .and_then(Number::to_i64_exact)
        .and_then(|size| usize::try_from(size).ok())
        .ok_or_else(|| QueryError::bad_value("$size needs a whole number from 0 on"))
}

fn modulo(operand: RawBsonRef<'_>) -> Result<Predicate, QueryError> {
    let RawBsonRef::Array(list) = operand else {
        return Err(QueryError::bad_value("malformed mod, needs to be an array"));
    };
    let (divisor, remainder) = two_numbers(list)?;
    if divisor == 0 {
        return Err(QueryError::bad_value("divisor cannot be 0"));
    }
    Ok(Predicate::Mod { divisor, remainder })
}

fn two_numbers(list: &RawArray) -> Result<(i64, i64), QueryError> {
    let mut members = elements(list);
    let (Some(first), Some(second)) = (members.next(), members.next()) else {
        return Err(QueryError::bad_value("malformed mod, not enough elements"));
    };
    if members.next().is_some() {
        return Err(QueryError::bad_value("malformed mod, too many elements"));
    }
    let whole = |member, role| {
        Number::from_raw(member)
            .ok_or_else(|| QueryError::bad_value(format!("malformed mod, {role} not a number")))?
            .truncated_to_i64()
            .ok_or_else(|| QueryError::bad_value(format!("malformed mod, {role} value is invalid")))
    };
    Ok((whole(first, "divisor")?, whole(second, "remainder")?))
}
