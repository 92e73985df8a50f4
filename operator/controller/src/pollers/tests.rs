use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::metrics::Metrics;

/// Counts the attempts; the answer is how often it was asked, halved, so that every other attempt
/// brings something new. Attempt number 5 fails.
#[derive(Clone, Debug)]
struct Tide {
    name: &'static str,
    asked: Arc<AtomicU32>,
}

impl PartialEq for Tide {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Tide {}

impl Hash for Tide {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl Poll for Tide {
    type State = u32;

    const EVERY: Duration = Duration::from_secs(1);
    const DEADLINE: Duration = Duration::from_secs(3);

    async fn read(&self, _before: Option<u32>) -> Result<u32, ReadFailure> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        if asked == 5 {
            std::future::pending::<()>().await;
        }
        Ok(asked / 2)
    }
}

fn tide(name: &'static str) -> Tide {
    Tide {
        name,
        asked: Arc::default(),
    }
}

fn reader(name: &str) -> Reader {
    let key = ObjectKey {
        namespace: "harbour".to_owned(),
        name: name.to_owned(),
    };
    (PrimaryKind::AppService, key)
}

struct Stage {
    pollers: PollersOf<Tide>,
    queues: Arc<Queues>,
}

impl Stage {
    fn new() -> Self {
        let queues = Arc::new(Queues::new(&Metrics::new()));
        Self {
            pollers: PollersOf::new(&queues),
            queues,
        }
    }

    /// The next object that is woken.
    async fn woken(&self) -> String {
        let queue = self.queues.of(PrimaryKind::AppService);
        let key = queue.next().await.unwrap();
        queue.done(&key);
        key.name
    }
}

#[tokio::test(start_paused = true)]
async fn those_who_want_the_same_share_one_poller_and_are_woken_by_news_only() {
    let stage = Stage::new();
    let tide = tide("spring");
    assert_eq!(
        stage.pollers.snapshot(&reader("a"), Some(tide.clone())),
        None
    );
    assert_eq!(
        stage.pollers.snapshot(&reader("b"), Some(tide.clone())),
        None
    );
    let mut woken = [stage.woken().await, stage.woken().await];
    woken.sort();
    assert_eq!(woken, ["a", "b"]);
    assert_eq!(tide.asked.load(Ordering::Relaxed), 1);
    stage.pollers.leave(&reader("b"));
    assert_eq!(stage.woken().await, "a");
    // The second answer was as the first.
    assert_eq!(tide.asked.load(Ordering::Relaxed), 3);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_hangs_keeps_its_last_answer_and_tells_the_failure() {
    let stage = Stage::new();
    let tide = tide("neap");
    let read = || stage.pollers.snapshot(&reader("a"), Some(tide.clone()));
    read();
    let failed = loop {
        stage.woken().await;
        let snapshot = read().unwrap();
        if snapshot.failure.is_some() {
            break snapshot;
        }
    };
    assert_eq!(failed.answer.unwrap().value, 2);
    stage.woken().await;
    let recovered = read().unwrap();
    assert_eq!(
        (recovered.answer.unwrap().value, recovered.failure),
        (3, None)
    );
}

#[tokio::test(start_paused = true)]
async fn a_poller_that_nobody_reads_ends() {
    let stage = Stage::new();
    let (first, second) = (tide("spring"), tide("neap"));
    stage.pollers.snapshot(&reader("a"), Some(first.clone()));
    stage.woken().await;
    stage.pollers.snapshot(&reader("a"), Some(second.clone()));
    stage.woken().await;
    let asked = first.asked.load(Ordering::Relaxed);
    stage.woken().await;
    assert_eq!(first.asked.load(Ordering::Relaxed), asked);
    stage.pollers.leave(&reader("a"));
    assert!(stage.pollers.0.state().pollers.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_hurried_is_asked_at_once() {
    let stage = Stage::new();
    let tide = tide("spring");
    stage.pollers.snapshot(&reader("a"), Some(tide.clone()));
    stage.woken().await;
    let acted = Timestamp::now();
    assert!(!stage.pollers.has_asked_since(&reader("a"), acted));
    let before = tokio::time::Instant::now();
    stage.pollers.hurry(&reader("a"));
    while !stage.pollers.has_asked_since(&reader("a"), acted) {
        tokio::task::yield_now().await;
    }
    assert_eq!(before.elapsed(), Duration::ZERO);
}
