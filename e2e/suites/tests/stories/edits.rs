//! Edits of every field that the operator owns, as the API server itself records the ownership.

mod field;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::{
    Api, Error,
    api::{DynamicObject, PostParams},
};
use orlop_suites::{Identity, TestNamespace, differences, eventually, figure, normalised};
use serde_json::Value;
use tokio::time::Instant;

use self::field::{Field, Mark, changes, drop_strange_items, owned_fields};

/// It takes a fraction of a second, and for a Secret 15 seconds at most: nothing tells of those.
/// The rest is for another test that restarts the operator meanwhile, and for a busy machine.
const SET_BACK_WITHIN: Duration = Duration::from_mins(1);
/// Somebody with an editor.
const MEDDLER: &str = "meddler";
/// An edit that meets a status update is tried anew so often.
const ATTEMPTS_MAX: usize = 16;

/// How an application is walked through.
pub(crate) struct Walk {
    /// What its figures are called.
    pub(crate) name: &'static str,
    /// Edits of one object that are stored in one write. With one, each field must be noticed by
    /// itself; the operator lets an object that is edited all the time wait for a second, which is
    /// too long where there are a thousand fields.
    pub(crate) edits_a_round: usize,
    /// Objects that are edited side by side.
    pub(crate) objects_at_once: usize,
}

