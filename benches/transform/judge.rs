//! What an output is worth: its bytes, and its distance from the reference. The same for both sides.

use crate::decode::{Still, decode};
use crate::distance::dissimilarity;
use crate::jobs::Job;
use crate::ours;
use crate::reference::{Facts, Picture, picture, resized};
use crate::sources::{Name, Sources};
use aquatint::image;
use aquatint::spec::Turn;
use std::collections::HashMap;
use std::fs;

/// Of an animation, so many frames are looked at, evenly spread.
const FRAMES_MAX: usize = 12;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Worth {
    pub(crate) bytes: u64,
    pub(crate) dissimilarity: f64,
}

/// Keeps what it has decoded and resized of one source.
pub(crate) struct Judge<'a> {
    sources: &'a Sources,
    source: Option<Source>,
}

struct Source {
    name: Name,
    stills: Vec<Still>,
    facts: Facts,
    /// By width, height and the frame's number.
    references: HashMap<(usize, usize, usize), Picture>,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(sources: &'a Sources) -> Judge<'a> {
        Judge {
            sources,
            source: None,
        }
    }

    pub(crate) fn worth(&mut self, job: &Job, output: &[u8]) -> Worth {
        let source = match self.source.take() {
            Some(source) if source.name == job.source => source,
            _ => Source::open(job.source, self.sources),
        };
        let source = self.source.insert(source);
        Worth {
            bytes: output.len() as u64,
            dissimilarity: source.distance(&decode(output)),
        }
    }
}

impl Source {
    fn open(name: Name, sources: &Sources) -> Source {
        let file = fs::read(sources.file(name)).expect("sources are readable");
        let stills = decode(&file);
        let facts = match image::probe(&file, &ours::limits()) {
            Ok(probe) => Facts {
                turn: probe.turn,
                profile: probe.profile,
            },
            Err(_) => Facts {
                turn: Turn::default(),
                profile: None,
            },
        };
        Source {
            name,
            stills,
            facts,
            references: HashMap::new(),
        }
    }

    /// The mean over the frames that are looked at.
    fn distance(&mut self, output: &[Still]) -> f64 {
        let step = self.stills.len().div_ceil(FRAMES_MAX);
        let numbers: Vec<usize> = (0..self.stills.len()).step_by(step).collect();
        let distances = numbers.iter().map(|number| {
            let shown = &output[same_moment(&self.stills, *number, output)];
            dissimilarity(self.reference(*number, shown), &picture(shown))
        });
        distances.sum::<f64>() / numbers.len() as f64
    }

    fn reference(&mut self, number: usize, shown: &Still) -> &Picture {
        let size = (shown.width as usize, shown.height as usize);
        let make = || resized(&self.stills[number], &self.facts, size);
        self.references
            .entry((size.0, size.1, number))
            .or_insert_with(make)
    }
}

/// The frame of `output` that is seen when `number` of `source` is: encoders join frames that are alike. Times are
/// taken as parts of the whole, since encoders also differ in how long the shortest frame may be.
fn same_moment(source: &[Still], number: usize, output: &[Still]) -> usize {
    if source.len() == output.len() {
        return number;
    }
    let length = |stills: &[Still]| stills.iter().map(|still| f64::from(still.delay)).sum::<f64>();
    let middle = length(&source[..number]) + f64::from(source[number].delay) / 2.0;
    let moment = middle / length(source) * length(output);
    let ended = (0..output.len())
        .take_while(|at| length(&output[..=*at]) <= moment)
        .count();
    ended.min(output.len() - 1)
}
