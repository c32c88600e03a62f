//! Requests with a body.

use super::*;
use crate::base::metrics::Metrics;
use crate::upstream::scripted::{Scripted, asking, whole};
use crate::upstream::{BodyGone, Origin, OriginRequest};
use bytes::Bytes;
use http::{Method, StatusCode};
use std::collections::VecDeque;
use tokio::sync::mpsc;

/// Yields its parts, then ends as it is told to.
struct Parts {
    parts: VecDeque<&'static str>,
    end: End,
}

enum End {
    Clean,
    Gone,
    /// The client sends no more, but does not end either.
    Never,
}

impl RequestBody for Parts {
    async fn next(&mut self) -> Result<Option<Bytes>, BodyGone> {
        match (self.parts.pop_front(), &self.end) {
            (Some(part), _) => Ok(Some(part.into())),
            (None, End::Clean) => Ok(None),
            (None, End::Gone) => Err(BodyGone),
            (None, End::Never) => std::future::pending().await,
        }
    }
}

fn parts(parts: &[&'static str], end: End) -> Parts {
    Parts {
        parts: parts.iter().copied().collect(),
        end,
    }
}

fn post(length: Option<&'static str>) -> OriginRequest {
    let mut request = asking(Method::POST, "/");
    if let Some(length) = length {
        request.headers.insert("content-length", length.parse().unwrap());
    }
    request
}

/// A client that takes its time before it sends what it has.
struct Slow(Parts);

const PAUSE: Duration = Duration::from_millis(50);

impl RequestBody for Slow {
    async fn next(&mut self) -> Result<Option<Bytes>, BodyGone> {
        tokio::time::sleep(PAUSE).await;
        self.0.next().await
    }
}

/// Hands what comes before `mark` to the test, then answers; whether the connection was used again shows in its count.
async fn listening_until(mark: &'static str) -> (Scripted, mpsc::Receiver<String>) {
    let (seen, requests) = mpsc::channel(4);
    let scripted = Scripted::start(move |mut visitor, _| {
        let seen = seen.clone();
        async move {
            while let Some(request) = visitor.until(mark.as_bytes()).await {
                seen.send(request).await.unwrap();
                visitor
                    .say("HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok")
                    .await;
            }
        }
    })
    .await;
    (scripted, requests)
}

#[tokio::test]
async fn a_body_of_known_length_is_sent_as_it_is() {
    let (scripted, mut requests) = listening_until("\r\n\r\nhello world").await;
    let origin = scripted.origin();
    for _ in 0..2 {
        let body = parts(&["hello", "", " world"], End::Clean);
        let response = origin.exchange(post(Some("11")), body).await.unwrap();
        assert_eq!(response.status, StatusCode::CREATED);
        assert_eq!(whole(response).await.unwrap(), "ok");
        assert!(
            requests
                .recv()
                .await
                .unwrap()
                .to_lowercase()
                .contains("content-length: 11\r\n")
        );
    }
    assert_eq!(scripted.connections(), 1);
}

#[tokio::test]
async fn a_body_of_unknown_length_is_sent_in_chunks() {
    let (scripted, mut requests) = listening_until("0\r\n\r\n").await;
    let response = scripted
        .origin()
        .exchange(post(None), parts(&["hello", " world"], End::Clean))
        .await
        .unwrap();
    assert_eq!(response.status, StatusCode::CREATED);
    let request = requests.recv().await.unwrap().to_lowercase();
    assert!(request.contains("transfer-encoding: chunked\r\n"), "{request}");
    assert!(
        request.ends_with("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"),
        "{request}"
    );
}

#[tokio::test]
async fn an_answer_before_the_bodys_end_stops_it_and_its_connection() {
    let (scripted, _requests) = listening_until("\r\n\r\nhello").await;
    let origin = scripted.origin();
    for connections in 1..=2 {
        let response = origin
            .exchange(post(Some("1000000")), parts(&["hello"], End::Never))
            .await
            .unwrap();
        assert_eq!(whole(response).await.unwrap(), "ok");
        assert_eq!(scripted.connections(), connections);
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_not_passed_on_as_whole() {
    let (ended, mut requests) = mpsc::channel(1);
    let scripted = Scripted::start(move |mut visitor, _| {
        let ended = ended.clone();
        async move { ended.send(visitor.until(b"0\r\n\r\n").await).await.unwrap() }
    })
    .await;
    let error = scripted
        .origin()
        .exchange(post(None), parts(&["hello"], End::Gone))
        .await
        .err()
        .unwrap();
    assert!(matches!(error, OriginError::RequestBody), "{error}");
    assert_eq!(error.status(), StatusCode::BAD_REQUEST);
    assert_eq!(
        requests.recv().await.unwrap(),
        None,
        "the origin sees no end of the body"
    );
}

#[tokio::test]
async fn a_body_of_another_length_than_promised_is_not_passed_on() {
    let silent = Scripted::start(|visitor, _| visitor.wait_for_close()).await;
    for body in [&["hel"][..], &["hello world"]] {
        let error = silent
            .origin()
            .exchange(post(Some("5")), parts(body, End::Clean))
            .await
            .err()
            .unwrap();
        assert!(matches!(error, OriginError::RequestBody), "{body:?}: {error}");
    }
}

#[tokio::test]
async fn the_time_to_an_origins_first_byte_has_no_clients_pace_in_it() {
    let all = Metrics::new();
    let metrics = all.of_origin("test");
    let (scripted, _requests) = listening_until("hello").await;
    let origin = Origin::open("test", &scripted.config(), &all).unwrap();
    let body = Slow(parts(&["hello"], End::Clean));
    let response = origin.exchange(post(Some("5")), body).await.unwrap();
    assert_eq!(whole(response).await.unwrap(), "ok");
    // Both end with the answer, or the first before the second; they differ by what the client took.
    let (first_byte, all_of_it) = (
        metrics.first_byte.get_sample_sum(),
        metrics.duration.get_sample_sum(),
    );
    assert!(
        all_of_it - first_byte >= PAUSE.as_secs_f64(),
        "{first_byte} of {all_of_it}"
    );
}
