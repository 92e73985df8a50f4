//! Where the repository lies.

use std::path::{Path, PathBuf};

/// This very program, also when a build has meanwhile put a newer one at its path: the path that
/// `current_exe` tells is then of a deleted file.
pub(crate) const THIS_PROGRAM: &str = "/proc/self/exe";

/// Root of the workspace.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}
