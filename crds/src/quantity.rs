//! Amounts of cpu, memory and storage, as Kubernetes writes them.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};

/// A non-negative Kubernetes quantity: `500m`, `2`, `128Mi`. A bare integer is accepted too.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Quantity(String);

pub(crate) const PATTERN: &str = "^[0-9]+(\\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$";

impl Quantity {
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The amount in units of one (bytes of memory, cores), rounded up. None where the text is no
    /// quantity or the number is beyond any machine.
    #[must_use]
    pub fn units(&self) -> Option<u64> {
        let digits = self.0.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let (multiplier, divisor): (u128, u128) = match &self.0[digits.len()..] {
            "m" => (1, 1000),
            "" => (1, 1),
            "k" => (1000, 1),
            "M" => (1000_u128.pow(2), 1),
            "G" => (1000_u128.pow(3), 1),
            "T" => (1000_u128.pow(4), 1),
            "P" => (1000_u128.pow(5), 1),
            "Ki" => (1 << 10, 1),
            "Mi" => (1 << 20, 1),
            "Gi" => (1 << 30, 1),
            "Ti" => (1 << 40, 1),
            "Pi" => (1 << 50, 1),
            _ => return None,
        };
        let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
        let places = u32::try_from(part.len()).ok()?;
        let divisor = divisor.checked_mul(10_u128.checked_pow(places)?)?;
        let number: u128 = format!("{whole}{part}").parse().ok()?;
        u64::try_from(number.checked_mul(multiplier)?.div_ceil(divisor)).ok()
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Quantity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity such as 500m, 2 or 128Mi")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Quantity, E> {
                Ok(Quantity(text.to_owned()))
            }

            fn visit_u64<E: de::Error>(self, amount: u64) -> Result<Quantity, E> {
                Ok(Quantity(amount.to_string()))
            }

            fn visit_i64<E: de::Error>(self, amount: i64) -> Result<Quantity, E> {
                Ok(Quantity(amount.to_string()))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Quantity {
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "maxLength": 20,
            "pattern": PATTERN,
            "minimum": 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_told_in_units_of_one_rounded_up() {
        for (text, units) in [
            ("0", Some(0)),
            ("2", Some(2)),
            ("1500m", Some(2)),
            ("1.5Ki", Some(1536)),
            ("256Mi", Some(268_435_456)),
            ("1G", Some(1_000_000_000)),
            ("16Pi", Some(18_014_398_509_481_984)),
            ("99999999999999999P", None),
            ("1e3", None),
            ("Mi", None),
        ] {
            assert_eq!(Quantity::new(text).units(), units, "{text}");
        }
    }
}
