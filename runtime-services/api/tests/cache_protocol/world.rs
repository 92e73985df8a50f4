//! A small world in which every step of the protocol can be interleaved with every fault: one
//! row, one key, one or two cache nodes, two processes.
//!
//! Time is abstract. A lease may run out at any moment, and a wait for leases ends when each
//! process that held one at its start has renewed it or lost it: that is all that clocks promise.

use orlop_api::cache::protocol::{self, Debt, Epoch, Inside, Layout, Outside, Since, Trust};

use crate::cell::{self, Asked, Cell, Content};

pub const PROCESSES: usize = 2;
pub const LAYOUT: Layout = Layout(1);

/// How often each fault may strike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Faults {
    /// The node restarts with what the key held at any earlier time, and an empty script cache.
    pub restarts: u8,
    /// Another node takes over with what the key held at any earlier time, while processes may
    /// go on to speak to the old one.
    pub failovers: u8,
    /// A command of a writer or a fill gets no answer: it is lost, done, or done at any later time.
    pub timeouts: u8,
    /// A process dies, its transactions roll back.
    pub kills: u8,
    /// The key vanishes: memory is full, or a time to live ends too early.
    pub evictions: u8,
    /// The trust is turned on again.
    pub renewals: u8,
}

/// Ways to break the protocol, each of which the search has to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flaw {
    None,
    /// A fill stores its row whatever the key holds: the well-known race.
    FillsWithoutLease,
    /// A restarted node answers as if it had forgotten nothing.
    ForgetsUnnoticed,
    /// A writer whose cache was away acknowledges at once.
    WaitsForNobody,
    /// A settling that got no answer counts as done.
    TrustsTimeouts,
    /// No intent before the commit, only the removal after it.
    IntendsNothing,
    /// The trust is turned on again under the eyes of open transactions.
    RenewsWithoutLock,
    /// A reader joins whatever load of the row is under way in its process.
    JoinsAnyLoad,
    /// The first of two writers to settle removes the other one's intent as well.
    SettlesForOthers,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    pub cell: Cell,
    /// Everything that the key has held: what a crash may bring back.
    pub past: Vec<Cell>,
    /// Epochs whose script is loaded.
    pub scripts: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reader {
    Idle {
        reads_left: u8,
    },
    Asking {
        floor: u8,
        left: u8,
        epoch: u8,
    },
    Loading {
        floor: u8,
        left: u8,
        lease: Option<u8>,
    },
    Filling {
        left: u8,
        epoch: u8,
        version: u8,
    },
    Joined {
        floor: u8,
        left: u8,
        leader: usize,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Writer {
    Idle,
    Inside(Inside),
    /// The row is locked and changed.
    Changed(Debt),
    Owing {
        debt: Debt,
        version: u8,
    },
    Revoking {
        epoch: u8,
        version: u8,
    },
    Waiting {
        version: u8,
        for_whom: u8,
    },
    Done,
    Dead,
}

/// A command that the network still holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Late {
    pub node: usize,
    pub command: Command,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    Fill { epoch: u8, token: u8, version: u8 },
    Intend { epoch: u8, token: u8 },
    Settle { epoch: u8, token: u8 },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub flaw: Flaw,
    pub faults: Faults,
    /// The committed version of the row, and the newest one acknowledged.
    pub version: u8,
    pub acknowledged: u8,
    pub trust: (u8, bool),
    pub nodes: Vec<Node>,
    /// Which node each process takes for the primary.
    pub view: [usize; PROCESSES],
    pub lease: [Option<u8>; PROCESSES],
    /// The epoch that a process has seen off, and who held a lease then and has held it since.
    pub seen_off: [Option<(u8, u8)>; PROCESSES],
    /// The epoch whose script a process has loaded and may turn on next.
    pub loaded: [Option<u8>; PROCESSES],
    /// Reader `i` and writer `i` are of process `i % PROCESSES`.
    pub readers: Vec<Reader>,
    pub writers: Vec<Writer>,
    pub row_lock: Option<usize>,
    pub trust_lock: Option<usize>,
    pub late: Option<Late>,
    /// What was broken, if anything was.
    pub broken: Option<&'static str>,
}

/// Who does what.
pub type Step = (&'static str, usize, &'static str);
pub type Steps = Vec<(Step, World)>;

impl World {
    /// The cache is trusted and holds the row.
    pub fn new(flaw: Flaw, faults: Faults, readers: usize, writers: usize, reads: u8) -> Self {
        let cell = Some((1, Content::Row(0)));
        let node = Node {
            cell: cell.clone(),
            past: vec![None, cell],
            scripts: 1 << 1,
        };
        let spare = Node {
            cell: None,
            past: Vec::new(),
            scripts: 0,
        };
        let nodes = if faults.failovers > 0 {
            vec![node, spare]
        } else {
            vec![node]
        };
        Self {
            flaw,
            faults,
            version: 0,
            acknowledged: 0,
            trust: (1, true),
            nodes,
            view: [0; PROCESSES],
            lease: [Some(1); PROCESSES],
            seen_off: [None; PROCESSES],
            loaded: [None; PROCESSES],
            readers: vec![Reader::Idle { reads_left: reads }; readers],
            writers: vec![Writer::Idle; writers],
            row_lock: None,
            trust_lock: None,
            late: None,
            broken: None,
        }
    }

    /// Every world that one step leads to, with the step's name.
    pub fn steps(&self) -> Steps {
        let mut next = Vec::new();
        for reader in 0..self.readers.len() {
            self.reader_steps(reader, &mut next);
        }
        for writer in 0..self.writers.len() {
            self.writer_steps(writer, &mut next);
        }
        for process in 0..PROCESSES {
            self.process_steps(process, &mut next);
        }
        self.fault_steps(&mut next);
        next
    }

    fn reader_steps(&self, reader: usize, next: &mut Steps) {
        let process = reader % PROCESSES;
        let mut world = self.clone();
        let name = match self.readers[reader] {
            Reader::Idle { reads_left: 0 } => return,
            Reader::Idle { reads_left } => {
                let (floor, left) = (self.acknowledged, reads_left - 1);
                world.readers[reader] = match self.lease[process] {
                    Some(epoch) => Reader::Asking { floor, left, epoch },
                    None => Reader::Loading {
                        floor,
                        left,
                        lease: None,
                    },
                };
                "starts"
            }
            Reader::Asking { floor, left, epoch } => world.ask(reader, floor, left, epoch),
            Reader::Loading { floor, left, lease } => {
                world.answer(self.version, floor);
                world.readers[reader] = match lease {
                    Some(epoch) => Reader::Filling {
                        left,
                        epoch,
                        version: self.version,
                    },
                    None => Reader::Idle { reads_left: left },
                };
                "loads"
            }
            Reader::Filling {
                left,
                epoch,
                version,
            } => {
                let command = Command::Fill {
                    epoch,
                    token: reader_token(reader, left),
                    version,
                };
                world.readers[reader] = Reader::Idle { reads_left: left };
                self.timeouts(&world, process, command, ("reader", reader), next);
                world.run(self.view[process], command);
                world.serve_joined(reader, version);
                "fills"
            }
            // Served when the leader is done.
            Reader::Joined { .. } => return,
        };
        next.push((("reader", reader, name), world));
    }

    fn ask(&mut self, reader: usize, floor: u8, left: u8, epoch: u8) -> &'static str {
        let process = reader % PROCESSES;
        let direct = Reader::Loading {
            floor,
            left,
            lease: None,
        };
        if !self.knows(self.view[process], epoch) {
            self.lease[process] = None;
            self.readers[reader] = direct;
            return "is told that the script is gone";
        }
        if self.flaw == Flaw::JoinsAnyLoad
            && let Some(leader) = self.loader(reader, None)
        {
            self.readers[reader] = Reader::Joined {
                floor,
                left,
                leader,
            };
            return "joins";
        }
        let node = self.view[process];
        match cell::ask(
            &mut self.nodes[node].cell,
            epoch,
            reader_token(reader, left),
        ) {
            Asked::Hit(version) => {
                self.answer(version, floor);
                self.readers[reader] = Reader::Idle { reads_left: left };
                "hits"
            }
            Asked::Granted => {
                self.remember(node);
                self.readers[reader] = Reader::Loading {
                    floor,
                    left,
                    lease: Some(epoch),
                };
                "misses and gets the lease"
            }
            Asked::Held(token) => match self.loader(reader, Some(token)) {
                Some(leader) => {
                    self.readers[reader] = Reader::Joined {
                        floor,
                        left,
                        leader,
                    };
                    "joins the holder of the lease"
                }
                None => {
                    self.readers[reader] = direct;
                    "finds another one's lease"
                }
            },
            Asked::Written => {
                self.readers[reader] = direct;
                "finds an intent"
            }
        }
    }

    /// A reader of the same process that is loading the row, under the token if one is named.
    fn loader(&self, reader: usize, token: Option<u8>) -> Option<usize> {
        (0..self.readers.len()).find(|&other| {
            let left = match self.readers[other] {
                Reader::Loading {
                    left,
                    lease: Some(_),
                    ..
                }
                | Reader::Filling { left, .. } => left,
                _ => return false,
            };
            other != reader
                && other % PROCESSES == reader % PROCESSES
                && token.is_none_or(|token| token == reader_token(other, left))
        })
    }

    fn serve_joined(&mut self, leader: usize, version: u8) {
        for reader in 0..self.readers.len() {
            if let Reader::Joined {
                floor,
                left,
                leader: followed,
            } = self.readers[reader]
                && followed == leader
            {
                self.answer(version, floor);
                self.readers[reader] = Reader::Idle { reads_left: left };
            }
        }
    }

    fn answer(&mut self, version: u8, floor: u8) {
        if version < floor {
            self.broken = Some("a read returned less than was acknowledged before it started");
        }
    }

    fn writer_steps(&self, writer: usize, next: &mut Steps) {
        let process = writer % PROCESSES;
        let mut world = self.clone();
        let name = match self.writers[writer] {
            Writer::Idle => {
                world.begin(writer);
                "reads the trust"
            }
            Writer::Inside(Inside::Intend(epoch)) => {
                let of = short(epoch);
                if self.knows(self.view[process], of) {
                    let command = Command::Intend {
                        epoch: of,
                        token: writer_token(writer),
                    };
                    let mut unsure = world.clone();
                    unsure.writers[writer] = Writer::Inside(protocol::intended(epoch, false));
                    self.timeouts(&unsure, process, command, ("writer", writer), next);
                    if self.flaw != Flaw::IntendsNothing {
                        world.run(self.view[process], command);
                    }
                    world.writers[writer] = Writer::Inside(protocol::intended(epoch, true));
                } else {
                    world.lease[process] = None;
                    world.writers[writer] = Writer::Inside(protocol::intended(epoch, false));
                }
                "intends"
            }
            Writer::Inside(Inside::Revoke(epoch)) => {
                if self.trust_lock.is_some() {
                    return;
                }
                world.trust_lock = Some(writer);
                world.writers[writer] = Writer::Inside(protocol::revoked_inside(epoch));
                "revokes in its transaction"
            }
            Writer::Inside(Inside::Commit(debt)) => {
                if self.row_lock.is_some() {
                    return;
                }
                world.row_lock = Some(writer);
                world.writers[writer] = Writer::Changed(debt);
                "changes the row"
            }
            Writer::Changed(debt) => {
                world.version += 1;
                world.row_lock = None;
                if self.trust_lock == Some(writer) {
                    world.trust_lock = None;
                    world.trust.1 = false;
                }
                world.writers[writer] = Writer::Owing {
                    debt,
                    version: world.version,
                };
                "commits"
            }
            Writer::Owing {
                debt: Debt::Settle(epoch),
                version,
            } => world.settle(writer, version, epoch, self, next),
            Writer::Owing {
                debt: Debt::Wait(since),
                version,
            } => {
                world.wait(writer, since, version);
                "starts to wait"
            }
            Writer::Revoking { epoch, version } => {
                if self.trust_lock.is_some() {
                    return;
                }
                if world.trust.0 == epoch {
                    world.trust.1 = false;
                }
                let then = protocol::revoked_outside(long(epoch), world.trust());
                world.after(writer, version, then);
                "revokes"
            }
            Writer::Waiting {
                version,
                for_whom: 0,
            } => {
                world.acknowledge(writer, version);
                "has waited"
            }
            Writer::Waiting { .. } | Writer::Done | Writer::Dead => return,
        };
        next.push((("writer", writer, name), world));
    }

    fn begin(&mut self, writer: usize) {
        let process = writer % PROCESSES;
        let inside = protocol::trust_read(self.trust(), LAYOUT, true);
        if let Inside::Commit(Debt::Wait(_)) = inside {
            self.see_off(process);
        }
        self.writers[writer] = Writer::Inside(inside);
    }

    fn settle(
        &mut self,
        writer: usize,
        version: u8,
        epoch: Epoch,
        before: &World,
        next: &mut Steps,
    ) -> &'static str {
        let process = writer % PROCESSES;
        let of = short(epoch);
        if !self.knows(self.view[process], of) {
            self.lease[process] = None;
            self.after(writer, version, protocol::settled(epoch, false));
            return "is told at settling that the script is gone";
        }
        let command = Command::Settle {
            epoch: of,
            token: writer_token(writer),
        };
        let mut unsure = self.clone();
        unsure.after(
            writer,
            version,
            protocol::settled(epoch, self.flaw == Flaw::TrustsTimeouts),
        );
        before.timeouts(&unsure, process, command, ("writer", writer), next);
        self.run(self.view[process], command);
        self.after(writer, version, protocol::settled(epoch, true));
        "settles"
    }

    fn after(&mut self, writer: usize, version: u8, then: Outside) {
        match then {
            Outside::Acknowledge => self.acknowledge(writer, version),
            Outside::Revoke(epoch) => {
                self.writers[writer] = Writer::Revoking {
                    epoch: short(epoch),
                    version,
                };
            }
            Outside::Wait(since) => self.wait(writer, since, version),
        }
    }

    fn wait(&mut self, writer: usize, since: Since, version: u8) {
        let process = writer % PROCESSES;
        let for_whom = match since {
            _ if self.flaw == Flaw::WaitsForNobody => 0,
            Since::Now(_) => self.holders(),
            // Not being there means that a newer epoch was seen since: all have stopped.
            Since::SeenOff(epoch) => match self.seen_off[process] {
                Some((seen, holders)) if seen == short(epoch) => holders,
                _ => 0,
            },
        };
        self.writers[writer] = Writer::Waiting { version, for_whom };
    }

    fn acknowledge(&mut self, writer: usize, version: u8) {
        self.acknowledged = self.acknowledged.max(version);
        self.writers[writer] = Writer::Done;
    }

    fn process_steps(&self, process: usize, next: &mut Steps) {
        let mut tick = self.clone();
        tick.lose_lease(process);
        if self.trust.1 {
            tick.lease[process] = Some(self.trust.0);
            tick.seen_off[process] = None;
            tick.loaded[process] = None;
        } else {
            tick.see_off(process);
        }
        next.push((("process", process, "asks for the trust"), tick));
        if self.lease[process].is_some() {
            let mut late = self.clone();
            late.lose_lease(process);
            next.push((("process", process, "loses its lease"), late));
        }
        self.renewal_steps(process, next);
    }

    fn renewal_steps(&self, process: usize, next: &mut Steps) {
        let waited = self.seen_off[process] == Some((self.trust.0, 0));
        match self.loaded[process] {
            None if waited && self.faults.renewals > 0 => {
                let mut world = self.clone();
                let epoch = 4 - self.faults.renewals;
                world.faults.renewals -= 1;
                world.nodes[self.view[process]].scripts |= 1 << epoch;
                world.loaded[process] = Some(epoch);
                next.push((("process", process, "loads the script of"), world));
            }
            Some(epoch) if waited && !self.trust.1 && self.may_renew() => {
                let mut world = self.clone();
                world.trust = (epoch, true);
                world.loaded[process] = None;
                next.push((("process", process, "turns the trust on"), world));
            }
            _ => {}
        }
    }

    /// The exclusive lock is free: no transaction is open.
    fn may_renew(&self) -> bool {
        self.flaw == Flaw::RenewsWithoutLock
            || !self
                .writers
                .iter()
                .any(|writer| matches!(writer, Writer::Inside(_) | Writer::Changed(_)))
    }

    fn fault_steps(&self, next: &mut Steps) {
        if let Some(Late { node, command }) = self.late {
            let mut world = self.clone();
            world.late = None;
            world.run(node, command);
            next.push((("command", node, "arrives late"), world));
        }
        if self.faults.restarts > 0 {
            for cell in &self.nodes[0].past {
                let mut world = self.clone();
                world.faults.restarts -= 1;
                world.nodes[0].cell = cell.clone();
                world.nodes[0].scripts = 0;
                world.forget();
                next.push((("node", 0, "restarts"), world));
            }
        }
        if self.faults.failovers > 0 {
            for cell in &self.nodes[0].past {
                let mut world = self.clone();
                world.faults.failovers -= 1;
                world.nodes[1].cell = cell.clone();
                world.forget();
                world.nodes[1].past = vec![cell.clone()];
                next.push((("node", 1, "takes over"), world));
            }
        }
        if self.nodes.len() > 1 && !self.nodes[1].past.is_empty() {
            for process in (0..PROCESSES).filter(|&process| self.view[process] == 0) {
                let mut world = self.clone();
                world.view[process] = 1;
                next.push((("process", process, "turns to node 1"), world));
            }
        }
        if self.faults.evictions > 0 {
            for node in (0..self.nodes.len()).filter(|&node| self.nodes[node].cell.is_some()) {
                let mut world = self.clone();
                world.faults.evictions -= 1;
                world.nodes[node].cell = None;
                next.push((("node", node, "evicts the key"), world));
            }
        }
        if self.faults.kills > 0 {
            for process in 0..PROCESSES {
                next.push((("process", process, "is killed"), self.killed(process)));
            }
        }
    }

    fn killed(&self, process: usize) -> World {
        let mut world = self.clone();
        world.faults.kills -= 1;
        for reader in (process..self.readers.len()).step_by(PROCESSES) {
            world.readers[reader] = Reader::Idle { reads_left: 0 };
        }
        for writer in (process..self.writers.len()).step_by(PROCESSES) {
            if self.writers[writer] != Writer::Done {
                world.writers[writer] = Writer::Dead;
            }
            if self.row_lock == Some(writer) {
                world.row_lock = None;
            }
            if self.trust_lock == Some(writer) {
                world.trust_lock = None;
            }
        }
        world.lose_lease(process);
        world.loaded[process] = None;
        world
    }

    /// The three ends of a command that gets no answer; `unsure` is the world of who sent it.
    fn timeouts(
        &self,
        unsure: &World,
        process: usize,
        command: Command,
        (who, index): (&'static str, usize),
        next: &mut Steps,
    ) {
        if self.faults.timeouts == 0 {
            return;
        }
        let mut lost = unsure.clone();
        lost.faults.timeouts -= 1;
        let mut done = lost.clone();
        done.run(self.view[process], command);
        let mut late = lost.clone();
        late.late = Some(Late {
            node: self.view[process],
            command,
        });
        next.push(((who, index, "sends what is lost"), lost));
        next.push(((who, index, "sends what is done and not answered"), done));
        next.push(((who, index, "sends what is long on its way"), late));
    }

    fn run(&mut self, node: usize, command: Command) {
        let (Command::Fill { epoch, .. }
        | Command::Intend { epoch, .. }
        | Command::Settle { epoch, .. }) = command;
        if !self.knows(node, epoch) {
            return;
        }
        let cell = &mut self.nodes[node].cell;
        match command {
            Command::Fill { epoch, version, .. } if self.flaw == Flaw::FillsWithoutLease => {
                *cell = Some((epoch, Content::Row(version)));
            }
            Command::Fill {
                epoch,
                token,
                version,
            } => {
                cell::fill(cell, epoch, token, version);
            }
            Command::Intend { epoch, token } => cell::intend(cell, epoch, token),
            Command::Settle { .. } if self.flaw == Flaw::SettlesForOthers => *cell = None,
            Command::Settle { epoch, token } => cell::settle(cell, epoch, token),
        }
        self.remember(node);
    }

    fn remember(&mut self, node: usize) {
        if self.faults.restarts + self.faults.failovers == 0 {
            return;
        }
        let Node { cell, past, .. } = &mut self.nodes[node];
        if let Err(at) = past.binary_search(cell) {
            past.insert(at, cell.clone());
        }
    }

    /// What nothing can bring back any more makes no difference between worlds.
    fn forget(&mut self) {
        if self.faults.restarts + self.faults.failovers == 0 {
            for node in &mut self.nodes {
                node.past.clear();
            }
        }
    }

    fn knows(&self, node: usize, epoch: u8) -> bool {
        self.flaw == Flaw::ForgetsUnnoticed || self.nodes[node].scripts & (1 << epoch) != 0
    }

    fn trust(&self) -> Trust {
        Trust {
            epoch: long(self.trust.0),
            on: self.trust.1,
            layout: LAYOUT,
        }
    }

    fn see_off(&mut self, process: usize) {
        let holders = self.holders();
        match self.seen_off[process] {
            Some((epoch, _)) if epoch == self.trust.0 => {}
            _ => self.seen_off[process] = Some((self.trust.0, holders)),
        }
    }

    fn holders(&self) -> u8 {
        (0..PROCESSES)
            .filter(|&process| self.lease[process].is_some())
            .fold(0, |bits, process| bits | 1 << process)
    }

    /// The lease of before is over: whoever waits for it waits no longer.
    fn lose_lease(&mut self, process: usize) {
        self.lease[process] = None;
        let others = !(1 << process);
        for (_, holders) in self.seen_off.iter_mut().flatten() {
            *holders &= others;
        }
        for writer in &mut self.writers {
            if let Writer::Waiting { for_whom, .. } = writer {
                *for_whom &= others;
            }
        }
    }

    /// No writer is at work and nothing is on its way.
    pub fn at_rest(&self) -> bool {
        self.late.is_none()
            && self
                .writers
                .iter()
                .all(|writer| matches!(writer, Writer::Idle | Writer::Done | Writer::Dead))
    }

    /// Whether a process would go on to serve a row that is not the committed one.
    pub fn serves_old(&self) -> bool {
        (0..PROCESSES).any(|process| {
            let node = self.view[process];
            let (epoch, on) = self.trust;
            on && self.lease[process] == Some(epoch)
                && self.knows(node, epoch)
                && matches!(&self.nodes[node].cell,
                    Some((of, Content::Row(version))) if *of == epoch && *version < self.version)
        })
    }
}

fn reader_token(reader: usize, left: u8) -> u8 {
    u8::try_from(reader).unwrap() * 8 + left
}

fn writer_token(writer: usize) -> u8 {
    100 + u8::try_from(writer).unwrap()
}

fn short(epoch: Epoch) -> u8 {
    u8::try_from(epoch.0).unwrap()
}

fn long(epoch: u8) -> Epoch {
    Epoch(u64::from(epoch))
}
