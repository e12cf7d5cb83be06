//! Generators of BSON for property tests: values of every type, with the numbers that are hard to compare.

use bson::{
    Binary, DateTime, Decimal128, RawArrayBuf, RawBson, RawDocumentBuf, RawJavaScriptCodeWithScope, Regex,
    Timestamp, oid::ObjectId, raw::CString, spec::BinarySubtype,
};
use proptest::{collection::vec, prelude::*, sample::select};

/// Any value, nested up to three levels.
pub(crate) fn any_value() -> impl Strategy<Value = RawBson> {
    any_scalar().prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|values| RawBson::Array(array_of(values))),
            fields(inner.clone()).prop_map(|fields| RawBson::Document(document_of(fields))),
            (any_text(), fields(inner)).prop_map(|(code, scope)| {
                RawBson::JavaScriptCodeWithScope(RawJavaScriptCodeWithScope {
                    code,
                    scope: document_of(scope),
                })
            }),
        ]
    })
}

/// Any document with distinct keys, nested up to three levels.
pub(crate) fn any_document() -> impl Strategy<Value = RawDocumentBuf> {
    fields(any_value()).prop_map(document_of)
}

/// Values that collide and nest often: what documents, filters and indexes are tried on together.
pub(crate) fn small_value() -> impl Strategy<Value = RawBson> {
    let scalar = prop_oneof![
        4 => (0..5_i32).prop_map(RawBson::Int32),
        1 => (0..5_i64).prop_map(RawBson::Int64),
        1 => select(vec![0.0, -0.0, 0.5, 2.0, f64::NAN, f64::INFINITY]).prop_map(RawBson::Double),
        1 => select(vec!["2", "2.00", "0.5", "NaN"]).prop_map(|text| RawBson::Decimal128(decimal(text))),
        2 => select(vec!["", "a", "b", "ab"]).prop_map(|text| RawBson::String(text.to_owned())),
        2 => Just(RawBson::Null),
        1 => any::<bool>().prop_map(RawBson::Boolean),
        1 => Just(RawBson::MinKey),
        1 => Just(RawBson::MaxKey),
        1 => (0..3_i64).prop_map(|millis| RawBson::DateTime(DateTime::from_millis(millis))),
    ];
    scalar.prop_recursive(2, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|values| RawBson::Array(array_of(values))),
            small_fields(inner).prop_map(|fields| RawBson::Document(document_of(fields))),
        ]
    })
}

/// Documents of few field names and few values: `a`, `b`, `c`, `0`, `1`, nested.
pub(crate) fn small_document() -> impl Strategy<Value = RawDocumentBuf> {
    small_fields(small_value()).prop_map(document_of)
}

/// A number of any type, leaning to those that differ in type, sign of zero or last digit only.
pub(crate) fn any_number() -> impl Strategy<Value = RawBson> {
    let near = select(vec![
        0_i64,
        1,
        2,
        10,
        100,
        1 << 31,
        (1 << 31) - 1,
        1 << 53,
        (1 << 53) + 1,
        (1 << 53) - 1,
        i64::MAX,
        i64::MAX - 1,
        1 << 62,
    ]);
    let near = (near, any::<bool>()).prop_map(|(value, negative)| if negative { -value } else { value });
    let doubles = select(vec![
        0.0,
        -0.0,
        0.1,
        -0.1,
        0.5,
        f64::NAN,
        -f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MIN_POSITIVE,
        5e-324,
        -5e-324,
        f64::MAX,
        f64::MIN,
        9_007_199_254_740_992.0,
        9_223_372_036_854_775_807.0,
        f64::from_bits(0x7ff0_0000_0000_0001),
    ]);
    prop_oneof![
        any::<i32>().prop_map(RawBson::Int32),
        (-3..4_i32).prop_map(RawBson::Int32),
        any::<i64>().prop_map(RawBson::Int64),
        near.clone().prop_map(RawBson::Int64),
        near.clone().prop_map(|value| RawBson::Double(value as f64)),
        near.prop_map(|value| RawBson::Decimal128(decimal(&value.to_string()))),
        (-3..4_i64).prop_map(RawBson::Int64),
        any::<f64>().prop_map(RawBson::Double),
        (-20..20_i32, -4..4_i32).prop_map(|(m, e)| RawBson::Double(f64::from(m) * 2_f64.powi(e))),
        doubles.prop_map(RawBson::Double),
        any_decimal().prop_map(RawBson::Decimal128),
    ]
}

