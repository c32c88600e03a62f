//! What URLs ask for, seen from outside: what each parameter says, in queries and in paths.

use super::config::{Invalid, Transform};
use super::*;
use http::{HeaderMap, HeaderName};
use std::borrow::Cow;
use std::collections::HashMap;

pub(super) const CHROME: &str = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8";

/// Every query parameter with a few values it can have.
pub(super) const GOOD: &[(&str, &[&str])] = &[
    ("w", &["1", "300", "8192", "auto"]),
    ("h", &["1", "200", "8192"]),
    (
        "fit",
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
    ("dpr", &["0.5", "1", "1.25", "2.0", "5"]),
    ("q", &["1", "75", "100", "lossless"]),
    (
        "fm",
        &["auto", "jpeg", "jpg", "png", "webp", "avif", "gif", "source"],
    ),
    ("format", &["auto", "webp"]),
    ("auto", &["format", "format,compress", "compress"]),
    (
        "crop",
        &[
            "center",
            "north",
            "top,left",
            "smart",
            "focal:0.25,0.75",
            "0.3x0.7",
        ],
    ),
    ("gravity", &["southeast", "auto"]),
    ("rect", &["0,0,1,1", "10,20,300,400"]),
    ("rot", &["0", "90", "180", "270", "-90"]),
    ("flip", &["h", "v", "hv"]),
    ("blur", &["0", "0.5", "3", "250"]),
    ("sharpen", &["0", "1.5", "10"]),
    ("bri", &["-100", "0", "100"]),
    ("con", &["-100", "0", "100"]),
    ("sat", &["-100", "0", "100"]),
    (
        "bg",
        &["fff", "FF8800", "%23ff8800", "ff880080", "white", "transparent"],
    ),
    ("trim", &["", "auto", "1", "100", "0"]),
    ("pad", &["0", "10", "512", "1,2,3,4"]),
    ("mono", &["", "1", "ff8800"]),
    ("wm", &["logo"]),
    ("blurhash", &["", "1", "true", "0"]),
    ("thumbhash", &["", "false"]),
    ("lqip", &[""]),
    ("dominant", &[""]),
    ("info", &[""]),
    ("mb", &["1000", "10000000"]),
    ("preset", &["avatar"]),
    ("dl", &["", "1", "cat.jpg"]),
];

/// Values that the parameters can not have, and what the refusal says is allowed.
const BAD: &[(&str, &[&str], &str)] = &[
    (
        "w",
        &[
            "",
            "0",
            "8193",
            "-1",
            "1.5",
            "abc",
            "+3",
            "99999999999999999999",
            "1e3",
            "%00",
        ],
        "a whole number 1..8192 (pixels), or auto",
    ),
    ("h", &["", "0", "8193", "auto"], "a whole number 1..8192 (pixels)"),
    (
        "fit",
        &["", "max", "Cover"],
        "clip, contain, cover, crop, fill, scale, pad or scale-down",
    ),
    ("dpr", &["", "0", "0.49", "5.01", "2x"], "a number 0.5..5"),
    (
        "q",
        &["", "0", "101", "high", "1.5"],
        "a whole number 1..100, or lossless",
    ),
    (
        "fm",
        &["", "jxl", "WEBP"],
        "auto, jpeg, jpg, png, webp, avif, gif or source",
    ),
    (
        "auto",
        &["", "redeye", "format,enhance"],
        "format, or format,compress",
    ),
    (
        "crop",
        &["", "faces", "focal:2,0", "focal:0.5"],
        "center, north, northeast, east, southeast, south, southwest, west, northwest, top, right, bottom, left, \
         smart, or focal:x,y with x and y 0..1",
    ),
    (
        "rect",
        &["", "1,2,3", "1,2,3,4,5", "0,0,0,1", "-1,0,1,1", "0,0,1,65537"],
        "x,y,width,height in whole pixels 0..65536, the last two at least 1",
    ),
    ("rot", &["", "45", "450"], "0, 90, 180 or 270 (degrees clockwise)"),
    ("flip", &["", "x"], "h, v or hv"),
    ("blur", &["", "-1", "250.1"], "a number 0..250"),
    ("sharpen", &["", "10.1"], "a number 0..10"),
    ("bri", &["", "-101", "101", "1.5"], "a whole number -100..100"),
    (
        "bg",
        &["", "red", "ffff", "rgb(0,0,0)"],
        "RGB, RRGGBB or RRGGBBAA in hexadecimal, white, black or transparent",
    ),
    (
        "trim",
        &["101", "color"],
        "nothing, auto, or a whole number 1..100",
    ),
    (
        "pad",
        &["", "513", "1,2", "1,2,3,4,5"],
        "a whole number 0..512 (pixels), or four: top,right,bottom,left",
    ),
    (
        "mono",
        &["red", "ff880080"],
        "nothing, or RGB or RRGGBB in hexadecimal",
    ),
    ("wm", &["", "other"], "the name of a configured watermark"),
    ("info", &["2", "yes"], "nothing, 1 or true (0 or false: not)"),
    (
        "mb",
        &["", "999", "10000001", "10k"],
        "a whole number 1000..10000000 (bytes)",
    ),
    ("preset", &["", "other"], "the name of a preset of this route"),
    ("dl", &["%ff"], "nothing, or a file name in UTF-8"),
];

pub(super) fn watermarks() -> HashMap<String, Digest> {
    HashMap::from([("logo".to_owned(), Digest::of(b"logo"))])
}

pub(super) fn transform() -> Transform {
    let presets = [("avatar", "w=96&h=96&fit=crop"), ("blurred", "blur=10&info")];
    Transform {
        presets: presets
            .map(|(name, text)| (name.to_owned(), text.to_owned()))
            .into(),
        ..Transform::default()
    }
}

pub(super) fn compiled(transform: &Transform) -> Policy {
    Policy::compile(transform, &watermarks())
}

pub(super) fn policy() -> Policy {
    compiled(&transform())
}

pub(super) fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let fields = fields
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
    fields.collect()
}

