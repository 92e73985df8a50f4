//! A small world in which every step of the protocol can be interleaved with every fault: one
//! row, one key, one or two cache nodes, two processes.
//!
//! Time is abstract. A lease may run out at any moment, and a wait for leases ends when each
//! process that held one at its start has renewed it or lost it: that is all that clocks promise.

mod fault;
mod reader;
mod writer;

use orlop_api::cache::protocol::{Debt, Epoch, Inside, Layout, Trust};

use crate::cell::{self, Cell, Content};

pub(crate) const PROCESSES: usize = 2;
pub(crate) const LAYOUT: Layout = Layout(1);

/// How often each fault may strike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Faults {
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
pub(crate) enum Flaw {
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
pub(crate) struct Node {
    pub cell: Cell,
    /// Everything that the key has held: what a crash may bring back.
    pub past: Vec<Cell>,
    /// Epochs whose script is loaded.
    pub scripts: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reader {
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
pub(crate) enum Writer {
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
pub(crate) struct Late {
    pub node: usize,
    pub command: Command,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Command {
    Fill { epoch: u8, token: u8, version: u8 },
    Intend { epoch: u8, token: u8 },
    Settle { epoch: u8, token: u8 },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
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
pub(crate) type Step = (&'static str, usize, &'static str);
pub(crate) type Steps = Vec<(Step, World)>;

impl World {
    /// The cache is trusted and holds the row.
    pub(crate) fn new(
        flaw: Flaw,
        faults: Faults,
        readers: usize,
        writers: usize,
        reads: u8,
    ) -> Self {
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
    pub(crate) fn steps(&self) -> Steps {
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
    pub(crate) fn at_rest(&self) -> bool {
        self.late.is_none()
            && self
                .writers
                .iter()
                .all(|writer| matches!(writer, Writer::Idle | Writer::Done | Writer::Dead))
    }

    /// Whether a process would go on to serve a row that is not the committed one.
    pub(crate) fn serves_old(&self) -> bool {
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

fn short(epoch: Epoch) -> u8 {
    u8::try_from(epoch.0).unwrap()
}

fn long(epoch: u8) -> Epoch {
    Epoch(u64::from(epoch))
}
