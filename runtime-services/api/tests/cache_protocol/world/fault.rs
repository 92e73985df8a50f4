//! What happens to processes, nodes and the network.

use super::{Command, Flaw, Late, PROCESSES, Reader, Steps, World, Writer};

impl World {
    pub(super) fn process_steps(&self, process: usize, next: &mut Steps) {
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

    pub(super) fn fault_steps(&self, next: &mut Steps) {
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
                world.nodes[0].cell.clone_from(cell);
                world.nodes[0].scripts = 0;
                world.forget();
                next.push((("node", 0, "restarts"), world));
            }
        }
        if self.faults.failovers > 0 {
            for cell in &self.nodes[0].past {
                let mut world = self.clone();
                world.faults.failovers -= 1;
                world.nodes[1].cell.clone_from(cell);
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
    pub(super) fn timeouts(
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
}
