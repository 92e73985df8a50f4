//! From the recorded tables to the wanted ones, by steps that only add.
//!
//! Two revisions of an API use the database at once while one is released, and the old one may
//! start again in the middle. So a step never takes away what the other revision needs: a column
//! that is declared no more stays, with nulls allowed, and an index stays. The record is the union of
//! what all revisions wanted.

use std::fmt;

use super::schema::{Schema, Table, TableColumn, TableIndex, identifier};

/// What is to be done, in order, and what is recorded afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Migration {
    pub(crate) steps: Vec<Step>,
    pub(crate) record: Schema,
    /// Unique indexes that no type declares any more, but that still hold.
    pub(crate) left: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    CreateTable {
        table: String,
        columns: Vec<(String, TableColumn)>,
    },
    AddColumn {
        table: String,
        column: String,
        wanted: TableColumn,
    },
    AddReference {
        table: String,
        column: String,
        to: String,
    },
    AddIndex {
        table: String,
        index: String,
        wanted: TableIndex,
    },
    AllowNull {
        table: String,
        column: String,
    },
    SetDefault {
        table: String,
        column: String,
        default: String,
    },
    /// Changes nothing; fails if a row has no value.
    RequireNoNull {
        table: String,
        column: String,
    },
}

/// Why the tables cannot be changed so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal(pub String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Compares the recorded tables with the wanted ones.
///
/// # Errors
/// Every change that would not only add.
pub(crate) fn plan(recorded: &Schema, wanted: &Schema) -> Result<Migration, Vec<Refusal>> {
    let mut plan = Plan {
        record: recorded.clone(),
        ..Plan::default()
    };
    for (name, table) in &wanted.tables {
        match recorded.tables.get(name) {
            None => plan.create(name, table),
            Some(stands) => plan.change(name, stands, table),
        }
    }
    if !plan.refusals.is_empty() {
        return Err(plan.refusals);
    }
    // Tables refer to each other in any order, so references are added when all exist.
    plan.steps.extend(plan.references);
    plan.steps.extend(plan.indexes);
    Ok(Migration {
        steps: plan.steps,
        record: plan.record,
        left: plan.left,
    })
}

#[derive(Debug, Default)]
struct Plan {
    steps: Vec<Step>,
    references: Vec<Step>,
    indexes: Vec<Step>,
    record: Schema,
    left: Vec<String>,
    refusals: Vec<Refusal>,
}

impl Plan {
    fn create(&mut self, table: &str, wanted: &Table) {
        let columns = wanted
            .columns
            .iter()
            .map(|(name, column)| (name.clone(), column.clone()))
            .collect();
        self.steps.push(Step::CreateTable {
            table: table.to_owned(),
            columns,
        });
        for (name, column) in &wanted.columns {
            self.refer(table, name, column);
        }
        for (name, index) in &wanted.indexes {
            self.index(table, name, index);
        }
        self.record.tables.insert(table.to_owned(), wanted.clone());
    }

    fn change(&mut self, table: &str, stands: &Table, wanted: &Table) {
        for (name, column) in &wanted.columns {
            match stands.columns.get(name) {
                None => self.add(table, name, column),
                Some(stands) => self.alter(table, name, stands, column),
            }
        }
        for (name, stands) in &stands.columns {
            let is_needed = !stands.nullable && stands.default.is_none();
            if is_needed && !wanted.columns.contains_key(name) {
                self.allow_null(table, name);
            }
        }
        for (name, index) in &wanted.indexes {
            match stands.indexes.get(name) {
                None => self.index(table, name, index),
                Some(stands) if stands == index => {}
                Some(_) => self.refuse(format!(
                    "index `{name}` of table `{table}` stands with other fields: give the index another name"
                )),
            }
        }
        for (name, index) in &stands.indexes {
            if index.unique && !wanted.indexes.contains_key(name) {
                self.left.push(name.clone());
            }
        }
    }

    fn add(&mut self, table: &str, name: &str, wanted: &TableColumn) {
        if !wanted.nullable && wanted.default.is_none() {
            return self.refuse(format!(
                "column `{name}` of table `{table}` is new and required, but there may be rows already: give it a default or make it optional"
            ));
        }
        self.steps.push(Step::AddColumn {
            table: table.to_owned(),
            column: name.to_owned(),
            wanted: wanted.clone(),
        });
        self.refer(table, name, wanted);
        self.recorded(table)
            .columns
            .insert(name.to_owned(), wanted.clone());
    }

