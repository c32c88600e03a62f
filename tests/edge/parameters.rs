//! What a URL may ask for: every wrong value is told apart from a right one, spellings of one picture are one variant, and
//! nobody mints more of them than the route allows.

use crate::support::image::{Image, Kind, jpeg_with, turning, with_orientation};
use crate::support::{Answer, Client, Edge, Origin, Reply, Setup, picture};
use std::thread;

const TARGET: &str = "/a.png";

fn sample() -> Image {
    Image::sample(48, 32)
}

fn origin() -> Origin {
    let reply = Reply::fresh(Kind::Png.encode(&sample())).header("etag", "\"source\"");
    Origin::with(TARGET, reply)
}

fn edge(origin: &Origin, more: &str) -> Edge {
    Setup::transforming(origin, &format!("sizes: [], {more}")).start()
}

fn text(answer: &Answer) -> String {
    String::from_utf8(answer.body.clone()).unwrap()
}

/// A parameter, values it can not have, and what the refusal says is allowed.
const WRONG: [(&str, &[&str], &[&str]); 23] = [
    (
        "w",
        &["0", "-1", "8193", "99999999999999999999", "x", "", "1.5", "0x10"],
        &["1", "8192"],
    ),
    ("h", &["0", "-1", "8193", "NaN", ""], &["1", "8192"]),
    (
        "fit",
        &["stretch", "", "COVER"],
        &[
            "clip",
            "contain",
            "cover",
            "crop",
            "fill",
            "scale",
            "pad",
            "scale-down",
        ],
    ),
    ("dpr", &["0", "0.4", "5.1", "two", ""], &["0.5", "5"]),
    ("q", &["0", "101", "-5", "best", ""], &["1", "100"]),
    (
        "fm",
        &["bmp", "", "webp2", "tiff"],
        &["auto", "jpeg", "png", "webp", "avif", "gif", "source"],
    ),
    ("format", &["heic"], &["auto", "jpeg"]),
    (
        "crop",
        &["up", "focal:", "focal:2,0", "focal:0.1"],
        &["center", "north", "focal", "smart"],
    ),
    ("gravity", &["nowhere"], &["center", "smart"]),
    (
        "rect",
        &[
            "1,2,3",
            "0,0,0,5",
            "a,b,c,d",
            "1,2,3,4,5",
            "-1,0,5,5",
            "0,0,65537,1",
        ],
        &["65536"],
    ),
    ("rot", &["45", "91", "x", "450"], &["0", "90", "180", "270"]),
    ("flip", &["x", "", "hh"], &["h", "v"]),
    ("blur", &["-1", "251", "x"], &["0", "250"]),
    ("sharpen", &["-1", "11", "x"], &["0", "10"]),
    ("bri", &["101", "-101", "1.5", "x"], &["-100", "100"]),
    ("con", &["101", "x"], &["-100", "100"]),
    ("sat", &["-101", "x"], &["-100", "100"]),
    ("bg", &["red", "12", "gggggg", "1234567"], &["RRGGBB"]),
    ("trim", &["101", "-1", "x"], &["1", "100"]),
    ("pad", &["513", "-1", "1,2,3", "x"], &["0", "512"]),
    ("mb", &["10", "x", "99999999999"], &["1000", "10000000"]),
    ("preset", &["unknown", ""], &["preset"]),
    ("wm", &["unknown", "../../etc/passwd"], &["watermark"]),
];

#[test]
fn a_wrong_value_is_refused_with_the_parameter_the_value_and_what_is_allowed() {
    let origin = origin();
    let edge = edge(&origin, "");
    let mut client = Client::connect(edge.address());
    for (parameter, values, allowed) in WRONG {
        for value in values {
            for target in [
                format!("{TARGET}?{parameter}={value}"),
                format!("{TARGET}?w=24&{parameter}={value}&fm=png&{parameter}={value}"),
            ] {
                let answer = client.get(&target);
                assert_eq!(answer.status, 400, "{target}: {answer:?}");
                let said = text(&answer);
                assert!(said.contains(&format!("{parameter}={value}")), "{target}: {said}");
                for word in allowed {
                    assert!(said.contains(word), "{target}: {said}");
                }
                assert_eq!(said.trim().lines().count(), 1, "{said}");
                assert!(
                    answer.said("content-type").starts_with("text/plain"),
                    "{answer:?}"
                );
            }
        }
    }
    assert!(origin.targets().is_empty(), "{:?}", origin.targets());
}

