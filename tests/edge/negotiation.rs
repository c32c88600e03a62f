//! The format and size a client's headers ask for, and what caches on the way are told of it.

use crate::support::image::{Image, Kind, animated_gif, turning};
use crate::support::{Answer, Edge, Origin, Reply, Setup, request};

const CHROME: &str = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8";
const FIREFOX: &str = "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5";
const OLD_FIREFOX: &str = "image/webp,*/*";
const SAFARI: &str = "image/webp,image/avif,image/jxl,image/heic,image/heic-sequence,video/*;q=0.8,image/png,\
                      image/svg+xml,image/*;q=0.8,*/*;q=0.5";
const OLD_SAFARI: &str = "image/webp,image/png,image/svg+xml,image/*;q=0.8,video/*;q=0.8,*/*;q=0.5";
const CURL: &str = "*/*";

/// A photo, a drawing with transparency and an animation.
fn gallery() -> Origin {
    let sample = Image::sample(32, 32);
    let origin = Origin::start();
    origin.set("/photo", Reply::image(Kind::Jpeg, Kind::Jpeg.encode(&sample)));
    let drawing = Kind::Png.encode(&sample.see_through());
    origin.set("/drawing", Reply::image(Kind::Png, drawing));
    let moving = animated_gif(&turning(32, &[50, 100]));
    origin.set("/moving", Reply::image(Kind::Gif, moving));
    origin
}

fn edge(origin: &Origin, more: &str) -> Edge {
    Setup::transforming(origin, &format!("sizes: [], {more}")).start()
}

fn accepting(edge: &Edge, target: &str, accept: &str) -> Answer {
    edge.get_with(target, &[("Accept", accept)])
}

#[test]
fn each_client_gets_the_best_format_it_shows() {
    let origin = gallery();
    let edge = edge(&origin, "");
    let (avif, webp) = (Some(Kind::Avif), Some(Kind::Webp));
    for (accept, modern) in [
        (CHROME, avif),
        (FIREFOX, avif),
        (OLD_FIREFOX, webp),
        (SAFARI, avif),
        (OLD_SAFARI, webp),
        (CURL, None),
        ("", None),
        ("image/*", None),
        ("image/avif", avif),
        ("IMAGE/AVIF", avif),
        ("image/avif;q=0, image/webp", webp),
        ("image/avif;q=0.000,image/webp;q=0.001", webp),
        ("image/avif;q=0,image/webp;q=0,*/*", None),
        ("image/avif;q=nonsense,image/webp", webp),
        ("image/avifx,image/web", None),
        (";;,,;q=,\"", None),
    ] {
        for (target, legacy) in [("/photo", Kind::Jpeg), ("/drawing", Kind::Png)] {
            let answer = accepting(&edge, &format!("{target}?w=24&fm=auto"), accept);
            let picture = answer.picture();
            assert_eq!(picture.kind, modern.unwrap_or(legacy), "{target} for {accept}");
            assert_eq!(picture.size(), (24, 24), "{target} for {accept}");
            assert_eq!(answer.varies_by(), ["accept"], "{target} for {accept}");
        }
    }
    // Of two images: AVIF for who shows WebP too and for who does not, WebP, and the source's own; whatever the spelling.
    assert_eq!(edge.transforms("made"), 8.0);
}

#[test]
fn no_accept_header_is_a_client_that_shows_what_all_show() {
    let origin = gallery();
    let edge = edge(&origin, "");
    let answer = edge.get("/photo?w=24&fm=auto");
    assert_eq!(answer.picture().kind, Kind::Jpeg);
    assert_eq!(answer.varies_by(), ["accept"]);
}

#[test]
fn an_animation_moves_in_whatever_format_is_chosen() {
    let origin = gallery();
    let edge = edge(&origin, "");
    for accept in [CHROME, FIREFOX, SAFARI, OLD_SAFARI, CURL] {
        let moving = accepting(&edge, "/moving?w=24&fm=auto", accept).picture();
        assert_eq!(moving.frames.len(), 2, "{:?} for {accept}", moving.kind);
        assert_eq!(moving.delays, [50, 100], "{:?} for {accept}", moving.kind);
    }
}

