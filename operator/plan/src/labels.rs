//! Labels and annotations of the objects that Orlop makes.
//!
//! `app.kubernetes.io/instance` is left out on purpose: Argo CD's label tracking would claim, and
//! prune, whatever carries it.

/// Says who made an object; its value is [`ORLOP`]. Caches select by it.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
pub const ORLOP: &str = "orlop";
/// Name of the component.
pub const NAME: &str = "app.kubernetes.io/name";
/// Name of the application.
pub const PART_OF: &str = "app.kubernetes.io/part-of";
/// UID of the object for which this one was made.
pub const OWNER: &str = "orlop.dev/owner";
/// Kind of the object for which this one was made, `AppPlatform` or `AppService`.
pub const OWNER_KIND: &str = "orlop.dev/owner-kind";
/// Name of the object for which this one was made.
pub const OWNER_NAME: &str = "orlop.dev/owner-name";
/// Revision of a service.
pub const REVISION: &str = "orlop.dev/revision";
/// Annotation on pods that are to be newer than this time.
pub const FRESH_SINCE: &str = "orlop.dev/fresh-since";
/// Label of Kubernetes on EndpointSlices: the Service that they belong to.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Shard of a cache that a node belongs to, from 0.
pub const SHARD: &str = "orlop.dev/shard";
/// Position of a node in its shard, from 0.
pub const NODE_INDEX: &str = "orlop.dev/node-index";
/// Annotation: fingerprint of what was applied, so that a field that is no longer wanted is seen.
pub const INTENT: &str = "orlop.dev/intent";
/// Annotation: resource version of the owner from which the object was written last.
pub const OWNER_VERSION: &str = "orlop.dev/owner-version";
/// Annotation on an API's pods: its configuration, which is mounted from here.
pub const API_CONFIG: &str = "orlop.dev/api-config";
/// Annotation on the pods of a worker pool: their configuration.
pub const WORKER_CONFIG: &str = "orlop.dev/worker-config";
/// Annotation on the edge's pods: fingerprint of its configuration.
pub const CONFIG: &str = "orlop.dev/config";
