//! Our side: a worker that makes variants as the server does, one thread, and times each.

use crate::jobs::Target;
use crate::sides::{Answer, Hello, Measured, Order, peak_kib};
use aquatint::base::clock;
use aquatint::base::digest::Digest;
use aquatint::image::{self, Context, ImageError, Limits, Made, Stage, Watch};
use serde::Serialize;
use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

const BATCH_MAX: Duration = Duration::from_secs(1);
const RUNS_MIN: usize = 2;

/// Carries out orders until they end.
pub(crate) fn work() -> ExitCode {
    let mut sources = HashMap::new();
    say(&Hello {
        version: format!(
            "aquatint {}, encoder {}",
            env!("CARGO_PKG_VERSION"),
            image::ENCODER
        ),
        idle_kib: peak_kib(),
    });
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("orders are UTF-8");
        let order: Order = serde_json::from_str(&line).expect("orders are of this program");
        say(&carry_out(&order, &mut sources));
    }
    ExitCode::SUCCESS
}

fn say(line: &impl Serialize) {
    let text = serde_json::to_string(line).expect("plain data");
    let mut output = std::io::stdout().lock();
    writeln!(output, "{text}").expect("somebody listens");
    output.flush().expect("somebody listens");
}

fn carry_out(order: &Order, sources: &mut HashMap<PathBuf, Vec<u8>>) -> Answer {
    let read = || std::fs::read(&order.source).expect("sources are readable");
    let source = sources.entry(order.source.clone()).or_insert_with(read);
    match run(order, source) {
        Ok(measured) => Answer::Made(measured),
        Err(error) => Answer::Failed { error },
    }
}

fn run(order: &Order, source: &[u8]) -> Result<Measured, String> {
    let begin = clock::monotonic();
    let mut ns = Vec::new();
    let mut last = Vec::new();
    while ns.len() < order.runs as usize && (ns.len() < RUNS_MIN || begin.elapsed() < BATCH_MAX) {
        let start = clock::monotonic();
        last = variant(source, order.format, order.width)?;
        ns.push(u64::try_from(start.elapsed().as_nanos()).expect("less than centuries"));
    }
    let peak_kib = peak_kib();
    if let Some(file) = &order.output {
        std::fs::write(file, &last).expect("the directory is ours");
    }
    Ok(Measured { ns, peak_kib })
}

fn variant(source: &[u8], format: Target, width: u32) -> Result<Vec<u8>, String> {
    let limits = limits();
    let watermarks = HashMap::new();
    let context = Context {
        limits: &limits,
        // The server knows it before.
        digest: Digest::from_bytes([0; 32]),
        avif_pixels_max: None,
        watermarks: &watermarks,
    };
    let making = image::probe(source, &limits)
        .and_then(|probe| image::make(source, &probe, &format.spec(width), &context, &mut NoLimit));
    match making {
        Ok(Made::Variant(variant)) => Ok(variant.bytes),
        Ok(other) => Err(format!("no variant was made: {other:?}")),
        Err(error) => Err(error.to_string()),
    }
}

/// Wide enough for any animation one wants to measure.
pub(crate) fn limits() -> Limits {
    Limits {
        frames: 1_000,
        animation_pixels: 1_000_000_000,
        ..Limits::default()
    }
}

struct NoLimit;

impl Watch for NoLimit {
    fn done(&mut self, _stage: Stage) -> Result<(), ImageError> {
        Ok(())
    }
}