#[test]
fn the_routes_order_of_formats_decides() {
    let origin = gallery();
    let kind = |formats: &str, accept| {
        let edge = edge(&origin, &format!("formats: [{formats}]"));
        accepting(&edge, "/photo?w=24&fm=auto", accept).picture().kind
    };
    assert_eq!(kind("webp", CHROME), Kind::Webp);
    assert_eq!(kind("webp, avif", CHROME), Kind::Webp);
    assert_eq!(kind("avif", OLD_SAFARI), Kind::Jpeg);
}

#[test]
fn only_what_was_negotiated_varies() {
    let origin = gallery();
    let edge = edge(&origin, "");
    for target in [
        "/photo",
        "/photo?w=24",
        "/photo?w=24&fm=webp",
        "/photo?fm=source&rot=90",
    ] {
        let (one, other) = (accepting(&edge, target, CHROME), accepting(&edge, target, CURL));
        assert!(one.varies_by().is_empty(), "{target}: {one:?}");
        assert!(one.body == other.body, "{target}");
    }
    let edge = self::edge(&origin, "formats: []");
    let answer = accepting(&edge, "/photo?w=24&fm=auto", CHROME);
    assert_eq!(answer.picture().kind, Kind::Jpeg);
    assert!(
        answer.varies_by().is_empty(),
        "nothing to choose from: {answer:?}"
    );
}

#[test]
fn every_answer_to_a_negotiated_request_says_that_it_varies() {
    let origin = gallery();
    let edge = edge(&origin, "");
    let target = "/photo?w=24&fm=auto";
    let whole = accepting(&edge, target, OLD_SAFARI);
    let head = request(edge.address(), "HEAD", target, &[("Accept", OLD_SAFARI)]);
    let tag = whole.strong_tag();
    let same = edge.get_with(target, &[("Accept", OLD_SAFARI), ("If-None-Match", tag)]);
    let part = edge.get_with(target, &[("Accept", OLD_SAFARI), ("Range", "bytes=0-9")]);
    for (answer, status) in [(&whole, 200), (&head, 200), (&same, 304), (&part, 206)] {
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.varies_by(), ["accept"], "{answer:?}");
    }
}

#[test]
fn the_sources_own_vary_stays() {
    let origin = Origin::start();
    let jpeg = Kind::Jpeg.encode(&Image::sample(32, 32));
    let reply = Reply::image(Kind::Jpeg, jpeg).header("vary", "Accept-Language");
    origin.set("/photo", reply);
    let edge = edge(&origin, "");
    for _ in 0..2 {
        let answer = accepting(&edge, "/photo?w=24&fm=auto", OLD_SAFARI);
        assert_eq!(answer.varies_by(), ["accept", "accept-language"]);
        assert_eq!(answer.picture().kind, Kind::Webp);
    }
}

#[test]
fn another_formats_variant_is_another_entity() {
    let origin = gallery();
    let edge = edge(&origin, "");
    let target = "/photo?w=24&fm=auto";
    let (webp, jpeg) = (
        accepting(&edge, target, OLD_SAFARI),
        accepting(&edge, target, CURL),
    );
    assert_ne!(webp.strong_tag(), jpeg.strong_tag());
    let tag = webp.strong_tag();
    let other = edge.get_with(target, &[("Accept", CURL), ("If-None-Match", tag)]);
    assert_eq!(other.picture().kind, Kind::Jpeg);
}

#[test]
fn defaults_of_a_route_negotiate_for_plain_requests_too() {
    let origin = gallery();
    let edge = edge(&origin, "defaults: 'fm=auto&w=24'");
    let answer = accepting(&edge, "/photo", OLD_SAFARI);
    assert_eq!(answer.picture().kind, Kind::Webp);
    assert_eq!(answer.picture().size(), (24, 24));
    assert_eq!(answer.varies_by(), ["accept"]);
    let own = accepting(&edge, "/photo?w=16&fm=jpeg", OLD_SAFARI);
    assert_eq!(own.picture().kind, Kind::Jpeg);
    assert_eq!(own.picture().size(), (16, 16));
}

