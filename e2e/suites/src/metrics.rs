//! Reading the operator's own figures, in the text format of Prometheus.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

/// One reading of all metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    text: String,
}

/// Cumulative counts by upper bound, in seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// Upper bound and how many were at or below it; ends with infinity.
    buckets: Vec<(f64, f64)>,
}

impl Metrics {
    #[must_use]
    pub fn parse(text: String) -> Self {
        Self { text }
    }

    /// Sum over all label sets of a counter or gauge.
    #[must_use]
    pub fn sum(&self, name: &str) -> f64 {
        self.samples(name).map(|(_, value)| value).sum()
    }

    /// A histogram, summed over all label sets.
    #[must_use]
    pub fn histogram(&self, name: &str) -> Histogram {
        let mut counts: BTreeMap<u64, (f64, f64)> = BTreeMap::new();
        for (labels, value) in self.samples(&format!("{name}_bucket")) {
            let Some(bound) = label(labels, "le").and_then(|bound| bound.parse::<f64>().ok())
            else {
                continue;
            };
            // Positive floats sort as their bits do.
            counts.entry(bound.to_bits()).or_insert((bound, 0.0)).1 += value;
        }
        Histogram {
            buckets: counts.into_values().collect(),
        }
    }

    fn samples<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.text.lines().filter_map(move |line| {
            let rest = line.strip_prefix(name)?;
            let (labels, value) = match rest.strip_prefix('{') {
                Some(rest) => rest.split_once('}')?,
                None => ("", rest),
            };
            // A longer name than the one that was asked for has no space here.
            let value = value.strip_prefix(' ')?;
            let value = value.split_whitespace().next()?.parse().ok()?;
            Some((labels, value))
        })
    }
}

fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    labels.split(',').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (key == name).then(|| value.trim_matches('"'))
    })
}

impl Histogram {
    /// What was added since an earlier reading.
    ///
    /// # Errors
    /// When the bounds differ or counts went back: another process answered.
    pub fn since(&self, earlier: &Self) -> Result<Self> {
        let same = self.buckets.len() == earlier.buckets.len();
        ensure!(same, "the histogram's bounds have changed");
        let buckets: Vec<_> = self
            .buckets
            .iter()
            .zip(&earlier.buckets)
            .map(|((bound, now), (_, before))| (*bound, now - before))
            .collect();
        let counted = buckets.iter().all(|(_, count)| *count >= 0.0);
        ensure!(counted, "the counts went back: the process is another");
        Ok(Self { buckets })
    }

    #[must_use]
    pub fn count(&self) -> f64 {
        self.buckets.last().map_or(0.0, |(_, count)| *count)
    }

    /// Upper bound of the bucket in which the quantile lies: what holds for certain.
    #[must_use]
    pub fn quantile_at_most(&self, quantile: f64) -> f64 {
        let rank = quantile * self.count();
        self.buckets
            .iter()
            .find(|(_, count)| *count >= rank)
            .map_or(f64::INFINITY, |(bound, _)| *bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# TYPE tide_seconds histogram
tide_seconds_bucket{le=\"0.005\",of=\"ebb\"} 98
tide_seconds_bucket{le=\"0.01\",of=\"ebb\"} 100
tide_seconds_bucket{le=\"+Inf\",of=\"ebb\"} 100
tide_seconds_bucket{of=\"flood\",le=\"0.005\"} 100
tide_seconds_bucket{of=\"flood\",le=\"0.01\"} 100
tide_seconds_bucket{of=\"flood\",le=\"+Inf\"} 100
tides_total{of=\"ebb\"} 3
tides_total 4
tides_total_more 9
";

    #[test]
    fn label_sets_are_summed_and_longer_names_left_out() {
        let metrics = Metrics::parse(TEXT.to_owned());
        assert!((metrics.sum("tides_total") - 7.0).abs() < 1e-9);
    }

    #[test]
    fn a_quantile_is_the_bound_below_which_it_lies_for_certain() {
        let tides = Metrics::parse(TEXT.to_owned()).histogram("tide_seconds");
        assert!((tides.count() - 200.0).abs() < 1e-9);
        assert!((tides.quantile_at_most(0.99) - 0.005).abs() < 1e-9);
        assert!((tides.quantile_at_most(0.995) - 0.01).abs() < 1e-9);
    }

    #[test]
    fn counts_that_went_back_are_another_process() {
        let tides = Metrics::parse(TEXT.to_owned()).histogram("tide_seconds");
        let restarted = Metrics::parse(TEXT.replace("98", "8")).histogram("tide_seconds");
        assert!(restarted.since(&tides).is_err());
        assert!(tides.since(&tides).unwrap().count().abs() < 1e-9);
    }
}
