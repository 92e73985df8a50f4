//! Manifests: read, judged, and typed.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow};
use orlop_crds::schema;
use serde_json::Value;

use crate::{Failure, declared::Declared, position::Node};

/// Longest file that is read: two hundred times the largest sensible one.
const SIZE_LIMIT: u64 = 4 << 20;

/// One document that the API server would take.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    pub(crate) declared: Declared,
    /// As it is to be sent.
    pub(crate) value: Value,
}

/// Files that were read and judged, and what they declare.
pub(crate) struct Judged {
    pub(crate) sources: Vec<Source>,
    pub(crate) manifests: Vec<Manifest>,
}

/// A file as it is written, not judged.
#[derive(Debug)]
pub(crate) struct Source {
    /// For people: the path, or `standard input`.
    pub(crate) name: String,
    pub(crate) documents: Vec<Node>,
}

impl Source {
    pub(crate) fn read(file: &Path) -> Result<Self, Failure> {
        let (name, text) = text(file)?;
        Self::parse(name, &text)
    }

    fn parse(name: String, text: &str) -> Result<Self, Failure> {
        let documents = serde_saphyr::from_multiple::<Node>(text)
            .map_err(|error| Failure::Invalid(vec![not_yaml(&name, &error)]))?;
        Ok(Self { name, documents })
    }

    fn mistakes(&self) -> Vec<String> {
        if self.documents.is_empty() {
            return vec![format!("{}: there is no document in it", self.name)];
        }
        self.documents
            .iter()
            .flat_map(|document| {
                schema::validate(&document.to_value())
                    .into_iter()
                    .map(|violation| {
                        let line = document.line(&violation.field);
                        format!("{}:{line}: {violation}", self.name)
                    })
            })
            .collect()
    }
}

/// Reads and judges all files. A mistake in one is told together with those in the others.
pub(crate) fn read(files: &[PathBuf]) -> Result<Judged, Failure> {
    let sources = files
        .iter()
        .map(|file| Source::read(file))
        .collect::<Result<Vec<_>, _>>()?;
    let manifests = judge(&sources)?;
    Ok(Judged { sources, manifests })
}

fn judge(sources: &[Source]) -> Result<Vec<Manifest>, Failure> {
    let mistakes: Vec<_> = sources.iter().flat_map(Source::mistakes).collect();
    if !mistakes.is_empty() {
        return Err(Failure::Invalid(mistakes));
    }
    let documents = sources.iter().flat_map(|source| &source.documents);
    Ok(documents
        .map(|document| Manifest::typed(&document.to_value()))
        .collect::<anyhow::Result<_>>()?)
}

impl Manifest {
    fn typed(value: &Value) -> anyhow::Result<Self> {
        let kind = schema::kind_of(value).map_err(|violations| anyhow!("{violations:?}"))?;
        let value = kind.stored(value);
        let declared = Declared::from_value(&kind.name, value.clone())
            .ok_or_else(|| anyhow!("failed to read {}: not known to this program", kind.name))?
            .with_context(|| format!("failed to read a valid {}", kind.name))?;
        Ok(Self { declared, value })
    }

    pub(crate) fn name(&self) -> &str {
        self.value["metadata"]["name"].as_str().unwrap_or_default()
    }

    pub(crate) fn namespace(&self) -> Option<&str> {
        self.value["metadata"]["namespace"].as_str()
    }
}

fn text(file: &Path) -> anyhow::Result<(String, String)> {
    let mut text = String::new();
    if file == Path::new("-") {
        let read = std::io::stdin().take(SIZE_LIMIT).read_to_string(&mut text);
        read.context("failed to read standard input")?;
        return Ok(("standard input".to_owned(), text));
    }
    let name = file.display().to_string();
    let opened = std::fs::File::open(file).with_context(|| format!("failed to open {name}"))?;
    let read = opened.take(SIZE_LIMIT).read_to_string(&mut text);
    read.with_context(|| format!("failed to read {name}"))?;
    Ok((name, text))
}

fn not_yaml(name: &str, error: &serde_saphyr::Error) -> String {
    let first = error.without_snippet().to_string();
    match error.location() {
        Some(location) => format!("{name}:{}: not valid YAML: {first}", location.line()),
        None => format!("{name}: not valid YAML: {first}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(text: &str) -> Vec<String> {
        let source = Source::parse("app.yaml".to_owned(), text);
        match source.and_then(|source| judge(&[source])) {
            Ok(_) => Vec::new(),
            Err(Failure::Invalid(mistakes)) => mistakes,
            Err(other) => panic!("{other}"),
        }
    }

    /// The verdict itself is tried where it is made, on all cases: here, that it survives YAML.
    #[test]
    fn every_eighth_case_of_the_corpus_gets_the_verdict_that_is_due() {
        for case in schema::corpus::cases().into_iter().step_by(8) {
            // JSON is YAML, and quicker to write.
            let text = case.manifest.to_string();
            let mistakes = mistakes(&text);
            assert_eq!(
                mistakes.is_empty(),
                case.is_accepted(),
                "{}: {mistakes:?}",
                case.name
            );
        }
    }

    #[test]
    fn a_mistake_is_told_with_its_line_in_each_document() {
        let text = "\
apiVersion: orlop.dev/v1alpha1
kind: AppPlatform
metadata: {name: shop}
spec:
  services:
  - name: web
    image: web
    port: 70000
---
apiVersion: orlop.dev/v1alpha1
kind: AppService
metadata: {name: api}
spec:
  image: api
";
        assert_eq!(
            mistakes(text),
            [
                "app.yaml:8: spec.services[0].port: must be at least 1 and at most 65535, but is 70000",
                "app.yaml:13: spec: `port` must be set with `image`, and only with it",
            ]
        );
    }

    #[test]
    fn what_is_no_yaml_is_told_with_its_line() {
        let told = mistakes("a: 1\nb: [1\n");
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with("app.yaml:"), "{told:?}");
        assert!(told[0].contains("not valid YAML"), "{told:?}");
    }

    #[test]
    fn an_empty_file_is_a_mistake() {
        assert_eq!(mistakes(""), ["app.yaml: there is no document in it"]);
    }
}
