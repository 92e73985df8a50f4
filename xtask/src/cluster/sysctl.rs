//! The kubelet sets some of the kernel's settings for the whole machine. They
//! are noted before the first one starts and set back by `down`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context;

use super::Layout;
use super::files::write_atomically;

/// What `setupKernelTunables` of the kubelet writes.
const SET_BY_KUBELET: [&str; 6] = [
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];

/// Notes the settings unless that was done already.
pub(crate) fn remember(layout: &Layout) -> anyhow::Result<()> {
    let file = layout.state().join("sysctl-before.json");
    if file.exists() {
        return Ok(());
    }
    let mut values = BTreeMap::new();
    for key in SET_BY_KUBELET {
        // A kernel built without the feature has no such file, and the kubelet sets nothing.
        if let Ok(value) = fs::read_to_string(path(key)) {
            values.insert(key.to_owned(), value.trim().to_owned());
        }
    }
    write_atomically(&file, &serde_json::to_vec(&values)?)
}

/// Sets back what was noted.
pub(crate) fn restore(layout: &Layout) -> anyhow::Result<()> {
    let file = layout.state().join("sysctl-before.json");
    if !file.exists() {
        return Ok(());
    }
    let values: BTreeMap<String, String> = serde_json::from_str(&fs::read_to_string(&file)?)?;
    for (key, value) in values {
        let path = path(&key);
        let now = fs::read_to_string(&path)?;
        if now.trim() != value {
            fs::write(&path, value).with_context(|| format!("failed to set {key} back"))?;
        }
    }
    fs::remove_file(&file)?;
    Ok(())
}

fn path(key: &str) -> std::path::PathBuf {
    Path::new("/proc/sys").join(key)
}
