//! Valkey over its own protocol: what all nodes of a cache say, and what one of them is told.

mod connection;

use std::time::Duration;

use futures::future::join_all;
use orlop_plan::{
    ValkeyErrand, ValkeyNode, ValkeySource,
    cache::{
        self, Reading,
        reading::{Node, NodeId, Nonsense, State, View},
    },
};
use redis::{RedisError, pipe};
use thiserror::Error;
use tokio::time::timeout;

use self::connection::{connect, is_loading, is_refusal, told};

/// All that is asked of one node in one reading: more than a node under load needs, less than the
/// pollers' deadline, which holds for all nodes side by side.
const NODE_DEADLINE: Duration = Duration::from_millis(1_500);

/// Why a node did not do what it was told.
#[derive(Debug, Error)]
pub(crate) enum ValkeyError {
    #[error("failed to reach {node}")]
    Connection {
        node: String,
        #[source]
        source: RedisError,
    },
    #[error("failed to get an answer of {node} within {} ms", NODE_DEADLINE.as_millis())]
    Silent { node: String },
    #[error("failed to tell {node}, since another node has its address by now")]
    Another { node: String },
    #[error("failed: {action}")]
    Refused {
        action: String,
        #[source]
        source: RedisError,
    },
}

/// Asks all nodes at the same time. A node that does not answer is part of the reading.
pub(crate) async fn read(source: &ValkeySource) -> Reading {
    let nodes = source.nodes.iter().map(|node| async move {
        let state = match node.address {
            None => State::Absent,
            Some(_) => timeout(NODE_DEADLINE, ask(source, node))
                .await
                .unwrap_or_else(|_| State::Unreachable("no answer in time".to_owned())),
        };
        let reading = Node {
            address: node.address,
            zone: node.zone.clone(),
            state,
        };
        (node.name.clone(), reading)
    });
    Reading {
        nodes: join_all(nodes).await.into_iter().collect(),
    }
}

/// Does one action if, by a reading made right before, it is still right. That it is not any more
/// is no failure: what it was for has changed, and the next pass plans anew.
///
/// # Errors
/// When the node does not answer, is another one, or refuses.
pub(crate) async fn perform(errand: &ValkeyErrand) -> Result<(), ValkeyError> {
    let ValkeyErrand {
        source,
        shape,
        formation,
        action,
    } = errand;
    let fresh = read(source).await;
    if !cache::is_still_due(action, shape, &fresh, formation.as_ref()) {
        tracing::debug!(%action, "not due any more");
        return Ok(());
    }
    let node = &action.node.name;
    timeout(NODE_DEADLINE, tell(source, action))
        .await
        .unwrap_or_else(|_| Err(ValkeyError::Silent { node: node.clone() }))?;
    tracing::info!(%action, "done");
    Ok(())
}

async fn ask(source: &ValkeySource, node: &ValkeyNode) -> State {
    let Some(address) = node.address else {
        return State::Absent;
    };
    match view(source, address).await {
        Ok(Ok(view)) => State::Up(Box::new(view)),
        Ok(Err(nonsense)) => State::Unreachable(nonsense.to_string()),
        Err(error) if is_refusal(&error) => State::Refused,
        Err(error) if is_loading(&error) => State::Loading,
        Err(error) => State::Unreachable(told(&error)),
    }
}

async fn view(
    source: &ValkeySource,
    address: std::net::IpAddr,
) -> Result<Result<View, Nonsense>, RedisError> {
    let mut connection = connect(source, address).await?;
    let (nodes, cluster, info, keys): (String, String, String, u64) = pipe()
        .cmd("CLUSTER")
        .arg("NODES")
        .cmd("CLUSTER")
        .arg("INFO")
        .cmd("INFO")
        .arg("server")
        .arg("replication")
        .cmd("DBSIZE")
        .query_async(&mut connection)
        .await?;
    Ok(View::parse(&nodes, &cluster, &info, keys))
}

/// The connection that is told is first asked who it is: an address may have gone to another node
/// since it was read.
async fn tell(source: &ValkeySource, action: &cache::Action) -> Result<(), ValkeyError> {
    let node = &action.node.name;
    let unreached = |source| ValkeyError::Connection {
        node: node.clone(),
        source,
    };
    let mut connection = connect(source, action.node.address)
        .await
        .map_err(unreached)?;
    let id: String = redis::cmd("CLUSTER")
        .arg("MYID")
        .query_async(&mut connection)
        .await
        .map_err(unreached)?;
    if NodeId::parse(&id).as_ref() != Some(&action.node.id) {
        return Err(ValkeyError::Another { node: node.clone() });
    }
    let mut command = redis::Cmd::new();
    command.arg(action.command.words(source.port));
    command
        .query_async(&mut connection)
        .await
        .map_err(|source| ValkeyError::Refused {
            action: action.to_string(),
            source,
        })
}
