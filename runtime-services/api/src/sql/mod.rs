//! SQL texts with their parameters, made from the model and from checked values. Nothing here does
//! IO.
//!
//! Identifiers come from the model alone, whose names are letters, digits and underscores; whatever
//! a client said is a parameter.

pub(crate) mod migration;
mod object;
pub(crate) mod schema;
pub(crate) mod select;
pub(crate) mod write;

pub(crate) use object::INCLUDED_MAX;

use std::fmt::Write as _;

use orlop_contract::types::Kind;
use tokio_postgres::types::Type;

use crate::value::{Value, parameter_type};

/// A statement under construction.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sql {
    pub(crate) text: String,
    pub(crate) parameters: Vec<(Value, Type)>,
    /// Whether the text follows from the model alone. Such texts are few, so each is prepared once
    /// per connection; the others are as many as clients can think of.
    pub(crate) is_fixed: bool,
}

impl Sql {
    fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    fn identifier(&mut self, name: &str) -> &mut Self {
        self.text.push('"');
        self.text.push_str(name);
        self.text.push('"');
        self
    }

    /// Writes `$n` for the value. A Decimal travels as text, which is exact and needs no binary
    /// format of its own.
    fn bind(&mut self, kind: &Kind, value: Value) -> &mut Self {
        self.parameters.push((value, parameter_type(kind)));
        let cast = match kind {
            Kind::Decimal { .. } => "::text::numeric",
            _ => "",
        };
        // Writing into a String does not fail.
        let _written = write!(self.text, "${}{cast}", self.parameters.len());
        self
    }

    fn bind_id(&mut self, id: uuid::Uuid) -> &mut Self {
        self.bind(&Kind::Uuid, Value::Uuid(id))
    }

    fn bind_ids(&mut self, ids: &[uuid::Uuid]) -> &mut Self {
        self.parameters
            .push((Value::Uuids(ids.to_vec()), Type::UUID_ARRAY));
        let _written = write!(self.text, "${}", self.parameters.len());
        self
    }

    fn bind_int(&mut self, number: i64) -> &mut Self {
        let kind = Kind::Int {
            min: i64::MIN,
            max: i64::MAX,
        };
        self.bind(&kind, Value::Int(number))
    }
}

/// Aliases of the tables of one statement: `t0`, `t1`, ...
#[derive(Debug, Default)]
struct Aliases(usize);

impl Aliases {
    fn next(&mut self) -> String {
        let alias = format!("t{}", self.0);
        self.0 += 1;
        alias
    }
}
