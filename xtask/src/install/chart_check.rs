//! The chart as helm renders it: what it grants, how its pod may run, what it refuses.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::{Layout, binaries};
use crate::command;
use crate::progress::Progress;

const LIMIT: Duration = Duration::from_secs(30);

fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/orlop")
}

/// The real helm; the first test to ask builds it where it is not built yet.
fn helm() -> Command {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    let binary = BINARY.get_or_init(|| {
        binaries::helm(&Layout::of_this_checkout().unwrap(), Progress::new()).unwrap()
    });
    Command::new(binary)
}

fn rendered(settings: &[&str]) -> Result<String, String> {
    let mut template = helm();
    template.args(["template", "orlop"]).arg(chart());
    template.args(["--namespace", "orlop-system", "--kube-version", "1.36.0"]);
    for setting in settings {
        template.args(["--set-json", setting]);
    }
    command::output(&mut template, LIMIT).map_err(|error| format!("{error:#}"))
}

fn objects(settings: &[&str]) -> Vec<Value> {
    let text = rendered(settings).unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    documents
        .into_iter()
        .filter(|document| !document.is_null())
        .collect()
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects
        .iter()
        .filter(|object| object["kind"] == kind)
        .collect()
}

/// Every rule of every role, with the role's name.
fn rules(objects: &[Value]) -> Vec<(String, Value)> {
    let roles = objects.iter().filter(|object| object["rules"].is_array());
    roles
        .flat_map(|role| {
            let name = role["metadata"]["name"].as_str().unwrap().to_owned();
            role["rules"]
                .as_array()
                .unwrap()
                .iter()
                .map(move |rule| (name.clone(), rule.clone()))
        })
        .collect()
}

#[test]
fn helm_finds_nothing_wrong_with_the_chart() {
    let mut lint = helm();
    lint.args(["lint", "--strict"]).arg(chart());
    command::run(&mut lint, LIMIT).unwrap();
}

