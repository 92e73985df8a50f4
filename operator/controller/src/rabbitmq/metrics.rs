//! Counts of queues, from the text that the broker serves to Prometheus.

use std::collections::BTreeMap;

use orlop_plan::broker::QueueStatistics;

/// By name of the queue.
pub(super) type Counts = BTreeMap<String, QueueStatistics>;

/// What is asked for: everything else (memory, bytes, processes) costs the broker more.
pub(super) const FAMILIES: [&str; 4] = [
    "queue_coarse_metrics",
    "queue_consumer_count",
    "queue_delivery_metrics",
    "queue_exchange_metrics",
];

/// Lines that are not understood are left out: a count that is missing is none.
pub(super) fn parse(text: &str) -> Counts {
    let mut counts = Counts::new();
    for sample in text.lines().filter_map(Sample::parse) {
        let statistics = counts.entry(sample.queue.to_owned()).or_default();
        let Some(count) = field(statistics, sample.name) else {
            continue;
        };
        // One queue has a line for each exchange that brought messages.
        *count = Some(count.unwrap_or(0).saturating_add(sample.value));
    }
    counts
}

fn field<'a>(statistics: &'a mut QueueStatistics, name: &str) -> Option<&'a mut Option<u64>> {
    Some(match name {
        "queue_messages_ready" => &mut statistics.ready,
        "queue_messages_unacked" => &mut statistics.unacknowledged,
        "queue_consumers" => &mut statistics.consumers,
        "queue_messages_delivered_ack_total" => &mut statistics.delivered_total,
        "queue_messages_acked_total" => &mut statistics.acknowledged_total,
        "queue_messages_redelivered_total" => &mut statistics.redelivered_total,
        "queue_exchange_messages_published_total" => &mut statistics.published_total,
        _ => return None,
    })
}

/// One line: `rabbitmq_detailed_NAME{queue="QUEUE",...} VALUE`.
struct Sample<'a> {
    name: &'a str,
    queue: &'a str,
    value: u64,
}

impl<'a> Sample<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (name, rest) = line.strip_prefix("rabbitmq_detailed_")?.split_once('{')?;
        let (labels, value) = rest.rsplit_once("} ")?;
        // Names with quotes in them are not ours.
        let (_, rest) = labels.split_once("queue=\"")?;
        let (queue, _) = rest.split_once('"')?;
        Some(Self {
            name,
            queue,
            value: whole(value.trim())?,
        })
    }
}

/// Counts are written as whole numbers, by some versions with a fraction of zero.
fn whole(text: &str) -> Option<u64> {
    text.strip_suffix(".0").unwrap_or(text).parse().ok()
}
