//! The rules of the house, held as code: floors, homes of vendor crates, how a file opens and how long it may be.
//!
//! Each rule is a function from sources to complaints. It is tried on small false sources first, so that a rule
//! which has gone blind fails here, and then on this repository. Rules read code only: what stands in comments
//! and strings does not count.

#[path = "tidy/can_fail.rs"]
mod can_fail;
#[path = "tidy/rust.rs"]
mod rust;

use rust::{
    Part, Source, code_of, identifiers, module_of, modules_used, names_a_crate, test_files, without_tests,
};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Every module of the crate and its floor, bottom first. A module uses only lower floors.
const FLOORS: [(&str, u8); 18] = [
    ("base", 0),
    ("http", 1),
    ("key", 1),
    ("scope", 1),
    ("spec", 1),
    ("wire", 1),
    ("image", 2),
    ("store", 2),
    ("trace", 2),
    ("upstream", 2),
    ("cluster", 3),
    ("purge", 3),
    ("serve", 4),
    ("edge", 5),
    ("config", 6),
    ("app", 7),
    ("cli", 8),
    ("main", 9),
];

/// Crates that may be named only at home: their name's beginning, and where they live.
const HOMES: [(&str, &[&str]); 27] = [
    ("anyhow", &["src/cluster/members/"]),
    ("pingora", &["src/edge/", "src/upstream/"]),
    ("foyer", &["src/store/"]),
    ("prometheus", &["src/base/metrics.rs", "src/base/metrics/"]),
    ("serde_yaml", &["src/config/"]),
    ("clap", &["src/cli/"]),
    ("console", &["src/cli/"]),
    ("httparse", &["src/cli/client/"]),
    ("indicatif", &["src/cli/"]),
    ("turbojpeg", &["src/image/"]),
    ("libavif", &["src/image/"]),
    ("image_webp", &["src/image/"]),
    ("fast_image_resize", &["src/image/"]),
    ("moxcms", &["src/image/"]),
    ("quantette", &["src/image/"]),
    ("sd_notify", &["src/app/"]),
    ("x509_parser", &["src/edge/listen.rs"]),
    ("openraft", &["src/purge/log/"]),
    ("redb", &["src/purge/log/"]),
    ("standardwebhooks", &["src/purge/"]),
    ("opentelemetry", &["src/trace/"]),
    ("ureq", &["src/trace/"]),
    ("chitchat", &["src/cluster/members/"]),
    ("chacha20poly1305", &["src/cluster/members/"]),
    ("rendezvous_hash", &["src/cluster/ring.rs", "src/cluster/ring/"]),
    ("hyper", &["src/cluster/peers/"]),
    ("tonic", &["src/wire/", "src/cluster/", "src/edge/peers/"]),
];

/// Lines of a file that are not its tests.
const LINES_MAX: usize = 450;

/// What may stand in tests only, and what nowhere; as it is spelled without spaces.
const TESTS_ONLY: [&str; 1] = [".unwrap()"];
const NOWHERE: [&str; 3] = ["todo!", "unimplemented!", "dbg!"];

/// The path and what is wrong there.
type Complaint = String;

// ---- The rules ----

fn floors(source: &Source) -> Vec<Complaint> {
    let Some(module) = module_of(&source.path) else {
        return Vec::new();
    };
    let Some(floor) = floor_of(module) else {
        return vec![format!(
            "{}: the module `{module}` has no floor in FLOORS",
            source.path
        )];
    };
    let used = modules_used(source);
    let too_high = used.iter().filter(|used| *used != module);
    too_high
        .filter(|used| floor_of(used).is_some_and(|used| used >= floor))
        .map(|used| {
            format!(
                "{}: `{module}` uses `{used}`, which is no floor below it",
                source.path
            )
        })
        .collect()
}

fn homes(source: &Source) -> Vec<Complaint> {
    let code = code_of(&source.text);
    let names: BTreeSet<&str> = identifiers(&code)
        .filter(|(start, name)| names_a_crate(&code, *start, name))
        .map(|(_, name)| name)
        .collect();
    let mut complaints = Vec::new();
    for (vendor, homes) in HOMES {
        let at_home = homes.iter().any(|home| source.path.starts_with(home));
        for name in names.iter().filter(|name| !at_home && name.starts_with(vendor)) {
            complaints.push(format!("{}: `{name}` is at home only in {homes:?}", source.path));
        }
    }
    complaints
}

fn opening(source: &Source) -> Vec<Complaint> {
    let told = source.text.starts_with("//! ");
    let complaint = format!("{}: does not open with `//!` and what it is", source.path);
    if told { Vec::new() } else { vec![complaint] }
}

