//! Why a cache is not complete, in words that stay the same while the cause does.

use std::fmt;

use orlop_crds::Reason;

/// What is waited for, or what stands in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// These pods do not answer.
    NotAnswering(Vec<String>),
    /// These pods refuse the operator's password.
    Refused(Vec<String>),
    /// These pods read their data from their volumes.
    Loading(Vec<String>),
    /// Nodes are being told of each other.
    Introducing,
    /// Slots are being assigned for the first time.
    Assigning,
    /// Nodes become replicas of their shard's primary, or copy its data.
    Attaching { shard: u16 },
    /// Identities that are gone with their volumes are being removed.
    Forgetting,
    /// The nodes do not agree yet.
    Agreeing,
    /// The primary of a shard is lost and the others choose its replica.
    FailingOver { shard: u16 },
    /// A primary is handed over to another zone.
    Balancing { shard: u16 },
    /// No node of a shard answers.
    ShardDown { shard: u16, pods: Vec<String> },
    /// So few primaries answer that the others may promote nobody.
    NoMajority { primaries: usize, shards: u16 },
    /// The volumes that held a shard's data are gone.
    DataGone { shard: u16 },
    /// Two volumes claim to be the same node.
    Duplicate { one: String, other: String },
    /// Two nodes belong to different clusters that both hold data.
    Strangers { one: String, other: String },
    /// A node that should be empty is not.
    HoldsKeys { pod: String, keys: u64 },
    /// A primary has other slots than one whole shard.
    OddSlots { shard: u16 },
    /// The zone of a pod is not known.
    ZoneUnknown { pod: String },
    /// Two nodes of a shard are in one zone.
    SameZone {
        one: String,
        other: String,
        zone: String,
    },
    /// One zone has too many primaries.
    ZoneCrowded {
        zone: String,
        primaries: usize,
        shards: u16,
    },
}

impl Cause {
    /// The word for it, in a cluster that may hold data or in one that is being formed.
    #[must_use]
    pub const fn reason(&self, formed: bool) -> Reason {
        match self {
            Self::NotAnswering(_) | Self::FailingOver { .. } | Self::Attaching { .. } if formed => {
                Reason::Degraded
            }
            Self::NotAnswering(_) | Self::Loading(_) => Reason::Starting,
            Self::Refused(_) => Reason::CredentialsRefused,
            Self::Introducing if formed => Reason::Progressing,
            Self::Introducing
            | Self::Assigning
            | Self::Attaching { .. }
            | Self::FailingOver { .. } => Reason::Forming,
            Self::Forgetting | Self::Agreeing | Self::Balancing { .. } => Reason::Progressing,
            Self::ShardDown { .. } | Self::NoMajority { .. } | Self::DataGone { .. } => {
                Reason::ShardLost
            }
            Self::Duplicate { .. }
            | Self::Strangers { .. }
            | Self::HoldsKeys { .. }
            | Self::OddSlots { .. } => Reason::DataConflict,
            Self::ZoneUnknown { .. } | Self::SameZone { .. } | Self::ZoneCrowded { .. } => {
                Reason::TooFewZones
            }
        }
    }

    /// What a person does about it, where the reason does not say it.
    #[must_use]
    pub const fn fix(&self) -> Option<&'static str> {
        match self {
            Self::Refused(_) => Some(
                "they take the password of the Secret at their start: Orlop restarts them one by one",
            ),
            Self::DataGone { .. } => Some("delete the cache with its volumes and create it anew"),
            Self::OddSlots { .. } => Some("give the slots back to one primary of the shard"),
            Self::ZoneUnknown { .. } => Some(
                "label the nodes with `topology.kubernetes.io/zone`, or set `zoneMajority: Allow`",
            ),
            Self::SameZone { .. } => {
                Some("add nodes in further zones, or lower `replicasPerShard`")
            }
            _ => None,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnswering(pods) => write!(f, "{} do not answer", pods.join(", ")),
            Self::Refused(pods) => write!(f, "{} refuse the operator's password", pods.join(", ")),
            Self::Loading(pods) => write!(f, "{} read their data", pods.join(", ")),
            Self::Introducing => f.write_str("the nodes are introduced to each other"),
            Self::Assigning => f.write_str("the slots are being assigned"),
            Self::Attaching { shard } => write!(f, "a replica of shard {shard} copies its data"),
            Self::Forgetting => f.write_str("lost nodes are being forgotten"),
            Self::Agreeing => f.write_str("the nodes do not agree yet on who has which slots"),
            Self::FailingOver { shard } => {
                write!(
                    f,
                    "the primary of shard {shard} is lost, its replica takes over"
                )
            }
            Self::Balancing { shard } => {
                write!(f, "the primary of shard {shard} moves back to its zone")
            }
            Self::ShardDown { shard, pods } => {
                write!(f, "no node of shard {shard} answers: {}", pods.join(", "))
            }
            Self::NoMajority { primaries, shards } => write!(
                f,
                "{primaries} of {shards} primaries answer, which is no majority to promote a replica"
            ),
            Self::DataGone { shard } => {
                write!(f, "the data of shard {shard} is gone with its volumes")
            }
            Self::Duplicate { one, other } => {
                write!(
                    f,
                    "{one} and {other} have the same identity on their volumes"
                )
            }
            Self::Strangers { one, other } => {
                write!(f, "{one} and {other} hold data of different clusters")
            }
            Self::HoldsKeys { pod, keys } => {
                write!(f, "{pod} has no slots but holds {keys} keys")
            }
            Self::OddSlots { shard } => {
                write!(f, "the slots of shard {shard} are split between nodes")
            }
            Self::ZoneUnknown { pod } => write!(f, "the zone of {pod} is not known"),
            Self::SameZone { one, other, zone } => {
                write!(
                    f,
                    "{one} and {other}, of one shard, are both in zone {zone}"
                )
            }
            Self::ZoneCrowded {
                zone,
                primaries,
                shards,
            } => write!(
                f,
                "zone {zone} would hold {primaries} of {shards} primaries, its loss would stop the cache"
            ),
        }
    }
}
