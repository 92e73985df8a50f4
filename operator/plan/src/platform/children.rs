//! One object of its own kind for each declared component.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use orlop_crds::{
    Api, AppService, AppServiceSpec, BrokerTier, CacheTier, DatabaseTier, WorkerPool,
    app_platform::{ApiComponent, ServiceComponent, WorkerComponent},
    app_service::{ObjectReference, Use},
    cache_tier::CacheClass,
    pod::{ContainerOptions, ServiceTemplate},
    release::WorkerRelease,
};

use super::validate::ValidatedPlatform;
use crate::{
    Kind, Object,
    meta::{self, Owner},
};

/// What is used comes before those who use it.
pub(super) fn objects(platform: &ValidatedPlatform) -> Vec<Object> {
    let spec = &platform.spec;
    let databases = spec.databases.iter().map(|database| {
        let metadata = metadata(platform, &database.name);
        let spec = database.spec.clone();
        let status = None;
        Object::from(DatabaseTier {
            metadata,
            spec,
            status,
        })
    });
    let caches = spec.caches.iter().map(|cache| {
        let metadata = metadata(platform, &cache.name);
        let spec = cache.spec.clone();
        let status = None;
        Object::from(CacheTier {
            metadata,
            spec,
            status,
        })
    });
    let brokers = spec.brokers.iter().map(|broker| {
        let metadata = metadata(platform, &broker.name);
        let spec = broker.spec.clone();
        let status = None;
        Object::from(BrokerTier {
            metadata,
            spec,
            status,
        })
    });
    let apis = spec.apis.iter().map(|it| api(platform, it).into());
    let services = spec.services.iter().map(|it| service(platform, it).into());
    let workers = spec.workers.iter().map(|it| worker(platform, it).into());
    databases
        .chain(caches)
        .chain(brokers)
        .chain(apis)
        .chain(services)
        .chain(workers)
        .collect()
}

fn api(platform: &ValidatedPlatform, component: &ApiComponent) -> AppService {
    let ApiComponent {
        name,
        api,
        template,
        routes: _,
    } = component;
    AppService {
        metadata: metadata(platform, name),
        spec: AppServiceSpec {
            image: None,
            port: None,
            container: ContainerOptions::default(),
            api: Some(renamed_api(platform, api)),
            classes: classes(platform, api),
            template: paced(platform, template),
            uses: Vec::new(),
        },
        status: None,
    }
}

/// With what the application says of releases, where the component says nothing.
fn paced(platform: &ValidatedPlatform, said: &ServiceTemplate) -> ServiceTemplate {
    let mut template = said.clone();
    if let Some(application) = &platform.spec.release {
        let release = template.release.get_or_insert_default();
        release.pace = release.pace.or(application);
    }
    template
}

/// With the names of objects in place of those of components.
fn renamed_api(platform: &ValidatedPlatform, said: &Api) -> Api {
    let Api {
        database,
        cache,
        base_path,
        types,
    } = said;
    let mut types = types.clone();
    for event in types.iter_mut().flat_map(|declared| &mut declared.events) {
        let broker = platform.broker_of(&event.publish);
        event.publish.broker = broker.map(|broker| platform.object_name(&broker.name));
    }
    Api {
        database: platform.object_name(database),
        cache: cache.as_deref().map(|cache| platform.object_name(cache)),
        base_path: base_path.clone(),
        types,
    }
}

/// What the API's cache says of its keys.
fn classes(platform: &ValidatedPlatform, api: &Api) -> Vec<CacheClass> {
    let mut caches = platform.spec.caches.iter();
    let cache = caches.find(|cache| Some(&cache.name) == api.cache.as_ref());
    cache
        .map(|cache| cache.spec.classes.clone())
        .unwrap_or_default()
}

fn service(platform: &ValidatedPlatform, component: &ServiceComponent) -> AppService {
    let ServiceComponent {
        name,
        image,
        port,
        container,
        template,
        uses,
        routes: _,
    } = component;
    let uses = uses.iter().map(|used| used_object(platform, &used.name));
    AppService {
        metadata: metadata(platform, name),
        spec: AppServiceSpec {
            image: Some(image.clone()),
            port: Some(*port),
            container: container.clone(),
            api: None,
            classes: Vec::new(),
            template: paced(platform, template),
            uses: uses.collect(),
        },
        status: None,
    }
}

/// The object of the component that is used: nothing of one that does not exist, which was refused.
fn used_object(platform: &ValidatedPlatform, component: &str) -> Use {
    let kind = platform.kind_of(component);
    let reference = |wanted: Kind| {
        (kind == Some(wanted)).then(|| ObjectReference {
            name: platform.object_name(component),
        })
    };
    Use {
        name: component.to_owned(),
        service: reference(Kind::AppService),
        database: reference(Kind::DatabaseTier),
        cache: reference(Kind::CacheTier),
        broker: reference(Kind::BrokerTier),
    }
}

fn worker(platform: &ValidatedPlatform, component: &WorkerComponent) -> WorkerPool {
    let mut spec = component.spec.clone();
    let broker = &mut spec.source.rabbitmq.broker;
    *broker = platform.object_name(broker);
    let service = &mut spec.handler.http.service;
    *service = platform.object_name(service);
    if let Some(application) = &platform.spec.release {
        let release = spec.release.get_or_insert_default();
        let WorkerRelease {
            mode: _,
            promote,
            deadline,
            history,
        } = release;
        *promote = promote.take().or_else(|| application.promote.clone());
        *deadline = deadline.or(application.deadline);
        *history = history.or(application.history);
    }
    WorkerPool {
        metadata: metadata(platform, &component.name),
        spec,
        status: None,
    }
}

fn metadata(platform: &ValidatedPlatform, component: &str) -> ObjectMeta {
    let owner = owner(platform);
    let labels = meta::labels(&owner, component, Some(&platform.name));
    let name = platform.object_name(component);
    meta::child(&owner, name, &platform.namespace, labels)
}

pub(super) fn owner(platform: &ValidatedPlatform) -> Owner<'_> {
    Owner {
        kind: "AppPlatform",
        name: &platform.name,
        uid: &platform.uid,
    }
}
