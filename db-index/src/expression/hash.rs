//! `$toHashedIndexKey`: MongoDB's hash of a value, the first half of an MD5 (RFC 1321) over its type and bytes.

use bson::RawBsonRef;
use bson::raw::{RawDocument, RawDocumentBuf};

use super::node::Scope;
use super::value::Value;
use crate::error::QueryError;
use crate::number::Number;
use crate::order::{self, Bracket};
use crate::raw::{Element, Elements};

/// The hash as a long; missing is as null.
pub(super) fn to_hashed_index_key<'a>(
    scope: &mut Scope<'a>,
    arguments: &[Value<'a>],
) -> Result<Value<'a>, QueryError> {
    let value = arguments.first().map(Value::to_raw_bson).transpose()?.flatten();
    let mut wrapped = RawDocumentBuf::new();
    wrapped.append(bson::raw::cstr!(""), value.unwrap_or(bson::RawBson::Null));
    scope.step(wrapped.as_bytes().len() / 16)?;
    let mut bytes = vec![0; 4]; // the seed
    if let Some(element) = Elements::of_document(&wrapped).next().transpose()? {
        append(&element, None, &mut bytes)?;
    }
    let digest = md5(&bytes);
    Ok(Value::long(digest.first_chunk().map_or(0, |half| i64::from_le_bytes(*half))))
}

/// Appends what is hashed of an element. The recursion is as deep as the value.
fn append(element: &Element<'_>, name: Option<&str>, bytes: &mut Vec<u8>) -> Result<(), QueryError> {
    let value = element.value()?;
    bytes.extend(canonical_type(value).to_le_bytes());
    if let Some(name) = name {
        bytes.extend(name.as_bytes());
        bytes.push(0);
    }
    match value {
        RawBsonRef::Document(document) => append_all(document, bytes),
        RawBsonRef::Array(array) => {
            for element in Elements::of_array(array) {
                let element = element?;
                append(&element, Some(element.key), bytes)?;
            }
            bytes.extend([0; 4]);
            Ok(())
        }
        RawBsonRef::JavaScriptCodeWithScope(code) => {
            bytes.extend(code.code.as_bytes());
            bytes.push(0);
            append_all(code.scope, bytes)
        }
        value => {
            match Number::from_raw(value) {
                Some(number) => bytes.extend(whole(number).to_le_bytes()),
                None => bytes.extend(element.item().bytes),
            }
            Ok(())
        }
    }
}

/// The fields, and the type of the end.
fn append_all(document: &RawDocument, bytes: &mut Vec<u8>) -> Result<(), QueryError> {
    for element in Elements::of_document(document) {
        let element = element?;
        append(&element, Some(element.key), bytes)?;
    }
    bytes.extend([0; 4]);
    Ok(())
}

/// Truncated, and within the range of a long.
fn whole(number: Number) -> i64 {
    match number.truncated_to_i64() {
        Some(whole) => whole,
        None if number.is_nan() => 0,
        None if number.to_f64() < 0.0 => i64::MIN,
        None => i64::MAX,
    }
}

fn canonical_type(value: RawBsonRef<'_>) -> i32 {
    match order::bracket(value) {
        Bracket::MinKey => -1,
        Bracket::Undefined => 0,
        Bracket::Null => 5,
        Bracket::Number => 10,
        Bracket::String => 15,
        Bracket::Object => 20,
        Bracket::Array => 25,
        Bracket::Binary => 30,
        Bracket::ObjectId => 35,
        Bracket::Boolean => 40,
        Bracket::DateTime => 45,
        Bracket::Timestamp => 47,
        Bracket::Regex => 50,
        Bracket::DbPointer => 55,
        Bracket::Code => 60,
        Bracket::CodeWithScope => 65,
        Bracket::MaxKey => 127,
    }
}

