//! Each rule on small false sources: that it finds what it is for, and leaves the rest alone.

use super::rust::{Part, Source, test_files};
use super::{LINES_MAX, declarations, floors, forbidden, homes, length, opening};

fn source(path: &str, text: &str) -> Source {
    Source {
        path: path.into(),
        text: text.into(),
        part: Part::Production,
    }
}

#[test]
fn a_path_upwards_or_sideways_is_found_however_it_is_spelled() {
    let upwards = [
        ("src/store/mod.rs", "use crate::serve::Served;"),
        ("src/store/mod.rs", "use crate::upstream::Origin;"),
        ("src/store/ssd.rs", "fn f() -> crate :: edge :: Config { x }"),
        ("src/store/ssd.rs", "use crate::{base::clock, edge};"),
        (
            "src/store/ssd.rs",
            "use crate::{base::{clock, units}, serve::{self}};",
        ),
        ("src/store/mod.rs", "use super::edge;"),
        ("src/store/ssd.rs", "use super::super::edge;"),
        ("src/store/deep/ssd.rs", "use super::super::super::edge;"),
        ("src/store/mod.rs", "let s = \"'\"; use aquatint::edge;"),
        ("src/http/mod.rs", "use crate::key::CacheKey;"),
        ("src/edge/mod.rs", "use crate::app::serve;"),
        ("src/base/mod.rs", "fn f<'a>(x: &'a str) { crate::http::f('\"') }"),
    ];
    for (path, text) in upwards {
        assert_eq!(floors(&source(path, text)).len(), 1, "{path}: {text}");
    }
}

#[test]
fn a_path_downwards_or_inside_the_module_is_no_complaint() {
    let fine = [
        (
            "src/store/mod.rs",
            "use crate::key::CacheKey; use crate::{base::clock, http};",
        ),
        (
            "src/store/ssd.rs",
            "use crate::store::entry; use super::edge; use super::{serve, app};",
        ),
        (
            "src/store/mod.rs",
            "// use crate::edge;\n/* crate::edge /* */ crate::edge */ let a = \"crate::edge\";",
        ),
        (
            "src/store/mod.rs",
            "let a = r#\"crate::\"edge\"#; let b = br\"crate::edge\"; pub(crate) fn edge() {}",
        ),
        ("src/edge/mod.rs", "use crate::{serve::{cli, main}, store};"),
        ("src/edge/mod.rs", "use other::crate_name::cli; self.cli::<X>()"),
        ("src/lib.rs", "use crate::cli;"),
    ];
    for (path, text) in fine {
        assert_eq!(floors(&source(path, text)), [""; 0], "{path}: {text}");
    }
}

#[test]
fn a_module_nobody_gave_a_floor_is_found() {
    assert_eq!(floors(&source("src/helpers/mod.rs", "")).len(), 1);
    assert_eq!(floors(&source("src/helpers.rs", "")).len(), 1);
}

#[test]
fn a_vendor_crate_away_from_home_is_found() {
    let away = [
        ("src/serve/mod.rs", "use pingora_core::apps::X;"),
        ("src/serve/mod.rs", "fn f(x: &pingora_http::X) {}"),
        ("src/serve/mod.rs", "use ::foyer::Cache;"),
        ("src/serve/mod.rs", "fn f(x: &::foyer::Cache) {}"),
        ("src/serve/mod.rs", "use foyer as cache;"),
        ("src/base/clock.rs", "use prometheus::IntCounter;"),
        ("src/serve/config.rs", "fn f() { serde_yaml :: to_value(1) }"),
    ];
    for (path, text) in away {
        assert_eq!(homes(&source(path, text)).len(), 1, "{path}: {text}");
    }
    let fine = [
        ("src/store/memory.rs", "use foyer::Cache;"),
        ("src/upstream/http.rs", "use pingora_core::X;"),
        (
            "src/serve/mod.rs",
            "let foyer = 1; self.foyer::<X>(); crate::store::foyer::f(); // foyer::Cache",
        ),
    ];
    for (path, text) in fine {
        assert_eq!(homes(&source(path, text)), [""; 0], "{path}: {text}");
    }
}

