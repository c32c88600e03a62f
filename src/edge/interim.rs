//! Interim responses on their way to a client (RFC 9110 section 15.2, RFC 8297).
//!
//! Invariant: they reach HTTP/1.1 clients alone, each whole and at once, none after the final header; a client that
//! does not take one in time is sent nothing more. It knows nothing of origins.

use super::connection::Flow;
use crate::serve::Hints;
use crate::upstream::Interim;
use http::{HeaderMap, StatusCode, Version};
use pingora_core::protocols::http::ServerSession;
use pingora_http::ResponseHeader;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

/// The client did not take it; its connection takes nothing more.
#[derive(Debug)]
pub(super) struct NotTaken;

/// Where an engine's hints arrive.
#[expect(
    clippy::disallowed_methods,
    reason = "an origin has a limit on the interim responses of an exchange"
)]
pub(super) fn channel() -> (Hints, UnboundedReceiver<Arc<Interim>>) {
    tokio::sync::mpsc::unbounded_channel()
}

/// Runs `work` to its end and passes on what is hinted meanwhile. What is hinted later can not be heard any more.
pub(super) async fn passing_on<T>(
    session: &mut ServerSession,
    hints: &mut UnboundedReceiver<Arc<Interim>>,
    deadline: Duration,
    work: impl Future<Output = T>,
) -> T {
    let mut work = pin!(work);
    let mut listening = true;
    let done = loop {
        tokio::select! {
            biased;
            Some(interim) = hints.recv() => {
                listening = listening && write(session, &interim, deadline).await.is_ok();
            }
            done = &mut work => break done,
        }
    };
    while listening && let Ok(interim) = hints.try_recv() {
        listening = write(session, &interim, deadline).await.is_ok();
    }
    done
}

/// Writes one interim response, or drops it where the client can not be sent any.
pub(super) async fn write(
    session: &mut ServerSession,
    interim: &Interim,
    deadline: Duration,
) -> Result<(), NotTaken> {
    write_header(session, interim.status, interim.headers.clone(), deadline).await
}

/// Asks for the body that the client holds back (RFC 9110 section 10.1.1).
pub(super) async fn write_continue(session: &mut ServerSession, deadline: Duration) -> Result<(), NotTaken> {
    write_header(session, StatusCode::CONTINUE, HeaderMap::new(), deadline).await
}

async fn write_header(
    session: &mut ServerSession,
    status: StatusCode,
    headers: HeaderMap,
    deadline: Duration,
) -> Result<(), NotTaken> {
    if !can_hear(session) {
        return Ok(());
    }
    let keepalive = session.get_keepalive();
    let written = timeout(deadline, session.write_response_header(header(status, headers))).await;
    // pingora takes any header before the body's end as a reason to close.
    session.set_keepalive(keepalive);
    match written {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => {
            // Part of it may have gone out: what followed would be read as the rest of it.
            if let Some(flow) = session.stream().and_then(Flow::of) {
                flow.break_off();
            }
            Err(NotTaken)
        }
    }
}

/// HTTP/1.0 has no interim responses (RFC 9110 section 15.2). HTTP/2 has, but pingora's server can not send them.
fn can_hear(session: &ServerSession) -> bool {
    session.req_header().version == Version::HTTP_11
}

