//! What writers do: the decisions are the product's own.

use orlop_api::cache::protocol::{self, Debt, Epoch, Inside, Outside, Since};

use super::{Command, Flaw, LAYOUT, PROCESSES, Steps, World, Writer, long, short};

impl World {
    pub(super) fn writer_steps(&self, writer: usize, next: &mut Steps) {
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
            // The world begins with an epoch, so something is always owed.
            Writer::Owing {
                debt: Debt::Nothing,
                ..
            }
            | Writer::Waiting { .. }
            | Writer::Done
            | Writer::Dead => return,
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
}

fn writer_token(writer: usize) -> u8 {
    100 + u8::try_from(writer).unwrap()
}
