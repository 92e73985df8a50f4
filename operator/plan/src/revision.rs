//! The identity of a revision: the hash of what the user said.
//!
//! What Orlop adds when it renders a pod is not part of it, so that an upgrade of the operator
//! releases nothing. The rendered template is frozen beside the hash in a ControllerRevision.

use std::fmt;

use orlop_crds::AppServiceSpec;
use serde_json::Value;

use crate::difference::fingerprint;

/// Ten hexadecimal digits: short enough for `<service>-<revision>` to be a pod's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Revision(String);

impl Revision {
    const LENGTH: usize = 10;

    /// The revision that a spec declares. How many replicas run and how a release is made say
    /// nothing of what runs.
    ///
    /// # Errors
    /// None in practice: a spec is made of maps with string keys.
    pub(crate) fn of(spec: &AppServiceSpec) -> Result<Self, serde_json::Error> {
        let mut said = serde_json::to_value(spec)?;
        if let Value::Object(fields) = &mut said {
            fields.remove("replicas");
            fields.remove("release");
        }
        Ok(Self::of_words(&said))
    }

    /// The revision of what was said, in whatever form.
    pub(crate) fn of_words(said: &Value) -> Self {
        let mut hash = fingerprint(said);
        hash.truncate(Self::LENGTH);
        Self(hash)
    }

    /// A revision named in the world: a label, a selector, a status.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let valid = text.len() == Self::LENGTH
            && text
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        valid.then(|| Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
