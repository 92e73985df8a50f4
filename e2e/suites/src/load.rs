//! Constant load from outside, and what became of every request.
//!
//! Open loop: a request is due at its time whether or not earlier ones were answered, so a stall
//! is not hidden by a client that waits. Nothing is retried. Every second request opens a
//! connection of its own, the others share kept ones.

use std::{
    collections::BTreeMap,
    fmt,
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr},
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::{
    net::TcpSocket,
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{Instant, MissedTickBehavior},
};

use crate::http::{Answer, Connection, ask, connect_from};

/// A request without answer after this time is lost.
const LOST_AFTER: Duration = Duration::from_secs(5);

/// Ports for new connections, each used once in a load: below those that the system gives out.
/// A node remembers for two minutes where it sent an unanswered connection, by the client's port;
/// one that comes round again would be sent to a pod that was lost long ago, and tell of the
/// client's ports instead of the service.
const FRESH_PORTS: Range<u16> = 12_000..32_000;

/// Load that goes on until [`Load::stop`].
pub struct Load {
    began: Instant,
    stop: watch::Sender<bool>,
    driver: JoinHandle<Vec<Outcome>>,
}

/// What became of one request.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// When it was due, since the load began.
    pub at: Duration,
    pub took: Duration,
    /// Whether it went over a connection that had been used before.
    pub kept: bool,
    /// The answer's status, or what went wrong.
    pub result: Result<u16, String>,
    /// Revision and pod that answered.
    pub revision: String,
    pub pod: String,
}

impl Outcome {
    #[must_use]
    pub fn is_ok(&self) -> bool {
        matches!(self.result, Ok(200..300))
    }

    /// When it was answered or given up, since the load began.
    #[must_use]
    pub fn ended(&self) -> Duration {
        self.at + self.took
    }
}

/// All requests of a load.
#[derive(Clone, Debug)]
pub struct Report {
    pub outcomes: Vec<Outcome>,
}

impl Load {
    /// Begins with `GET path`, `per_second` times a second.
    #[must_use]
    pub fn begin(address: SocketAddr, path: &'static str, per_second: u32) -> Self {
        let began = Instant::now();
        let (stop, stopped) = watch::channel(false);
        let client = Arc::new(Client {
            address,
            path,
            began,
            idle: Mutex::default(),
            ports: AtomicU16::new(0),
        });
        let driver = tokio::spawn(drive(client, per_second, stopped));
        Self {
            began,
            stop,
            driver,
        }
    }

    /// Time since the load began: the clock of [`Outcome::at`].
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Ends the load and waits for the open requests.
    ///
    /// # Errors
    /// When the load itself broke.
    pub async fn stop(self) -> Result<Report> {
        self.stop.send_replace(true);
        let mut outcomes = self.driver.await.context("the load broke")?;
        outcomes.sort_by_key(|outcome| outcome.at);
        Ok(Report { outcomes })
    }
}

impl Report {
    pub fn lost(&self) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(|outcome| !outcome.is_ok())
    }

    /// # Errors
    /// When a request was lost: all that were.
    pub fn ensure_nothing_lost(&self) -> Result<()> {
        ensure!(self.lost().next().is_none(), "{self}");
        Ok(())
    }

    /// The longest time without an answer that was well, from the first such answer to the last.
    #[must_use]
    pub fn longest_silence(&self) -> Duration {
        let answered = self.outcomes.iter().filter(|outcome| outcome.is_ok());
        let mut answered: Vec<_> = answered.map(Outcome::ended).collect();
        answered.sort_unstable();
        let pauses = answered
            .windows(2)
            .map(|pair| pair[1].saturating_sub(pair[0]));
        pauses.max().unwrap_or_default()
    }

    /// From the beginning of `asked` to the first answer of a revision to what was asked in it.
    #[must_use]
    pub fn first_answer(&self, revision: &str, asked: Range<Duration>) -> Option<Duration> {
        let answers = self.answers(revision, &asked);
        answers
            .map(|outcome| outcome.ended().saturating_sub(asked.start))
            .min()
    }

    /// From the beginning of `asked` to the last answer of a revision to what was asked in it over
    /// connections that were `kept`, or over new ones.
    #[must_use]
    pub fn last_answer(
        &self,
        revision: &str,
        asked: Range<Duration>,
        kept: bool,
    ) -> Option<Duration> {
        let answers = self.answers(revision, &asked);
        let such = answers.filter(|outcome| outcome.kept == kept);
        such.map(|outcome| outcome.ended().saturating_sub(asked.start))
            .max()
    }

    fn answers(&self, revision: &str, asked: &Range<Duration>) -> impl Iterator<Item = &Outcome> {
        let within = |outcome: &&Outcome| asked.contains(&outcome.at);
        let asked = self.outcomes.iter().filter(within);
        asked.filter(move |outcome| outcome.revision == revision)
    }
}

