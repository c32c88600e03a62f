//! The harness itself: client against origin, with no edge between.

use crate::support::edge::sum_of;
use crate::support::http2::Http2;
use crate::support::reply::Reply;
use crate::support::{Answer, Certificate, Client, Gate, Origin, Setup, get, get_with, picture, request};
use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

#[test]
fn the_client_reads_every_framing_to_its_end() {
    let body = picture(1, 200_000);
    let origin = Origin::start();
    origin.set("/length", Reply::of(body.clone()));
    origin.set("/chunked", Reply::of(body.clone()).chunked());
    origin.set("/close", Reply::of(body.clone()).until_close());
    for target in ["/length", "/chunked", "/close"] {
        get(origin.address(), target).expect(200, &body);
    }
    let mut connection = Client::connect(origin.address());
    for target in ["/length", "/chunked", "/length"] {
        connection.get(target).expect(200, &body);
    }
    assert_eq!(origin.count("/length"), 3);
    assert_eq!(
        origin.asked("/length")[1].connection,
        origin.last("/length").connection
    );
}

#[test]
fn the_origin_answers_conditions_and_heads_without_a_body() {
    let origin = Origin::with(
        "/a",
        Reply::of("abc")
            .header("etag", "\"1\"")
            .header("last-modified", "then"),
    );
    assert_eq!(
        get_with(origin.address(), "/a", &[("If-None-Match", "\"1\"")]).status,
        304
    );
    assert_eq!(
        get_with(origin.address(), "/a", &[("If-Modified-Since", "then")]).status,
        304
    );
    get_with(origin.address(), "/a", &[("If-None-Match", "\"2\"")]).expect(200, b"abc");
    assert_eq!(
        request(origin.address(), "HEAD", "/a", &[]).said("content-length"),
        "3"
    );
    assert_eq!(get(origin.address(), "/b").status, 404);
}

#[test]
fn the_origin_breaks_off_as_it_is_told() {
    let origin = Origin::start();
    origin.set("/cut", Reply::of(picture(2, 1000)).cut_after(10));
    origin.set("/reset", Reply::of(picture(2, 1000)).reset_after(0));
    origin.set("/long", Reply::of("abc").declaring(4).cut_after(3));
    origin.set("/gone", Reply::hang_up());
    origin.set("/chunked", Reply::of(picture(2, 1000)).chunked().cut_after(10));
    for (target, kind) in [
        ("/cut", ErrorKind::UnexpectedEof),
        ("/reset", ErrorKind::ConnectionReset),
        ("/long", ErrorKind::UnexpectedEof),
        ("/gone", ErrorKind::UnexpectedEof),
        ("/chunked", ErrorKind::UnexpectedEof),
    ] {
        let mut client = Client::connect(origin.address());
        let error = client
            .send_request("GET", target, &[])
            .try_answer_to("GET")
            .unwrap_err();
        assert_eq!(error.kind(), kind, "{target}");
    }
}

#[test]
fn a_gate_holds_the_header_or_the_middle_of_a_body() {
    let (header, middle) = (Gate::closed(), Gate::closed());
    let body = picture(3, 100_000);
    let origin = Origin::start();
    origin.set("/header", Reply::of(body.clone()).header_held_by(&header));
    origin.set("/middle", Reply::of(body.clone()).body_held_by(&middle, 50_000));
    let mut first = Client::connect(origin.address());
    first.send_request("GET", "/header", &[]);
    header.wait_for_held(1);
    assert!(first.is_silent());
    header.open();
    first.answer().expect(200, &body);
    let mut second = Client::connect(origin.address());
    second.send_request("GET", "/middle", &[]).header().unwrap();
    assert_eq!(second.read_exactly(50_000).unwrap(), body[..50_000]);
    assert!(second.is_silent());
    middle.open();
    assert_eq!(second.read_exactly(50_000).unwrap(), body[50_000..]);
}

