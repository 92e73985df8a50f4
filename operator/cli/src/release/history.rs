//! `orlop release history`: the revisions that are kept, and which of them is which.

use std::collections::BTreeSet;

use anyhow::Context as _;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::{Api, api::ListParams};
use orlop_crds::release::ReleaseRecord;
use orlop_plan::labels;
use serde::Serialize;
use serde_json::Value;

use super::{
    print, print_value,
    released::{self, Released},
};
use crate::{
    Failure,
    args::History,
    cluster::Cluster,
    status::age,
    terminal::{Cell, Mood, Style},
};

/// At most 50 are kept for going back, and a few more while they run.
const LIST_LIMIT: u32 = 200;
/// Fewer digits of a revision are too easily met by chance. Shorter words are numbers in the
/// history.
const PREFIX_MIN: usize = 4;

pub(super) async fn run(args: &History, cluster: &Cluster) -> Result<(), Failure> {
    let released = released::find(&args.subject.name, cluster).await?;
    let kept = kept(&released, cluster).await?;
    match args.output {
        Some(format) => print_value(&Items { items: &kept }, format)?,
        None => print(&table(
            &released,
            &kept,
            Style::of(&std::io::stdout()),
            Timestamp::now(),
        ))?,
    }
    Ok(())
}

#[derive(Serialize)]
struct Items<'a> {
    items: &'a [Kept],
}

/// A revision whose pod template is kept.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Kept {
    pub(super) revision: String,
    /// Position in the history, from 1.
    number: i64,
    created_at: Option<Timestamp>,
    images: Vec<String>,
    states: Vec<State>,
}

/// What a revision is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
enum State {
    Served,
    Declared,
    Coming,
    Held,
    Previous,
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Declared => "declared",
            Self::Coming => "being released",
            Self::Held => "held back",
            Self::Previous => "previous",
        }
    }

    const fn mood(self) -> Mood {
        match self {
            Self::Served => Mood::Good,
            Self::Coming => Mood::Waiting,
            Self::Held => Mood::Bad,
            Self::Declared | Self::Previous => Mood::Plain,
        }
    }
}

/// The revisions that are kept, the newest first.
pub(super) async fn kept(released: &Released, cluster: &Cluster) -> anyhow::Result<Vec<Kept>> {
    let api: Api<ControllerRevision> = Api::namespaced(cluster.client(), cluster.namespace());
    let uid = released.metadata.uid.as_deref().unwrap_or_default();
    let params = ListParams::default().labels(&format!("{}={uid}", labels::OWNER));
    let listed = api.list(&params.limit(LIST_LIMIT)).await;
    let listed =
        listed.with_context(|| format!("failed to list the revisions of {}", released.title()))?;
    let mut kept: Vec<_> = listed
        .iter()
        .filter_map(|object| Kept::of(object, released))
        .collect();
    kept.sort_by_key(|kept| std::cmp::Reverse(kept.number));
    Ok(kept)
}

impl Kept {
    fn of(object: &ControllerRevision, released: &Released) -> Option<Self> {
        let metadata = &object.metadata;
        let labels = metadata.labels.as_ref()?;
        let revision = labels.get(labels::REVISION)?.clone();
        let template = object.data.as_ref()?.0.pointer("/template/spec/containers");
        let containers = template.and_then(Value::as_array).into_iter().flatten();
        Some(Self {
            number: object.revision,
            created_at: metadata.creation_timestamp.as_ref().map(|time| time.0),
            images: containers
                .filter_map(|container| container["image"].as_str().map(str::to_owned))
                .collect(),
            states: states(&revision, released),
            revision,
        })
    }
}

fn states(revision: &str, released: &Released) -> Vec<State> {
    let ReleaseRecord {
        active_revision,
        previous_revision,
        release,
        hold,
        command: _,
    } = &released.record;
    let is = |other: Option<&String>| other.is_some_and(|other| other == revision);
    let coming = release
        .as_ref()
        .filter(|release| active_revision.as_ref() != Some(&release.to));
    [
        (State::Served, is(active_revision.as_ref())),
        (State::Declared, released.declared() == Some(revision)),
        (State::Coming, is(coming.map(|release| &release.to))),
        (State::Held, is(hold.as_ref().map(|hold| &hold.revision))),
        (State::Previous, is(previous_revision.as_ref())),
    ]
    .into_iter()
    .filter_map(|(state, holds)| holds.then_some(state))
    .collect()
}

fn table(released: &Released, kept: &[Kept], style: Style, now: Timestamp) -> String {
    if kept.is_empty() {
        return format!("no revision of {} is kept yet\n", released.title());
    }
    let rows: Vec<_> = kept
        .iter()
        .map(|kept| {
            let states: Vec<_> = kept.states.iter().map(|state| state.as_str()).collect();
            let mood = kept.states.iter().map(|state| state.mood());
            let mood = mood.fold(Mood::Plain, |worst, mood| match (worst, mood) {
                (Mood::Plain, mood) => mood,
                (worst, _) => worst,
            });
            let then = kept.created_at;
            vec![
                Cell::plain(kept.number.to_string()),
                Cell::plain(&kept.revision),
                Cell::plain(then.map_or_else(String::new, |then| age(then, now))),
                Cell::new(states.join(", "), mood),
                Cell::plain(kept.images.join(", ")),
            ]
        })
        .collect();
    style.table(&["NUMBER", "REVISION", "AGE", "STATE", "IMAGE"], &rows)
}

/// The revision that a person means by its first digits or its number.
pub(super) fn meant(said: &str, released: &Released, kept: &[Kept]) -> Result<String, Failure> {
    let listed = || {
        let names: Vec<_> = kept.iter().map(|kept| kept.revision.as_str()).collect();
        match names.as_slice() {
            [] => format!("no revision of {} is kept", released.title()),
            names => format!("kept are {}", names.join(", ")),
        }
    };
    if said.len() < PREFIX_MIN {
        let number = said.parse::<i64>().ok();
        let numbered = kept.iter().find(|kept| Some(kept.number) == number);
        return match (numbered, number) {
            (Some(kept), _) => Ok(kept.revision.clone()),
            (None, Some(number)) => Err(Failure::Unfit(format!(
                "there is no number {number} in the history; {}",
                listed()
            ))),
            (None, None) => Err(Failure::Unfit(format!(
                "'{said}' is too short: a revision is told by at least {PREFIX_MIN} digits; {}",
                listed()
            ))),
        };
    }
    let said = said.to_lowercase();
    let known = known(released, kept);
    let fitting: Vec<_> = known
        .into_iter()
        .filter(|known| known.starts_with(&said))
        .collect();
    match fitting.as_slice() {
        [one] => Ok((*one).to_owned()),
        [] => Err(Failure::Unfit(format!(
            "there is no revision '{said}'; {}",
            listed()
        ))),
        several => Err(Failure::Unfit(format!(
            "several revisions begin with '{said}': {}",
            several.join(", ")
        ))),
    }
}

/// Those that are kept, and those that the status names.
fn known<'a>(released: &'a Released, kept: &'a [Kept]) -> BTreeSet<&'a str> {
    let ReleaseRecord {
        active_revision,
        previous_revision,
        release,
        hold,
        command: _,
    } = &released.record;
    let release = release.iter().flat_map(|it| [&it.from, &it.to]);
    let hold = hold.iter().flat_map(|it| [&it.revision, &it.instead]);
    let named = active_revision.iter().chain(previous_revision);
    let named = named.chain(release).chain(hold).map(String::as_str);
    kept.iter()
        .map(|kept| kept.revision.as_str())
        .chain(named)
        .collect()
}
