//! Pages for people, read by the HTML parser that browsers' rules are written down in (html5ever).

use std::collections::{BTreeMap, BTreeSet};

use passferry::page::style::{CSS, CSS_HASH};
use passferry::page::words;
use scraper::{ElementRef, Html, Selector};
use serde_json::Value;

/// Nothing that a page holds may make it larger (issue: whatever the run).
pub const BYTES_MAX: usize = 512 << 10;

pub struct Page(Html);

/// Text of an element, blanks made one.
pub fn text(element: ElementRef<'_>) -> String {
    element.text().collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn selector(css: &str) -> Selector {
    Selector::parse(css).unwrap_or_else(|error| panic!("{css}: {error}"))
}

impl Page {
    pub fn parse(content: &[u8]) -> Page {
        Page(Html::parse_document(std::str::from_utf8(content).unwrap()))
    }

    pub fn all(&self, css: &str) -> Vec<ElementRef<'_>> {
        self.0.select(&selector(css)).collect()
    }

    #[track_caller]
    pub fn one(&self, css: &str) -> ElementRef<'_> {
        let found = self.all(css);
        assert_eq!(found.len(), 1, "{css}");
        found[0]
    }

    #[track_caller]
    pub fn text(&self, css: &str) -> String {
        text(self.one(css))
    }

    /// Rows of a table's body, as texts of their cells.
    pub fn rows(&self, table: &str) -> Vec<Vec<String>> {
        let cells = selector("th, td");
        self.all(&format!("{table} > tbody > tr")).into_iter().map(|row| row.select(&cells).map(text).collect()).collect()
    }

    /// All that a person reads, in order, with marks for what it is. What differs from run to run is neutral.
    pub fn reading(&self) -> String {
        let blocks = selector("head > title, .eyebrow, h1, h2, h3, h4, p, li, dt, dd, figcaption, caption, summary, tr, svg[aria-label]");
        let mut lines = Vec::new();
        for block in self.0.select(&blocks) {
            let name = block.value().name();
            let words = match name {
                "tr" => block.select(&selector("th, td")).map(text).collect::<Vec<_>>().join(" | "),
                "svg" => block.value().attr("aria-label").unwrap_or_default().to_owned(),
                _ => text(block),
            };
            let mark = match name {
                "h1" => "# ",
                "h2" => "## ",
                "h3" => "### ",
                "h4" => "#### ",
                "li" | "dd" => "- ",
                "svg" => "[chart] ",
                "summary" => "> ",
                _ => "",
            };
            lines.push(format!("{mark}{words}"));
        }
        let mut told = lines.join("\n");
        for (pattern, neutral) in [
            (r"\d{1,2} [A-Z][a-z]{2} \d{4}, \d\d:\d\d:\d\d UTC", "TIME"),
            (r"\b[0-9a-f]{64}\b", "HASH"),
            (r"\b\d+(\.\d)? m?s\b", "DURATION"),
            (r" \([^()]* a second\)", ""),
            (r"\bfeed as of [0-9a-f]+", "feed as of FINGERPRINT"),
            (r"Configuration [0-9a-f]+", "Configuration HASH"),
            (r"(run|retry|approve|discard|settle|show|--run) [0-9a-hjkmnp-tv-z]{6}\b", "$1 RUN"),
        ] {
            told = regex::Regex::new(pattern).unwrap().replace_all(&told, neutral).into_owned();
        }
        told
    }

    /// What every page of ours keeps: it is harmless, loads nothing, and can be used without eyes or a mouse.
    #[track_caller]
    pub fn is_sound(&self) {
        for forbidden in
            ["script", "iframe", "object", "embed", "link", "base", "form", "img", "video", "audio", "foreignObject", "[style]"]
        {
            assert!(self.all(forbidden).is_empty(), "{forbidden} in the page");
        }
        let mut ids = BTreeSet::new();
        for element in self.all("*") {
            for (name, value) in element.value().attrs() {
                assert!(!name.starts_with("on"), "{name}={value:?}");
                match name {
                    "src" | "srcset" | "action" | "formaction" | "xlink:href" => panic!("{name}={value:?}"),
                    "href" => assert!(value.starts_with("./") && !value[2..].contains(['/', ':', '?', '#']), "{value:?}"),
                    "id" => assert!(ids.insert(value.to_owned()), "two of {value:?}"),
                    _ => {}
                }
            }
        }
        let policy = self.one("head > meta[http-equiv='Content-Security-Policy']").value().attr("content").unwrap();
        assert_eq!(policy, format!("default-src 'none'; style-src '{}'; base-uri 'none'; form-action 'none'", *CSS_HASH));
        assert_eq!(self.one("style").text().collect::<String>(), CSS, "the style sheet is the one that the policy names");
        assert!(self.one("html").value().attr("lang").is_some());
        for landmark in ["body header", "main", "footer", "h1", "head > title", "meta[name=viewport]"] {
            self.one(landmark);
        }
        let mut level = 1;
        for heading in self.all("h1, h2, h3, h4, h5, h6") {
            let here: u32 = heading.value().name()[1..].parse().unwrap();
            assert!(here <= level + 1, "{} comes after h{level}", heading.html());
            assert!(!text(heading).is_empty(), "an empty heading");
            level = here;
        }
        for named in self.all("[aria-labelledby]") {
            let id = named.value().attr("aria-labelledby").unwrap();
            assert!(ids.contains(id), "nothing has the id {id}");
        }
        for table in self.all("table") {
            assert!(table.select(&selector("thead th[scope=col]")).next().is_some(), "a table without heads: {}", table.html());
            assert_eq!(table.select(&selector("th:not([scope])")).count(), 0);
        }
        for picture in self.all("svg") {
            let attributes = picture.value();
            let named = attributes.attr("role") == Some("img") && attributes.attr("aria-label").is_some_and(|label| !label.is_empty());
            assert!(named || attributes.attr("aria-hidden") == Some("true"), "{}", picture.html());
        }
    }
}

