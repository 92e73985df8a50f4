//! Paths.

use std::collections::HashMap;

use orlop_contract::types::{EntityId, Model};
use uuid::Uuid;

use crate::value;

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Description,
    Collection(EntityId),
    Item(EntityId, Uuid),
    Nothing,
}

#[derive(Debug)]
pub(super) struct Routes {
    base: String,
    collections: HashMap<String, EntityId>,
    /// By entity: of the collection, of one thing.
    labels: Vec<(String, String)>,
    description: String,
}

impl Routes {
    pub(super) fn of(base: &str, model: &Model) -> Self {
        let collections = model
            .entities()
            .map(|(id, entity)| (entity.path.clone(), id))
            .collect();
        let labels = model
            .entities()
            .map(|(_, entity)| {
                let collection = format!("{base}/{}", entity.path);
                let item = format!("{collection}/{{id}}");
                (collection, item)
            })
            .collect();
        Self {
            base: base.to_owned(),
            collections,
            labels,
            description: format!("{base}/openapi.json"),
        }
    }

    /// An id that is not written as we write them names nothing.
    pub(super) fn find(&self, path: &str) -> Route {
        if path == self.description {
            return Route::Description;
        }
        let Some(below) = path
            .strip_prefix(self.base.as_str())
            .and_then(|rest| rest.strip_prefix('/'))
        else {
            return Route::Nothing;
        };
        let (collection, id) = match below.split_once('/') {
            Some((collection, id)) => (collection, Some(id)),
            None => (below, None),
        };
        match (self.collections.get(collection), id) {
            (Some(entity), None) => Route::Collection(*entity),
            (Some(entity), Some(id)) => {
                value::uuid(id).map_or(Route::Nothing, |id| Route::Item(*entity, id))
            }
            (None, _) => Route::Nothing,
        }
    }

    /// For metrics and spans: as many as there are types, whatever clients ask for.
    pub(super) fn label(&self, route: &Route) -> &str {
        match route {
            Route::Description => &self.description,
            Route::Collection(entity) => &self.labels[entity.index()].0,
            Route::Item(entity, _) => &self.labels[entity.index()].1,
            Route::Nothing => "other",
        }
    }

    pub(super) fn collection(&self, entity: EntityId) -> &str {
        &self.labels[entity.index()].0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn a_path_leads_to_a_collection_to_a_thing_or_to_nothing() {
        let model = fixture::model();
        let routes = Routes::of("/api", &model);
        let boats = model.by_path("boats").unwrap();
        let id = "67e55044-10b1-426f-9247-bb680e5fe0c8";
        assert_eq!(routes.find("/api/boats"), Route::Collection(boats));
        assert_eq!(
            routes.find(&format!("/api/boats/{id}")),
            Route::Item(boats, Uuid::try_parse(id).unwrap())
        );
        assert_eq!(routes.find("/api/openapi.json"), Route::Description);
        for path in [
            "/",
            "/api",
            "/api/",
            "/api/boats/",
            "/api/boats/1",
            "/apiboats",
            "/api/boats/x/y",
            "/api/keels",
            "/boats",
            "//api/boats",
            "/api/boats%2F1",
        ] {
            assert_eq!(routes.find(path), Route::Nothing, "{path}");
        }
    }
}
