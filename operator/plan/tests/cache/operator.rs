//! The operator around the real state machine: readings that are lost, late or mixed, a status that
//! is guarded by its version, and a process that may die between any two of its doings.

use orlop_plan::cache::{Action, Formation, Reading, Step, is_still_due, reading::State, step};

use crate::{
    seed::Dice,
    world::{Millis, TICK, World},
};

/// The CacheTier's status in the API server.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Stored {
    pub(crate) version: u64,
    pub(crate) formation: Option<Formation>,
}

/// What goes wrong, each of a thousand times.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) node_unread: usize,
    pub(crate) reading_late: usize,
    pub(crate) lost: usize,
    pub(crate) answer_lost: usize,
    pub(crate) crash: usize,
}

/// One process of the operator.
pub(crate) struct Operator {
    pub(crate) leads: bool,
    pub(crate) away_until: Millis,
    /// What its cache shows of the status.
    seen: Stored,
    reading: Option<Reading>,
    /// A reading that is under way: half of the nodes have answered.
    half: Option<Reading>,
    due: Vec<Action>,
    fresh: Option<Reading>,
    pub(crate) last: Option<Step>,
}

impl Operator {
    pub(crate) fn new(leads: bool) -> Self {
        Self {
            leads,
            away_until: 0,
            seen: Stored::default(),
            reading: None,
            half: None,
            due: Vec::new(),
            fresh: None,
            last: None,
        }
    }

    /// Dies and starts: all that it knew is gone.
    pub(crate) fn restart(&mut self, now: Millis) {
        *self = Self {
            away_until: now + 2_000,
            ..Self::new(self.leads)
        };
    }

    pub(crate) fn turn(&mut self, world: &mut World, stored: &mut Stored, faults: Faults) {
        if !self.leads || self.away_until > world.now {
            return;
        }
        // A watch lags behind.
        if world.dice.per_mille(700) {
            self.seen = stored.clone();
        }
        if !self.due.is_empty() {
            return self.act(world, faults);
        }
        match self.reading.take() {
            None => self.poll(world, faults),
            Some(reading) if world.dice.per_mille(faults.reading_late) => {
                self.reading = Some(reading);
            }
            Some(reading) => self.pass(world, stored, &reading, faults),
        }
    }

    /// Two ticks: some nodes answer in the first, the others in the second.
    fn poll(&mut self, world: &mut World, faults: Faults) {
        let now = read(world, faults);
        match self.half.take() {
            None => self.half = Some(now),
            Some(mut reading) => {
                for (name, node) in now.nodes {
                    if world.dice.per_mille(500) {
                        reading.nodes.insert(name, node);
                    }
                }
                self.reading = Some(reading);
            }
        }
    }

    fn pass(&mut self, world: &mut World, stored: &mut Stored, reading: &Reading, faults: Faults) {
        let step = step(&world.shape, reading, self.seen.formation.as_ref());
        self.last = Some(step.clone());
        if step.formation != self.seen.formation {
            let dies = world.dice.per_mille(faults.crash);
            if !(dies && world.dice.per_mille(500) || world.dice.per_mille(faults.lost)) {
                self.write(world, stored, step.formation);
            }
            if dies {
                world.tell("the operator dies at a status");
                self.restart(world.now);
            }
            return;
        }
        self.due = step.actions;
    }

    fn write(&self, world: &mut World, stored: &mut Stored, formation: Option<Formation>) {
        if self.seen.version != stored.version {
            world.tell("a status is refused: it has changed since");
            return;
        }
        world.tell(format!("status: {formation:?}"));
        stored.version += 1;
        stored.formation = formation;
    }

