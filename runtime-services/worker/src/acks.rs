//! Which messages are finished, and with how few acknowledgements to say so.

use std::collections::BTreeMap;

/// What the broker is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ack {
    pub(crate) tag: u64,
    /// Stands for every unsettled tag up to this one.
    pub(crate) multiple: bool,
}

/// The messages of one channel that are not settled yet: as many as the prefetch count at most.
///
/// Awaiting each acknowledgement costs four times what a batch does, so that finished messages are
/// collected and acknowledged together: those before the oldest running one by a single
/// acknowledgement, the rest one by one, because a slow job must not keep the others' places.
#[derive(Debug, Default)]
pub(crate) struct Acks {
    unsettled: BTreeMap<u64, Progress>,
    finished: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Running,
    Finished,
}

impl Acks {
    pub(crate) fn deliver(&mut self, tag: u64) {
        self.unsettled.insert(tag, Progress::Running);
    }

    /// The message may be acknowledged from now on. Unknown tags are passed over.
    pub(crate) fn finish(&mut self, tag: u64) {
        if let Some(progress @ Progress::Running) = self.unsettled.get_mut(&tag) {
            *progress = Progress::Finished;
            self.finished += 1;
        }
    }

    /// The message was given back and is not to be acknowledged.
    pub(crate) fn give_back(&mut self, tag: u64) {
        if self.unsettled.remove(&tag) == Some(Progress::Finished) {
            self.finished -= 1;
        }
    }

    /// How many messages wait to be acknowledged.
    pub(crate) const fn waiting(&self) -> usize {
        self.finished
    }

    /// How many messages are neither acknowledged nor given back.
    pub(crate) fn unsettled(&self) -> usize {
        self.unsettled.len()
    }

    /// What to tell the broker now; whatever is returned counts as told.
    pub(crate) fn take(&mut self) -> Vec<Ack> {
        let oldest_running = self
            .unsettled
            .iter()
            .find(|(_, progress)| **progress == Progress::Running)
            .map(|(tag, _)| *tag);
        let mut finished = self
            .unsettled
            .extract_if(.., |_, progress| *progress == Progress::Finished)
            .map(|(tag, _)| tag)
            .peekable();
        let mut acks = Vec::new();
        let mut before_running = None;
        while let Some(tag) =
            finished.next_if(|tag| oldest_running.is_none_or(|running| *tag < running))
        {
            before_running = Some(tag);
        }
        acks.extend(before_running.map(|tag| Ack {
            tag,
            multiple: true,
        }));
        acks.extend(finished.map(|tag| Ack {
            tag,
            multiple: false,
        }));
        self.finished = 0;
        acks
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Deliver,
        /// Of the running ones, the n-th modulo their number.
        Finish(usize),
        GiveBack(usize),
        Take,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => Just(Step::Deliver),
            4 => any::<usize>().prop_map(Step::Finish),
            1 => any::<usize>().prop_map(Step::GiveBack),
            1 => Just(Step::Take),
        ];
        prop::collection::vec(step, 0..200)
    }

    /// The broker's side, and what the handler finished.
    #[derive(Default)]
    struct World {
        acks: Acks,
        delivered: u64,
        unsettled: BTreeSet<u64>,
        running: Vec<u64>,
        acknowledged: BTreeSet<u64>,
        given_back: BTreeSet<u64>,
    }

    impl World {
        fn deliver(&mut self) {
            self.delivered += 1;
            self.unsettled.insert(self.delivered);
            self.running.push(self.delivered);
            self.acks.deliver(self.delivered);
        }

        fn take_running(&mut self, at: usize) -> Option<u64> {
            let at = at.checked_rem(self.running.len())?;
            Some(self.running.swap_remove(at))
        }

        fn give_back(&mut self, tag: u64) {
            assert!(self.unsettled.remove(&tag));
            self.given_back.insert(tag);
            self.acks.give_back(tag);
        }

        /// Settles as RabbitMQ does, which closes the channel over a tag that is settled already.
        fn acknowledge(&mut self) {
            for Ack { tag, multiple } in self.acks.take() {
                assert!(self.unsettled.contains(&tag), "{tag} was settled before");
                let from = if multiple { 0 } else { tag };
                for settled in self.unsettled.extract_if(from..=tag, |_| true) {
                    assert!(!self.running.contains(&settled), "{settled} still runs");
                    assert!(self.acknowledged.insert(settled));
                }
            }
            assert_eq!(self.acks.waiting(), 0);
        }
    }

    proptest! {
        #[test]
        fn every_message_is_settled_once_and_none_before_it_is_finished(steps in steps()) {
            let mut world = World::default();
            for step in steps {
                match step {
                    Step::Deliver => world.deliver(),
                    Step::Finish(at) => {
                        if let Some(tag) = world.take_running(at) {
                            world.acks.finish(tag);
                        }
                    }
                    Step::GiveBack(at) => {
                        if let Some(tag) = world.take_running(at) {
                            world.give_back(tag);
                        }
                    }
                    Step::Take => world.acknowledge(),
                }
                prop_assert_eq!(world.acks.unsettled(), world.unsettled.len());
            }
            for tag in std::mem::take(&mut world.running) {
                world.acks.finish(tag);
            }
            world.acknowledge();
            prop_assert!(world.unsettled.is_empty());
            let settled = world.acknowledged.len() + world.given_back.len();
            prop_assert_eq!(settled as u64, world.delivered);
        }
    }

    #[test]
    fn what_finished_before_the_oldest_running_job_is_one_acknowledgement() {
        let mut acks = Acks::default();
        for tag in 1..=5 {
            acks.deliver(tag);
        }
        for tag in [1, 2, 3, 5] {
            acks.finish(tag);
        }
        let told = [(3, true), (5, false)].map(|(tag, multiple)| Ack { tag, multiple });
        assert_eq!(acks.take(), told);
        acks.finish(4);
        let told = [Ack {
            tag: 4,
            multiple: true,
        }];
        assert_eq!(acks.take(), told);
        assert_eq!(acks.unsettled(), 0);
    }
}
