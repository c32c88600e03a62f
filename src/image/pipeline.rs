//! The list of the steps.
//!
//! Invariant: the watch is asked after each step of each frame, and at most one frame is held at its decoded size.

use super::decode;
use super::encode::{Notice, Sequence, Settings, Target, encode};
use super::geometry::{self, Plan};
use super::raster::Frame;
use super::resize::{Finish, Transparency, resize};
use super::{Context, ImageError, Kind, Limits, Made, Probe, Stage, Watch, info, placeholder};
use crate::spec::{Format, Moving, Output, Picture, Spec};

/// What is worked on, and under which conditions.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) probe: &'a Probe,
    pub(crate) context: &'a Context<'a>,
}

/// Which of the frames are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    First,
    All,
}

impl Extent {
    /// What is made for a target.
    pub(super) fn of(target: Target) -> Extent {
        if target.moves() {
            Extent::All
        } else {
            Extent::First
        }
    }

    pub(super) fn frames(self, probe: &Probe) -> u32 {
        match self {
            Extent::First => 1,
            Extent::All => probe.frames.max(1),
        }
    }
}

/// Makes `spec` of a source. `probe` is that of the same bytes.
///
/// # Errors
/// When the bytes are broken, a limit is broken, or the watch says that time is up.
pub fn make(
    bytes: &[u8],
    probe: &Probe,
    spec: &Spec,
    context: &Context<'_>,
    watch: &mut dyn Watch,
) -> Result<Made, ImageError> {
    let source = Source {
        bytes,
        probe,
        context,
    };
    match spec.output {
        Output::Picture(picture) if is_made(probe, spec, picture.format) => Ok(Made::Unchanged),
        Output::Picture(picture) => make_picture(source, spec, picture, watch),
        Output::Info => info::make(source, spec, watch).map(Made::Variant),
        Output::Blurhash => placeholder::blurhash(source, spec, watch).map(Made::Variant),
        Output::Thumbhash => placeholder::thumbhash(source, spec, watch).map(Made::Variant),
        Output::Tiny => placeholder::tiny(source, spec, watch).map(Made::Variant),
        Output::Dominant => placeholder::dominant(source, spec, watch).map(Made::Variant),
    }
}

fn make_picture(
    source: Source<'_>,
    spec: &Spec,
    picture: Picture,
    watch: &mut dyn Watch,
) -> Result<Made, ImageError> {
    let wanted = target(source.probe, spec, picture.format);
    let sequence = render(source, spec, wanted, Extent::of(wanted), watch)?;
    let (target, stands_in) = match source.context.avif_pixels_max {
        Some(max) if wanted == Target::Avif && sequence.pixels() > max => (Target::Webp, true),
        _ => (wanted, false),
    };
    let settings = Settings {
        target,
        quality: picture.quality,
        bytes_max: picture.bytes_max,
        notice: notice(source.probe, picture),
    };
    let variant = encode(&sequence, &settings, watch)?;
    Ok(if stands_in {
        Made::StandIn(variant)
    } else {
        Made::Variant(variant)
    })
}

/// The finished pixels: all steps but the last.
pub(crate) fn render(
    source: Source<'_>,
    spec: &Spec,
    target: Target,
    extent: Extent,
    watch: &mut dyn Watch,
) -> Result<Sequence, ImageError> {
    let Source {
        bytes,
        probe,
        context,
    } = source;
    let frames_max = extent.frames(probe);
    let scale = geometry::scale(probe, spec, context.limits);
    let mut frames = decode::open(bytes, probe, scale, context.limits)?.take(frames_max as usize);
    let mut decoded = first(&mut frames, watch)?;
    let plan = geometry::plan(probe, spec, context.limits, scale, &decoded.raster)?;
    check(&plan, frames_max, context.limits)?;
    let finish = Finish::new(&plan, probe, spec, context, transparency(target, spec))?;
    let mut finished = Vec::new();
    loop {
        let raster = resize(decoded.raster, &plan)?;
        watch.done(Stage::Resize)?;
        let raster = finish.frame(raster)?;
        watch.done(Stage::Adjust)?;
        finished.push(Frame {
            raster,
            delay: decoded.delay,
        });
        match next(&mut frames, watch)? {
            Some(frame) => decoded = frame,
            None => return Sequence::new(finished, probe.loops),
        }
    }
}

fn transparency(target: Target, spec: &Spec) -> Transparency {
    if target == Target::Jpeg || covers(spec) {
        Transparency::None
    } else {
        Transparency::Shown
    }
}

fn first(
    frames: &mut impl Iterator<Item = Result<Frame, ImageError>>,
    watch: &mut dyn Watch,
) -> Result<Frame, ImageError> {
    let none = || ImageError::Corrupt {
        format: "image",
        cause: "it has no frame".to_owned(),
    };
    next(frames, watch)?.ok_or_else(none)
}

