//! Bounds of durations and quantities, which a definition can only say in CEL.

use regex::Regex;

use crate::{Duration, schema::Rule};

/// The values at both bounds, and one beyond each.
pub(super) struct Range {
    pub(super) min: String,
    pub(super) max: String,
    /// `None` below nothing.
    pub(super) below: Option<String>,
    pub(super) above: String,
}

/// The range that the rules of a field ask for, if they do.
pub(super) fn of(rules: &[Rule]) -> Option<Range> {
    let quoted = Regex::new("'([^']+)'").expect("valid pattern");
    let rule = rules.iter().find(|rule| {
        rule.rule.starts_with("duration(self) >= ")
            || rule.rule.starts_with("quantity(string(self)).compareTo(")
    })?;
    let mut bounds = quoted
        .captures_iter(&rule.rule)
        .map(|found| found[1].to_owned());
    let (min, max) = (bounds.next()?, bounds.next()?);
    let (below, above) = if rule.rule.starts_with("duration") {
        let millis = |text: &str| text.parse::<Duration>().expect("a duration").as_millis();
        let text = |millis| Duration::from_millis(millis).to_string();
        let below = millis(&min).checked_sub(1);
        (below.map(text), text(millis(&max) + 1))
    } else {
        let text = |bytes: u64| bytes.to_string();
        let below = bytes(&min).checked_sub(1);
        (below.map(text), text(bytes(&max) + 1))
    };
    Some(Range {
        min,
        max,
        below,
        above,
    })
}

fn bytes(quantity: &str) -> u64 {
    let (amount, scale) = quantity.split_at(quantity.len() - 2);
    let shift = match scale {
        "Mi" => 20,
        "Gi" => 30,
        "Ti" => 40,
        other => unreachable!("no bound is written in {other}"),
    };
    amount.parse::<u64>().expect("a whole number") << shift
}
