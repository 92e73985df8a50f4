//! `orlop init`: a first manifest to start from.

use std::{fs::OpenOptions, io::Write as _};

use anyhow::Context as _;

use crate::{Failure, args::Init};

const SCAFFOLD: &str = include_str!("scaffold.yaml");

pub(crate) fn run(args: &Init) -> Result<(), Failure> {
    let file = args.file.display();
    let mut created = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&args.file)
        .with_context(|| format!("failed to create {file}, which must not exist yet"))?;
    created
        .write_all(scaffold(&args.name, &args.image).as_bytes())
        .with_context(|| format!("failed to write {file}"))?;
    println!("wrote {file}; next: edit it, then `orlop render -f {file}`");
    Ok(())
}

fn scaffold(name: &str, image: &str) -> String {
    SCAFFOLD.replace("NAME", name).replace("IMAGE", image)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_scaffold_is_a_valid_manifest_also_with_its_comments_taken_away() {
        let text = scaffold("shop", "registry.example/shop/web:1");
        let uncommented: String = text
            .lines()
            .map(|line| line.replacen("# ", "", usize::from(line.trim().starts_with("# "))) + "\n")
            .filter(|line| !line.contains("##"))
            .collect();
        for text in [text, uncommented] {
            let manifest: Value = serde_saphyr::from_str(&text).unwrap();
            assert_eq!(orlop_crds::schema::validate(&manifest), [], "{text}");
        }
    }
}