    fn alter(&mut self, table: &str, name: &str, stands: &TableColumn, wanted: &TableColumn) {
        if stands.kind != wanted.kind {
            return self.refuse(format!(
                "column `{name}` of table `{table}` is {} and cannot become {}: declare a new field",
                stands.kind.as_str(),
                wanted.kind.as_str()
            ));
        }
        if stands.references != wanted.references {
            return self.refuse(format!(
                "column `{name}` of table `{table}` refers to {} and cannot refer to {}: declare a new relation",
                referred(stands),
                referred(wanted)
            ));
        }
        match (stands.nullable, wanted.nullable) {
            (false, true) => self.allow_null(table, name),
            (true, false) => self.steps.push(Step::RequireNoNull {
                table: table.to_owned(),
                column: name.to_owned(),
            }),
            (true, true) | (false, false) => {}
        }
        // A default is never taken away: the other revision may not know the column.
        if let Some(default) = &wanted.default
            && wanted.default != stands.default
        {
            self.steps.push(Step::SetDefault {
                table: table.to_owned(),
                column: name.to_owned(),
                default: default.clone(),
            });
            if let Some(column) = self.recorded(table).columns.get_mut(name) {
                column.default = Some(default.clone());
            }
        }
    }

    fn allow_null(&mut self, table: &str, name: &str) {
        self.steps.push(Step::AllowNull {
            table: table.to_owned(),
            column: name.to_owned(),
        });
        if let Some(column) = self.recorded(table).columns.get_mut(name) {
            column.nullable = true;
        }
    }

    fn refer(&mut self, table: &str, name: &str, column: &TableColumn) {
        if let Some(to) = &column.references {
            self.references.push(Step::AddReference {
                table: table.to_owned(),
                column: name.to_owned(),
                to: to.clone(),
            });
        }
    }

    fn index(&mut self, table: &str, name: &str, wanted: &TableIndex) {
        self.indexes.push(Step::AddIndex {
            table: table.to_owned(),
            index: name.to_owned(),
            wanted: wanted.clone(),
        });
        self.recorded(table)
            .indexes
            .insert(name.to_owned(), wanted.clone());
    }

    fn recorded(&mut self, table: &str) -> &mut Table {
        self.record.tables.entry(table.to_owned()).or_default()
    }

    fn refuse(&mut self, why: String) {
        self.refusals.push(Refusal(why));
    }
}

fn referred(column: &TableColumn) -> &str {
    column.references.as_deref().unwrap_or("nothing")
}

impl Step {
    /// The statement.
    pub(crate) fn sql(&self) -> String {
        match self {
            Self::CreateTable { table, columns } => {
                let declared: Vec<_> = columns
                    .iter()
                    .map(|(name, column)| format!(", {}", column_sql(name, column)))
                    .collect();
                format!(
                    "create table \"{table}\" (\"id\" uuid primary key, \
                     \"created_at\" timestamptz not null default now(), \
                     \"updated_at\" timestamptz not null default now(), \
                     \"version\" bigint not null default 1{})",
                    declared.concat()
                )
            }
            Self::AddColumn {
                table,
                column,
                wanted,
            } => format!(
                "alter table \"{table}\" add column {}",
                column_sql(column, wanted)
            ),
            Self::AddReference { table, column, to } => format!(
                "alter table \"{table}\" add constraint \"{}\" foreign key (\"{column}\") references \"{to}\" (\"id\")",
                reference_name(table, column)
            ),
            Self::AddIndex {
                table,
                index,
                wanted,
            } => {
                let unique = if wanted.unique { "unique " } else { "" };
                let columns = wanted.columns.join("\", \"");
                format!("create {unique}index \"{index}\" on \"{table}\" (\"{columns}\")")
            }
            Self::AllowNull { table, column } => {
                format!("alter table \"{table}\" alter column \"{column}\" drop not null")
            }
            Self::SetDefault {
                table,
                column,
                default,
            } => format!("alter table \"{table}\" alter column \"{column}\" set default {default}"),
            Self::RequireNoNull { table, column } => {
                format!("select exists (select from \"{table}\" where \"{column}\" is null)")
            }
        }
    }
}

/// Name of the constraint that keeps a reference whole.
pub(crate) fn reference_name(table: &str, column: &str) -> String {
    identifier(table, column, "fkey")
}

fn column_sql(name: &str, column: &TableColumn) -> String {
    let null = if column.nullable { "" } else { " not null" };
    let default = column
        .default
        .as_ref()
        .map(|literal| format!(" default {literal}"))
        .unwrap_or_default();
    format!("\"{name}\" {}{null}{default}", column.kind.as_str())
}

#[cfg(test)]
mod tests;
