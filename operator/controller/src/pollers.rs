//! Pollers: data services are asked in the background, so that one that hangs holds no pass.
//!
//! A pass says what it wants to be read and gets the last snapshot with its age. Objects that want
//! the same share one poller; it ends when the last of them wants something else or is gone. What
//! is kept here are measurements: losing them costs one interval.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    fmt::Debug,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use orlop_plan::{
    Answer, QuestionsSource, RabbitMqSource, ReadFailure, Snapshot, Snapshots, Sources,
    ValkeySource, WorkersSource, broker, cache, question, worker,
};
use tokio::{
    sync::Notify,
    task::AbortHandle,
    time::{sleep, timeout},
};

use crate::{cache::Queues, key::ObjectKey, primary::PrimaryKind};

/// Something that can be read again and again.
pub(crate) trait Poll: Clone + Debug + Eq + Hash + Send + Sync + 'static {
    type State: Clone + Debug + PartialEq + Send + Sync + 'static;

    /// Pause between two attempts.
    const EVERY: Duration;
    /// How long an attempt may take.
    const DEADLINE: Duration;

    /// `before`: what was read last, for those that look back.
    fn read(
        &self,
        before: Option<Self::State>,
    ) -> impl Future<Output = Result<Self::State, ReadFailure>> + Send;

    /// Whether what is read depends on what was read last.
    const LOOKS_BACK: bool = false;

    /// Whether a reader that wants another source from now on, of the same type, wants it in the
    /// light of what it knew before.
    const INHERITS: bool = false;

    /// What is kept of a new answer in the light of the one before, such as a history.
    fn follow(
        &self,
        _before: Option<&Answer<Self::State>>,
        state: Self::State,
        _now: Timestamp,
    ) -> Self::State {
        state
    }
}

/// For whom something is read.
pub(crate) type Reader = (PrimaryKind, ObjectKey);

/// All pollers.
#[derive(Debug)]
pub(crate) struct Pollers {
    rabbitmq: PollersOf<RabbitMqSource>,
    valkey: PollersOf<ValkeySource>,
    workers: PollersOf<WorkersSource>,
    questions: PollersOf<QuestionsSource>,
}

impl Pollers {
    pub(crate) fn new(queues: &Arc<Queues>) -> Self {
        Self {
            rabbitmq: PollersOf::new(queues),
            valkey: PollersOf::new(queues),
            workers: PollersOf::new(queues),
            questions: PollersOf::new(queues),
        }
    }

    /// The last snapshots of what the reader wants to be read from now on.
    pub(crate) fn snapshots(&self, reader: &Reader, sources: Sources) -> Snapshots {
        let Sources {
            rabbitmq,
            valkey,
            workers,
            questions,
        } = sources;
        Snapshots {
            rabbitmq: self.rabbitmq.snapshot(reader, rabbitmq),
            valkey: self.valkey.snapshot(reader, valkey),
            workers: self.workers.snapshot(reader, workers),
            questions: self.questions.snapshot(reader, questions),
        }
    }

    /// The reader wants nothing any more.
    pub(crate) fn forget(&self, reader: &Reader) {
        self.rabbitmq.leave(reader);
        self.valkey.leave(reader);
        self.workers.leave(reader);
        self.questions.leave(reader);
    }

    /// Something was done on behalf of the reader: its sources are read at once.
    pub(crate) fn hurry(&self, reader: &Reader) {
        self.rabbitmq.hurry(reader);
        self.valkey.hurry(reader);
        self.workers.hurry(reader);
        self.questions.hurry(reader);
    }

    /// Whether everything that the reader wants was asked for after this time.
    pub(crate) fn have_asked_since(&self, reader: &Reader, time: Timestamp) -> bool {
        self.rabbitmq.has_asked_since(reader, time)
            && self.valkey.has_asked_since(reader, time)
            && self.workers.has_asked_since(reader, time)
            && self.questions.has_asked_since(reader, time)
    }
}

impl Poll for RabbitMqSource {
    type State = broker::Reading;

    /// The scaler's interval, and that of the broker's own statistics.
    const EVERY: Duration = Duration::from_secs(1);
    const DEADLINE: Duration = Duration::from_secs(3);

