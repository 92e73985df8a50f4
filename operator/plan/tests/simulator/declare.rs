//! What people declare.

use orlop_crds::{AppPlatform, AppPlatformSpec, AppService, AppServiceSpec};
use orlop_plan::Object;
use serde_json::{Value, json};

use crate::world::Body;

pub(crate) const PLATFORM: &str = "harbour";
/// A service that belongs to no application.
pub(crate) const ALONE: &str = "buoy";

pub(crate) fn platform(spec: AppPlatformSpec) -> Body {
    Body::AppPlatform(Box::new(AppPlatform::new(PLATFORM, spec)))
}

pub(crate) fn alone(spec: AppServiceSpec) -> Body {
    Body::Object(Object::from(AppService::new(ALONE, spec)))
}

/// An application of services, of which the first has a route.
pub(crate) fn platform_spec(services: &[Value]) -> AppPlatformSpec {
    serde_json::from_value(json!({"services": services})).unwrap()
}

pub(crate) fn service(name: &str, image: &str, replicas: i32) -> Value {
    json!({
        "name": name, "image": image, "port": 3000, "replicas": replicas,
        "release": {"drain": "5s"},
    })
}

pub(crate) fn routed(mut service: Value, path: &str) -> Value {
    service["routes"] = json!([{"name": "way", "path": path}]);
    service
}

pub(crate) fn using(mut service: Value, other: &str) -> Value {
    service["uses"] = json!([{"name": other}]);
    service
}

/// To be released in every phase that there is.
pub(crate) fn released_spec(image: &str, replicas: i32) -> AppServiceSpec {
    let check = |name: &str, when: &str| json!({"name": name, "when": when, "http": {"path": "/"}});
    let spec = json!({
        "image": image, "port": 3000, "replicas": replicas,
        "release": {
            "promote": {"after": "2s"}, "preview": {"replicas": 1},
            "drain": "2s", "keepOld": "2s",
            "checks": [check("before", "BeforeSwitch"), check("after", "AfterSwitch")],
        },
    });
    serde_json::from_value(spec).unwrap()
}

pub(crate) fn alone_spec(image: &str, replicas: i32) -> AppServiceSpec {
    let spec = json!({"image": image, "port": 3000, "replicas": replicas});
    serde_json::from_value(spec).unwrap()
}