pub(super) fn asked(
    policy: &Policy,
    query: &str,
    fields: &[(&'static str, &str)],
) -> (Option<Wish>, Negotiated) {
    let headers = headers(fields);
    let taken = take(policy, None, Some(query), &headers).unwrap();
    (taken.wish, taken.negotiated)
}

pub(super) fn spec_of(policy: &Policy, query: &str) -> Spec {
    let wish = asked(policy, query, &[]).0;
    wish.map(|wish| wish.spec).unwrap_or_default()
}

fn text_of(query: &str) -> String {
    spec_of(&policy(), query).to_string()
}

fn options(text: &str) -> Result<String, SpecError> {
    let taken = take(&policy(), Some(text), None, &HeaderMap::new())?;
    Ok(taken.wish.map(|wish| wish.spec).unwrap_or_default().to_string())
}

// ---- Values ----

#[test]
fn every_parameter_takes_its_values_and_leaves_nothing_in_the_query() {
    for (name, values) in GOOD {
        for value in *values {
            let query = format!("a=1&{name}={value}&b");
            let taken = take(&policy(), None, Some(&query), &HeaderMap::new()).unwrap();
            assert_eq!(taken.query.as_deref(), Some("a=1&b"), "{query}");
        }
    }
}

#[test]
fn a_wrong_value_is_refused_by_parameter_value_and_what_is_allowed() {
    for (name, values, allowed) in BAD {
        for value in *values {
            let query = format!("w=100&{name}={value}");
            let error = take(&policy(), None, Some(&query), &HeaderMap::new()).unwrap_err();
            let expected = format!("{name}={value}: allowed is {allowed}; the request is refused");
            assert_eq!(error.to_string(), expected);
        }
    }
}

#[test]
fn a_wrong_value_is_dropped_where_the_route_says_so_and_the_rest_counts() {
    let policy = compiled(&Transform {
        invalid: Invalid::Drop,
        ..transform()
    });
    for (name, values, _) in BAD {
        for value in *values {
            let query = format!("blur=5&{name}={value}&h=100&x=1");
            let taken = take(&policy, None, Some(&query), &HeaderMap::new()).unwrap();
            let text = taken.wish.unwrap().spec.to_string();
            assert_eq!(text, "h=128,fit=within,blur=50,fm=source", "{query}");
            assert_eq!(taken.query.as_deref(), Some("x=1"));
        }
    }
}

#[test]
fn parameters_say_what_the_table_says() {
    for (query, text) in [
        ("w=300", "w=320,fit=within,fm=source"),
        ("h=300&fit=cover&crop=north", "h=320,fit=within,fm=source"),
        ("w=300&h=300", "w=320,h=320,fit=within,fm=source"),
        ("w=300&h=200&fit=cover", "w=320,h=213,fit=cover:50:50,fm=source"),
        (
            "w=300&h=200&fit=crop&crop=top",
            "w=320,h=213,fit=cover:50:0,fm=source",
        ),
        (
            "w=300&h=200&fit=crop&gravity=smart",
            "w=320,h=213,fit=cover:smart,fm=source",
        ),
        (
            "w=300&h=200&fit=crop&crop=focal:0.31,0.68",
            "w=320,h=213,fit=cover:30:70,fm=source",
        ),
        (
            "w=300&h=200&fit=fill&bg=fff",
            "w=320,h=213,fit=pad,bg=ffffffff,fm=source",
        ),
        ("w=300&h=200&fit=scale", "w=320,h=213,fit=scale,fm=source"),
        ("w=300&dpr=2", "w=640,fit=within,fm=source"),
        ("w=4000&dpr=5", "w=4096,fit=within,fm=source"),
        ("w=300&dpr=0.5", "w=160,fit=within,fm=source"),
        ("w=300&q=74", "w=320,fit=within,q=70,fm=source"),
        ("w=300&q=75", "w=320,fit=within,fm=source"),
        ("w=300&q=1", "w=320,fit=within,q=40,fm=source"),
        ("q=lossless&fm=webp", "q=lossless,fm=webp"),
        ("q=40&fm=png", "fm=png"),
        ("q=40&fm=gif", "fm=gif"),
        ("fm=jpg&bg=white", "fm=jpeg"),
        ("fm=jpg&bg=000", "bg=000000ff,fm=jpeg"),
        ("fm=webp&bg=fff&bg=ffffff00", "fm=webp"),
        ("rect=3,4,100,50", "rect=0:8:104:48,fm=source"),
        ("rect=1,1,1,1", "rect=0:0:8:8,fm=source"),
        ("rot=90", "turn=1,fm=source"),
        ("rot=-90&flip=h", "turn=m3,fm=source"),
        ("flip=v", "turn=m2,fm=source"),
        ("flip=hv&rot=180&w=64", "w=64,fit=within,fm=source"),
        ("trim", "trim=10,fm=source"),
        ("trim=3", "trim=3,fm=source"),
        ("trim=23", "trim=25,fm=source"),
        ("bri=7&con=-7&sat=2", "bri=5,con=-5,fm=source"),
        ("bri=-100&con=100&sat=98", "bri=-100,con=100,sat=100,fm=source"),
        ("mono", "mono=000000ff,fm=source"),
        ("mono=f80", "mono=ff8800ff,fm=source"),
        ("blur=2.3", "blur=25,fm=source"),
        ("blur=2.3&dpr=2", "blur=25,fm=source"),
        ("blur=2.3&dpr=2&w=64", "w=128,fit=within,blur=45,fm=source"),
        ("blur=123", "blur=1250,fm=source"),
        ("sharpen=1.2", "sharpen=10,fm=source"),
        ("pad=10", "pad=12:12:12:12,fm=source"),
        ("pad=1,0,8,500", "pad=4:0:8:500,fm=source"),
        ("pad=5&dpr=2&h=64", "h=128,fit=within,pad=12:12:12:12,fm=source"),
        ("mb=49999&fm=webp", "mb=20000,fm=webp"),
        ("mb=10000000", "mb=10000000,fm=source"),
        ("preset=avatar", "w=96,h=96,fit=cover:50:50,fm=source"),
        ("preset=avatar&h=200", "w=96,h=200,fit=cover:50:50,fm=source"),
        ("preset=avatar&fit=clip&fm=png", "w=96,h=96,fit=within,fm=png"),
        ("preset=blurred", "info"),
        ("preset=blurred&info=0", "blur=100,fm=source"),
        ("preset=blurred&lqip", "lqip"),
        ("w=100&w=300", "w=320,fit=within,fm=source"),
        ("fm=webp&auto=compress", "fm=webp"),
    ] {
        assert_eq!(text_of(query), text, "{query}");
    }
}

#[test]
fn what_is_no_picture_depends_only_on_the_part_of_the_source_that_is_seen() {
    for (query, text) in [
        ("info&w=100&rot=90&trim&fm=webp", "info"),
        ("blurhash&w=300&h=200", "blurhash"),
        (
            "blurhash&w=300&h=200&fit=crop",
            "w=96,h=64,fit=cover:50:50,blurhash",
        ),
        (
            "thumbhash&w=900&h=600&fit=cover&crop=west&dpr=3",
            "w=96,h=64,fit=cover:0:50,thumbhash",
        ),
        (
            "lqip&rect=0,0,80,80&rot=90&trim&blur=9&bri=50&bg=f00&wm=logo&q=9",
            "rect=0:0:80:80,trim=10,turn=1,lqip",
        ),
        ("dominant&w=300&h=200&fit=scale&pad=10&mono&mb=1000", "dominant"),
        ("lqip&dominant&thumbhash&blurhash", "blurhash"),
        ("blurhash&info", "info"),
    ] {
        assert_eq!(text_of(query), text, "{query}");
    }
}

#[test]
fn what_changes_nothing_is_no_wish() {
    for query in [
        "dpr=3",
        "q=80",
        "q=82",
        "rot=0",
        "rot=360",
        "flip=hv&rot=180",
        "fit=cover&crop=north",
        "fm=source",
        "bg=transparent",
        "bg=ff000000",
        "blur=0&sharpen=0.2&bri=0&con=2&sat=-2",
        "pad=0",
        "trim=0",
        "mono=0",
        "info=0",
        "auto=compress",
        "w=auto",
    ] {
        for keep_copyright in [false, true] {
            let policy = compiled(&Transform {
                keep_copyright,
                ..transform()
            });
            assert_eq!(
                asked(&policy, query, &[]),
                (None, Negotiated::default()),
                "{query}"
            );
        }
    }
}

#[test]
fn a_watermark_is_known_by_name_and_digest() {
    let spec = spec_of(&policy(), "wm=logo&fm=webp");
    let expected = Watermark {
        name: "logo".into(),
        digest: Digest::of(b"logo"),
    };
    assert_eq!(spec.watermark, Some(expected));
    let other = HashMap::from([("logo".to_owned(), Digest::of(b"another logo"))]);
    let other = Policy::compile(&transform(), &other);
    assert_ne!(spec_of(&other, "wm=logo&fm=webp").to_string(), spec.to_string());
}

#[test]
fn fits_differ_in_whether_they_enlarge_where_the_route_does() {
    let policy = compiled(&Transform {
        enlarge: true,
        ..Transform::default()
    });
    for (fit, expected) in [
        ("clip", (Fit::Within, false)),
        ("scale-down", (Fit::Within, false)),
        ("contain", (Fit::Within, true)),
        ("cover", (Fit::Cover(Gravity::CENTER), true)),
        ("crop", (Fit::Cover(Gravity::CENTER), false)),
        ("pad", (Fit::Pad, true)),
        ("fill", (Fit::Pad, true)),
        ("scale", (Fit::Scale, true)),
    ] {
        let size = spec_of(&policy, &format!("w=64&h=64&fit={fit}")).size.unwrap();
        assert_eq!((size.fit, size.enlarge), expected, "{fit}");
    }
    assert_eq!(
        spec_of(&policy, "w=64&h=64").size.map(|size| size.enlarge),
        Some(false)
    );
}

#[test]
fn a_route_of_every_size_snaps_no_length() {
    let policy = compiled(&Transform {
        sizes: Vec::new(),
        qualities: Vec::new(),
        ..Transform::default()
    });
    let spec = spec_of(&policy, "w=333&h=217&rect=1,2,3,4&pad=3&q=77&fm=jpeg");
    assert_eq!(
        spec.to_string(),
        "rect=1:2:3:4,w=333,h=217,fit=within,pad=3:3:3:3,q=77,fm=jpeg"
    );
}

// ---- Queries ----

#[test]
fn a_clients_colours_have_four_bits_a_channel() {
    for (query, text) in [
        ("bg=010203", "bg=000000ff,fm=source"),
        ("bg=08090a", "bg=001111ff,fm=source"),
        ("bg=77888990", "bg=77888888,fm=source"),
        ("bg=f6f7fe", "bg=eeffffff,fm=source"),
        ("bg=abcdef08", "fm=source"),
        ("bg=abc", "bg=aabbccff,fm=source"),
        ("mono=123456", "mono=113355ff,fm=source"),
        ("bg=fafbfc&fm=jpeg", "fm=jpeg"),
    ] {
        assert_eq!(text_of(query), text, "{query}");
        let option = query.replace('&', ",");
        assert_eq!(options(&option).unwrap(), text, "{option}");
    }
}

#[test]
fn a_configurations_colours_and_those_of_a_route_of_every_size_are_exact() {
    let named = compiled(&Transform {
        defaults: "bg=010203".into(),
        presets: [("ink".to_owned(), "mono=123456".to_owned())].into(),
        ..Transform::default()
    });
    let text = |policy: &Policy, query: &str| spec_of(policy, query).to_string();
    assert_eq!(text(&named, "x=1"), "bg=010203ff,fm=source");
    assert_eq!(text(&named, "preset=ink"), "mono=123456ff,bg=010203ff,fm=source");
    assert_eq!(
        text(&named, "preset=ink&mono=123456"),
        "mono=113355ff,bg=010203ff,fm=source"
    );
    let exact = compiled(&Transform {
        sizes: vec![],
        ..transform()
    });
    assert_eq!(
        text(&exact, "bg=01020304&mono=123456"),
        "mono=123456ff,bg=01020304,fm=source"
    );
}

#[test]
fn the_sources_own_query_comes_out_as_it_went_in() {
    for (query, rest) in [
        ("w=1", None),
        ("v=3&w=1", Some("v=3")),
        ("b=2&w=1&a=%7e+&W=2&a", Some("b=2&a=%7e+&W=2&a")),
        ("w=1&=&width=3&ww=1", Some("=&width=3&ww=1")),
        ("%77=5&w=1", Some("%77=5")),
        ("w=1&", None),
    ] {
        let taken = take(&policy(), None, Some(query), &HeaderMap::new()).unwrap();
        assert_eq!(taken.query.as_deref(), rest, "{query}");
    }
}

#[test]
fn a_query_without_parameters_is_borrowed_as_it_is() {
    for query in ["", "a=1", "a=1&&b&=", "wide=w&x=w=3", "%77=5"] {
        let taken = take(&policy(), None, Some(query), &headers(&[("accept", CHROME)])).unwrap();
        assert!(matches!(taken.query, Some(Cow::Borrowed(same)) if same == query));
        assert_eq!(
            (taken.wish, taken.negotiated, taken.download),
            (None, Negotiated::default(), None)
        );
    }
    let none = take(&policy(), None, None, &HeaderMap::new()).unwrap();
    assert_eq!((none.query, none.wish), (None, None));
}

#[test]
fn defaults_hold_under_every_request_and_presets_over_them() {
    let policy = compiled(&Transform {
        defaults: "fm=webp&q=60&w=1000".into(),
        ..transform()
    });
    let bare = take(&policy, None, None, &HeaderMap::new()).unwrap();
    assert_eq!(
        bare.wish.unwrap().spec.to_string(),
        "w=1080,fit=within,q=60,fm=webp"
    );
    let own = take(&policy, None, Some("a=1"), &HeaderMap::new()).unwrap();
    assert_eq!((own.query.as_deref(), own.wish.is_some()), (Some("a=1"), true));
    assert_eq!(
        spec_of(&policy, "preset=avatar&q=90").to_string(),
        "w=96,h=96,fit=cover:50:50,q=90,fm=webp"
    );
    assert_eq!(spec_of(&policy, "info").to_string(), "info");
}

#[test]
fn query_wins_over_options_and_options_over_presets() {
    let policy = policy();
    let taken = |options, query| {
        let taken = take(&policy, Some(options), Some(query), &HeaderMap::new()).unwrap();
        (
            taken.wish.unwrap().spec.to_string(),
            taken.query.map(Cow::into_owned),
        )
    };
    assert_eq!(
        taken("w=100,preset=avatar,fit=clip", "v=1&w=200"),
        ("w=200,h=96,fit=within,fm=source".into(), Some("v=1".into()))
    );
    assert_eq!(
        taken("w=100", "preset=avatar&v=1"),
        ("w=128,h=123,fit=cover:50:50,fm=source".into(), Some("v=1".into()))
    );
    assert_eq!(taken("q=40,w=64", "q=60").0, "w=64,fit=within,q=60,fm=source");
}

#[test]
fn a_route_of_presets_takes_nothing_else() {
    let strict = Transform {
        presets_only: true,
        defaults: "fm=webp".into(),
        ..transform()
    };
    let refusing = compiled(&strict);
    assert_eq!(
        spec_of(&refusing, "preset=avatar&dl").to_string(),
        "w=96,h=96,fit=cover:50:50,fm=webp"
    );
    let error = take(&refusing, None, Some("preset=avatar&w=3"), &HeaderMap::new()).unwrap_err();
    let expected = "w=3: allowed is only preset=NAME and dl on this route; the request is refused";
    assert_eq!(error.to_string(), expected);
    assert!(take(&refusing, Some("w=3"), None, &HeaderMap::new()).is_err());
    let dropping = compiled(&Transform {
        invalid: Invalid::Drop,
        ..strict
    });
    assert_eq!(
        spec_of(&dropping, "preset=avatar&w=3&q=1").to_string(),
        "w=96,h=96,fit=cover:50:50,fm=webp"
    );
}

#[test]
fn a_download_is_asked_for_with_or_without_a_transform() {
    for (query, field) in [
        ("dl", Some("attachment")),
        ("dl=1", Some("attachment")),
        ("dl=0", None),
        ("dl=my+cat.jpg", Some("attachment; filename=\"my cat.jpg\"")),
        ("dl=a%0d%0ab%22", Some("attachment; filename=\"a__b_\"")),
        (
            "dl=%E2%82%AC.jpg",
            Some("attachment; filename=\"_.jpg\"; filename*=UTF-8''%E2%82%AC.jpg"),
        ),
    ] {
        let taken = take(&policy(), None, Some(query), &HeaderMap::new()).unwrap();
        let expected = field.map(|field| Download(field.parse().unwrap()));
        assert_eq!((taken.download, taken.wish), (expected, None), "{query}");
    }
}

// ---- Paths ----

#[test]
fn an_alias_is_taken_apart() {
    for (path, options, source) in [
        ("/cdn-cgi/image/w=300/a.jpg", "w=300", "/a.jpg"),
        (
            "/cdn-cgi/image/w=1,h=2/a/b/c=d,e.jpg",
            "w=1,h=2",
            "/a/b/c=d,e.jpg",
        ),
        ("/cdn-cgi/image//a.jpg", "", "/a.jpg"),
        ("/cdn-cgi/image/w=300/httpx/a:b", "w=300", "/httpx/a:b"),
    ] {
        assert_eq!(alias(path), Ok(Some(Alias { options, source })));
    }
    for path in [
        "/",
        "/a.jpg",
        "/cdn-cgi/imagew=1/a",
        "/cdn-cgi/image",
        "/x/cdn-cgi/image/w=1/a",
    ] {
        assert_eq!(alias(path), Ok(None));
    }
}

#[test]
fn an_alias_of_another_host_is_refused() {
    for source in [
        "",
        "/",
        "//evil.example/a.jpg",
        "/http://evil.example/a.jpg",
        "/https:/evil.example/a.jpg",
        "/HTTPS://evil.example/a.jpg",
        "/http%3A//evil.example/a.jpg",
        "/%68ttps%3A%2F%2Fevil.example/a.jpg",
        "/%2F/evil.example/a.jpg",
    ] {
        let path = format!("/cdn-cgi/image/w=300{source}");
        let error = alias(&path).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("source={source}: allowed is a path of this host")),
            "{error}"
        );
    }
}

