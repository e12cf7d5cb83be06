//! The one error of the query language: a MongoDB error code and a message for people.

use thiserror::Error;

/// What a filter, an update, an index definition or a document was refused for.
///
/// `code` is the MongoDB server's code where the server has one, so that a driver's user meets the number he knows.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct QueryError {
    /// MongoDB's error code, for example 2 (`BadValue`) or 11000 (`DuplicateKey`).
    pub code: ErrorCode,
    /// What was wrong, naming the operator, path or value.
    pub message: String,
}

impl QueryError {
    /// An error with `code` and `message`.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// A `BadValue` (2) error.
    pub fn bad_value(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::BAD_VALUE, message)
    }
}

/// A MongoDB server error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorCode(pub i32);

impl ErrorCode {
    /// 2: an operand of the wrong kind or range.
    pub const BAD_VALUE: Self = Self(2);
    /// 4: a field that must be there is not.
    pub const NO_SUCH_KEY: Self = Self(4);
    /// 9: a command or update that does not parse.
    pub const FAILED_TO_PARSE: Self = Self(9);
    /// 14: a value of the wrong type for its operator.
    pub const TYPE_MISMATCH: Self = Self(14);
    /// 13: the writer may not do that.
    pub const UNAUTHORIZED: Self = Self(13);
    /// 26: a collection that does not exist.
    pub const NAMESPACE_NOT_FOUND: Self = Self(26);
    /// 27: an index that does not exist.
    pub const INDEX_NOT_FOUND: Self = Self(27);
    /// 47: the document that an operation names is gone, or no longer meets its filter.
    pub const NO_MATCHING_DOCUMENT: Self = Self(47);
    /// 28: an update path that leads through a scalar.
    pub const PATH_NOT_VIABLE: Self = Self(28);
    /// 40: two update operators on one path, or on a path and its prefix.
    pub const CONFLICTING_UPDATE_OPERATORS: Self = Self(40);
    /// 52: a path part that starts with `$` where it may not.
    pub const DOLLAR_PREFIXED_FIELD_NAME: Self = Self(52);
    /// 53: an `_id` of a type that cannot be one.
    pub const INVALID_ID_FIELD: Self = Self(53);
    /// 54: two equality conditions that disagree on a field of an upsert.
    pub const NOT_SINGLE_VALUE_FIELD: Self = Self(54);
    /// 56: an empty path part.
    pub const EMPTY_FIELD_NAME: Self = Self(56);
    /// 66: an update would change `_id`.
    pub const IMMUTABLE_FIELD: Self = Self(66);
    /// 67: an index definition that cannot be.
    pub const CANNOT_CREATE_INDEX: Self = Self(67);
    /// 72: options that do not go together.
    pub const INVALID_OPTIONS: Self = Self(72);
    /// 85: the same index keys under other options.
    pub const INDEX_OPTIONS_CONFLICT: Self = Self(85);
    /// 86: the same index name for other keys.
    pub const INDEX_KEY_SPECS_CONFLICT: Self = Self(86);
    /// 171: two arrays under one compound index.
    pub const CANNOT_INDEX_PARALLEL_ARRAYS: Self = Self(171);
    /// 197: an index option that is unknown, or that this index cannot have.
    pub const INVALID_INDEX_SPECIFICATION_OPTION: Self = Self(197);
    /// 224: an operator that is not allowed where it stands.
    pub const QUERY_FEATURE_NOT_ALLOWED: Self = Self(224);
    /// 40414: a collation without a locale.
    pub const COLLATION_WITHOUT_LOCALE: Self = Self(40414);
    /// 7246202: the index type `wildcard` on a field.
    pub const WILDCARD_INDEX_TYPE: Self = Self(7_246_202);
    /// 16766: an array under a hashed index.
    pub const HASHED_ARRAY: Self = Self(16766);
    /// 16764: a hashed index that is to be unique.
    pub const HASHED_UNIQUE: Self = Self(16764);
    /// 31303: an index with several hashed fields.
    pub const HASHED_FIELDS: Self = Self(31303);
    /// 17280: the keys of a document in an index are too long.
    pub const KEY_TOO_LONG: Self = Self(17280);
    /// 11000: a unique index holds the key already.
    pub const DUPLICATE_KEY: Self = Self(11000);
    /// 10334: a document beyond the size limit.
    pub const BSON_OBJECT_TOO_LARGE: Self = Self(10334);
    /// 15: a document nested too deeply or of too many elements.
    pub const OVERFLOW: Self = Self(15);
    /// 22: bytes that are no valid BSON.
    pub const INVALID_BSON: Self = Self(22);
    /// 238: a part of the language that is left out by intent.
    pub const NOT_IMPLEMENTED: Self = Self(238);
    /// 13103: a sort with too many keys.
    pub const SORT_TOO_MANY_KEYS: Self = Self(13103);
    /// 15974: a sort by something that is no number.
    pub const SORT_VALUE: Self = Self(15974);
    /// 15975: a sort by a number other than 1 and -1.
    pub const SORT_DIRECTION: Self = Self(15975);
    /// 15976: a `$sort` without keys.
    pub const SORT_EMPTY: Self = Self(15976);
    /// 7472500: a sort that names a key twice.
    pub const SORT_KEY_TWICE: Self = Self(7_472_500);
    /// 15998: an empty part within a field path.
    pub const EMPTY_FIELD_PATH_PART: Self = Self(15998);
    /// 16410: a part of a field path that starts with `$`.
    pub const FIELD_PATH_DOLLAR: Self = Self(16410);
    /// 40352: an empty field path.
    pub const EMPTY_FIELD_PATH: Self = Self(40352);
    /// 40353: a field path that ends in a dot.
    pub const FIELD_PATH_ENDS_IN_DOT: Self = Self(40353);
    /// 31032: a NUL in the key of a `distinct`.
    pub const NUL_IN_KEY: Self = Self(31032);
    /// 51074: regular expression flags both in the value and in `$options`.
    pub const REGEX_OPTIONS_TWICE: Self = Self(51074);
    /// 51091: a regular expression that does not compile.
    pub const INVALID_REGEX: Self = Self(51091);
    /// 51108: an unknown flag of a regular expression.
    pub const INVALID_REGEX_OPTION: Self = Self(51108);
    /// 291: a query that no index serves, and that needs one.
    pub const NO_QUERY_EXECUTION_PLANS: Self = Self(291);
    /// 13026: a value under a flat geospatial index that is no place.
    pub const NO_POINT: Self = Self(13026);
    /// 13027: a place beyond the bounds of a flat geospatial index.
    pub const POINT_OFF_GRID: Self = Self(13027);
    /// 16755: a value under a spherical index that is no location.
    pub const GEO_KEYS: Self = Self(16755);
    /// 17262: a text in a language that is not known.
    pub const TEXT_LANGUAGE: Self = Self(17262);
    /// 17308: metadata that there is not.
    pub const UNKNOWN_META: Self = Self(17308);
    /// 40218: metadata that the query does not make.
    pub const META_NOT_AVAILABLE: Self = Self(40218);
    /// 292: a sort or group beyond its memory bound.
    pub const QUERY_EXCEEDED_MEMORY_LIMIT: Self = Self(292);

