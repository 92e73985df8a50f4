//! What a poll of all nodes of a cache gives, without judgement, and how it is read from their
//! answers.
//!
//! Formats: `CLUSTER NODES` (<https://valkey.io/commands/cluster-nodes/>), `CLUSTER INFO` and `INFO`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
};

use serde::{Deserialize, Serialize};

use super::slots::{SlotRange, Slots};

/// All nodes, by the names of their pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    pub nodes: BTreeMap<String, Node>,
}

/// One node, as its pod is placed and as it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// None while the pod has none.
    pub address: Option<IpAddr>,
    pub zone: Option<String>,
    pub state: State,
}

/// What a node answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// No pod, or one without an address.
    Absent,
    /// No connection, no answer in time, or one that makes no sense: which of them.
    Unreachable(String),
    /// The user or the password is not accepted.
    Refused,
    /// It reads its data from the volume.
    Loading,
    Up(Box<View>),
}

/// The cluster as one node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The node's own identity.
    pub id: NodeId,
    /// Version of the server, `9.1.0`.
    pub version: String,
    /// Every node that it knows, itself among them.
    pub members: BTreeMap<NodeId, Member>,
    /// Whether the node answers requests: `cluster_state:ok`.
    pub serves: bool,
    /// Keys that it holds as a primary without slots. Of others it is not asked: a number that
    /// changes with every request says nothing here.
    pub stray_keys: u64,
    pub replication: Replication,
}

/// Whose data a node has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replication {
    Primary,
    Replica {
        /// Whether it follows its primary without a gap.
        link_up: bool,
    },
}

/// 40 hexadecimal digits that a node gave itself at its first start; kept on its volume.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(String);

impl NodeId {
    const DIGITS: usize = 40;

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let valid = text.len() == Self::DIGITS
            && text
                .bytes()
                .all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c));
        valid.then(|| Self(text.to_owned()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0[..8])
    }
}

/// A node as another one knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// None if it is not known.
    pub address: Option<IpAddr>,
    pub flags: BTreeSet<Flag>,
    /// Whom it replicates; none for a primary.
    pub primary: Option<NodeId>,
    /// Of its configuration: where two primaries claim a slot, the higher one has it.
    pub epoch: u64,
    /// Whether there is a connection to it, or one is being opened.
    pub connected: bool,
    pub slots: Slots,
}

impl Member {
    #[must_use]
    pub fn is(&self, flag: Flag) -> bool {
        self.flags.contains(&flag)
    }
}

/// What one node says of another; flags without a bearing on anything here are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flag {
    Myself,
    /// It did not answer this node in time.
    Suspected,
    /// It did not answer most of the primaries in time.
    Failed,
    /// It was introduced by address and has not answered yet: its identity is a placeholder.
    Handshake,
    NoAddress,
}

impl Flag {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "myself" => Some(Self::Myself),
            "fail?" => Some(Self::Suspected),
            "fail" => Some(Self::Failed),
            "handshake" => Some(Self::Handshake),
            "noaddr" => Some(Self::NoAddress),
            _ => None,
        }
    }
}

/// The part of an answer that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Nonsense {
    #[error("failed to read the line `{0}` of CLUSTER NODES")]
    Line(String),
    #[error("failed to find the node itself in CLUSTER NODES")]
    NoMyself,
    #[error("failed to find `{0}` in INFO")]
    NoField(&'static str),
}

/// What of a line that makes no sense is quoted.
const QUOTED_CHARS_MAX: usize = 120;

impl View {
    /// From the answers to `CLUSTER NODES`, `CLUSTER INFO`, `INFO server replication` and `DBSIZE`.
    pub fn parse(
        cluster_nodes: &str,
        cluster_info: &str,
        info: &str,
        keys: u64,
    ) -> Result<Self, Nonsense> {
        let mut members = BTreeMap::new();
        for line in cluster_nodes.lines().filter(|line| !line.is_empty()) {
            let quoted = || Nonsense::Line(line.chars().take(QUOTED_CHARS_MAX).collect());
            let (id, member) = member(line).ok_or_else(quoted)?;
            members.insert(id, member);
        }
        let id = members
            .iter()
            .find(|(_, member)| member.is(Flag::Myself))
            .map(|(id, _)| id.clone())
            .ok_or(Nonsense::NoMyself)?;
        // Redis tells its own version for what it is compatible with; Valkey has its own field too.
        let version = field(info, "valkey_version")
            .or_else(|| field(info, "redis_version"))
            .ok_or(Nonsense::NoField("redis_version"))?;
        let state =
            field(cluster_info, "cluster_state").ok_or(Nonsense::NoField("cluster_state"))?;
        let replication = match field(info, "role") {
            Some("master") => Replication::Primary,
            Some("slave") => Replication::Replica {
                link_up: field(info, "master_link_status") == Some("up"),
            },
            _ => return Err(Nonsense::NoField("role")),
        };
        let is_empty = members
            .get(&id)
            .is_some_and(|member: &Member| member.slots.is_empty());
        let stray_keys = if is_empty && replication == Replication::Primary {
            keys
        } else {
            0
        };
        Ok(Self {
            id,
            version: version.to_owned(),
            members,
            serves: state == "ok",
            stray_keys,
            replication,
        })
    }

    /// What the node says of itself.
    #[must_use]
    pub fn myself(&self) -> Option<&Member> {
        self.members.get(&self.id)
    }
}

