//! Constraints of the tables, by the names that the database tells when one is broken.

use std::collections::BTreeMap;

use orlop_contract::types::{IndexKind, Kind, Model};

use crate::sql::migration::reference_name;

#[derive(Debug)]
pub(super) struct Constraints(BTreeMap<String, Broken>);

/// What a broken constraint means to a client.
#[derive(Debug)]
pub(super) enum Broken {
    Unique { told: String },
    Reference { dangling: String, held: String },
}

impl Constraints {
    pub(super) fn of(model: &Model) -> Self {
        let mut constraints = BTreeMap::new();
        for (_, entity) in model.entities() {
            for index in &entity.indexes {
                if index.kind == IndexKind::Unique {
                    let told = format!(
                        "another {} has the same {}",
                        entity.name,
                        index.fields.join(", ")
                    );
                    constraints.insert(index.identifier.clone(), Broken::Unique { told });
                }
            }
            for column in &entity.columns {
                if let Kind::Reference { to, .. } = column.kind {
                    let to = &model.entity(to).name;
                    let broken = Broken::Reference {
                        dangling: format!(
                            "`{}` of {} must be the id of an existing {to}",
                            column.name, entity.name
                        ),
                        held: format!("`{}` of a {} refers to it", column.name, entity.name),
                    };
                    constraints.insert(reference_name(&entity.table, &column.column), broken);
                }
            }
        }
        Self(constraints)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Broken> {
        self.0.get(name)
    }
}
