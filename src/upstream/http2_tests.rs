//! TLS, and HTTP/2 with and without it.

use crate::base::metrics::Metrics;
use crate::base::units::ByteSize;
use crate::upstream::config::{self, HttpVersion};
use crate::upstream::error::{OpenError, OriginError};
use crate::upstream::scripted::{
    Certificate, Scripted, Visitor, asking, eventually, fetched, get, open, patient, whole,
};
use crate::upstream::{Framing, Origin};
use bytes::Bytes;
use h2::server::SendResponse;
use http::{Method, Request, Response, StatusCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// What an HTTP/2 origin does with a request.
type Reply = Arc<dyn Fn(&Request<h2::RecvStream>, &mut SendResponse<Bytes>) + Send + Sync>;

fn reply(
    reply: impl Fn(&Request<h2::RecvStream>, &mut SendResponse<Bytes>) + Send + Sync + 'static,
) -> Reply {
    Arc::new(reply)
}

/// Sends `body` under a Content-Length of `length`.
fn promising(length: u64, body: &'static str) -> Reply {
    reply(move |_, respond| {
        let header = Response::builder()
            .header("content-length", length)
            .body(())
            .unwrap();
        let mut stream = respond.send_response(header, false).unwrap();
        stream.send_data(body.into(), true).unwrap();
    })
}

/// Speaks HTTP/2 on one connection until it ends, or until `requests_max` have been answered.
async fn speak<S>(visitor: Visitor<S>, reply: Reply, requests_max: usize)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (stream, counter) = visitor.into_parts();
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    let mut open = Vec::new();
    for _ in 0..requests_max {
        let Some(Ok((request, mut respond))) = connection.accept().await else {
            return;
        };
        counter.fetch_add(1, Ordering::SeqCst);
        reply(&request, &mut respond);
        open.push((request, respond));
    }
    // What has been said must still be sent.
    connection.graceful_shutdown();
    while connection.accept().await.is_some() {}
}

/// An HTTP/2 origin in clear text.
async fn prior_knowledge(reply: Reply) -> (Scripted, Origin) {
    let scripted = Scripted::start(move |visitor, _| speak(visitor, reply.clone(), usize::MAX)).await;
    let origin = open(&h2c(&scripted));
    (scripted, origin)
}

fn h2c(scripted: &Scripted) -> config::Config {
    config::Config {
        http: HttpVersion::Http2,
        ..scripted.config()
    }
}

/// An origin behind TLS that offers `protocols`, and what it negotiated last.
async fn behind_tls(certificate: &Certificate, protocols: &[&str]) -> Scripted {
    let mut server = certificate.server.clone();
    server.alpn_protocols = protocols
        .iter()
        .map(|protocol| protocol.as_bytes().to_vec())
        .collect();
    let acceptor = TlsAcceptor::from(Arc::new(server));
    Scripted::start(move |visitor, _| {
        let acceptor = acceptor.clone();
        async move {
            let (stream, counter) = visitor.into_parts();
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let negotiated = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
            let mut visitor = Visitor::new(stream, &counter);
            if negotiated.as_deref() == Some(b"h2") {
                return speak(visitor, promising(5, "hello"), usize::MAX).await;
            }
            while visitor.request().await.is_some() {
                visitor.say(HELLO).await;
            }
        }
    })
    .await
}

fn trusting(scripted: &Scripted, ca: std::path::PathBuf) -> config::Config {
    let url = format!("https://localhost:{}", scripted.address.port());
    let tls = config::Tls {
        ca: Some(ca),
        ..config::Tls::default()
    };
    config::Config {
        url: Some(url),
        tls,
        ..patient()
    }
}

#[tokio::test]
async fn tls_negotiates_http2_where_the_origin_has_it() {
    let directory = tempfile::tempdir().unwrap();
    let certificate = Certificate::of("localhost");
    let ca = certificate.write(&directory);
    for (protocols, version) in [
        (&["h2", "http/1.1"][..], HttpVersion::Auto),
        (&["h2"], HttpVersion::Http2),
        (&["http/1.1"], HttpVersion::Auto),
        (&[], HttpVersion::Auto),
        (&["h2", "http/1.1"], HttpVersion::Http1),
    ] {
        let scripted = behind_tls(&certificate, protocols).await;
        let origin = open(&config::Config {
            http: version,
            ..trusting(&scripted, ca.clone())
        });
        for _ in 0..2 {
            assert_eq!(
                fetched(&origin).await.unwrap(),
                "hello",
                "{protocols:?} {version:?}"
            );
        }
        assert_eq!(
            (scripted.requests(), scripted.connections()),
            (2, 1),
            "{protocols:?} {version:?}"
        );
    }
}

