//! What request headers have a say in, and what a route's configuration says.

use super::config::{ModernFormat, OnFailure, OnOverload, Transform};
use super::tests::{CHROME, asked, compiled, headers, policy, transform};
use super::*;
use crate::base::problem::Problems;
use http::HeaderMap;

fn problems(transform: &Transform) -> Vec<String> {
    let mut problems = Problems::default();
    transform.validate(&mut problems);
    let found = problems.into_found().into_iter();
    found
        .map(|p| format!("{}: {}: allowed {}", p.key, p.value, p.allowed))
        .collect()
}

// ---- Headers ----

#[test]
fn accept_is_resolved_to_one_format() {
    use Format::{AvifOr, Legacy, Webp};
    for (accept, format, stand_in) in [
        (CHROME, AvifOr(Moving::Webp), Some(Webp)),
        (
            "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5",
            AvifOr(Moving::Webp),
            Some(Webp),
        ),
        ("image/webp,*/*", Webp, None),
        (
            "image/webp,image/avif,image/jxl,image/heic,image/heic-sequence,video/*;q=0.8,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5",
            AvifOr(Moving::Webp),
            Some(Webp),
        ),
        (
            "image/png,image/svg+xml,image/*;q=0.8,video/*;q=0.8,*/*;q=0.5",
            Legacy,
            None,
        ),
        ("*/*", Legacy, None),
        ("image/*", Legacy, None),
        ("", Legacy, None),
        ("IMAGE/AVIF", AvifOr(Moving::Legacy), None),
        ("image/avif;q=0,image/webp", Webp, None),
        ("image/avif ; Q=0.000, image/webp;q=0", Legacy, None),
        ("image/avif;q=0.5, image/webp;q=0", AvifOr(Moving::Legacy), None),
        ("image/avif;level=1;q=0.1", AvifOr(Moving::Legacy), None),
        ("image/avif;q=x,image/webp;q=", Legacy, None),
        ("image/avifx,ximage/webp,image/web,avif,webp", Legacy, None),
        (",;,=;q,,image/,;q=1;image/avif", Legacy, None),
    ] {
        let (wish, negotiated) = asked(&policy(), "fm=auto", &[("accept", accept)]);
        let wish = wish.unwrap();
        let formats = [Some(wish.spec.clone()), wish.stand_in].map(|spec| match spec?.output {
            Output::Picture(picture) => Some(picture.format),
            _ => None,
        });
        assert_eq!(formats, [Some(format), stand_in], "{accept}");
        assert!(negotiated.accept, "{accept}");
        assert!(wish.spec.changes_only_format());
    }
}

#[test]
fn lines_of_accept_are_one_and_unreadable_ones_none() {
    let mut headers = headers(&[("accept", "image/png")]);
    headers.append("accept", HeaderValue::from_bytes(b"image/avif, \xff").unwrap());
    headers.append("accept", "image/webp".parse().unwrap());
    let taken = take(&policy(), None, Some("fm=auto"), &headers).unwrap();
    assert_eq!(taken.wish.unwrap().spec.to_string(), "fm=webp");
}

#[test]
fn the_route_says_which_formats_are_tried_and_in_which_order() {
    use ModernFormat::{Avif, Webp};
    for (formats, text, stand_in, accept) in [
        (vec![Avif, Webp], "fm=avif-or-webp", true, true),
        (vec![Webp, Avif], "fm=webp", false, true),
        (vec![Avif], "fm=avif-or-legacy", false, true),
        (vec![Webp], "fm=webp", false, true),
        (vec![], "fm=legacy", false, false),
    ] {
        let policy = compiled(&Transform {
            formats,
            ..Transform::default()
        });
        let (wish, negotiated) = asked(&policy, "fm=auto", &[("accept", CHROME)]);
        let wish = wish.unwrap();
        assert_eq!(
            (wish.spec.to_string().as_str(), wish.stand_in.is_some()),
            (text, stand_in)
        );
        assert_eq!(negotiated.accept, accept);
    }
}

