//! What is made of a manifest, object by object, as snapshots to be read and reviewed.

// Outside of functions marked as tests, clippy does not know that this is one.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{fs, path::Path};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use orlop_crds::{AppPlatform, AppService};
use orlop_plan::{Images, Kind, Object, Observed, Plan, Reconcile, Settings, Write};
use serde::de::DeserializeOwned;

#[test]
fn a_service_that_uses_every_field_is_rendered() {
    let mut service: AppService = read("tests/fixtures/every-field.yaml");
    live(&mut service.metadata);
    insta::assert_snapshot!(rendered(&service_in_its_first_pass(&service)));
}

#[test]
fn an_application_of_three_services_is_rendered() {
    let mut platform: AppPlatform = read("tests/fixtures/three-services.yaml");
    live(&mut platform.metadata);
    insta::assert_snapshot!(rendered(&platform_in_its_first_pass(&platform)));
}

#[test]
fn an_application_of_every_kind_is_composed_of_objects_that_name_each_other() {
    let mut platform: AppPlatform = read("tests/fixtures/harbour.yaml");
    live(&mut platform.metadata);
    insta::assert_snapshot!(rendered(&platform_in_its_first_pass(&platform)));
}

#[test]
fn what_is_used_reaches_the_pods_of_a_service_and_of_an_api() {
    let mut platform: AppPlatform = read("tests/fixtures/harbour.yaml");
    live(&mut platform.metadata);
    let mut pods = Vec::new();
    for child in platform_in_its_first_pass(&platform) {
        if let Object::AppService(mut service) = child {
            live(&mut service.metadata);
            let made = service_in_its_first_pass(&service);
            pods.extend(made.into_iter().filter(|it| it.kind() == Kind::Deployment));
        }
    }
    insta::assert_snapshot!(rendered(&pods));
}

#[test]
fn the_example_hello_is_rendered_down_to_its_pods() {
    let mut platform: AppPlatform = read("../../examples/hello/app.yaml");
    live(&mut platform.metadata);
    let mut objects = platform_in_its_first_pass(&platform);
    for child in objects.clone() {
        if let Object::AppService(mut service) = child {
            live(&mut service.metadata);
            objects.extend(service_in_its_first_pass(&service));
        }
    }
    insta::assert_snapshot!(rendered(&objects));
}

#[test]
fn every_object_says_whose_it_is() {
    let mut service: AppService = read("tests/fixtures/every-field.yaml");
    live(&mut service.metadata);
    let objects = service_in_its_first_pass(&service);
    let kinds: Vec<Kind> = objects.iter().map(Object::kind).collect();
    let in_order = [
        Kind::ControllerRevision,
        Kind::Deployment,
        Kind::Service,
        Kind::PodDisruptionBudget,
    ];
    assert_eq!(kinds, in_order);
    for object in &objects {
        let owner = object
            .metadata()
            .owner_references
            .iter()
            .flatten()
            .next()
            .unwrap();
        assert_eq!(
            (owner.kind.as_str(), owner.name.as_str()),
            ("AppService", "lighthouse")
        );
        assert_eq!(owner.controller, Some(true));
    }
}

fn read<T: DeserializeOwned>(path: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// As the API server would have it.
fn live(metadata: &mut ObjectMeta) {
    metadata.namespace = Some("quay".to_owned());
    metadata.uid = Some("00000000-0000-4000-8000-000000000000".to_owned());
    metadata.generation = Some(1);
    metadata.resource_version = Some("1".to_owned());
}

fn service_in_its_first_pass(service: &AppService) -> Vec<Object> {
    let mut decided = service.clone();
    // The first pass records what is to be served, the second one makes it.
    decided.status = Some(first_pass(service).status);
    created(first_pass(&decided))
}

fn platform_in_its_first_pass(platform: &AppPlatform) -> Vec<Object> {
    created(first_pass(platform))
}

fn first_pass<P: Reconcile>(object: &P) -> Plan<P::Status> {
    let settings = Settings {
        cluster_domain: "cluster.local".to_owned(),
        images: Images {
            edge: "acme/edge:1".to_owned(),
            api: "acme/api:1".to_owned(),
            ..Images::default()
        },
    };
    object.plan(&Observed::default(), &settings, Timestamp::UNIX_EPOCH)
}

fn created<S>(plan: Plan<S>) -> Vec<Object> {
    let objects = plan.writes.into_iter().map(|write| match write {
        Write::Create(object) => object,
        other => panic!("nothing exists yet, but {other:?}"),
    });
    objects.collect()
}

fn rendered(objects: &[Object]) -> String {
    let documents = objects
        .iter()
        .map(|object| serde_saphyr::to_string(&object.to_value().unwrap()).unwrap());
    documents.collect::<Vec<_>>().join("---\n")
}