fn next(
    frames: &mut impl Iterator<Item = Result<Frame, ImageError>>,
    watch: &mut dyn Watch,
) -> Result<Option<Frame>, ImageError> {
    let Some(frame) = frames.next().transpose()? else {
        return Ok(None);
    };
    watch.done(Stage::Decode)?;
    // Three channels are resized faster than four.
    let raster = frame.raster.without_idle_alpha();
    Ok(Some(Frame { raster, ..frame }))
}

/// The frames of the result are all kept: together they may be no more than those of a source.
fn check(plan: &Plan, frames: u32, limits: &Limits) -> Result<(), ImageError> {
    let (width, height) = plan.size();
    let pixels = u64::from(width) * u64::from(height);
    let value = pixels.saturating_mul(u64::from(frames));
    if frames > 1 && value > limits.animation_pixels {
        return Err(ImageError::Limit {
            what: "the pixels of all frames of the result",
            value,
            max: limits.animation_pixels,
        });
    }
    Ok(())
}

/// Whether nothing can be seen through the background.
fn covers(spec: &Spec) -> bool {
    spec.background.is_some_and(|colour| colour.alpha == u8::MAX)
}

fn notice(probe: &Probe, picture: Picture) -> Notice {
    if !picture.copyright {
        return Notice::default();
    }
    Notice {
        copyright: probe.copyright.clone(),
        artist: probe.artist.clone(),
    }
}

/// Whether the source already is what the spec asks for. A format asked for by its name is always written.
fn is_made(probe: &Probe, spec: &Spec, format: Format) -> bool {
    let same = match format {
        Format::Source => written_as(probe.kind).is_some(),
        Format::Legacy => is_legacy(probe.kind),
        Format::AvifOr(Moving::Legacy) => probe.frames > 1 && is_legacy(probe.kind),
        Format::AvifOr(Moving::Webp) => false,
        Format::Jpeg | Format::Png | Format::Webp | Format::Avif | Format::Gif => false,
    };
    same && spec.changes_only_format()
}

/// What a picture is written as.
pub(super) fn target(probe: &Probe, spec: &Spec, format: Format) -> Target {
    match format {
        Format::Source => written_as(probe.kind).unwrap_or_else(|| legacy(probe, spec)),
        Format::Legacy => legacy(probe, spec),
        Format::Jpeg => Target::Jpeg,
        Format::Png => Target::Png,
        Format::Webp => Target::Webp,
        Format::AvifOr(Moving::Webp) if probe.frames > 1 => Target::Webp,
        Format::AvifOr(Moving::Legacy) if probe.frames > 1 => legacy(probe, spec),
        Format::Avif | Format::AvifOr(_) => Target::Avif,
        Format::Gif => Target::Gif,
    }
}

fn legacy(probe: &Probe, spec: &Spec) -> Target {
    match written_as(probe.kind) {
        Some(target) if is_legacy(probe.kind) => target,
        _ if probe.frames > 1 => Target::Gif,
        _ if probe.alpha && !covers(spec) => Target::Png,
        _ => Target::Jpeg,
    }
}

fn is_legacy(kind: Kind) -> bool {
    matches!(kind, Kind::Jpeg | Kind::Png | Kind::Gif)
}