/// What became of all edits.
#[derive(Debug, Default)]
pub(crate) struct Edited {
    /// Kind and path of each field that was changed or removed, and set back.
    set_back: BTreeSet<(&'static str, String)>,
    edits: usize,
    /// The API server refused every change that was tried, or it changed nothing.
    without_effect: usize,
    /// The longest time until all of a round was set back, by kind.
    longest: BTreeMap<&'static str, Duration>,
    not_set_back: Vec<String>,
}

impl Edited {
    /// # Errors
    /// When one of the fields could not be edited at all: then the test proved nothing of it.
    pub(crate) fn ensure_covers(&self, fields: &[(&'static str, &str)]) -> Result<()> {
        for (kind, path) in fields {
            ensure!(
                self.covers(kind, path),
                "no edit of {kind} {path} had an effect: {:#?}",
                self.set_back
            );
        }
        Ok(())
    }

    /// Whether a field, or one below it, was edited.
    pub(crate) fn covers(&self, kind: &str, path: &str) -> bool {
        let mut edited = self.set_back.iter();
        edited.any(|(of, edited)| *of == kind && edited.starts_with(path))
    }

    fn and(mut self, other: Self) -> Self {
        self.set_back.extend(other.set_back);
        self.edits += other.edits;
        self.without_effect += other.without_effect;
        self.not_set_back.extend(other.not_set_back);
        for (kind, took) in other.longest {
            self.note(kind, took);
        }
        self
    }

    fn note(&mut self, kind: &'static str, took: Duration) {
        let longest = self.longest.entry(kind).or_default();
        *longest = took.max(*longest);
    }
}

impl Walk {
    /// Changes each owned field of each object, and removes it; waits after every round until the
    /// object is as before.
    pub(crate) async fn edit_each_owned_field(
        &self,
        namespace: &TestNamespace,
        objects: BTreeMap<Identity, DynamicObject>,
    ) -> Result<Edited> {
        let each = objects.into_iter().map(|(identity, object)| async move {
            let of = format!("{identity}");
            self.edit_object(namespace, identity, &object)
                .await
                .context(of)
        });
        let all: Vec<Edited> = stream::iter(each)
            .buffer_unordered(self.objects_at_once)
            .try_collect()
            .await?;
        let sum = all.into_iter().fold(Edited::default(), Edited::and);
        let name = self.name;
        figure(&format!("{name}.edits-set-back"), sum.edits, "edits");
        let without_effect = format!("{name}.edits-without-effect");
        figure(&without_effect, sum.without_effect, "edits");
        for (kind, took) in &sum.longest {
            let took = format!("{:.1}", took.as_secs_f64());
            figure(&format!("{name}.set-back-at-last.{kind}"), took, "s");
        }
        ensure!(sum.not_set_back.is_empty(), "{:#?}", sum.not_set_back);
        Ok(sum)
    }

    async fn edit_object(
        &self,
        namespace: &TestNamespace,
        identity: Identity,
        object: &DynamicObject,
    ) -> Result<Edited> {
        let editor = Editor {
            api: identity.api(namespace),
            name: identity.name.clone(),
            before: normalised(object)?,
        };
        let mut edited = Edited::default();
        let mut pending = edits_of(&identity, object)?;
        while !pending.is_empty() {
            let round = editor.compose(pending, self.edits_a_round).await?;
            edited.without_effect += round.without_effect;
            pending = round.left;
            if round.taken.is_empty() {
                continue;
            }
            match editor.play(&round.taken).await {
                Ok(took) => {
                    edited.edits += round.taken.len();
                    edited.note(identity.kind(), took);
                    let fields = round.taken.iter().map(|edit| edit.field.to_string());
                    let fields = fields.map(|field| (identity.kind(), field));
                    edited.set_back.extend(fields);
                }
                Err(error) => {
                    edited.not_set_back.push(format!("{identity}: {error:#}"));
                    editor.remove_own_traces().await?;
                }
            }
        }
        Ok(edited)
    }
}

/// All edits of an object: each field changed, where that is an edit of this field, and removed.
fn edits_of(identity: &Identity, object: &DynamicObject) -> Result<Vec<Edit>> {
    let live = serde_json::to_value(object)?;
    let mut edits = Vec::new();
    for field in owned_fields(object)? {
        if remembered_nowhere_else(identity, &field) {
            continue;
        }
        // What is recorded as owned but not there cannot be edited.
        let Some(value) = field.find(&live) else {
            continue;
        };
        if field.may_change() {
            let values = changes(value).into_iter().map(Some).collect();
            let field = field.clone();
            edits.push(Edit { field, values });
        }
        let values = vec![None];
        edits.push(Edit { field, values });
    }
    // Another item than before would take the edits of the one before along.
    edits.sort_by_key(|edit| edit.field.renamed_list().is_some());
    Ok(edits)
}

/// The place of a revision in its service's history. Only the object itself knows it, and only
/// the order of what may be gone back to depends on it.
fn remembered_nowhere_else(identity: &Identity, field: &Field) -> bool {
    identity.kind() == "ControllerRevision" && field.to_string() == "revision"
}

/// Without that place, and the fingerprint that it is part of: what is hidden from the operator by an
/// edit of all its marks at once is made again, as the newest.
pub(crate) fn placeless(object: &Value) -> Value {
    let mut object = object.clone();
    if object["kind"] == "ControllerRevision" {
        object["revision"] = Value::Null;
        object["metadata"]["annotations"]["orlop.dev/intent"] = Value::Null;
    }
    object
}

/// One edit of a field: to the first of these values that the API server takes, or away with it.
struct Edit {
    field: Field,
    values: Vec<Option<Value>>,
}

/// An edit that the API server takes: to a value, or away with it.
struct Taken {
    field: Field,
    value: Option<Value>,
}

impl Taken {
    /// False where the field is not there.
    fn apply(&self, object: &mut Value) -> bool {
        self.field.edit(object, self.value.as_ref())
    }
}

/// Edits of one object that can be stored in one write without one hiding another.
#[derive(Default)]
struct Round {
    taken: Vec<Taken>,
    /// For a later round.
    left: Vec<Edit>,
    without_effect: usize,
}

impl Round {
    fn has_place_for(&self, edit: &Edit, most: usize, is_owned: bool) -> bool {
        let mark = edit.field.mark();
        self.taken.len() < most
            && self.taken.iter().all(|taken| {
                let both = (mark, taken.field.mark());
                // By one of the marks it must still be known whose the object is.
                let keeps_a_mark = match both {
                    (Some(Mark::Label), Some(Mark::Label)) => is_owned,
                    (Some(Mark::Reference), Some(Mark::Label))
                    | (Some(Mark::Label), Some(Mark::Reference)) => false,
                    _ => true,
                };
                keeps_a_mark && !taken.field.overlaps(&edit.field)
            })
    }
}

/// The object as the API server would store it after the edits so far.
struct Draft {
    live: Value,
    stored: Value,
}

struct Editor {
    api: Api<DynamicObject>,
    name: String,
    before: Value,
}

impl Editor {
    /// Asks the API server by dry runs what it would take together.
    async fn compose(&self, edits: Vec<Edit>, most: usize) -> Result<Round> {
        let live = self.live().await?;
        let mut draft = Draft {
            stored: normalised(&serde_json::from_value(live.clone())?)?,
            live,
        };
        let is_owned = self.before.pointer("/metadata/ownerReferences").is_some();
        let mut round = Round::default();
        for edit in edits {
            if !round.has_place_for(&edit, most, is_owned) {
                round.left.push(edit);
                continue;
            }
            match self.first_with_effect(&mut draft, &round, &edit).await? {
                Some(taken) => round.taken.push(taken),
                None if round.taken.is_empty() => round.without_effect += 1,
                // By itself it may be taken.
                None => round.left.push(edit),
            }
        }
        Ok(round)
    }

    async fn first_with_effect(
        &self,
        draft: &mut Draft,
        round: &Round,
        edit: &Edit,
    ) -> Result<Option<Taken>> {
        for value in &edit.values {
            let next = Taken {
                field: edit.field.clone(),
                value: value.clone(),
            };
            let Some(stored) = self.try_out(draft, round, &next).await? else {
                continue;
            };
            if stored != draft.stored {
                draft.stored = stored;
                return Ok(Some(next));
            }
        }
        Ok(None)
    }

    /// What would be stored with one more edit; none if the API server refuses it.
    async fn try_out(
        &self,
        draft: &mut Draft,
        round: &Round,
        next: &Taken,
    ) -> Result<Option<Value>> {
        for _ in 0..ATTEMPTS_MAX {
            let mut object = draft.live.clone();
            // An earlier edit of its parent may have been set back without it: it says when, not
            // what.
            let mut edits = round.taken.iter().chain([next]);
            if !edits.all(|edit| edit.apply(&mut object)) {
                return Ok(None);
            }
            match self.replace(object, true).await {
                Ok(stored) => return Ok(Some(normalised(&stored)?)),
                Err(Error::Api(status)) if status.code == 409 => draft.live = self.live().await?,
                Err(Error::Api(status)) if matches!(status.code, 400 | 403 | 422) => {
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            }
        }
        let field = &next.field;
        bail!("{field} could not be tried out: the object changes all the time")
    }

    /// Stores all of a round: how long it took until the object was as before.
    async fn play(&self, round: &[Taken]) -> Result<Duration> {
        self.write(round).await?;
        let stored = Instant::now();
        self.set_back(round).await?;
        let took = stored.elapsed();
        if round.iter().any(|edit| edit.field.renamed_list().is_some()) {
            self.remove_own_traces().await?;
        }
        Ok(took)
    }

    async fn write(&self, round: &[Taken]) -> Result<()> {
        for _ in 0..ATTEMPTS_MAX {
            let mut object = self.live().await?;
            for edit in round {
                let field = &edit.field;
                ensure!(edit.apply(&mut object), "{field} is not there any more");
            }
            match self.replace(object, false).await {
                Err(Error::Api(status)) if status.code == 409 => (),
                result => return result.map(drop).map_err(Into::into),
            }
        }
        bail!("the object could not be edited: it changes all the time")
    }

    async fn set_back(&self, round: &[Taken]) -> Result<()> {
        let what = match round {
            [only] => {
                let edit = if only.value.is_some() {
                    "a change"
                } else {
                    "its removal"
                };
                format!("{} is set back after {edit}", only.field)
            }
            several => format!("{} edits are set back", several.len()),
        };
        let mut lists: Vec<_> = round
            .iter()
            .filter_map(|it| it.field.renamed_list())
            .collect();
        // Those inside of an item first: the item is known by its whole value.
        lists.sort_by_key(|list| std::cmp::Reverse(list.len()));
        eventually(SET_BACK_WITHIN, what, async || {
            let mut now = normalised(&self.api.get(&self.name).await?)?;
            for list in &lists {
                // A list item whose key was edited is another item now: a foreign one, which
                // stays beside ours as the API's own rules of ownership have it.
                drop_strange_items(&mut now, &self.before, list)?;
            }
            let differences = differences(&placeless(&self.before), &placeless(&now));
            ensure!(differences.is_empty(), "{differences:#?}");
            Ok(())
        })
        .await
    }

    /// Takes away what an edit added and the operator rightly left alone.
    async fn remove_own_traces(&self) -> Result<()> {
        for _ in 0..ATTEMPTS_MAX {
            let live = self.api.get(&self.name).await?;
            let mut object = self.before.clone();
            if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
                let version = live.metadata.resource_version.clone();
                metadata.insert("resourceVersion".to_owned(), serde_json::to_value(version)?);
            }
            match self.replace(object, false).await {
                Err(Error::Api(status)) if status.code == 409 => (),
                result => {
                    result?;
                    return Ok(());
                }
            }
        }
        bail!("the object changes all the time")
    }

    async fn live(&self) -> Result<Value> {
        Ok(serde_json::to_value(self.api.get(&self.name).await?)?)
    }

    async fn replace(&self, object: Value, dry_run: bool) -> kube::Result<DynamicObject> {
        let object = serde_json::from_value(object).map_err(Error::SerdeError)?;
        let parameters = PostParams {
            dry_run,
            field_manager: Some(MEDDLER.to_owned()),
        };
        self.api.replace(&self.name, &parameters, &object).await
    }
}