#[test]
fn a_refusal_repeats_nothing_that_could_be_taken_for_something_else() {
    let edge = edge(&origin(), "");
    for value in [
        "%0d%0aSet-Cookie:%20a=b",
        "<script>alert(1)</script>",
        "%e2%80%ae",
        "%00",
        "%ff",
    ] {
        let answer = edge.get(&format!("{TARGET}?w={value}"));
        assert_eq!(answer.status, 400, "{value}: {answer:?}");
        assert!(!answer.has("set-cookie"), "{answer:?}");
        assert_eq!(answer.said("x-content-type-options"), "nosniff");
        assert!(
            !answer.body.iter().any(|byte| matches!(byte, b'\r' | 0 | 0x80..)),
            "{answer:?}"
        );
    }
    let long = edge.get(&format!("{TARGET}?w={}", "9".repeat(4000)));
    assert_eq!(long.status, 400);
    assert!(long.body.len() < 500, "{long:?}");
}

#[test]
fn a_route_may_drop_wrong_values() {
    let origin = origin();
    let edge = edge(&origin, "invalid: drop");
    let plain = edge.get(&format!("{TARGET}?w=24&fm=webp"));
    assert_eq!(plain.picture().size(), (24, 16));
    for wrong in [
        "h=x",
        "q=0",
        "fit=stretch",
        "rect=1,2",
        "blur=-1",
        "preset=none",
        "wm=none",
    ] {
        let answer = edge.get(&format!("{TARGET}?w=24&{wrong}&fm=webp"));
        assert_eq!(answer.strong_tag(), plain.strong_tag(), "{wrong}");
    }
    edge.get(&format!("{TARGET}?w=0&fm=x"))
        .expect(200, &Kind::Png.encode(&sample()));
    assert_eq!(edge.transforms("made"), 1.0);
    assert_eq!(origin.targets(), [TARGET]);
}

#[test]
fn a_route_without_transforms_leaves_everything_to_its_origin() {
    let origin = Origin::start();
    let targets = [
        "/a.png?w=24&fm=webp",
        "/a.png?w=wrong",
        "/cdn-cgi/image/w=24/a.png",
    ];
    for target in targets {
        origin.set(target, Reply::fresh("the origin's own"));
    }
    let setup = Setup::of(&origin).route("query", "{sort: false}");
    let edge = setup.route("transform", "{enabled: false}").start();
    for target in targets {
        edge.get(target).expect(200, b"the origin's own");
    }
}

#[test]
fn transform_parameters_stay_here_and_others_reach_the_origin() {
    let origin = Origin::start();
    let image = Kind::Png.encode(&sample());
    for target in ["/a.png?user=eve&x=%20y", "/a.png?W=1&width=2"] {
        origin.set(target, Reply::fresh(image.clone()));
    }
    let edge = Setup::transforming(&origin, "sizes: []")
        .route("query", "{sort: false}")
        .start();
    let answer = edge.get("/a.png?w=24&user=eve&fm=webp&x=%20y&q=60");
    assert_eq!(answer.picture().size(), (24, 16));
    edge.get("/a.png?W=1&width=2").expect(200, &image);
    assert_eq!(origin.targets(), ["/a.png?user=eve&x=%20y", "/a.png?W=1&width=2"]);
}

