//! Nodes that prove who they are by certificates of an operator's own authority.

use crate::cluster::{Cluster, PATIENT};
use crate::network::proxied;
use crate::operation::{Expected, Fetches, Operation::*};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const HANDSHAKES_FAILED: &str = "aquatint_cluster_handshakes_failed_total";

/// That every node's certificate is for.
const NAME: &str = "edges.test";

/// An authority, its certificate and one of a node's, in files.
fn sign(directory: &Path) {
    let key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let shown = authority.self_signed(&key).unwrap();
    let issuer = Issuer::new(authority, key);
    let key = KeyPair::generate().unwrap();
    let mut node = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
    node.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let certificate = node.signed_by(&key, &issuer).unwrap();
    fs::write(directory.join("ca.pem"), shown.pem()).unwrap();
    fs::write(directory.join("node.pem"), certificate.pem()).unwrap();
    fs::write(directory.join("node.key"), key.serialize_pem()).unwrap();
}

fn tls(directory: &Path) -> String {
    let file = |name| directory.join(name).display().to_string();
    let (ca, certificate, key) = (file("ca.pem"), file("node.pem"), file("node.key"));
    format!("{{ca: '{ca}', certificate: '{certificate}', key: '{key}', server_name: {NAME}}}")
}

/// Of which one node has the second, and all others the first.
fn with_two_authorities(stranger: usize) -> Cluster {
    let directories = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    directories.iter().for_each(|directory| sign(directory.path()));
    let cluster = Cluster::new(proxied(), PATIENT);
    cluster.with_shape(move |node, setup| {
        let directory = &directories[usize::from(node == stranger)];
        setup.cluster("tls", tls(directory.path()))
    })
}

#[test]
fn nodes_of_an_operators_own_authority_are_a_cluster() {
    with_two_authorities(9).run(&[
        Start(3),
        Ask(&[1, 2, 3], 0..60),
        AssertOriginFetches(Fetches::Each(0..60, 1)),
        AssertMetric(
            &[1, 2, 3],
            "aquatint_cluster_answers_total",
            Expected::AtLeast(20.0),
        ),
        AssertMetric(&[1, 2, 3], HANDSHAKES_FAILED, Expected::Is(0.0)),
        // For as long as a lease after its start, the voter lets purges wait for what an earlier process may have granted.
        AwaitPurges(1),
        PurgeAndRead(&[1, 2, 3], 0..6),
        AssertPurges(6),
        AssertNoClientErrors,
        AssertNothingStale,
    ]);
}

#[test]
fn a_node_whose_certificate_is_of_another_authority_is_refused_and_counted() {
    with_two_authorities(3).run(&[
        Start(2),
        StartStranger(3),
        // Its certificate is refused where it asks for the log.
        AssertMetric(&[1], HANDSHAKES_FAILED, Expected::AtLeast(1.0)),
        Ask(&[1, 2], 0..60),
        AssertNoClientErrors,
        AssertSays(3, "the start waits for the voter"),
        AssertMetric(&[1, 2], "aquatint_purge_lease_held", Expected::AtLeast(1.0)),
    ]);
}
