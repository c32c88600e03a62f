//! Commands that end, and what they said; and the API that they speak.

use super::{Answer, Client, Edge, PATIENCE, Setup};
use serde_json::Value;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::sync_channel;
use std::thread;

const BINARY: &str = env!("CARGO_BIN_EXE_aquatint");

/// A key of the scope `admin`.
pub(crate) const ADMIN_KEY: &str = "aqk_of_the_operators";

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Asserts the exit code, and shows what was said when it is wrong.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Ran {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Each line an object.
    #[track_caller]
    pub(crate) fn lines(&self) -> Vec<Value> {
        let line = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.stdout.lines().map(line).collect()
    }
}

/// Without a key of the surroundings, and without a terminal.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command
        .args(arguments)
        .env_remove("AQUATINT_KEY")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

#[track_caller]
pub(crate) fn ran(mut command: Command, stdin: &'static str) -> Ran {
    if !stdin.is_empty() {
        command.stdin(Stdio::piped());
    }
    let mut child = command.spawn().unwrap();
    let input = child.stdin.take();
    let (sender, receiver) = sync_channel::<Output>(1);
    thread::spawn(move || {
        if let Some(mut input) = input {
            // It may have ended without reading all.
            input.write_all(stdin.as_bytes()).ok();
        }
        sender.send(child.wait_with_output().unwrap()).ok();
    });
    let output = receiver.recv_timeout(PATIENCE * 10).expect("the command ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

impl Setup {
    /// Lets operators in from anywhere by [`ADMIN_KEY`].
    pub(crate) fn with_admin_key(self) -> Setup {
        let hash = blake3::hash(ADMIN_KEY.as_bytes()).to_hex();
        let keys = format!("{{operators: {{hash: 'blake3:{hash}', scopes: ['admin']}}}}");
        self.purge("keys", keys)
    }
}

impl Edge {
    /// A command about this edge; the admin's address is added.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, "")
    }

    #[track_caller]
    pub(crate) fn run_with(&self, arguments: &[&str], stdin: &'static str) -> Ran {
        let admin = self.admin_url();
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--admin", &admin]).collect();
        ran(command(&arguments), stdin)
    }

    pub(crate) fn admin_url(&self) -> String {
        format!("http://{}", self.admin_address())
    }

    /// Whatever comes of it.
    #[track_caller]
    pub(crate) fn api(&self, method: &str, target: &str, body: &str, headers: &[(&str, &str)]) -> Answer {
        let mut text = format!("{method} {target} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| *name == "Host") {
            text += &format!("Host: {}\r\n", self.admin_address());
        }
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        let mut client = Client::connect(self.admin_address());
        client.send(format!("{text}Content-Length: {}\r\n\r\n{body}", body.len()));
        client.try_answer_to(method).unwrap()
    }

    /// What the API tells.
    #[track_caller]
    pub(crate) fn told(&self, method: &str, target: &str, body: &str) -> Value {
        let answer = self.api(method, target, body, &[]);
        assert_eq!(answer.status, 200, "{method} {target} {body}: {answer:?}");
        json_of(&answer)
    }
}

#[track_caller]
pub(crate) fn json_of(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}
