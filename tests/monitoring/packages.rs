//! What packages and containers name: that it is there, that the pieces fit each other, and that the edge takes the
//! configurations that are shipped.
//!
//! They are read as far as that takes, and not built.

use crate::support::{Edge, Origin, edge};
use crate::{repository, text_of};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// What is made before the package is: not in the repository.
const BUILT: &str = "target/";

const UNIT: &str = "packaging/aquatint.service";

/// `[package.metadata.deb]`.
fn deb() -> Value {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]);
    let output = cargo.current_dir(repository("")).output().unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"][0]["metadata"]["deb"].clone()
}

/// Source and the file or folder where it is installed.
fn assets() -> Vec<(String, String)> {
    let assets = deb()["assets"].as_array().unwrap().clone();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    assets
        .iter()
        .map(|asset| (text(&asset[0]), format!("/{}", text(&asset[1]))))
        .collect()
}

/// Every file that the package installs, with its whole path.
fn installed() -> BTreeSet<String> {
    let files = assets().into_iter().flat_map(|(source, place)| {
        let names = names(&source);
        let installed = move |name: String| match place.strip_suffix('/') {
            Some(folder) => format!("{folder}/{name}"),
            None => place.clone(),
        };
        names.into_iter().map(installed).collect::<Vec<_>>()
    });
    files.collect()
}

