//! A run: the world, the cluster, one or two operators and people, step by step.

use std::{collections::VecDeque, sync::Arc};

use orlop_plan::{Images, Object, Settings};

use crate::{
    cluster::{Cluster, at},
    faults::{Fate, Faults},
    invariants::{Done, Invariants},
    operator::{Process, Request},
    report::{Broken, Totals},
    seed::Dice,
    world::{ApiError, Resource, Stored, World},
};

/// Lines that are told when a rule breaks; a run that is repeated tells all.
const TRACE_LENGTH: usize = 60;
/// 2026-11-22T00:00:00Z in milliseconds: any moment would do.
const BEGIN: i64 = 1_795_305_600_000;
/// Virtual time within which a world without faults must be at rest.
const REST_WITHIN: i64 = 3_600_000;
/// Steps within which it must be: a run needs some hundreds.
const REST_STEPS: usize = 100_000;
/// Virtual time without a write after which a world counts as at rest although somebody looks at
/// it now and then.
const REST: i64 = 90_000;

pub(crate) struct Simulation {
    pub(crate) world: World,
    pub(crate) cluster: Cluster,
    pub(crate) processes: Vec<Process>,
    pub(crate) faults: Faults,
    pub(crate) dice: Dice,
    pub(crate) now: i64,
    pub(crate) totals: Totals,
    invariants: Invariants,
    settings: Settings,
    trace: VecDeque<String>,
    pub(crate) trace_length: usize,
    last_change: i64,
}

impl Simulation {
    /// `lag` is the percentage of the cluster's usual lags.
    pub(crate) fn new(seed: u64, processes: usize, lag: i64) -> Self {
        let mut processes: Vec<_> = (0..processes).map(Process::new).collect();
        processes[0].leads = true;
        Self {
            world: World::default(),
            cluster: Cluster::new(lag),
            processes,
            faults: Faults::None,
            dice: Dice::new(seed),
            now: BEGIN,
            totals: Totals::default(),
            invariants: Invariants::default(),
            settings: Settings {
                cluster_domain: "cluster.local".to_owned(),
                images: Images {
                    edge: "acme/edge:1".to_owned(),
                    ..Images::default()
                },
            },
            trace: VecDeque::new(),
            trace_length: TRACE_LENGTH,
            last_change: BEGIN,
        }
    }

    pub(crate) fn elapsed(&self) -> i64 {
        self.now - BEGIN
    }

    pub(crate) fn tell(&mut self, what: &str) {
        if self.trace.len() == self.trace_length {
            self.trace.pop_front();
        }
        self.trace
            .push_back(format!("{:>9} ms  {}", self.elapsed(), what));
    }

    pub(crate) fn broken(&self, rule: String) -> Broken {
        Broken {
            step: self.totals.steps,
            rule,
            trace: self.trace.iter().cloned().collect(),
        }
    }

    pub(crate) fn finished(&self) -> Totals {
        Totals {
            runs: 1,
            time: self.elapsed(),
            ..self.totals
        }
    }

    /// Something happens, by chance.
    pub(crate) fn step(&mut self) -> Result<(), Broken> {
        self.totals.steps += 1;
        self.cluster.notice(&self.world, self.now, &mut self.dice);
        match self.dice.below(100) {
            0..45 => self.operate()?,
            45..48 => self.ask(),
            48..71 => self.deliver(),
            71..88 => {
                self.cluster
                    .run_one(&mut self.world, self.now, &mut self.dice);
            }
            88..98 => self.now += self.dice.between(1, 700),
            _ => self.now += self.dice.between(700, 8000),
        }
        Ok(())
    }

    /// One request of a pass, or the begin of one.
    fn operate(&mut self) -> Result<(), Broken> {
        let process = self.dice.below(self.processes.len());
        if self.processes[process].away_until > self.now {
            return Ok(());
        }
        let passes = self.processes[process].passes.len();
        if passes == 0 || self.dice.per_mille(250) {
            if let Some(pass) = self.processes[process].begin(&self.settings, self.now) {
                self.totals.passes += 1;
                self.finish_if_over(process, pass);
            }
            return Ok(());
        }
        let pass = self.dice.below(passes);
        self.request(process, pass)
    }

