//! `include=items.product,customer`: what is answered along with a thing.

use orlop_contract::types::{Action, EntityId, Kind, Model};

use super::{Fault, Refusal};

/// How deep includes may nest, and how many there may be: each is a subquery per row.
pub(crate) const DEPTH_MAX: usize = 3;
pub(crate) const NODES_MAX: usize = 16;

/// What is included below one thing, in the order in which it was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Include {
    pub(crate) edges: Vec<Edge>,
}

/// One step from a thing to another one or to many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    /// Member under which the other side stands.
    pub(crate) name: String,
    pub(crate) to: EntityId,
    /// The column that holds the reference: of this side for one, of the other side for many.
    pub(crate) column: String,
    pub(crate) many: bool,
    pub(crate) below: Include,
}

impl Include {
    pub(crate) fn is_empty(&self) -> bool {
        self.edges.is_empty()
    }

    /// Reads the parameter.
    ///
    /// # Errors
    /// When a name leads nowhere, when there are too many, or when one may not be read.
    pub(crate) fn parse(model: &Model, from: EntityId, text: &str) -> Result<Self, Refusal> {
        let mut include = Self::default();
        for path in text.split(',') {
            if path.split('.').count() > DEPTH_MAX {
                return Err(fault(format!(
                    "at most {DEPTH_MAX} steps are allowed: `{path}`"
                )));
            }
            include.add(model, from, path)?;
        }
        if include.nodes() > NODES_MAX {
            return Err(fault(format!("at most {NODES_MAX} includes are allowed")));
        }
        Ok(include)
    }

    fn add(&mut self, model: &Model, from: EntityId, path: &str) -> Result<(), Refusal> {
        let (name, rest) = match path.split_once('.') {
            Some((name, rest)) => (name, Some(rest)),
            None => (path, None),
        };
        let known = self.edges.iter().position(|edge| edge.name == name);
        let at = known.unwrap_or(self.edges.len());
        if known.is_none() {
            self.edges.push(step(model, from, name)?);
        }
        let edge = &mut self.edges[at];
        match rest {
            Some(rest) => edge.below.add(model, edge.to, rest),
            None => Ok(()),
        }
    }

    fn nodes(&self) -> usize {
        self.edges.iter().map(|edge| 1 + edge.below.nodes()).sum()
    }
}

/// The parts of a thing, and theirs: what is answered to who created them with it.
pub(crate) fn parts(model: &Model, of: EntityId) -> Include {
    let edges = model
        .parts(of)
        .map(|(to, column, name)| Edge {
            name: name.to_owned(),
            to,
            column: column.column.clone(),
            many: true,
            below: parts(model, to),
        })
        .collect();
    Include { edges }
}

fn step(model: &Model, from: EntityId, name: &str) -> Result<Edge, Refusal> {
    let edge = reference(model, from, name)
        .or_else(|| inverse(model, from, name))
        .ok_or_else(|| {
            fault(format!(
                "`{}` has no relation `{name}`",
                model.entity(from).name
            ))
        })?;
    if !model.anonymous_may(edge.to, Action::Read) {
        return Err(Refusal::Forbidden {
            what: model.entity(edge.to).name.clone(),
        });
    }
    Ok(edge)
}

fn reference(model: &Model, from: EntityId, name: &str) -> Option<Edge> {
    let column = model.entity(from).column(name)?;
    let Kind::Reference { to, .. } = &column.kind else {
        return None;
    };
    Some(Edge {
        name: name.to_owned(),
        to: *to,
        column: column.column.clone(),
        many: false,
        below: Include::default(),
    })
}

fn inverse(model: &Model, from: EntityId, name: &str) -> Option<Edge> {
    let (to, column, _) = model
        .inverses(from)
        .find(|(_, _, inverse)| *inverse == name)?;
    Some(Edge {
        name: name.to_owned(),
        to,
        column: column.column.clone(),
        many: true,
        below: Include::default(),
    })
}

fn fault(detail: String) -> Refusal {
    Refusal::Query(vec![Fault::parameter("include", detail)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn paths_that_begin_alike_share_their_steps() {
        let model = fixture::model();
        let voyage = model.by_path("voyages").unwrap();
        let include = Include::parse(&model, voyage, "legs.pier,boat,legs").unwrap();
        let names: Vec<_> = include
            .edges
            .iter()
            .map(|edge| (&*edge.name, edge.many))
            .collect();
        assert_eq!(names, [("legs", true), ("boat", false)]);
        assert_eq!(include.edges[0].below.edges[0].name, "pier");
    }

    #[test]
    fn a_step_that_leads_nowhere_is_refused() {
        let model = fixture::model();
        let voyage = model.by_path("voyages").unwrap();
        for text in [
            "",
            "state",
            "legs.",
            "legs..pier",
            "crew",
            "boat.voyages.legs.pier",
        ] {
            assert!(
                matches!(Include::parse(&model, voyage, text), Err(Refusal::Query(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn what_may_not_be_read_is_not_included_either() {
        let model = fixture::model();
        let voyage = model.by_path("voyages").unwrap();
        assert_eq!(
            Include::parse(&model, voyage, "secret"),
            Err(Refusal::Forbidden {
                what: "Secret".into()
            })
        );
    }
}