#[test]
fn what_was_asked_for_by_name_is_not_negotiated_and_has_no_stand_in() {
    let (wish, negotiated) = asked(&policy(), "fm=avif&w=64", &[("accept", CHROME)]);
    assert_eq!(wish.unwrap().stand_in, None);
    assert_eq!(negotiated, Negotiated::default());
    let (_, negotiated) = asked(&policy(), "fm=auto&info", &[("accept", CHROME)]);
    assert_eq!(negotiated, Negotiated::default());
}

#[test]
fn a_stand_in_differs_only_in_its_format() {
    let wish = asked(&policy(), "auto=format&w=300&q=60&blur=3", &[("accept", CHROME)])
        .0
        .unwrap();
    assert_eq!(
        wish.spec.to_string(),
        "w=320,fit=within,blur=30,q=60,fm=avif-or-webp"
    );
    assert_eq!(
        wish.stand_in.unwrap().to_string(),
        "w=320,fit=within,blur=30,q=60,fm=webp"
    );
}

#[test]
fn client_hints_count_only_where_the_route_wants_them() {
    let hints = [
        ("sec-ch-dpr", "2.0"),
        ("sec-ch-width", "700"),
        ("save-data", "on"),
        ("accept", CHROME),
    ];
    let plain = policy();
    assert_eq!(plain.accept_ch(), None);
    let (wish, negotiated) = asked(&plain, "w=300", &hints);
    assert_eq!(wish.unwrap().spec.to_string(), "w=320,fit=within,fm=source");
    assert_eq!(negotiated.vary(), None);

    let hinted = compiled(&Transform {
        client_hints: true,
        ..transform()
    });
    assert_eq!(hinted.accept_ch().unwrap(), "Sec-CH-DPR, Sec-CH-Width, Save-Data");
    for (query, text, vary) in [
        (
            "w=300",
            "w=640,fit=within,q=50,fm=source",
            "Sec-CH-DPR, Save-Data",
        ),
        ("w=300&q=40", "w=640,fit=within,q=40,fm=source", "Sec-CH-DPR"),
        ("w=300&dpr=1&q=50", "w=320,fit=within,q=50,fm=source", ""),
        ("w=300&dpr=1&q=60", "w=320,fit=within,q=50,fm=source", "Save-Data"),
        ("w=300&dpr=1", "w=320,fit=within,q=50,fm=source", "Save-Data"),
        ("w=300&fm=png", "w=640,fit=within,fm=png", "Sec-CH-DPR"),
        (
            "w=300&q=lossless",
            "w=640,fit=within,q=lossless,fm=source",
            "Sec-CH-DPR",
        ),
        (
            "w=auto",
            "w=800,fit=within,q=50,fm=source",
            "Sec-CH-Width, Save-Data",
        ),
        (
            "w=auto&dpr=3",
            "w=800,fit=within,q=50,fm=source",
            "Sec-CH-Width, Save-Data",
        ),
        (
            "w=auto&h=350&fit=crop",
            "w=800,h=800,fit=cover:50:50,q=50,fm=source",
            "Sec-CH-DPR, Sec-CH-Width, Save-Data",
        ),
        (
            "w=auto&pad=4",
            "w=800,fit=within,pad=8:8:8:8,q=50,fm=source",
            "Sec-CH-DPR, Sec-CH-Width, Save-Data",
        ),
        ("fm=auto", "q=50,fm=avif-or-webp", "Accept, Save-Data"),
        ("blur=1", "blur=10,q=50,fm=source", "Save-Data"),
        ("info&w=100", "info", ""),
        ("q=80", "fm=source", ""),
    ] {
        let (wish, negotiated) = asked(&hinted, query, &hints);
        let text_made = wish.map(|wish| wish.spec).unwrap_or_default().to_string();
        assert_eq!(text_made, text, "{query}");
        let named = negotiated.vary().map(|vary| vary.to_str().unwrap().to_owned());
        assert_eq!(named.unwrap_or_default(), vary, "{query}");
        let (_, without) = asked(&hinted, query, &[]);
        assert_eq!(
            without.dpr, negotiated.dpr,
            "{query}: what had a say depends on the URL alone"
        );
        assert_eq!(without.accept, negotiated.accept, "{query}");
        assert_eq!(without.save_data, negotiated.save_data, "{query}");
    }
}