#[test]
fn spellings_of_one_picture_are_one_variant() {
    let origin = origin();
    let edge = edge(&origin, "");
    let tag = |parameters: &str| {
        let answer = edge.get(&format!("{TARGET}?{parameters}"));
        answer.picture();
        answer.strong_tag().to_owned()
    };
    let plain = tag("w=24&fm=webp");
    for same in [
        "fm=webp&w=24",
        "w=12&dpr=2&fm=webp",
        "w=24&format=webp",
        "w=24&fm=webp&q=80",
        "w=24&fm=webp&rot=0&blur=0&bri=0&pad=0&sharpen=0",
        "w=24&fm=webp&rot=360",
        "w=24&fm=webp&fit=clip",
        "w=24&fm=webp&gravity=north",
        "w=1&w=24&fm=png&fm=webp",
        "w=2%34&fm=webp",
    ] {
        assert_eq!(tag(same), plain, "{same}");
    }
    assert_eq!(edge.transforms("made"), 1.0);
    assert_eq!(tag("rot=180&fm=webp"), tag("flip=hv&fm=webp"));
    assert_eq!(tag("rot=-90&fm=webp"), tag("rot=270&fm=webp"));
    for other in ["w=23&fm=webp", "w=24&fm=webp&q=40", "w=24&fm=webp&rot=180"] {
        assert_ne!(tag(other), plain, "{other}");
    }
}

#[test]
fn what_changes_nothing_is_the_source() {
    let origin = origin();
    let edge = edge(&origin, "");
    for parameters in ["", "rot=0", "fm=source", "q=80", "dpr=2", "blur=0&pad=0"] {
        let answer = edge.get(&format!("{TARGET}?{parameters}"));
        answer.expect(200, &Kind::Png.encode(&sample()));
    }
    assert_eq!(edge.transforms("made"), 0.0);
}

#[test]
fn sizes_go_up_the_ladder_and_qualities_to_the_nearest_step() {
    let origin = Origin::with(TARGET, Reply::fresh(Kind::Png.encode(&Image::sample(96, 64))));
    let edge = Setup::transforming(&origin, "sizes: [24, 48], qualities: [40, 80]").start();
    let size = |parameters: &str| {
        edge.get(&format!("{TARGET}?{parameters}&fm=jpeg"))
            .picture()
            .size()
    };
    for (parameters, expected) in [
        ("w=1", (24, 16)),
        ("w=24", (24, 16)),
        ("w=25", (48, 32)),
        ("w=48", (48, 32)),
        ("w=49", (48, 32)),
        ("w=8192", (48, 32)),
        ("w=12&dpr=3", (48, 32)),
        ("w=30&h=30&fit=cover", (48, 48)),
        ("w=20&h=20&fit=cover", (24, 24)),
    ] {
        assert_eq!(size(parameters), expected, "{parameters}");
    }
    let tag = |quality: u8| {
        let answer = edge.get(&format!("{TARGET}?w=24&q={quality}&fm=jpeg"));
        answer.strong_tag().to_owned()
    };
    assert_eq!(tag(1), tag(40));
    assert_eq!(tag(40), tag(55));
    assert_eq!(tag(65), tag(100));
    assert_ne!(tag(40), tag(80));
}

#[test]
fn a_preset_is_its_parameters_under_those_of_the_request() {
    let presets = "presets: {small: 'w=24&fm=webp', turned: 'rot=90'}";
    let origin = origin();
    let edge = edge(&origin, presets);
    let tag = |parameters: &str| {
        let answer = edge.get(&format!("{TARGET}?{parameters}"));
        answer.picture();
        answer.strong_tag().to_owned()
    };
    assert_eq!(tag("preset=small"), tag("w=24&fm=webp"));
    assert_eq!(tag("preset=small&w=12"), tag("w=12&fm=webp"));
    assert_eq!(tag("fm=png&preset=turned"), tag("rot=90&fm=png"));
}

#[test]
fn a_route_may_allow_presets_alone() {
    let origin = origin();
    let edge = edge(&origin, "presets: {small: 'w=24&fm=webp'}, presets_only: true");
    assert_eq!(
        edge.get(&format!("{TARGET}?preset=small")).picture().size(),
        (24, 16)
    );
    let saved = edge.get(&format!("{TARGET}?preset=small&dl=a.webp"));
    assert!(saved.has("content-disposition"), "{saved:?}");
    for parameters in ["w=24", "preset=small&w=12", "fm=png", "info", "blurhash"] {
        let answer = edge.get(&format!("{TARGET}?{parameters}"));
        assert_eq!(answer.status, 400, "{parameters}: {answer:?}");
        assert!(text(&answer).contains("preset"), "{answer:?}");
    }
    assert_eq!(edge.get("/cdn-cgi/image/w=24/a.png").status, 400);
    edge.get(TARGET).expect(200, &Kind::Png.encode(&sample()));
    assert_eq!(edge.transforms("made"), 1.0);
}

