//! What is made of which source; the same for both sides.

use crate::sources::Name;
use aquatint::spec::{Fit, Format, Output, Picture, Size, Spec};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub(crate) struct Job {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) source: Name,
    pub(crate) width: u32,
    pub(crate) format: Target,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Target {
    Jpeg,
    Webp,
    Avif,
}

const fn job(name: &'static str, title: &'static str, (source, width): (Name, u32), format: Target) -> Job {
    Job {
        name,
        title,
        source,
        width,
        format,
    }
}

pub(crate) const JOBS: [Job; 11] = [
    job("a", "12 MP -> 800 JPEG", (Name::Photo12, 800), Target::Jpeg),
    job("a2", "6 MP -> 800 JPEG", (Name::Photo6, 800), Target::Jpeg),
    job("b", "12 MP -> 800 WebP", (Name::Photo12, 800), Target::Webp),
    job("b2", "6 MP -> 800 WebP", (Name::Photo6, 800), Target::Webp),
    job("c", "12 MP -> 320 WebP", (Name::Photo12, 320), Target::Webp),
    job("c2", "6 MP -> 320 WebP", (Name::Photo6, 320), Target::Webp),
    job("d", "PNG RGBA -> 800 WebP", (Name::Alpha, 800), Target::Webp),
    job("e", "12 MP -> 800 AVIF", (Name::Photo12, 800), Target::Avif),
    job("e2", "6 MP -> 800 AVIF", (Name::Photo6, 800), Target::Avif),
    job("f", "640 -> 320 WebP", (Name::Photo640, 320), Target::Webp),
    job("g", "GIF -> 320 WebP", (Name::Animation, 320), Target::Webp),
];

/// Names by commas; none are all.
pub(crate) fn named(wanted: &str) -> Vec<&'static Job> {
    let is_wanted = |job: &&Job| wanted.is_empty() || wanted.split(',').any(|name| name == job.name);
    let jobs: Vec<&Job> = JOBS.iter().filter(is_wanted).collect();
    assert!(!jobs.is_empty(), "JOBS={wanted}: there is no such job");
    jobs
}

impl Target {
    /// What sharp is given for a job of this format, as the server's default is: quality 80, in 4:2:0. For AVIF its
    /// own default; the setting that looks like ours is searched for (`rounds.rs`).
    pub(crate) fn sharp_options(self) -> Value {
        match self {
            Target::Jpeg => json!({ "quality": 80, "chromaSubsampling": "4:2:0" }),
            Target::Webp => json!({ "quality": 80 }),
            Target::Avif => json!({}),
        }
    }

    fn format(self) -> Format {
        match self {
            Target::Jpeg => Format::Jpeg,
            Target::Webp => Format::Webp,
            Target::Avif => Format::Avif,
        }
    }

    /// At the server's default quality.
    pub(crate) fn spec(self, width: u32) -> Spec {
        Spec {
            size: Some(Size {
                width: Some(width),
                height: None,
                fit: Fit::Within,
                enlarge: false,
            }),
            output: Output::Picture(Picture {
                format: self.format(),
                ..Picture::default()
            }),
            ..Spec::default()
        }
    }
}
