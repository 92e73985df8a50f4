//! Questions that a release asks: is the new revision there, does it answer well, does Prometheus
//! think so. The controller asks them in the background, again and again; what it has heard since
//! the question was first asked is a [`Tally`].

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use jiff::{SignedDuration, Timestamp};
use orlop_crds::release::{Check, HttpCheck, PrometheusCheck};

/// What an object wants to be asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QuestionsSource {
    pub questions: Vec<Question>,
}

/// One question. Two with the same name and time are the same question.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    pub name: String,
    /// Answers from before do not count.
    pub since: Timestamp,
    pub every: Duration,
    pub ask: Ask,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Ask {
    /// Several new connections one after another, each of which must give an answer of whatever
    /// status.
    Reach { at: Address, times: u32 },
    Http {
        at: Address,
        status: u16,
        /// Stands in the answer.
        body: Option<String>,
    },
    /// An instant query that must give one number between `min` and `max`.
    Prometheus {
        url: String,
        query: String,
        min: Option<String>,
        max: Option<String>,
    },
}

/// Where something answers HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    pub ip: IpAddr,
    pub port: u16,
    /// Its name, for the request's `Host`.
    pub host: String,
    pub path: String,
}

/// What was heard so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// By name.
    pub tallies: BTreeMap<String, Tally>,
}

/// What was heard of one question.
#[derive(Clone, Debug, PartialEq)]
pub struct Tally {
    /// Of the question.
    pub since: Timestamp,
    /// When it was asked last.
    pub asked: Timestamp,
    pub good: u32,
    pub bad: u32,
    /// The last bad answer, in words.
    pub last_bad: Option<String>,
}

impl Reading {
    /// Of one round: the answers of those that were asked in it.
    #[must_use]
    pub fn of_round(asked: Timestamp, answers: Vec<(&Question, Result<(), String>)>) -> Self {
        let tallies = answers.into_iter().map(|(question, answer)| {
            let tally = Tally {
                since: question.since,
                asked,
                good: u32::from(answer.is_ok()),
                bad: u32::from(answer.is_err()),
                last_bad: answer.err(),
            };
            (question.name.clone(), tally)
        });
        Self {
            tallies: tallies.collect(),
        }
    }

    /// With what was heard before.
    #[must_use]
    pub fn following(self, before: Option<&Self>) -> Self {
        let mut all = before.cloned().unwrap_or_default();
        for (name, new) in self.tallies {
            match all.tallies.get_mut(&name) {
                Some(old) if old.since == new.since => {
                    old.asked = new.asked;
                    old.good = old.good.saturating_add(new.good);
                    old.bad = old.bad.saturating_add(new.bad);
                    old.last_bad = new.last_bad.or_else(|| old.last_bad.take());
                }
                _ => {
                    all.tallies.insert(name, new);
                }
            }
        }
        all
    }

    /// Whether it is time to ask.
    #[must_use]
    pub fn is_due(&self, question: &Question, now: Timestamp) -> bool {
        let pause = SignedDuration::try_from(question.every).unwrap_or(SignedDuration::MAX);
        self.of(&question.name, question.since)
            .is_none_or(|tally| now.duration_since(tally.asked) >= pause)
    }

    /// What was heard of a question since it is asked.
    pub(crate) fn of(&self, name: &str, since: Timestamp) -> Option<&Tally> {
        self.tallies.get(name).filter(|tally| tally.since == since)
    }
}

/// The question of a declared check. `at` is the revision's address, to which a check's own path is
/// put; none while it has none.
pub(crate) fn of_check(
    check: &Check,
    at: Option<Address>,
    revision: &str,
    since: Timestamp,
) -> Option<Question> {
    let ask = match (&check.http, &check.prometheus) {
        (
            Some(HttpCheck {
                path,
                status: _,
                body,
            }),
            _,
        ) => Ask::Http {
            at: Address {
                path: path.clone(),
                ..at?
            },
            status: u16::try_from(check.http.as_ref()?.status()).ok()?,
            body: body.clone(),
        },
        (
            None,
            Some(PrometheusCheck {
                url,
                query,
                min,
                max,
            }),
        ) => Ask::Prometheus {
            url: url.clone(),
            query: query.replace("{{revision}}", revision),
            min: min.clone(),
            max: max.clone(),
        },
        (None, None) => return None,
    };
    Some(Question {
        name: check.name.clone(),
        since,
        every: Duration::from_millis(check.interval().as_millis()),
        ask,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_second(10).unwrap()
    }

    #[test]
    fn a_question_is_asked_at_once_and_then_at_its_own_pace() {
        let question = question(1);
        assert!(Reading::default().is_due(&question, now()));
        let asked = Reading::of_round(now(), vec![(&question, Ok(()))]);
        let later = |millis| now() + SignedDuration::from_millis(millis);
        assert!(!asked.is_due(&question, later(999)));
        assert!(asked.is_due(&question, later(1000)));
    }

    fn question(since: i64) -> Question {
        Question {
            name: "home".to_owned(),
            since: Timestamp::from_second(since).unwrap(),
            every: Duration::from_secs(1),
            ask: Ask::Prometheus {
                url: "http://p".to_owned(),
                query: "up".to_owned(),
                min: None,
                max: None,
            },
        }
    }

    #[test]
    fn answers_add_up_while_the_question_is_the_same() {
        let question = question(1);
        let good = Reading::of_round(now(), vec![(&question, Ok(()))]);
        let bad = Reading::of_round(now(), vec![(&question, Err("500".to_owned()))]);
        let both = bad.clone().following(Some(&good));
        let both = Reading::of_round(now(), vec![]).following(Some(&both));
        let tally = both.of("home", question.since).unwrap();
        assert_eq!((tally.good, tally.bad), (1, 1));
        assert_eq!(tally.last_bad.as_deref(), Some("500"));
    }

    #[test]
    fn answers_to_an_older_question_do_not_count() {
        let (old, new) = (question(1), question(2));
        let before = Reading::of_round(now(), vec![(&old, Ok(()))]);
        assert_eq!(before.of("home", new.since), None);
        let after = Reading::of_round(now(), vec![(&new, Ok(()))]).following(Some(&before));
        assert_eq!(after.of("home", new.since).unwrap().good, 1);
        assert_eq!(after.of("home", old.since), None);
    }
}