    /// Some news reach a cache.
    fn deliver(&mut self) {
        let process = self.dice.below(self.processes.len());
        let resource = *self.dice.pick(&Resource::ALL);
        let most = if self.dice.per_mille(500) {
            usize::MAX
        } else {
            self.dice.below(4)
        };
        let process = &mut self.processes[process];
        if process
            .stalled
            .get(&resource)
            .is_none_or(|until| *until <= self.now)
            && process.away_until <= self.now
        {
            process.advance(&self.world, resource, most, self.now);
        }
    }

    /// A process asks what its passes want to know, and hears the answers.
    fn ask(&mut self) {
        let process = self.dice.below(self.processes.len());
        if self.processes[process].away_until <= self.now {
            self.processes[process].ask(&self.world, self.now);
        }
    }

    fn finish_if_over(&mut self, process: usize, pass: usize) {
        if self.processes[process].passes[pass].next().is_none() {
            self.processes[process].finish(pass, self.now);
        }
    }

    /// Carries out the next request of a pass.
    fn request(&mut self, process: usize, pass: usize) -> Result<(), Broken> {
        let now = at(self.now);
        let doing = &mut self.processes[process].passes[pass];
        let Some(request) = doing.next() else {
            self.finish_if_over(process, pass);
            return Ok(());
        };
        if let Request::LookUp(object) = &request {
            let live = target(&self.world, &request, pass_key(doing)).cloned();
            doing.looked_up(object, live.as_deref(), now);
            self.finish_if_over(process, pass);
            return Ok(());
        }
        let fate = self.faults.fate(self.totals.writes, &mut self.dice);
        self.totals.writes += 1;
        if fate == Fate::CrashBefore {
            self.crash(process);
            return Ok(());
        }
        let answer = if fate == Fate::Lost {
            self.tell(&format!("p{process} {} is lost", describe(&request)));
            Err(ApiError::Unclear("lost"))
        } else {
            self.write(process, pass, &request)?
        };
        let answer = if fate == Fate::AnswerLost {
            Err(ApiError::Unclear("answer lost"))
        } else {
            answer
        };
        if fate == Fate::CrashAfter {
            self.crash(process);
        } else if self.processes[process].passes[pass].answered(&request, answer, now) {
            self.processes[process].finish(pass, self.now);
        }
        Ok(())
    }

    fn write(
        &mut self,
        process: usize,
        pass: usize,
        request: &Request,
    ) -> Result<Result<(), ApiError>, Broken> {
        let doing = &self.processes[process].passes[pass];
        let key = pass_key(doing);
        let before = target(&self.world, request, key).cloned();
        let version = self.world.version();
        let answer = doing.send(&mut self.world, request, at(self.now));
        let changed = self.world.version() != version;
        let line = format!(
            "p{process} for {}@{}: {} -> {}",
            key.1,
            doing.main.body.version(),
            describe(request),
            match &answer {
                Ok(()) if changed => "done".to_owned(),
                Ok(()) => "unchanged".to_owned(),
                Err(error) => format!("{error:?}"),
            }
        );
        self.tell(&line);
        if changed {
            self.totals.changes += 1;
            self.last_change = self.now;
            let doing = &self.processes[process].passes[pass];
            let done = Done {
                pass: doing,
                request,
                before,
                world: &self.world,
                now: self.now,
            };
            if let Err(rule) = self.invariants.check(&done) {
                return Err(self.broken(rule));
            }
        }
        Ok(answer)
    }

    pub(crate) fn crash(&mut self, process: usize) {
        self.totals.crashes += 1;
        self.tell(&format!("p{process} crashes"));
        let away = self.dice.between(0, 5000);
        let process = &mut self.processes[process];
        process.restart(&self.world, self.now);
        process.away_until = self.now + away;
    }

