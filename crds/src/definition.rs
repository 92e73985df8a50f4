//! What the derived definitions need before an API server gets them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

/// Optional means "may be left out", not "may be null": a null would be stored, and read back as
/// if nothing had been said. That unknown fields are refused goes without saying in a definition,
/// and must not be said beside `properties`.
pub(crate) fn strict(mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut definition.spec.versions {
        if let Some(schema) = version
            .schema
            .as_mut()
            .and_then(|schema| schema.open_api_v3_schema.as_mut())
        {
            settle(schema);
        }
    }
    definition
}

/// Depth is bounded by the types themselves: none of them is recursive.
fn settle(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    if schema.additional_properties == Some(JSONSchemaPropsOrBool::Bool(false)) {
        schema.additional_properties = None;
    }
    if let Some(values) = &mut schema.enum_ {
        values.retain(|value| !value.0.is_null());
    }
    for property in schema
        .properties
        .iter_mut()
        .flat_map(|properties| properties.values_mut())
    {
        settle(property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        settle(items);
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
            for null in [":null", "[null", ",null"] {
                assert!(!text.contains(null), "{:?}", definition.metadata.name);
            }
        }
    }
}
