//! The types that the tests of this crate are about.

use orlop_contract::{
    api::{ApiConfig, ApiLimits},
    types::Model,
};

pub(crate) fn model() -> Model {
    config().validate().unwrap()
}

pub(crate) fn config() -> ApiConfig {
    ApiConfig {
        name: "harbour".into(),
        base_path: "/api".into(),
        schema: "harbour".into(),
        types: serde_json::from_str(include_str!("../tests/fixtures/harbour.json")).unwrap(),
        cache_classes: Vec::new(),
        limits: ApiLimits::default(),
    }
}
