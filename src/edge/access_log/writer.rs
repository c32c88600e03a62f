//! The writer's thread: it takes lines from the buffers, counts and formats them, and hands them to who follows and to
//! the file.
//!
//! Invariant: a line is formatted for the one output that was in force when it was taken, so that at a change none is lost,
//! doubled or torn. While something is written nothing is locked. It does not know who answered the requests.

use super::Shared;
use super::config::{Format, ShownQuery};
use super::dice::Dice;
use super::format;
use super::line::{self, Line};
use super::live::Followers;
use super::output::{Output, Plan};
use super::shown::Shown;
use super::text::Dates;
use super::top::Tops;
use crate::base::clock;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

/// How long a line waits for its writer, at most, when little happens.
const INTERVAL: Duration = Duration::from_millis(100);

/// Lines that are formatted before they are written.
const PIECE_LINES: usize = 256;

pub(super) struct Writer {
    shared: Arc<Shared>,
    output: Option<Output<File>>,
    manner: Manner,
    lines: Vec<u8>,
}

/// How lines are formatted, and where.
struct Manner {
    format: Format,
    query: ShownQuery,
    sample: f64,
    dice: Dice,
    dates: Dates,
    shown_query: Vec<u8>,
    scratch: Vec<u8>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, plan: Plan) -> Self {
        let mut writer = Writer {
            output: None,
            manner: Manner {
                format: plan.format,
                query: plan.query,
                sample: plan.sample,
                dice: Dice::new(),
                dates: Dates::default(),
                shown_query: Vec::new(),
                scratch: Vec::new(),
            },
            lines: Vec::new(),
            shared,
        };
        writer.adopt(plan);
        writer
    }

    /// Writes until the log is closed.
    pub(super) fn run(mut self) {
        let shared = self.shared.clone();
        let mut spare = Vec::new();
        loop {
            let closing = shared.shards.is_closing();
            self.adopt_what_is_planned();
            shared.top.lock().tick(clock::monotonic());
            shared.shards.drain(&mut spare, |packed| {
                if self.output.is_none() {
                    // Lines may have come since the plan did, and because of it.
                    self.adopt_what_is_planned();
                }
                self.take(packed);
            });
            if closing {
                return;
            }
            std::thread::park_timeout(INTERVAL);
        }
    }

    fn adopt_what_is_planned(&mut self) {
        let plan = self.shared.plan.lock().take();
        if let Some(plan) = plan {
            self.adopt(plan);
        }
    }

    fn adopt(&mut self, plan: Plan) {
        self.output = plan.to.map(|to| Output::new(to, self.shared.metrics.clone()));
        self.manner.format = plan.format;
        self.manner.query = plan.query;
        self.manner.sample = plan.sample;
    }

    fn take(&mut self, mut packed: &[u8]) {
        while !packed.is_empty() {
            self.take_piece(&mut packed);
            if let Some(output) = &mut self.output {
                output.write(&self.lines);
            }
            self.lines.clear();
        }
    }

    fn take_piece(&mut self, packed: &mut &[u8]) {
        let shared = self.shared.clone();
        let (followers, mut top) = (shared.followers.lock(), shared.top.lock());
        for _ in 0..PIECE_LINES {
            let Some(line) = line::unpack(packed) else {
                // Nothing is left: only whole lines are ever packed.
                *packed = &[];
                break;
            };
            self.take_line(&line, &followers, &mut top);
        }
        followers.wake();
    }

    fn take_line(&mut self, line: &Line<'_>, followers: &Followers, top: &mut Tops) {
        let manner = &mut self.manner;
        let is_written = self.output.is_some() && manner.chooses(line);
        let (is_followed, is_counted) = (followers.len() > 0, top.draws());
        let query = match (is_written || is_followed, is_counted) {
            (false, false) => return,
            (false, true) => ShownQuery::None,
            (true, _) => manner.query,
        };
        let shown = Shown::of(line, query, &mut manner.shown_query);
        if is_counted {
            top.count(&shown);
        }
        if is_followed {
            followers.tell(&shown, &mut manner.dates, &mut manner.scratch);
        }
        if is_written {
            format::push(&mut self.lines, manner.format, &mut manner.dates, &shown);
        }
    }
}

impl Manner {
    /// What failed is always written.
    fn chooses(&mut self, line: &Line<'_>) -> bool {
        line.status >= 500 || self.dice.falls_within(self.sample)
    }
}

impl Drop for Writer {
    /// Also when it dies: nobody waits for lines that never come.
    fn drop(&mut self) {
        self.shared.followers.lock().close();
    }
}