/// A decimal: small ones of many exponents, long ones, special ones, and arbitrary bits.
pub(crate) fn any_decimal() -> impl Strategy<Value = Decimal128> {
    let special = select(vec![
        "NaN",
        "sNaN",
        "Infinity",
        "-Infinity",
        "0",
        "-0",
        "0E+10",
        "0E-6176",
        "-0E+6111",
        "1",
        "1.0",
        "1.00",
        "0.1",
        "0.10",
        "0.5",
        "1E-6176",
        "9999999999999999999999999999999999E+6111",
        "-1E+6144",
        "9007199254740993",
        "1E+308",
        "1.7976931348623157E+308",
        "1E-400",
    ]);
    prop_oneof![
        2 => (-200..200_i32, -5..5_i32).prop_map(|(c, e)| decimal(&format!("{c}E{e}"))),
        2 => (any::<i64>(), -30..30_i32).prop_map(|(c, e)| decimal(&format!("{c}E{e}"))),
        1 => (0..10_u128.pow(34), -6176..6112_i32, any::<bool>())
            .prop_map(|(c, e, minus)| decimal(&format!("{}{c}E{e}", if minus { "-" } else { "" }))),
        1 => any::<f64>().prop_filter_map("finite", |value| format!("{value:.17e}").parse().ok()),
        2 => special.prop_map(decimal),
        1 => any::<[u8; 16]>().prop_map(Decimal128::from_bytes),
    ]
}

/// A value that holds no other.
pub(crate) fn any_scalar() -> impl Strategy<Value = RawBson> {
    let pattern = || "[a-c\u{1}]{0,3}".prop_map(|text| CString::try_from(text).unwrap());
    prop_oneof![
        6 => any_number(),
        4 => any_text().prop_map(RawBson::String),
        1 => any_text().prop_map(RawBson::Symbol),
        1 => any_text().prop_map(RawBson::JavaScriptCode),
        1 => Just(RawBson::Null),
        1 => Just(RawBson::Undefined),
        1 => Just(RawBson::MinKey),
        1 => Just(RawBson::MaxKey),
        1 => any::<bool>().prop_map(RawBson::Boolean),
        1 => any::<[u8; 12]>().prop_map(|bytes| RawBson::ObjectId(ObjectId::from_bytes(bytes))),
        1 => prop_oneof![any::<i64>(), -2..3_i64].prop_map(|millis| RawBson::DateTime(DateTime::from_millis(millis))),
        1 => (0..3_u32, any::<u32>()).prop_map(|(time, increment)| RawBson::Timestamp(Timestamp { time, increment })),
        1 => (select(vec![0_u8, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 128, 255]), vec(any::<u8>(), 0..6)).prop_map(
            |(subtype, bytes)| RawBson::Binary(Binary { subtype: BinarySubtype::from(subtype), bytes })
        ),
        1 => (pattern(), pattern()).prop_map(|(pattern, options)| RawBson::RegularExpression(Regex { pattern, options })),
        1 => (any_text(), any::<[u8; 12]>()).prop_map(|(namespace, id)| db_pointer(&namespace, id)),
    ]
}

/// Text with the bytes that an ordered encoding must escape.
pub(crate) fn any_text() -> impl Strategy<Value = String> {
    prop_oneof!["[\u{0}\u{1}\u{2}aé]{0,4}", "[a-z]{0,8}", ".{0,5}"]
}

/// A decimal from its text.
pub(crate) fn decimal(text: &str) -> Decimal128 {
    text.parse().unwrap()
}

/// A document of these fields, in this order.
pub(crate) fn document_of(fields: Vec<(String, RawBson)>) -> RawDocumentBuf {
    let mut document = RawDocumentBuf::new();
    for (key, value) in fields {
        document.append(CString::try_from(key).unwrap(), value);
    }
    document
}

/// An array of these values.
pub(crate) fn array_of(values: Vec<RawBson>) -> RawArrayBuf {
    let mut array = RawArrayBuf::new();
    for value in values {
        array.push(value);
    }
    array
}

/// A database pointer, which `bson` builds from bytes only.
pub(crate) fn db_pointer(namespace: &str, id: [u8; 12]) -> RawBson {
    let mut bytes = vec![0, 0, 0, 0, 0x0c, 0];
    bytes.extend((namespace.len() as i32 + 1).to_le_bytes());
    bytes.extend(namespace.as_bytes());
    bytes.push(0);
    bytes.extend(id);
    bytes.push(0);
    let length = (bytes.len() as i32).to_le_bytes();
    bytes[..4].copy_from_slice(&length);
    RawDocumentBuf::from_bytes(bytes).unwrap().get("").unwrap().unwrap().into()
}

fn fields(value: impl Strategy<Value = RawBson>) -> impl Strategy<Value = Vec<(String, RawBson)>> {
    let key = prop_oneof!["[a-c]{0,2}", "[a-zé\u{1}]{0,4}"];
    vec((key, value), 0..4).prop_map(distinct)
}

fn small_fields(value: impl Strategy<Value = RawBson>) -> impl Strategy<Value = Vec<(String, RawBson)>> {
    let key = select(vec!["a", "b", "c", "0", "1"]).prop_map(str::to_owned);
    vec((key, value), 0..4).prop_map(distinct)
}

fn distinct(mut fields: Vec<(String, RawBson)>) -> Vec<(String, RawBson)> {
    let mut seen = std::collections::BTreeSet::new();
    fields.retain(|(key, _)| seen.insert(key.clone()));
    fields
}
