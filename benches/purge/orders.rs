//! The helper of `benches/purge.sh`: stores objects, orders purges in every number, and measures how long they take.
//!
//!     orders store  EDGE FIRST LAST                  asks for objects once each, and exits 1 unless all are answered 200
//!     orders table  ADMIN ENTRIES                    as many scopes, none of which covers a stored object
//!     orders latency EDGE OBJECTS COUNT              microseconds of each of COUNT webhooks, one after the other
//!     orders prefix EDGE COUNT                       the same, each of the prefix below which all objects are
//!     orders bans   VARNISH COUNT                    the same for bans, none of which covers a stored object
//!     orders steady ADMIN RATE SECONDS               so many purges a second, none of which covers a stored object
//!     orders steady-bans VARNISH RATE SECONDS        the same for bans
//!     orders fsync  DIRECTORY COUNT                  microseconds of each of COUNT writes of 4 KiB that reach the disk
//!     orders configuration                           the `purge` section with its keys
//!
//! It knows the wire alone.

use serde_json::json;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use aquatint::base::clock::{monotonic, now};

const KEY: &str = "key-of-the-benchmark-0123456789abcdef";
const SECRET: &str = "whsec_a2V5LW9mLXRoZS1iZW5jaG1hcmstMDEyMzQ1Njc4OQ==";

/// URLs of one call.
const CALL_URLS: u64 = 10_000;

/// Objects are asked for on so many connections at once.
const CONNECTIONS: u64 = 16;

type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["store", edge, first, last] => number(first).and_then(|first| store(edge, first, number(last)?)),
        ["table", admin, entries] => number(entries).and_then(|entries| table(admin, entries)),
        ["latency", edge, objects, count] => {
            number(objects).and_then(|objects| latency(edge, objects, number(count)?))
        }
        ["prefix", edge, count] => {
            number(count).and_then(|count| webhooks(edge, count, |_| json!({"prefixes": ["bench/o"]})))
        }
        ["bans", varnish, count] => number(count).and_then(|count| bans(varnish, count)),
        ["steady", admin, rate, seconds] => paced(admin, rate, seconds, |at| call(&elsewhere(&[at]))),
        ["steady-bans", varnish, rate, seconds] => paced(varnish, rate, seconds, ban_request),
        ["fsync", directory, count] => number(count).and_then(|count| fsync(directory, count)),
        ["configuration"] => configuration(),
        _ => Err("see the head of orders.rs for what it takes".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(io::stderr(), "orders: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn number(text: &str) -> Result<u64, Box<dyn std::error::Error + Send + Sync>> {
    text.parse().map_err(|_| format!("{text} is no number").into())
}

fn configuration() -> Outcome {
    let hash = blake3::hash(KEY.as_bytes());
    writeln!(
        io::stdout(),
        "keys: {{bench: {{hash: 'blake3:{hash}', scopes: ['purge:all']}}}}, \
         webhooks: {{bench: {{secrets: ['{SECRET}'], scopes: ['purge:all']}}}}"
    )?;
    Ok(())
}

fn store(edge: &str, first: u64, last: u64) -> Outcome {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTIONS)
            .map(|at| {
                scope.spawn(move || -> Outcome {
                    let mut connection = Connection::open(edge)?;
                    for object in (first + at..=last).step_by(CONNECTIONS as usize) {
                        connection.expect(
                            &format!("GET /o/{object}.jpg HTTP/1.1\r\nHost: bench\r\n\r\n"),
                            200,
                        )?;
                    }
                    Ok(())
                })
            })
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| "a connection's thread panicked")?)
    })
}

/// A few of every kind of scope, so that every kind is looked for; URLs for the rest.
fn table(admin: &str, entries: u64) -> Outcome {
    let mut connection = Connection::open(admin)?;
    let few = entries / 100;
    let names =
        |from: u64, text: &dyn Fn(u64) -> String| (from..from + few.min(100)).map(text).collect::<Vec<_>>();
    let kinds = [
        json!({"tags": names(0, &|at| format!("tag-{at}"))}),
        json!({"prefixes": names(0, &|at| format!("bench/none/of/these/p{at}"))}),
        json!({"hosts": names(0, &|at| format!("h{at}.test"))}),
        json!({"exact": true, "files": names(0, &|at| format!("http://bench/exact/{at}.jpg?k=1"))}),
    ];
    for order in &kinds {
        connection.expect(&call(order), 200)?;
    }
    let urls = entries.saturating_sub(4 * few.min(100));
    for from in (0..urls).step_by(CALL_URLS as usize) {
        let call_urls: Vec<u64> = (from..urls.min(from + CALL_URLS)).collect();
        connection.expect(&call(&elsewhere(&call_urls)), 200)?;
    }
    Ok(())
}