#[test]
fn an_alias_in_the_path_is_the_same_variant_as_the_query() {
    let origin = origin();
    let edge = edge(&origin, "");
    let query = edge.get(&format!("{TARGET}?w=24&h=24&fit=cover&fm=webp"));
    query.picture();
    for options in [
        "w=24,h=24,fit=cover,fm=webp",
        "width=24,height=24,fit=cover,format=webp",
        "fit=cover,format=webp,height=24,width=24",
    ] {
        let answer = edge.get(&format!("/cdn-cgi/image/{options}/a.png"));
        answer.expect_hit(&query.body);
        assert_eq!(answer.strong_tag(), query.strong_tag(), "{options}");
    }
    assert_eq!(origin.targets(), [TARGET]);
    assert_eq!(edge.transforms("made"), 1.0);
    let region = edge.get("/cdn-cgi/image/rect=0,0,24,16,fm=png/a.png");
    assert_eq!(region.picture().size(), (24, 16));
    let wrong = edge.get("/cdn-cgi/image/w=0/a.png");
    assert_eq!(wrong.status, 400);
    assert!(text(&wrong).contains("w=0"), "{wrong:?}");
}

#[test]
fn an_alias_keeps_the_sources_own_query() {
    let image = Kind::Png.encode(&sample());
    let origin = Origin::with("/deep/a.png?user=eve", Reply::fresh(image));
    let edge = edge(&origin, "");
    let answer = edge.get("/cdn-cgi/image/w=24,fm=webp/deep/a.png?user=eve");
    assert_eq!(answer.picture().size(), (24, 16));
    assert_eq!(origin.targets(), ["/deep/a.png?user=eve"]);
}

/// An edge that fetches what a client names would be anybody's way into the network behind it.
#[test]
fn an_alias_names_no_other_host() {
    let origin = origin();
    let edge = edge(&origin, "");
    let other = Origin::with("/a.png", Reply::fresh(Kind::Png.encode(&sample())));
    let address = other.address();
    for source in [
        format!("http://{address}/a.png"),
        format!("https://{address}/a.png"),
        format!("HTTP://{address}/a.png"),
        format!("http:/{address}/a.png"),
        format!("http%3A%2F%2F{address}%2Fa.png"),
        format!("/{address}/a.png"),
        format!("%2F{address}/a.png"),
    ] {
        let answer = edge.get(&format!("/cdn-cgi/image/w=24/{source}"));
        assert_eq!(answer.status, 400, "{source}: {answer:?}");
    }
    assert!(origin.targets().is_empty(), "{:?}", origin.targets());
    assert!(other.targets().is_empty());
}

#[test]
fn an_alias_leads_to_no_reserved_path() {
    let origin = origin();
    let edge = edge(&origin, "");
    let plain = edge.get("/.aquatint/anything");
    let alias = edge.get("/cdn-cgi/image/w=24/.aquatint/anything");
    assert_eq!((plain.status, alias.status), (404, 404));
    assert_eq!(alias.body, plain.body);
}

