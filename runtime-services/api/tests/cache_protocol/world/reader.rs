//! What readers do.

use super::{Command, Flaw, PROCESSES, Reader, Steps, World};
use crate::cell::{self, Asked};

impl World {
    pub(super) fn reader_steps(&self, reader: usize, next: &mut Steps) {
        let process = reader % PROCESSES;
        let mut world = self.clone();
        let name = match self.readers[reader] {
            // The joined is served when the leader is done.
            Reader::Idle { reads_left: 0 } | Reader::Joined { .. } => return,
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
            Asked::Held(token) => {
                if let Some(leader) = self.loader(reader, Some(token)) {
                    self.readers[reader] = Reader::Joined {
                        floor,
                        left,
                        leader,
                    };
                    return "joins the holder of the lease";
                }
                self.readers[reader] = direct;
                "finds another one's lease"
            }
            Asked::Written => {
                self.readers[reader] = direct;
                "finds an intent"
            }
        }
    }

    /// A reader of the same process that is loading the row, under the token if one is named.
    fn loader(&self, reader: usize, token: Option<u8>) -> Option<usize> {
        (0..self.readers.len()).find(|&other| {
            let (Reader::Loading {
                left,
                lease: Some(_),
                ..
            }
            | Reader::Filling { left, .. }) = self.readers[other]
            else {
                return false;
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
}

fn reader_token(reader: usize, left: u8) -> u8 {
    u8::try_from(reader).unwrap() * 8 + left
}
