//! The last line of a file that says how many records it has.

/// A footer as declared: fixed text, `{count}` where the number of records stands, `{}` where anything may.
///
/// `{count+header}` and `{count+header+footer}` are numbers that count those lines too.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Footer {
    source: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Part {
    Text(String),
    Anything,
    Count { header: bool, footer: bool },
}

/// A line that was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it says, and what that counts beside the records.
    pub count: Option<(u64, Counts)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    pub header: bool,
    pub footer: bool,
}

impl Footer {
    pub fn parse(source: &str) -> Result<Footer, String> {
        let mut parts = Vec::new();
        let mut rest = source;
        while let Some(open) = rest.find('{') {
            let Some(close) = rest[open..].find('}') else { return Err("has a `{` that is not closed".to_owned()) };
            if open > 0 {
                parts.push(Part::Text(rest[..open].to_owned()));
            }
            parts.push(match &rest[open + 1..open + close] {
                "" => Part::Anything,
                "count" => Part::Count { header: false, footer: false },
                "count+header" => Part::Count { header: true, footer: false },
                "count+footer" => Part::Count { header: false, footer: true },
                "count+header+footer" => Part::Count { header: true, footer: true },
                _ => {
                    return Err(
                        "has another placeholder than {count}, {count+header}, {count+footer}, {count+header+footer} and {}".to_owned()
                    );
                }
            });
            rest = &rest[open + close + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        if !matches!(parts.first(), Some(Part::Text(text)) if !text.trim().is_empty()) {
            return Err("must begin with text of its own, such as \"TRL|{count}\": records are told from it by that".to_owned());
        }
        if parts.iter().filter(|part| matches!(part, Part::Count { .. })).count() > 1 {
            return Err("counts twice; keep one {count}".to_owned());
        }
        if parts.windows(2).any(|pair| !pair.iter().any(|part| matches!(part, Part::Text(_)))) {
            return Err("has two placeholders side by side; nothing tells where the first ends".to_owned());
        }
        Ok(Footer { source: source.to_owned(), parts })
    }

    pub fn source(&self) -> &str {
        &self.source
    }

    /// Is this line the footer? A spreadsheet may have quoted it, and written delimiters of empty cells behind it.
    pub fn find(&self, line: &str, delimiter: &str) -> Option<Found> {
        let Some(Part::Text(begin)) = self.parts.first() else { return None };
        // Nearly every line differs here.
        if !line.trim_start_matches(['"', ' ']).starts_with(begin.trim_start()) {
            return None;
        }
        let mut text = line.trim();
        self.matched(text).or_else(|| {
            while let Some(shorter) = text.strip_suffix(delimiter) {
                text = shorter.trim_end();
            }
            let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
            self.matched(text)
        })
    }

    fn matched(&self, text: &str) -> Option<Found> {
        let mut found = Found { count: None };
        let mut rest = text;
        let mut parts = self.parts.iter().peekable();
        while let Some(part) = parts.next() {
            match part {
                Part::Text(fixed) => rest = rest.strip_prefix(fixed.as_str())?,
                Part::Anything => match parts.peek() {
                    Some(Part::Text(next)) => rest = &rest[rest.find(next.as_str())?..],
                    _ => rest = "",
                },
                Part::Count { header, footer } => {
                    rest = rest.trim_start();
                    let length = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
                    found.count = Some((rest[..length].parse().ok()?, Counts { header: *header, footer: *footer }));
                    rest = &rest[length..];
                }
            }
        }
        rest.trim().is_empty().then_some(found)
    }
}

impl Counts {
    /// What the footer should say of so many records.
    pub fn of(self, records: u64, header: bool) -> u64 {
        records + u64::from(self.header && header) + u64::from(self.footer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(footer: &str, line: &str) -> Option<Found> {
        Footer::parse(footer).unwrap().find(line, ",")
    }

    fn count(footer: &str, line: &str) -> Option<u64> {
        found(footer, line)?.count.map(|(count, _)| count)
    }

    #[test]
    fn footers_of_exporters_are_found() {
        assert_eq!(count("TRL|{count}", "TRL|2"), Some(2));
        assert_eq!(count("TRL|{}|{count}|{}", "TRL|20261120|0000012|x|y"), Some(12));
        assert_eq!(count("Total rows: {count}", "\"Total rows: 12\",,,"), Some(12));
        assert_eq!(found("EOF", "EOF"), Some(Found { count: None }));
        for (footer, line) in [("TRL|{count}", "TRL|x"), ("TRL|{count}", "TRL|2|3"), ("EOF", "EOFX"), ("EOF", "C-1,EOF")] {
            assert_eq!(found(footer, line), None, "{footer} {line}");
        }
    }

    #[test]
    fn footers_that_say_nothing_are_refused() {
        for footer in ["", "{count}", " {count}", "T{count", "T{rows}", "T{count}-{count}", "T{}{count}"] {
            assert!(Footer::parse(footer).is_err(), "{footer}");
        }
    }
}