#[test]
fn a_download_has_the_name_asked_for_and_no_other_effect() {
    let origin = origin();
    let edge = edge(&origin, "");
    let disposition = |parameters: &str| {
        let answer = edge.get(&format!("{TARGET}?{parameters}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.said("content-disposition").to_owned()
    };
    assert_eq!(disposition("dl"), "attachment");
    assert_eq!(disposition("dl=cat.png"), "attachment; filename=\"cat.png\"");
    assert_eq!(
        disposition("w=24&fm=webp&dl=cat.webp"),
        "attachment; filename=\"cat.webp\""
    );
    for nasty in [
        "..%2f..%2fetc%2fpasswd",
        "a%22;b=%22",
        "a%0d%0aSet-Cookie:b",
        "a%00b",
        "a%5cb",
    ] {
        let field = disposition(&format!("dl={nasty}"));
        assert!(field.starts_with("attachment"), "{field}");
        let forbidden = ["/", "\\", "..%", "\r", "\n", "\0"];
        assert!(!forbidden.iter().any(|part| field.contains(part)), "{field}");
        assert!(field.matches('"').count() <= 2, "{field}");
    }
    let umlaut = disposition("dl=K%C3%A4se.png");
    assert!(umlaut.contains("filename*=UTF-8''K%C3%A4se.png"), "{umlaut}");
    let (plain, saved) = (
        edge.get(&format!("{TARGET}?w=24&fm=webp")),
        edge.get(&format!("{TARGET}?w=24&fm=webp&dl")),
    );
    assert!(!plain.has("content-disposition"), "{plain:?}");
    saved.expect_hit(&plain.body);
    let known = edge.get_with(
        &format!("{TARGET}?w=24&fm=webp&dl"),
        &[("If-None-Match", saved.strong_tag())],
    );
    assert_eq!(
        (known.status, known.said("content-disposition")),
        (304, "attachment")
    );
    assert_eq!(origin.targets(), [TARGET]);
}

#[test]
fn an_error_is_not_saved_as_the_picture() {
    let origin = origin();
    let edge = edge(&origin, "");
    for status in [301, 404, 500] {
        let target = format!("/{status}");
        let page = Reply::of("no picture").status(status).header("location", "/");
        origin.set(&target, page);
        let answer = edge.get(&format!("{target}?dl=cat.png"));
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(!answer.has("content-disposition"), "{answer:?}");
    }
}

#[test]
fn junk_colours_mint_no_more_than_their_steps() {
    let origin = tiny_origin();
    let edge = Setup::transforming(&origin, "").start();
    for blue in (0x11..0x55).step_by(2) {
        let answer = edge.get(&format!("{TARGET}?w=64&fm=png&mono=8844{blue:02x}"));
        answer.picture();
    }
    assert_eq!(edge.transforms("made"), 5.0);
}

#[test]
fn info_tells_the_facts_of_the_source() {
    let lying = with_orientation(&jpeg_with(&sample().turned(3), |_| ()), 6);
    let origin = Origin::with("/lying.jpg", Reply::image(Kind::Jpeg, lying.clone()));
    let moving = crate::support::image::animated_gif(&turning(24, &[50, 50, 50]));
    origin.set("/moving.gif", Reply::image(Kind::Gif, moving));
    let edge = edge(&origin, "");
    let facts = |target: &str| {
        let answer = edge.get(target);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.said("content-type"), "application/json");
        answer.strong_tag();
        serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap()
    };
    let jpeg = facts("/lying.jpg?info");
    assert_eq!(
        (&jpeg["width"], &jpeg["height"]),
        (&48.into(), &32.into()),
        "{jpeg}"
    );
    assert_eq!(jpeg["format"], "jpeg");
    assert_eq!(jpeg["frames"], 1);
    assert_eq!(jpeg["orientation"], 6);
    assert_eq!(jpeg["bytes"], lying.len());
    for told in ["colour_space", "digest", "dominant"] {
        assert!(
            jpeg[told].as_str().is_some_and(|text| !text.is_empty()),
            "{told}: {jpeg}"
        );
    }
    let gif = facts("/moving.gif?info");
    assert_eq!((&gif["width"], &gif["frames"]), (&24.into(), &3.into()), "{gif}");
    assert_eq!(gif["format"], "gif");
    assert_ne!(gif["digest"], jpeg["digest"]);
    // Other parameters are of no picture.
    assert_eq!(facts("/moving.gif?info&w=12&fm=webp"), gif);
}

#[test]
fn placeholders_look_like_their_picture() {
    let origin = origin();
    let edge = edge(&origin, "");
    let hash = edge.get(&format!("{TARGET}?blurhash"));
    assert!(hash.said("content-type").starts_with("text/plain"), "{hash:?}");
    let pixels = blurhash::decode(text(&hash).trim(), 48, 32, 1.0).unwrap();
    // A few waves: it is nearer to the picture than to any that has its colours elsewhere.
    let waves = Image::of_rgba(48, 32, &pixels);
    for other in [
        sample().turned(2),
        sample().mirrored(),
        sample().turned(2).mirrored(),
    ] {
        assert!(
            waves.distance(&sample()) < 0.7 * waves.distance(&other),
            "{waves:?}"
        );
    }
    let tiny = edge.get(&format!("{TARGET}?lqip"));
    assert!(tiny.body.len() < 1000, "{tiny:?}");
    let picture = tiny.picture();
    let small = picture.still();
    assert!((small.width * 2).abs_diff(small.height * 3) <= 2, "{small:?}");
    let distance = small.distance(&sample().resized(small.width, small.height));
    assert!(distance < 20.0, "lqip is off by {distance}");
    let hash = edge.get(&format!("{TARGET}?thumbhash"));
    let hash = text(&hash);
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
    assert!(
        (8..60).contains(&hash.trim().len()) && hash.trim().bytes().all(is_base64),
        "{hash}"
    );
}

#[test]
fn the_dominant_colour_is_the_one_there_is_most_of() {
    let spot = Image::plain(16, 16, [200, 30, 40, 255]);
    let image = spot.laid_on(&Image::plain(48, 32, [20, 120, 200, 255]), 8, 8);
    let origin = Origin::with(TARGET, Reply::fresh(Kind::Png.encode(&image)));
    let edge = edge(&origin, "");
    let colour = text(&edge.get(&format!("{TARGET}?dominant")));
    let digits = colour.trim().strip_prefix('#').expect("#rrggbb");
    let [_, red, green, blue] = u32::from_str_radix(digits, 16).unwrap().to_be_bytes();
    let apart = [(red, 20), (green, 120), (blue, 200)].map(|(found, drawn)| i32::from(found).abs_diff(drawn));
    assert!(
        digits.len() == 6 && apart.iter().all(|apart| *apart < 12),
        "{colour}"
    );
}

/// A stream of numbers that a seed makes.
struct Chance(Vec<u8>, usize);

impl Chance {
    /// Below `most`.
    fn number(&mut self, most: usize) -> usize {
        let bytes = [self.0[self.1], self.0[self.1 + 1], self.0[self.1 + 2], 0];
        self.1 = (self.1 + 3) % (self.0.len() - 3);
        u32::from_le_bytes(bytes) as usize % most
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.number(choices.len())]
    }
}

