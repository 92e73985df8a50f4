//! Actions: what a plan does to data services, over their own protocols.

use orlop_plan::{Action, ReadFailure, broker};
use thiserror::Error;

use crate::{
    metrics::Metrics,
    rabbitmq,
    valkey::{self, ValkeyError},
};

/// An action that did not succeed. The next readings tell what came of it, and the next pass plans
/// anew from them.
#[derive(Debug, Error)]
pub(crate) enum ActionError {
    #[error("failed to {action}: the broker {failure}")]
    RabbitMq {
        action: broker::Action,
        failure: ReadFailure,
    },
    #[error("failed to change a cache")]
    Valkey(#[from] ValkeyError),
}

/// One after another; the first that fails stops the rest, as they may rest on it.
pub(crate) async fn perform(actions: Vec<Action>, _metrics: &Metrics) -> Result<(), ActionError> {
    for action in actions {
        match action {
            Action::RabbitMq { source, action } => {
                if let Err(failure) = rabbitmq::perform(&source, &action).await {
                    return Err(ActionError::RabbitMq { action, failure });
                }
            }
            Action::Valkey(errand) => valkey::perform(&errand).await?,
        }
    }
    Ok(())
}
