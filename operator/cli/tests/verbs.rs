//! The program as its user runs it: what it prints, and how it ends.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails, also in its helpers"
)]

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, Output},
};

use serde_json::Value;

/// A folder of one test, gone when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("orlop-cli-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }

    fn orlop(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_orlop"))
            .args(arguments)
            .current_dir(&self.0)
            .env("KUBECONFIG", self.0.join("there-is-none"))
            .output()
            .unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn examples() -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut examples: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().join("app.yaml"))
        .collect();
    examples.sort();
    assert!(!examples.is_empty());
    examples
}

/// Kind and name of each object, in order.
fn objects(json: &[u8]) -> Vec<String> {
    let list: Value = serde_json::from_slice(json).unwrap();
    let name =
        |object: &Value, field: &str| object.pointer(field).unwrap().as_str().unwrap().to_owned();
    list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|object| {
            format!(
                "{}/{}",
                name(object, "/kind"),
                name(object, "/metadata/name")
            )
        })
        .collect()
}

#[test]
fn every_example_renders_to_objects_of_each_of_its_parts() {
    let folder = Folder::new("examples");
    for example in examples() {
        let output = folder.orlop(&["render", "-f", example.to_str().unwrap(), "-o", "json"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let objects = objects(&output.stdout);
        for kind in ["AppService/", "Deployment/", "Service/", "ConfigMap/"] {
            assert!(
                objects.iter().any(|object| object.starts_with(kind)),
                "{}: no {kind} among {objects:?}",
                example.display()
            );
        }
    }
}

#[test]
fn rendering_twice_gives_the_same_text() {
    let folder = Folder::new("twice");
    let example = examples()[0].to_str().unwrap().to_owned();
    let once = folder.orlop(&["render", "-f", &example]);
    let twice = folder.orlop(&["render", "-f", &example]);
    assert!(text(&once.stdout).starts_with("---\napiVersion: orlop.dev/v1alpha1\n"));
    assert_eq!(once.stdout, twice.stdout);
}

#[test]
fn a_service_alone_renders_into_the_namespace_that_is_asked_for() {
    let folder = Folder::new("alone");
    folder.write(
        "api.yaml",
        "apiVersion: orlop.dev/v1alpha1\nkind: AppService\nmetadata: {name: api}\nspec: {image: api, port: 80}\n",
    );
    let output = folder.orlop(&["render", "-f", "api.yaml", "-n", "lantern", "-o", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    for object in list["items"].as_array().unwrap() {
        assert_eq!(object["metadata"]["namespace"], "lantern", "{object}");
    }
}

#[test]
fn mistakes_are_told_with_file_line_field_and_what_is_allowed_and_nothing_is_printed() {
    let folder = Folder::new("mistakes");
    folder.write(
        "app.yaml",
        "\
apiVersion: orlop.dev/v1alpha1
kind: AppPlatform
metadata: {name: shop}
spec:
  services:
  - name: web
    imge: web
    port: 70000
    uses: [{name: nobody}]
",
    );
    let output = folder.orlop(&["render", "-f", "app.yaml"]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(text(&output.stdout), "");
    assert_eq!(
        text(&output.stderr),
        "\
app.yaml:7: spec.services[0].imge: is not a known field; did you mean 'image'?
app.yaml:6: spec.services[0].image: must be set
app.yaml:8: spec.services[0].port: must be at least 1 and at most 65535, but is 70000
"
    );
}

#[test]
fn mistakes_in_several_files_are_told_together() {
    let folder = Folder::new("several");
    folder.write("a.yaml", "kind: Pod\n");
    folder.write("b.yaml", "");
    let output = folder.orlop(&["apply", "-f", "a.yaml", "-f", "b.yaml"]);
    assert_eq!(output.status.code(), Some(3));
    let told = text(&output.stderr);
    assert!(
        told.contains("a.yaml:1: kind: must be one of AppPlatform, AppService"),
        "{told}"
    );
    assert!(
        told.contains("b.yaml: there is no document in it"),
        "{told}"
    );
}

#[test]
fn what_init_writes_renders_and_is_not_written_over() {
    let folder = Folder::new("init");
    let written = folder.orlop(&["init", "--name", "shop"]);
    assert_eq!(written.status.code(), Some(0), "{}", text(&written.stderr));
    let rendered = folder.orlop(&["render", "-f", "app.yaml", "-o", "json"]);
    assert_eq!(
        rendered.status.code(),
        Some(0),
        "{}",
        text(&rendered.stderr)
    );
    assert!(objects(&rendered.stdout).contains(&"AppService/shop-web".to_owned()));

    folder.write("app.yaml", "mine");
    let again = folder.orlop(&["init"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("must not exist yet"));
    assert_eq!(
        fs::read_to_string(folder.0.join("app.yaml")).unwrap(),
        "mine"
    );
}

#[test]
fn a_command_line_that_is_not_understood_ends_with_2_and_help_with_0() {
    let folder = Folder::new("usage");
    for (arguments, code) in [
        (&["render"][..], 2),
        (&["sing"], 2),
        (&["apply", "-f", "a", "--timeout", "soon"], 2),
        (&["--help"], 0),
        (&["why", "--help"], 0),
        (&["--version"], 0),
    ] {
        let output = folder.orlop(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
    }
    let help = folder.orlop(&["--help"]);
    assert!(text(&help.stdout).contains("4  an application is not ready"));
}

#[test]
fn without_a_cluster_the_verbs_that_need_one_say_so() {
    let folder = Folder::new("nowhere");
    for verb in [&["status"][..], &["why"], &["release", "status", "web"]] {
        let output = folder.orlop(verb);
        assert_eq!(output.status.code(), Some(1), "{verb:?}");
        let told = text(&output.stderr);
        assert!(told.contains("--kubeconfig"), "{verb:?}: {told}");
    }
}

#[test]
fn kubectl_finds_the_same_program_as_its_plugin() {
    let output = Command::new(env!("CARGO_BIN_EXE_kubectl-orlop"))
        .arg("--help")
        .output()
        .unwrap();
    assert!(text(&output.stdout).contains("Usage: kubectl orlop"));
}
