//! What a configuration has to be, seen through [`load`].

use super::*;
use crate::base::units::Span;
use crate::cluster::secret::ClusterSecret;
use crate::serve::config::{Keep, Route};
use crate::upstream::config::HttpVersion;
use std::collections::BTreeSet;

/// The least that can stand: everything else is a default.
const LEAST: &str = "origins: {default: {url: http://127.0.0.1:3000}}\n";

fn load_text(text: &str, overrides: &Overrides) -> Result<Config, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("aquatint.yaml");
    std::fs::write(&file, text).unwrap();
    let prefix = format!("{}: ", file.display());
    load(Some(&file), overrides).map_err(|error| {
        let text = error.to_string().replace(&prefix, "");
        text.lines().map(String::from).collect()
    })
}

fn accepted(text: &str) -> Config {
    load_text(text, &Overrides::default()).unwrap()
}

fn refused(text: &str) -> Vec<String> {
    load_text(text, &Overrides::default()).unwrap_err()
}

#[test]
fn one_origin_is_all_that_has_to_be_said() {
    let config = accepted(LEAST);
    assert_eq!(config.origins.keys().collect::<Vec<_>>(), ["default"]);
    assert_eq!(
        config,
        Config {
            origins: config.origins.clone(),
            ..Config::default()
        }
    );
}

