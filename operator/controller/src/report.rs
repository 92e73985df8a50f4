//! Report: the status, then the events. The step after the writes.

use http::{HeaderValue, header::ACCEPT};
use jiff::Timestamp;
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
    core::{PartialObjectMeta, Request},
};
use orlop_plan::{Notice, NoticeLevel};
use serde_json::json;

use crate::{
    answer::{Answer, classify},
    causes::Causes,
    client::{CallError, call},
    key::ObjectKey,
    metrics::{Metrics, WriteLabels},
    primary::Primary,
};

/// Only the new version of the answer is read.
const METADATA_ONLY: HeaderValue =
    HeaderValue::from_static("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");
/// The API server's bounds.
const NOTE_BYTES: usize = 1024;

/// What came of the status.
#[derive(Debug)]
pub(crate) enum Reported {
    /// It was recorded already.
    Unchanged,
    /// It is written; the version that this gave the object, if it can be read.
    Written(Option<u64>),
    /// The object has changed since it was observed, or is gone.
    Stale,
    Failed(CallError),
}

/// Tells people and programs what was decided.
#[derive(Clone)]
pub(crate) struct Reporter {
    pub(crate) client: Client,
    pub(crate) metrics: Metrics,
    /// Name of the operator's pod.
    pub(crate) instance: String,
}

impl Reporter {
    /// Writes the status if it differs from the recorded one, and only over the version from which
    /// it was planned: a leader that was replaced without knowing it writes nothing.
    pub(crate) async fn status<P: Primary>(&self, object: &P, status: &P::Status) -> Reported {
        if object.recorded_status() == Some(status) {
            return Reported::Unchanged;
        }
        match call(self.apply_status(object, status)).await {
            Ok(applied) => {
                let operation =
                    if applied.metadata.resource_version == object.meta().resource_version {
                        "unchanged"
                    } else {
                        "status"
                    };
                self.count::<P>(operation);
                let version = applied.metadata.resource_version;
                Reported::Written(version.and_then(|version| version.parse().ok()))
            }
            Err(error) => match classify(error) {
                Answer::Conflict | Answer::NotFound(_) | Answer::Terminating => Reported::Stale,
                Answer::Refused { error, .. } | Answer::Unclear(error) => Reported::Failed(error),
            },
        }
    }

    async fn apply_status<P: Primary>(
        &self,
        object: &P,
        status: &P::Status,
    ) -> kube::Result<PartialObjectMeta<P>> {
        let ObjectKey { namespace, name } = ObjectKey::of(object.meta());
        let body = json!({
            "apiVersion": P::api_version(&()),
            "kind": P::kind(&()),
            "metadata": {
                "namespace": namespace,
                "name": name,
                "resourceVersion": object.meta().resource_version,
            },
            "status": status,
        });
        let parameters = PatchParams::apply(&format!("{}-status", P::FIELD_MANAGER)).force();
        let mut request = Request::new(P::url_path(&(), Some(&namespace)))
            .patch_subresource("status", &name, &parameters, &Patch::Apply(body))
            .map_err(kube::Error::BuildRequest)?;
        request.headers_mut().insert(ACCEPT, METADATA_ONLY);
        self.client.request(request).await
    }

    /// Publishes events. They come from recorded transitions only, so none needs to be counted up
    /// or suppressed. (kube-runtime's recorder would: within six minutes it repeats the *first*
    /// text of a reason, so that a second release would be told as the first one.) An event that
    /// cannot be published is logged and given up: the status holds the same.
    pub(crate) async fn events<P: Primary>(&self, object: &P, notices: &[Notice]) {
        let namespace = object.meta().namespace.clone().unwrap_or_default();
        let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        for notice in notices {
            let event = self.event(object.object_ref(&()), notice, Timestamp::now());
            let created = call(api.create(&PostParams::default(), &event)).await;
            if let Err(error) = created
                && !error.is_terminating()
            {
                let reason = notice.reason.as_str();
                tracing::warn!(reason, error = %Causes(&error), "failed to publish an event");
            }
        }
    }

