//! The rounds: first what each side makes is judged, then both are timed in turn, round after round, then each job is
//! done once more in a fresh process for its memory.

use crate::jobs::{Job, Target};
use crate::judge::{Judge, Worth};
use crate::sides::{Order, Sides, Worker, output_file};
use crate::sources::Sources;
use serde_json::{Value, json};
use std::fs;

/// AVIF has to be this many times as fast as what sharp needs for the same quality.
const AVIF_TIMES: f64 = 2.0;
/// What counts as no more bytes, and as no worse: files and measures differ by that much for no reason one can see.
const BYTES_TIMES: f64 = 1.02;
const DISSIMILARITY_TIMES: f64 = 1.02;
const DISSIMILARITY_MORE: f64 = 0.000_02;
/// Effort 0 is the least sharp can be asked for, 4 its default.
const EFFORTS: [u8; 5] = [0, 1, 2, 3, 4];
const CHROMA: [&str; 2] = ["4:2:0", "4:4:4"];
const RUNS_OF_SEARCH: u32 = 3;

pub(crate) struct Scale {
    pub(crate) rounds: u32,
    pub(crate) runs: u32,
}

/// A job, and what our side's result is compared with.
pub(crate) struct Row {
    pub(crate) job: &'static Job,
    pub(crate) ours: Result<Figures, String>,
    pub(crate) sharp: Option<(Setting, Result<Figures, String>)>,
    /// Sharp's time by ours, of each round.
    ratios: Vec<f64>,
}

pub(crate) struct Figures {
    pub(crate) worth: Worth,
    /// The median of each round, in milliseconds.
    pub(crate) rounds: Vec<f64>,
    pub(crate) peak_kib: u64,
}

/// How sharp does a job.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Setting {
    /// As the server does by default: format, quality, chroma.
    Alike(Value),
    /// AVIF as sharp does by default, at another quality than ours.
    Default,
    /// Of all AVIF settings that look as good as ours, the one that took the least time.
    Fastest(Value),
    /// AVIF of which no setting that was searched looks as good as ours.
    NoneAsGood,
}

pub(crate) fn measure(sides: &Sides, sources: &Sources, jobs: &[&'static Job], scale: &Scale) -> Vec<Row> {
    let mut pair = Pair {
        ours: sides.start_ours(),
        sharp: sides.start_sharp(),
        sources,
    };
    let mut rows = Vec::new();
    let mut judge = Judge::new(sources);
    for job in jobs {
        note(&format!("judging {}", job.title));
        rows.extend(pair.rows(job, &mut judge));
    }
    for round in 0..scale.rounds {
        note(&format!("round {} of {}", round + 1, scale.rounds));
        for row in &mut rows {
            pair.time(row, round, scale.runs);
        }
    }
    drop(pair);
    note("memory, in fresh processes");
    for row in &mut rows {
        weigh(row, sides, sources);
    }
    rows
}

#[expect(clippy::print_stderr, reason = "progress; the result is on the other stream")]
fn note(text: &str) {
    eprintln!("{text}");
}

struct Pair<'a> {
    ours: Worker,
    sharp: Option<Worker>,
    sources: &'a Sources,
}

