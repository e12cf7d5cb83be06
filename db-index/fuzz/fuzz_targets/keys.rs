//! Two documents: the keys of their fields order as the values do, and decode to what they were.
#![no_main]

use bson::{RawBson, RawBsonRef};
use db_index::{Direction, compare, decode_value, encode_value};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(lines) = db_index_fuzz::documents(data) else { return };
    let values: Vec<RawBson> = lines
        .iter()
        .flat_map(|document| document.iter().filter_map(|field| field.ok()))
        .map(|(_, value)| RawBson::from(value))
        .take(8)
        .collect();
    for a in &values {
        for b in &values {
            check(a.as_raw_bson_ref(), b.as_raw_bson_ref());
        }
    }
    // Keys from a damaged file are refused, not believed.
    for direction in [Direction::Ascending, Direction::Descending] {
        let _ = decode_value(&mut &data[..], &mut &[][..], direction);
    }
});

fn check(a: RawBsonRef<'_>, b: RawBsonRef<'_>) {
    for direction in [Direction::Ascending, Direction::Descending] {
        let (mut key, mut types, mut other, mut other_types) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        encode_value(a, direction, &mut key, &mut types);
        encode_value(b, direction, &mut other, &mut other_types);
        let expected = match direction {
            Direction::Ascending => compare(a, b),
            Direction::Descending => compare(b, a),
        };
        assert_eq!(key.cmp(&other), expected, "the keys of {a:?} and {b:?} order otherwise");
        let decoded = decode_value(&mut &key[..], &mut &types[..], direction).expect("a key");
        assert!(compare(decoded.as_raw_bson_ref(), a).is_eq(), "{a:?} came back as {decoded:?}");
    }
}
