use bson::{RawBson, rawbson};
use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    order::compare,
    testing::{any_number, any_value, decimal},
};

const DIRECTIONS: [Direction; 2] = [Direction::Ascending, Direction::Descending];

fn encode(value: &RawBson, direction: Direction) -> (Vec<u8>, Vec<u8>) {
    let (mut key, mut types) = (Vec::new(), Vec::new());
    encode_value(value.as_raw_bson_ref(), direction, &mut key, &mut types);
    (key, types)
}

/// The bytes of a value in a document, by which two values are one and the same.
fn exact(value: &RawBson) -> Vec<u8> {
    bson::rawdoc! { "": value.clone() }.into_bytes()
}

fn check_pair(a: &RawBson, b: &RawBson) -> Result<(), TestCaseError> {
    let order = compare(a.as_raw_bson_ref(), b.as_raw_bson_ref());
    for direction in DIRECTIONS {
        let (a_key, b_key) = (encode(a, direction).0, encode(b, direction).0);
        let expected = if direction == Direction::Ascending { order } else { order.reverse() };
        prop_assert_eq!(
            a_key.cmp(&b_key),
            expected,
            "{:?} against {:?}: {:02x?} {:02x?}",
            a,
            b,
            a_key,
            b_key
        );
        prop_assert!(order.is_eq() || !a_key.starts_with(&b_key) && !b_key.starts_with(&a_key));
    }
    Ok(())
}

fn check_round_trip(values: &[RawBson]) -> Result<(), TestCaseError> {
    for direction in DIRECTIONS {
        let (mut key, mut types) = (Vec::new(), Vec::new());
        for value in values {
            encode_value(value.as_raw_bson_ref(), direction, &mut key, &mut types);
        }
        for trim in [false, true] {
            if trim {
                trim_types(&mut types);
            }
            let (mut key, mut types, mut skipped) = (key.as_slice(), types.as_slice(), key.as_slice());
            for value in values {
                let decoded = decode_value(&mut key, &mut types, direction).unwrap();
                prop_assert_eq!(exact(&decoded), exact(value), "{:?} became {:?}", value, decoded);
                skip_value(&mut skipped, direction).unwrap();
                prop_assert_eq!(skipped, key);
            }
            prop_assert!(key.is_empty() && types.is_empty());
        }
    }
    Ok(())
}

#[test]
fn common_values_need_no_types() {
    let values = [
        rawbson!(7),
        rawbson!(1.5),
        rawbson!(1e300),
        rawbson!("text"),
        rawbson!(null),
        rawbson!(true),
        rawbson!({"a": [1, "b"]}),
        rawbson!(i64::MAX),
        RawBson::Decimal128(decimal("0.1")),
    ];
    for value in values {
        let (_, mut types) = encode(&value, Direction::Ascending);
        trim_types(&mut types);
        assert!(types.is_empty(), "{value:?} needs {types:?}");
    }
}

#[test]
fn a_missing_field_has_the_key_of_null_and_is_told_apart() {
    for direction in DIRECTIONS {
        let (mut key, mut types) = (Vec::new(), Vec::new());
        encode_missing(direction, &mut key, &mut types);
        assert_eq!(key, encode(&RawBson::Null, direction).0);
        let decoded = decode_field(&mut key.as_slice(), &mut types.as_slice(), direction);
        assert_eq!(decoded, Ok(None));
        let decoded = decode_field(&mut key.as_slice(), &mut [].as_slice(), direction);
        assert_eq!(decoded, Ok(Some(RawBson::Null)));
    }
}

#[test]
fn every_number_that_two_types_share_has_one_key() {
    let classes = [
        vec![rawbson!(0), rawbson!(-0.0), RawBson::Decimal128(decimal("-0E-5"))],
        vec![rawbson!(12), rawbson!(12_i64), rawbson!(12.0), RawBson::Decimal128(decimal("12.00"))],
        vec![rawbson!((1_i64 << 53) + 1), RawBson::Decimal128(decimal("9007199254740993.0"))],
        vec![rawbson!(f64::NAN), rawbson!(-f64::NAN), RawBson::Decimal128(decimal("NaN"))],
    ];
    for class in classes {
        let keys: Vec<_> = class.iter().map(|value| encode(value, Direction::Ascending).0).collect();
        assert!(keys.windows(2).all(|pair| pair[0] == pair[1]), "{keys:02x?}");
    }
}

