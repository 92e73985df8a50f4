//! What the workers of a pool say of themselves.

use std::{net::IpAddr, time::Duration};

use futures::future::join_all;
use http::{Method, StatusCode};
use orlop_contract::worker::{STATS_PATH, WorkerStats};
use orlop_plan::{ReadFailure, WorkersSource, worker::Reading};
use tokio::time::timeout;

use crate::connection::Connection;

/// Workers that are asked in one turn; larger pools are gone through in several.
const ASKED_MAX: usize = 16;
/// A worker answers from memory. One that does not is asked again in its next turn.
const DEADLINE: Duration = Duration::from_secs(1);

/// Asks those whose turn it is, all at the same time. One that gives no answer is left out: what
/// hinders it, its pod tells.
pub(crate) async fn read(source: &WorkersSource, turn: u64) -> Reading {
    let questions = due(&source.pods, turn).map(|(pod, address)| async move {
        match timeout(DEADLINE, ask(*address, source.port)).await {
            Ok(Ok(statistics)) => Some((pod.clone(), statistics)),
            Ok(Err(error)) => {
                tracing::debug!(pod, %error, "failed to read a worker's statistics");
                None
            }
            Err(_) => None,
        }
    });
    Reading::answered(join_all(questions).await.into_iter().flatten().collect())
}

/// Whose turn it is.
fn due<T>(pods: &[T], turn: u64) -> impl Iterator<Item = &T> {
    let turns = pods.len().div_ceil(ASKED_MAX).max(1);
    let turn = usize::try_from(turn).unwrap_or(0) % turns;
    pods.iter().skip(turn * ASKED_MAX).take(ASKED_MAX)
}

async fn ask(address: IpAddr, port: u16) -> Result<WorkerStats, ReadFailure> {
    let mut connection = Connection::open(&address.to_string(), port, None).await?;
    let answer = connection.ask(&Method::GET, STATS_PATH, None).await?;
    if answer.status != StatusCode::OK {
        return Err(ReadFailure::Failed(format!("status {}", answer.status)));
    }
    serde_json::from_slice(&answer.body)
        .map_err(|error| ReadFailure::Failed(format!("no statistics: {error}")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn everybody_has_a_turn_and_nobody_two_in_a_row() {
        for pods in [0, 1, 15, 16, 17, 100, 1000] {
            let pods: Vec<usize> = (0..pods).collect();
            let turns = pods.len().div_ceil(ASKED_MAX);
            let asked: Vec<_> = (7..)
                .take(turns)
                .flat_map(|turn| due(&pods, turn))
                .collect();
            assert_eq!(asked.len(), pods.len());
            assert_eq!(asked.into_iter().collect::<BTreeSet<_>>().len(), pods.len());
        }
    }
}
