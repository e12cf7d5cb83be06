//! Numbers of bytes as people write them.

use std::str::FromStr;

/// A number of bytes: `1024`, `64KiB`, `512MiB`, `2GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let factor = match unit.trim_start() {
            "" | "B" => Some(1_u64),
            "KiB" => Some(1 << 10),
            "MiB" => Some(1 << 20),
            "GiB" => Some(1 << 30),
            _ => None,
        };
        let bytes =
            number.parse::<u64>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
        bytes
            .map(Self)
            .ok_or_else(|| "a size is a number of bytes, or of KiB, MiB or GiB, as in 256MiB".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units_and_nothing_else_is() {
        let sizes = [
            ("0", 0),
            ("1000", 1_000),
            ("7B", 7),
            ("64KiB", 65_536),
            ("256 MiB", 1 << 28),
            ("2GiB", 2 << 30),
        ];
        for (text, bytes) in sizes {
            assert_eq!(text.parse(), Ok(Size(bytes)));
        }
        for wrong in ["", "MiB", "-1", "1.5GiB", "1MB", "1 k", "99999999999GiB", "18446744073709551616"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
    }
}
