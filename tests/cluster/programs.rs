//! Programs that use the cache of a cluster over gRPC, by what `aquatint key` prints for them and nothing else.

use crate::cluster::{Cluster, PATIENT};
use crate::load::HOST;
use crate::network::direct;
use crate::operation::{Fetches, Operation::*};
use crate::origin::target;
use crate::support::command::{command, ran};
use crate::support::purging::KEY;
use crate::support::{eventually, picture};
use aquatint::wire::cache_client::CacheClient;
use aquatint::wire::{DeleteRequest, Field, GetRequest, Header, PutRequest, get_response, put_request};
use std::net::SocketAddr;
use tempfile::NamedTempFile;
use tokio::runtime::Runtime;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};

/// What is put, which the origin has otherwise.
const OBJECT: usize = 5;

/// A certificate, its key and the authority's certificate.
fn credentials(secret: &str) -> [String; 3] {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), secret).unwrap();
    let path = file.path().display().to_string();
    let arguments = ["key", "--client-certificate", "app", "--secret-file", &path];
    let printed = ran(command(&arguments), "").expect(0).stdout;
    let blocks: Vec<_> = printed.split_inclusive("-----\n").collect();
    let block = |number: usize| blocks[2 * number..2 * number + 2].concat();
    [block(0), block(1), block(2)]
}

struct Program {
    runtime: Runtime,
    cache: CacheClient<Channel>,
}

impl Program {
    fn connect(address: SocketAddr, secret: &str) -> Result<Program, tonic::transport::Error> {
        let [certificate, key, authority] = credentials(secret);
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(authority))
            .identity(Identity::from_pem(certificate, key))
            .domain_name("node.aquatint.internal");
        let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap();
        let endpoint = endpoint.tls_config(tls).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let channel = runtime.block_on(endpoint.connect())?;
        Ok(Program {
            runtime,
            cache: CacheClient::new(channel),
        })
    }

    fn put(&mut self, body: &[u8]) -> Result<Vec<u8>, Status> {
        let open = put_request::Open {
            url: url(),
            status: 200,
            fields: [
                ("content-type", "image/png"),
                ("cache-control", "public, max-age=3600"),
            ]
            .map(|(name, value)| Field {
                name: name.to_owned(),
                value: value.into(),
            })
            .to_vec(),
            length: body.len() as u64,
            digest: blake3::hash(body).as_bytes().to_vec().into(),
        };
        let parts = [
            put_request::Part::Open(open),
            put_request::Part::Chunk(body.to_vec().into()),
        ];
        let messages = parts.map(|part| PutRequest { part: Some(part) });
        let request = with_key(futures::stream::iter(messages));
        let answer = self.runtime.block_on(self.cache.put(request))?;
        Ok(answer.into_inner().digest.to_vec())
    }

    fn get(&mut self) -> Result<(Header, Vec<u8>), Status> {
        let asked = GetRequest {
            url: url(),
            fields: Vec::new(),
        };
        self.runtime.block_on(async {
            let mut stream = self.cache.get(with_key(asked)).await?.into_inner();
            let (mut header, mut body) = (Header::default(), Vec::new());
            while let Some(message) = stream.message().await? {
                match message.part.expect("each message has a part") {
                    get_response::Part::Header(first) => header = first,
                    get_response::Part::Chunk(chunk) => body.extend_from_slice(&chunk),
                }
            }
            Ok((header, body))
        })
    }

    fn delete(&mut self) -> Result<u64, Status> {
        let request = with_key(DeleteRequest { url: url() });
        let answer = self.runtime.block_on(self.cache.delete(request))?;
        Ok(answer.into_inner().index)
    }
}

fn url() -> String {
    format!("http://{HOST}{}", target(OBJECT))
}

fn with_key<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let value = format!("Bearer {KEY}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

#[test]
fn what_a_program_puts_at_one_node_is_got_at_another_until_it_is_deleted() {
    let mut cluster = Cluster::new(direct(), PATIENT);
    cluster.run(&[Start(3)]);
    let mut programs = [1, 2, 3].map(|node| cluster.program_at(node));
    let body = picture(77, 40_000);
    let digest = programs[0].put(&body).unwrap();
    assert_eq!(digest, blake3::hash(&body).as_bytes());
    for program in &mut programs {
        let (header, got) = program.get().unwrap();
        assert_eq!(header.status, 200);
        assert!(got == body, "{} bytes", got.len());
    }
    cluster.run(&[AssertOriginFetches(Fetches::AtMost(0))]);
    // For as long as a lease after its start, the voter lets it wait for what an earlier process may have granted.
    let deleted = eventually("it is deleted everywhere", || programs[2].delete().ok());
    assert!(deleted > 0);
    for program in &mut programs {
        let (header, got) = program.get().unwrap();
        assert_eq!(header.status, 200);
        assert!(got != body, "what was put has been deleted");
    }
    cluster.run(&[
        AssertOriginFetches(Fetches::AtMost(1)),
        AssertOriginFetches(Fetches::Each(OBJECT..OBJECT + 1, 1)),
    ]);
}

#[test]
fn a_program_with_another_clusters_certificate_is_not_heard() {
    let mut cluster = Cluster::new(direct(), PATIENT);
    cluster.run(&[Start(1)]);
    let made = ran(command(&["key", "--cluster", "--json"]), "").expect(0).json();
    let another = made["secret"].as_str().unwrap();
    // Which side refuses first is chance.
    let heard =
        Program::connect(cluster.address_between(1), another).is_ok_and(|mut program| program.get().is_ok());
    assert!(!heard);
}

impl Cluster {
    fn program_at(&self, node: usize) -> Program {
        Program::connect(self.address_between(node), self.secret()).unwrap()
    }
}