#[test]
fn hints_that_can_not_be_read_are_as_if_not_there() {
    let hinted = compiled(&Transform {
        client_hints: true,
        dpr_max: 2.0,
        ..Transform::default()
    });
    let made = |query: &str, fields: &[(&'static str, &str)]| {
        let wish = asked(&hinted, query, fields).0;
        wish.map(|wish| wish.spec).unwrap_or_default().to_string()
    };
    for wrong in ["", "0", "-1", "x", "2x", "1e9", "101"] {
        let text = made("w=300", &[("sec-ch-dpr", wrong)]);
        assert_eq!(text, "w=320,fit=within,fm=source", "{wrong}");
    }
    assert_eq!(
        made("w=300", &[("sec-ch-dpr", "9")]),
        "w=640,fit=within,fm=source"
    );
    assert_eq!(made("w=300&dpr=5", &[]), "w=640,fit=within,fm=source");
    for wrong in ["", "0", "-1", "1.5", "99999999999"] {
        assert_eq!(made("w=auto", &[("sec-ch-width", wrong)]), "fm=source", "{wrong}");
    }
    assert_eq!(
        made("w=64", &[("save-data", "ON; x=1")]),
        "w=64,fit=within,q=50,fm=source"
    );
    assert_eq!(made("w=64", &[("save-data", "off")]), "w=64,fit=within,fm=source");
}

// ---- Configuration ----

#[test]
fn the_default_configuration_is_sound_and_survives_being_written() {
    let transform = Transform::default();
    assert_eq!(problems(&transform), [""; 0]);
    let written = serde_json::to_string(&transform).unwrap();
    assert_eq!(serde_json::from_str::<Transform>(&written).unwrap(), transform);
    assert_eq!(serde_json::from_str::<Transform>("{}").unwrap(), transform);
    assert!(serde_json::from_str::<Transform>("{\"size\": []}").is_err());
    let policy = compiled(&transform);
    assert_eq!(policy.variants_per_source(), 200);
    assert_eq!(
        (policy.on_failure(), policy.on_overload()),
        (OnFailure::Original, OnOverload::Original)
    );
}

#[test]
fn all_that_is_wrong_with_a_configuration_is_said_with_its_key() {
    let text = "{\"defaults\": \"fm=jxl\", \"presets\": {\"a\": \"w=0\", \"b\": \"wide=3\", \"c d\": \"w=3\", \
                \"e\": \"preset=a\", \"ok\": \"w=3&wm=later&dl=x\"}, \"sizes\": [100, 0], \"qualities\": [101], \
                \"formats\": [\"webp\", \"webp\"], \"save_data_quality\": 0, \"dpr_max\": 9, \
                \"variants_per_source\": 0, \"on_failure\": \"placeholder\", \"on_overload\": \"stale\"}";
    let transform: Transform = serde_json::from_str(text).unwrap();
    let expected = [
        "presets.a: w=0: allowed w is a whole number 1..8192 (pixels), or auto",
        "presets.b: wide=3: allowed parameters as in a query: w=300&h=200&fit=crop",
        "presets.c d: w=3: allowed a name of letters, digits, - and _, at most 64",
        "presets.e: preset=a: allowed preset is the name of a preset of this route",
        "defaults: fm=jxl: allowed fm is auto, jpeg, jpg, png, webp, avif, gif or source",
        "sizes[1]: 0: allowed 1..8192",
        "qualities[0]: 101: allowed 1..100",
        "formats[1]: webp: allowed each format once",
        "save_data_quality: 0: allowed 1..100",
        "dpr_max: 9: allowed 1..5",
        "variants_per_source: 0: allowed 1..1000000",
    ];
    assert_eq!(problems(&transform), expected);
    assert_eq!(
        transform.watermarks(),
        [("presets.ok".to_owned(), "later".to_owned())]
    );
}

#[test]
fn a_preset_may_be_the_default() {
    let transform = Transform {
        defaults: "preset=avatar&fm=webp".into(),
        ..transform()
    };
    assert_eq!(problems(&transform), [""; 0]);
    let taken = take(&compiled(&transform), None, None, &HeaderMap::new()).unwrap();
    assert_eq!(
        taken.wish.unwrap().spec.to_string(),
        "w=96,h=96,fit=cover:50:50,fm=webp"
    );
}
