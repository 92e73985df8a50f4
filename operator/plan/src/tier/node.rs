//! The pods that keep a tier's data: StatefulSets with one volume a pod.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{
            RollingUpdateStatefulSetStrategy, StatefulSet,
            StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec,
            StatefulSetUpdateStrategy,
        },
        core::v1::{
            Affinity, ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource,
            EnvVar, PersistentVolumeClaim, PersistentVolumeClaimSpec, PodSecurityContext, PodSpec,
            PodTemplateSpec, Probe, SecretVolumeSource, SecurityContext, TopologySpreadConstraint,
            Volume, VolumeMount, VolumeResourceRequirements,
        },
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
    },
};
use orlop_crds::{pod as said, tier::DeletionPolicy};

use super::Tier;
use crate::{labels, pods};

/// User and group of every data pod, whatever its image says: volumes change hands between images.
pub(crate) const DATA_USER: i64 = 65_532;
/// The volume that is claimed.
const DATA: &str = "data";

/// One StatefulSet and its pods.
pub(crate) struct DataNodes<'a> {
    /// Name of the StatefulSet.
    pub(crate) name: String,
    /// What its pods carry beside the tier's selector, to be told from those of other StatefulSets.
    pub(crate) extra_labels: BTreeMap<String, String>,
    /// How many pods.
    pub(crate) nodes: i32,
    /// The headless Service that gives each pod a name.
    pub(crate) service: String,
    pub(crate) pods: &'a said::PodOptions,
    pub(crate) resources: Option<&'a said::Resources>,
    pub(crate) image: String,
    pub(crate) command: Option<Vec<String>>,
    pub(crate) args: Option<Vec<String>>,
    pub(crate) env: Vec<EnvVar>,
    /// Names and numbers.
    pub(crate) ports: Vec<(&'static str, i32)>,
    /// Where the volume is mounted, and its size.
    pub(crate) data_path: &'static str,
    pub(crate) storage: Quantity,
    /// ConfigMaps and Secrets.
    pub(crate) mounted: Vec<Mounted>,
    /// Directories that need not survive the pod, beside `/tmp`.
    pub(crate) scratch: Vec<&'static str>,
    pub(crate) startup: Option<Probe>,
    pub(crate) readiness: Option<Probe>,
    pub(crate) liveness: Option<Probe>,
    /// Time to stop in.
    pub(crate) grace_secs: i64,
    pub(crate) affinity: Option<Affinity>,
    pub(crate) spread: Vec<TopologySpreadConstraint>,
    /// Fingerprint of what the pods read at their start only: they restart when it changes.
    pub(crate) config: String,
}

/// A ConfigMap or a Secret in a directory.
pub(crate) struct Mounted {
    pub(crate) source: Source,
    pub(crate) path: &'static str,
    /// Of the files, such as `0o440`. Their group is [`DATA_USER`].
    pub(crate) mode: i32,
}

/// By name.
pub(crate) enum Source {
    ConfigMap(String),
    Secret(String),
}

impl Mounted {
    pub(crate) fn config_map(name: String, path: &'static str) -> Self {
        Self {
            source: Source::ConfigMap(name),
            path,
            mode: 0o444,
        }
    }

    pub(crate) fn secret(name: String, path: &'static str) -> Self {
        Self {
            source: Source::Secret(name),
            path,
            mode: 0o440,
        }
    }
}

