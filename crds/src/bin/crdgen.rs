//! Prints one kind's CustomResourceDefinition as YAML, or the names of all kinds.

use std::{error::Error, io::Write as _};

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout().lock();
    let definitions = orlop_crds::definitions();
    let Some(wanted) = std::env::args().nth(1) else {
        for definition in definitions {
            writeln!(out, "{}", definition.spec.names.plural)?;
        }
        return Ok(());
    };
    let definition = definitions
        .into_iter()
        .find(|definition| definition.spec.names.plural == wanted)
        .ok_or_else(|| format!("no kind '{wanted}'"))?;
    write!(out, "{}", serde_saphyr::to_string(&definition)?)?;
    Ok(())
}
