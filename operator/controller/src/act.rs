//! Act: the planned writes, one after another; the first that fails stops the rest.
//!
//! Every write names the version it was planned from, so what has changed since is never
//! overwritten: such a write is *stale*, which is no error, and the next pass plans anew.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions, PropagationPolicy},
    core::{ApiResource, GroupVersionKind, PartialObjectMeta},
};
use orlop_plan::{Failure, Kind, Object, ObjectName, Write, is_superseded, labels};
use serde_json::{Value, json};
use thiserror::Error;

use crate::{
    answer::{Answer, classify},
    cache::owner_uids,
    client::{CallError, call},
    key::ObjectKey,
    metrics::{Metrics, WriteLabels},
};

/// For whom and as whom is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Author<'a> {
    pub(crate) namespace: &'a str,
    /// Kind, name and UID of the object that is reconciled.
    pub(crate) kind: &'static str,
    pub(crate) name: &'a str,
    pub(crate) uid: &'a str,
    pub(crate) field_manager: &'static str,
}

/// What came of the writes.
#[derive(Debug)]
pub(crate) struct Acted {
    /// What was changed, until the end or the failure.
    pub(crate) effects: Vec<Effect>,
    pub(crate) end: End,
}

/// Why no more was written.
#[derive(Debug)]
pub(crate) enum End {
    /// All is written.
    Complete,
    /// The world has changed since it was observed, or is about to go.
    Stale,
    /// What a person must be told.
    Failed(Failure),
    /// The API server did not answer, or not sensibly.
    Broken(Box<WriteError>),
}

/// A change that was made and that the caches will show in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Applied {
        kind: Kind,
        version: u64,
    },
    Deleted {
        kind: Kind,
        key: ObjectKey,
        uid: String,
    },
}

#[derive(Debug, Error)]
pub(crate) enum WriteError {
    #[error("failed to {operation} {target}")]
    Call {
        operation: &'static str,
        target: ObjectName,
        source: CallError,
    },
    #[error("failed to serialize {target}")]
    Serialize {
        target: ObjectName,
        source: serde_json::Error,
    },
}

/// Writes to the API server.
#[derive(Clone)]
pub(crate) struct Actor {
    pub(crate) client: Client,
    pub(crate) metrics: Metrics,
}

impl Actor {
    pub(crate) async fn act(&self, author: Author<'_>, writes: Vec<Write>) -> Acted {
        let mut effects = Vec::new();
        for write in writes {
            match self.write(author, write).await {
                Ok(effect) => effects.extend(effect),
                Err(end) => return Acted { effects, end },
            }
        }
        Acted {
            effects,
            end: End::Complete,
        }
    }

    /// The effect, if there was any.
    async fn write(&self, author: Author<'_>, write: Write) -> Result<Option<Effect>, End> {
        match write {
            Write::Create(object) => self.create(author, object).await,
            Write::Update {
                object,
                resource_version,
            } => self.apply(author, object, Some(resource_version)).await,
            Write::Delete {
                name,
                uid,
                resource_version,
            } => self.delete(author, name, uid, resource_version).await,
        }
    }

    /// An object that was not observed may exist without our label: it is looked for first.
    async fn create(&self, author: Author<'_>, object: Object) -> Result<Option<Effect>, End> {
        let target = object.name();
        let found = call(self.api(author, target.kind).get_metadata_opt(&target.name)).await;
        match found.map_err(|source| ended("read", &target, source))? {
            None => self.apply(author, object, None).await,
            // It is on its way out; once it is gone the caches tell, and it is made anew.
            Some(found) if is_of_predecessor(&found.metadata, author) => Err(End::Stale),
            Some(found) if !is_ours(&found.metadata, author) => {
                let owner = owner_name(&found.metadata);
                Err(End::Failed(Failure::NameTaken { target, owner }))
            }
            Some(found) if found.metadata.deletion_timestamp.is_some() => Err(End::Stale),
            // Whoever wrote it knew a newer owner than this pass does.
            Some(found) if is_superseded(&object, &found.metadata) => Err(End::Stale),
            Some(found) => {
                self.apply(author, object, found.metadata.resource_version)
                    .await
            }
        }
    }

    /// Server-side apply. With a version it is forced, since every field in it is ours to decide,
    /// and fails if the object has another version. Without one nobody's fields are taken: should
    /// an object have come into being this very moment, it conflicts.
    async fn apply(
        &self,
        author: Author<'_>,
        object: Object,
        version: Option<String>,
    ) -> Result<Option<Effect>, End> {
        let target = object.name();
        let operation = if version.is_some() {
            "update"
        } else {
            "create"
        };
        let mut body = object.to_value().map_err(|source| {
            End::Broken(Box::new(WriteError::Serialize {
                target: target.clone(),
                source,
            }))
        })?;
        let parameters = PatchParams {
            force: version.is_some(),
            ..PatchParams::apply(author.field_manager)
        };
        if let Some(version) = &version {
            body["metadata"]["resourceVersion"] = Value::from(version.as_str());
        }
        let api = self.api(author, target.kind);
        let mut applied = applied(&api, &target, &parameters, &body).await;
        if let (Err(error), Some(_)) = (&applied, &version)
            && error.is_invalid()
        {
            body["metadata"]["resourceVersion"] = self.reset(&api, &target, &body).await?;
            applied = self::applied(&api, &target, &parameters, &body).await;
        }
        let applied = applied.map_err(|source| ended(operation, &target, source))?;
        let now = applied.metadata.resource_version;
        if now == version {
            self.count(target.kind, "unchanged");
            return Ok(None);
        }
        self.count(target.kind, operation);
        Ok(now
            .and_then(|version| version.parse().ok())
            .map(|version| Effect::Applied {
                kind: target.kind,
                version,
            }))
    }