impl Pair<'_> {
    fn rows(&mut self, job: &'static Job, judge: &mut Judge<'_>) -> Vec<Row> {
        let mut settings = match (&self.sharp, job.format) {
            (None, _) => vec![None],
            (Some(_), Target::Avif) => vec![Some(Setting::Default)],
            (Some(_), _) => vec![Some(Setting::Alike(job.format.sharp_options()))],
        };
        let ours = self.try_ours(job, judge);
        if let (Target::Avif, Some(_), Ok(ours)) = (job.format, &self.sharp, &ours) {
            let fastest = self.fastest(job, judge, ours.dissimilarity);
            settings.push(Some(fastest.unwrap_or(Setting::NoneAsGood)));
        }
        let row = |setting: Option<Setting>| Row {
            job,
            ours: ours.clone().map(Figures::new),
            sharp: setting.map(|setting| {
                let worth = match setting {
                    Setting::NoneAsGood => Err("no setting of its is as good as ours".to_owned()),
                    _ => self.try_sharp(job, judge, &setting.options()),
                };
                (setting, worth.map(|(worth, _)| Figures::new(worth)))
            }),
            ratios: Vec::new(),
        };
        settings.into_iter().map(row).collect()
    }

    fn try_ours(&mut self, job: &Job, judge: &mut Judge<'_>) -> Result<Worth, String> {
        let order = order(job, self.sources, &Value::Null, 1);
        let (worth, _) = attempt(&mut self.ours, "aquatint", &order, (job, judge, self.sources))?;
        Ok(worth)
    }

    fn try_sharp(
        &mut self,
        job: &Job,
        judge: &mut Judge<'_>,
        options: &Value,
    ) -> Result<(Worth, f64), String> {
        let order = order(job, self.sources, options, RUNS_OF_SEARCH);
        let sharp = self.sharp.as_mut().expect("asked for only where there is one");
        attempt(sharp, "sharp", &order, (job, judge, self.sources))
    }

    /// For each effort and chroma the lowest quality that is no further from the reference than `dissimilarity`; of
    /// these the fastest.
    fn fastest(&mut self, job: &Job, judge: &mut Judge<'_>, dissimilarity: f64) -> Option<Setting> {
        let mut best: Option<(f64, Value)> = None;
        for effort in EFFORTS {
            for chroma in CHROMA {
                let found = self.lowest(job, judge, dissimilarity, (effort, chroma));
                best = best.into_iter().chain(found).min_by(|a, b| a.0.total_cmp(&b.0));
            }
        }
        best.map(|(_, options)| Setting::Fastest(options))
    }

    fn lowest(
        &mut self,
        job: &Job,
        judge: &mut Judge<'_>,
        dissimilarity: f64,
        (effort, chroma): (u8, &str),
    ) -> Option<(f64, Value)> {
        let (mut too_low, mut good, mut found) = (20, 96, None);
        while good - too_low > 1 {
            let quality = (too_low + good) / 2;
            let options = json!({ "quality": quality, "effort": effort, "chromaSubsampling": chroma });
            let (worth, ms) = self.try_sharp(job, judge, &options).ok()?;
            if worth.dissimilarity <= dissimilarity {
                (good, found) = (quality, Some((ms, options)));
            } else {
                too_low = quality;
            }
        }
        found
    }

    /// Who begins changes from round to round.
    fn time(&mut self, row: &mut Row, round: u32, runs: u32) {
        let Row {
            job,
            ours,
            sharp,
            ratios,
        } = row;
        let Ok(ours) = ours else { return };
        let ours_order = order(job, self.sources, &Value::Null, runs);
        let Some((setting, Ok(sharp))) = sharp else {
            ours.rounds.extend(milliseconds(&mut self.ours, &ours_order));
            return;
        };
        let sharp_order = order(job, self.sources, &setting.options(), runs);
        let side = self.sharp.as_mut().expect("it has made something");
        let (our_ms, sharp_ms) = if round.is_multiple_of(2) {
            let our_ms = milliseconds(&mut self.ours, &ours_order);
            (our_ms, milliseconds(side, &sharp_order))
        } else {
            let sharp_ms = milliseconds(side, &sharp_order);
            (milliseconds(&mut self.ours, &ours_order), sharp_ms)
        };
        ratios.extend(our_ms.zip(sharp_ms).map(|(our_ms, sharp_ms)| sharp_ms / our_ms));
        ours.rounds.extend(our_ms);
        sharp.rounds.extend(sharp_ms);
    }
}

