//! What holds for all URLs and specs.

use super::config::{Invalid, Transform};
use super::tests::{CHROME, GOOD, asked, compiled, policy, spec_of, transform};
use super::*;
use http::{HeaderMap, HeaderName};
use proptest::prelude::*;
use std::collections::HashSet;

/// Any value in a parameter's range; `None` for those that have no numbers.
fn any_number(name: &str, [a, b, c, d]: [u32; 4]) -> Option<String> {
    let decimal = |hundredths: u32| format!("{}.{:02}", hundredths / 100, hundredths % 100);
    let side = |number: u32| number % 513;
    Some(match name {
        "w" | "h" => format!("{}", 1 + a % 8_192),
        "dpr" => decimal(50 + a % 451),
        "q" | "trim" => format!("{}", 1 + a % 100),
        "crop" => format!("focal:{},{}", decimal(a % 101), decimal(b % 101)),
        "rect" => format!(
            "{},{},{},{}",
            a % 65_537,
            b % 65_537,
            1 + c % 65_536,
            1 + d % 65_536
        ),
        "blur" => decimal(a % 25_001),
        "sharpen" => decimal(a % 1_001),
        "bri" | "con" | "sat" => format!("{}", i64::from(a % 201) - 100),
        "bg" => format!("{a:08x}"),
        "mono" => format!("{:06x}", a >> 8),
        "pad" => format!("{},{},{},{}", side(a), side(b), side(c), side(d)),
        "mb" => format!("{}", 1_000 + a % 9_999_001),
        _ => return None,
    })
}

/// A query of parameters that are good, each at most once.
fn good_query() -> impl Strategy<Value = Vec<String>> {
    let one = (
        0..GOOD.len(),
        any::<prop::sample::Index>(),
        any::<Option<[u32; 4]>>(),
    );
    prop::collection::vec(one, 0..8).prop_map(|picked| {
        let mut seen = HashSet::new();
        let mut pairs = Vec::new();
        for (at, index, numbers) in picked {
            let (name, values) = GOOD[at];
            // Names of one parameter: which comes last is what counts.
            let kind = match name {
                "format" | "auto" => "fm",
                "gravity" => "crop",
                name => name,
            };
            if seen.insert(kind) {
                let number = numbers.and_then(|numbers| any_number(name, numbers));
                let value = number.unwrap_or_else(|| index.get(values).to_string());
                pairs.push(format!("{name}={value}"));
            }
        }
        pairs
    })
}

/// A spec as a query that asks for it.
fn as_query(spec: &Spec) -> Vec<String> {
    let mut query = vec![match spec.output {
        Output::Picture(_) => "dpr=1".to_owned(),
        other => other.to_string(),
    }];
    if let Some(Region {
        left,
        top,
        width,
        height,
    }) = spec.region
    {
        query.push(format!("rect={left},{top},{width},{height}"));
    }
    query.extend(spec.trim.map(|trim| format!("trim={trim}")));
    query.extend(spec.turn.mirrored.then(|| "flip=h".to_owned()));
    query.push(format!("rot={}", u32::from(spec.turn.quarters) * 90));
    if let Some(size) = spec.size {
        query.extend(size.width.map(|width| format!("w={width}")));
        query.extend(size.height.map(|height| format!("h={height}")));
        let fit = match (size.fit, size.enlarge) {
            (Fit::Within, false) => "clip".to_owned(),
            (Fit::Within, true) => "contain".to_owned(),
            (Fit::Cover(gravity), enlarge) => {
                query.push(match gravity {
                    Gravity::Smart => "crop=smart".to_owned(),
                    Gravity::Focal(x, y) => {
                        format!("crop={}.{:02}x{}.{:02}", x / 100, x % 100, y / 100, y % 100)
                    }
                });
                if enlarge {
                    "cover".to_owned()
                } else {
                    "crop".to_owned()
                }
            }
            (fit, _) => fit.to_string(),
        };
        query.push(format!("fit={fit}"));
    }
    for (name, number) in [
        ("bri", spec.brightness),
        ("con", spec.contrast),
        ("sat", spec.saturation),
    ] {
        query.push(format!("{name}={number}"));
    }
    query.push(format!("blur={}.{}", spec.blur / 10, spec.blur % 10));
    query.push(format!("sharpen={}.{}", spec.sharpen / 10, spec.sharpen % 10));
    query.extend(
        spec.mono
            .map(|colour| format!("mono={}", &colour.to_string()[..6])),
    );
    let Padding {
        top,
        right,
        bottom,
        left,
    } = spec.padding;
    query.push(format!("pad={top},{right},{bottom},{left}"));
    query.extend(spec.background.map(|colour| format!("bg={colour}")));
    query.extend(
        spec.watermark
            .as_ref()
            .map(|watermark| format!("wm={}", watermark.name)),
    );
    if let Output::Picture(picture) = spec.output {
        query.push(match picture.quality {
            Quality::Lossy(quality) => format!("q={quality}"),
            Quality::Lossless => "q=lossless".to_owned(),
        });
        query.extend(picture.bytes_max.map(|bytes| format!("mb={bytes}")));
        // What every client shows is what a client without a word gets.
        query.push(format!("fm={}", picture.format).replace("legacy", "auto"));
    }
    query
}

