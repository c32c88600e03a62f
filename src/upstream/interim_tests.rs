//! What an origin says before its final header: interim responses and the answer to an expectation.

use super::*;
use crate::base::units::{ByteSize, Span};
use crate::upstream::error::Stage;
use crate::upstream::scripted::{Scripted, Visitor, asking, get, open, whole};
use crate::upstream::{BodyGone, Interim, Origin, OriginError, OriginRequest, OriginResponse, config};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";

/// A client that waits for a 100 before it sends its five bytes.
#[derive(Clone, Default)]
struct Client {
    heard: Arc<Mutex<Vec<Interim>>>,
    was_asked: Arc<AtomicBool>,
    /// How long it takes to hear an interim response.
    slowness: Duration,
}

impl RequestBody for Client {
    async fn next(&mut self) -> Result<Option<Bytes>, BodyGone> {
        self.was_asked.store(true, Ordering::SeqCst);
        Ok(Some("hello".into()))
    }

    async fn interim(&mut self, interim: Interim) {
        tokio::time::sleep(self.slowness).await;
        self.heard.lock().unwrap().push(interim);
    }
}

/// One that sends no body.
#[derive(Clone, Default)]
struct Reader(Arc<Mutex<Vec<Interim>>>);

impl RequestBody for Reader {
    fn is_absent(&self) -> bool {
        true
    }

    async fn next(&mut self) -> Result<Option<Bytes>, BodyGone> {
        Ok(None)
    }

    async fn interim(&mut self, interim: Interim) {
        self.0.lock().unwrap().push(interim);
    }
}

impl Client {
    fn heard(&self) -> Vec<Interim> {
        self.heard.lock().unwrap().clone()
    }

    fn was_asked(&self) -> bool {
        self.was_asked.load(Ordering::SeqCst)
    }
}