fn length(source: &Source) -> Vec<Complaint> {
    let lines = without_tests(source).lines().count();
    let complaint = format!(
        "{}: {lines} lines that are not tests, more than {LINES_MAX}",
        source.path
    );
    if lines > LINES_MAX {
        vec![complaint]
    } else {
        Vec::new()
    }
}

fn forbidden(source: &Source) -> Vec<Complaint> {
    let code = code_of(&source.text);
    let everywhere = NOWHERE.map(|pattern| (pattern, code.clone()));
    let outside_tests = TESTS_ONLY.map(|pattern| (pattern, without_tests(source)));
    let found = everywhere
        .into_iter()
        .chain(outside_tests)
        .filter(|(pattern, code)| {
            let dense: String = code.split_whitespace().collect();
            dense.contains(pattern)
        });
    found
        .map(|(pattern, _)| format!("{}: `{pattern}`", source.path))
        .collect()
}

/// `lib.rs` declares the modules in the order of the floors.
fn declarations(library: &Source) -> Vec<Complaint> {
    let code = code_of(&library.text);
    let declared: Vec<&str> = code
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    let floors: Vec<Option<u8>> = declared.iter().map(|module| floor_of(module)).collect();
    if floors.is_sorted() && !floors.contains(&None) {
        Vec::new()
    } else {
        vec![format!(
            "{}: modules not bottom floor first: {declared:?}",
            library.path
        )]
    }
}

fn floor_of(module: &str) -> Option<u8> {
    FLOORS
        .iter()
        .find(|(name, _)| *name == module)
        .map(|(_, floor)| *floor)
}

// ---- This repository ----

fn sources_below(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for item in fs::read_dir(&folder).into_iter().flatten() {
            let path = item.expect("a folder of this repository can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source is readable text");
                let path = path
                    .strip_prefix(root)
                    .expect("below the root it was found from")
                    .display()
                    .to_string();
                found.push(Source {
                    path,
                    text,
                    part: Part::Production,
                });
            }
        }
    }
    let tests: BTreeSet<String> = found.iter().flat_map(test_files).collect();
    for source in found.iter_mut().filter(|source| tests.contains(&source.path)) {
        source.part = Part::Tests;
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn assert_tidy(rule: fn(&Source) -> Vec<Complaint>, folders: &[&str]) {
    let sources: Vec<Source> = folders.iter().flat_map(|folder| sources_below(folder)).collect();
    assert!(
        sources.iter().any(|source| source.path == "src/lib.rs"),
        "no sources found"
    );
    let complaints: Vec<Complaint> = sources.iter().flat_map(rule).collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn modules_use_only_the_floors_below_them() {
    assert_tidy(floors, &["src"]);
}

#[test]
fn vendor_crates_stay_in_their_homes() {
    assert_tidy(homes, &["src"]);
}

#[test]
fn every_file_opens_with_what_it_is() {
    assert_tidy(opening, &["src", "tests", "benches"]);
}

#[test]
fn no_file_is_too_long_to_be_read_in_one_go() {
    assert_tidy(length, &["src"]);
}

#[test]
fn nothing_unfinished_and_no_unwrap_reaches_production() {
    assert_tidy(forbidden, &["src"]);
}

#[test]
fn the_library_lists_its_modules_bottom_floor_first() {
    let library = sources_below("src")
        .into_iter()
        .find(|source| source.path == "src/lib.rs")
        .unwrap();
    assert_eq!(declarations(&library), [""; 0]);
    for (module, _) in FLOORS.iter().filter(|(module, _)| *module != "main") {
        assert!(
            library.text.contains(&format!("pub mod {module};")),
            "FLOORS lists {module}"
        );
    }
}

// ---- What is written about the code ----

/// Names of metrics in a text.
fn metrics_in(text: &str) -> BTreeSet<&str> {
    let names = identifiers(text).map(|(_, name)| name);
    names.filter(|name| name.starts_with("aquatint_")).collect()
}

fn repository_text(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(path).expect("a file of this repository can be read")
}

#[test]
fn documents_name_metrics_that_exist_and_one_of_them_names_all() {
    let table = repository_text("src/base/metrics/table.rs");
    let existing = metrics_in(&table);
    assert!(
        existing.contains("aquatint_requests_total"),
        "the metrics are found: {existing:?}"
    );
    assert_eq!(metrics_in(&repository_text("docs/metrics.md")), existing);
    for document in ["README.md", "docs/purging.md"] {
        let text = repository_text(document);
        let unknown: Vec<_> = metrics_in(&text).difference(&existing).copied().collect();
        assert_eq!(unknown, [""; 0], "{document}");
    }
}
