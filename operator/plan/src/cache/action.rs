//! What can be done to the nodes of a cache. What is not here cannot be done: there is no value for
//! `FLUSHALL`, `CLUSTER RESET`, or a failover by force or takeover.

use std::{fmt, net::IpAddr};

use super::{reading::NodeId, slots::SlotRange};

/// One command, sent to one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// The node that is told.
    pub node: NodeRef,
    pub command: Command,
}

/// A node as it was seen when the action was planned: its pod, its identity, and where it answered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeRef {
    pub name: String,
    pub id: NodeId,
    pub address: IpAddr,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `CLUSTER SET-CONFIG-EPOCH`: before a node knows others, so that no two start alike.
    SetConfigEpoch(u64),
    /// `CLUSTER MEET`: tells where the other one is.
    Meet(NodeRef),
    /// `CLUSTER ADDSLOTSRANGE`: slots that nobody has.
    AddSlots(SlotRange),
    /// `CLUSTER REPLICATE`.
    Replicate(NodeId),
    /// `CLUSTER FORGET`: an identity that is gone with its volume.
    Forget(NodeId),
    /// `CLUSTER FAILOVER` without options: the primary agrees and hands over without a loss.
    Failover,
}

impl Command {
    /// The words on the wire. `port` is where every node takes clients.
    #[must_use]
    pub fn words(&self, port: u16) -> Vec<String> {
        let words: Vec<String> = match self {
            Self::SetConfigEpoch(epoch) => vec!["SET-CONFIG-EPOCH".into(), epoch.to_string()],
            Self::Meet(peer) => {
                vec!["MEET".into(), peer.address.to_string(), port.to_string()]
            }
            Self::AddSlots(range) => vec![
                "ADDSLOTSRANGE".into(),
                range.first().to_string(),
                range.last().to_string(),
            ],
            Self::Replicate(primary) => vec!["REPLICATE".into(), primary.to_string()],
            Self::Forget(gone) => vec!["FORGET".into(), gone.to_string()],
            Self::Failover => vec!["FAILOVER".into()],
        };
        std::iter::once("CLUSTER".to_owned()).chain(words).collect()
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = &self.node.name;
        match &self.command {
            Command::SetConfigEpoch(epoch) => write!(f, "{node} begins with epoch {epoch}"),
            Command::Meet(peer) => write!(f, "{node} is introduced to {}", peer.name),
            Command::AddSlots(range) => write!(f, "{node} takes slots {range}"),
            Command::Replicate(primary) => write!(f, "{node} replicates {primary}"),
            Command::Forget(gone) => write!(f, "{node} forgets {gone}"),
            Command::Failover => write!(f, "{node} takes over from its primary"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words that destroy data or overrule the cluster's own agreement.
    const NEVER: [&str; 7] = [
        "FLUSHALL", "FLUSHDB", "RESET", "FORCE", "TAKEOVER", "DELSLOTS", "SETSLOT",
    ];

    #[test]
    fn no_command_destroys_or_overrules() {
        let id = NodeId::parse(&"a".repeat(40)).unwrap();
        let peer = NodeRef {
            name: "lantern-0-0-0".into(),
            id: id.clone(),
            address: "192.0.2.1".parse().unwrap(),
        };
        let all = [
            Command::SetConfigEpoch(1),
            Command::Meet(peer),
            Command::AddSlots(SlotRange::of_shard(0, 3)),
            Command::Replicate(id.clone()),
            Command::Forget(id),
            Command::Failover,
        ];
        for command in &all {
            // A command that is added must be added above too.
            match command {
                Command::SetConfigEpoch(_)
                | Command::Meet(_)
                | Command::AddSlots(_)
                | Command::Replicate(_)
                | Command::Forget(_)
                | Command::Failover => {}
            }
            let words = command.words(6379);
            assert!(
                words.iter().all(|word| !NEVER.contains(&word.as_str())),
                "{words:?}"
            );
        }
        assert_eq!(all[1].words(6379), ["CLUSTER", "MEET", "192.0.2.1", "6379"]);
        assert_eq!(all[5].words(6379), ["CLUSTER", "FAILOVER"]);
    }
}