#[test]
fn options_have_the_names_of_queries_and_of_cloudflare() {
    for (text, spec) in [
        ("", "fm=source"),
        (
            "w=300,h=200,fit=cover,q=50",
            "w=320,h=213,fit=cover:50:50,q=50,fm=source",
        ),
        (
            "width=300,height=200,fit=crop,gravity=0.5x0,quality=50,format=webp",
            "w=320,h=213,fit=cover:50:0,q=50,fm=webp",
        ),
        ("rect=8,16,24,32,info=0", "rect=8:16:24:32,fm=source"),
        ("rect=8%2C16%2C24%2C32", "rect=8:16:24:32,fm=source"),
        ("pad=4,8,12,16,w=64", "w=64,fit=within,pad=4:8:12:16,fm=source"),
        (
            "w=64,h=64,fit=crop,crop=focal:0.3,0.7,q=40",
            "w=64,h=64,fit=cover:30:70,q=40,fm=source",
        ),
        (
            "trim,w=64,mono",
            "trim=10,w=64,fit=within,mono=000000ff,fm=source",
        ),
        ("w=64,info", "info"),
        (
            "brightness=1.5,contrast=0.5,saturation=1",
            "bri=50,con=-50,fm=source",
        ),
        ("brightness=2,saturation=0", "bri=100,sat=-100,fm=source"),
        ("rotate=90,background=%23ff0000", "turn=1,bg=ff0000ff,fm=source"),
        (
            "anim=true,metadata=none,onerror=redirect,format=baseline-jpeg",
            "fm=jpeg",
        ),
        ("auto=format,compress,w=64", "w=64,fit=within,fm=legacy"),
    ] {
        assert_eq!(options(text).as_deref(), Ok(spec), "{text}");
    }
}

