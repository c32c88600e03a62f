//! The dashboards in `grafana/`: that their panels say what they show, and ask for what there is.

use crate::exposed::OF_AN_EDGE;
use crate::query::selectors;
use crate::{repository, text_of};
use serde_json::Value;
use std::collections::BTreeSet;

pub(crate) struct Dashboard {
    pub(crate) file: String,
    json: Value,
}

/// One query of a panel.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    /// The file and the panel's title.
    pub(crate) place: String,
    pub(crate) query: String,
    legend: Option<String>,
    /// Whether the traces of single requests are shown with it.
    has_exemplars: bool,
}

pub(crate) fn all() -> Vec<Dashboard> {
    let folder = std::fs::read_dir(repository("grafana/dashboards")).unwrap();
    let names = folder.map(|item| item.unwrap().file_name().into_string().unwrap());
    let dashboards: Vec<_> = names.map(Dashboard::read).collect();
    assert!(!dashboards.is_empty());
    dashboards
}

/// Every query of every dashboard.
pub(crate) fn all_shown() -> Vec<Shown> {
    all().iter().flat_map(Dashboard::shown).collect()
}

impl Dashboard {
    fn read(file: String) -> Dashboard {
        let text = text_of(&format!("grafana/dashboards/{file}"));
        let json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
        Dashboard { file, json }
    }

    fn items(&self) -> &[Value] {
        self.json["panels"].as_array().unwrap()
    }

    /// Rows are only headings.
    fn panels(&self) -> impl Iterator<Item = &Value> {
        self.items().iter().filter(|item| item["type"] != "row")
    }

    fn place(&self, panel: &Value) -> String {
        format!("{}: {}", self.file, panel["title"])
    }

    fn shown(&self) -> Vec<Shown> {
        let queries = self.panels().flat_map(|panel| {
            let targets = panel["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
            targets.iter().map(|target| Shown {
                place: self.place(panel),
                query: target["expr"].as_str().unwrap().to_owned(),
                legend: target["legendFormat"].as_str().map(str::to_owned),
                has_exemplars: target["exemplar"] == true,
            })
        });
        queries.collect()
    }

    fn variables(&self) -> Vec<&Value> {
        self.json["templating"]["list"]
            .as_array()
            .unwrap()
            .iter()
            .collect()
    }
}

impl Shown {
    /// `{{outcome}} of {{route}}` names two.
    fn legend_labels(&self) -> Vec<&str> {
        let parts = self.legend.as_deref().unwrap_or_default().split("{{").skip(1);
        parts.map(|part| part.split("}}").next().unwrap()).collect()
    }
}

#[test]
fn every_panel_says_what_it_shows_and_in_which_unit() {
    for dashboard in all() {
        for panel in dashboard.panels() {
            let place = dashboard.place(panel);
            let description = panel["description"].as_str().unwrap_or_default();
            assert!(
                description.ends_with('.') && description.len() > 20,
                "{place}: {description:?}"
            );
            assert!(
                panel["fieldConfig"]["defaults"]["unit"].is_string(),
                "{place}: no unit"
            );
            assert!(
                !panel["targets"][0]["expr"]
                    .as_str()
                    .unwrap_or_default()
                    .is_empty(),
                "{place}: no query"
            );
            assert!(
                ["timeseries", "stat"].contains(&panel["type"].as_str().unwrap()),
                "{place}: a plugin"
            );
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{place}");
        }
    }
}

#[test]
fn panels_have_numbers_of_their_own_and_do_not_overlap() {
    for dashboard in all() {
        let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
        for item in dashboard.items() {
            let place = dashboard.place(item);
            assert!(
                ids.insert(item["id"].as_u64().unwrap()),
                "{place}: its id is another's"
            );
            let side = |name: &str| item["gridPos"][name].as_u64().unwrap();
            assert!(
                side("x") + side("w") <= 24,
                "{place}: beyond the edge of the page"
            );
            for (x, y) in (0..side("w")).flat_map(|x| (0..side("h")).map(move |y| (x, y))) {
                assert!(
                    cells.insert((side("x") + x, side("y") + y)),
                    "{place}: on another panel"
                );
            }
        }
    }
}

#[test]
fn dashboards_are_known_by_names_of_their_own() {
    let dashboards = all();
    for key in ["uid", "title"] {
        let names: BTreeSet<_> = dashboards
            .iter()
            .map(|dashboard| dashboard.json[key].as_str().unwrap())
            .collect();
        assert_eq!(names.len(), dashboards.len(), "{key}: {names:?}");
    }
}

#[test]
fn every_metric_of_a_panel_is_told_by_an_edge_with_its_labels() {
    for Shown { place, query, .. } in all_shown() {
        for selector in selectors(&query).unwrap() {
            assert_eq!(OF_AN_EDGE.complaint(&selector), None, "{place}: {query}");
        }
    }
}

/// An edge tells exemplars with that histogram alone.
#[test]
fn exemplars_are_shown_where_an_edge_tells_them() {
    for shown in all_shown() {
        let may_have = shown.query.contains("aquatint_request_duration_seconds_bucket");
        assert_eq!(shown.has_exemplars, may_have, "{}", shown.place);
    }
}

#[test]
fn a_legend_names_only_labels_that_the_query_leaves() {
    for shown in all_shown() {
        let left: BTreeSet<_> = selectors(&shown.query)
            .unwrap()
            .into_iter()
            .flat_map(|selector| selector.grouped_by)
            .chain(["instance".into()])
            .collect();
        for label in shown.legend_labels() {
            assert!(
                left.contains(label),
                "{}: {label} is not in {}",
                shown.place,
                shown.query
            );
        }
    }
}

#[test]
fn every_query_asks_only_for_the_edges_that_are_chosen() {
    for Shown { place, query, .. } in all_shown() {
        let is_chosen = query.contains("instance=~\"$instance\"");
        assert!(is_chosen, "{place}: {query}");
    }
}

/// `label_values(metric{..}, label)`.
#[test]
fn every_variable_asks_for_what_there_is() {
    for dashboard in all() {
        let file = &dashboard.file;
        for variable in dashboard.variables() {
            let query = variable["query"].as_str().unwrap();
            if variable["type"] == "datasource" {
                assert_eq!(
                    (variable["name"].as_str(), query),
                    (Some("datasource"), "prometheus"),
                    "{file}"
                );
                continue;
            }
            let inside = query
                .strip_prefix("label_values(")
                .and_then(|rest| rest.strip_suffix(')'));
            let (metric, label) = inside.and_then(|inside| inside.rsplit_once(", ")).unwrap();
            assert_eq!(variable["name"], label, "{file}");
            let grouped = selectors(&format!("sum by ({label}) ({metric})")).unwrap();
            assert_eq!(OF_AN_EDGE.complaint(&grouped[0]), None, "{file}: {query}");
        }
    }
}

#[test]
fn what_a_query_leaves_open_is_a_variable_of_its_dashboard() {
    for dashboard in all() {
        let variables = dashboard.variables();
        let known: Vec<_> = variables
            .iter()
            .filter_map(|variable| variable["name"].as_str())
            .collect();
        for Shown { place, query, .. } in dashboard.shown() {
            for open in query.split('$').skip(1) {
                let end = open.find(|c: char| !c.is_ascii_alphabetic() && c != '_').unwrap();
                let name = &open[..end];
                assert!(
                    name.starts_with("__") || known.contains(&name),
                    "{place}: ${name}"
                );
            }
        }
    }
}
