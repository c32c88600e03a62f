//! Variants as the server makes them (probe and make): time, bytes, distance from a reference, peak memory.
//!
//! Alone: `cargo bench --bench transform`. Beside sharp: `make bench-images`, which adds `-- --sharp SCRIPT MODULES`.
//! Each side is a process of its own that is kept alive, takes orders as lines of JSON and times itself; this one
//! gives the orders, in interleaved rounds, and judges what comes out of both with the same decoders and the same
//! measure. Nothing here asserts a time; beside sharp, a missed goal is the exit status 1.
//!
//! Variables: IMAGES (a directory of photos; see `sources.rs`), ROUNDS (5), RUNS (of a round, 11), JOBS (names, by
//! commas; all).

#[path = "transform/decode.rs"]
mod decode;
#[path = "transform/distance.rs"]
mod distance;
#[path = "transform/jobs.rs"]
mod jobs;
#[path = "transform/judge.rs"]
mod judge;
#[path = "transform/ours.rs"]
mod ours;
#[path = "transform/reference.rs"]
mod reference;
#[path = "transform/rounds.rs"]
mod rounds;
#[path = "transform/sides.rs"]
mod sides;
#[path = "transform/sources.rs"]
mod sources;
#[path = "transform/synthetic.rs"]
mod synthetic;
#[path = "transform/table.rs"]
mod table;

use rounds::Scale;
use sides::Sides;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

/// The server's own: time and memory depend on it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let sides = match words[..] {
        [sides::WORKER] => return ours::work(),
        [] => Sides::alone(),
        ["--sharp", script, modules] => Sides::beside_sharp(script.into(), modules.into()),
        _ => {
            eprintln_usage();
            return ExitCode::from(64);
        }
    };
    compare(&sides)
}

fn compare(sides: &Sides) -> ExitCode {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("transform");
    let sources = sources::prepare(&directory, std::env::var_os("IMAGES").map(PathBuf::from));
    let wanted: String = variable("JOBS", String::new());
    let jobs = jobs::named(&wanted);
    let scale = Scale {
        rounds: variable("ROUNDS", 5),
        runs: variable("RUNS", 11),
    };
    let rows = rounds::measure(sides, &sources, &jobs, &scale);
    table::print(&rows, sides, &sources, &scale);
    let missed = rows.iter().any(|row| !row.missed().is_empty());
    ExitCode::from(u8::from(missed))
}

fn variable<T: FromStr>(name: &str, default: T) -> T {
    let Some(text) = std::env::var(name).ok().filter(|text| !text.is_empty()) else {
        return default;
    };
    text.parse()
        .unwrap_or_else(|_| panic!("{name}={text}: is none it can have"))
}

#[expect(clippy::print_stderr, reason = "a program's usage")]
fn eprintln_usage() {
    eprintln!("usage: cargo bench --bench transform [-- --sharp SCRIPT MODULES]");
}