/// MD5 as RFC 1321 describes it. It protects nothing here: the hash is MongoDB's.
fn md5(message: &[u8]) -> [u8; 16] {
    const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
    let mut padded = message.to_vec();
    padded.push(0x80);
    // The length fills the last eight bytes of a block.
    padded.resize((padded.len() + 8).next_multiple_of(64) - 8, 0);
    padded.extend((message.len() as u64).wrapping_mul(8).to_le_bytes());
    let mut state: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    for block in padded.chunks_exact(64) {
        let words: Vec<u32> = block
            .chunks_exact(4)
            .filter_map(|word| word.first_chunk().map(|word| u32::from_le_bytes(*word)))
            .collect();
        let [mut a, mut b, mut c, mut d] = state;
        for step in 0..64_usize {
            let (mixed, place) = match step / 16 {
                0 => ((b & c) | (!b & d), step),
                1 => ((d & b) | (!d & c), 5 * step + 1),
                2 => (b ^ c ^ d, 3 * step + 5),
                _ => (c ^ (b | !d), 7 * step),
            };
            // The constants of the standard: the sine of the step, by its definition, in 32 bits.
            let constant = CONSTANTS.get(step).copied().unwrap_or(0);
            let word = words.get(place % 16).copied().unwrap_or(0);
            let sum = a.wrapping_add(mixed).wrapping_add(constant).wrapping_add(word);
            let shift = SHIFTS.get(step / 16).and_then(|round| round.get(step % 4)).copied().unwrap_or(0);
            (a, d, c, b) = (d, c, b, b.wrapping_add(sum.rotate_left(shift)));
        }
        for (whole, part) in state.iter_mut().zip([a, b, c, d]) {
            *whole = whole.wrapping_add(part);
        }
    }
    let mut digest = [0; 16];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    digest
}

/// The sines of 1 to 64, each as the first 32 bits behind the point.
const CONSTANTS: [u32; 64] = [
    0xd76a_a478,
    0xe8c7_b756,
    0x2420_70db,
    0xc1bd_ceee,
    0xf57c_0faf,
    0x4787_c62a,
    0xa830_4613,
    0xfd46_9501,
    0x6980_98d8,
    0x8b44_f7af,
    0xffff_5bb1,
    0x895c_d7be,
    0x6b90_1122,
    0xfd98_7193,
    0xa679_438e,
    0x49b4_0821,
    0xf61e_2562,
    0xc040_b340,
    0x265e_5a51,
    0xe9b6_c7aa,
    0xd62f_105d,
    0x0244_1453,
    0xd8a1_e681,
    0xe7d3_fbc8,
    0x21e1_cde6,
    0xc337_07d6,
    0xf4d5_0d87,
    0x455a_14ed,
    0xa9e3_e905,
    0xfcef_a3f8,
    0x676f_02d9,
    0x8d2a_4c8a,
    0xfffa_3942,
    0x8771_f681,
    0x6d9d_6122,
    0xfde5_380c,
    0xa4be_ea44,
    0x4bde_cfa9,
    0xf6bb_4b60,
    0xbebf_bc70,
    0x289b_7ec6,
    0xeaa1_27fa,
    0xd4ef_3085,
    0x0488_1d05,
    0xd9d4_d039,
    0xe6db_99e5,
    0x1fa2_7cf8,
    0xc4ac_5665,
    0xf429_2244,
    0x432a_ff97,
    0xab94_23a7,
    0xfc93_a039,
    0x655b_59c3,
    0x8f0c_cc92,
    0xffef_f47d,
    0x8584_5dd1,
    0x6fa8_7e4f,
    0xfe2c_e6e0,
    0xa301_4314,
    0x4e08_11a1,
    0xf753_7e82,
    0xbd3a_f235,
    0x2ad7_d2bb,
    0xeb86_d391,
];

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::md5;

    #[test]
    fn digests_are_those_of_the_standard() {
        assert_eq!(HEXLOWER.encode(&md5(b"")), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(HEXLOWER.encode(&md5(b"abc")), "900150983cd24fb0d6963f7d28e17f72");
        let long = b"12345678901234567890123456789012345678901234567890123456789012345678901234567890";
        assert_eq!(HEXLOWER.encode(&md5(long)), "57edf4a22be3c955ac49da2e2107b67a");
        for length in 54..=66 {
            assert_eq!(md5(&vec![b'a'; length]).len(), 16);
        }
    }
}