#[test]
fn a_file_that_says_nothing_of_itself_is_found() {
    assert_eq!(opening(&source("src/a.rs", "use x;\n//! Late.")).len(), 1);
    assert_eq!(opening(&source("src/a.rs", "//!\n")).len(), 1);
    assert_eq!(opening(&source("src/a.rs", "//! What it is.\n")), [""; 0]);
}

#[test]
fn only_lines_that_are_not_tests_make_a_file_too_long() {
    let long = "fn f() {}\n".repeat(LINES_MAX + 1);
    let tests = format!("#[cfg(test)]\nmod tests {{\n{long}}}\n");
    assert_eq!(length(&source("src/a.rs", &long)).len(), 1);
    assert_eq!(length(&source("src/a.rs", &format!("{tests}{long}"))).len(), 1);
    assert_eq!(
        length(&source("src/a.rs", &format!("#[cfg(test)]\nmod tests;\n{long}"))).len(),
        1
    );
    assert_eq!(
        length(&source("src/a.rs", &format!("fn f() {{}}\n{tests}"))),
        [""; 0]
    );
    assert_eq!(
        length(&Source {
            part: Part::Tests,
            ..source("src/a/tests.rs", &long)
        }),
        [""; 0]
    );
}

#[test]
fn an_unwrap_or_something_unfinished_is_found() {
    let bad = [
        "fn f() { x.unwrap() }",
        "fn f() { x\n    .unwrap()\n }",
        "#[cfg(test)]\nmod tests { fn g() { x.unwrap() } }\nfn f() { x.unwrap() }",
        "#[cfg(test)]\nmod tests;\nfn f() { x.unwrap() }",
        "fn f() { todo!() }",
        "#[cfg(test)]\nmod tests { fn g() { dbg!(x) } }",
    ];
    for text in bad {
        assert_eq!(forbidden(&source("src/a.rs", text)).len(), 1, "{text}");
    }
    let fine = [
        "#[cfg(test)]\nmod tests { fn g() { let c = '{'; x.unwrap() } }\nfn f() {}",
        "/// x.unwrap() and todo!()\nfn f() { x.unwrap_or(1) }",
    ];
    for text in fine {
        assert_eq!(forbidden(&source("src/a.rs", text)), [""; 0], "{text}");
    }
    assert_eq!(
        forbidden(&Source {
            part: Part::Tests,
            ..source("src/a/tests.rs", "x.unwrap()")
        }),
        [""; 0]
    );
}

#[test]
fn a_file_of_tests_is_known_by_who_declares_it() {
    let declared = |path, text| test_files(&source(path, text));
    let in_folder = ["src/a/fakes.rs", "src/a/fakes/mod.rs"];
    assert_eq!(
        declared("src/a/mod.rs", "#[cfg(test)]\npub(crate) mod fakes;\nmod send;\n"),
        in_folder
    );
    assert_eq!(
        declared("src/a.rs", "mod send;\n#[cfg(test)]\nmod fakes;\n"),
        in_folder
    );
    let by_path = "#[cfg(test)]\n#[path = \"b_tests.rs\"]\nmod tests;\n";
    assert_eq!(declared("src/a/b.rs", by_path), ["src/a/b_tests.rs"]);
    assert_eq!(
        declared(
            "src/a/b.rs",
            "#[cfg(test)]\nmod tests {\nmod send;\n}\nmod more;\n"
        ),
        [""; 0]
    );
}

#[test]
fn modules_declared_out_of_order_are_found() {
    let lib = |text| declarations(&source("src/lib.rs", text));
    assert_eq!(
        lib("pub mod base;\n\npub mod key;\npub mod http;\npub mod edge;\n"),
        [""; 0]
    );
    assert_eq!(lib("pub mod key;\npub mod base;\n").len(), 1);
    assert_eq!(lib("pub mod base;\npub mod helpers;\n").len(), 1);
}
