//! Credentials: generated once, kept with the data, published as a binding.
//!
//! `<tier>-auth` holds all of them. It is immutable, so that nobody's edit can part it from what
//! the data service has stored, and it has no owner reference while the data is to be kept: who
//! creates the tier again finds data and credentials together. `<tier>-binding` holds what users of
//! the tier need, and is made from the former.
//!
//! If the first is deleted, the users' credentials come back from the second and the others are
//! generated anew. The pods carry the fingerprint of what they were started with: they restart, and
//! set the new ones at their start.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use serde_json::json;

use super::Tier;
use crate::{Entropy, Kind, Object, Observed, difference::fingerprint};

/// One generated credential.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Credential {
    /// Its key in `<tier>-auth`.
    pub(crate) key: &'static str,
    /// Its key in `<tier>-binding`, if users get it.
    pub(crate) published: Option<&'static str>,
}

/// All credentials of a tier by their key.
#[derive(Clone, Debug)]
pub(crate) struct Credentials(BTreeMap<&'static str, String>);

impl Credentials {
    /// As they are; as far as they are not, generated.
    pub(crate) fn of(tier: &Tier, wanted: &[Credential], observed: &Observed) -> Self {
        let auth = secret(&tier.object_name("auth"), observed);
        let binding = secret(&tier.object_name("binding"), observed);
        let value = |credential: &Credential| {
            let kept = auth.and_then(|secret| text(secret, credential.key));
            let published = || text(binding?, credential.published?);
            let generated = || generate(&observed.entropy, tier, credential);
            let value = kept.or_else(published).unwrap_or_else(generated);
            (credential.key, value)
        };
        Self(wanted.iter().map(value).collect())
    }

    /// Empty for a key that was not asked for.
    pub(crate) fn get(&self, key: &str) -> &str {
        self.0.get(key).map(String::as_str).unwrap_or_default()
    }

    /// Changes when any of them does; tells nothing of them, since they are long and random.
    pub(crate) fn fingerprint(&self) -> String {
        fingerprint(&json!(self.0))
    }

    /// `<tier>-auth`, with files made from the credentials beside them.
    pub(crate) fn auth(&self, tier: &Tier, files: BTreeMap<&'static str, String>) -> Secret {
        let values = self.0.clone().into_iter().chain(files);
        Secret {
            metadata: tier.metadata_beside_data(tier.object_name("auth")),
            immutable: Some(true),
            type_: Some("Opaque".to_owned()),
            data: Some(bytes(values)),
            ..Secret::default()
        }
    }
}

/// `<tier>-binding` after the Service Binding for Kubernetes specification, version 1.1: the Secret's
/// type names the `type` entry.
pub(crate) fn binding(tier: &Tier, entries: BTreeMap<&'static str, String>) -> Secret {
    let kind = entries.get("type").map(String::as_str).unwrap_or_default();
    Secret {
        metadata: tier.metadata(tier.object_name("binding")),
        type_: Some(format!("servicebinding.io/{kind}")),
        data: Some(bytes(entries)),
        ..Secret::default()
    }
}

fn bytes(
    entries: impl IntoIterator<Item = (&'static str, String)>,
) -> BTreeMap<String, ByteString> {
    entries
        .into_iter()
        .map(|(key, value)| (key.to_owned(), ByteString(value.into_bytes())))
        .collect()
}

/// A Secret of ours.
fn secret<'a>(name: &str, observed: &'a Observed) -> Option<&'a Secret> {
    match observed.get(Kind::Secret, name) {
        Some(Object::Secret(secret)) => Some(secret),
        _ => None,
    }
}

fn text(secret: &Secret, key: &str) -> Option<String> {
    let bytes = secret.data.as_ref()?.get(key)?;
    let text = String::from_utf8(bytes.0.clone()).ok()?;
    (!text.is_empty()).then_some(text)
}

fn generate(entropy: &Entropy, tier: &Tier, credential: &Credential) -> String {
    let purpose = format!(
        "{}/{}/{}/{}",
        tier.kind, tier.namespace, tier.name, credential.key
    );
    entropy.password(&purpose)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use orlop_crds::tier::DeletionPolicy;

    use super::*;

    const WANTED: [Credential; 2] = [
        Credential {
            key: "admin-password",
            published: None,
        },
        Credential {
            key: "app-password",
            published: Some("password"),
        },
    ];

    fn tier(deletion: DeletionPolicy) -> Tier {
        let metadata = ObjectMeta {
            name: Some("hold".to_owned()),
            namespace: Some("harbour".to_owned()),
            uid: Some("uid-1".to_owned()),
            ..ObjectMeta::default()
        };
        Tier::new("BrokerTier", &metadata, deletion).unwrap()
    }

    fn observed(seed: u8, secrets: Vec<Secret>) -> Observed {
        Observed {
            children: secrets.into_iter().map(Object::from).collect(),
            entropy: Entropy::new([seed; 32]),
            ..Observed::default()
        }
    }

    fn published(credentials: &Credentials, tier: &Tier) -> Secret {
        let password = credentials.get("app-password").to_owned();
        binding(
            tier,
            BTreeMap::from([("type", "amqp".to_owned()), ("password", password)]),
        )
    }

    #[test]
    fn what_was_generated_once_is_never_generated_again() {
        let tier = tier(DeletionPolicy::Keep);
        let first = Credentials::of(&tier, &WANTED, &observed(1, Vec::new()));
        let auth = first.auth(&tier, BTreeMap::new());
        let second = Credentials::of(&tier, &WANTED, &observed(2, vec![auth.clone()]));
        assert_eq!(second.auth(&tier, BTreeMap::new()), auth);
        assert_eq!(second.fingerprint(), first.fingerprint());
    }

    #[test]
    fn users_keep_their_password_when_the_secret_with_all_of_them_is_lost() {
        let tier = tier(DeletionPolicy::Keep);
        let first = Credentials::of(&tier, &WANTED, &observed(1, Vec::new()));
        let left = published(&first, &tier);
        let second = Credentials::of(&tier, &WANTED, &observed(2, vec![left]));
        assert_eq!(second.get("app-password"), first.get("app-password"));
        assert_ne!(second.get("admin-password"), first.get("admin-password"));
        assert_ne!(second.fingerprint(), first.fingerprint());
    }

    #[test]
    fn credentials_outlive_the_tier_unless_the_data_goes_too() {
        for (deletion, is_owned) in [
            (DeletionPolicy::Keep, false),
            (DeletionPolicy::Delete, true),
        ] {
            let tier = tier(deletion);
            let credentials = Credentials::of(&tier, &WANTED, &observed(1, Vec::new()));
            let auth = credentials.auth(&tier, BTreeMap::new());
            assert_eq!(auth.metadata.owner_references.is_some(), is_owned);
            assert!(
                published(&credentials, &tier)
                    .metadata
                    .owner_references
                    .is_some()
            );
        }
    }
}
