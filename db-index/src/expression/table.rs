//! The operators by name.

use super::node::Scope;
use super::value::Value;
use super::{arithmetic, array, convert, date, hash, logic, object, set, statistics, text, transcendental};
use crate::error::QueryError;

/// Computes an operator from the values of its arguments.
pub(super) type Run = for<'a> fn(&mut Scope<'a>, &[Value<'a>]) -> Result<Value<'a>, QueryError>;

/// Computes an operator from its named arguments, in the order of its table entry.
pub(super) type RunNamed = for<'a> fn(&mut Scope<'a>, &[Option<Value<'a>>]) -> Result<Value<'a>, QueryError>;

/// An operator with arguments by place.
#[derive(Debug)]
pub(super) struct Operator {
    pub(super) name: &'static str,
    /// The least and the greatest number of arguments.
    pub(super) arguments: (usize, usize),
    pub(super) run: Run,
}

/// An operator with arguments by name.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) name: &'static str,
    /// Each name with the error code for its absence; `None` for those that may be absent.
    pub(super) arguments: &'static [(&'static str, Option<i32>)],
    pub(super) codes: NamedCodes,
    /// Whether a value that is no such document is the first argument.
    pub(super) takes_one: bool,
    pub(super) run: RunNamed,
}

/// The error codes for the form of named arguments.
#[derive(Debug)]
pub(super) struct NamedCodes {
    pub(super) not_a_document: i32,
    pub(super) unknown: i32,
    /// For an array of more or fewer than one value, where one value may be given.
    pub(super) not_one: Option<i32>,
}

const ANY: usize = usize::MAX;

const fn op(name: &'static str, least: usize, most: usize, run: Run) -> Operator {
    Operator { name, arguments: (least, most), run }
}

const fn named(
    name: &'static str,
    arguments: &'static [(&'static str, Option<i32>)],
    not_a_document: i32,
    unknown: i32,
    run: RunNamed,
) -> Named {
    Named {
        name,
        arguments,
        codes: NamedCodes { not_a_document, unknown, not_one: None },
        takes_one: false,
        run,
    }
}

const fn one_or_named(
    name: &'static str,
    arguments: &'static [(&'static str, Option<i32>)],
    unknown: i32,
    not_one: Option<i32>,
    run: RunNamed,
) -> Named {
    Named { name, arguments, codes: NamedCodes { not_a_document: 9, unknown, not_one }, takes_one: true, run }
}

/// The operator of this name with arguments by place.
pub(super) fn operator(name: &str) -> Option<&'static Operator> {
    OPERATORS.iter().find(|operator| operator.name == name)
}

/// The operator of this name with named arguments.
pub(super) fn named_operator(name: &str) -> Option<&'static Named> {
    NAMED.iter().find(|operator| operator.name == name)
}