/// URLs at which nothing is stored.
fn elsewhere(numbers: &[u64]) -> serde_json::Value {
    let urls: Vec<_> = numbers
        .iter()
        .map(|at| format!("http://bench/none/{at}.jpg"))
        .collect();
    json!({ "files": urls })
}

fn call(order: &serde_json::Value) -> String {
    let body = order.to_string();
    format!(
        "POST /api/v1/purge HTTP/1.1\r\nHost: admin\r\nAuthorization: Bearer {KEY}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Each purges an object that may be stored.
fn latency(edge: &str, objects: u64, count: u64) -> Outcome {
    webhooks(
        edge,
        count,
        |at| json!({"files": [format!("http://bench/o/{}.jpg", at * 7919 % objects + 1)]}),
    )
}

/// From a webhook's first byte to its receipt's last, on one connection.
fn webhooks(edge: &str, count: u64, order: impl Fn(u64) -> serde_json::Value) -> Outcome {
    let signer = standardwebhooks::Webhook::new(SECRET)?;
    let mut connection = Connection::open(edge)?;
    let run = now().as_millis();
    measured(count, |at| {
        let body = json!({
            "type": "purge",
            "timestamp": humantime::format_rfc3339_seconds(now().as_system_time()).to_string(),
            "data": order(at),
        });
        let (body, id, at) = (body.to_string(), format!("msg_{run}_{at}"), now().as_secs());
        let signature = signer.sign(&id, at as i64, body.as_bytes())?;
        let request = format!(
            "POST /.aquatint/webhooks/purge HTTP/1.1\r\nHost: bench\r\nwebhook-id: {id}\r\nwebhook-timestamp: {at}\r\n\
             webhook-signature: {signature}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let began = monotonic();
        connection.expect(&request, 200)?;
        Ok(monotonic() - began)
    })
}

fn bans(varnish: &str, count: u64) -> Outcome {
    let mut connection = Connection::open(varnish)?;
    measured(count, |at| {
        let began = monotonic();
        connection.expect(&ban_request(at), 200)?;
        Ok(monotonic() - began)
    })
}

fn ban_request(at: u64) -> String {
    format!("BAN /none/{at}.jpg HTTP/1.1\r\nHost: bench\r\n\r\n")
}

/// Each at its time, whatever the one before took.
fn paced(to: &str, rate: &str, seconds: &str, order: impl Fn(u64) -> String) -> Outcome {
    let mut connection = Connection::open(to)?;
    let (rate, seconds) = (number(rate)?, number(seconds)?);
    let began = monotonic();
    // Above those that `table` names.
    let first = now().as_millis();
    for at in 0..rate * seconds {
        let due = began + Duration::from_secs(1) * at as u32 / rate as u32;
        thread::sleep(due.saturating_duration_since(monotonic()));
        connection.expect(&order(first + at), 200)?;
    }
    Ok(())
}

fn fsync(directory: &str, count: u64) -> Outcome {
    let path = std::path::Path::new(directory).join("fsync");
    let mut file = File::create(&path)?;
    measured(count, |_| {
        let began = monotonic();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        Ok(monotonic() - began)
    })
}

/// Prints each duration in microseconds, one a line.
fn measured(
    count: u64,
    mut one: impl FnMut(u64) -> Result<Duration, Box<dyn std::error::Error + Send + Sync>>,
) -> Outcome {
    let mut lines = String::new();
    for at in 0..count {
        lines += &format!("{}\n", one(at)?.as_micros());
    }
    io::stdout().write_all(lines.as_bytes())?;
    Ok(())
}

struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(address: &str) -> io::Result<Connection> {
        let socket = TcpStream::connect(address.trim_start_matches("http://"))?;
        socket.set_nodelay(true)?;
        Ok(Connection(BufReader::with_capacity(64 << 10, socket)))
    }

    /// Sends a request, and reads its answer to the end.
    fn expect(&mut self, request: &str, status: u16) -> Outcome {
        self.0.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let said = line.get(9..12).and_then(|code| code.parse::<u16>().ok());
        let mut length = 0;
        loop {
            let mut header = String::new();
            if self.0.read_line(&mut header)? == 0 {
                return Err("the connection ended within an answer".into());
            }
            if header.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = header.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse()?;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        if said == Some(status) {
            return Ok(());
        }
        let begins = &request[..request.len().min(60)];
        let body = String::from_utf8_lossy(&body);
        Err(format!("{begins:?} was answered {} {body}", line.trim()).into())
    }
}
