//! Durations as Gateway API writes them (GEP-2257): `1h30m`, `20s`, `500ms`.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A duration of whole milliseconds, at most 99999h.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration {
    millis: u64,
}

/// Each unit at most once and in any order, up to five digits: GEP-2257.
pub(crate) const PATTERN: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";

/// Text that is not a GEP-2257 duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid duration '{0}': must be one to four of h, m, s, ms with up to five digits each, such as 1h30m or 500ms"
)]
pub struct InvalidDuration(String);

impl Duration {
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self {
            millis: secs * 1000,
        }
    }

    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self { millis }
    }

    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.millis
    }
}

impl FromStr for Duration {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidDuration(text.chars().take(64).collect());
        let mut millis = 0;
        let mut rest = text;
        let mut parts = 0;
        while !rest.is_empty() {
            let digits = rest
                .find(|c: char| !c.is_ascii_digit())
                .ok_or_else(invalid)?;
            let amount: u64 = rest[..digits].parse().map_err(|_| invalid())?;
            let unit = &rest[digits..];
            let (scale, length) = if unit.starts_with("ms") {
                (1, 2)
            } else if unit.starts_with('s') {
                (1000, 1)
            } else if unit.starts_with('m') {
                (60_000, 1)
            } else if unit.starts_with('h') {
                (3_600_000, 1)
            } else {
                return Err(invalid());
            };
            parts += 1;
            if digits == 0 || digits > 5 || parts > 4 {
                return Err(invalid());
            }
            millis += amount * scale;
            rest = &unit[length..];
        }
        if parts == 0 {
            Err(invalid())
        } else {
            Ok(Self { millis })
        }
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.millis == 0 {
            return f.write_str("0s");
        }
        let units = [
            (self.millis / 3_600_000, "h"),
            (self.millis / 60_000 % 60, "m"),
            (self.millis / 1000 % 60, "s"),
            (self.millis % 1000, "ms"),
        ];
        for (amount, unit) in units.into_iter().filter(|(amount, _)| *amount > 0) {
            write!(f, "{amount}{unit}")?;
        }
        Ok(())
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "maxLength": 32, "pattern": PATTERN})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_gateway_api_writes_them() {
        for (text, millis) in [
            ("20s", 20_000),
            ("1h30m", 5_400_000),
            ("500ms", 500),
            ("0s", 0),
            ("1m1ms", 60_001),
        ] {
            let parsed: Duration = text.parse().unwrap();
            assert_eq!(parsed.as_millis(), millis, "{text}");
            assert_eq!(parsed.to_string(), text);
        }
    }

    #[test]
    fn anything_else_is_refused_with_the_allowed_form() {
        for text in [
            "",
            "5",
            "s",
            "1d",
            "-1s",
            "1.5s",
            "100000s",
            "1s2s3s4s5s",
            "1 s",
        ] {
            let error = text.parse::<Duration>().unwrap_err().to_string();
            assert!(error.contains("such as 1h30m"), "{text}: {error}");
        }
    }
}