    /// Makes an object of ours that cannot be applied over what is wanted, and gives its new version.
    ///
    /// Where the key of a list's item was edited (a port's number), applying adds the wanted item
    /// beside the edited one, and two ports of one name are invalid. A merge patch replaces lists as
    /// a whole. It also forgets who owns which field, so that the apply after it owns all of ours.
    async fn reset(
        &self,
        api: &Api<DynamicObject>,
        target: &ObjectName,
        body: &Value,
    ) -> Result<Value, End> {
        let mut body = body.clone();
        body["metadata"]["managedFields"] = json!([{}]);
        let patch = Patch::Merge(&body);
        let reset = call(api.patch_metadata(&target.name, &PatchParams::default(), &patch)).await;
        let reset: PartialObjectMeta<DynamicObject> =
            reset.map_err(|source| ended("reset", target, source))?;
        self.count(target.kind, "reset");
        Ok(reset.metadata.resource_version.into())
    }

    async fn delete(
        &self,
        author: Author<'_>,
        target: ObjectName,
        uid: String,
        version: String,
    ) -> Result<Option<Effect>, End> {
        let parameters = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            preconditions: Some(Preconditions {
                resource_version: Some(version),
                uid: Some(uid.clone()),
            }),
            ..DeleteParams::default()
        };
        let deleted = call(
            self.api(author, target.kind)
                .delete(&target.name, &parameters),
        )
        .await;
        if let Err(source) = deleted {
            return match classify(source) {
                Answer::NotFound(_) => Ok(None),
                answer => Err(answered("delete", &target, answer)),
            };
        }
        self.count(target.kind, "delete");
        let key = ObjectKey {
            namespace: author.namespace.to_owned(),
            name: target.name,
        };
        Ok(Some(Effect::Deleted {
            kind: target.kind,
            key,
            uid,
        }))
    }

    fn api(&self, author: Author<'_>, kind: Kind) -> Api<DynamicObject> {
        let (group, version) = kind
            .api_version()
            .split_once('/')
            .unwrap_or(("", kind.api_version()));
        let kind_of_object = GroupVersionKind::gvk(group, version, kind.as_str());
        let resource = ApiResource::from_gvk_with_plural(&kind_of_object, kind.plural());
        Api::namespaced_with(self.client.clone(), author.namespace, &resource)
    }

    fn count(&self, kind: Kind, operation: &'static str) {
        let labels = WriteLabels {
            kind: kind.as_str(),
            operation,
        };
        self.metrics.writes.get_or_create(&labels).inc();
    }
}

async fn applied(
    api: &Api<DynamicObject>,
    target: &ObjectName,
    parameters: &PatchParams,
    body: &Value,
) -> Result<PartialObjectMeta<DynamicObject>, CallError> {
    call(api.patch_metadata(&target.name, parameters, &Patch::Apply(body))).await
}

fn ended(operation: &'static str, target: &ObjectName, source: CallError) -> End {
    answered(operation, target, classify(source))
}

fn answered(operation: &'static str, target: &ObjectName, answer: Answer) -> End {
    let target = target.clone();
    match answer {
        Answer::Conflict | Answer::Terminating => End::Stale,
        Answer::Refused { message, .. } => End::Failed(Failure::Refused { target, message }),
        Answer::NotFound(source) | Answer::Unclear(source) => {
            End::Broken(Box::new(WriteError::Call {
                operation,
                target,
                source,
            }))
        }
    }
}

fn is_ours(metadata: &ObjectMeta, author: Author<'_>) -> bool {
    owner_uids(metadata).any(|uid| uid == author.uid)
}

/// Whether it belongs to an object of the same kind and name that was deleted: it goes the same way.
fn is_of_predecessor(metadata: &ObjectMeta, author: Author<'_>) -> bool {
    let mut references = metadata.owner_references.iter().flatten();
    references.any(|reference| {
        reference.controller == Some(true)
            && (reference.kind.as_str(), reference.name.as_str()) == (author.kind, author.name)
            && reference.uid != author.uid
    })
}

/// Who has an object that is not ours, as well as its metadata tells.
fn owner_name(metadata: &ObjectMeta) -> String {
    let label = |name: &str| metadata.labels.as_ref().and_then(|labels| labels.get(name));
    let mut references = metadata.owner_references.iter().flatten();
    if let Some(owner) = references.find(|reference| reference.controller == Some(true)) {
        return format!("{}/{}", owner.kind, owner.name);
    }
    if let Some((kind, name)) = label(labels::OWNER_KIND).zip(label(labels::OWNER_NAME)) {
        return format!("{kind}/{name}");
    }
    let manager = || {
        let fields = metadata.managed_fields.iter().flatten();
        // The status may be ours, if it is an object of our kinds that somebody made.
        let mut of_spec = fields.filter(|fields| fields.subresource.is_none());
        // "unknown" is how the API server calls a client that gave no name.
        of_spec.find_map(|fields| fields.manager.as_ref().filter(|name| *name != "unknown"))
    };
    label(labels::MANAGED_BY)
        .or_else(manager)
        .map_or("somebody else".to_owned(), Clone::clone)
}

#[cfg(test)]
mod tests;
