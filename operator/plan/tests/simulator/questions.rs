//! What an operator asks in the background, and whoever is asked: Services, and what runs behind
//! them.

use orlop_plan::{
    Answer, Kind, Question, Snapshot,
    question::{Address, Ask, Reading},
};

use crate::{
    cluster::{Image, at, image_of, is_ready},
    endpoints,
    world::{Body, Resource, World},
};

/// What is asked for an object, and what was heard: lost with the process.
#[derive(Debug, Default)]
pub(crate) struct Inquiry {
    questions: Vec<Question>,
    heard: Reading,
}

impl Inquiry {
    pub(crate) fn want(&mut self, questions: Vec<Question>) {
        self.questions = questions;
    }

    pub(crate) fn next_due(&self) -> Option<i64> {
        let due = self.questions.iter().map(|question| {
            let tally = self.heard.tallies.get(&question.name);
            let tally = tally.filter(|tally| tally.since == question.since);
            let pause = i64::try_from(question.every.as_millis()).unwrap();
            tally.map_or(0, |tally| tally.asked.as_millisecond() + pause)
        });
        due.min()
    }

    pub(crate) fn ask(&mut self, world: &World, now: i64) -> bool {
        let due = |question: &&Question| self.heard.is_due(question, at(now));
        let due = self.questions.iter().filter(due);
        let answers: Vec<_> = due
            .map(|question| (question, answer(world, &question.ask)))
            .collect();
        if answers.is_empty() {
            return false;
        }
        self.heard = Reading::of_round(at(now), answers).following(Some(&self.heard));
        true
    }

    pub(crate) fn snapshot(&self, now: i64) -> Snapshot<Reading> {
        Snapshot {
            answer: Some(Answer {
                at: at(now),
                value: self.heard.clone(),
            }),
            failure: None,
        }
    }
}

/// The answer of this moment.
fn answer(world: &World, ask: &Ask) -> Result<(), String> {
    match ask {
        Ask::Reach { at, times: _ } => behind(world, at).map(|_| ()),
        Ask::Http { at, .. } => {
            let pods = behind(world, at)?;
            let is_wrong =
                |pod: &&Body| image_of(pod).is_some_and(|it| Image::of(it) == Image::Wrong);
            match pods.iter().find(|pod| is_wrong(pod)) {
                Some(_) => Err("answered 500".to_owned()),
                None => Ok(()),
            }
        }
        Ask::Prometheus { .. } => Ok(()),
    }
}

/// The pods that a Service addresses, all of which must answer.
fn behind<'a>(world: &'a World, address: &Address) -> Result<Vec<&'a Body>, String> {
    let refused = || "connection refused".to_owned();
    let name = address.host.split('.').next().unwrap_or_default();
    world
        .get(Resource::Of(Kind::Service), name)
        .ok_or_else(refused)?;
    let slice = world.get(Resource::EndpointSlice, &endpoints::name_of(name));
    let slice = slice.ok_or_else(refused)?.body.endpoint_slice().unwrap();
    let addressed = slice.endpoints.iter().flatten().filter(|endpoint| {
        let conditions = endpoint.conditions.as_ref();
        conditions.and_then(|conditions| conditions.ready) == Some(true)
    });
    let pods = addressed.map(|endpoint| {
        let name = endpoint.target_ref.as_ref()?.name.as_deref()?;
        let pod = world.get(Resource::Pod, name)?;
        Some(&pod.body).filter(|pod| is_ready(pod))
    });
    let pods: Option<Vec<&Body>> = pods.collect();
    pods.filter(|pods| !pods.is_empty()).ok_or_else(refused)
}
