//! Members of a thing's JSON object, declared or not.

use orlop_contract::types::{Entity, Kind, System};

/// One member: how it is called in JSON and in SQL, and what it may be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) column: String,
    pub(crate) kind: Kind,
    pub(crate) nullable: bool,
}

/// All members, those that every type has first.
pub(crate) fn all(entity: &Entity) -> impl Iterator<Item = Member> {
    let declared = entity.columns.iter().map(|column| Member {
        name: column.name.clone(),
        column: column.column.clone(),
        kind: column.kind.clone(),
        nullable: column.optional,
    });
    System::ALL.into_iter().map(system).chain(declared)
}

/// The member of that name.
pub(crate) fn named(entity: &Entity, name: &str) -> Option<Member> {
    all(entity).find(|member| member.name == name)
}

/// One that every type has.
pub(crate) fn system(system: System) -> Member {
    let kind = match system {
        System::Id => Kind::Uuid,
        System::CreatedAt | System::UpdatedAt => Kind::Timestamp,
        System::Version => Kind::Int {
            min: 1,
            max: i64::MAX,
        },
    };
    Member {
        name: system.name().to_owned(),
        column: system.column().to_owned(),
        kind,
        nullable: false,
    }
}