#[test]
fn every_problem_is_reported_at_once_with_key_value_and_what_is_allowed() {
    let text = r#"
edge:
  threads: many
  headers_max: 5000
  listen: localhost
store:
  eviction: random
  memory: 512
  directry: /data
log: {format: xml, filter: "a=b=c"}
origins:
  shop: {url: http://127.0.0.1:3000, retries: -1}
  nowhere: {}
  pool:
    addresses:
      - {weight: 0, address: "127.0.0.1:1"}
      - {weight: 2}
      - {address: 127.0.0.1:2, weight: 5000}
routes:
  - {origin: shop, path: images}
  - 7
  - {origin: shop, ttl: {by_status: {200: 1h, 999: 1h, 404: soon}}}
  - {origin: missing, path: /a, query: {keep: some}}
  - {origin: shop, path: /a/, content_types: [image/*, {a: b}]}
  - {origin: shop, path: /b, query: {keep: {include: w}}}
surprise: true
"#;
    let found = refused(text);
    let expected = [
        "edge.headers_max: 5000: allowed 1..256",
        "edge.listen: localhost: allowed an address with its port, such as 127.0.0.1:8080",
        "edge.threads: many: allowed a whole number, 0 or more",
        "log.filter: a=b=c: allowed directives such as info or warn,aquatint::store=debug",
        "log.format: xml: allowed text or json",
        "origins.nowhere: none: allowed exactly one of url, addresses and directory",
        "origins.pool.addresses[0].weight: 0: allowed 1..1000",
        "origins.pool.addresses[1].address: (missing): allowed a value; this key has no default",
        "origins.pool.addresses[2].weight: 5000: allowed 1..1000",
        "origins.shop.retries: -1: allowed a whole number, 0 or more",
        "routes[0].path: images: allowed a path that starts with /",
        "routes[1]: 7: allowed keys with values",
        "routes[2].ttl.by_status.404: soon: allowed a time with its unit, such as 250ms, 30s, 10m or 365days",
        "routes[2].ttl.by_status.999: 999: allowed a status such as 404, or a class such as 5xx",
        "routes[3].origin: missing: allowed a name under origins: nowhere, pool, shop",
        "routes[3].query.keep: some: allowed all, none, include, exclude",
        "routes[4].content_types[1]: {\"a\":\"b\"}: allowed a string",
        "routes[4].path: /a/: allowed a path of its own: routes[3] has this host and path",
        "routes[5].query.keep.include: w: allowed a list",
        "store.directry: no such key: allowed memory, entry_memory, eviction, shards, directory, ssd, \
         entry_ssd, admission, write_queue_bytes_max, ssd_check_interval, ssd_read_deadline, close_deadline, expiry_interval, keep_expired",
        "store.eviction: random: allowed lru, lfu, fifo, s3fifo, sieve",
        "store.memory: 512: allowed a size with its unit, such as 64KiB, 256MiB or 10GiB",
        "surprise: no such key: allowed edge, admin, store, purge, cluster, serve, log, tracing, origins, routes",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_fill_ends_after_its_patience_with_an_origin_that_is_behind() {
    let patience =
        |text: &str| format!("{LEAST}serve: {{fill_deadline: 2s}}\npurge: {{minimum_patience: {text}}}\n");
    let found = refused(&patience("2s"));
    assert_eq!(
        found,
        ["purge.minimum_patience: 2s: allowed less than serve.fill_deadline, 2s"]
    );
    accepted(&patience("1s"));
    let found = refused(&patience("soon"));
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn a_broken_syntax_is_reported_with_line_and_column() {
    let [line] = refused("edge:\n  listen: [1\nstore: x\n").try_into().unwrap();
    assert!(
        line.starts_with("line 3 column 6: did not find expected ',' or ']'"),
        "{line}"
    );
    let [line] = refused("edge: {}\nstore: {}\nedge: {}\n").try_into().unwrap();
    assert!(line.contains("duplicate entry with key \"edge\""), "{line}");
}

#[test]
fn a_document_that_is_no_map_of_sections_is_refused_without_blaming_its_sections() {
    let found = refused("- edge\n");
    assert_eq!(
        found,
        ["(document): [\"edge\"]: allowed sections with keys, such as `edge:`"]
    );
    let found = refused("edge: {}\n---\nedge: {}\n");
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn a_section_with_nothing_in_it_is_its_default() {
    let config = accepted(&format!("edge:\nstore:\n  # memory: 1GiB\nroutes:\n{LEAST}"));
    assert_eq!(config.edge, Default::default());
    assert_eq!(config.routes, [Route::default()]);
}

#[test]
fn null_turns_off_what_has_another_default() {
    let config = accepted(&format!("{LEAST}routes: [{{version_parameter: null}}]"));
    assert_eq!(config.routes[0].version_parameter, None);
    assert_eq!(Route::default().version_parameter, Some("v".into()));
}

#[test]
fn a_plain_scalar_is_text_where_text_is_wanted() {
    let text = "
edge: {name: 7}
origins:
  default: {url: http://127.0.0.1:1, http: 2}
  old: {url: http://127.0.0.1:1, http: 1.1}
routes: [{ttl: {by_status: {404: 10s, 5xx: 0}}, query: {keep: {exclude: [1, utm_source]}}}]
";
    let config = accepted(text);
    assert_eq!(config.edge.name, "7");
    assert_eq!(config.origins["default"].http, HttpVersion::Http2);
    assert_eq!(config.origins["old"].http, HttpVersion::Http1);
    let route = &config.routes[0];
    assert_eq!(route.ttl.by_status["404"], Span::secs(10));
    assert_eq!(route.ttl.by_status["5xx"], Span::secs(0));
    assert_eq!(
        route.query.keep,
        Keep::Exclude(vec!["1".into(), "utm_source".into()])
    );
}

#[test]
fn a_list_where_one_value_is_wanted_is_refused_in_plain_words() {
    let found = refused(&format!("{LEAST}store: {{memory: [1GiB]}}"));
    assert_eq!(
        found,
        ["store.memory: [\"1GiB\"]: allowed a single value, neither a list nor keys"]
    );
}

#[test]
fn anchors_and_merge_keys_are_resolved() {
    let text = "
origins:
  default: &patient {url: http://127.0.0.1:1, retries: 7}
  other: {<<: *patient, url: http://127.0.0.1:2}
";
    let origin = &accepted(text).origins["other"];
    assert_eq!(
        (origin.retries, origin.url.as_deref()),
        (7, Some("http://127.0.0.1:2"))
    );
}

#[test]
fn a_flood_of_problems_ends() {
    let text: String = (0..5000).map(|index| format!("key{index}: 1\n")).collect();
    assert_eq!(refused(&text).len(), 100);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = load(Some(Path::new("/nowhere/aquatint.yaml")), &Overrides::default()).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("/nowhere/aquatint.yaml: cannot be read: "),
        "{error}"
    );
}

#[test]
fn without_any_origin_the_reader_is_told_both_ways_to_give_one() {
    let error = load(None, &Overrides::default()).unwrap_err();
    let expected = "default: routes[0].origin: default: allowed a name under origins, which has none: name one there or give --origin";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_watermark_that_is_named_has_to_be_there_unless_it_could_not_be_read() {
    let route = "routes: [{transform: {defaults: wm=logo}}]\n";
    let found = refused(&format!("{LEAST}{route}"));
    let none = "routes[0].transform.defaults: wm=logo: allowed a name under serve.watermarks, which has none";
    assert_eq!(found, [none]);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("logo.png");
    std::fs::write(&file, "no picture").unwrap();
    for typo in ["opacty: 3", "opacity: [3]"] {
        let watermarks = format!(
            "serve: {{watermarks: {{logo: {{file: {}, {typo}}}}}}}\n",
            file.display()
        );
        let found = refused(&format!("{LEAST}{watermarks}{route}"));
        assert!(
            found.iter().all(|line| line.starts_with("serve.watermarks.logo")),
            "{found:#?}"
        );
    }
}

#[test]
fn a_watermark_that_is_no_picture_is_refused_with_the_cause_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("logo.png");
    std::fs::write(&file, "no picture").unwrap();
    let found = refused(&format!(
        "{LEAST}serve: {{watermarks: {{logo: {{file: {}}}}}}}\n",
        file.display()
    ));
    let [line] = found.as_slice() else {
        panic!("{found:#?}");
    };
    assert!(line.starts_with("serve.watermarks.logo.file: "), "{line}");
    assert!(line.contains("allowed a picture ("), "{line}");
    assert!(
        !line.contains("\"\"") && !line.contains("nothing is served"),
        "{line}"
    );
}

#[test]
fn a_name_can_not_be_a_transform_parameter_and_the_sources_own() {
    let route = "version_parameter: h, query: {keep: {include: [size, w, fm]}}";
    let found = refused(&format!("{LEAST}routes: [{{{route}}}]\n"));
    let allowed = "allowed a name that is none of the transform parameters, or transform: {enabled: false}";
    let expected = [
        ("query.keep.include[1]", "w"),
        ("query.keep.include[2]", "fm"),
        ("version_parameter", "h"),
    ];
    assert_eq!(
        found,
        expected.map(|(key, name)| format!("routes[0].{key}: {name}: {allowed}"))
    );
    accepted(&format!(
        "{LEAST}routes: [{{{route}, transform: {{enabled: false}}}}]\n"
    ));
    accepted(&format!(
        "{LEAST}routes: [{{query: {{keep: {{exclude: [w]}}}}}}]\n"
    ));
    // Whether the route makes variants is not known.
    let found = refused(&format!(
        "{LEAST}routes: [{{{route}, transform: {{enabled: perhaps}}}}]\n"
    ));
    assert!(
        found
            .iter()
            .all(|line| line.starts_with("routes[0].transform.enabled")),
        "{found:#?}"
    );
}

#[test]
fn a_routes_sizes_are_no_larger_than_what_is_made() {
    let limits = "serve: {transform: {limits: {output_side: 1000}}}\n";
    let found = refused(&format!(
        "{LEAST}{limits}routes: [{{transform: {{sizes: [64, 1001, 2000]}}}}]\n"
    ));
    let allowed = "allowed sizes up to serve.transform.limits.output_side, 1000";
    assert_eq!(found, [format!("routes[0].transform.sizes: 2000: {allowed}")]);
    accepted(&format!(
        "{LEAST}{limits}routes: [{{transform: {{sizes: [64, 1000]}}}}]\n"
    ));
    accepted(&format!(
        "{LEAST}{limits}routes: [{{transform: {{enabled: false}}}}]\n"
    ));
}

#[test]
fn a_secret_is_not_shown_wherever_it_was_written() {
    for (text, key) in [
        (
            "{keys: {shop: {hash: aqk_123, scopes: [purge:url]}}}",
            "keys.shop.hash",
        ),
        ("{keys: {shop: aqk_123}}", "keys.shop"),
        (
            "{keys: {shop: {hash: [aqk_123], scopes: [purge:url]}}}",
            "keys.shop.hash",
        ),
        (
            "{webhooks: {cms: {secrets: whsec_123, scopes: [purge:url]}}}",
            "webhooks.cms.secrets",
        ),
        (
            "{webhooks: {cms: {secrets: {a: aq_123}, scopes: [purge:url]}}}",
            "webhooks.cms.secrets",
        ),
        (
            "{webhooks: {cms: {secrets: [whsec_123], scopes: [purge:url]}}}",
            "webhooks.cms.secrets[0]",
        ),
    ] {
        let found = refused(&format!("{LEAST}purge: {text}"));
        let [line] = found.as_slice() else {
            panic!("{found:#?}");
        };
        assert!(
            line.starts_with(&format!("purge.{key}: (not shown): allowed ")),
            "{line}"
        );
        assert!(!line.contains("123"), "{line}");
    }
}

/// The least of a node of a cluster, and more.
fn of_cluster(more: &str) -> String {
    let secret = cluster::secret::ClusterSecret::unused().unwrap();
    let secret = secret.expose();
    format!("{LEAST}cluster: {{listen: 127.0.0.1:7946, voters: [node1], secret: {secret}, {more}}}")
}

#[test]
fn a_clusters_secret_is_not_shown_however_it_is_wrong() {
    for (text, key) in [
        ("{secret: aqc_123}", "secret"),
        ("{secret: [hunter2]}", "secret"),
        ("{secret: 1234567890}", "secret"),
        ("{secret: {aqc_123: 1}}", "secret"),
    ] {
        let found = refused(&format!("{LEAST}cluster: {text}"));
        let [line] = found.as_slice() else {
            panic!("{found:#?}");
        };
        assert!(
            line.starts_with(&format!("cluster.{key}: (not shown): allowed ")),
            "{line}"
        );
        assert!(!line.contains("123") && !line.contains("hunter2"), "{line}");
    }
    let secret = cluster::secret::ClusterSecret::unused().unwrap();
    let misplaced = format!("{LEAST}cluster: {{voters: [{0}, {0}]}}", secret.expose());
    let found = refused(&misplaced);
    assert!(
        !found.is_empty() && !found.concat().contains(secret.expose()),
        "{found:#?}"
    );
}

#[test]
fn a_clusters_secret_may_lie_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    let told = format!(
        "{LEAST}cluster: {{listen: 127.0.0.1:7946, voters: [node1], secret_file: {}}}",
        file.display()
    );
    let [line] = refused(&told).try_into().unwrap();
    assert!(
        line.contains("cluster.secret_file: ") && line.contains("allowed a readable file"),
        "{line}"
    );
    std::fs::write(&file, "aqc_hunter2\n").unwrap();
    let [line] = refused(&told).try_into().unwrap();
    assert!(
        line.contains("allowed a file with a secret") && !line.contains("hunter2"),
        "{line}"
    );
    let secret = cluster::secret::ClusterSecret::unused().unwrap();
    std::fs::write(&file, secret.expose()).unwrap();
    accepted(&told);
}

#[test]
fn the_listener_for_other_nodes_has_an_address_of_its_own_and_the_node_a_name() {
    accepted(&of_cluster(""));
    let found = refused(&format!("{}\nadmin: {{listen: 127.0.0.1:7946}}", of_cluster("")));
    assert_eq!(
        found,
        ["cluster.listen: 127.0.0.1:7946: allowed an address of its own: admin.listen has it"]
    );
    let name = "e".repeat(65);
    let unnamed = format!("\nedge: {{name: {name}}}");
    let found = refused(&format!("{}{unnamed}", of_cluster("")));
    assert_eq!(
        found,
        [format!(
            "cluster.node: (none): allowed a name of its own: edge.name is {name}, which is none"
        )]
    );
    accepted(&format!("{}{unnamed}", of_cluster("node: node1")));
    accepted(&format!("{LEAST}{unnamed}"));
}

#[test]
fn a_clusters_certificates_have_to_be_there() {
    let tls =
        "tls: {ca: /nowhere/ca.pem, certificate: /nowhere/a.pem, key: /nowhere/a.key, server_name: edges}";
    let found = refused(&of_cluster(tls));
    let keys: Vec<&str> = found
        .iter()
        .map(|line| line.split(": ").next().unwrap())
        .collect();
    assert_eq!(
        keys,
        ["cluster.tls.ca", "cluster.tls.certificate", "cluster.tls.key"],
        "{found:#?}"
    );
}

#[test]
fn a_secret_that_was_written_as_a_key_is_not_shown() {
    for (text, begin) in [
        (
            "{webhooks: {cms: {whsec_123: [], secrets: [], scopes: [purge:url]}}}",
            "purge.webhooks.cms.(not shown): no such key: allowed ",
        ),
        (
            "{keys: {shop: {aqk_123: 1, scopes: [purge:url]}}}",
            "purge.keys.shop.(not shown): no such key: allowed ",
        ),
        ("{aqk_123: 1}", "purge.(not shown): no such key: allowed "),
        (
            "{keys: {aqk_123: {hash: 1, scopes: [purge:url]}}}",
            "purge.keys.(not shown).hash: ",
        ),
        (
            "{webhooks: {whsec_12+/3=: {secrets: [], scopes: []}}}",
            "purge.webhooks.(not shown): (not shown): allowed ",
        ),
        ("{webhooks: {cms: {whsec_123: 1, whsec_123: 2}}}", "line "),
    ] {
        let found = refused(&format!("{LEAST}purge: {text}"));
        assert!(found.iter().any(|line| line.starts_with(begin)), "{found:#?}");
        assert!(!found.join(" ").contains("12"), "{found:#?}");
    }
}

#[test]
fn a_permission_that_is_none_is_told_which_there_are() {
    let hash = "blake3:".to_owned() + &"0".repeat(64);
    let found = refused(&format!(
        "{LEAST}purge: {{keys: {{shop: {{hash: '{hash}', scopes: [purge:urls]}}}}}}"
    ));
    let expected = "purge.keys.shop.scopes[0]: purge:urls: allowed purge:url, purge:tag, purge:prefix, purge:all, admin, cache";
    assert_eq!(found, [expected]);
}

#[test]
fn listeners_may_not_collide_unless_the_port_is_chosen_for_them() {
    let found = refused(&format!("{LEAST}admin: {{listen: 127.0.0.1:8080}}"));
    assert_eq!(
        found,
        ["admin.listen: 127.0.0.1:8080: allowed an address of its own: edge.listen has it"]
    );
    accepted(&format!(
        "{LEAST}edge: {{listen: 127.0.0.1:0}}\nadmin: {{listen: 127.0.0.1:0}}"
    ));
    accepted(&format!(
        "{LEAST}edge: {{listen: 127.0.0.2:80}}\nadmin: {{listen: 127.0.0.1:80}}"
    ));
}

#[test]
fn files_that_are_needed_have_to_be_there() {
    let text = "
edge:
  tls: {listen: 127.0.0.1:8443, certificate: /nowhere/a.pem, key: /}
  access_log: {to: /nowhere/access.log}
store: {directory: /dev/null/cache}
purge: {directory: /dev/null/purges}
origins: {default: {directory: /nowhere, tls: {ca: /nowhere/ca.pem}}}
";
    let found = refused(text);
    let keys: Vec<&str> = found
        .iter()
        .map(|line| line.split(": ").next().unwrap())
        .collect();
    let expected = [
        "edge.access_log.to",
        "edge.tls.certificate",
        "edge.tls.key",
        "origins.default.directory",
        "origins.default.tls.ca",
        "purge.directory",
        "store.directory",
    ];
    assert_eq!(keys, expected, "{found:#?}");
}

#[test]
fn checking_creates_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("a/b");
    let data = Some(directory.clone());
    load_text(
        LEAST,
        &Overrides {
            data,
            ..Overrides::default()
        },
    )
    .unwrap();
    assert!(!folder.path().join("a").exists());
}

#[test]
fn flags_win_over_the_file() {
    let text = format!("{LEAST}edge: {{listen: 127.0.0.1:1, threads: 3}}\nadmin: {{listen: 127.0.0.1:2}}");
    let overrides = Overrides {
        origin: Some("https://images.example/base".into()),
        listen: Some("127.0.0.1:3".parse().unwrap()),
        admin: Some("127.0.0.1:4".parse().unwrap()),
        data: Some("cache".into()),
    };
    let config = load_text(&text, &overrides).unwrap();
    assert_eq!(config.edge.listen.port(), 3);
    assert_eq!(config.edge.threads, 3);
    assert_eq!(config.admin.listen.port(), 4);
    assert_eq!(config.store.directory, Some("cache".into()));
    assert_eq!(
        config.origins["default"].url.as_deref(),
        Some("https://images.example/base")
    );
}

#[test]
fn the_origin_flag_is_enough_without_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let origin = Some(folder.path().display().to_string());
    let config = load(
        None,
        &Overrides {
            origin,
            ..Overrides::default()
        },
    )
    .unwrap();
    assert_eq!(
        config.origins["default"].directory.as_deref(),
        Some(folder.path())
    );
    assert_eq!(config.routes, [Route::default()]);
}

#[test]
fn the_origin_flag_moves_the_default_route_and_keeps_its_patience() {
    let text = "
origins:
  shop: {addresses: [{address: 10.0.0.1:443}], tls: {enabled: true, server_name: a.example}, retries: 5}
  other: {url: http://127.0.0.1:1}
routes:
  - {path: /, origin: shop}
  - {path: /other, origin: other}
";
    let origin = Some("http://127.0.0.1:9".into());
    let config = load_text(
        text,
        &Overrides {
            origin,
            ..Overrides::default()
        },
    )
    .unwrap();
    let shop = &config.origins["shop"];
    assert_eq!(shop.url.as_deref(), Some("http://127.0.0.1:9"));
    assert!(shop.addresses.is_empty());
    assert_eq!(shop.tls, Default::default());
    assert_eq!(shop.retries, 5);
    assert_eq!(config.origins["other"].url.as_deref(), Some("http://127.0.0.1:1"));
}

#[test]
fn the_origin_flag_adds_a_default_route_where_the_file_has_none() {
    let text = "origins: {a: {url: http://127.0.0.1:1}}\nroutes: [{path: /a, origin: a}]";
    let origin = Some("http://127.0.0.1:9".into());
    let config = load_text(
        text,
        &Overrides {
            origin,
            ..Overrides::default()
        },
    )
    .unwrap();
    assert_eq!(config.routes.len(), 2);
    assert_eq!(config.routes[1], Route::default());
    assert_eq!(
        config.origins["default"].url.as_deref(),
        Some("http://127.0.0.1:9")
    );
}

#[test]
fn a_problem_with_a_flag_names_the_flag() {
    let origin = Some("ftp://images.example".into());
    let error = load(
        None,
        &Overrides {
            origin,
            ..Overrides::default()
        },
    )
    .unwrap_err();
    let expected = "--origin: origins.default.url: ftp://images.example: allowed an http:// or https:// URL, or a directory";
    assert_eq!(error.to_string(), expected);
    let origin = Some("/nowhere".into());
    let error = load(
        None,
        &Overrides {
            origin,
            ..Overrides::default()
        },
    )
    .unwrap_err();
    let expected = "--origin: origins.default.directory: /nowhere: allowed a directory that exists";
    assert_eq!(error.to_string(), expected);
}

/// The files in `conf/`, of which each is an example somebody will copy.
fn shipped(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conf").join(name)
}

/// Dotted paths of every key below `tree`; a list's elements count as one.
fn keys(tree: &serde_json::Value, above: &str, found: &mut BTreeSet<String>) {
    if let Some(list) = tree.as_array() {
        list.iter()
            .for_each(|element| keys(element, &format!("{above}[]"), found));
    }
    for (key, below) in tree.as_object().into_iter().flatten() {
        let path = format!("{above}.{key}");
        keys(below, &path, found);
        found.insert(path);
    }
}

#[test]
fn every_shipped_configuration_is_accepted() {
    let files: Vec<_> = std::fs::read_dir(shipped(""))
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    assert!(files.contains(&shipped("demo.yaml")), "{files:?}");
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, ClusterSecret::unused().unwrap().expose()).unwrap();
    let here = format!("secret_file: {}", secret.display());
    for file in files {
        // The one that its operator makes.
        let text = std::fs::read_to_string(&file).unwrap();
        let complete = folder.path().join("aquatint.yaml");
        std::fs::write(&complete, text.replace("secret_file: secret", &here)).unwrap();
        let loaded = load(Some(&complete), &Overrides::default());
        loaded.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
}

#[test]
fn the_reference_configuration_shows_every_key_at_its_default() {
    let file = shipped("aquatint.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let mut expected = Config::default();
    let origin = upstream::config::Config {
        url: Some("http://127.0.0.1:3000".into()),
        ..Default::default()
    };
    expected.origins.insert("default".into(), origin);
    assert_eq!(load(Some(&file), &Overrides::default()).unwrap(), expected);

    let [mut shown, mut existing] = [BTreeSet::new(), BTreeSet::new()];
    keys(&read::tree_of(&text).unwrap(), "", &mut shown);
    keys(&serde_json::to_value(&expected).unwrap(), "", &mut existing);
    let missing: Vec<_> = existing.difference(&shown).collect();
    assert!(missing.is_empty(), "not in {}: {missing:?}", file.display());
    assert!(
        existing.contains(".routes[].ttl.negative"),
        "the comparison reaches the leaves: {existing:?}"
    );
}

/// Puts `value` in the place of the node with number `number`, counting from the top.
fn replace(tree: &mut serde_json::Value, number: &mut usize, value: &serde_json::Value) {
    if *number == 0 {
        *tree = value.clone();
    }
    *number = number.wrapping_sub(1);
    match tree {
        serde_json::Value::Array(list) => list.iter_mut().for_each(|below| replace(below, number, value)),
        serde_json::Value::Object(map) => map.values_mut().for_each(|below| replace(below, number, value)),
        _ => {}
    }
}

proptest::proptest! {
    #[test]
    fn a_configuration_wrong_in_any_places_is_read_to_its_end_and_no_key_is_reported_twice(
        wrong in proptest::collection::vec((1usize..160, 0usize..12), 1..8),
    ) {
        let values = serde_json::json!([
            null, -1, 1.5, true, "", "x", [], [1, "x"], [{}, 7, {"address": 5}], {}, {"include": 5}, {"a": {"b": 1}},
        ]);
        let text = std::fs::read_to_string(shipped("aquatint.yaml")).unwrap();
        let mut tree = read::tree_of(&text).unwrap();
        for (number, value) in &wrong {
            replace(&mut tree, &mut number.clone(), &values[*value]);
        }
        let reading = read::read(&serde_yaml::to_string(&tree).unwrap());
        let keys: Vec<_> = reading.problems.iter().map(|problem| problem.key.clone()).collect();
        let distinct: BTreeSet<_> = keys.iter().cloned().collect();
        proptest::prop_assert_eq!(keys.len(), distinct.len(), "{:?}", keys);
    }
}