fn order(job: &Job, sources: &Sources, options: &Value, runs: u32) -> Order {
    Order {
        source: sources.file(job.source),
        width: job.width,
        format: job.format,
        options: options.clone(),
        runs,
        output: None,
    }
}

/// What a side's output is worth, and how many milliseconds it took.
fn attempt(
    side: &mut Worker,
    name: &str,
    order: &Order,
    (job, judge, sources): (&Job, &mut Judge<'_>, &Sources),
) -> Result<(Worth, f64), String> {
    let file = output_file(sources.directory(), name);
    let order = Order {
        output: Some(file.clone()),
        ..order.clone()
    };
    let mut measured = side.ask(&order)?;
    let output = fs::read(&file).expect("the side has written it");
    Ok((judge.worth(job, &output), median_ms(&mut measured.ns)))
}

fn milliseconds(side: &mut Worker, order: &Order) -> Option<f64> {
    let mut measured = side.ask(order).ok()?;
    Some(median_ms(&mut measured.ns))
}

fn median_ms(ns: &mut [u64]) -> f64 {
    ns.sort_unstable();
    ns[ns.len() / 2] as f64 / 1e6
}

fn weigh(row: &mut Row, sides: &Sides, sources: &Sources) {
    if let Ok(ours) = &mut row.ours {
        let order = order(row.job, sources, &Value::Null, 1);
        ours.peak_kib = sides
            .start_ours()
            .ask(&order)
            .map_or(0, |measured| measured.peak_kib);
    }
    if let Some((setting, Ok(sharp))) = &mut row.sharp {
        let order = order(row.job, sources, &setting.options(), 1);
        let measured = sides.start_sharp().map(|mut side| side.ask(&order));
        sharp.peak_kib = measured
            .and_then(Result::ok)
            .map_or(0, |measured| measured.peak_kib);
    }
}

impl Figures {
    fn new(worth: Worth) -> Figures {
        Figures {
            worth,
            rounds: Vec::new(),
            peak_kib: 0,
        }
    }

    pub(crate) fn ms(&self) -> f64 {
        median(&self.rounds)
    }
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

impl Setting {
    pub(crate) fn options(&self) -> Value {
        match self {
            Setting::Alike(options) | Setting::Fastest(options) => options.clone(),
            Setting::Default | Setting::NoneAsGood => json!({}),
        }
    }
}

impl Row {
    /// How many times as long sharp took: the median of the rounds, each of which is a pair.
    pub(crate) fn ratio(&self) -> f64 {
        median(&self.ratios)
    }

    /// The goals that were not reached. Bytes and quality are goals where both sides have the same settings; where
    /// sharp's were searched to look like ours, time and bytes are; sharp's own defaults are told for their time.
    pub(crate) fn missed(&self) -> Vec<&'static str> {
        let ours = match &self.ours {
            Ok(ours) => ours,
            Err(_) => return vec!["variant"],
        };
        let (setting, sharp) = match &self.sharp {
            None => return Vec::new(),
            // A goal that nothing was compared with is not reached.
            Some((_, Err(_))) => return vec!["sharp"],
            Some((setting, Ok(sharp))) => (setting, sharp),
        };
        let times = if matches!(setting, Setting::Fastest(_)) {
            AVIF_TIMES
        } else {
            1.0
        };
        let bytes_max = sharp.worth.bytes as f64 * BYTES_TIMES;
        let dissimilarity_max = sharp.worth.dissimilarity * DISSIMILARITY_TIMES + DISSIMILARITY_MORE;
        let goals = [
            ("time", self.ratio() > times),
            (
                "bytes",
                *setting == Setting::Default || ours.worth.bytes as f64 <= bytes_max,
            ),
            (
                "DSSIM",
                !matches!(setting, Setting::Alike(_)) || ours.worth.dissimilarity <= dissimilarity_max,
            ),
        ];
        goals
            .into_iter()
            .filter(|(_, reached)| !reached)
            .map(|(goal, _)| goal)
            .collect()
    }
}