#[test]
fn options_that_do_not_exist_are_refused() {
    for (text, begins) in [
        ("foo", "foo=: allowed is one of w, h, fit,"),
        ("zoom=0.5", "zoom=0.5: allowed is one of w, h, fit,"),
        ("w=300,foo", "w=300,foo: allowed is a whole number"),
        ("w=300,,h=2", "w=300,: allowed is a whole number"),
        (",w=300", "=: allowed is one of"),
        ("width=0", "width=0: allowed is a whole number 1..8192"),
        ("brightness=3", "brightness=3: allowed is a number 0..2"),
        ("anim=false", "anim=false: allowed is true (animations are kept)"),
        ("metadata=keep", "metadata=keep: allowed is copyright or none"),
        ("onerror=x", "onerror=x: allowed is redirect"),
        ("gravity=face", "gravity=face: allowed is center, north"),
        ("fit=squeeze", "fit=squeeze: allowed is clip,"),
        ("%77=300", "%77=300: allowed is one of"),
    ] {
        let error = options(text).unwrap_err().to_string();
        assert!(error.starts_with(begins), "{text}: {error}");
    }
    let dropping = compiled(&Transform {
        invalid: Invalid::Drop,
        ..transform()
    });
    let taken = take(&dropping, Some("foo=1,w=64,bar"), None, &HeaderMap::new()).unwrap();
    assert_eq!(taken.wish, None);
}

#[test]
fn the_tables_of_parameters_name_them_all() {
    let table = include_str!("../../docs/parameters.md");
    let readme = include_str!("../../README.md");
    let long = [
        "width",
        "height",
        "quality",
        "brightness",
        "contrast",
        "saturation",
        "rotate",
        "background",
    ];
    let harmless = ["anim", "metadata", "onerror"];
    for (name, _) in GOOD {
        assert!(
            readme.contains(&format!("`{name}`")),
            "{name} is not in the README"
        );
    }
    let names = GOOD.iter().map(|(name, _)| *name).chain(long).chain(harmless);
    for name in names {
        assert!(super::parameter::Parameter::in_path(name).is_some(), "{name}");
        assert!(table.contains(&format!("`{name}`")), "{name} is not in the table");
    }
}