/// Counts, and each kind of loss with its time span.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lost = self.lost().count();
        write!(f, "{} requests, {lost} lost", self.outcomes.len())?;
        let mut kinds: BTreeMap<String, Vec<Duration>> = BTreeMap::new();
        for outcome in self.lost() {
            let kind = match &outcome.result {
                Ok(status) => format!("status {status}"),
                Err(error) => error.clone(),
            };
            let kind = if outcome.kept {
                format!("{kind} (kept connection)")
            } else {
                kind
            };
            kinds.entry(kind).or_default().push(outcome.at);
        }
        for (kind, times) in kinds {
            let from = times.iter().min().copied().unwrap_or_default();
            let to = times.iter().max().copied().unwrap_or_default();
            write!(
                f,
                "\n  {} x {kind}, due {from:.1?} to {to:.1?}",
                times.len()
            )?;
        }
        Ok(())
    }
}

struct Client {
    address: SocketAddr,
    path: &'static str,
    began: Instant,
    /// Kept connections; never more than requests were open at once.
    idle: Mutex<Vec<Connection>>,
    /// How many of [`FRESH_PORTS`] were taken.
    ports: AtomicU16,
}

async fn drive(
    client: Arc<Client>,
    per_second: u32,
    mut stopped: watch::Receiver<bool>,
) -> Vec<Outcome> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / per_second.max(1));
    // A late tick does not cancel its request: the load stays what it was said to be.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    // Bounded by LOST_AFTER: at most `per_second` times that are open.
    let mut open = JoinSet::new();
    let mut outcomes = Vec::new();
    let mut number = 0_u64;
    loop {
        tokio::select! {
            _ = stopped.changed() => break,
            due = ticks.tick() => {
                number += 1;
                open.spawn(Arc::clone(&client).request(due, number.is_multiple_of(2)));
            }
            Some(done) = open.join_next() => outcomes.extend(done),
        }
    }
    outcomes.extend(open.join_all().await);
    outcomes
}

impl Client {
    async fn request(self: Arc<Self>, due: Instant, keep: bool) -> Outcome {
        let idle = keep.then(|| self.idle().pop()).flatten();
        let kept = idle.is_some();
        let answer = tokio::time::timeout_at(due + LOST_AFTER, self.answer(idle, keep)).await;
        let (result, revision, pod) = match answer {
            Ok(Ok(answer)) => (
                Ok(answer.status.as_u16()),
                answer.header("x-revision").to_owned(),
                answer.header("x-pod").to_owned(),
            ),
            Ok(Err(error)) => (Err(format!("{error:#}")), String::new(), String::new()),
            Err(_) => (
                Err(format!("no answer within {LOST_AFTER:?}")),
                String::new(),
                String::new(),
            ),
        };
        Outcome {
            at: due.saturating_duration_since(self.began),
            took: due.elapsed(),
            kept,
            result,
            revision,
            pod,
        }
    }

    async fn answer(&self, idle: Option<Connection>, keep: bool) -> Result<Answer> {
        let mut connection = match idle {
            Some(connection) => connection,
            None => connect_from(self.socket()?, self.address).await?,
        };
        let answer = ask(&mut connection, self.path).await?;
        // A connection that the server has announced to close is not used again.
        let closes = answer.header("connection").eq_ignore_ascii_case("close");
        if keep && !closes && !connection.is_closed() {
            self.idle().push(connection);
        }
        Ok(answer)
    }

    /// A socket with a port that this load has not used before.
    fn socket(&self) -> Result<TcpSocket> {
        for _ in FRESH_PORTS {
            let next = self.ports.fetch_add(1, Ordering::Relaxed);
            let port = FRESH_PORTS.start + next % (FRESH_PORTS.end - FRESH_PORTS.start);
            let socket = TcpSocket::new_v4()?;
            // The kernel keeps the port of a closed connection back for a while.
            socket.set_reuseaddr(true)?;
            match socket.bind((Ipv4Addr::UNSPECIFIED, port).into()) {
                Err(error) if error.kind() == ErrorKind::AddrInUse => (),
                bound => return Ok(bound.map(|()| socket)?),
            }
        }
        bail!("every port of the load is in use")
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        // Nothing panics while it is held.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