impl DataNodes<'_> {
    pub(crate) fn stateful_set(self, tier: &Tier) -> StatefulSet {
        let mut metadata = tier.metadata(self.name.clone());
        let labels = metadata.labels.get_or_insert_default();
        labels.extend(self.extra_labels.clone());
        let mut selector = tier.selector();
        selector.extend(self.extra_labels.clone());
        StatefulSet {
            metadata,
            spec: Some(StatefulSetSpec {
                service_name: Some(self.service.clone()),
                replicas: Some(self.nodes),
                // Whoever is ready first starts first: data services find each other themselves.
                pod_management_policy: Some("Parallel".to_owned()),
                revision_history_limit: Some(1),
                selector: LabelSelector {
                    match_labels: Some(selector),
                    ..LabelSelector::default()
                },
                update_strategy: Some(StatefulSetUpdateStrategy {
                    type_: Some("RollingUpdate".to_owned()),
                    // Said, since another value would hold back every change.
                    rolling_update: Some(RollingUpdateStatefulSetStrategy {
                        partition: Some(0),
                        ..RollingUpdateStatefulSetStrategy::default()
                    }),
                }),
                persistent_volume_claim_retention_policy: Some(retention(tier.deletion)),
                volume_claim_templates: Some(vec![self.claim(tier)]),
                template: self.template(tier),
                ..StatefulSetSpec::default()
            }),
            ..StatefulSet::default()
        }
    }

    /// What cannot be changed later must not hold what changes: no UID, no version.
    fn claim(&self, tier: &Tier) -> PersistentVolumeClaim {
        let mut labels = tier.selector();
        labels.insert(labels::MANAGED_BY.to_owned(), labels::ORLOP.to_owned());
        PersistentVolumeClaim {
            metadata: ObjectMeta {
                name: Some(DATA.to_owned()),
                labels: Some(labels),
                ..ObjectMeta::default()
            },
            spec: Some(PersistentVolumeClaimSpec {
                access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
                resources: Some(VolumeResourceRequirements {
                    requests: Some(BTreeMap::from([(
                        "storage".to_owned(),
                        self.storage.clone(),
                    )])),
                    ..VolumeResourceRequirements::default()
                }),
                ..PersistentVolumeClaimSpec::default()
            }),
            ..PersistentVolumeClaim::default()
        }
    }

    fn template(self, tier: &Tier) -> PodTemplateSpec {
        let mut pod_labels = tier.labels();
        pod_labels.extend(self.extra_labels.clone());
        let annotations = BTreeMap::from([(labels::CONFIG.to_owned(), self.config.clone())]);
        let scheduling = pods::options(self.pods);
        let spread = self.spread.clone();
        PodTemplateSpec {
            metadata: Some(ObjectMeta {
                labels: Some(pod_labels),
                annotations: Some(annotations),
                ..ObjectMeta::default()
            }),
            spec: Some(PodSpec {
                enable_service_links: Some(false),
                automount_service_account_token: Some(false),
                security_context: Some(PodSecurityContext {
                    run_as_user: Some(DATA_USER),
                    run_as_group: Some(DATA_USER),
                    fs_group: Some(DATA_USER),
                    fs_group_change_policy: Some("OnRootMismatch".to_owned()),
                    ..pods::restricted_pod()
                }),
                termination_grace_period_seconds: Some(self.grace_secs),
                affinity: self.affinity.clone(),
                topology_spread_constraints: (!spread.is_empty()).then_some(spread),
                volumes: Some(self.volumes()),
                containers: vec![self.container(tier)],
                ..scheduling
            }),
        }
    }

    fn volumes(&self) -> Vec<Volume> {
        let scratch = (0..=self.scratch.len()).map(|index| Volume {
            name: scratch_name(index),
            empty_dir: Some(EmptyDirVolumeSource::default()),
            ..Volume::default()
        });
        let mounted = self.mounted.iter().enumerate().map(|(index, mounted)| {
            let mode = Some(mounted.mode);
            let (config_map, secret) = match &mounted.source {
                Source::ConfigMap(name) => (
                    Some(ConfigMapVolumeSource {
                        name: name.clone(),
                        default_mode: mode,
                        ..ConfigMapVolumeSource::default()
                    }),
                    None,
                ),
                Source::Secret(name) => (
                    None,
                    Some(SecretVolumeSource {
                        secret_name: Some(name.clone()),
                        default_mode: mode,
                        ..SecretVolumeSource::default()
                    }),
                ),
            };
            Volume {
                name: mounted_name(index),
                config_map,
                secret,
                ..Volume::default()
            }
        });
        scratch.chain(mounted).collect()
    }

    fn container(self, tier: &Tier) -> Container {
        let mount = |name: String, path: &str, read_only: bool| VolumeMount {
            name,
            mount_path: path.to_owned(),
            read_only: read_only.then_some(true),
            ..VolumeMount::default()
        };
        let data = mount(DATA.to_owned(), self.data_path, false);
        let scratch = ["/tmp"].into_iter().chain(self.scratch.iter().copied());
        let scratch = scratch
            .enumerate()
            .map(|(index, path)| mount(scratch_name(index), path, false));
        let mounted = self.mounted.iter().enumerate();
        let mounted = mounted.map(|(index, it)| mount(mounted_name(index), it.path, true));
        let port = |(name, number): &(&str, i32)| ContainerPort {
            name: Some((*name).to_owned()),
            container_port: *number,
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        };
        Container {
            name: tier.component.clone(),
            volume_mounts: Some([data].into_iter().chain(scratch).chain(mounted).collect()),
            ports: Some(self.ports.iter().map(port).collect()),
            image: Some(self.image),
            command: self.command,
            args: self.args,
            env: (!self.env.is_empty()).then_some(self.env),
            resources: self.resources.and_then(pods::resources),
            startup_probe: self.startup,
            readiness_probe: self.readiness,
            liveness_probe: self.liveness,
            security_context: Some(SecurityContext {
                read_only_root_filesystem: Some(true),
                ..pods::restricted_container()
            }),
            ..pods::container()
        }
    }
}

fn scratch_name(index: usize) -> String {
    format!("scratch-{index}")
}

fn mounted_name(index: usize) -> String {
    format!("mounted-{index}")
}

/// Volumes go with the tier only where its author says so; never with a smaller number of pods.
fn retention(deletion: DeletionPolicy) -> StatefulSetPersistentVolumeClaimRetentionPolicy {
    let when_deleted = match deletion {
        DeletionPolicy::Keep => "Retain",
        DeletionPolicy::Delete => "Delete",
    };
    StatefulSetPersistentVolumeClaimRetentionPolicy {
        when_deleted: Some(when_deleted.to_owned()),
        when_scaled: Some("Retain".to_owned()),
    }
}
