//! One AppService per declared service.

use orlop_crds::{
    AppService, AppServiceSpec,
    app_platform::ServiceComponent,
    app_service::{ObjectReference, Use},
};

use super::validate::ValidatedPlatform;
use crate::meta::{self, Owner};

pub(super) fn services(platform: &ValidatedPlatform) -> Vec<AppService> {
    platform
        .services
        .iter()
        .map(|component| service(platform, component))
        .collect()
}

fn service(platform: &ValidatedPlatform, component: &ServiceComponent) -> AppService {
    let ServiceComponent {
        name,
        template,
        uses,
        routes: _,
    } = component;
    let uses = uses
        .iter()
        .map(|used| Use {
            name: used.name.clone(),
            service: Some(ObjectReference {
                name: platform.object_name(&used.name),
            }),
            database: None,
            cache: None,
            broker: None,
        })
        .collect();
    let owner = owner(platform);
    let labels = meta::labels(&owner, name, Some(&platform.name));
    let metadata = meta::child(
        &owner,
        platform.object_name(name),
        &platform.namespace,
        labels,
    );
    AppService {
        metadata,
        spec: AppServiceSpec {
            template: template.clone(),
            uses,
        },
        status: None,
    }
}

pub(super) fn owner(platform: &ValidatedPlatform) -> Owner<'_> {
    Owner {
        kind: "AppPlatform",
        name: &platform.name,
        uid: &platform.uid,
    }
}
