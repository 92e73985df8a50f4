//! The API server's record of writes.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncSeekExt as _, BufReader};

/// The file that the API server appends to.
#[derive(Clone, Debug)]
pub struct AuditLog {
    file: PathBuf,
}

/// One write that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    pub at: Timestamp,
    pub user: String,
    pub verb: String,
    pub resource: String,
    pub subresource: String,
    /// Empty for objects without one.
    pub namespace: String,
    pub name: String,
    /// The answer's code.
    pub code: u16,
}

impl AuditLog {
    pub(crate) fn at(file: PathBuf) -> Self {
        Self { file }
    }

    /// The writes by one user since `since`, in order.
    ///
    /// # Errors
    /// When the log cannot be read or a line is not what the API server writes.
    pub async fn writes_by(&self, user: &str, since: Timestamp) -> Result<Vec<Write>> {
        let open = tokio::fs::File::open(&self.file).await;
        let mut file =
            open.with_context(|| format!("failed to open the audit log {}", self.file.display()))?;
        let length = file.metadata().await?.len();
        // Enough for an hour of suites; older lines are of no interest to any test.
        let skipped = length.saturating_sub(256 << 20);
        file.seek(std::io::SeekFrom::Start(skipped)).await?;
        let mut lines = BufReader::new(file).lines();
        if skipped > 0 {
            // The first line is cut.
            lines.next_line().await?;
        }
        let mut writes = Vec::new();
        while let Some(line) = lines.next_line().await? {
            // Cheaper than parsing a log that is mostly about others.
            if !line.contains(user) {
                continue;
            }
            let Ok(event) = serde_json::from_str::<Event>(&line) else {
                // The line that is being written at this moment.
                continue;
            };
            let write = Write::from(event);
            if write.user == user && write.at >= since {
                writes.push(write);
            }
        }
        Ok(writes)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    user: User,
    verb: String,
    object_ref: Option<ObjectRef>,
    response_status: Option<ResponseStatus>,
    request_received_timestamp: Timestamp,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ObjectRef {
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct ResponseStatus {
    code: Option<u16>,
}

impl From<Event> for Write {
    fn from(event: Event) -> Self {
        let object = event.object_ref.unwrap_or_default();
        Self {
            at: event.request_received_timestamp,
            user: event.user.username,
            verb: event.verb,
            resource: object.resource,
            subresource: object.subresource,
            namespace: object.namespace,
            name: object.name,
            code: event
                .response_status
                .and_then(|status| status.code)
                .unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_api_server_is_understood() {
        let line = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"6","stage":"ResponseComplete","requestURI":"/apis/apps/v1/namespaces/quay/deployments/winch?fieldManager=x","verb":"patch","user":{"username":"system:serviceaccount:dock:crane","groups":["system:authenticated"]},"userAgent":"crane","objectRef":{"resource":"deployments","namespace":"quay","name":"winch","apiGroup":"apps","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":200},"requestReceivedTimestamp":"2026-11-22T12:00:00.123456Z","stageTimestamp":"2026-11-22T12:00:00.2Z"}"#;
        let write = Write::from(serde_json::from_str::<Event>(line).unwrap());
        assert_eq!(write.user, "system:serviceaccount:dock:crane");
        assert_eq!(
            (write.verb.as_str(), write.resource.as_str(), write.code),
            ("patch", "deployments", 200)
        );
        assert_eq!(
            (write.namespace.as_str(), write.name.as_str()),
            ("quay", "winch")
        );
    }
}
