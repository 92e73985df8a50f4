//! What the derived definitions need before an API server gets them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};

/// Optional means "may be left out", not "may be null": a null would be stored, and read back as
/// if nothing had been said.
pub(crate) fn strict(mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut definition.spec.versions {
        if let Some(schema) = version
            .schema
            .as_mut()
            .and_then(|schema| schema.open_api_v3_schema.as_mut())
        {
            forbid_null(schema);
        }
    }
    definition
}

/// Depth is bounded by the types themselves: none of them is recursive.
fn forbid_null(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    if let Some(values) = &mut schema.enum_ {
        values.retain(|value| !value.0.is_null());
    }
    for property in schema
        .properties
        .iter_mut()
        .flat_map(|properties| properties.values_mut())
    {
        forbid_null(property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        forbid_null(items);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_field_accepts_null() {
        for definition in crate::definitions() {
            let text = serde_json::to_string(&definition).unwrap();
            assert!(
                !text.contains("\"nullable\""),
                "{:?}",
                definition.metadata.name
            );
            assert!(!text.contains("null"), "{:?}", definition.metadata.name);
        }
    }
}