#[test]
fn the_origin_keeps_bodies_and_closes_idle_connections() {
    let origin = Origin::with("/a", Reply::of("ok").trickling(1, Duration::from_millis(1)));
    let mut client = Client::connect(origin.address());
    client
        .send("POST /a HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc")
        .answer()
        .expect(200, b"ok");
    client.send("POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nde\r\n0\r\n\r\n");
    client.answer().expect(200, b"ok");
    let bodies: Vec<_> = origin.asked("/a").into_iter().map(|asked| asked.body).collect();
    assert_eq!(bodies, [b"abc".to_vec(), b"de".to_vec()]);
    origin.close_idle_connections();
    assert!(client.is_closed());
}

/// An HTTP/2 server that answers so many requests with their own path, over whatever `accept` makes of a socket.
fn echo_over_http2<T, F>(accept: impl FnOnce(tokio::net::TcpStream) -> F + Send + 'static) -> SocketAddr
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    F: Future<Output = T>,
{
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (socket, _) = listener.accept().unwrap();
            socket.set_nonblocking(true).unwrap();
            let transport = accept(tokio::net::TcpStream::from_std(socket).unwrap()).await;
            let mut connection = h2::server::handshake(transport).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let mut body = respond.send_response(http::Response::new(()), false).unwrap();
                body.send_data(request.uri().path().to_owned().into(), true)
                    .unwrap();
            }
        });
    });
    address
}

#[test]
fn the_http2_client_reads_many_streams_in_clear_text_and_tls() {
    let certificate = Certificate::new();
    let acceptor = tokio_rustls::TlsAcceptor::from(certificate.server_config(&[b"h2"]));
    let clear = echo_over_http2(async |socket| socket);
    let tls = echo_over_http2(async move |socket| acceptor.accept(socket).await.unwrap());
    for mut client in [Http2::connect(clear), Http2::connect_tls(tls, &certificate)] {
        client.get("/a").expect(200, b"/a");
        let paths: Vec<_> = (0..20).map(|n| format!("/{n}")).collect();
        for (answer, path) in client.get_all(&paths).iter().zip(&paths) {
            answer.expect(200, path.as_bytes());
        }
    }
}

#[test]
fn a_selector_adds_up_the_series_it_covers() {
    let text = "# HELP x y\nx{a=\"1\",b=\"1\"} 2\nx{a=\"2\",b=\"1\"} 3\nxx 7\ny 5\n";
    assert_eq!(sum_of(text, "x"), Some(5.0));
    assert_eq!(sum_of(text, "x{a=\"2\"}"), Some(3.0));
    assert_eq!(sum_of(text, "x{a=\"3\"}"), None);
    assert_eq!(sum_of(text, "y"), Some(5.0));
}

#[test]
fn a_setup_is_yaml_of_the_sections_it_was_given() {
    let origin = Origin::start();
    let setup = Setup::of(&origin).route("ttl", "{negative: 1s}").with_ssd();
    let yaml: serde_yaml::Value = serde_yaml::from_str(&setup.yaml()).unwrap();
    assert_eq!(yaml["origins"]["default"]["url"], origin.url().as_str());
    assert_eq!(yaml["routes"][0]["ttl"]["negative"], "1s");
    assert_eq!(yaml["store"]["admission"], "always");
}

#[test]
fn cache_status_is_read_by_its_parameters() {
    let answer = |text: &str| Answer {
        status: 200,
        headers: vec![("cache-status".into(), text.into())],
        body: Vec::new(),
    };
    let hit = answer("aquatint; hit; ttl=-3").cache_status();
    assert!(hit.is_hit() && hit.is_stale() && hit.cache == "aquatint");
    let miss = answer("aquatint; fwd=uri-miss; fwd-status=200; stored").cache_status();
    assert!(!miss.is_hit() && miss.has("stored") && !miss.has("collapsed"));
    assert_eq!(
        (miss.forwarded(), miss.value("fwd-status")),
        (Some("uri-miss"), Some("200"))
    );
}