fn any_colour() -> impl Strategy<Value = Colour> {
    any::<[u8; 4]>().prop_map(|[red, green, blue, alpha]| Colour {
        red,
        green,
        blue,
        alpha,
    })
}

fn any_gravity() -> impl Strategy<Value = Gravity> {
    prop_oneof![
        any::<(u8, u8)>().prop_map(|(x, y)| Gravity::Focal(x, y)),
        Just(Gravity::Smart)
    ]
}

fn any_size() -> impl Strategy<Value = Size> {
    let fit = prop_oneof![
        Just(Fit::Within),
        any_gravity().prop_map(Fit::Cover),
        Just(Fit::Pad),
        Just(Fit::Scale)
    ];
    let side = || prop::option::of(0u32..3);
    (side(), side(), fit, any::<bool>()).prop_map(|(width, height, fit, enlarge)| Size {
        width,
        height,
        fit,
        enlarge,
    })
}

fn any_output() -> impl Strategy<Value = Output> {
    use Format::*;
    let format = prop::sample::select(vec![
        Source,
        Legacy,
        Jpeg,
        Png,
        Webp,
        Avif,
        AvifOr(Moving::Webp),
        AvifOr(Moving::Legacy),
        Gif,
    ]);
    let quality = prop_oneof![(70u8..90).prop_map(Quality::Lossy), Just(Quality::Lossless)];
    let picture = (format, quality, prop::option::of(any::<u32>()), any::<bool>());
    let picture = picture.prop_map(|(format, quality, bytes_max, copyright)| {
        Output::Picture(Picture {
            format,
            quality,
            bytes_max,
            copyright,
        })
    });
    let fact = prop::sample::select(vec![
        Output::Info,
        Output::Blurhash,
        Output::Thumbhash,
        Output::Tiny,
        Output::Dominant,
    ]);
    prop_oneof![picture, fact]
}

prop_compose! {
    /// Any spec at all, also such as no policy makes.
    fn any_spec()(
        (region, trim) in (prop::option::of(any::<[u32; 4]>()), prop::option::of(any::<u8>())),
        (mirrored, quarters) in any::<(bool, u8)>(),
        size in prop::option::of(any_size()),
        [brightness, contrast, saturation] in any::<[i8; 3]>(),
        (blur, sharpen) in any::<(u16, u8)>(),
        [top, right, bottom, left] in any::<[u16; 4]>(),
        (mono, background) in (prop::option::of(any_colour()), prop::option::of(any_colour())),
        watermark in prop::option::of((".{0,4}|[a,:=%]{0,4}", any::<[u8; 32]>())),
        output in any_output(),
    ) -> Spec {
        Spec {
            region: region.map(|[left, top, width, height]| Region { left, top, width, height }),
            trim,
            turn: Turn { mirrored, quarters },
            size,
            brightness,
            contrast,
            saturation,
            mono,
            blur,
            sharpen,
            padding: Padding { top, right, bottom, left },
            background,
            watermark: watermark.map(|(name, digest)| Watermark { name, digest: Digest::from_bytes(digest) }),
            output,
        }
    }
}