    async fn read(&self, _before: Option<Self::State>) -> Result<broker::Reading, ReadFailure> {
        crate::rabbitmq::read(self).await
    }

    /// The scaler decides from what the queues were like in the last minute or so.
    fn follow(
        &self,
        before: Option<&Answer<broker::Reading>>,
        mut state: broker::Reading,
        now: Timestamp,
    ) -> broker::Reading {
        if let Some(before) = before {
            state.history = before.value.history.clone();
        }
        state.history.push(now, &state.queues);
        state
    }
}

impl Poll for ValkeySource {
    type State = cache::Reading;

    /// Well below the time in which a cluster notices by itself that a node is lost.
    const EVERY: Duration = Duration::from_secs(1);
    const DEADLINE: Duration = Duration::from_secs(3);

    async fn read(&self, _before: Option<Self::State>) -> Result<cache::Reading, ReadFailure> {
        Ok(crate::valkey::read(self).await)
    }
}

impl Poll for WorkersSource {
    type State = worker::Reading;

    const EVERY: Duration = Duration::from_secs(2);
    const DEADLINE: Duration = Duration::from_secs(3);
    /// The pods of a pool come and go; how long a job takes stays known.
    const INHERITS: bool = true;

    async fn read(&self, _before: Option<Self::State>) -> Result<worker::Reading, ReadFailure> {
        let turn = Timestamp::now().as_second() / Self::EVERY.as_secs().cast_signed();
        Ok(crate::workers::read(self, turn.unsigned_abs()).await)
    }

    fn follow(
        &self,
        before: Option<&Answer<worker::Reading>>,
        state: worker::Reading,
        now: Timestamp,
    ) -> worker::Reading {
        let before = before.map(|answer| &answer.value);
        state.following(before, now, |pod| self.has(pod))
    }
}

impl Poll for QuestionsSource {
    type State = question::Reading;

    /// A release waits for the first answers: they rule how soon requests are known to be safe.
    const EVERY: Duration = Duration::from_millis(250);
    /// Longer than any single question may take.
    const DEADLINE: Duration = Duration::from_secs(5);
    /// Each question has its own pace.
    const LOOKS_BACK: bool = true;
    /// What was heard of a question stays known when another one joins it.
    const INHERITS: bool = true;

    async fn read(
        &self,
        before: Option<question::Reading>,
    ) -> Result<question::Reading, ReadFailure> {
        Ok(crate::questions::ask(self, &before.unwrap_or_default()).await)
    }

    fn follow(
        &self,
        before: Option<&Answer<question::Reading>>,
        state: question::Reading,
        _now: Timestamp,
    ) -> question::Reading {
        state.following(before.map(|answer| &answer.value))
    }
}

/// The pollers of one type of source.
#[derive(Debug)]
struct PollersOf<S: Poll>(Arc<Inner<S>>);

#[derive(Debug)]
struct Inner<S: Poll> {
    queues: Arc<Queues>,
    state: Mutex<State<S>>,
}

#[derive(Debug)]
struct State<S: Poll> {
    /// A reader has one source of a type: no more entries than there are objects.
    wanted: HashMap<Reader, S>,
    pollers: HashMap<S, Poller<S::State>>,
}

#[derive(Debug)]
struct Poller<T> {
    readers: BTreeSet<Reader>,
    snapshot: Option<Snapshot<T>>,
    /// When the last attempt that has ended was begun.
    asked: Option<Timestamp>,
    hurry: Arc<Notify>,
    task: AbortHandle,
}

impl<T> Drop for Poller<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<S: Poll> PollersOf<S> {
    fn new(queues: &Arc<Queues>) -> Self {
        let state = State {
            wanted: HashMap::new(),
            pollers: HashMap::new(),
        };
        Self(Arc::new(Inner {
            queues: Arc::clone(queues),
            state: Mutex::new(state),
        }))
    }