    fn event(&self, regarding: ObjectReference, notice: &Notice, now: Timestamp) -> Event {
        let level = match notice.level {
            NoticeLevel::Normal => "Normal",
            NoticeLevel::Warning => "Warning",
        };
        let name = regarding.name.as_deref().unwrap_or_default();
        Event {
            metadata: ObjectMeta {
                namespace: regarding.namespace.clone(),
                name: Some(format!("{name}.{:016x}", rand::random::<u64>())),
                ..ObjectMeta::default()
            },
            action: Some(notice.action.to_owned()),
            reason: Some(notice.reason.as_str().to_owned()),
            note: Some(cut(&notice.message, NOTE_BYTES).to_owned()),
            type_: Some(level.to_owned()),
            event_time: Some(MicroTime(now)),
            regarding: Some(regarding),
            reporting_controller: Some("orlop.dev/operator".to_owned()),
            reporting_instance: Some(self.instance.clone()),
            ..Event::default()
        }
    }

    fn count<P: Primary>(&self, operation: &'static str) {
        let labels = WriteLabels {
            kind: P::KIND.as_str(),
            operation,
        };
        self.metrics.writes.get_or_create(&labels).inc();
    }
}

/// The longest beginning of at most that many bytes.
fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use orlop_crds::AppService;
    use serde_json::Value;

    use super::*;
    use crate::fake::{Reply, Script, failure, metadata};

    fn service(status: &Value) -> AppService {
        serde_json::from_value(json!({
            "apiVersion": "orlop.dev/v1alpha1",
            "kind": "AppService",
            "metadata": {"namespace": "harbour", "name": "mast", "resourceVersion": "5"},
            "spec": {"image": "mast:1", "port": 80},
            "status": status,
        }))
        .unwrap()
    }

    async fn report(recorded: &Value, replies: &[Reply]) -> (Reported, Script) {
        let script = Script::new(replies.iter().cloned());
        let (client, metrics) = (script.client(), Metrics::new());
        let reporter = Reporter {
            client,
            metrics,
            instance: "test".to_owned(),
        };
        let planned = service(&json!({"summary": "2/2"})).status.unwrap();
        (reporter.status(&service(recorded), &planned).await, script)
    }

    #[tokio::test]
    async fn a_status_that_is_recorded_already_is_not_written() {
        let (reported, script) = report(&json!({"summary": "2/2"}), &[]).await;
        assert!(matches!(reported, Reported::Unchanged), "{reported:?}");
        assert_eq!(script.calls(), []);
    }

    #[tokio::test]
    async fn another_status_is_written_over_the_version_that_was_observed() {
        let reply = metadata(&json!({"resourceVersion": "6"}));
        let (reported, script) = report(&json!({"summary": "1/2"}), &[reply]).await;
        assert!(
            matches!(reported, Reported::Written(Some(6))),
            "{reported:?}"
        );
        let call = script.calls().pop().unwrap();
        assert_eq!(
            call.line,
            "PATCH /apis/orlop.dev/v1alpha1/namespaces/harbour/appservices/mast/status?\
             &force=true&fieldManager=orlop-appservice-status"
        );
        assert_eq!(call.body["metadata"]["resourceVersion"], "5");
        assert_eq!(call.body["status"], json!({"summary": "2/2"}));
        assert_eq!(call.body["spec"], Value::Null);
    }

    #[tokio::test]
    async fn a_status_of_an_object_that_has_changed_is_stale() {
        let (reported, _) = report(&json!({}), &[failure(409, "changed")]).await;
        assert!(matches!(reported, Reported::Stale), "{reported:?}");
    }

    #[test]
    fn notes_are_cut_between_characters() {
        assert_eq!(cut("aöb", 2), "a");
        assert_eq!(cut("aöb", 3), "aö");
        assert_eq!(cut("aöb", 9), "aöb");
    }
}