    /// One action at a time: read everything, see whether it is still due, do it a moment later.
    fn act(&mut self, world: &mut World, faults: Faults) {
        let Some(fresh) = self.fresh.take() else {
            self.fresh = Some(read(world, faults));
            return;
        };
        let action = self.due.remove(0);
        if !is_still_due(&action, &world.shape, &fresh, self.seen.formation.as_ref()) {
            return;
        }
        let dies = world.dice.per_mille(faults.crash);
        let lost = world.dice.per_mille(faults.lost) || dies && world.dice.per_mille(500);
        let unanswered = world.dice.per_mille(faults.answer_lost);
        let done = if lost {
            Err("lost".to_owned())
        } else {
            world.perform(&action)
        };
        if done.is_err() || unanswered {
            self.due.clear();
        }
        if dies {
            world.tell("the operator dies at an action");
            self.restart(world.now);
        }
    }
}

fn read(world: &mut World, faults: Faults) -> Reading {
    let mut reading = world.read();
    for node in reading.nodes.values_mut() {
        if world.dice.per_mille(faults.node_unread) {
            node.state = State::Unreachable("no answer".to_owned());
        }
    }
    reading
}

/// A whole run: the world, the status and the processes of the operator.
pub(crate) struct Simulation {
    pub(crate) world: World,
    pub(crate) stored: Stored,
    pub(crate) operators: Vec<Operator>,
    pub(crate) faults: Faults,
    dice: Dice,
}

impl Simulation {
    pub(crate) fn new(world: World, operators: usize, seed: u64) -> Self {
        Self {
            world,
            stored: Stored::default(),
            operators: (0..operators)
                .map(|number| Operator::new(number == 0))
                .collect(),
            faults: Faults::default(),
            dice: Dice::new(!seed),
        }
    }

    pub(crate) fn chance(&mut self) -> &mut Dice {
        &mut self.dice
    }

    pub(crate) fn tick(&mut self) -> Result<(), String> {
        self.world.now += TICK;
        self.world.start_processes();
        self.world.gossip();
        self.world.elect();
        self.world.move_data();
        for operator in &mut self.operators {
            operator.turn(&mut self.world, &mut self.stored, self.faults);
        }
        self.world.check();
        match &self.world.broken {
            Some(broken) => Err(broken.clone()),
            None => Ok(()),
        }
    }

    /// Runs until the cache is complete and recorded as such.
    pub(crate) fn until_ready(&mut self, within: Millis) -> Result<(), String> {
        let deadline = self.world.now + within;
        while self.world.now < deadline {
            self.tick()?;
            if self.is_ready() {
                return Ok(());
            }
        }
        let last = self.operators.iter().filter(|operator| operator.leads);
        let causes: Vec<_> = last.map(|operator| operator.last.as_ref()).collect();
        Err(format!("not ready after {within} ms: {causes:?}"))
    }

    /// By the truth, and by the word of whoever leads.
    fn is_ready(&self) -> bool {
        let formation = self.stored.formation.as_ref();
        let truth = step(&self.world.shape, &self.world.read(), formation);
        truth.cause.is_none()
            && truth.actions.is_empty()
            && formation.is_some_and(|formation| formation.formed)
            && self
                .operators
                .iter()
                .filter(|operator| operator.leads)
                .all(|operator| {
                    let last = operator.last.as_ref();
                    operator.reading.is_none()
                        && last.is_some_and(|step| step.cause.is_none() && step.actions.is_empty())
                })
    }

    /// Nothing is written and nothing done for a while.
    pub(crate) fn stays_quiet(&mut self, length: Millis) -> Result<(), String> {
        let before = (self.world.done, self.stored.version);
        let end = self.world.now + length;
        while self.world.now < end {
            self.tick()?;
        }
        if before == (self.world.done, self.stored.version) {
            Ok(())
        } else {
            Err("something is done although all is well".to_owned())
        }
    }

    /// What every copy held at one time is still there.
    pub(crate) fn nothing_lost(&self) -> Result<(), String> {
        for shard in 0..self.world.shape.shards {
            let owner = self.world.own().find(|place| {
                place.volume.me().slots.contains(&shard) && place.volume.me().primary.is_none()
            });
            let has = owner.map_or(0, |place| place.volume.data);
            let durable = self.world.durable.get(&shard).copied().unwrap_or(0);
            if has < durable {
                return Err(format!(
                    "shard {shard} has write {has}, {durable} was everywhere"
                ));
            }
        }
        Ok(())
    }
}