fn interim(status: u16, headers: &[(&'static str, &'static str)]) -> Interim {
    let pairs = headers.iter().map(|(name, value)| {
        (
            header::HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    });
    Interim {
        status: StatusCode::from_u16(status).unwrap(),
        headers: HeaderMap::from_iter(pairs),
    }
}

/// A POST of five bytes; with an expectation of a 100.
fn post() -> OriginRequest {
    let mut request = asking(Method::POST, "/");
    for (name, value) in [("content-length", "5"), ("expect", "100-continue")] {
        request.headers.insert(name, HeaderValue::from_static(value));
    }
    request
}

async fn fetch_hearing(origin: &Origin) -> (Result<OriginResponse, OriginError>, Vec<Interim>) {
    let reader = Reader::default();
    let response = origin.exchange(get("/"), reader.clone()).await;
    let heard = reader.0.lock().unwrap().clone();
    (response, heard)
}

/// RFC 9110 sections 7.6.1, 8.6 and 15.2.
#[tokio::test]
async fn interim_responses_are_heard_in_order_with_their_end_to_end_headers() {
    let said = [
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 102 Processing\r\nConnection: close, x-mine\r\nX-Mine: 1\r\nKeep-Alive: 1\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 199 Unheard Of\r\n\r\n",
        HELLO,
    ];
    let expected = [
        interim(102, &[]),
        interim(103, &[("link", "</a>")]),
        interim(199, &[]),
    ];
    let scripted = Scripted::saying(said.concat()).await;
    let origin = scripted.origin();
    let (response, heard) = fetch_hearing(&origin).await;
    assert_eq!(heard, expected);
    assert_eq!(whole(response.unwrap()).await.unwrap(), "hello");
    let client = Client::default();
    let mut request = post();
    request.headers.remove("expect");
    let response = origin.exchange(request, client.clone()).await.unwrap();
    assert_eq!(response.status, StatusCode::OK);
    assert_eq!(client.heard(), expected);
}

#[tokio::test]
async fn interim_responses_without_end_are_no_answer() {
    let scripted = Scripted::saying(HINTS.repeat(100)).await;
    let (response, heard) = fetch_hearing(&scripted.origin()).await;
    let error = response.err().unwrap();
    assert!(matches!(error, OriginError::Malformed { .. }), "{error}");
    assert_eq!(heard.len(), 32);
}

#[tokio::test]
async fn all_interim_responses_together_are_no_longer_than_a_header_may_be() {
    let long = format!("HTTP/1.1 103 Early Hints\r\nLink: {}\r\n\r\n", "x".repeat(900));
    let scripted = Scripted::saying(long.repeat(3) + HELLO).await;
    let origin = open(&config::Config {
        header_bytes_max: ByteSize::kib(2),
        ..scripted.config()
    });
    let (response, heard) = fetch_hearing(&origin).await;
    let error = response.err().unwrap();
    assert!(matches!(error, OriginError::Oversized { limit: 2048 }), "{error}");
    assert_eq!(heard.len(), 2);
}

/// Each of them is in time, and all of them together are not.
#[tokio::test]
async fn interim_responses_do_not_stretch_the_deadline_of_the_final_header() {
    let scripted = Scripted::start(|mut visitor: Visitor, _| async move {
        visitor.request().await;
        loop {
            visitor.say(HINTS).await;
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    })
    .await;
    let origin = open(&config::Config {
        first_byte_deadline: Span::millis(200),
        ..scripted.config()
    });
    let (response, _) = fetch_hearing(&origin).await;
    let error = response.err().unwrap();
    let stage = Stage::FirstByte;
    assert!(
        matches!(error, OriginError::Timeout { stage: late } if late == stage),
        "{error}"
    );
}

#[tokio::test]
async fn a_client_that_is_slow_to_hear_does_not_use_up_the_origins_time() {
    let scripted = Scripted::saying(format!("{HINTS}{HINTS}{HELLO}")).await;
    let origin = open(&config::Config {
        first_byte_deadline: Span::secs(2),
        ..scripted.config()
    });
    // Together longer than the deadline, which leaves the origin more than it needs.
    let client = Client {
        slowness: Duration::from_millis(1100),
        ..Client::default()
    };
    let response = origin.exchange(post(), client.clone()).await.unwrap();
    assert_eq!(response.status, StatusCode::OK);
    assert_eq!(client.heard().len(), 2);
}

#[tokio::test]
async fn a_hint_whose_value_could_break_out_of_its_header_is_no_hint() {
    let scripted = Scripted::saying(format!("HTTP/1.1 103 Early Hints\r\nLink: a\x01b\r\n\r\n{HELLO}")).await;
    let (response, heard) = fetch_hearing(&scripted.origin()).await;
    let error = response.err().unwrap();
    assert!(matches!(error, OriginError::Malformed { .. }), "{error}");
    assert_eq!(heard, []);
}

/// RFC 9110 section 10.1.1.
#[tokio::test]
async fn a_body_is_asked_for_when_the_origin_has_said_so() {
    let client = Client::default();
    let watched = client.clone();
    let scripted = Scripted::start(move |mut visitor, _| {
        let watched = watched.clone();
        async move {
            let request = visitor.request().await.unwrap().to_lowercase();
            assert!(request.contains("expect: 100-continue\r\n"), "{request}");
            visitor.say(HINTS).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert!(!watched.was_asked(), "the body was asked for too early");
            visitor.say("HTTP/1.1 100 Continue\r\n\r\n").await;
            visitor.until(b"hello").await.unwrap();
            visitor.say(HELLO).await;
        }
    })
    .await;
    let response = scripted.origin().exchange(post(), client.clone()).await.unwrap();
    assert_eq!(whole(response).await.unwrap(), "hello");
    assert!(client.was_asked());
    assert_eq!(client.heard(), [interim(103, &[("link", "</a>")])]);
}

/// RFC 9110 section 10.1.1: the connection still owes a body, so it carries nothing else.
#[tokio::test]
async fn an_answer_instead_of_a_100_is_passed_on_and_the_body_never_asked_for() {
    let refused = "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno";
    let scripted = Scripted::saying(refused).await;
    let origin = scripted.origin();
    for connections in 1..=2 {
        let client = Client::default();
        let response = origin.exchange(post(), client.clone()).await.unwrap();
        assert_eq!(response.status, StatusCode::EXPECTATION_FAILED);
        assert_eq!(whole(response).await.unwrap(), "no");
        assert!(!client.was_asked());
        assert_eq!(scripted.connections(), connections);
    }
}

/// RFC 9110 section 10.1.1: nobody waits for a 100 for ever.
#[tokio::test]
async fn an_origin_that_knows_no_expectations_is_sent_the_body_after_a_while() {
    let scripted = Scripted::start(|mut visitor, _| async move {
        visitor.until(b"\r\n\r\nhello").await.unwrap();
        visitor.say(HELLO).await;
    })
    .await;
    let origin = open(&config::Config {
        expect_wait: Span::millis(20),
        ..scripted.config()
    });
    let response = origin.exchange(post(), Client::default()).await.unwrap();
    assert_eq!(whole(response).await.unwrap(), "hello");
}

#[tokio::test]
async fn an_origin_that_switches_protocols_instead_of_asking_for_the_body_gives_no_answer() {
    let scripted = Scripted::saying("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n").await;
    let client = Client::default();
    let error = scripted
        .origin()
        .exchange(post(), client.clone())
        .await
        .err()
        .unwrap();
    assert!(matches!(error, OriginError::Malformed { .. }), "{error}");
    assert!(!client.was_asked());
}