/// `<id> <ip:port@cport[,...]> <flags> <primary> <ping> <pong> <epoch> <link> <slot> ...`
fn member(line: &str) -> Option<(NodeId, Member)> {
    let mut words = line.split(' ');
    let id = NodeId::parse(words.next()?)?;
    let (ip, _) = words.next()?.split_once('@')?.0.rsplit_once(':')?;
    let flags: BTreeSet<_> = words.next()?.split(',').filter_map(Flag::parse).collect();
    let primary = match words.next()? {
        "-" => None,
        id => Some(NodeId::parse(id)?),
    };
    let (_ping, _pong) = (words.next()?, words.next()?);
    let epoch = words.next()?.parse().ok()?;
    let connected = words.next()? == "connected";
    let slots = words
        // `[slot->-id]`: a slot that is being moved belongs to its source until it is there.
        .filter(|word| !word.is_empty() && !word.starts_with('['))
        .map(slot_range)
        .collect::<Option<Slots>>()?;
    let member = Member {
        address: if flags.contains(&Flag::NoAddress) {
            None
        } else {
            ip.parse().ok()
        },
        flags,
        primary,
        epoch,
        connected,
        slots,
    };
    Some((id, member))
}

fn slot_range(word: &str) -> Option<SlotRange> {
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    SlotRange::new(first.parse().ok()?, last.parse().ok()?)
}

/// `name:value` on a line of its own.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim_end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NODES: &str = "\
07c37dfeb235213a872192d90877d0cd55635b91 192.0.2.4:6379@16379,lantern-1,shard-id=69bc slave e7d1eecce10fd6bb5eb35b9f99a514335d9ba9ca 0 1426238317239 4 connected
67ed2db8d677e59ec4a4cefb06858cf2a1a89fa1 :0@0 master,fail,noaddr - 0 1426238316232 2 disconnected 5461-10922
e7d1eecce10fd6bb5eb35b9f99a514335d9ba9ca 192.0.2.1:6379@16379 myself,master - 0 0 1 connected 0-5460 10923 [93-<-292f8b365bb7edb5e285caf0b7e6ddc7265d2f4f]
a24df5ef0d3a2e7f1b5f5b6dbd0bc7ba4d5d0a3c 2001:db8::7:6379@16379 handshake - 0 0 0 disconnected
";
    const CLUSTER_INFO: &str = "cluster_enabled:1\r\ncluster_state:fail\r\n";
    const INFO: &str =
        "# Server\r\nredis_version:7.2.4\r\nvalkey_version:9.1.0\r\n\r\nrole:master\r\n";

    #[test]
    fn a_view_holds_what_the_node_says() {
        let view = View::parse(NODES, CLUSTER_INFO, INFO, 7).unwrap();
        assert_eq!(view.id.as_str(), "e7d1eecce10fd6bb5eb35b9f99a514335d9ba9ca");
        assert_eq!(
            (view.version.as_str(), view.serves, view.stray_keys),
            ("9.1.0", false, 0)
        );
        assert_eq!(view.replication, Replication::Primary);
        let myself = view.myself().unwrap();
        assert_eq!(myself.slots.len(), 5462);
        assert_eq!(myself.address, Some("192.0.2.1".parse().unwrap()));
        let by_prefix = |prefix: &str| {
            let found = view
                .members
                .iter()
                .find(|(id, _)| id.as_str().starts_with(prefix));
            found.unwrap().1
        };
        assert_eq!(by_prefix("07c3").primary.as_ref(), Some(&view.id));
        let failed = by_prefix("67ed");
        assert_eq!(failed.address, None);
        assert!(failed.is(Flag::Failed) && !failed.connected && failed.slots.len() == 5462);
        let introduced = by_prefix("a24d");
        assert!(introduced.is(Flag::Handshake));
        assert_eq!(introduced.address, Some("2001:db8::7".parse().unwrap()));
    }

    #[test]
    fn a_replica_tells_whether_it_follows() {
        for (status, link_up) in [("up", true), ("down", false)] {
            let info =
                format!("redis_version:7.0.15\r\nrole:slave\r\nmaster_link_status:{status}\r\n");
            let view = View::parse(NODES, CLUSTER_INFO, &info, 0).unwrap();
            assert_eq!(view.replication, Replication::Replica { link_up });
        }
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let cut = &NODES[..60];
        let quoted = Nonsense::Line(cut.to_owned());
        assert_eq!(View::parse(cut, CLUSTER_INFO, INFO, 0), Err(quoted));
        assert_eq!(
            View::parse("", CLUSTER_INFO, INFO, 0),
            Err(Nonsense::NoMyself)
        );
        let no_state = View::parse(NODES, "", INFO, 0);
        assert_eq!(no_state, Err(Nonsense::NoField("cluster_state")));
        let beyond = NODES.replace("0-5460", "0-16384");
        assert!(View::parse(&beyond, CLUSTER_INFO, INFO, 0).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(nodes in ".{0,200}", info in ".{0,100}") {
            let refused = View::parse(&nodes, &info, &info, 0);
            prop_assert!(refused.is_err());
        }

        #[test]
        fn a_changed_byte_never_gives_slots_beyond_the_last(at in 0..NODES.len(), byte in 32_u8..127) {
            let mut bytes = NODES.as_bytes().to_vec();
            bytes[at] = byte;
            let text = String::from_utf8(bytes).unwrap();
            if let Ok(view) = View::parse(&text, CLUSTER_INFO, INFO, 0) {
                let all: u32 = view.members.values().map(|member| member.slots.len()).sum();
                prop_assert!(all <= 2 * u32::from(super::super::slots::SLOTS));
            }
        }
    }
}
