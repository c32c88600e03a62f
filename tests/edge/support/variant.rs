//! Edges that make variants, and what a test asks of one.
//!
//! It does not know how variants are made: only the configuration's names, answers, and metrics.

use super::image::Image;
use super::image::{Kind, Shown, shown};
use super::{Answer, Client, Edge, Origin, Reply, Setup};
use std::sync::LazyLock;

/// Where an origin has [`NOISE`].
pub(crate) const LARGE: &str = "/large.bmp";

/// A picture that no encoder finds simple: its AVIF takes an unoptimised one many seconds.
pub(crate) static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let (width, height) = (1400, 1000);
    let noise = super::picture(9, (width * height * 3) as usize);
    Kind::Bmp.encode(&Image::of_rgb(width, height, &noise))
});

/// A client whose variant occupies the only worker.
pub(crate) fn busy(edge: &Edge) -> Client {
    let mut client = Client::connect(edge.address());
    client.send_request("GET", &format!("{LARGE}?q=90&fm=avif"), &[]);
    edge.wait_for_metric("aquatint_transforms_running", |running| running == 1.0);
    client
}

impl Setup {
    /// A route that makes variants; `more` are further keys of it, in YAML's flow style.
    pub(crate) fn transforming(origin: &Origin, more: &str) -> Setup {
        Setup::of(origin).transform(more)
    }

    pub(crate) fn transform(self, more: &str) -> Setup {
        self.route("transform", format!("{{enabled: true, {more}}}"))
    }
}

impl Reply {
    /// 200 with an image of that kind, fresh for an hour.
    pub(crate) fn image(kind: Kind, bytes: impl Into<Vec<u8>>) -> Reply {
        Reply::fresh(bytes).header("content-type", &kind.media_type())
    }
}

impl Answer {
    /// The picture of a 200 that says truly what it is.
    #[track_caller]
    pub(crate) fn picture(&self) -> Shown {
        assert_eq!(self.status, 200, "{self:?}");
        let shown = shown(&self.body);
        assert_eq!(self.said("content-type"), shown.kind.media_type(), "{self:?}");
        assert_eq!(
            self.said("content-length"),
            self.body.len().to_string(),
            "{self:?}"
        );
        shown
    }

    /// The entity tag, which has to be a strong one.
    #[track_caller]
    pub(crate) fn strong_tag(&self) -> &str {
        let tag = self.said("etag");
        assert!(
            tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"'),
            "{self:?}"
        );
        tag
    }

    /// The names in `Vary`, in lower case, sorted.
    pub(crate) fn varies_by(&self) -> Vec<String> {
        let lines = self.headers.iter().filter(|(name, _)| name == "vary");
        let names = lines.flat_map(|(_, names)| names.split(','));
        let mut names: Vec<_> = names.map(|name| name.trim().to_ascii_lowercase()).collect();
        names.sort();
        names
    }
}

impl Edge {
    /// How many makings of variants ended so, whatever the format.
    #[track_caller]
    pub(crate) fn transforms(&self, result: &str) -> f64 {
        self.metric(&format!("aquatint_transforms_total{{result=\"{result}\"}}"))
    }
}