const HINTS: &str = "client_hints: true";

#[test]
fn a_route_asks_for_client_hints_where_its_configuration_says_so() {
    let origin = gallery();
    let hinting = edge(&origin, HINTS);
    for target in ["/photo", "/photo?w=24&fm=jpeg"] {
        let answer = hinting.get(target);
        let asked = answer.said("accept-ch").to_ascii_lowercase();
        for hint in ["sec-ch-dpr", "sec-ch-width"] {
            assert!(asked.contains(hint), "{asked}");
        }
    }
    let silent = edge(&origin, "");
    let hints = [("Sec-CH-DPR", "2"), ("Sec-CH-Width", "8"), ("Save-Data", "on")];
    let answer = silent.get_with("/photo?w=12&fm=png", &hints);
    assert!(
        !answer.has("accept-ch") && answer.varies_by().is_empty(),
        "{answer:?}"
    );
    assert_eq!(answer.picture().size(), (12, 12));
}

#[test]
fn a_screens_pixel_ratio_multiplies_the_size() {
    let origin = gallery();
    let edge = edge(&origin, HINTS);
    let size = |target: &str, dpr: &str| {
        let answer = edge.get_with(target, &[("Sec-CH-DPR", dpr)]);
        (answer.picture().size().0, answer)
    };
    let target = "/photo?w=12&fm=png";
    let (width, answer) = size(target, "2.0");
    assert_eq!((width, answer.varies_by()), (24, vec!["sec-ch-dpr".to_owned()]));
    assert_eq!(edge.get("/photo?w=24&fm=png").strong_tag(), answer.strong_tag());
    assert_eq!(
        edge.get(target).varies_by(),
        ["sec-ch-dpr"],
        "also without the hint"
    );
    assert_eq!(size(target, "nonsense").0, 12);
    assert_eq!(size(target, "-2").0, 12);
    // What the URL says wins.
    let (width, answer) = size("/photo?w=12&dpr=1.5&fm=png", "2");
    assert_eq!((width, answer.varies_by().is_empty()), (18, true));
    assert_eq!(size("/photo?w=4&fm=png", "100").0, 16, "no more than dpr_max");
}

#[test]
fn the_width_a_picture_is_shown_in_is_its_width() {
    let origin = gallery();
    let edge = edge(&origin, HINTS);
    let answer = edge.get_with("/photo?w=auto&fm=png", &[("Sec-CH-Width", "20")]);
    assert_eq!(answer.picture().size(), (20, 20));
    assert_eq!(answer.varies_by(), ["sec-ch-width"]);
    let unsaid = edge.get("/photo?w=auto&fm=png");
    assert_eq!(unsaid.picture().size(), (32, 32));
    assert_eq!(unsaid.varies_by(), ["sec-ch-width"]);
}

#[test]
fn who_saves_data_gets_fewer_bytes() {
    let bytes = crate::support::picture(7, 64 * 64 * 4);
    let mut noise = Image::of_rgba(64, 64, &bytes);
    noise.pixels.iter_mut().for_each(|pixel| pixel[3] = 255);
    let origin = Origin::with("/noise", Reply::image(Kind::Png, Kind::Png.encode(&noise)));
    let edge = edge(&origin, &format!("{HINTS}, save_data_quality: 40"));
    let target = "/noise?q=80&w=64&dpr=1&fm=jpeg";
    let (plain, saving) = (edge.get(target), edge.get_with(target, &[("Save-Data", "on")]));
    assert!(saving.body.len() < plain.body.len(), "{saving:?} {plain:?}");
    for answer in [&plain, &saving] {
        assert_eq!(answer.varies_by(), ["save-data"], "{answer:?}");
    }
    let sparing = edge.get_with("/noise?q=40&w=64&dpr=1&fm=jpeg", &[("Save-Data", "on")]);
    assert_eq!(sparing.varies_by(), [""; 0], "there is nothing to be saved");
    let off = edge.get_with(target, &[("Save-Data", "off")]);
    assert_eq!(off.strong_tag(), plain.strong_tag());
}