/// Whatever comes to the mind of somebody who wants to fill a cache.
fn junk(chance: &mut Chance, names: &[&str]) -> String {
    let parameters = (0..1 + chance.number(5)).map(|_| {
        let name = chance.of(names);
        let value = match chance.number(5) {
            0 => chance.number(8192).to_string(),
            1 => format!("{}.{}", chance.number(6), chance.number(1000)),
            2 => chance
                .of(&["cover", "crop", "pad", "h", "v", "north", "smart", "lossless"])
                .to_owned(),
            3 => chance
                .of(&["png", "webp", "jpeg", "gif", "source", "auto", "bmp", ""])
                .to_owned(),
            _ => chance.number(100).to_string(),
        };
        format!("{name}={value}")
    });
    parameters.collect::<Vec<_>>().join("&")
}

/// Asks for so many junk combinations on a few connections.
fn ask_for_junk(edge: &Edge, seed: u64, requests: usize, names: &[&str]) {
    const CONNECTIONS: usize = 4;
    eprintln!("seed {seed}");
    let address = edge.address();
    thread::scope(|scope| {
        for connection in 0..CONNECTIONS {
            scope.spawn(move || {
                let mut chance = Chance(picture(seed + connection as u64, 300_000), 0);
                let mut client = Client::connect(address);
                for _ in 0..requests / CONNECTIONS {
                    let answer = client.get(&format!("{TARGET}?{}", junk(&mut chance, names)));
                    assert!(matches!(answer.status, 200 | 400), "{answer:?}");
                }
            });
        }
    });
    edge.wait_for_fills();
}

