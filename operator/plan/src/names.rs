//! Names of objects, checked once. The longest made from them, `<service>-<revision>` as a pod
//! template's label and a Deployment's name, stays within the 63 characters of a DNS label.

use crate::service::Invalid;

/// An AppService: 52 characters leave room for `-` and a revision.
const SERVICE_CHARS_MAX: usize = 52;
/// An AppPlatform: 30 characters leave room for `-` and a component's 20.
const PLATFORM_CHARS_MAX: usize = 30;

pub(crate) fn service_name(name: Option<&str>) -> Result<String, Invalid> {
    label(name, SERVICE_CHARS_MAX)
}

pub(crate) fn platform_name(name: Option<&str>) -> Result<String, Invalid> {
    label(name, PLATFORM_CHARS_MAX)
}

/// RFC 1035, which Services ask for.
fn label(name: Option<&str>, chars_max: usize) -> Result<String, Invalid> {
    let name = name.unwrap_or_default();
    let valid = name.len() <= chars_max
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name
            .bytes()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-');
    if valid {
        return Ok(name.to_owned());
    }
    Err(Invalid {
        field: "metadata.name".to_owned(),
        message: format!(
            "must be at most {chars_max} lowercase letters, digits and dashes, start with a letter and not end with a dash"
        ),
    })
}