    fn snapshot(&self, reader: &Reader, source: Option<S>) -> Option<Snapshot<S::State>> {
        let mut state = self.0.state();
        let mut known = None;
        if state.wanted.get(reader) != source.as_ref() {
            let before = state.of(reader).filter(|_| S::INHERITS);
            known = before.and_then(|poller| poller.snapshot.clone());
            state.leave(reader);
        }
        let source = source?;
        state.wanted.insert(reader.clone(), source.clone());
        let poller = match state.pollers.entry(source) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let mut poller = self.start(entry.key().clone());
                poller.snapshot = known;
                entry.insert(poller)
            }
        };
        poller.readers.insert(reader.clone());
        poller.snapshot.clone()
    }

    fn start(&self, source: S) -> Poller<S::State> {
        let hurry = Arc::new(Notify::new());
        let task = tokio::spawn(run(Arc::clone(&self.0), source, Arc::clone(&hurry)));
        Poller {
            readers: BTreeSet::new(),
            snapshot: None,
            asked: None,
            hurry,
            task: task.abort_handle(),
        }
    }

    fn leave(&self, reader: &Reader) {
        self.0.state().leave(reader);
    }

    fn hurry(&self, reader: &Reader) {
        if let Some(poller) = self.0.state().of(reader) {
            poller.hurry.notify_one();
        }
    }

    fn has_asked_since(&self, reader: &Reader, time: Timestamp) -> bool {
        let state = self.0.state();
        state
            .of(reader)
            .is_none_or(|poller| poller.asked.is_some_and(|asked| asked >= time))
    }
}

impl<S: Poll> Inner<S> {
    fn state(&self) -> MutexGuard<'_, State<S>> {
        // No code that holds the lock can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was read last, for a source that looks back.
    fn last(&self, source: &S) -> Option<S::State> {
        if !S::LOOKS_BACK {
            return None;
        }
        let state = self.state();
        let snapshot = state.pollers.get(source)?.snapshot.as_ref()?;
        Some(snapshot.answer.as_ref()?.value.clone())
    }

    /// Keeps what an attempt gave, and wakes the readers if it is something new.
    fn keep(&self, source: &S, asked: Timestamp, result: Result<S::State, ReadFailure>) {
        let mut state = self.state();
        // Nobody wants it any more.
        let Some(poller) = state.pollers.get_mut(source) else {
            return;
        };
        let before = poller.snapshot.take();
        let kept = before
            .as_ref()
            .and_then(|snapshot| snapshot.answer.as_ref());
        let now = Timestamp::now();
        let snapshot = match result {
            Ok(state) => Snapshot {
                answer: Some(Answer {
                    at: now,
                    value: source.follow(kept, state, now),
                }),
                failure: None,
            },
            Err(failure) => Snapshot {
                answer: kept.cloned(),
                failure: Some(failure),
            },
        };
        let is_new = before
            .as_ref()
            .is_none_or(|before| differs(before, &snapshot));
        poller.snapshot = Some(snapshot);
        poller.asked = Some(asked);
        if is_new {
            for (kind, key) in &poller.readers {
                self.queues.of(*kind).add(key.clone());
            }
        }
    }
}

impl<S: Poll> State<S> {
    fn of(&self, reader: &Reader) -> Option<&Poller<S::State>> {
        self.pollers.get(self.wanted.get(reader)?)
    }

    fn leave(&mut self, reader: &Reader) {
        let Some(source) = self.wanted.remove(reader) else {
            return;
        };
        if let Entry::Occupied(mut entry) = self.pollers.entry(source) {
            entry.get_mut().readers.remove(reader);
            if entry.get().readers.is_empty() {
                entry.remove();
            }
        }
    }
}

/// Whether something other than the time of the answer is different.
fn differs<T: PartialEq>(before: &Snapshot<T>, after: &Snapshot<T>) -> bool {
    let (old, new) = (before.answer.as_ref(), after.answer.as_ref());
    before.failure != after.failure || old.map(|it| &it.value) != new.map(|it| &it.value)
}

/// Reads for ever: until it is aborted.
async fn run<S: Poll>(pollers: Arc<Inner<S>>, source: S, hurry: Arc<Notify>) {
    loop {
        let asked = Timestamp::now();
        let before = pollers.last(&source);
        let result = match timeout(S::DEADLINE, source.read(before)).await {
            Ok(result) => result,
            Err(_) => Err(ReadFailure::Unreachable(format!(
                "no answer within {} s",
                S::DEADLINE.as_secs()
            ))),
        };
        pollers.keep(&source, asked, result);
        tokio::select! {
            () = sleep(S::EVERY) => (),
            () = hurry.notified() => (),
        }
    }
}

#[cfg(test)]
mod tests;
