//! Prometheus' text format (<https://prometheus.io/docs/instrumenting/exposition_formats>), version 0.0.4.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::names::{self, Kind, Metric};

/// Numbers by family. Series keep the order in which they came: buckets rise.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Families(BTreeMap<&'static str, Vec<(String, f64)>>);

impl Families {
    /// Takes what such a text holds of our families; comments, and what is no family of ours, are passed over.
    pub fn take(&mut self, text: &str) {
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            // Labels may hold blanks; the value does not.
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let name = series.split('{').next().unwrap_or_default();
            if let (Some(family), Ok(value)) = (names::family_of(name), value.parse::<f64>()) {
                self.0.entry(family.name).or_default().push((series.to_owned(), value));
            }
        }
    }

    /// One series of a gauge or a counter.
    pub fn set(&mut self, name: &'static str, labels: &[(&str, &str)], value: f64) {
        debug_assert!(
            names::family_of(name).is_some_and(|family| family.labels.iter().eq(labels.iter().map(|(label, _)| label))),
            "{name} is a family with other labels"
        );
        let mut series = name.to_owned();
        for (index, (label, text)) in labels.iter().enumerate() {
            // Writing into a String cannot fail.
            let _ = write!(series, "{}{label}=\"{}\"", if index == 0 { '{' } else { ',' }, escaped(text));
        }
        if !labels.is_empty() {
            series.push('}');
        }
        self.0.entry(name).or_default().push((series, value));
    }

    pub fn leave_out(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Adds what was counted before: counters and histograms go on from there, gauges are as they are now. Histograms whose buckets are
    /// others than they were begin anew.
    pub fn go_on_from(&mut self, earlier: &Families) {
        for (name, series) in &earlier.0 {
            if names::family_of(name).is_none_or(|family| family.kind == Kind::Gauge) {
                continue;
            }
            let (before, today) = (bounds(series), self.0.get(name).map(|now| bounds(now)).unwrap_or_default());
            if !today.is_empty() && before != today {
                continue;
            }
            let now = self.0.entry(name).or_default();
            for (series, value) in series {
                match now.iter_mut().find(|(known, _)| known == series) {
                    Some((_, count)) => *count += value,
                    None => now.push((series.clone(), *value)),
                }
            }
        }
    }

    /// The text, families by name.
    pub fn render(&self) -> String {
        let mut text = String::new();
        for (name, series) in &self.0 {
            let Some(Metric { kind, help, .. }) = names::family_of(name) else { continue };
            let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {}", help.replace('\\', "\\\\").replace('\n', "\\n"), kind.as_str());
            let mut series: Vec<&(String, f64)> = series.iter().collect();
            if *kind != Kind::Histogram {
                series.sort_by(|a, b| a.0.cmp(&b.0));
            }
            for (series, value) in series {
                let _ = writeln!(text, "{series} {value}");
            }
        }
        text
    }
}

/// Upper bounds of a histogram's buckets; none of anything else.
fn bounds(series: &[(String, f64)]) -> BTreeSet<&str> {
    series.iter().filter_map(|(series, _)| series.split("le=\"").nth(1)?.split('"').next()).collect()
}

/// A label's value between its quotes.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_a_label_stays_in_it() {
        let mut families = Families::default();
        families.set(names::SOURCE_UP, &[("source", "a\"} 1\nforged 2\\")], 1.0);
        families.set(names::SOURCE_UP, &[("source", "a b")], 0.0);
        let text = families.render();
        assert_eq!(text.lines().filter(|line| !line.starts_with('#')).count(), 2, "{text}");
        assert!(text.contains(r#"{source="a\"} 1\nforged 2\\"} 1"#), "{text}");
        let mut again = Families::default();
        again.take(&text);
        assert_eq!(again.render(), text);
    }

    #[test]
    fn a_histogram_with_other_buckets_begins_anew() {
        let of = |bounds: &[&str]| {
            let mut families = Families::default();
            for bound in bounds {
                families.take(&format!("passferry_request_duration_seconds_bucket{{platform=\"p\",le=\"{bound}\"}} 2\n"));
            }
            families.take(
                "passferry_request_duration_seconds_sum{platform=\"p\"} 0.5\npassferry_request_duration_seconds_count{platform=\"p\"} 2\n",
            );
            families
        };
        let mut same = of(&["1", "+Inf"]);
        same.go_on_from(&of(&["1", "+Inf"]));
        assert!(same.render().contains("le=\"+Inf\"} 4") && same.render().contains("_count{platform=\"p\"} 4"), "{}", same.render());
        let mut others = of(&["2", "+Inf"]);
        others.go_on_from(&of(&["1", "+Inf"]));
        assert_eq!(others.render(), of(&["2", "+Inf"]).render());
    }

    #[test]
    fn counters_go_on_and_gauges_do_not() {
        let of = |text: &str| {
            let mut families = Families::default();
            families.take(text);
            families
        };
        let earlier =
            of("passferry_rows_total{feed=\"a\",outcome=\"applied\"} 2\npassferry_rows_total{feed=\"b\",outcome=\"applied\"} 1\n\
                          passferry_reserve_held 0\npassferry_request_duration_seconds_sum{platform=\"p\"} 0.5\nelse_total 3\n");
        let mut now =
            of("passferry_rows_total{feed=\"a\",outcome=\"applied\"} 40\npassferry_request_duration_seconds_sum{platform=\"p\"} 1\n");
        now.go_on_from(&earlier);
        let text = now.render();
        for line in [
            "passferry_rows_total{feed=\"a\",outcome=\"applied\"} 42",
            "passferry_rows_total{feed=\"b\",outcome=\"applied\"} 1",
            "passferry_request_duration_seconds_sum{platform=\"p\"} 1.5",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("reserve") && !text.contains("else"), "{text}");
    }
}