/// `report.html` against the `report.json` beside it.
#[track_caller]
pub fn check_report(content: &[u8], report: &Value) {
    assert!(content.len() <= BYTES_MAX, "{} bytes", content.len());
    let page = Page::parse(content);
    page.is_sound();
    let number = |value: &Value| words::count(value.as_u64().unwrap());
    let wanted: BTreeMap<String, String> =
        objects(&report["rows"]).filter(|(_, count)| **count != 0).map(|(name, count)| (name.clone(), number(count))).collect();
    let shown: BTreeMap<String, String> =
        page.rows("table.outcomes").into_iter().map(|row| (row[0].split(' ').next().unwrap().to_owned(), row[1].clone())).collect();
    assert_eq!(shown, wanted, "rows by outcome");
    if !wanted.is_empty() {
        assert!(page.text("#outcomes").starts_with(&number(&report["records"])), "{}", page.text("#outcomes"));
        let bar = page.one("svg.bar").value().attr("aria-label").unwrap();
        assert!(wanted.iter().all(|(name, count)| bar.contains(&format!("{count} {name} "))), "{bar}");
    }
    let mut told: BTreeMap<String, String> = BTreeMap::new();
    for group in page.all("section.group .head") {
        let code = text(group.select(&selector("code")).next().unwrap());
        let count = text(group.select(&selector("b")).next().unwrap());
        told.insert(code, if count == "once" { "1".to_owned() } else { count.trim_end_matches(" times").to_owned() });
    }
    for (code, count) in &told {
        assert_eq!(*count, number(&report["problems"][code]), "{code}");
    }
    let kept_back = passferry::pipeline::report::json::KEPT_BACK.map(passferry::outcome::Code::as_str);
    let codes = objects(&report["problems"]).filter(|(code, _)| !kept_back.contains(&code.as_str())).count();
    assert_eq!(told.len(), codes.min(10), "codes with a heading");
    let guards: Vec<(String, bool)> =
        page.rows("[aria-labelledby=guards] > table").into_iter().map(|row| (row[0].clone(), row[1] == "holds")).collect();
    let wanted =
        report["guards"].as_array().unwrap().iter().map(|verdict| (verdict["guard"].as_str().unwrap().to_owned(), verdict["held"] == true));
    assert_eq!(guards, wanted.collect::<Vec<_>>());
    let facts = page.text("[aria-labelledby=file] dl");
    assert!(report["file"]["sha256"].as_str().is_none_or(|hash| facts.contains(hash)));
    assert!(page.text("[aria-labelledby=time] dl").contains(&format!("Requests sent{}", number(&report["requests"]))));
    let steps = page.all("[aria-labelledby=next] p, [aria-labelledby=next] li");
    assert_eq!(steps.len(), report["next"].as_array().unwrap().len(), "what to do next");
    assert!(page.text("header").contains(report["run"].as_str().unwrap()));
}

fn objects(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}
