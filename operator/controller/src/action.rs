//! Actions: what a plan does to data services, over their own protocols.

use orlop_plan::Action;
use thiserror::Error;

use crate::metrics::Metrics;

/// An action that did not succeed. The next readings tell what came of it, and the next pass plans
/// anew from them.
#[derive(Debug, Error)]
pub(crate) enum ActionError {}

/// One after another; the first that fails stops the rest, as they may rest on it.
pub(crate) async fn perform(actions: Vec<Action>, _metrics: &Metrics) -> Result<(), ActionError> {
    for action in actions {
        match action {}
    }
    Ok(())
}
