use std::sync::Arc;

use tokio::time::{advance, timeout};

use super::*;

fn queue() -> Queue {
    Queue::new("test", &Metrics::new())
}

fn key(name: &str) -> ObjectKey {
    ObjectKey {
        namespace: "harbour".to_owned(),
        name: name.to_owned(),
    }
}

/// The next key, or none if there is none without waiting.
async fn next_now(queue: &Queue) -> Option<ObjectKey> {
    timeout(Duration::ZERO, queue.next()).await.ok().flatten()
}

#[tokio::test(start_paused = true)]
async fn a_key_added_twice_is_worked_on_once() {
    let queue = queue();
    queue.add(key("a"));
    queue.add(key("a"));
    assert_eq!(next_now(&queue).await, Some(key("a")));
    queue.done(&key("a"));
    assert_eq!(next_now(&queue).await, None);
    assert_eq!(queue.meters.adds.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_key_added_during_its_pass_is_worked_on_again_and_not_at_the_same_time() {
    let queue = queue();
    queue.add(key("a"));
    assert_eq!(next_now(&queue).await, Some(key("a")));
    queue.add(key("a"));
    assert_eq!(next_now(&queue).await, None);
    queue.done(&key("a"));
    assert_eq!(next_now(&queue).await, Some(key("a")));
    queue.done(&key("a"));
    assert_eq!(next_now(&queue).await, None);
}

#[tokio::test(start_paused = true)]
async fn of_several_delays_the_earliest_counts() {
    let queue = queue();
    let start = Instant::now();
    for seconds in [9, 3, 6] {
        queue.add_at(key("a"), start + Duration::from_secs(seconds));
    }
    assert_eq!(queue.next().await, Some(key("a")));
    assert_eq!(start.elapsed().as_secs(), 3);
    queue.done(&key("a"));
    advance(Duration::from_mins(1)).await;
    assert_eq!(next_now(&queue).await, None);
}

#[tokio::test(start_paused = true)]
async fn an_event_does_not_wait_for_the_delay_and_ends_it() {
    let queue = queue();
    queue.add_at(key("a"), Instant::now() + Duration::from_secs(30));
    queue.add(key("a"));
    assert_eq!(next_now(&queue).await, Some(key("a")));
    queue.done(&key("a"));
    advance(Duration::from_mins(1)).await;
    assert_eq!(next_now(&queue).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_fails_does_not_slow_the_others() {
    let queue = queue();
    queue.add(key("failing"));
    for _ in 0..10 {
        assert_eq!(queue.next().await, Some(key("failing")));
        queue.retry(key("failing"));
        queue.done(&key("failing"));
    }
    let start = Instant::now();
    for name in ["a", "b", "c"] {
        queue.add(key(name));
    }
    for name in ["a", "b", "c"] {
        assert_eq!(queue.next().await, Some(key(name)));
        queue.done(&key(name));
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(queue.meters.retries.get(), 10);
}

#[tokio::test(start_paused = true)]
async fn success_makes_the_next_retry_quick_again() {
    let queue = queue();
    queue.add(key("a"));
    for _ in 0..20 {
        assert_eq!(queue.next().await, Some(key("a")));
        queue.retry(key("a"));
        queue.done(&key("a"));
    }
    assert_eq!(queue.next().await, Some(key("a")));
    queue.forget(&key("a"));
    queue.retry(key("a"));
    queue.done(&key("a"));
    let start = Instant::now();
    assert_eq!(queue.next().await, Some(key("a")));
    assert!(start.elapsed() <= SHORTEST_RETRY);
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_woken_by_an_add_from_elsewhere() {
    let queue = Arc::new(queue());
    let waiting = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.next().await }
    });
    tokio::task::yield_now().await;
    queue.add(key("a"));
    assert_eq!(waiting.await.unwrap(), Some(key("a")));
}

#[tokio::test(start_paused = true)]
async fn a_closed_queue_gives_out_nothing() {
    let queue = queue();
    queue.add(key("a"));
    queue.close();
    assert_eq!(queue.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn the_snapshot_tells_depth_and_ages() {
    let queue = queue();
    for name in ["a", "b", "c"] {
        queue.add(key(name));
    }
    queue.next().await;
    advance(Duration::from_secs(2)).await;
    queue.next().await;
    advance(Duration::from_secs(1)).await;
    let expected = Snapshot {
        depth: 1,
        unfinished: Duration::from_secs(4),
        longest: Duration::from_secs(3),
    };
    assert_eq!(queue.snapshot(), expected);
}

#[test]
fn delays_double_up_to_a_bound_and_are_spread_by_a_fifth() {
    assert_eq!(delay(1, 0.0), Duration::from_millis(50));
    assert_eq!(delay(4, 0.0), Duration::from_millis(400));
    assert_eq!(delay(4, 1.0), Duration::from_millis(320));
    assert_eq!(delay(u32::MAX, 0.0), LONGEST_RETRY);
}