    /// Runs without chance until nothing happens any more.
    pub(crate) fn rest(&mut self) -> Result<(), Broken> {
        let begin = self.now;
        self.last_change = self.now;
        for _ in 0..REST_STEPS {
            self.totals.steps += 1;
            self.cluster.notice(&self.world, self.now, &mut self.dice);
            if self.work()? {
                continue;
            }
            let dues = self.processes.iter().filter_map(|process| {
                process
                    .next_due()
                    .filter(|_| process.leads)
                    .map(|due| due.max(process.away_until))
            });
            let next = dues.chain(self.cluster.next_due()).min();
            let Some(next) = next else {
                return Ok(());
            };
            let idle = self.cluster.next_due().is_none();
            if idle && next.max(self.now) - self.last_change > REST {
                return Ok(());
            }
            self.now = self.now.max(next);
            if self.now - begin > REST_WITHIN {
                return Err(
                    self.broken("the world does not come to rest within an hour".to_owned())
                );
            }
        }
        Err(self.broken("the world is never at rest".to_owned()))
    }

    /// One thing that can be done now; false if there is none.
    fn work(&mut self) -> Result<bool, Broken> {
        for process in 0..self.processes.len() {
            if self.processes[process].away_until > self.now {
                continue;
            }
            if self.processes[process].lags(&self.world) {
                self.processes[process].catch_up(&self.world, self.now);
                return Ok(true);
            }
            if !self.processes[process].passes.is_empty() {
                self.request(process, 0)?;
                return Ok(true);
            }
            if let Some(pass) = self.processes[process].begin(&self.settings, self.now) {
                self.totals.passes += 1;
                self.finish_if_over(process, pass);
                return Ok(true);
            }
            if self.processes[process].leads && self.processes[process].ask(&self.world, self.now) {
                return Ok(true);
            }
        }
        Ok(self
            .cluster
            .run_one(&mut self.world, self.now, &mut self.dice))
    }

    /// From now on nothing goes wrong, and only the first process leads.
    pub(crate) fn calm(&mut self) {
        self.faults = Faults::None;
        for process in &mut self.processes {
            process.stalled.clear();
            process.away_until = process.away_until.min(self.now);
            process.leads = process.number == 0;
        }
    }
}

type KeyView<'a> = (Resource, &'a str);

fn pass_key(pass: &crate::operator::Pass) -> KeyView<'_> {
    (pass.key.resource, pass.key.name.as_str())
}

fn target<'a>(world: &'a World, request: &Request, key: KeyView<'_>) -> Option<&'a Arc<Stored>> {
    match request {
        Request::LookUp(object) | Request::Apply { object, .. } => {
            let name = object.name();
            world.get(Resource::Of(name.kind), &name.name)
        }
        Request::Delete { kind, name, .. } => world.get(Resource::Of(*kind), name),
        Request::PutStatus(_) => world.get(key.0, key.1),
    }
}

fn describe(request: &Request) -> String {
    match request {
        Request::LookUp(object) => format!("look up {}", object.name()),
        Request::Apply { object, version } => {
            let detail = match object {
                Object::Deployment(deployment) => {
                    let spec = deployment.spec.as_ref();
                    format!(" replicas {:?}", spec.and_then(|spec| spec.replicas))
                }
                Object::Service(service) => {
                    let selector = service
                        .spec
                        .as_ref()
                        .and_then(|spec| spec.selector.as_ref());
                    format!(
                        " selecting {:?}",
                        selector.and_then(|s| s.get(orlop_plan::labels::REVISION))
                    )
                }
                _ => String::new(),
            };
            format!("apply {} over {version:?}{detail}", object.name())
        }
        Request::Delete {
            kind, name, uid, ..
        } => format!("delete {kind}/{name} ({uid})"),
        Request::PutStatus(crate::world::Status::AppService(status)) => {
            let record = &status.record;
            let release = record.release.as_ref();
            let release = release.map(|r| format!("{:?} {} -> {}", r.phase, r.from, r.to));
            let held = record
                .hold
                .as_ref()
                .map(|hold| (&hold.reason, &hold.instead));
            let answered = record.command.as_ref();
            let answered = answered.map(|it| (&it.command, &it.outcome));
            let ready = status.conditions.first().map(|c| c.message.clone());
            format!(
                "status: active {:?}, release {release:?}, held {held:?}, answered {answered:?}, \
                 pruning {}, {ready:?}",
                record.active_revision,
                status.pruning.len()
            )
        }
        Request::PutStatus(crate::world::Status::AppPlatform(status)) => {
            let ready = status.conditions.first().map(|c| c.message.clone());
            format!("status: {:?}, pruning {}", ready, status.pruning.len())
        }
    }
}
