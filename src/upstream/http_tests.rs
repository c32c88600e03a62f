//! An HTTP/1.1 origin that behaves, and one that does not.

use super::*;
use crate::base::units::{ByteSize, Span};
use crate::upstream::config;
use crate::upstream::error::Stage;
use crate::upstream::response::Framing as BodyFraming;
use crate::upstream::scripted::{Certificate, Scripted, asking, fetched, get, open, patient, whole};
use http::StatusCode;
use proptest::prelude::*;
use std::time::Duration;

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

async fn failure_of(answer: &'static str) -> OriginError {
    let scripted = Scripted::saying_once(answer).await;
    fetched(&scripted.origin()).await.unwrap_err()
}

#[tokio::test]
async fn a_request_carries_the_origins_host_and_path_and_no_coding() {
    let (seen, mut requests) = tokio::sync::mpsc::channel(1);
    let scripted = Scripted::start(move |mut visitor, _| {
        let seen = seen.clone();
        async move {
            seen.send(visitor.request().await.unwrap()).await.unwrap();
            visitor.say(HELLO).await;
        }
    })
    .await;
    let url = format!("http://{}/base/", scripted.address);
    let origin = open(&config::Config {
        url: Some(url),
        ..patient()
    });
    let mut request = get("/a%20b.jpg?v=3");
    request.headers.insert("accept-encoding", "gzip".parse().unwrap());
    request.headers.insert("via", "1.1 aquatint".parse().unwrap());
    let response = origin.fetch(request).await.unwrap();
    assert_eq!((response.status, response.length), (StatusCode::OK, Some(5)));
    assert!(response.exchange.requested_at <= response.exchange.received_at);
    assert_eq!(whole(response).await.unwrap(), "hello");
    let text = requests.recv().await.unwrap().to_lowercase();
    assert!(text.starts_with("get /base/a%20b.jpg?v=3 http/1.1\r\n"), "{text}");
    assert!(
        text.contains(&format!("\r\nhost: {}\r\n", scripted.address)),
        "{text}"
    );
    assert!(text.contains("\r\nvia: 1.1 aquatint\r\n"), "{text}");
    assert!(
        !text.contains("accept-encoding") && !text.contains("content-length"),
        "{text}"
    );
}

#[tokio::test]
async fn hop_by_hop_headers_of_the_response_stay_behind() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive, x-hop\r\nKeep-Alive: timeout=5\r\n\
        X-Hop: 1\r\nX-End: 2\r\n\r\n";
    let scripted = Scripted::saying(answer).await;
    let response = scripted.origin().fetch(get("/")).await.unwrap();
    let names: Vec<&str> = response.headers.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["content-length", "x-end"]);
}

#[tokio::test]
async fn a_connection_is_used_again_after_a_clean_end() {
    let scripted = Scripted::saying(HELLO).await;
    let origin = scripted.origin();
    for _ in 0..3 {
        assert_eq!(fetched(&origin).await.unwrap(), "hello");
    }
    assert_eq!((scripted.requests(), scripted.connections()), (3, 1));
}

#[tokio::test]
async fn responses_without_a_body_free_the_connection_at_once() {
    let answers = [
        (
            Method::HEAD,
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            Some(5),
        ),
        (
            Method::GET,
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
            Some(5),
        ),
        (Method::GET, "HTTP/1.1 204 No Content\r\n\r\n", None),
    ];
    for (method, answer, length) in answers {
        let scripted = Scripted::saying(answer).await;
        let origin = scripted.origin();
        for _ in 0..2 {
            let response = origin.fetch(asking(method.clone(), "/")).await.unwrap();
            assert_eq!(response.length, length);
            assert_eq!(whole(response).await.unwrap(), "");
        }
        assert_eq!((scripted.requests(), scripted.connections()), (2, 1), "{answer}");
    }
}

