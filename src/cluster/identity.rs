//! By what nodes prove to each other that they belong together: TLS with certificates on both sides.
//!
//! The certificates are the operator's, or derive from the cluster's secret: the secret yields the key of an authority, the same
//! on every node, and each process makes a key and a certificate of its own under it. Invariants: no connection is without both
//! certificates; both are for one name, so that an authority that signs for others too lets none of them in; no secret and no
//! key is ever shown; no clock has a say in what derives from the secret. It does not know what is said over the connections.

use super::config::{Config, Tls};
use super::member::NodeId;
use super::secret::{ClusterSecret, SecretError};
use crate::base::secret::Secret;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ED25519, SerialNumber, date_time_ymd,
};
use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// In certificates that derive from the secret.
const SERVER_NAME: &str = "node.aquatint.internal";

/// Before the nodes' name, in certificates of programs that are no nodes.
const OF_PROGRAMS: &str = "program.";

/// What the secret's key is for here.
const CONTEXT: &str = "aquatint 2026 cluster certificate authority v1";

/// RFC 8410 section 7: what precedes an Ed25519 key's 32 bytes in PKCS #8.
const ED25519_PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// RFC 9113 section 3.1.
const HTTP_2: &[u8] = b"h2";

/// This node's certificate and key, and whom it believes.
#[derive(Clone)]
pub struct Identity {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    server_name: ServerName<'static>,
    program_name: ServerName<'static>,
}

/// Who has shown a certificate of the cluster's authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bearer {
    Node,
    /// It may use the cache, and is believed nothing that only nodes say.
    Program,
}

/// A certificate for a program, with its key and the authority's certificate, in PEM.
pub struct ProgramCertificate {
    pub certificate: String,
    pub key: Secret,
    pub authority: String,
}