/// Each field of `one` or, where its bit is set, of `other`: specs that differ in little.
fn mixed<'a>(one: &'a Spec, other: &'a Spec, bits: u16) -> Spec {
    let from = |bit: u16| if bits >> bit & 1 == 1 { other } else { one };
    Spec {
        region: from(0).region,
        trim: from(1).trim,
        turn: from(2).turn,
        size: from(3).size,
        brightness: from(4).brightness,
        contrast: from(5).contrast,
        saturation: from(6).saturation,
        mono: from(7).mono,
        blur: from(8).blur,
        sharpen: from(9).sharpen,
        padding: from(10).padding,
        background: from(11).background,
        watermark: from(12).watermark.clone(),
        output: from(13).output,
    }
}

proptest! {
    #[test]
    fn specs_have_one_text_exactly_when_they_are_one(
        one in any_spec(), other in any_spec(), bits in any::<u16>(), few in 0usize..14,
    ) {
        // Near misses are where two texts could meet.
        for other in [mixed(&one, &other, bits), mixed(&one, &other, 1 << few), other] {
            prop_assert_eq!(one == other, one.to_string() == other.to_string(), "{} {}", one, other);
        }
        let text = one.to_string();
        prop_assert!(text.bytes().all(|byte| (b'!'..=b'~').contains(&byte)), "{}", text);
    }

    #[test]
    fn sizes_have_one_text_exactly_when_they_are_one(one in any_size(), other in any_size()) {
        prop_assert_eq!(one == other, one.to_string() == other.to_string());
    }

    #[test]
    fn the_order_of_parameters_does_not_matter(
        (query, shuffled) in good_query().prop_flat_map(|query| (Just(query.clone()), Just(query).prop_shuffle())),
    ) {
        let policy = policy();
        let fields = [("accept", CHROME)];
        prop_assert_eq!(
            asked(&policy, &query.join("&"), &fields),
            asked(&policy, &shuffled.join("&"), &fields)
        );
    }

    #[test]
    fn a_query_and_the_options_of_a_path_say_the_same(query in good_query()) {
        let policy = policy();
        let by_path = take(&policy, Some(&query.join(",")), None, &HeaderMap::new()).unwrap();
        let query = query.join("&");
        let by_query = take(&policy, None, Some(&query), &HeaderMap::new()).unwrap();
        prop_assert_eq!((by_path.wish, by_path.download), (by_query.wish, by_query.download));
    }

    #[test]
    fn a_canonical_spec_asked_for_again_is_itself(query in good_query(), sizes in 0usize..3, enlarge in any::<bool>()) {
        let policy = compiled(&Transform {
            sizes: [Transform::default().sizes, vec![], vec![100, 333, 1001]][sizes].clone(),
            enlarge,
            ..transform()
        });
        let spec = spec_of(&policy, &query.join("&"));
        let Padding { top, right, bottom, left } = spec.padding;
        // A screen may make more of a padding than can be asked for.
        prop_assume!([top, right, bottom, left].iter().all(|side| *side <= 512));
        let again = as_query(&spec).join("&");
        prop_assert_eq!(spec_of(&policy, &again), spec, "{}", again);
    }

    #[test]
    fn no_text_makes_a_url_panic(
        query in "\\PC{0,60}|([a-z]{1,3}=[-0-9.,x%#a-f]{0,9}&){0,6}",
        junk in any::<String>(),
        hints in any::<bool>(),
    ) {
        let policy = compiled(&Transform { client_hints: hints, ..transform() });
        let mut headers = HeaderMap::new();
        for name in ["accept", "sec-ch-dpr", "sec-ch-width", "save-data"] {
            headers.extend(HeaderValue::from_bytes(junk.as_bytes()).ok().map(|value| (HeaderName::from_static(name), value)));
        }
        for query in [&query, &junk] {
            drop(take(&policy, Some(query), Some(query), &headers));
            drop(alias(query));
            for (name, _) in GOOD {
                drop(take(&policy, None, Some(&format!("fm=auto&{name}={query}")), &headers));
                drop(take(&policy, Some(&format!("{name}={query}")), None, &headers));
            }
            drop(alias(&format!("/cdn-cgi/image/{query}")));
        }
    }

    #[test]
    fn what_is_not_ours_is_never_lost(own in prop::collection::vec("[A-Z]{1,3}(=[a-z%+]{0,3})?", 0..5), query in good_query()) {
        let mut all: Vec<String> = own.clone();
        for (at, pair) in query.into_iter().enumerate() {
            all.insert((at * 2).min(all.len()), pair);
        }
        let all = all.join("&");
        let taken = take(&policy(), None, Some(&all), &HeaderMap::new()).unwrap();
        prop_assert_eq!(taken.query.unwrap_or_default(), own.join("&"));
    }
}