fn tiny_origin() -> Origin {
    Origin::with(TARGET, Reply::fresh(Kind::Png.encode(&Image::sample(8, 8))))
}

#[test]
fn ten_thousand_junk_combinations_mint_no_more_than_the_ladder_allows() {
    let origin = tiny_origin();
    let edge = Setup::transforming(
        &origin,
        "invalid: drop, sizes: [4, 8], qualities: [40, 80], formats: [webp]",
    );
    let edge = edge.start();
    ask_for_junk(
        &edge,
        20_250_701,
        10_000,
        &["w", "h", "q", "fm", "dpr", "fit", "rot", "flip"],
    );
    // One side of 2 steps (2 ways), both in 3 fits (4 boxes and odd shapes below them), or none; 8 ways to lie; 6
    // formats of 3 qualities.
    let ladder = (2 * 2 + 3 * 4 * 8 + 1) * 8 * 6 * 3;
    let made = edge.transforms("made") + edge.transforms("unchanged");
    assert!(made > 10.0 && made <= f64::from(ladder), "{made} of {ladder}");
    let entries = edge.metric("aquatint_memory_objects{kind=\"entries\"}");
    assert!(entries <= 200.0 + 1.0, "{entries} entries");
    assert_eq!(origin.targets(), [TARGET]);
}

#[test]
fn no_combination_of_all_parameters_mints_more_than_the_cap() {
    const NAMES: [&str; 22] = [
        "w", "h", "q", "fm", "dpr", "fit", "rot", "flip", "crop", "rect", "blur", "sharpen", "bri", "con",
        "sat", "bg", "trim", "pad", "mono", "mb", "lqip", "dominant",
    ];
    let origin = tiny_origin();
    let setup = Setup::transforming(
        &origin,
        "invalid: drop, sizes: [4, 8], qualities: [80], variants_per_source: 16",
    );
    let edge = setup.start();
    ask_for_junk(&edge, 42, 2_000, &NAMES);
    assert!(edge.transforms("made") > 100.0, "{}", edge.transforms("made"));
    let entries = edge.metric("aquatint_memory_objects{kind=\"entries\"}");
    assert!((2.0..=17.0).contains(&entries), "{entries} entries");
    assert_eq!(origin.targets(), [TARGET]);
}

#[test]
fn a_configuration_that_says_nonsense_is_refused_before_a_port_is_open() {
    let origin = origin();
    for (wrong, said) in [
        ("defaults: 'w=0'", "defaults"),
        ("defaults: 'width=5'", "defaults"),
        ("presets: {small: 'w=x'}", "presets.small"),
        ("sizes: [0]", "sizes"),
        ("qualities: [101]", "qualities"),
        ("formats: [avif, avif]", "formats"),
        ("formats: [bmp]", "formats"),
        ("variants_per_source: 0", "variants_per_source"),
        ("on_failure: shrug", "on_failure"),
        ("on_overload: shrug", "on_overload"),
        ("nonsense: 1", "nonsense"),
    ] {
        let mut edge = Setup::transforming(&origin, wrong).spawn();
        assert!(!edge.wait_for_exit().success(), "{wrong}");
        let (_, text) = edge.whole_output();
        assert!(text.contains(said), "{wrong}: {text}");
    }
}

#[test]
fn a_route_that_names_an_unknown_watermark_is_refused_before_a_port_is_open() {
    let origin = origin();
    for wrong in ["defaults: 'wm=unknown'", "presets: {small: 'w=24&wm=unknown'}"] {
        let edge = Setup::transforming(&origin, wrong).spawn();
        let text = crate::support::eventually("the edge says something", || {
            let said = edge.stdout() + &edge.stderr();
            (!said.is_empty()).then_some(said)
        });
        assert!(
            text.contains("unknown") && !text.contains("listening"),
            "{wrong}: {text}"
        );
    }
}
