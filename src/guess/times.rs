//! Moments written as numbers, and columns whose moments are written in more than one way.

use serde_json::{Map, Value as Json, json};

use super::forms::Form;

/// Patterns that one column may mix. More are no habit of an exporter, but text.
const MIXED_MAX: usize = 4;

/// Seconds of the years 2000 to 2099: what moments of passes and rows fall into, and few other numbers do.
const SECONDS: std::ops::Range<u64> = 946_684_800..4_102_444_800;

/// Seconds or milliseconds since 1970, where all of these cells can be that.
pub(super) fn epochs(cells: &[&str]) -> Option<Json> {
    let all = |unit: u64| {
        let is_one = |cell: &&str| {
            let digits = cell.bytes().all(|byte| byte.is_ascii_digit());
            digits && cell.parse::<u64>().is_ok_and(|number| SECONDS.contains(&(number / unit)))
        };
        !cells.is_empty() && cells.iter().all(is_one)
    };
    let format = [(1, "epoch"), (1000, "epoch-ms")].into_iter().find_map(|(unit, format)| all(unit).then_some(format))?;
    Some(json!({ "type": "datetime", "format": format }))
}

/// Descriptors with several formats in order, each of which reads all of these cells where no format alone does. Two of them where days
/// and months could be taken for each other: one for either reading.
pub(super) fn mixed(kind: &str, cells: &[&str], patterns: &[String]) -> Vec<Json> {
    let mut found: Vec<Json> = Vec::new();
    for day_first in [true, false] {
        let usable = patterns.iter().map(String::as_str).filter(|pattern| order(pattern).is_none_or(|first| first == day_first));
        let usable = ["default"].into_iter().chain(usable).chain(["epoch", "epoch-ms"]);
        let forms: Vec<(String, Form)> =
            usable.filter_map(|format| Some((format.to_owned(), Form::new(json!({ "type": kind, "format": format }))?))).collect();
        let mut left: Vec<&str> = cells.to_vec();
        let mut chosen: Vec<&str> = Vec::new();
        while !left.is_empty() && chosen.len() < MIXED_MAX {
            let fits = |form: &Form| left.iter().filter(|cell| form.fits(cell)).count();
            // The first of those that read most.
            let best = forms.iter().rev().max_by_key(|(_, form)| fits(form)).filter(|(_, form)| fits(form) > 0);
            let Some((format, form)) = best else { break };
            chosen.push(format);
            left.retain(|cell| !form.fits(cell));
        }
        let ([first, more @ ..], true) = (&chosen[..], left.is_empty()) else { continue };
        if more.is_empty() {
            return Vec::new();
        }
        let mut descriptor = Map::new();
        descriptor.insert("type".into(), kind.into());
        descriptor.insert("format".into(), (*first).into());
        descriptor.insert("x-passferry".into(), json!({ "formats": more }));
        let descriptor = Json::Object(descriptor);
        if !found.contains(&descriptor) {
            found.push(descriptor);
        }
    }
    found
}

/// All formats of a form, in their order.
pub(super) fn formats(form: &Form) -> Vec<&str> {
    let more = form.descriptor.get("x-passferry").and_then(|own| own.get("formats")).and_then(Json::as_array);
    form.text("format").into_iter().chain(more.into_iter().flatten().filter_map(Json::as_str)).collect()
}

/// Does a form read days first, as far as it has to choose?
pub(super) fn day_first(form: &Form) -> Option<bool> {
    formats(form).into_iter().find_map(order)
}

/// Of a pattern that writes both in digits, before the year.
fn order(pattern: &str) -> Option<bool> {
    let (day, month) = (pattern.find("%d")?, pattern.find("%m")?);
    let year = pattern.find("%Y").or_else(|| pattern.find("%y"))?;
    (year > day.min(month)).then_some(day < month)
}

#[cfg(test)]
mod tests {
    use super::super::column::{Cells, conclude};
    use super::super::{Certainty, Column};
    use serde_json::json;

    fn concluded(label: &str, cells: &[&str]) -> Column {
        let mut column = Cells::new(label, label.to_owned(), cells.iter().copied());
        for cell in cells {
            column.take(cell);
        }
        conclude(vec![column], ",").remove(0)
    }

    #[test]
    fn numbers_in_a_column_called_like_a_time_are_seconds_or_milliseconds_since_1970() {
        let seconds = concluded("updated_at", &["1795475704", "1795475705", "1700000000"]);
        assert_eq!(json!(seconds.form), json!({ "type": "datetime", "format": "epoch" }));
        assert_eq!(
            (seconds.certainty, seconds.why.join("; ").as_str()),
            (Certainty::Sure, "every value is a number of seconds since 1970")
        );
        let milliseconds = concluded("last_visit", &["1795475704000", "1795475705120"]);
        assert_eq!(json!(milliseconds.form), json!({ "type": "datetime", "format": "epoch-ms" }));
        let called_otherwise = concluded("points", &["1795475704", "1795475705", "1700000000"]);
        assert_eq!(called_otherwise.form["type"], "integer");
        assert_eq!(called_otherwise.certainty, Certainty::Likely);
        assert!(called_otherwise.why[1].contains("format \"epoch\""), "{:?}", called_otherwise.why);
        assert_eq!(concluded("updated_at", &["12", "1795475705"]).form["type"], "integer");
    }

    /// contracts/exports.md section 7: two styles in one column.
    #[test]
    fn a_column_written_in_several_ways_has_its_formats_in_order() {
        let mixed = concluded("visited_on", &["21/06/1992", "30/11/1990", "1992.06.21", "19920622"]);
        assert_eq!(
            json!(mixed.form),
            json!({ "type": "date", "format": "%d/%m/%Y", "x-passferry": { "formats": ["%Y%m%d", "%Y.%m.%d"] } }),
            "{mixed:?}"
        );
        assert_eq!(mixed.certainty, Certainty::Likely);
        let stamps = concluded("updated_at", &["2026-11-20T23:15:04Z", "1795475704", "20/11/2026 23:15:04", "2026-11-20T23:15:05Z"]);
        assert_eq!(
            json!(stamps.form),
            json!({ "type": "datetime", "format": "default", "x-passferry": { "formats": ["%d/%m/%Y %H:%M:%S", "epoch"] } }),
            "{stamps:?}"
        );
        // Nothing says which of the two numbers is the day.
        let open = concluded("expires_on", &["01/02/2026", "20261120", "03/04/2026"]);
        assert_eq!((open.form["type"].as_str(), open.certainty), (Some("string"), Certainty::Open), "{open:?}");
    }
}
