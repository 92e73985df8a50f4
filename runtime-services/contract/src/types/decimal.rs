//! Exact decimal numbers, as text.

use std::{cmp::Ordering, fmt};

/// Digits before the point.
const WHOLE_MAX: usize = 20;
/// Digits after the point.
const FRACTION_MAX: usize = 10;

/// A decimal number in its shortest form: no leading zeros, no trailing ones after the point, no
/// `-0`. At most 20 digits before and 10 after the point: it fits `numeric(30,10)`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Decimal {
    /// The value times 10^10.
    scaled: i128,
}

impl Decimal {
    /// Reads `-12.50`. No exponent, no plus sign, no empty part on either side of the point.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = match digits.split_once('.') {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (digits, ""),
        };
        let are_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty()
            || whole.len() > WHOLE_MAX
            || fraction.len() > FRACTION_MAX
            || !are_digits(whole)
            || !are_digits(fraction)
        {
            return None;
        }
        // At most 30 digits: an i128 holds 38.
        let scaled: i128 = format!("{whole}{fraction:0<FRACTION_MAX$}").parse().ok()?;
        Some(Self {
            scaled: if negative { -scaled } else { scaled },
        })
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SCALE: u128 = 10_u128.pow(10);
        let sign = if self.scaled < 0 { "-" } else { "" };
        let magnitude = self.scaled.unsigned_abs();
        let (whole, fraction) = (magnitude / SCALE, magnitude % SCALE);
        if fraction == 0 {
            return write!(f, "{sign}{whole}");
        }
        let fraction = format!("{fraction:0>FRACTION_MAX$}");
        write!(f, "{sign}{whole}.{}", fraction.trim_end_matches('0'))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        self.scaled.cmp(&other.scaled)
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_has_one_shortest_form() {
        for (text, shortest) in [
            ("0", "0"),
            ("-0.00", "0"),
            ("007.50", "7.5"),
            ("-12.0000000001", "-12.0000000001"),
            (
                "99999999999999999999.9999999999",
                "99999999999999999999.9999999999",
            ),
        ] {
            assert_eq!(Decimal::parse(text).unwrap().to_string(), shortest);
        }
    }

    #[test]
    fn what_is_no_plain_decimal_is_refused() {
        for text in [
            "",
            "-",
            ".5",
            "5.",
            "+1",
            "1e3",
            "1,5",
            " 1",
            "1.00000000001",
            "٣",
            "100000000000000000000",
        ] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }

    #[test]
    fn decimals_are_ordered_by_value_not_by_text() {
        let parsed = |text| Decimal::parse(text).unwrap();
        assert!(parsed("9.5") < parsed("10"));
        assert!(parsed("-10") < parsed("-9.5"));
    }
}