/// Why a node can not prove that it belongs to its cluster.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("there is neither `cluster.secret` nor `cluster.tls`; nothing is served")]
    Nothing,
    #[error("{0}; nothing is served")]
    Secret(#[from] SecretError),
    #[error("{path} can not be used: {cause}; nothing is served")]
    File { path: String, cause: String },
    #[error("{0:?} is no name that a certificate can be for; nothing is served")]
    Name(String),
    #[error("no certificate can be made: {0}; nothing is served")]
    Derived(#[from] rcgen::Error),
    #[error("the certificates can not be used: {0}; nothing is served")]
    Tls(#[from] rustls::Error),
    #[error("the authority can not be used: {0}; nothing is served")]
    Authority(String),
}

/// The other side is no node of this cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the certificate is not one of this cluster's nodes")]
pub struct Stranger;

/// What both sides of a connection are made of.
struct Material {
    authorities: Vec<CertificateDer<'static>>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    server_name: String,
}

impl Identity {
    /// Of this process: a key that derives from a secret is another at each start.
    ///
    /// # Errors
    /// When there is nothing to prove anything with, or it can not be used.
    pub fn open(config: &Config, node: &NodeId) -> Result<Identity, IdentityError> {
        let material = match &config.tls {
            Some(tls) => Material::read(tls)?,
            None => {
                let secret = ClusterSecret::of(config)?.ok_or(IdentityError::Nothing)?;
                Material::derive(&secret, node)?
            }
        };
        material.into_identity()
    }

    /// To accept connections with.
    pub fn server(&self) -> Arc<ServerConfig> {
        self.server.clone()
    }

    /// To open connections with.
    pub fn client(&self) -> Arc<ClientConfig> {
        self.client.clone()
    }

    /// That every node's certificate is for.
    pub fn server_name(&self) -> ServerName<'static> {
        self.server_name.clone()
    }

    /// For whom a client's certificate is; that it is of this cluster's authority has been found by then.
    ///
    /// # Errors
    /// When it is for another name than nodes and programs have.
    pub fn admits(&self, chain: Option<&[CertificateDer<'_>]>) -> Result<Bearer, Stranger> {
        let leaf = chain.and_then(|chain| chain.first()).ok_or(Stranger)?;
        let parsed = ParsedCertificate::try_from(leaf).map_err(|_| Stranger)?;
        let is_for = |name| verify_server_name(&parsed, name).is_ok();
        match (is_for(&self.server_name), is_for(&self.program_name)) {
            (true, _) => Ok(Bearer::Node),
            (false, true) => Ok(Bearer::Program),
            (false, false) => Err(Stranger),
        }
    }
}

impl ProgramCertificate {
    /// Under the authority that derives from a secret; `name` is for people.
    ///
    /// # Errors
    /// When no certificate can be made.
    pub fn new(secret: &ClusterSecret, name: &str) -> Result<Self, IdentityError> {
        let (authority, authority_key) = authority(secret)?;
        let issuer = Issuer::new(authority_params(), authority_key);
        let key = key_pair(&unused_seed()?)?;
        let mut params = params(name, format!("{OF_PROGRAMS}{SERVER_NAME}"))?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        Ok(ProgramCertificate {
            certificate: params.signed_by(&key, &issuer)?.pem(),
            key: Secret::new(key.serialize_pem()),
            authority: authority.pem(),
        })
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

impl Material {
    fn derive(secret: &ClusterSecret, node: &NodeId) -> Result<Self, IdentityError> {
        let (authority, authority_key) = authority(secret)?;
        let issuer = Issuer::new(authority_params(), authority_key);
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let certificate = node_params(node)?.signed_by(&key, &issuer)?;
        Ok(Material {
            authorities: vec![authority.der().clone()],
            chain: vec![certificate.der().clone()],
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            server_name: SERVER_NAME.to_owned(),
        })
    }

    fn read(tls: &Tls) -> Result<Self, IdentityError> {
        let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|error| unusable(&tls.key, &error))?;
        Ok(Material {
            authorities: certificates(&tls.ca)?,
            chain: certificates(&tls.certificate)?,
            key,
            server_name: tls.server_name.clone(),
        })
    }

    fn into_identity(self) -> Result<Identity, IdentityError> {
        let named = |name: String| ServerName::try_from(name.clone()).map_err(|_| IdentityError::Name(name));
        let program_name = named(format!("{OF_PROGRAMS}{}", self.server_name))?;
        let server_name = named(self.server_name)?;
        let mut roots = RootCertStore::empty();
        for authority in self.authorities {
            roots.add(authority)?;
        }
        let roots = Arc::new(roots);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = &[&rustls::version::TLS13];
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build();
        let verifier = verifier.map_err(|error| IdentityError::Authority(error.to_string()))?;
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain.clone(), self.key.clone_key())?;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .with_root_certificates(roots)
            .with_client_auth_cert(self.chain, self.key)?;
        server.alpn_protocols = vec![HTTP_2.to_vec()];
        client.alpn_protocols = vec![HTTP_2.to_vec()];
        Ok(Identity {
            server: Arc::new(server),
            client: Arc::new(client),
            server_name,
            program_name,
        })
    }
}

/// The same on every node, to the byte: Ed25519 signs without chance.
fn authority(secret: &ClusterSecret) -> Result<(Certificate, KeyPair), IdentityError> {
    let key = key_pair(&secret.key(CONTEXT))?;
    Ok((authority_params().self_signed(&key)?, key))
}

/// As a PKCS #8 of version 1, which all libraries read: the one that keeps the public key too is unknown to OpenSSL 3.0.
fn key_pair(seed: &[u8; 32]) -> Result<KeyPair, IdentityError> {
    let key = PrivatePkcs8KeyDer::from([&ED25519_PKCS8[..], seed].concat());
    Ok(KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ED25519)?)
}

fn unused_seed() -> Result<[u8; 32], IdentityError> {
    let mut seed = [0; 32];
    let random = rustls::crypto::ring::default_provider().secure_random;
    random.fill(&mut seed).map_err(|_| SecretError::NoRandom)?;
    Ok(seed)
}

fn authority_params() -> CertificateParams {
    let mut params = lasting(CertificateParams::default(), "aquatint cluster");
    params.serial_number = Some(SerialNumber::from(1));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn params(common_name: &str, name: String) -> Result<CertificateParams, IdentityError> {
    let mut params = lasting(CertificateParams::new([name])?, common_name);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    Ok(params)
}

fn node_params(node: &NodeId) -> Result<CertificateParams, IdentityError> {
    let mut params = params(node.as_str(), SERVER_NAME.to_owned())?;
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    Ok(params)
}

/// Valid whatever a node's clock says: who has the secret belongs to the cluster, for as long as it has that secret.
fn lasting(mut params: CertificateParams, name: &str) -> CertificateParams {
    params.not_before = date_time_ymd(1970, 1, 1);
    params.not_after = date_time_ymd(9999, 12, 31);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let found = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match found {
        Ok(found) if found.is_empty() => Err(unusable(file, &"it has no certificate in PEM")),
        Ok(found) => Ok(found),
        Err(error) => Err(unusable(file, &error)),
    }
}

fn unusable(file: &Path, cause: &dyn fmt::Display) -> IdentityError {
    IdentityError::File {
        path: file.display().to_string(),
        cause: cause.to_string(),
    }
}

/// A client that trusts the cluster of a secret, and has nothing to show itself.
#[cfg(test)]
pub(crate) fn anonymous(config: &Config) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let secret = ClusterSecret::of(config)
        .expect("a test's secret is sound")
        .expect("a test's secret is sound");
    let (authority, _) = authority(&secret).expect("a test's secret is sound");
    roots
        .add(authority.der().clone())
        .expect("a test's secret is sound");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider);
    let client = client
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("a test's secret is sound");
    let mut client = client.with_root_certificates(roots).with_no_client_auth();
    client.alpn_protocols = vec![HTTP_2.to_vec()];
    Arc::new(client)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::secret::PREFIX;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    /// The bytes from `first` on, as a secret.
    fn secret(first: u8) -> Secret {
        let bytes: Vec<u8> = (first..first + 32).collect();
        Secret::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
    }

    fn parsed(first: u8) -> ClusterSecret {
        ClusterSecret::parse(secret(first).expose()).unwrap()
    }

    fn config() -> Config {
        Config {
            secret: Some(secret(0)),
            ..Config::default()
        }
    }

    #[test]
    fn one_secret_makes_one_authority_to_the_byte_and_each_start_another_key() {
        let made = |first| Material::derive(&parsed(first), &NodeId::new("a")).unwrap();
        let (one, other) = (made(0), made(0));
        assert_eq!(one.authorities, other.authorities);
        assert_ne!(one.key.secret_der(), other.key.secret_der());
        assert_ne!(one.authorities, made(1).authorities);
        let digest = crate::base::digest::Digest::of(&one.authorities[0]);
        assert_eq!(
            digest.to_string(),
            "69218ab71fc773a63453e5284f57da6188655ab4fd749ec504885a69babd8291",
            "the authority of a secret is part of the protocol"
        );
    }

    #[test]
    fn nothing_secret_is_shown() {
        let identity = Identity::open(&config(), &NodeId::new("a")).unwrap();
        assert_eq!(format!("{identity:?}"), "Identity { .. }");
    }

    #[test]
    fn a_node_without_secret_and_certificate_has_no_identity() {
        let opened = Identity::open(&Config::default(), &NodeId::new("a"));
        assert!(matches!(opened, Err(IdentityError::Nothing)));
    }

    #[test]
    fn an_operators_files_are_used_and_what_they_lack_is_told_with_their_name() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let (ca, key) = authority(&parsed(2)).unwrap();
        let issuer = Issuer::new(authority_params(), key);
        let own = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["nodes.example".to_owned()]).unwrap();
        let certificate = params.signed_by(&own, &issuer).unwrap();
        let tls = Tls {
            ca: write("ca.pem", &ca.pem()),
            certificate: write("node.pem", &certificate.pem()),
            key: write("node.key", &own.serialize_pem()),
            server_name: "nodes.example".into(),
        };
        let open = |tls: Tls| {
            let config = Config {
                tls: Some(tls),
                ..config()
            };
            Identity::open(&config, &NodeId::new("a"))
        };
        let identity = open(tls.clone()).unwrap();
        assert_eq!(
            identity.admits(Some(&[certificate.der().clone()])),
            Ok(Bearer::Node)
        );
        let swapped = Tls {
            certificate: tls.key.clone(),
            ..tls.clone()
        };
        let error = open(swapped).unwrap_err().to_string();
        assert!(error.contains("node.key"), "{error}");
        assert!(
            open(Tls {
                key: folder.path().join("none"),
                ..tls
            })
            .is_err()
        );
    }

    #[test]
    fn a_certificate_for_another_name_is_a_strangers_though_the_authority_has_signed_it() {
        let identity = Identity::open(&config(), &NodeId::new("a")).unwrap();
        let (_, key) = authority(&parsed(0)).unwrap();
        let issuer = Issuer::new(authority_params(), key);
        let own = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let of = |name: &str| {
            let params = CertificateParams::new([name.to_owned()]).unwrap();
            params.signed_by(&own, &issuer).unwrap().der().clone()
        };
        assert_eq!(identity.admits(Some(&[of(SERVER_NAME)])), Ok(Bearer::Node));
        let program = of("program.node.aquatint.internal");
        assert_eq!(identity.admits(Some(&[program])), Ok(Bearer::Program));
        assert_eq!(identity.admits(Some(&[of("shop.example")])), Err(Stranger));
        assert_eq!(identity.admits(Some(&[])), Err(Stranger));
        assert_eq!(identity.admits(None), Err(Stranger));
    }
}
