//! Fields after a passed response's body, from HTTP/2 to HTTP/2 (RFC 9110 section 6.5).

use crate::support::{HOST, PATIENCE, Setup};
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpStream};

/// Answers everything with `hello` and a trailer that tells what the request said of trailers.
async fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    let te = request.headers().get("te").cloned();
                    let mut stream = respond.send_response(Response::new(()), false).unwrap();
                    stream.send_data("hello".into(), false).unwrap();
                    let mut trailers = HeaderMap::new();
                    trailers.insert("x-te", te.unwrap_or("none".parse().unwrap()));
                    trailers.insert("set-cookie", "a=b".parse().unwrap());
                    stream.send_trailers(trailers).unwrap();
                }
            });
        }
    });
    address
}

/// The body of an answer to a POST, and what came after it.
async fn post(address: SocketAddr) -> (Bytes, Option<HeaderMap>) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut requests, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post(format!("http://{HOST}/form")).body(()).unwrap();
    let (response, _) = requests.send_request(request, true).unwrap();
    let mut stream = response.await.unwrap().into_body();
    let mut body = Vec::new();
    while let Some(part) = stream.data().await {
        body.extend_from_slice(&part.unwrap());
    }
    (body.into(), stream.trailers().await.unwrap())
}

fn in_time<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, work).await.expect("in time") })
}

/// RFC 9110 sections 6.5.1 and 10.1.4.
#[test]
fn trailers_of_a_passed_response_reach_an_http2_client() {
    in_time(async {
        let url = format!("http://{}", origin().await);
        let setup = Setup::without_origin().origin("url", url);
        let edge = setup.origin("http", "'2'").start();
        for _ in 0..2 {
            let (body, trailers) = post(edge.address()).await;
            let trailers = trailers.expect("trailers");
            assert_eq!(body, "hello");
            assert_eq!(
                (trailers.len(), &trailers["x-te"]),
                (1, &"trailers".parse().unwrap())
            );
        }
    });
}

/// Pingora's HTTP/1.1 sends none, so none are asked for.
#[test]
fn an_http11_client_gets_the_body_without_its_trailers() {
    in_time(async {
        let url = format!("http://{}", origin().await);
        let setup = Setup::without_origin().origin("url", url);
        let edge = setup.origin("http", "'2'").start();
        let address = edge.address();
        let asking = move || crate::support::request(address, "POST", "/form", &[("Content-Length", "0")]);
        let answer = tokio::task::spawn_blocking(asking).await.unwrap();
        answer.expect(200, b"hello");
    });
}
