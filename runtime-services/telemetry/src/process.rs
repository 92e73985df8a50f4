//! What the process uses, under the names that every Prometheus client gives it.

use std::fs;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};

/// Registers `process_resident_memory_bytes`, `process_cpu_seconds_total` and `process_open_fds`.
/// What the system does not tell is left out.
pub fn register(registry: &mut Registry) {
    registry.register_collector(Box::new(Process));
}

/// Memory that the process holds in RAM, in bytes; none where `/proc` does not tell.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    parse_resident(&fs::read_to_string("/proc/self/status").ok()?)
}

#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        if let Some(bytes) = resident_bytes() {
            ConstGauge::new(i64::try_from(bytes).unwrap_or(i64::MAX)).encode(
                encoder.encode_descriptor(
                    "process_resident_memory",
                    "Memory held in RAM",
                    Some(&Unit::Bytes),
                    MetricType::Gauge,
                )?,
            )?;
        }
        if let Some(seconds) = fs::read_to_string("/proc/self/stat")
            .ok()
            .as_deref()
            .and_then(parse_cpu)
        {
            ConstCounter::new(seconds).encode(encoder.encode_descriptor(
                "process_cpu",
                "Processor time used, user and system",
                Some(&Unit::Seconds),
                MetricType::Counter,
            )?)?;
        }
        if let Ok(entries) = fs::read_dir("/proc/self/fd") {
            ConstGauge::new(i64::try_from(entries.count()).unwrap_or(i64::MAX)).encode(
                encoder.encode_descriptor(
                    "process_open_fds",
                    "Open file descriptors",
                    None,
                    MetricType::Gauge,
                )?,
            )?;
        }
        Ok(())
    }
}

fn parse_resident(status: &str) -> Option<u64> {
    let kilobytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = kilobytes.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// Seconds of processor time from a line of `/proc/PID/stat`, see proc_pid_stat(5).
fn parse_cpu(stat: &str) -> Option<f64> {
    // The ABI towards user space counts in hundredths of a second on every architecture.
    const TICKS_PER_SECOND: f64 = 100.0;
    // The second field is a name in parentheses that may contain spaces: count from its end.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some((f64::from(user) + f64::from(system)) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_in_bytes() {
        assert_eq!(
            parse_resident("VmPeak:\t  99 kB\nVmRSS:\t    12 kB\n"),
            Some(12 * 1024)
        );
        assert_eq!(parse_resident("Threads:\t1\n"), None);
    }

    #[test]
    fn processor_time_is_read_past_a_name_with_spaces() {
        let stat = "7 (a b) c) S 1 1 1 0 -1 4 5 0 0 0 150 50 0 0 20 0 4 0 100 1 1";
        assert_eq!(parse_cpu(stat), Some(2.0));
    }

    #[test]
    fn the_running_process_tells_all_of_them() {
        let mut registry = Registry::default();
        register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for name in [
            "process_resident_memory_bytes ",
            "process_cpu_seconds_total ",
            "process_open_fds ",
        ] {
            assert!(text.contains(name), "{name} is missing in {text}");
        }
    }
}