#[tokio::test]
async fn a_body_shorter_than_its_length_is_truncated() {
    let error = failure_of("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").await;
    let OriginError::Truncated { expected, received } = error else {
        panic!("{error}")
    };
    assert_eq!((expected, received), (Some(10), 5));
    let error = failure_of("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n").await;
    assert!(
        matches!(error, OriginError::Truncated { received: 0, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_body_longer_than_its_length_is_refused_and_its_connection_closed() {
    let scripted = Scripted::saying("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, world").await;
    let origin = scripted.origin();
    for connections in 1..=2 {
        let error = fetched(&origin).await.unwrap_err();
        assert!(matches!(error, OriginError::Malformed { .. }), "{error}");
        assert_eq!(scripted.connections(), connections);
    }
}

#[tokio::test]
async fn an_error_in_a_body_stays_an_error() {
    let scripted = Scripted::saying_once("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").await;
    let mut body = scripted.origin().fetch(get("/")).await.unwrap().body;
    assert_eq!(body.next().await.unwrap().unwrap(), "hello");
    for _ in 0..2 {
        let error = body.next().await.unwrap_err();
        assert!(matches!(error, OriginError::Truncated { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_body_that_only_the_close_ends_is_told_from_one_that_is_framed() {
    for (method, answer, expected) in [
        (Method::GET, HELLO, BodyFraming::Framed),
        (
            Method::GET,
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            BodyFraming::Framed,
        ),
        (
            Method::GET,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            BodyFraming::Framed,
        ),
        (
            Method::GET,
            "HTTP/1.1 204 No Content\r\n\r\n",
            BodyFraming::Framed,
        ),
        (Method::HEAD, "HTTP/1.1 200 OK\r\n\r\n", BodyFraming::Framed),
        (
            Method::GET,
            "HTTP/1.1 200 OK\r\n\r\nhello",
            BodyFraming::UntilClose,
        ),
        (
            Method::GET,
            "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
            BodyFraming::UntilClose,
        ),
        (
            Method::GET,
            "HTTP/1.0 200 OK\r\n\r\nhello",
            BodyFraming::UntilClose,
        ),
    ] {
        let scripted = Scripted::saying_once(answer).await;
        let response = scripted.origin().fetch(asking(method, "/")).await.unwrap();
        assert_eq!(response.body.framing(), expected, "{answer}");
        whole(response).await.unwrap();
    }
}

#[tokio::test]
async fn a_chunked_body_comes_whole_or_not_at_all() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let whole_body = format!("{head}5\r\nhello\r\n0\r\n\r\n");
    let scripted = Scripted::saying(whole_body).await;
    let origin = scripted.origin();
    assert_eq!(fetched(&origin).await.unwrap(), "hello");
    assert_eq!(fetched(&origin).await.unwrap(), "hello");
    assert_eq!(scripted.connections(), 1);
    for (rest, malformed) in [
        ("5\r\nhello\r\n", false),
        ("5\r\nhel", false),
        ("zz\r\nhello", true),
    ] {
        let scripted = Scripted::saying_once(format!("{head}{rest}")).await;
        let error = fetched(&scripted.origin()).await.unwrap_err();
        match error {
            OriginError::Malformed { .. } => assert!(malformed, "{rest:?}"),
            OriginError::Truncated { expected: None, .. } => assert!(!malformed, "{rest:?}"),
            error => panic!("{rest:?}: {error}"),
        }
    }
}

#[tokio::test]
async fn a_body_that_ends_with_its_connection_has_no_length() {
    let scripted = Scripted::saying_once("HTTP/1.0 200 OK\r\n\r\nhello").await;
    let origin = scripted.origin();
    for connections in 1..=2 {
        let response = origin.fetch(get("/")).await.unwrap();
        assert_eq!(response.length, None);
        assert_eq!(whole(response).await.unwrap(), "hello");
        assert_eq!(scripted.connections(), connections);
    }
}

#[tokio::test]
async fn a_reset_is_a_reset_before_the_header_and_amid_the_body() {
    for said in ["", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"] {
        let scripted = Scripted::start(move |mut visitor, _| async move {
            visitor.request().await;
            visitor.say(said).await;
            visitor.reset();
        })
        .await;
        let error = fetched(&scripted.origin()).await.unwrap_err();
        assert!(matches!(error, OriginError::Reset { .. }), "{said:?}: {error}");
        assert_eq!(scripted.requests(), 1);
    }
}

#[tokio::test]
async fn garbage_is_malformed() {
    let garbage = [
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/1.1 abc\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nhello",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
    ];
    for answer in garbage {
        let error = failure_of(answer).await;
        assert!(
            matches!(error, OriginError::Malformed { .. }),
            "{answer:?}: {error}"
        );
    }
}

#[tokio::test]
async fn informational_responses_are_skipped_but_not_without_end() {
    let early = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let scripted = Scripted::saying(format!("{early}{HELLO}")).await;
    let response = scripted.origin().fetch(get("/")).await.unwrap();
    assert_eq!(response.status, StatusCode::OK);
    assert!(!response.headers.contains_key("link"));
    let scripted = Scripted::saying("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100)).await;
    let error = fetched(&scripted.origin()).await.unwrap_err();
    assert!(matches!(error, OriginError::Malformed { .. }), "{error}");
}

#[tokio::test]
async fn a_header_beyond_its_limit_is_oversized() {
    let line = format!("X-Filler: {}\r\n", "x".repeat(100));
    let long = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{}\r\n", line.repeat(30));
    let scripted = Scripted::saying(long).await;
    let config = config::Config {
        header_bytes_max: ByteSize::kib(2),
        ..scripted.config()
    };
    let error = fetched(&open(&config)).await.unwrap_err();
    assert!(matches!(error, OriginError::Oversized { limit: 2048 }), "{error}");
    assert!(fetched(&scripted.origin()).await.is_ok());
}

#[tokio::test]
async fn a_header_without_end_is_oversized() {
    for line in [
        format!("X-Filler: {}\r\n", "x".repeat(8000)),
        "X: y\r\n".to_string(),
    ] {
        let scripted = Scripted::start(move |mut visitor, _| {
            let line = line.clone();
            async move {
                visitor.request().await;
                visitor.say("HTTP/1.1 200 OK\r\n").await;
                for _ in 0..2000 {
                    visitor.say(&line).await;
                }
                visitor.wait_for_close().await;
            }
        })
        .await;
        let error = fetched(&scripted.origin()).await.unwrap_err();
        assert!(matches!(error, OriginError::Oversized { .. }), "{error}");
    }
}

/// The stage whose deadline a fetch exceeds.
async fn stage_exceeded(config: &config::Config) -> Stage {
    match fetched(&open(config)).await {
        Err(OriginError::Timeout { stage }) => stage,
        outcome => panic!("{outcome:?}"),
    }
}

#[tokio::test]
async fn an_origin_that_says_nothing_exceeds_the_first_byte_or_the_total_deadline() {
    let silent = Scripted::start(|visitor, _| visitor.wait_for_close()).await;
    let first_byte = config::Config {
        first_byte_deadline: Span::millis(50),
        ..silent.config()
    };
    assert_eq!(stage_exceeded(&first_byte).await, Stage::FirstByte);
    let total = config::Config {
        total_deadline: Span::millis(50),
        ..silent.config()
    };
    assert_eq!(stage_exceeded(&total).await, Stage::Total);
}

#[tokio::test]
async fn a_tls_handshake_that_is_not_answered_exceeds_the_connect_deadline() {
    let silent = Scripted::start(|visitor, _| visitor.wait_for_close()).await;
    let directory = tempfile::tempdir().unwrap();
    let ca = Certificate::of("localhost").write(&directory);
    let config = config::Config {
        url: Some(format!("https://{}", silent.address)),
        tls: config::Tls {
            ca: Some(ca),
            ..config::Tls::default()
        },
        connect_deadline: Span::millis(50),
        ..patient()
    };
    assert_eq!(stage_exceeded(&config).await, Stage::Connect);
}

#[tokio::test]
async fn a_body_that_stalls_exceeds_the_read_or_the_total_deadline() {
    let stalled = Scripted::start(|mut visitor, _| async move {
        visitor.request().await;
        visitor
            .say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
            .await;
        visitor.wait_for_close().await;
    })
    .await;
    let read = config::Config {
        read_deadline: Span::millis(50),
        ..stalled.config()
    };
    assert_eq!(stage_exceeded(&read).await, Stage::Read);
    let total = config::Config {
        total_deadline: Span::millis(50),
        ..stalled.config()
    };
    assert_eq!(stage_exceeded(&total).await, Stage::Total);
}

#[tokio::test]
async fn a_trickle_is_cut_off_by_the_first_byte_or_the_total_deadline() {
    let trickle = |start: &'static str| {
        Scripted::start(move |mut visitor, _| async move {
            visitor.request().await;
            visitor.say(start).await;
            loop {
                visitor.say("x").await;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
    };
    let header = trickle("HTTP/1.1 200 OK\r\nX-Endless: ").await;
    let config = config::Config {
        first_byte_deadline: Span::millis(100),
        ..header.config()
    };
    let error = fetched(&open(&config)).await.unwrap_err();
    assert!(
        matches!(
            error,
            OriginError::Timeout {
                stage: Stage::FirstByte
            }
        ),
        "{error}"
    );
    let body = trickle("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").await;
    let config = config::Config {
        total_deadline: Span::millis(100),
        ..body.config()
    };
    let error = fetched(&open(&config)).await.unwrap_err();
    assert!(
        matches!(error, OriginError::Timeout { stage: Stage::Total }),
        "{error}"
    );
}

#[tokio::test]
async fn a_reader_that_pauses_longer_than_the_total_deadline_still_gets_the_whole_body() {
    const PAUSE: Duration = Duration::from_millis(1100);
    let go_on = Arc::new(tokio::sync::Notify::new());
    let paused = go_on.clone();
    let scripted = Scripted::start(move |mut visitor, _| {
        let go_on = go_on.clone();
        async move {
            visitor.request().await;
            visitor
                .say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
                .await;
            go_on.notified().await;
            // The reader must be waiting by now: what is there already is had even when no time is left.
            tokio::time::sleep(Duration::from_millis(50)).await;
            visitor.say("world").await;
        }
    })
    .await;
    let origin = open(&config::Config {
        total_deadline: Span::millis(1000),
        ..scripted.config()
    });
    let mut response = origin.fetch(get("/")).await.unwrap();
    assert_eq!(response.body.next().await.unwrap().unwrap(), "hello");
    tokio::time::sleep(PAUSE).await;
    paused.notify_one();
    assert_eq!(whole(response).await.unwrap(), "world");
}

/// Bytes an origin may answer with: anything, and things that are nearly right.
fn nearly_http() -> impl Strategy<Value = Vec<u8>> {
    let head = prop::sample::select(vec![
        "",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "HTTP/1.1 103 Early Hints\r\n\r\n",
    ]);
    let rest = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..64),
        "[0-9a-f:; \r\n]{0,32}".prop_map(String::into_bytes)
    ];
    (head, rest).prop_map(|(head, rest)| [head.as_bytes(), &rest].concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn whatever_an_origin_says_is_an_answer_or_an_error(said in nearly_http()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let outcome = runtime.block_on(async {
            let scripted = Scripted::saying_once(said.clone()).await;
            fetched(&scripted.origin()).await
        });
        match outcome {
            Ok(body) => prop_assert!(said.starts_with(b"HTTP/1."), "{body:?} came out of nothing"),
            Err(error) => prop_assert!(error.failure().is_some(), "{error}"),
        }
    }
}
