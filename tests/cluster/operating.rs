//! What an operator is told of a running cluster, by `aquatint nodes` and `aquatint owner`, and the files of three by hand.

use crate::cluster::{Cluster, PATIENT};
use crate::load::HOST;
use crate::network::proxied;
use crate::operation::Operation::*;
use crate::origin::target;
use serde_json::Value;

fn three() -> Cluster {
    let mut cluster = Cluster::new(proxied(), PATIENT);
    cluster.run(&[Start(3)]);
    cluster
}

fn texts<'a>(list: &'a Value, key: &str) -> Vec<&'a str> {
    let entries = list.as_array().unwrap().iter();
    entries.map(|entry| entry[key].as_str().unwrap()).collect()
}

/// The cells of the rows that name a node.
fn rows(table: &str) -> Vec<Vec<&str>> {
    let rows = table.lines().map(|line| line.split_whitespace().collect());
    let named = |row: &Vec<&str>| row.iter().any(|cell| ["n1", "n2", "n3"].contains(cell));
    rows.filter(named).collect()
}

#[test]
fn nodes_are_told_with_their_states_and_shares_on_each_of_them() {
    let mut cluster = three();
    for node in 1..=3 {
        let told = cluster.command(node, &["nodes", "--json"]).expect(0).json();
        assert_eq!(told["node"], format!("n{node}"));
        assert_eq!(told["lease_held"], true, "{told}");
        assert_eq!(texts(&told["members"], "node"), ["n1", "n2", "n3"]);
        assert_eq!(texts(&told["members"], "state"), ["up"; 3]);
        let members = told["members"].as_array().unwrap();
        let shares = members.iter().map(|member| member["share"].as_f64().unwrap());
        assert!((shares.sum::<f64>() - 1.0).abs() < 0.01, "{told}");
    }
    cluster.run(&[Drain(3), AssertMembers(&[1], &[1, 2])]);
    let said = cluster.command(1, &["nodes"]).expect(0).stdout;
    assert!(said.contains("seen by n1"), "{said}");
    assert!(said.contains("voters: n1"), "{said}");
    let rows = rows(&said);
    let states = rows[rows.len() - 3..].iter().map(|row| (row[0], row[1]));
    let expected = [("n1", "up"), ("n2", "up"), ("n3", "draining")];
    assert_eq!(states.collect::<Vec<_>>(), expected, "{said}");
    assert!(rows[rows.len() - 1].contains(&"0.0%"), "{said}");
}

#[test]
fn an_owner_is_the_same_whichever_node_is_asked_and_is_who_answers() {
    let mut cluster = three();
    let url = format!("http://{HOST}{}", target(7));
    let told = [1, 2, 3].map(|node| {
        let ran = cluster.command(node, &["owner", &url, "--json"]).expect(0);
        ran.json()
    });
    for (node, told) in (1..).zip(&told) {
        assert_eq!(told["key"], url, "{told}");
        assert_eq!(told["node"], format!("n{node}"));
        let (ranked, first) = (texts(&told["candidates"], "node"), &told["candidates"][0]);
        assert_eq!(ranked.len(), 3, "{told}");
        assert!(first["primary"] == true && first["owner"] == true, "{told}");
        assert_eq!(
            texts(&told["candidates"], "node"),
            texts(&told_of(&cluster, &url), "node")
        );
        let owns = ranked[..2].contains(&format!("n{node}").as_str());
        assert_eq!(told["served_here"], owns, "{told}");
    }
    let said = cluster.command(1, &["owner", &url]).expect(0).stdout;
    let parts: Vec<_> = rows(&said)
        .into_iter()
        .filter(|row| row[0].parse::<u8>().is_ok())
        .collect();
    assert_eq!(
        parts.iter().map(|row| row[0]).collect::<Vec<_>>(),
        ["1", "2", "3"],
        "{said}"
    );
    let primary = told[0]["primary"].as_str().unwrap();
    assert_eq!(parts[0][1], primary, "{said}");
    assert!(
        said.contains(&format!("primary {primary}, which asks the origin")),
        "{said}"
    );
    cluster.run(&[AssertMembers(&[1], &[1, 2, 3])]);
}

fn told_of(cluster: &Cluster, url: &str) -> Value {
    let told = cluster.command(1, &["owner", url, "--json"]).expect(0).json();
    told["candidates"].clone()
}

#[test]
fn what_is_no_url_has_no_owner_and_the_command_says_so() {
    let cluster = three();
    let ran = cluster.command(1, &["owner", "nowhere"]);
    assert_ne!(ran.code, 0, "{ran:?}");
    assert!(!ran.stderr.is_empty() && ran.stdout.is_empty(), "{ran:?}");
}

#[test]
fn the_files_of_three_nodes_by_hand_differ_in_names_and_ports_and_seeds_name_the_others() {
    let mut files = [1, 2, 3].map(|number| {
        let path = format!("{}/conf/node{number}.yaml", env!("CARGO_MANIFEST_DIR"));
        serde_yaml::from_str::<Value>(&std::fs::read_to_string(path).unwrap()).unwrap()
    });
    let listens = [0, 1, 2].map(|node| files[node]["cluster"]["listen"].clone());
    let names = [0, 1, 2].map(|node| files[node]["edge"]["name"].clone());
    assert_eq!(names, ["node1", "node2", "node3"]);
    let mut ports = std::collections::BTreeSet::new();
    for (node, file) in files.iter_mut().enumerate() {
        let others = listens.iter().enumerate().filter(|(other, _)| *other != node);
        let others: Vec<_> = others.map(|(_, listen)| listen.clone()).collect();
        assert_eq!(file["cluster"]["seeds"], Value::Array(others));
        for key in ["edge", "admin", "cluster"] {
            assert!(
                ports.insert(file[key]["listen"].take().to_string()),
                "{key} of {names:?}"
            );
        }
        file["edge"]["name"].take();
        file["cluster"]["seeds"].take();
    }
    assert!(files[0] == files[1] && files[1] == files[2]);
}
