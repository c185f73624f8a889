//! Charts as SVG inside the page: no script, no picture to load. Colours are classes of the style sheet, since the policy of a page
//! forbids styles in attributes. Each says in words what it draws.

use std::collections::BTreeMap;

use askama::Template;
use askama::filters::HtmlSafe;

use super::words::{self, Tone};
use crate::outcome::Outcome;

/// What has no outcome yet, in the counts of a held file.
pub const TO_SEND: &str = "to-send";

/// Rows that share an outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Name of the outcome, or [`TO_SEND`]; with `o-` before it a class of the style sheet.
    pub name: &'static str,
    pub meaning: &'static str,
    pub tone: Tone,
    pub count: u64,
    /// Of all rows.
    pub share: String,
}

impl Slice {
    pub fn shown(&self) -> String {
        words::count(self.count)
    }
}

/// Counts by outcome, in the order in which reports list them; outcomes that did not happen are left out.
pub fn slices(rows: &BTreeMap<String, u64>) -> Vec<Slice> {
    let whole = rows.values().sum();
    let named = |name: &'static str, meaning, tone| {
        let count = rows.get(name).copied().filter(|&count| count > 0)?;
        Some(Slice { name, meaning, tone, count, share: words::percent(count, whole) })
    };
    let ended = Outcome::ALL.into_iter().filter_map(|o| named(o.as_str(), words::meaning(o), words::outcome_tone(o)));
    ended.chain(named(TO_SEND, "checked, and not sent yet", Tone::Plain)).collect()
}

/// A bar of outcomes.
#[derive(Template)]
#[template(path = "page/bar.html", config = "src/page/askama.toml")]
pub struct Bar {
    words: String,
    pieces: Vec<Piece>,
}

impl HtmlSafe for Bar {}

struct Piece {
    name: &'static str,
    words: String,
    x: String,
    width: String,
}

/// Width of a bar in its own units, and of the smallest piece that an eye still finds.
const BAR: f64 = 1000.0;
const PIECE_MIN: f64 = 6.0;

impl Bar {
    pub fn of(slices: &[Slice]) -> Bar {
        let whole = slices.iter().map(|slice| slice.count).sum::<u64>().max(1) as f64;
        let wide = |slice: &Slice| (slice.count as f64 / whole * BAR).max(PIECE_MIN);
        let scale = BAR / slices.iter().map(wide).sum::<f64>().max(1.0);
        let mut at = 0.0;
        let mut pieces = Vec::new();
        for slice in slices {
            let width = wide(slice) * scale;
            let words = format!("{} {} ({})", words::count(slice.count), slice.name, slice.share);
            pieces.push(Piece { name: slice.name, words, x: format!("{at:.1}"), width: format!("{width:.1}") });
            at += width;
        }
        let words = pieces.iter().map(|piece| piece.words.as_str()).collect::<Vec<_>>().join(", ");
        Bar { words: if words.is_empty() { "no rows".to_owned() } else { words }, pieces }
    }
}

/// One file in a chart of several.
#[derive(Clone, Debug)]
pub struct Point {
    /// Which file, for people.
    pub label: String,
    pub value: f64,
    /// The value for people.
    pub shown: String,
    /// It is the one that the page is about.
    pub current: bool,
}

/// A small chart of columns, oldest on the left.
#[derive(Template)]
#[template(path = "page/columns.html", config = "src/page/askama.toml")]
pub struct Columns {
    words: String,
    bars: Vec<Column>,
    /// Where the median of the others is, from above.
    middle: Option<String>,
}

impl HtmlSafe for Columns {}

struct Column {
    words: String,
    current: bool,
    x: String,
    y: String,
    height: String,
}

/// Places for columns, their distance, and the chart's height: one unit is about a pixel.
const PLACES: usize = 11;
const STEP: f64 = 20.0;
const HEIGHT: f64 = 56.0;

impl Columns {
    /// `what` is what is counted: "Rows". Of more than eleven points the newest are drawn. `median` is that of the others, with its words.
    pub fn of(what: &str, points: &[Point], median: Option<(f64, &str)>) -> Columns {
        let points = &points[points.len().saturating_sub(PLACES)..];
        let most = points.iter().map(|point| point.value).fold(0.0, f64::max);
        let tall = |value: f64| if most > 0.0 && value > 0.0 { (value / most * HEIGHT).max(1.5) } else { 0.0 };
        let first = PLACES - points.len();
        let columns = points.iter().enumerate().map(|(index, point)| Column {
            words: format!("{}: {}", point.label, point.shown),
            current: point.current,
            x: format!("{:.0}", (first + index) as f64 * STEP + 3.0),
            y: format!("{:.1}", HEIGHT - tall(point.value)),
            height: format!("{:.1}", tall(point.value)),
        });
        let mut others: Vec<&Point> = points.iter().filter(|point| !point.current).collect();
        others.sort_by(|one, other| one.value.total_cmp(&other.value));
        let current = points.iter().find(|point| point.current).map(|point| format!("this file {}", point.shown));
        let range = match &others[..] {
            [] => None,
            [one] => Some(format!("the one before it {}", one.shown)),
            [least, .., most] => {
                let middle = median.map(|(_, words)| format!(", median {words}")).unwrap_or_default();
                Some(format!("the {} before it from {} to {}{middle}", others.len(), least.shown, most.shown))
            }
        };
        let told: Vec<String> = current.into_iter().chain(range).collect();
        Columns {
            words: format!("{what}: {}", told.join("; ")),
            bars: columns.collect(),
            middle: median.map(|(value, _)| format!("{:.1}", HEIGHT - tall(value))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_shows_the_one_row_among_a_million_and_fills_its_width() {
        let rows = [("applied", 999_999), ("rejected", 1), ("unchanged", 0)].map(|(name, count)| (name.to_owned(), count));
        let slices = slices(&rows.into());
        assert_eq!(
            slices.iter().map(|slice| (slice.name, &*slice.share)).collect::<Vec<_>>(),
            [("applied", "over 99.9 %"), ("rejected", "under 0.1 %")]
        );
        let bar = Bar::of(&slices);
        let widths: Vec<f64> = bar.pieces.iter().map(|piece| piece.width.parse().unwrap()).collect();
        assert!(widths[1] > 5.0 && (widths.iter().sum::<f64>() - BAR).abs() < 0.2, "{widths:?}");
        assert!(bar.to_string().contains("aria-label=\"999,999 applied (over 99.9 %), 1 rejected (under 0.1 %)\""), "{bar}");
    }

    #[test]
    fn columns_stand_on_the_right_and_say_what_they_show() {
        let point = |label: &str, value: f64, current| Point { label: label.into(), value, shown: value.to_string(), current };
        let chart = Columns::of("Rows", &[point("a<b>", 4.0, false), point("b", 0.0, false), point("c", 8.0, true)], Some((2.0, "2")));
        let told = chart.to_string();
        assert!(told.contains("aria-label=\"Rows: this file 8; the 2 before it from 0 to 4, median 2\""), "{told}");
        assert!(!told.contains("<b>"), "{told}");
        assert_eq!(
            chart.bars.iter().map(|column| (&*column.x, &*column.height)).collect::<Vec<_>>(),
            [("163", "28.0"), ("183", "0.0"), ("203", "56.0")]
        );
        assert!(Columns::of("Rows", &[], None).to_string().contains("Rows: "));
    }
}