static OPERATORS: &[Operator] = &[
    op("$abs", 1, 1, arithmetic::abs),
    op("$add", 0, ANY, arithmetic::add),
    op("$ceil", 1, 1, arithmetic::ceil),
    op("$divide", 2, 2, arithmetic::divide),
    op("$floor", 1, 1, arithmetic::floor),
    op("$mod", 2, 2, arithmetic::modulo),
    op("$multiply", 0, ANY, arithmetic::multiply),
    op("$round", 1, 2, arithmetic::round),
    op("$subtract", 2, 2, arithmetic::subtract),
    op("$trunc", 1, 2, arithmetic::trunc),
    op("$bitAnd", 0, ANY, arithmetic::bit_and),
    op("$bitOr", 0, ANY, arithmetic::bit_or),
    op("$bitXor", 0, ANY, arithmetic::bit_xor),
    op("$bitNot", 1, 1, arithmetic::bit_not),
    op("$exp", 1, 1, transcendental::exp),
    op("$ln", 1, 1, transcendental::ln),
    op("$log", 2, 2, transcendental::log),
    op("$log10", 1, 1, transcendental::log10),
    op("$pow", 2, 2, transcendental::pow),
    op("$sqrt", 1, 1, transcendental::sqrt),
    op("$sin", 1, 1, transcendental::sin),
    op("$cos", 1, 1, transcendental::cos),
    op("$tan", 1, 1, transcendental::tan),
    op("$asin", 1, 1, transcendental::asin),
    op("$acos", 1, 1, transcendental::acos),
    op("$atan", 1, 1, transcendental::atan),
    op("$atan2", 2, 2, transcendental::atan2),
    op("$sinh", 1, 1, transcendental::sinh),
    op("$cosh", 1, 1, transcendental::cosh),
    op("$tanh", 1, 1, transcendental::tanh),
    op("$asinh", 1, 1, transcendental::asinh),
    op("$acosh", 1, 1, transcendental::acosh),
    op("$atanh", 1, 1, transcendental::atanh),
    op("$degreesToRadians", 1, 1, transcendental::degrees_to_radians),
    op("$radiansToDegrees", 1, 1, transcendental::radians_to_degrees),
    op("$sigmoid", 1, 1, transcendental::sigmoid),
    op("$cmp", 2, 2, logic::cmp),
    op("$eq", 2, 2, logic::eq),
    op("$ne", 2, 2, logic::ne),
    op("$gt", 2, 2, logic::gt),
    op("$gte", 2, 2, logic::gte),
    op("$lt", 2, 2, logic::lt),
    op("$lte", 2, 2, logic::lte),
    op("$not", 1, 1, logic::not),
    op("$arrayElemAt", 2, 2, array::element_at),
    op("$arrayToObject", 1, 1, object::from_array),
    op("$concatArrays", 0, ANY, array::concat),
    op("$in", 2, 2, array::contains),
    op("$indexOfArray", 2, 4, array::index_of),
    op("$isArray", 1, 1, array::is_array),
    op("$objectToArray", 1, 1, object::to_array),
    op("$range", 2, 3, array::range),
    op("$reverseArray", 1, 1, array::reverse),
    op("$size", 1, 1, array::size),
    op("$slice", 2, 3, array::slice),
    op("$mergeObjects", 0, ANY, object::merge),
    op("$allElementsTrue", 1, 1, set::all_true),
    op("$anyElementTrue", 1, 1, set::any_true),
    op("$setDifference", 2, 2, set::difference),
    op("$setEquals", 2, ANY, set::equals),
    op("$setIntersection", 0, ANY, set::intersection),
    op("$setIsSubset", 2, 2, set::is_subset),
    op("$setUnion", 0, ANY, set::union),
    op("$concat", 0, ANY, text::concat),
    op("$indexOfBytes", 2, 4, text::index_of_bytes),
    op("$indexOfCP", 2, 4, text::index_of_points),
    op("$split", 2, 2, text::split),
    op("$strcasecmp", 2, 2, text::compare_folded),
    op("$strLenBytes", 1, 1, text::length_bytes),
    op("$strLenCP", 1, 1, text::length_points),
    op("$substr", 3, 3, text::substring_bytes),
    op("$substrBytes", 3, 3, text::substring_bytes),
    op("$substrCP", 3, 3, text::substring_points),
    op("$toLower", 1, 1, text::to_lower),
    op("$toUpper", 1, 1, text::to_upper),
    op("$isNumber", 1, 1, convert::is_number),
    op("$type", 1, 1, convert::type_of),
    op("$toBool", 1, 1, convert::to_bool),
    op("$toDate", 1, 1, convert::to_date),
    op("$toDecimal", 1, 1, convert::to_decimal),
    op("$toDouble", 1, 1, convert::to_double),
    op("$toInt", 1, 1, convert::to_int),
    op("$toLong", 1, 1, convert::to_long),
    op("$toObjectId", 1, 1, convert::to_object_id),
    op("$toString", 1, 1, convert::to_text),
    op("$toUUID", 1, 1, convert::to_uuid),
    op("$binarySize", 1, 1, convert::binary_size),
    op("$subtype", 1, 1, convert::subtype),
    op("$toHashedIndexKey", 1, 1, hash::to_hashed_index_key),
    op("$bsonSize", 1, 1, convert::bson_size),
    op("$tsSecond", 1, 1, date::timestamp_seconds),
    op("$tsIncrement", 1, 1, date::timestamp_increment),
    op("$sum", 0, ANY, statistics::sum),
    op("$avg", 0, ANY, statistics::avg),
    op("$min", 0, ANY, statistics::min),
    op("$max", 0, ANY, statistics::max),
    op("$stdDevPop", 0, ANY, statistics::deviation_of_population),
    op("$stdDevSamp", 0, ANY, statistics::deviation_of_sample),
    op("$first", 1, 1, array::first),
    op("$last", 1, 1, array::last),
];

const TRIM: &[(&str, Option<i32>)] = &[("input", Some(50695)), ("chars", None)];
const REPLACE: &[(&str, Option<i32>)] =
    &[("input", Some(51749)), ("find", Some(51748)), ("replacement", Some(51747))];
const REGEX: &[(&str, Option<i32>)] = &[("input", Some(31022)), ("regex", Some(31023)), ("options", None)];
const DATE_PART: &[(&str, Option<i32>)] = &[("date", Some(40539)), ("timezone", None)];
const SOME_OF: &[(&str, Option<i32>)] = &[("n", Some(5_787_906)), ("input", Some(5_787_907))];
const DATE_ARITHMETIC: &[(&str, Option<i32>)] = &[
    ("startDate", Some(5_166_402)),
    ("unit", Some(5_166_402)),
    ("amount", Some(5_166_402)),
    ("timezone", None),
];