fn header(status: StatusCode, headers: HeaderMap) -> Box<ResponseHeader> {
    let mut response = http::Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Box::new(ResponseHeader::from(response.into_parts().0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::connection::tests::stream;
    use http::HeaderValue;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio::sync::oneshot;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// A session that has read the header of a request of this version, whose body is still to come, and its client.
    async fn session(version: &str, buffer_bytes: usize) -> (ServerSession, DuplexStream) {
        let (stream, mut client) = stream(buffer_bytes);
        let request = format!("POST / {version}\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
        let mut session = ServerSession::new_http1(stream);
        let (read, written) = tokio::join!(session.read_request(), client.write_all(request.as_bytes()));
        assert!(read.unwrap());
        written.unwrap();
        (session, client)
    }

    fn hint(number: usize) -> Arc<Interim> {
        let link = HeaderValue::from_str(&format!("</{number}>")).unwrap();
        Arc::new(Interim {
            status: StatusCode::EARLY_HINTS,
            headers: HeaderMap::from_iter([(http::header::LINK, link)]),
        })
    }

    async fn read_until(client: &mut DuplexStream, mark: &str) -> String {
        let mut text = String::new();
        while !text.ends_with(mark) {
            let mut byte = [0];
            client.read_exact(&mut byte).await.unwrap();
            text.push(char::from(byte[0]));
        }
        text
    }

    #[tokio::test]
    async fn a_hint_goes_out_at_once_while_the_answer_is_still_worked_on() {
        let (mut session, mut client) = session("HTTP/1.1", 4096).await;
        let (hints, mut hinted) = channel();
        let (seen, work) = oneshot::channel();
        hints.send(hint(1)).unwrap();
        let reading = async {
            let text = read_until(&mut client, "\r\n\r\n").await;
            seen.send(()).unwrap();
            text
        };
        let passing = passing_on(&mut session, &mut hinted, PATIENCE, work);
        let (done, text) = tokio::join!(passing, reading);
        assert!(done.is_ok());
        assert_eq!(
            text.to_lowercase(),
            "http/1.1 103 early hints\r\nlink: </1>\r\n\r\n"
        );
    }

    #[tokio::test]
    async fn hints_that_were_given_before_the_answer_are_written_before_it() {
        let (mut session, mut client) = session("HTTP/1.1", 4096).await;
        let (hints, mut hinted) = channel();
        let work = async { (0..3).for_each(|number| hints.send(hint(number)).unwrap()) };
        passing_on(&mut session, &mut hinted, PATIENCE, work).await;
        drop(session);
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        assert_eq!(text.matches("103 Early Hints").count(), 3, "{text}");
    }

    #[tokio::test]
    async fn a_connection_stays_open_after_a_hint_before_the_bodys_end() {
        let (mut session, _client) = session("HTTP/1.1", 4096).await;
        session.set_keepalive(Some(60));
        write(&mut session, &hint(1), PATIENCE).await.unwrap();
        assert_eq!(session.get_keepalive(), Some(60));
    }

    /// RFC 9110 section 15.2.
    #[tokio::test]
    async fn an_http10_client_is_sent_no_interim_response() {
        let (mut session, mut client) = session("HTTP/1.0", 4096).await;
        write(&mut session, &hint(1), PATIENCE).await.unwrap();
        write_continue(&mut session, PATIENCE).await.unwrap();
        drop(session);
        let mut bytes = Vec::new();
        client.read_to_end(&mut bytes).await.unwrap();
        assert_eq!(bytes, b"");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_holds_the_answer_up_for_one_deadline_and_gets_none() {
        let (mut session, _client) = session("HTTP/1.1", 100).await;
        let (hints, mut hinted) = channel();
        (0..30).for_each(|number| hints.send(hint(number)).unwrap());
        let passing = passing_on(&mut session, &mut hinted, PATIENCE, async { 7 });
        assert_eq!(timeout(PATIENCE * 2, passing).await.unwrap(), 7);
        let answer = session.write_response_header(header(StatusCode::OK, HeaderMap::new()));
        assert!(answer.await.is_err());
    }

    /// RFC 9110 section 15.2: a final response ends the request.
    #[tokio::test]
    async fn nothing_interim_follows_the_final_header() {
        let (mut session, mut client) = session("HTTP/1.1", 4096).await;
        session
            .write_response_header(header(StatusCode::OK, HeaderMap::new()))
            .await
            .unwrap();
        write(&mut session, &hint(1), PATIENCE).await.unwrap();
        drop(session);
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        assert!(!text.contains("103"), "{text}");
    }
}
