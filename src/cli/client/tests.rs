//! The client against whoever answers, over sockets.

use super::*;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

const PATIENCE: Duration = Duration::from_secs(30);

fn in_runtime<T>(work: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap().block_on(work)
}

fn post(body: &[u8]) -> Request<'_> {
    Request {
        method: Method::Post,
        path: "/api/v1/purge",
        headers: vec![("Content-Type", "application/json")],
        body,
        repeat: Repeat::Never,
    }
}

/// What somebody who answers so makes of a request, and what it was sent.
fn asked(answer: &'static [u8], patience: Duration) -> (Result<Response, NoAnswer>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = format!("http://{}/", listener.local_addr().unwrap());
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = vec![0; 4096];
        let mut length = 0;
        while !request[..length].ends_with(b"{}") {
            length += stream.read(&mut request[length..]).unwrap();
        }
        stream.write_all(answer).unwrap();
        if answer.is_empty() {
            assert_eq!(stream.read(&mut [0]).unwrap(), 0, "it hangs up");
        }
        String::from_utf8(request[..length].to_vec()).unwrap()
    });
    let mut client = Client::new(admin.parse().unwrap(), Some("a"));
    let answered = in_runtime(client.ask(&post(b"{}"), patience));
    drop(client);
    (answered, serving.join().unwrap())
}

#[test]
fn an_answer_is_read_to_its_length_and_the_request_says_its_own() {
    let (answer, request) = asked(b"HTTP/1.1 202 Accepted\r\ncontent-length: 3\r\n\r\nyes", PATIENCE);
    let expected = Response {
        status: 202,
        retry_after_s: None,
        body: b"yes".to_vec(),
    };
    assert_eq!(answer.unwrap(), expected);
    assert!(
        request.starts_with("POST /api/v1/purge HTTP/1.1\r\nHost: 127.0.0.1:"),
        "{request}"
    );
    assert!(request.contains("\r\nContent-Length: 2\r\n"), "{request}");
    assert!(request.contains("\r\nAuthorization: Bearer a\r\n"), "{request}");
}

#[test]
fn a_body_in_chunks_is_one_body() {
    let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nyes\r\n2\r\n\r\n\r\n0\r\nA: b\r\n\r\n";
    assert_eq!(asked(answer, PATIENCE).0.unwrap().body, b"yes\r\n");
    let until_close = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\n\r\nyes";
    assert_eq!(asked(until_close, PATIENCE).0.unwrap().body, b"yes");
}

#[test]
fn what_is_cut_short_or_no_http_or_late_is_no_answer() {
    for wrong in [
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nyes".as_slice(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nye",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nyes\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nyes\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nyes",
        b"SSH-2.0-OpenSSH\r\n\r\n",
    ] {
        let (answer, _) = asked(wrong, PATIENCE);
        let Err(NoAnswer::Unheard(cause)) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(cause.kind(), io::ErrorKind::InvalidData);
    }
    let (late, _) = asked(b"", Duration::from_millis(50));
    let Err(NoAnswer::Unheard(cause)) = late else {
        panic!("{late:?}");
    };
    assert_eq!(cause.kind(), io::ErrorKind::TimedOut);
}

#[test]
fn where_nobody_listens_nothing_was_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let mut client = Client::new(admin.parse().unwrap(), None);
    let answer = in_runtime(client.ask(&post(b"{}"), PATIENCE));
    assert!(matches!(answer, Err(NoAnswer::Unsent(_))), "{answer:?}");
}

/// Larger than what sockets hold: some of it is still to be written when the answer comes.
const LARGE: usize = 32 << 20;

#[test]
fn a_refusal_that_hangs_up_on_the_body_is_heard() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = format!("http://{}", listener.local_addr().unwrap());
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 512]).unwrap();
        stream
            .write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
            .unwrap();
        // What has arrived unread makes the system reset the connection.
    });
    let body = vec![b' '; LARGE];
    let mut client = Client::new(admin.parse().unwrap(), None);
    let answer = in_runtime(client.ask(&post(&body), PATIENCE)).unwrap();
    assert_eq!((answer.status, answer.body), (413, b"{}".to_vec()));
    serving.join().unwrap();
}

#[test]
fn who_hangs_up_in_the_middle_of_a_request_can_not_have_carried_it_out() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = format!("http://{}", listener.local_addr().unwrap());
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 512]).unwrap();
    });
    let body = vec![b' '; LARGE];
    let mut client = Client::new(admin.parse().unwrap(), None);
    let answer = in_runtime(client.ask(&post(&body), PATIENCE));
    assert!(matches!(answer, Err(NoAnswer::Unsent(_))), "{answer:?}");
    serving.join().unwrap();
}

#[test]
fn a_request_that_is_never_taken_ends_at_its_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = format!("http://{}", listener.local_addr().unwrap());
    let body = vec![b' '; LARGE];
    let mut client = Client::new(admin.parse().unwrap(), None);
    // Nobody accepts: the system takes some of it, and no more.
    let answer = in_runtime(client.ask(&post(&body), Duration::from_millis(100)));
    let Err(NoAnswer::Unsent(cause)) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(cause.kind(), io::ErrorKind::TimedOut);
}

#[test]
fn a_refusal_of_a_stream_that_has_no_end_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = format!("http://{}", listener.local_addr().unwrap());
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream
            .write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\n{")
            .unwrap();
        // To the client's end.
        stream.read_to_end(&mut Vec::new()).unwrap();
    });
    let mut client = Client::new(admin.parse().unwrap(), None);
    let refusal = in_runtime(async {
        let streaming = client.stream(&post(b"{}"), PATIENCE).await.unwrap();
        streaming.whole(Duration::from_millis(100)).await
    });
    assert_eq!(refusal.unwrap_err().kind(), io::ErrorKind::TimedOut);
    serving.join().unwrap();
}

/// Answers each request on the connections it accepts, as many on each as `counts` says.
fn answering(counts: &'static [usize]) -> (String, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = format!("http://{}", listener.local_addr().unwrap());
    let serving = thread::spawn(move || {
        for count in counts {
            let (mut stream, _) = listener.accept().unwrap();
            for _ in 0..*count {
                let mut request = Vec::new();
                while !request.ends_with(b"{}") {
                    let mut piece = [0; 1024];
                    let length = stream.read(&mut piece).unwrap();
                    request.extend_from_slice(&piece[..length]);
                }
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                    .unwrap();
            }
        }
    });
    (admin, serving)
}

#[test]
fn a_connection_is_kept_and_one_that_has_ended_is_replaced() {
    let (admin, serving) = answering(&[2, 1]);
    let mut client = Client::new(admin.parse().unwrap(), None);
    in_runtime(async {
        for _ in 0..3 {
            let request = Request {
                repeat: Repeat::Harmless,
                ..post(b"{}")
            };
            assert_eq!(client.ask(&request, PATIENCE).await.unwrap().status, 200);
        }
    });
    serving.join().unwrap();
}

#[test]
fn an_address_is_http_with_a_port() {
    for (text, shown) in [
        ("http://127.0.0.1:9090", "http://127.0.0.1:9090"),
        ("http://edge-1.example:80/", "http://edge-1.example:80"),
        ("http://[::1]:9090", "http://[::1]:9090"),
    ] {
        assert_eq!(text.parse::<Admin>().unwrap().to_string(), shown);
    }
    for wrong in [
        "",
        "127.0.0.1:9090",
        "https://a:1",
        "http://a",
        "http://:1",
        "http://a b:1",
        "http://a:b",
    ] {
        assert!(wrong.parse::<Admin>().is_err(), "{wrong}");
    }
}