static NAMED: &[Named] = &[
    named("$trim", TRIM, 50696, 50694, text::trim),
    named("$ltrim", TRIM, 50696, 50694, text::trim_start),
    named("$rtrim", TRIM, 50696, 50694, text::trim_end),
    named("$replaceOne", REPLACE, 51751, 51750, text::replace_one),
    named("$replaceAll", REPLACE, 51751, 51750, text::replace_all),
    named("$regexMatch", REGEX, 51103, 31024, text::regex_match),
    named("$regexFind", REGEX, 51103, 31024, text::regex_find),
    named("$regexFindAll", REGEX, 51103, 31024, text::regex_find_all),
    named(
        "$zip",
        &[("inputs", Some(34465)), ("useLongestLength", None), ("defaults", None)],
        34460,
        34464,
        array::zip,
    ),
    named("$firstN", SOME_OF, 5_787_801, 5_787_901, array::first_n),
    named("$lastN", SOME_OF, 5_787_801, 5_787_901, array::last_n),
    named("$minN", SOME_OF, 5_787_900, 5_787_901, statistics::min_n),
    named("$maxN", SOME_OF, 5_787_900, 5_787_901, statistics::max_n),
    one_or_named(
        "$getField",
        &[("field", Some(3_041_702)), ("input", None)],
        3_041_701,
        None,
        object::get_field,
    ),
    named(
        "$setField",
        &[("field", Some(4_161_102)), ("input", Some(4_161_109)), ("value", Some(4_161_103))],
        4_161_100,
        4_161_101,
        object::set_field,
    ),
    named(
        "$unsetField",
        &[("field", Some(4_161_102)), ("input", Some(4_161_109))],
        4_161_100,
        4_161_101,
        object::unset_field,
    ),
    named(
        "$convert",
        &[
            ("input", Some(9)),
            ("to", Some(9)),
            ("onError", None),
            ("onNull", None),
            ("format", None),
            ("byteOrder", None),
            ("base", None),
        ],
        9,
        9,
        convert::convert,
    ),
    one_or_named("$year", DATE_PART, 40535, Some(40536), date::year),
    one_or_named("$month", DATE_PART, 40535, Some(40536), date::month),
    one_or_named("$dayOfMonth", DATE_PART, 40535, Some(40536), date::day_of_month),
    one_or_named("$dayOfWeek", DATE_PART, 40535, Some(40536), date::day_of_week),
    one_or_named("$dayOfYear", DATE_PART, 40535, Some(40536), date::day_of_year),
    one_or_named("$hour", DATE_PART, 40535, Some(40536), date::hour),
    one_or_named("$minute", DATE_PART, 40535, Some(40536), date::minute),
    one_or_named("$second", DATE_PART, 40535, Some(40536), date::second),
    one_or_named("$millisecond", DATE_PART, 40535, Some(40536), date::millisecond),
    one_or_named("$week", DATE_PART, 40535, Some(40536), date::week),
    one_or_named("$isoWeek", DATE_PART, 40535, Some(40536), date::iso_week),
    one_or_named("$isoWeekYear", DATE_PART, 40535, Some(40536), date::iso_week_year),
    one_or_named("$isoDayOfWeek", DATE_PART, 40535, Some(40536), date::iso_day_of_week),
    named(
        "$dateToParts",
        &[("date", Some(40522)), ("timezone", None), ("iso8601", None)],
        40524,
        40520,
        date::to_parts,
    ),
    named(
        "$dateFromParts",
        &[
            ("year", None),
            ("month", None),
            ("day", None),
            ("hour", None),
            ("minute", None),
            ("second", None),
            ("millisecond", None),
            ("isoWeekYear", None),
            ("isoWeek", None),
            ("isoDayOfWeek", None),
            ("timezone", None),
        ],
        40519,
        40518,
        date::from_parts,
    ),
    named(
        "$dateToString",
        &[("date", Some(18628)), ("format", None), ("timezone", None), ("onNull", None)],
        18629,
        18534,
        date::to_text,
    ),
    named(
        "$dateFromString",
        &[
            ("dateString", Some(40542)),
            ("format", None),
            ("timezone", None),
            ("onError", None),
            ("onNull", None),
        ],
        40540,
        40541,
        date::from_text,
    ),
    named("$dateAdd", DATE_ARITHMETIC, 5_166_400, 5_166_401, date::add),
    named("$dateSubtract", DATE_ARITHMETIC, 5_166_400, 5_166_401, date::subtract),
    named(
        "$dateDiff",
        &[
            ("startDate", Some(5_166_303)),
            ("endDate", Some(5_166_304)),
            ("unit", Some(5_166_305)),
            ("timezone", None),
            ("startOfWeek", None),
        ],
        5_166_301,
        5_166_302,
        date::difference,
    ),
    named(
        "$dateTrunc",
        &[
            ("date", Some(5_439_009)),
            ("unit", Some(5_439_010)),
            ("binSize", None),
            ("timezone", None),
            ("startOfWeek", None),
        ],
        5_439_007,
        5_439_008,
        date::truncate,
    ),
];
