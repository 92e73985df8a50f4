//! The cluster's keys and certificates: one authority for everything, one for
//! the aggregation layer, one key that signs service accounts.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};

use super::layout::{API_SERVICE, HOST, Layout, Node};

/// Written last: without it the directory is incomplete and is made anew.
const COMPLETE: &str = "complete";

/// Who a certificate speaks for.
struct Identity {
    file: String,
    common_name: String,
    organization: Option<&'static str>,
    addresses: Vec<String>,
    names: Vec<&'static str>,
}

/// Makes all keys and certificates unless they are there.
pub(crate) fn ensure(layout: &Layout) -> anyhow::Result<()> {
    let directory = layout.pki();
    if directory.join(COMPLETE).exists() {
        return Ok(());
    }
    fs::create_dir_all(&directory)?;
    let authority = make_authority(&directory, "ca", "orlop-local")?;
    for identity in identities() {
        issue(&directory, &identity, &authority)
            .with_context(|| format!("failed to issue the certificate {}", identity.file))?;
    }
    let front_proxy = make_authority(&directory, "front-proxy-ca", "orlop-local-front-proxy")?;
    issue(
        &directory,
        &Identity::client("front-proxy", "front-proxy", None),
        &front_proxy,
    )?;
    let service_accounts = KeyPair::generate()?;
    write_key(&directory.join("service-accounts.key"), &service_accounts)?;
    fs::write(
        directory.join("service-accounts.pub"),
        service_accounts.public_key_pem(),
    )?;
    fs::write(directory.join(COMPLETE), "")?;
    Ok(())
}

/// Certificate and key of an identity.
pub(crate) fn pair(layout: &Layout, file: &str) -> (PathBuf, PathBuf) {
    (
        layout.pki().join(format!("{file}.crt")),
        layout.pki().join(format!("{file}.key")),
    )
}

pub(crate) fn authority(layout: &Layout) -> PathBuf {
    layout.pki().join("ca.crt")
}

impl Identity {
    fn client(file: &str, common_name: &str, organization: Option<&'static str>) -> Self {
        Self {
            file: file.to_owned(),
            common_name: common_name.to_owned(),
            organization,
            addresses: Vec::new(),
            names: Vec::new(),
        }
    }
}

fn identities() -> Vec<Identity> {
    let mut all = vec![
        Identity {
            addresses: vec![HOST.to_owned(), API_SERVICE.to_owned()],
            names: vec![
                "kubernetes",
                "kubernetes.default",
                "kubernetes.default.svc",
                "kubernetes.default.svc.cluster.local",
            ],
            ..Identity::client("apiserver", "kube-apiserver", None)
        },
        Identity {
            addresses: vec![HOST.to_owned()],
            ..Identity::client("etcd", "etcd", None)
        },
        Identity::client("etcd-client", "kube-apiserver", None),
        Identity::client(
            "apiserver-kubelet-client",
            "apiserver",
            Some("system:masters"),
        ),
        Identity::client("admin", "admin", Some("system:masters")),
        Identity::client(
            "kube-controller-manager",
            "system:kube-controller-manager",
            None,
        ),
        Identity::client("kube-scheduler", "system:kube-scheduler", None),
        Identity::client("kube-proxy", "system:kube-proxy", None),
        Identity::client("provisioner", "orlop:provisioner", None),
        Identity::client("netpol", "orlop:netpol", None),
    ];
    all.extend(Node::all().map(|node| Identity {
        addresses: vec![node.address()],
        ..Identity::client(
            &node.name(),
            &format!("system:node:{}", node.name()),
            Some("system:nodes"),
        )
    }));
    all
}

fn make_authority(
    directory: &Path,
    file: &str,
    common_name: &str,
) -> anyhow::Result<Issuer<'static, KeyPair>> {
    let mut params = lasting(common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    let key = KeyPair::generate()?;
    write_key(&directory.join(format!("{file}.key")), &key)?;
    let certificate = params.self_signed(&key)?;
    fs::write(directory.join(format!("{file}.crt")), certificate.pem())?;
    Ok(Issuer::new(params, key))
}

fn issue(
    directory: &Path,
    identity: &Identity,
    authority: &Issuer<'_, KeyPair>,
) -> anyhow::Result<()> {
    let mut params = lasting(&identity.common_name);
    if let Some(organization) = identity.organization {
        params
            .distinguished_name
            .push(DnType::OrganizationName, organization);
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ClientAuth,
        ExtendedKeyUsagePurpose::ServerAuth,
    ];
    for address in &identity.addresses {
        params
            .subject_alt_names
            .push(SanType::IpAddress(address.parse::<IpAddr>()?));
    }
    for name in &identity.names {
        params
            .subject_alt_names
            .push(SanType::DnsName((*name).try_into()?));
    }
    let key = KeyPair::generate()?;
    write_key(&directory.join(format!("{}.key", identity.file)), &key)?;
    let certificate = params.signed_by(&key, authority)?;
    fs::write(
        directory.join(format!("{}.crt", identity.file)),
        certificate.pem(),
    )?;
    Ok(())
}

/// A certificate that outlives any test cluster, whatever the machine's clock says.
fn lasting(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2120, 1, 1);
    params
}

fn write_key(path: &Path, key: &KeyPair) -> anyhow::Result<()> {
    use std::io::Write;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(key.serialize_pem().as_bytes())?;
    Ok(())
}