#[tokio::test]
async fn a_stream_frames_its_body_without_a_length() {
    let unsized_hello = reply(|_, respond| {
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        stream.send_data("hello".into(), true).unwrap();
    });
    let (_scripted, origin) = prior_knowledge(unsized_hello).await;
    let response = origin.fetch(get("/")).await.unwrap();
    assert_eq!(
        (response.length, response.body.framing()),
        (None, Framing::Framed)
    );
    assert_eq!(whole(response).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_certificate_of_another_authority_or_name_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (certificate, other) = (Certificate::of("localhost"), Certificate::of("localhost"));
    let scripted = behind_tls(&certificate, &[]).await;
    let unknown = trusting(&scripted, other.write(&directory));
    let error = fetched(&open(&unknown)).await.unwrap_err();
    assert!(matches!(error, OriginError::Tls { .. }), "{error}");
    let mut misnamed = trusting(&scripted, certificate.write(&directory));
    misnamed.tls.server_name = Some("shop.example".into());
    let error = fetched(&open(&misnamed)).await.unwrap_err();
    assert!(matches!(error, OriginError::Tls { .. }), "{error}");
    assert_eq!(scripted.requests(), 0);
}

#[tokio::test]
async fn the_name_on_the_certificate_may_be_given() {
    let directory = tempfile::tempdir().unwrap();
    let certificate = Certificate::of("shop.example");
    let scripted = behind_tls(&certificate, &[]).await;
    let mut config = trusting(&scripted, certificate.write(&directory));
    config.url = None;
    config.addresses = vec![config::Address {
        address: scripted.address.to_string(),
        weight: 1,
    }];
    config.tls.enabled = true;
    config.tls.server_name = Some("shop.example".into());
    assert_eq!(fetched(&open(&config)).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_body_that_ends_with_its_tls_connection_must_end_it_properly() {
    let directory = tempfile::tempdir().unwrap();
    let certificate = Certificate::of("localhost");
    let acceptor = TlsAcceptor::from(Arc::new(certificate.server.clone()));
    let scripted = Scripted::start(move |visitor, _| {
        let acceptor = acceptor.clone();
        async move {
            let (stream, counter) = visitor.into_parts();
            let mut visitor = Visitor::new(acceptor.accept(stream).await.unwrap(), &counter);
            visitor.request().await;
            visitor.say("HTTP/1.1 200 OK\r\n\r\nhello").await;
            // Dropped without the alert that would tell an end from a cut (RFC 8446 section 6.1).
        }
    })
    .await;
    let origin = open(&trusting(&scripted, certificate.write(&directory)));
    let error = fetched(&origin).await.unwrap_err();
    assert!(
        matches!(
            error,
            OriginError::Truncated {
                expected: None,
                received: 5
            }
        ),
        "{error}"
    );
}

#[test]
fn roots_that_can_not_be_read_are_refused_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("empty.pem"), "").unwrap();
    std::fs::write(
        path("garbage.pem"),
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    for name in ["none.pem", "empty.pem", "garbage.pem"] {
        let tls = config::Tls {
            ca: Some(path(name)),
            ..config::Tls::default()
        };
        let config = config::Config {
            url: Some("https://localhost".into()),
            tls,
            ..patient()
        };
        let refused = Origin::open("test", &config, &Metrics::new());
        assert!(matches!(refused, Err(OpenError::Roots { .. })), "{name}");
    }
}

#[tokio::test]
async fn an_http2_request_carries_its_authority_and_path() {
    let seen = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let record = seen.clone();
    let (scripted, origin) = prior_knowledge(reply(move |request, respond| {
        record
            .lock()
            .push((request.uri().clone(), request.headers().clone()));
        respond.send_response(Response::new(()), true).unwrap();
    }))
    .await;
    let mut request = get("/a.jpg?v=3");
    request
        .headers
        .insert("connection", "keep-alive, x-hop".parse().unwrap());
    request.headers.insert("x-hop", "1".parse().unwrap());
    request.headers.insert("x-end", "2".parse().unwrap());
    assert_eq!(whole(origin.fetch(request).await.unwrap()).await.unwrap(), "");
    let (uri, headers) = seen.lock().remove(0);
    assert_eq!(uri.authority().unwrap().as_str(), scripted.address.to_string());
    assert_eq!(uri.path_and_query().unwrap(), "/a.jpg?v=3");
    assert!(
        headers.contains_key("x-end") && !headers.contains_key("x-hop"),
        "{headers:?}"
    );
}

#[tokio::test]
async fn http2_requests_share_a_connection() {
    let (scripted, origin) = prior_knowledge(promising(5, "hello")).await;
    fetched(&origin).await.unwrap();
    let first = origin.fetch(get("/1")).await.unwrap();
    let second = origin.fetch(get("/2")).await.unwrap();
    assert_eq!(whole(second).await.unwrap(), "hello");
    assert_eq!(whole(first).await.unwrap(), "hello");
    assert_eq!((scripted.requests(), scripted.connections()), (3, 1));
}

#[tokio::test]
async fn an_http2_body_of_another_length_than_promised_never_ends_cleanly() {
    for (length, body) in [(10, "hello"), (3, "hello"), (5, "")] {
        let (_scripted, origin) = prior_knowledge(promising(length, body)).await;
        let error = fetched(&origin).await.unwrap_err();
        assert!(
            matches!(error, OriginError::Truncated { .. }),
            "{length} {body:?}: {error}"
        );
    }
}

#[tokio::test]
async fn an_http2_stream_that_is_reset_is_an_error() {
    let (_scripted, origin) = prior_knowledge(reply(|request, respond| {
        if request.uri().path() == "/header" {
            return respond.send_reset(h2::Reason::INTERNAL_ERROR);
        }
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        stream.send_data("hello".into(), false).unwrap();
        stream.send_reset(h2::Reason::INTERNAL_ERROR);
    }))
    .await;
    let error = origin.fetch(get("/header")).await.err().unwrap();
    assert!(matches!(error, OriginError::Reset { .. }), "{error}");
    let error = fetched(&origin).await.unwrap_err();
    assert!(matches!(error, OriginError::Reset { .. }), "{error}");
}

#[tokio::test]
async fn http2_responses_to_head_and_304_have_a_length_and_no_body() {
    let (scripted, origin) = prior_knowledge(reply(|request, respond| {
        let status = if request.method() == Method::HEAD {
            StatusCode::OK
        } else {
            StatusCode::NOT_MODIFIED
        };
        let header = Response::builder()
            .status(status)
            .header("content-length", 5)
            .body(())
            .unwrap();
        respond.send_response(header, true).unwrap();
    }))
    .await;
    for method in [Method::HEAD, Method::GET, Method::HEAD] {
        let response = origin.fetch(asking(method, "/")).await.unwrap();
        assert_eq!(response.length, Some(5));
        assert_eq!(whole(response).await.unwrap(), "");
    }
    assert_eq!(scripted.connections(), 1);
}

#[tokio::test]
async fn http2_informational_responses_are_skipped() {
    let (_scripted, origin) = prior_knowledge(reply(|_, respond| {
        let early = Response::builder()
            .status(103)
            .header("link", "</a>")
            .body(())
            .unwrap();
        respond.send_informational(early).unwrap();
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        stream.send_data("hello".into(), true).unwrap();
    }))
    .await;
    let response = origin.fetch(get("/")).await.unwrap();
    assert!(response.status == StatusCode::OK && !response.headers.contains_key("link"));
    assert_eq!(whole(response).await.unwrap(), "hello");
}

/// Sends a body and trailers after it; `te` is what the request must say of them.
fn with_trailers(te: Option<&'static str>) -> Reply {
    reply(move |request, respond| {
        assert_eq!(
            request.headers().get("te").map(|te| te.as_bytes()),
            te.map(str::as_bytes)
        );
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        stream.send_data("hello".into(), false).unwrap();
        let trailers = [
            ("server-timing", "a"),
            ("content-length", "7"),
            ("set-cookie", "b"),
        ];
        let trailers = trailers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        stream
            .send_trailers(http::HeaderMap::from_iter(trailers))
            .unwrap();
    })
}

/// A client that takes trailers, of a request without a body.
struct TakesTrailers;

impl crate::upstream::RequestBody for TakesTrailers {
    fn is_absent(&self) -> bool {
        true
    }

    fn takes_trailers(&self) -> bool {
        true
    }

    async fn next(&mut self) -> Result<Option<Bytes>, crate::upstream::BodyGone> {
        Ok(None)
    }
}

/// RFC 9110 section 6.5.1.
#[tokio::test]
async fn trailers_come_with_the_end_of_a_body_whose_client_takes_them() {
    let (scripted, origin) = prior_knowledge(with_trailers(Some("trailers"))).await;
    for _ in 0..2 {
        let response = origin.exchange(get("/"), TakesTrailers).await.unwrap();
        let mut body = response.body;
        assert_eq!(body.next().await.unwrap().unwrap(), "hello");
        assert!(body.take_trailers().is_empty(), "before the end");
        assert_eq!(body.next().await.unwrap(), None);
        let trailers = body.take_trailers();
        assert_eq!(
            (trailers.len(), &trailers["server-timing"]),
            (1, &"a".parse().unwrap())
        );
    }
    assert_eq!(scripted.connections(), 1);
    let (_scripted, origin) = prior_knowledge(with_trailers(None)).await;
    assert_eq!(fetched(&origin).await.unwrap(), "hello");
}

#[tokio::test]
async fn an_http2_header_beyond_its_limit_is_oversized() {
    let (scripted, _origin) = prior_knowledge(reply(|_, respond| {
        let header = Response::builder()
            .header("x-filler", "x".repeat(3000))
            .body(())
            .unwrap();
        respond.send_response(header, true).unwrap();
    }))
    .await;
    let origin = open(&config::Config {
        header_bytes_max: ByteSize::kib(2),
        ..h2c(&scripted)
    });
    let error = fetched(&origin).await.unwrap_err();
    assert!(matches!(error, OriginError::Oversized { limit: 2048 }), "{error}");
}

#[tokio::test]
async fn a_dropped_http2_body_resets_its_stream_and_keeps_the_connection() {
    let resets = Arc::new(AtomicUsize::new(0));
    let counted = resets.clone();
    let (scripted, origin) = prior_knowledge(reply(move |request, respond| {
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        stream
            .send_data("hello".into(), request.uri().path() == "/")
            .unwrap();
        let counted = counted.clone();
        tokio::spawn(async move {
            let ended = std::future::poll_fn(|context| stream.poll_reset(context)).await;
            if matches!(ended, Ok(h2::Reason::CANCEL)) {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
    }))
    .await;
    let mut abandoned = origin.fetch(get("/endless")).await.unwrap();
    assert_eq!(abandoned.body.next().await.unwrap().unwrap(), "hello");
    drop(abandoned);
    eventually("the origin hears of it", || resets.load(Ordering::SeqCst) == 1).await;
    assert_eq!(fetched(&origin).await.unwrap(), "hello");
    assert_eq!(scripted.connections(), 1);
}

#[tokio::test]
async fn a_request_is_repeated_when_a_pooled_http2_connection_goes_away() {
    let answer = promising(5, "hello");
    let scripted = Scripted::start(move |visitor, _| speak(visitor, answer.clone(), 1)).await;
    let origin = open(&h2c(&scripted));
    for _ in 0..4 {
        assert_eq!(fetched(&origin).await.unwrap(), "hello");
    }
    assert_eq!(scripted.requests(), 4);
}

#[tokio::test]
async fn a_request_is_repeated_when_a_pooled_http2_connection_refuses_its_stream() {
    let scripted = Scripted::start(|visitor, number| {
        let answered = AtomicUsize::new(0);
        let reply = reply(move |_, respond| {
            if number == 0 && answered.fetch_add(1, Ordering::SeqCst) > 0 {
                return respond.send_reset(h2::Reason::REFUSED_STREAM);
            }
            respond.send_response(Response::new(()), true).unwrap();
        });
        speak(visitor, reply, usize::MAX)
    })
    .await;
    let origin = open(&h2c(&scripted));
    for _ in 0..3 {
        assert_eq!(fetched(&origin).await.unwrap(), "");
    }
    assert_eq!((scripted.requests(), scripted.connections()), (4, 2));
}

#[tokio::test]
async fn an_origin_that_only_pretends_to_speak_http2_is_malformed_or_gone() {
    let scripted = Scripted::saying(HELLO).await;
    let error = fetched(&open(&h2c(&scripted))).await.unwrap_err();
    assert!(
        matches!(error, OriginError::Malformed { .. } | OriginError::Reset { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn an_http2_request_streams_its_body() {
    let received = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let record = received.clone();
    let scripted = Scripted::start(move |visitor, _| {
        let record = record.clone();
        async move {
            let (stream, _) = visitor.into_parts();
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((mut request, mut respond))) = connection.accept().await {
                let record = record.clone();
                tokio::spawn(async move {
                    while let Some(Ok(part)) = request.body_mut().data().await {
                        request
                            .body_mut()
                            .flow_control()
                            .release_capacity(part.len())
                            .unwrap();
                        record.lock().extend_from_slice(&part);
                    }
                    respond.send_response(Response::new(()), true).unwrap();
                });
            }
        }
    })
    .await;
    struct Many(usize);
    impl crate::upstream::RequestBody for Many {
        async fn next(&mut self) -> Result<Option<Bytes>, crate::upstream::BodyGone> {
            self.0 = self.0.saturating_sub(1);
            Ok((self.0 > 0).then(|| Bytes::from(vec![7; 100_000])))
        }
    }
    let response = open(&h2c(&scripted))
        .exchange(asking(Method::PUT, "/"), Many(11))
        .await
        .unwrap();
    assert_eq!(response.status, StatusCode::OK);
    assert_eq!(received.lock().len(), 1_000_000);
}
