//! Everything that can happen to a request, over and over: the series that panels show move.
//!
//! Whether it does is told by [`OUTCOMES`]; a test asserts that each of them has come about.

use crate::support::http2::Http2;
use crate::support::image::{Image, Kind};
use crate::support::purging::KEY;
use crate::support::{Certificate, Client, Edge, HOST, Origin, Reply, Setup, picture, request};
use std::time::Duration;

pub(crate) const OUTCOMES: [&str; 10] = [
    "hit_memory",
    "hit_ssd",
    "stale",
    "revalidated",
    "miss",
    "coalesced",
    "bypass",
    "refused",
    "error",
    "purge",
];

/// More than memory holds, so that some come from the SSD.
const GALLERY: usize = 16;

/// Long enough for a second request to come while the first is under way.
const BREATH: Duration = Duration::from_millis(5);

/// An edge with both tiers and TLS, and its origin.
pub(crate) struct Site {
    pub(crate) edge: Edge,
    certificate: Certificate,
    /// Lives as long as the edge asks it.
    _origin: Origin,
}

impl Site {
    pub(crate) fn open() -> Site {
        let origin = origin();
        let certificate = Certificate::new();
        let setup = Setup::of(&origin).with_ssd().with_key().with_tls(&certificate);
        let edge = setup.store("memory", "8MiB").store("shards", "1").start();
        Site {
            edge,
            certificate,
            _origin: origin,
        }
    }

    /// A little of each.
    pub(crate) fn round(&self, number: usize) {
        self.look();
        self.look_into_the_gallery(number);
        self.share();
        self.make_a_variant(number);
        self.send_what_is_no_look_up();
        self.use_other_protocols();
    }

    fn look(&self) {
        for target in [
            "/plain.png",
            "/plain.png",
            "/stale.png",
            "/checked.png",
            "/sorry.png",
            "/broken.png",
        ] {
            self.edge.get(target);
        }
    }

    fn look_into_the_gallery(&self, number: usize) {
        for n in 0..4 {
            self.edge.get(&gallery((4 * number + n) % GALLERY));
        }
    }

    /// What has just been purged is a miss for the first, and shared by the second.
    fn share(&self) {
        self.edge
            .purge(&format!("{{\"files\": [\"http://{HOST}/slow.png\"]}}"));
        let mut clients = [
            Client::connect(self.edge.address()),
            Client::connect(self.edge.address()),
        ];
        for client in &mut clients {
            client.send_request("GET", "/slow.png", &[]);
        }
        for client in &mut clients {
            client.answer();
        }
    }

    fn make_a_variant(&self, number: usize) {
        let (brighter, sharper) = (number % 50, number / 50 % 10);
        self.edge.get(&format!(
            "/picture.png?w=64&fm=webp&bri={brighter}&sharpen={sharper}"
        ));
    }

    fn send_what_is_no_look_up(&self) {
        let mut client = Client::connect(self.edge.address());
        client.send(format!(
            "POST /form HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 4\r\n\r\nform"
        ));
        client.answer();
        self.edge.get(&format!("/{}", "long".repeat(3000)));
        let key = format!("Bearer {KEY}");
        request(
            self.edge.address(),
            "PURGE",
            "/plain.png",
            &[("Authorization", &key)],
        );
    }

    fn use_other_protocols(&self) {
        Http2::connect(self.edge.address()).get("/plain.png");
        Http2::connect_tls(self.edge.tls_address(), &self.certificate).get("/plain.png");
        Client::connect_tls(self.edge.tls_address(), &self.certificate).get("/plain.png");
    }
}

fn origin() -> Origin {
    let origin = Origin::with("/plain.png", Reply::fresh(picture(1, 20_000)));
    let stale = Reply::of(picture(2, 5000)).header("cache-control", "max-age=1, stale-while-revalidate=600");
    origin.set("/stale.png", stale);
    origin.set_with("/checked.png", |asked, _| {
        let reply = match asked.has("if-none-match") {
            true => Reply::of("").status(304),
            false => Reply::of(picture(3, 5000)),
        };
        reply.header("etag", "\"a\"").header("cache-control", "no-cache")
    });
    origin.set("/sorry.png", Reply::of("sorry").status(503));
    origin.set("/broken.png", Reply::hang_up());
    origin.set(
        "/slow.png",
        Reply::fresh(picture(4, 4000)).trickling(1000, BREATH),
    );
    let kind = Kind::Png;
    let small = kind.encode(&Image::sample(160, 120));
    origin.set("/picture.png", Reply::image(kind, small));
    for n in 0..GALLERY {
        origin.set(&gallery(n), Reply::fresh(picture(100 + n as u64, 900_000)));
    }
    origin
}

fn gallery(n: usize) -> String {
    format!("/gallery-{n}.png")
}