fn written_as(kind: Kind) -> Option<Target> {
    match kind {
        Kind::Jpeg => Some(Target::Jpeg),
        Kind::Png => Some(Target::Png),
        Kind::Gif => Some(Target::Gif),
        Kind::Webp => Some(Target::Webp),
        Kind::Avif => Some(Target::Avif),
        Kind::Bmp | Kind::Tiff => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Colour, Quality, Turn};

    fn probe(kind: Kind) -> Probe {
        Probe::still(kind, 40, 30, &Limits::default()).unwrap()
    }

    fn moving(kind: Kind) -> Probe {
        Probe {
            frames: 3,
            ..probe(kind)
        }
    }

    fn clear(kind: Kind) -> Probe {
        Probe {
            alpha: true,
            ..probe(kind)
        }
    }

    fn spec(format: Format) -> Spec {
        Spec {
            output: Output::Picture(Picture {
                format,
                ..Picture::default()
            }),
            ..Spec::default()
        }
    }

    fn of(probe: &Probe, format: Format) -> Target {
        target(probe, &spec(format), format)
    }

    const KINDS: [Kind; 7] = [
        Kind::Jpeg,
        Kind::Png,
        Kind::Gif,
        Kind::Webp,
        Kind::Avif,
        Kind::Bmp,
        Kind::Tiff,
    ];

    #[test]
    fn a_format_that_is_named_is_written_whatever_the_source_is() {
        for kind in KINDS {
            for (format, target) in [
                (Format::Jpeg, Target::Jpeg),
                (Format::Png, Target::Png),
                (Format::Webp, Target::Webp),
                (Format::Avif, Target::Avif),
                (Format::Gif, Target::Gif),
            ] {
                assert_eq!(of(&probe(kind), format), target);
                assert!(!is_made(&probe(kind), &spec(format), format), "{kind:?}");
            }
        }
    }

    #[test]
    fn a_source_keeps_its_own_format_where_that_can_be_written() {
        assert_eq!(of(&probe(Kind::Jpeg), Format::Source), Target::Jpeg);
        assert_eq!(of(&clear(Kind::Png), Format::Source), Target::Png);
        assert_eq!(of(&moving(Kind::Gif), Format::Source), Target::Gif);
        assert_eq!(of(&moving(Kind::Webp), Format::Source), Target::Webp);
        assert_eq!(of(&probe(Kind::Avif), Format::Source), Target::Avif);
        assert_eq!(of(&probe(Kind::Bmp), Format::Source), Target::Jpeg);
        assert_eq!(of(&clear(Kind::Tiff), Format::Source), Target::Png);
    }

    #[test]
    fn legacy_is_what_every_client_shows() {
        for kind in [Kind::Jpeg, Kind::Png, Kind::Gif] {
            assert_eq!(of(&probe(kind), Format::Legacy), of(&probe(kind), Format::Source));
        }
        for kind in [Kind::Webp, Kind::Avif, Kind::Bmp, Kind::Tiff] {
            assert_eq!(of(&probe(kind), Format::Legacy), Target::Jpeg);
            assert_eq!(of(&clear(kind), Format::Legacy), Target::Png);
            assert_eq!(of(&moving(kind), Format::Legacy), Target::Gif);
        }
    }

    #[test]
    fn an_animation_is_no_avif_that_nobody_asked_for() {
        for (moves_as, target) in [(Moving::Webp, Target::Webp), (Moving::Legacy, Target::Gif)] {
            let format = Format::AvifOr(moves_as);
            assert_eq!(of(&probe(Kind::Gif), format), Target::Avif);
            assert_eq!(of(&moving(Kind::Gif), format), target);
            assert_eq!(of(&moving(Kind::Webp), format), target);
        }
        let kept = Format::AvifOr(Moving::Legacy);
        assert!(is_made(&moving(Kind::Gif), &spec(kept), kept));
        assert!(!is_made(&probe(Kind::Gif), &spec(kept), kept));
    }

    #[test]
    fn what_lies_on_an_opaque_background_needs_no_transparency() {
        let black = Colour {
            red: 0,
            green: 0,
            blue: 0,
            alpha: 255,
        };
        let spec = |background| Spec {
            background: Some(background),
            ..spec(Format::Legacy)
        };
        assert_eq!(
            target(&clear(Kind::Webp), &spec(black), Format::Legacy),
            Target::Jpeg
        );
        let veil = Colour { alpha: 254, ..black };
        assert_eq!(
            target(&clear(Kind::Webp), &spec(veil), Format::Legacy),
            Target::Png
        );
    }

    #[test]
    fn what_is_already_there_is_not_made() {
        let made = |kind, format| is_made(&probe(kind), &spec(format), format);
        let unchanged = |format| {
            KINDS
                .into_iter()
                .filter(|kind| made(*kind, format))
                .collect::<Vec<_>>()
        };
        assert_eq!(unchanged(Format::Source), KINDS[..5]);
        assert_eq!(unchanged(Format::Legacy), KINDS[..3]);
    }

    #[test]
    fn anything_beside_the_format_has_to_be_made() {
        let picture = Picture::default();
        for changed in [
            Spec {
                blur: 5,
                ..spec(Format::Source)
            },
            Spec {
                output: Output::Picture(Picture {
                    quality: Quality::Lossy(40),
                    ..picture
                }),
                ..Spec::default()
            },
            Spec {
                output: Output::Picture(Picture {
                    bytes_max: Some(1),
                    ..picture
                }),
                ..Spec::default()
            },
        ] {
            assert!(!is_made(&probe(Kind::Jpeg), &changed, Format::Source));
        }
    }

    #[test]
    fn the_frames_of_a_result_are_within_the_limit_together() {
        let limits = Limits {
            animation_pixels: 5_000,
            ..Limits::default()
        };
        let plan = Plan {
            crop: geometry::CropBox {
                left: 0.0,
                top: 0.0,
                width: 9.0,
                height: 9.0,
            },
            width: 50,
            height: 50,
            turn: Turn::default(),
            canvas: None,
        };
        assert!(check(&plan, 1, &limits).is_ok());
        assert!(check(&plan, 2, &limits).is_ok());
        assert!(matches!(
            check(&plan, 3, &limits),
            Err(ImageError::Limit { value: 7_500, .. })
        ));
        assert!(
            check(
                &Plan {
                    width: u32::MAX,
                    height: u32::MAX,
                    ..plan
                },
                u32::MAX,
                &limits
            )
            .is_err()
        );
    }

    #[test]
    fn a_notice_is_kept_only_where_it_is_asked_for() {
        let probe = Probe {
            artist: Some("Ada".to_owned()),
            ..probe(Kind::Jpeg)
        };
        assert_eq!(notice(&probe, Picture::default()), Notice::default());
        let kept = notice(
            &probe,
            Picture {
                copyright: true,
                ..Picture::default()
            },
        );
        assert_eq!(kept.artist.as_deref(), Some("Ada"));
    }
}