#[test]
fn the_chart_renders_as_recorded() {
    insta::assert_snapshot!("default", rendered(&[r#"crds={"enabled":false}"#]).unwrap());
    insta::assert_snapshot!(
        "every_option",
        rendered(&[
            r#"crds={"enabled":false}"#,
            "replicas=2",
            r#"operator={"watchNamespaces":["bay","cove"]}"#,
            r#"metrics={"serviceMonitor":{"enabled":true,"labels":{"team":"sea"}}}"#,
            r#"images={"pullSecrets":["harbour"]}"#,
            r#"networkPolicy={"apiServerCIDRs":["192.0.2.0/24"],"extraEgress":[{"ports":[{"port":9090}]}]}"#,
            r#"podAnnotations={"a":"b"}"#,
            r#"podLabels={"c":"d"}"#,
            r#"nodeSelector={"deck":"lower"}"#,
            r#"tolerations=[{"operator":"Exists"}]"#,
            r#"affinity={"nodeAffinity":{}}"#,
            r#"priorityClassName="high""#,
        ])
        .unwrap()
    );
}

#[test]
fn no_rule_has_a_wildcard_and_none_lists_or_deletes_secrets() {
    for settings in [&[][..], &[r#"operator={"watchNamespaces":["bay"]}"#]] {
        let rules = rules(&objects(settings));
        assert!(rules.len() > 10, "{rules:?}");
        for (role, rule) in rules {
            let text = rule.to_string();
            assert!(!text.contains('*'), "{role}: {text}");
            if text.contains("secrets") {
                assert_eq!(rule["resources"], json!(["secrets"]), "{role}");
                assert_eq!(rule["verbs"], json!(["get", "create", "patch"]), "{role}");
            }
        }
    }
}

#[test]
fn the_operator_gets_no_right_that_raises_rights() {
    let objects = objects(&[]);
    for (role, rule) in rules(&objects) {
        for verb in ["escalate", "bind", "impersonate"] {
            assert!(
                !rule["verbs"].as_array().unwrap().contains(&json!(verb)),
                "{role}: {rule}"
            );
        }
        for group in ["rbac.authorization.k8s.io", "admissionregistration.k8s.io"] {
            assert!(
                !rule["apiGroups"]
                    .as_array()
                    .unwrap()
                    .contains(&json!(group)),
                "{role}: {rule}"
            );
        }
    }
}

#[test]
fn with_a_list_of_namespaces_nothing_is_granted_in_others() {
    let objects = objects(&[r#"operator={"watchNamespaces":["bay","cove"]}"#]);
    assert_eq!(
        of_kind(&objects, "ClusterRoleBinding"),
        Vec::<&Value>::new()
    );
    let mut granted: Vec<_> = of_kind(&objects, "RoleBinding")
        .into_iter()
        .map(|binding| binding["metadata"]["namespace"].as_str().unwrap())
        .collect();
    granted.sort_unstable();
    assert_eq!(granted, ["bay", "cove", "orlop-system"]);
}

#[test]
fn the_operators_pod_is_restricted() {
    let objects = objects(&[]);
    let pod = &of_kind(&objects, "Deployment")[0]["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(
        pod["securityContext"]["seccompProfile"]["type"],
        "RuntimeDefault"
    );
    let security = &pod["containers"][0]["securityContext"];
    assert_eq!(security["allowPrivilegeEscalation"], false);
    assert_eq!(security["readOnlyRootFilesystem"], true);
    assert_eq!(security["capabilities"], json!({"drop": ["ALL"]}));
    assert!(
        pod["volumes"].is_null(),
        "a read-only operator needs no volume"
    );
}

#[test]
fn a_disruption_budget_exists_only_where_it_leaves_something_to_evict() {
    assert_eq!(of_kind(&objects(&[]), "PodDisruptionBudget").len(), 0);
    assert_eq!(
        of_kind(&objects(&["replicas=2"]), "PodDisruptionBudget").len(),
        1
    );
}

#[test]
fn the_definitions_of_all_kinds_come_with_the_chart_and_stay_behind() {
    let objects = objects(&[]);
    let definitions = of_kind(&objects, "CustomResourceDefinition");
    let kinds: Vec<_> = definitions
        .iter()
        .map(|crd| &crd["spec"]["names"]["kind"])
        .collect();
    assert_eq!(
        kinds,
        [
            "AppPlatform",
            "AppService",
            "BrokerTier",
            "CacheTier",
            "DatabaseTier",
            "WorkerPool"
        ]
    );
    for crd in definitions {
        assert_eq!(
            crd["metadata"]["annotations"]["helm.sh/resource-policy"],
            "keep"
        );
    }
    assert_eq!(
        of_kind(
            &self::objects(&[r#"crds={"enabled":false}"#]),
            "CustomResourceDefinition"
        )
        .len(),
        0
    );
}

#[test]
fn a_definition_in_the_chart_is_the_generated_one() {
    let objects = objects(&[r#"crds={"keep":false}"#]);
    let directory = chart().join("files/crds");
    for crd in of_kind(&objects, "CustomResourceDefinition") {
        let file = directory.join(format!(
            "{}.yaml",
            crd["metadata"]["name"].as_str().unwrap()
        ));
        let generated: Value =
            serde_saphyr::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let same = plain(&crd["spec"]) == plain(&generated["spec"]);
        assert!(same, "helm changed {}", file.display());
    }
}

/// Helm writes `1` where the generator writes `1.0`.
fn plain(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, field)| (name.clone(), plain(field)))
            .collect(),
        other => other.clone(),
    }
}

#[test]
fn unknown_and_impossible_values_are_refused_by_name() {
    for (setting, named) in [
        ("replica=2", "'replica'"),
        (r#"images={"egde":"x:1"}"#, "'egde'"),
        (r#"operator={"log":{"level":"info"}}"#, "'level'"),
        ("replicas=0", "/replicas"),
        ("replicas=6", "/replicas"),
        (r#"images={"edge":"nginx"}"#, "/images/edge"),
        (r#"images={"edge":"nginx:latest:1"}"#, "/images/edge"),
        (
            r#"operator={"watchNamespaces":["Bay"]}"#,
            "/operator/watchNamespaces",
        ),
        (
            r#"networkPolicy={"apiServerPorts":[]}"#,
            "/networkPolicy/apiServerPorts",
        ),
    ] {
        let refusal = rendered(&[setting]).expect_err(setting);
        assert!(refusal.contains(named), "{setting}: {refusal}");
    }
}
