//! The dashboard and the alert rules ask for what there is, in its own unit.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use passferry::metrics::names::{self, Kind, Metric};
use regex::Regex;
use serde_json::Value;

fn sample(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("samples").join(path)
}

/// The families that an expression names. Fails for one that is not there, and for a label that none of them has.
fn families_of(expression: &str) -> Vec<&'static Metric> {
    let named = Regex::new(r"\bpassferry_[a-z_]+").unwrap();
    let families: Vec<&Metric> = named
        .find_iter(expression)
        .map(|name| names::family_of(name.as_str()).unwrap_or_else(|| panic!("{} does not exist: {expression}", name.as_str())))
        .collect();
    let known: BTreeSet<&str> = families.iter().flat_map(|family| family.labels.iter().copied()).chain(["le", "job", "instance"]).collect();
    let by = Regex::new(r"\b(?:by|on) \(([^)]*)\)").unwrap();
    let matched = Regex::new(r"([a-z_]+) *(?:=~|!=|!~|=) *\x22").unwrap();
    let grouped =
        by.captures_iter(expression).flat_map(|found| found[1].split(',').map(|label| label.trim().to_owned()).collect::<Vec<_>>());
    for label in grouped.chain(matched.captures_iter(expression).map(|found| found[1].to_owned())) {
        assert!(known.contains(label.as_str()), "no label {label}: {expression}");
    }
    for family in &families {
        let counted = Regex::new(&format!(r"(rate|increase)\({}", family.name)).unwrap().is_match(expression);
        assert_eq!(
            family.kind != Kind::Gauge,
            counted,
            "{}: counters are asked for their increase, gauges are not: {expression}",
            family.name
        );
    }
    families
}

fn dashboard() -> Value {
    serde_json::from_str(&fs::read_to_string(sample("grafana/passferry.json")).unwrap()).unwrap()
}

#[test]
fn the_dashboard_asks_for_what_there_is_in_its_unit() {
    let dashboard = dashboard();
    let mut shown = BTreeSet::new();
    let labels = Regex::new(r"\{\{([a-z]+)\}\}").unwrap();
    let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "two panels have one id");
        assert!(places.insert((panel["gridPos"]["x"].as_u64(), panel["gridPos"]["y"].as_u64())), "two panels have one place: {panel}");
        let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap_or_default();
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().unwrap();
            for family in families_of(expression) {
                shown.insert(family.name);
                let wanted = match family.name {
                    name if name.ends_with("_timestamp_seconds") => {
                        if expression.contains("time() -") {
                            "s"
                        } else {
                            "dateTimeFromNow"
                        }
                    }
                    name if name.ends_with("_seconds") => "s",
                    name if name.ends_with("_bytes") => "bytes",
                    name if name.ends_with("_ratio") => "percentunit",
                    _ => continue,
                };
                assert_eq!(unit, wanted, "{expression}");
            }
            let legend = target["legendFormat"].as_str().unwrap();
            for label in labels.captures_iter(legend) {
                let has = |family: &&Metric| &label[1] == "instance" || family.labels.contains(&&label[1]);
                assert!(families_of(expression).iter().any(has), "{legend}: no family of {expression} has such a label");
            }
        }
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if let Some(query) = variable["query"]["query"].as_str() {
            families_of(query);
        }
    }
    let missing: Vec<&str> =
        names::ALL.iter().map(|metric| metric.name).filter(|name| !shown.contains(name) && !name.starts_with("passferry_once_")).collect();
    assert_eq!(missing, Vec::<&str>::new(), "not on the dashboard");
}

#[test]
fn the_alert_rules_fire_when_they_should_and_only_then() {
    let rules = fs::read_to_string(sample("prometheus/alerts.yml")).unwrap();
    let named = Regex::new(r"\bpassferry_[a-z_]+").unwrap();
    for line in rules.lines().filter(|line| line.contains("passferry_") && !line.trim_start().starts_with('#')) {
        let expression = line.trim().trim_start_matches("expr:");
        for name in named.find_iter(expression) {
            assert!(names::family_of(name.as_str()).is_some(), "{} does not exist", name.as_str());
        }
    }
    let alerts = rules.matches("- alert:").count();
    let tested = fs::read_to_string(sample("prometheus/alerts.test.yml")).unwrap();
    let fires = Regex::new("\\{alertname=\"([A-Za-z]+)\"").unwrap();
    let seen: BTreeSet<&str> = fires.captures_iter(&tested).map(|found| found.extract::<1>().1[0]).collect();
    assert_eq!(seen.len(), alerts, "each rule is seen to fire: {seen:?}");
    for (command, file) in [(["check", "rules"], "alerts.yml"), (["test", "rules"], "alerts.test.yml")] {
        let output = Command::new("promtool").args(command).arg(file).current_dir(sample("prometheus")).output();
        let output = output.expect("promtool is needed (Debian: prometheus)");
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{said}");
    }
}

#[test]
fn the_manual_names_numbers_that_are_there() {
    let manual = include_str!("../../../README.md");
    let section = manual.split("### Watch it").nth(1).unwrap().split("\n### ").next().unwrap();
    let named: Vec<&str> =
        Regex::new(r"`(passferry_[a-z_]+)`").unwrap().captures_iter(section).map(|name| name.extract::<1>().1[0]).collect();
    assert!(named.len() > 5, "{named:?}");
    for name in named {
        assert!(names::family_of(name).is_some(), "{name} does not exist");
    }
}
