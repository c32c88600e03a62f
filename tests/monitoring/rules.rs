//! The rules in `prometheus/`: that promtool accepts them, that each alert is tried, asks for what there is, and has its section
//! in the runbook.

use crate::exposed::OF_AN_EDGE;
use crate::query::{Selector, selectors};
use crate::text_of;
use crate::tools::promtool;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Deserialize)]
struct File {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    record: Option<String>,
    alert: Option<String>,
    expr: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

fn rules(file: &str) -> Vec<Rule> {
    let text = text_of(&format!("prometheus/{file}"));
    let file: File = serde_yaml::from_str(&text).unwrap();
    file.groups.into_iter().flat_map(|group| group.rules).collect()
}

fn alerts() -> Vec<(String, Rule)> {
    let mut rules = rules("alerts.yml");
    let named = rules.drain(..).map(|mut rule| (rule.alert.take().unwrap(), rule));
    named.collect()
}

/// Recorded series, and the labels that they have.
fn recorded() -> BTreeMap<String, BTreeSet<String>> {
    let rules = rules("recording.yml");
    let labels = |rule: &Rule| selectors(&rule.expr).unwrap()[0].grouped_by.clone();
    rules
        .iter()
        .map(|rule| (rule.record.clone().unwrap(), labels(rule)))
        .collect()
}

fn complaint(selector: &Selector) -> Option<String> {
    if !selector.metric.contains(':') {
        return OF_AN_EDGE.complaint(selector);
    }
    match recorded().get(&selector.metric) {
        None => Some(format!("{} is not recorded", selector.metric)),
        Some(labels) if !selector.grouped_by.is_subset(labels) => {
            Some(format!("{} has only {labels:?}", selector.metric))
        }
        Some(_) => None,
    }
}

#[test]
fn promtool_accepts_configuration_and_rules() {
    promtool(&["check", "config", "prometheus.yml"]);
    promtool(&[
        "check",
        "rules",
        "--lint=all",
        "--lint-fatal",
        "recording.yml",
        "alerts.yml",
    ]);
}

#[test]
fn alerts_fire_in_trouble_and_not_in_ordinary_work() {
    promtool(&["test", "rules", "alerts_test.yml", "alerts_days_test.yml"]);
}

#[test]
fn every_alert_is_seen_to_fire() {
    let tests = text_of("prometheus/alerts_test.yml") + &text_of("prometheus/alerts_days_test.yml");
    for (alert, _) in alerts() {
        let fires = tests.contains(&format!("labels: '{{alertname=\"{alert}\""));
        assert!(fires, "no test has {alert} fire");
    }
}

#[test]
fn every_metric_of_a_rule_is_told_by_an_edge_with_its_labels() {
    for rule in rules("recording.yml").into_iter().chain(rules("alerts.yml")) {
        for selector in selectors(&rule.expr).unwrap() {
            assert_eq!(complaint(&selector), None, "{}", rule.expr);
        }
    }
}

#[test]
fn every_alert_says_how_bad_it_is_what_it_means_and_where_to_read_on() {
    for (alert, rule) in alerts() {
        assert!(alert.starts_with("Aquatint"), "{alert}");
        assert!(
            ["critical", "warning"].contains(&rule.labels["severity"].as_str()),
            "{alert}"
        );
        for annotation in ["summary", "description"] {
            assert!(rule.annotations[annotation].len() > 20, "{alert}: {annotation}");
        }
        let section = format!("docs/runbook.md#{}", alert.to_ascii_lowercase());
        assert_eq!(rule.annotations["runbook_url"], section);
    }
}

#[test]
fn the_runbook_has_a_section_for_each_alert_and_no_other() {
    let runbook = text_of("docs/runbook.md");
    let sections: Vec<&str> = runbook.split("\n## ").skip(1).collect();
    let titles: BTreeSet<&str> = sections
        .iter()
        .filter_map(|section| section.lines().next())
        .collect();
    let alerts = alerts();
    let names: BTreeSet<&str> = alerts.iter().map(|(alert, _)| alert.as_str()).collect();
    assert_eq!(titles, names);
    for section in sections {
        for part in ["**Means.**", "**See.**", "**Do.**"] {
            assert!(section.contains(part), "no {part} in {section}");
        }
    }
}

/// What is recorded and never used costs and misleads.
#[test]
fn every_recorded_series_is_used() {
    let used: BTreeSet<String> = rules("recording.yml")
        .into_iter()
        .chain(rules("alerts.yml"))
        .flat_map(|rule| selectors(&rule.expr).unwrap())
        .map(|selector| selector.metric)
        .collect();
    for name in recorded().keys() {
        assert!(used.contains(name), "{name}");
    }
}