#[test]
fn the_end_of_a_prefix_is_the_next_string() {
    assert_eq!(prefix_end(&[1, 2]), Some(vec![1, 3]));
    assert_eq!(prefix_end(&[1, 0xff, 0xff]), Some(vec![2]));
    assert_eq!(prefix_end(&[0xff]), None);
    assert_eq!(prefix_end(&[]), None);
}

#[test]
fn deep_keys_are_refused_without_recursion_beyond_the_limit() {
    let key = vec![Bracket::Array as u8; 100_000];
    assert_eq!(
        decode_value(&mut key.as_slice(), &mut [].as_slice(), Direction::Ascending).unwrap_err().0,
        "it nests too deeply"
    );
    assert!(skip_value(&mut key.as_slice(), Direction::Ascending).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn keys_order_as_values(a in any_value(), b in any_value()) {
        check_pair(&a, &b)?;
    }

    #[test]
    fn keys_order_as_numbers(a in any_number(), b in any_number()) {
        check_pair(&a, &b)?;
    }

    #[test]
    fn keys_order_as_neighbouring_numbers(a in any_number(), step in -2..3_i64) {
        let b = match &a {
            RawBson::Double(value) if step < 0 => rawbson!(value.next_down()),
            RawBson::Double(value) => rawbson!(value.next_up()),
            RawBson::Int64(value) => rawbson!(value.saturating_add(step)),
            RawBson::Decimal128(value) => rawbson!(crate::Decimal::from_bson(*value).to_f64()),
            _ => return Ok(()),
        };
        check_pair(&a, &b)?;
    }

    #[test]
    fn decoding_gives_back_the_exact_values(values in vec(any_value(), 1..4)) {
        check_round_trip(&values)?;
    }

    #[test]
    fn decoding_gives_back_the_exact_numbers(values in vec(any_number(), 1..4)) {
        check_round_trip(&values)?;
    }

    #[test]
    fn string_prefixes_cover_exactly_their_strings(text in crate::testing::any_text(), prefix in "[\u{0}\u{1}\u{2}a]{0,2}") {
        for direction in DIRECTIONS {
            let mut start = Vec::new();
            encode_string_prefix(&prefix, direction, &mut start);
            let key = encode(&RawBson::String(text.clone()), direction).0;
            prop_assert_eq!(key.starts_with(&start), text.starts_with(&prefix));
        }
    }

    #[test]
    fn joined_types_come_apart(types in vec(any::<u8>(), 0..8), id_types in vec(any::<u8>(), 0..8)) {
        let joined = join_types(&types, &id_types);
        prop_assert_eq!(split_types(&joined), Ok((types.as_slice(), id_types.as_slice())));
        let _ = split_types(&types);
    }

    #[test]
    fn arbitrary_bytes_never_panic(key in vec(any::<u8>(), 0..64), types in vec(any::<u8>(), 0..16)) {
        for direction in DIRECTIONS {
            let mut rest = key.as_slice();
            let decoded = decode_value(&mut rest, &mut types.as_slice(), direction);
            let mut skipped = key.as_slice();
            if decoded.is_ok() {
                prop_assert!(skip_value(&mut skipped, direction).is_ok());
                prop_assert_eq!(skipped, rest);
            }
        }
    }

    #[test]
    fn changed_keys_never_panic(value in any_value(), place in any::<prop::sample::Index>(), byte: u8, types in vec(any::<u8>(), 0..16)) {
        let (mut key, _) = encode(&value, Direction::Ascending);
        let place = place.index(key.len());
        key[place] = byte;
        let _ = decode_value(&mut key.as_slice(), &mut types.as_slice(), Direction::Ascending);
    }
}