/// Numbers that look random and are the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// How many specs `count` queries mint.
fn minted(policy: &Policy, count: usize, mut query: impl FnMut() -> String) -> usize {
    let specs: HashSet<String> = (0..count)
        .map(|_| spec_of(policy, &query()).to_string())
        .collect();
    specs.len()
}

#[test]
fn ten_thousand_junk_queries_mint_no_more_than_the_ladder_allows() {
    let seed = 0x5eed_0004;
    println!("seed {seed:#x}");
    let mut random = Random(seed);
    let transform = transform();
    let policy = compiled(&transform);
    // Each step of the ladder and no size, each quality and the default: whatever else the query holds.
    let bound = (transform.sizes.len() + 1) * (transform.qualities.len() + 1);
    let by_width = minted(&policy, 10_000, || {
        format!(
            "junk={}&w={}&q={}&dpr={}.{}&fit=cover&crop=0.{}x0.1&rot=0&{}=x&bg=transparent&blur=0.0{}",
            random.below(1 << 30),
            1 + random.below(8_192),
            1 + random.below(100),
            1 + random.below(4),
            random.below(100),
            random.below(100),
            random.below(1 << 30),
            random.below(5),
        )
    });
    assert!(by_width <= bound, "{by_width} of {bound}");
    assert!(
        by_width > bound / 2,
        "the queries reach the ladder: {by_width} of {bound}"
    );

    // Boxes: each step with each of 103 shapes, lying or standing.
    let bound = transform.sizes.len() * (2 * 103 - 1);
    let by_box = minted(&policy, 10_000, || {
        format!(
            "w={}&h={}&fit=crop&x={}",
            1 + random.below(8_192),
            1 + random.below(8_192),
            random.below(99)
        )
    });
    assert!(by_box <= bound, "{by_box} of {bound}");

    // Colours: four bits each of three channels.
    let bound = 1 << 12;
    let by_colour = minted(&policy, 10_000, || format!("mono={:06x}", random.below(1 << 24)));
    assert!(by_colour <= bound, "{by_colour} of {bound}");
}

#[test]
fn a_route_of_presets_mints_no_more_than_it_has() {
    let transform = Transform {
        presets_only: true,
        invalid: Invalid::Drop,
        ..transform()
    };
    let policy = compiled(&transform);
    let mut random = Random(7);
    let specs = minted(&policy, 1_000, || {
        let presets = ["avatar", "blurred", "none"];
        let preset = presets[random.below(3) as usize];
        format!(
            "w={}&preset={preset}&h={}&fm=webp",
            random.below(9_000),
            random.below(9_000)
        )
    });
    assert_eq!(specs, transform.presets.len() + 1);
}