    /// 28667: a `$slice` projection of the wrong form.
    pub const SLICE_SYNTAX: Self = Self(28667);
    /// 28724: a `$slice` projection that takes no elements.
    pub const SLICE_LIMIT: Self = Self(28724);
    /// 31249: a projection of a path below one that it names already.
    pub const PATH_COLLISION_BELOW: Self = Self(31249);
    /// 31250: a projection of a path that it names already, or of a part of one.
    pub const PATH_COLLISION: Self = Self(31250);
    /// 31253: an inclusion among exclusions.
    pub const INCLUSION_IN_EXCLUSION: Self = Self(31253);
    /// 31254: an exclusion among inclusions.
    pub const EXCLUSION_IN_INCLUSION: Self = Self(31254);
    /// 31255: positional operator and `$elemMatch` in one projection.
    pub const POSITIONAL_AND_ELEM_MATCH: Self = Self(31255);
    /// 31271: a positional projection with a value.
    pub const POSITIONAL_WITH_VALUE: Self = Self(31271);
    /// 31256: positional operator and `$slice` in one projection.
    pub const POSITIONAL_AND_SLICE: Self = Self(31256);
    /// 31274: an `$elemMatch` projection that is no object.
    pub const ELEM_MATCH_OPERAND: Self = Self(31274);
    /// 31275: an `$elemMatch` projection on a dotted path.
    pub const ELEM_MATCH_ON_NESTED: Self = Self(31275);
    /// 31276: more than one positional projection.
    pub const POSITIONAL_TWICE: Self = Self(31276);
    /// 31394: a positional operator within a path.
    pub const POSITIONAL_IN_PATH: Self = Self(31394);
    /// 31395: a positional operator in an exclusion.
    pub const POSITIONAL_IN_EXCLUSION: Self = Self(31395);
    /// 51246: a positional projection without an element that the filter matched.
    pub const POSITIONAL_NO_MATCH: Self = Self(51246);
    /// 51247: a positional projection of an array shorter than the one matched.
    pub const POSITIONAL_MISMATCH: Self = Self(51247);
    /// 31252: an expression among exclusions.
    pub const EXPRESSION_IN_EXCLUSION: Self = Self(31252);
    /// 31310: a literal among exclusions.
    pub const LITERAL_IN_EXCLUSION: Self = Self(31310);
    /// 31325: an expression of an unknown name in a projection.
    pub const UNKNOWN_EXPRESSION_IN_PROJECTION: Self = Self(31325);
    /// 51271: a value in a projection that would have to be computed, where that cannot be.
    pub const COMPUTED_PROJECTION: Self = Self(51271);
    /// 7246301: an array under another field of a wildcard index.
    pub const WILDCARD_ARRAY: Self = Self(7_246_301);
    /// 51270: an empty object in a projection.
    pub const EMPTY_SUB_PROJECTION: Self = Self(51270);
}