/// The names of the files of a path whose last part may have a `*`; those that are still to be built are believed.
fn names(source: &str) -> Vec<String> {
    let (folder, pattern) = source.rsplit_once('/').unwrap_or(("", source));
    if source.starts_with(BUILT) {
        return vec![pattern.to_owned()];
    }
    let (start, end) = pattern.split_once('*').unwrap_or((pattern, ""));
    let there = std::fs::read_dir(repository(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let names = there.map(|item| item.unwrap().file_name().into_string().unwrap());
    let names: Vec<_> = match pattern.contains('*') {
        true => names
            .filter(|name| name.starts_with(start) && name.ends_with(end))
            .collect(),
        false => names.filter(|name| name == pattern).collect(),
    };
    assert!(!names.is_empty(), "{source} is named, and there is none");
    names
}

/// The values of a key of the unit, each word.
fn of_unit(key: &str) -> Vec<String> {
    let unit = text_of(UNIT);
    let values = unit
        .lines()
        .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    values
        .flat_map(str::split_whitespace)
        .map(str::to_owned)
        .collect()
}

fn yaml(path: &str) -> serde_yaml::Value {
    serde_yaml::from_str(&text_of(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Where a packaged edge writes its access log.
fn access_log() -> String {
    let config = yaml("packaging/aquatint.yaml");
    config["edge"]["access_log"]["to"].as_str().unwrap().to_owned()
}

/// The Dockerfile's instructions, each on one line.
fn instructions() -> Vec<(String, String)> {
    let text = text_of("Dockerfile").replace("\\\n", " ");
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let split = lines.map(|line| line.split_once(' ').unwrap());
    split
        .map(|(word, rest)| (word.to_owned(), rest.trim().to_owned()))
        .collect()
}

fn instruction(word: &str) -> Vec<String> {
    let found = instructions().into_iter().filter(|(found, _)| found == word);
    found.map(|(_, rest)| rest).collect()
}

/// `["a", "b"]` at the end of an instruction.
fn words(text: &str) -> Vec<String> {
    serde_json::from_str(&text[text.find('[').unwrap()..]).unwrap()
}

#[test]
fn every_file_of_the_debian_package_is_there_or_made_first() {
    let makefile = text_of("Makefile");
    for (source, _) in assets() {
        names(&source);
        let made = source
            .trim_start_matches("target/release/")
            .trim_end_matches("/*.1");
        assert!(
            !source.starts_with(BUILT) || makefile.contains(made),
            "{source} is never made"
        );
    }
    let installed = installed();
    for file in deb()["conf-files"].as_array().unwrap() {
        assert!(installed.contains(file.as_str().unwrap()), "{file}");
    }
    for file in deb()["license-file"].as_array().unwrap().iter().take(1) {
        names(file.as_str().unwrap());
    }
}

#[test]
fn the_scripts_of_the_package_are_understood_by_a_shell() {
    let folder = deb()["maintainer-scripts"].as_str().unwrap().to_owned();
    for script in names(&format!("{folder}/*")) {
        let path = repository(&folder).join(&script);
        let checked = Command::new("sh").arg("-n").arg(&path).status().unwrap();
        assert!(checked.success(), "{script}");
    }
    let traffic = repository("packaging/compose/traffic.sh");
    assert!(
        Command::new("bash")
            .arg("-n")
            .arg(traffic)
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn the_unit_starts_what_the_package_installs() {
    let installed = installed();
    let command = of_unit("ExecStart");
    assert!(installed.contains(&command[0]), "{command:?}");
    let config = command
        .iter()
        .skip_while(|word| *word != "--config")
        .nth(1)
        .unwrap();
    assert!(installed.contains(config), "{config}");
    for document in of_unit("Documentation") {
        assert!(
            installed.contains(document.strip_prefix("file:").unwrap()),
            "{document}"
        );
    }
    let user = of_unit("User");
    let makes_user = text_of("packaging/debian/postinst").contains(&format!("/nologin {}", user[0]));
    assert!(makes_user, "nobody makes {user:?}");
}

#[test]
fn the_packaged_edge_writes_only_where_the_unit_lets_it() {
    let config = yaml("packaging/aquatint.yaml");
    let directory = config["store"]["directory"].as_str().unwrap();
    assert_eq!(directory, format!("/var/cache/{}", of_unit("CacheDirectory")[0]));
    let logs = format!("/var/log/{}", of_unit("LogsDirectory")[0]);
    assert_eq!(Path::new(&access_log()).parent(), Some(Path::new(&logs)));
    let in_container = yaml("packaging/container.yaml");
    let volume = in_container["store"]["directory"].as_str().unwrap();
    assert!(instruction("VOLUME").contains(&volume.to_owned()));
}

#[test]
fn the_log_that_is_written_is_rotated_by_what_the_package_installs() {
    assert!(installed().contains("/etc/logrotate.d/aquatint"));
    let rotation = text_of("packaging/logrotate");
    assert!(
        rotation.contains(&format!("\n{} {{\n", access_log())),
        "{rotation}"
    );
    let user = of_unit("User");
    assert!(rotation.contains(&format!(" su {} ", user[0])), "{rotation}");
    let unit = Path::new(UNIT).file_name().unwrap().to_str().unwrap();
    assert!(
        rotation.contains(&format!("systemctl reload {unit}\n")),
        "{rotation}"
    );
    assert!(of_unit("ExecReload").contains(&"-HUP".to_owned()));
}

/// The services of the composition that are edges.
const EDGES: [&str; 3] = ["edge1", "edge2", "edge3"];

/// As the documents say: `aquatint key --cluster > secret`.
fn make_secret(file: &Path) {
    let (status, stdout, stderr) = edge::run(&["key", "--cluster"]);
    assert!(status.success(), "{stderr}");
    std::fs::write(file, stdout).unwrap();
}

/// The folder of the packaged log is made by the package, the secret of a cluster by its operator.
#[test]
fn the_configurations_that_are_shipped_are_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().to_str().unwrap();
    make_secret(&folder.path().join("secret"));
    let edges = EDGES.map(|edge| format!("packaging/compose/{edge}.yaml"));
    let nodes = ["conf/node1.yaml", "conf/node2.yaml", "conf/node3.yaml"].map(str::to_owned);
    let packaged = ["packaging/aquatint.yaml", "packaging/container.yaml"].map(str::to_owned);
    for file in packaged.iter().chain(&edges).chain(&nodes) {
        let text = text_of(file);
        let secret_here = text.replace("/run/cluster", here);
        let secret_here = secret_here.replace("secret_file: secret", &format!("secret_file: {here}/secret"));
        let logged_here = secret_here.replace("/var/log/aquatint", here);
        let path = folder.path().join("aquatint.yaml");
        std::fs::write(&path, logged_here).unwrap();
        let (status, stdout, stderr) = edge::run(&["check", path.to_str().unwrap()]);
        assert!(status.success(), "{stdout}{stderr}");
    }
}

#[test]
fn every_file_of_the_image_is_there_and_not_ignored() {
    let ignored = text_of(".dockerignore");
    let admitted: Vec<&str> = ignored
        .lines()
        .filter_map(|line| line.strip_prefix('!'))
        .collect();
    for copied in instruction("COPY")
        .iter()
        .filter(|copied| !copied.starts_with("--from"))
    {
        let mut parts: Vec<&str> = copied.split_whitespace().collect();
        parts.pop();
        for source in parts {
            assert!(repository(source).exists(), "{source}");
            assert!(admitted.contains(&source), "{source} does not reach docker");
        }
    }
    for path in admitted {
        assert!(repository(path).exists(), "{path} is admitted and not there");
    }
}

/// libaom's build reads its limits from cargo's configuration, and does without them where there is none.
#[test]
fn the_decoder_of_the_image_has_the_limits_of_every_other_build() {
    let limits = text_of(".cargo/config.toml");
    for side in ["WIDTH", "HEIGHT"] {
        assert!(
            limits.contains(&format!("LIB_AOM_DECODE_{side}_LIMIT = ")),
            "{side}"
        );
    }
    let before_the_build: Vec<_> = instructions()
        .into_iter()
        .take_while(|(_, rest)| !rest.contains("cargo build"))
        .collect();
    let copied = ("COPY".to_owned(), ".cargo .cargo".to_owned());
    assert!(before_the_build.contains(&copied), "{before_the_build:?}");
}

#[test]
fn the_image_is_pinned_small_and_runs_without_rights() {
    let from = instruction("FROM");
    for image in &from {
        assert!(image.contains(':') && !image.contains(":latest"), "{image}");
    }
    assert!(from.last().unwrap().ends_with("-slim"), "{from:?}");
    let last: Vec<_> = instructions()
        .into_iter()
        .rev()
        .take_while(|(word, _)| word != "FROM")
        .collect();
    let user = last
        .iter()
        .find(|(word, _)| word == "USER")
        .expect("it runs as somebody");
    assert!(!["root", "0"].contains(&user.1.as_str()));
    let needed = env!("CARGO_PKG_RUST_VERSION")
        .split('.')
        .nth(1)
        .unwrap()
        .parse::<u32>()
        .unwrap();
    let builds_with = from[0]
        .strip_prefix("rust:1.")
        .and_then(|rest| rest.split('-').next());
    assert!(builds_with.unwrap().parse::<u32>().unwrap() >= needed, "{from:?}");
}

#[test]
fn the_image_asks_of_the_binary_what_it_understands() {
    for line in instruction("CMD").into_iter().chain(instruction("HEALTHCHECK")) {
        let mut words = words(&line);
        words.retain(|word| word != "aquatint");
        let (status, stdout, stderr) = edge::run(&[&words[0], "--help"]);
        assert!(status.success(), "{stdout}{stderr}");
        for flag in words.iter().filter(|word| word.starts_with("--")) {
            assert!(stdout.contains(flag.as_str()), "{flag} in {stdout}");
        }
    }
}

#[test]
fn the_health_check_tells_an_edge_that_serves_from_none() {
    let origin = Origin::start();
    let edge = Edge::before(&origin);
    let mut words = words(&instruction("HEALTHCHECK")[0]);
    let admin = words.last_mut().unwrap();
    *admin = format!("http://{}", edge.admin_address());
    let arguments: Vec<String> = words.into_iter().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    assert!(edge::run(&arguments).0.success());
    edge.kill9();
    assert!(!edge::run(&arguments).0.success());
}

#[test]
fn every_file_of_the_composition_is_there() {
    let compose = yaml("docker-compose.yml");
    for (name, service) in compose["services"].as_mapping().unwrap() {
        let volumes = service["volumes"].as_sequence().cloned().unwrap_or_default();
        for volume in &volumes {
            let (source, _) = volume.as_str().unwrap().split_once(':').unwrap();
            let is_there = match source.strip_prefix("./") {
                Some(path) => repository(path).exists(),
                None => compose["volumes"].get(source).is_some(),
            };
            assert!(is_there, "{name:?}: {source}");
        }
    }
}

#[test]
fn the_composition_is_pinned_and_stays_on_its_machine() {
    let compose = yaml("docker-compose.yml");
    for (name, service) in compose["services"].as_mapping().unwrap() {
        let image = service["image"].as_str().unwrap();
        assert!(
            image == "aquatint" || image.contains(':') && !image.contains("latest"),
            "{name:?}: {image}"
        );
        for port in service["ports"].as_sequence().into_iter().flatten() {
            assert!(
                port.as_str().unwrap().starts_with("127.0.0.1:"),
                "{name:?}: {port:?}"
            );
        }
    }
}

/// A name that one file of the composition has for a service of another.
#[test]
fn the_parts_of_the_composition_find_each_other() {
    let compose = yaml("docker-compose.yml");
    let services = compose["services"].as_mapping().unwrap();
    let datasource = yaml("grafana/provisioning/datasources/prometheus.yaml");
    let mut named = vec![datasource["datasources"][0]["url"].as_str().unwrap().to_owned()];
    for edge in EDGES {
        let edge = yaml(&format!("packaging/compose/{edge}.yaml"));
        named.push(edge["origins"]["default"]["url"].as_str().unwrap().to_owned());
        let seeds = edge["cluster"]["seeds"].as_sequence().unwrap();
        named.extend(seeds.iter().map(|seed| seed.as_str().unwrap().to_owned()));
    }
    named.extend(scraped());
    for address in named {
        let address = address.trim_start_matches("http://");
        let host = address.split(':').next().unwrap();
        assert!(services.contains_key(host), "{host}");
    }
    let traffic = text_of("packaging/compose/traffic.sh");
    assert!(traffic.contains("EDGE_HOST:-balancer") && services.contains_key("balancer"));
}

fn scraped() -> Vec<String> {
    let prometheus = yaml("prometheus/prometheus.yml");
    let targets = prometheus["scrape_configs"][0]["static_configs"][0]["targets"].clone();
    let targets = targets.as_sequence().unwrap().iter();
    targets
        .map(|target| target.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn every_edge_of_the_composition_is_scraped_and_behind_the_balancer() {
    let admin = words(&instruction("CMD")[0]).pop().unwrap();
    let port = admin.split(':').nth(1).unwrap();
    assert_eq!(scraped(), EDGES.map(|edge| format!("{edge}:{port}")));
    let balancer = text_of("packaging/compose/haproxy.cfg");
    assert!(balancer.contains(&format!("check port {port}")), "{balancer}");
    for edge in EDGES {
        assert!(
            balancer.contains(&format!("server {edge} {edge}:8080\n")),
            "{edge}"
        );
    }
}

/// They listen where the network of the composition puts them, and differ in nothing else but names.
#[test]
fn the_edges_of_the_composition_are_one_cluster() {
    let compose = yaml("docker-compose.yml");
    let mut texts = Vec::new();
    for edge in EDGES {
        let config = yaml(&format!("packaging/compose/{edge}.yaml"));
        let listen = config["cluster"]["listen"].as_str().unwrap();
        let network = &compose["services"][edge]["networks"]["cluster"];
        let address = network["ipv4_address"].as_str().unwrap();
        assert_eq!(listen, format!("{address}:7946"));
        assert_eq!(config["edge"]["name"].as_str(), Some(edge));
        assert_eq!(config["cluster"]["voters"][0].as_str(), Some(EDGES[0]));
        let mut common = config.clone();
        common["edge"].as_mapping_mut().unwrap().remove("name");
        for key in ["listen", "seeds"] {
            common["cluster"].as_mapping_mut().unwrap().remove(key);
        }
        texts.push(common);
    }
    assert!(texts.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn the_nodes_by_hand_are_one_cluster_on_ports_of_their_own() {
    let mut listeners = BTreeSet::new();
    for node in 1..=3 {
        let config = yaml(&format!("conf/node{node}.yaml"));
        for (section, base) in [("edge", 8080), ("admin", 9090), ("cluster", 7940)] {
            let listen = config[section]["listen"].as_str().unwrap().to_owned();
            assert_eq!(listen, format!("127.0.0.1:{}", base + node));
            assert!(listeners.insert(listen));
        }
        assert_eq!(
            config["edge"]["name"].as_str(),
            Some(format!("node{node}").as_str())
        );
        assert_eq!(config["cluster"]["voters"][0].as_str(), Some("node1"));
        let seeds = config["cluster"]["seeds"].as_sequence().unwrap();
        let seeds: BTreeSet<_> = seeds
            .iter()
            .map(|seed| seed.as_str().unwrap().to_owned())
            .collect();
        let others = (1..=3).filter(|other| *other != node);
        assert_eq!(
            seeds,
            others.map(|other| format!("127.0.0.1:794{other}")).collect()
        );
    }
}

/// Without it Prometheus drops them, and says nothing.
#[test]
fn the_composition_keeps_exemplars() {
    let compose = yaml("docker-compose.yml");
    let command = compose["services"]["prometheus"]["command"]
        .as_sequence()
        .unwrap();
    assert!(command.contains(&"--enable-feature=exemplar-storage".into()));
    let config = "--config.file=/etc/prometheus/prometheus.yml";
    assert!(command.contains(&config.into()), "{command:?}");
}

#[test]
fn dashboards_lie_where_grafana_is_told_to_look_for_them() {
    let provider = yaml("grafana/provisioning/dashboards/aquatint.yaml");
    let path = provider["providers"][0]["options"]["path"].as_str().unwrap();
    let compose = text_of("docker-compose.yml");
    assert!(
        compose.contains(&format!("./grafana/dashboards:{path}:ro")),
        "{path}"
    );
    for dashboard in crate::dashboards::all() {
        let installed_at = Path::new(path).join(&dashboard.file);
        assert!(
            installed().contains(installed_at.to_str().unwrap()),
            "{installed_at:?}"
        );
    }
    let home = compose
        .lines()
        .find_map(|line| line.split_once("HOME_DASHBOARD_PATH: "));
    assert!(installed().contains(home.unwrap().1), "{home:?}");
}
