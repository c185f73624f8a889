//! What people are told, whichever way it goes out.

use std::collections::BTreeMap;
use std::fmt::Write;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::{Deserialize, Serialize};

use crate::config::meant::alert::Tell;

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Topic {
    Told(Tell),
    Own(Own),
}

/// What every way out is told, whatever it asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Own {
    /// What came, what did not, and what waits.
    Digest,
    /// Messages that were too many for an hour.
    Summary,
    /// Somebody tries the way out.
    Test,
}

impl Topic {
    pub const fn as_str(self) -> &'static str {
        match self {
            Topic::Told(tell) => tell.as_str(),
            Topic::Own(Own::Digest) => "digest",
            Topic::Own(Own::Summary) => "summary",
            Topic::Own(Own::Test) => "test",
        }
    }
}

/// What happened to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// It is so now, and was not before.
    Raised,
    /// It is still so.
    Reminder,
    /// It is over.
    Back,
    /// Nothing happened: a digest, a summary, a test.
    Report,
}

/// Lines under a heading.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Section {
    pub heading: String,
    pub lines: Vec<String>,
}

/// What people are told. `schemas/alert.json` describes it as a webhook gets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    pub topic: Topic,
    pub event: Event,
    /// One line that says it all.
    pub title: String,
    /// Since when it is so.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub since: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub feed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub run: Option<String>,
    /// The delivered name; what is not printable is escaped.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub platform: Option<String>,
    /// Rows by outcome, and `records`; of a summary the number of `messages`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub counts: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub sections: Vec<Section>,
    /// Commands that show or resolve it.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub commands: Vec<String>,
    /// The page that shows it, where one is configured.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub page: Option<String>,
}

/// Letters of a title, and of a line.
const TITLE: usize = 160;
const LINE: usize = 400;

impl Message {
    pub fn new(topic: Topic, event: Event, title: &str) -> Message {
        Message {
            topic,
            event,
            title: plain(title, TITLE),
            since: None,
            feed: None,
            run: None,
            file: None,
            source: None,
            platform: None,
            counts: BTreeMap::new(),
            sections: Vec::new(),
            commands: Vec::new(),
            page: None,
        }
    }

    /// A message without anything to do, for trying a way out.
    pub fn test() -> Message {
        let mut message = Message::new(Topic::Own(Own::Test), Event::Report, "this is a test");
        message.say("", ["Somebody tried this way out for alerts. Nothing is wrong, and nothing is to be done.".to_owned()]);
        message
    }

    /// Adds lines; none when there are none.
    pub fn say(&mut self, heading: &str, lines: impl IntoIterator<Item = String>) {
        let lines: Vec<String> = lines.into_iter().map(|line| plain(&line, LINE)).collect();
        if !lines.is_empty() {
            self.sections.push(Section { heading: heading.to_owned(), lines });
        }
    }

    /// All but the title, as lines of text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        if let Some(since) = self.since {
            let _ = writeln!(text, "Since {}.\n", since.format("%Y-%m-%d %H:%M UTC"));
        }
        for section in &self.sections {
            if !section.heading.is_empty() {
                let _ = writeln!(text, "{}:", section.heading);
            }
            for line in &section.lines {
                let bullet = if section.heading.is_empty() { "" } else { "- " };
                let _ = writeln!(text, "{bullet}{line}");
            }
            text.push('\n');
        }
        if !self.counts.is_empty() {
            let counts: Vec<String> = self.counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
            let _ = writeln!(text, "Counts: {}.\n", counts.join(", "));
        }
        if !self.commands.is_empty() {
            let _ = writeln!(text, "What to do:");
            for command in &self.commands {
                let _ = writeln!(text, "  {command}");
            }
            text.push('\n');
        }
        if let Some(page) = &self.page {
            let _ = writeln!(text, "{page}\n");
        }
        text.trim_end().to_owned() + "\n"
    }
}

/// Text from outside on one line: what could end the line, hide, or turn its direction is made visible, and what is too long is cut.
pub fn plain(text: &str, letters: usize) -> String {
    let mut plain = String::new();
    for (count, letter) in text.chars().enumerate() {
        if count == letters {
            plain.push('…');
            break;
        }
        match letter {
            '\n' | '\r' | '\t' => plain.push(' '),
            letter if letter.is_control() || is_invisible(letter) => plain.extend(letter.escape_unicode()),
            letter => plain.push(letter),
        }
    }
    plain
}

/// Marks of direction, joiners and separators (Unicode Technical Report 36, section 2.5).
const fn is_invisible(letter: char) -> bool {
    matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// A message as a webhook gets it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Envelope<'m> {
    /// `passferry.` and the topic.
    pub r#type: String,
    /// When it was noted; the same at each try.
    pub timestamp: DateTime<Utc>,
    pub data: &'m Message,
}

impl<'m> Envelope<'m> {
    pub fn of(message: &'m Message, at: DateTime<Utc>) -> Envelope<'m> {
        Envelope { r#type: format!("passferry.{}", message.topic.as_str()), timestamp: at, data: message }
    }
}

/// The JSON Schema of what a webhook gets, as shipped in `schemas/alert.json`: of what is written, where some of it may be absent.
pub fn json_schema() -> serde_json::Value {
    SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<Envelope<'static>>().to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_in_the_repository_is_fresh() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/alert.json");
        let fresh = serde_json::to_string_pretty(&json_schema()).unwrap() + "\n";
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            std::fs::write(path, &fresh).unwrap();
        }
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        assert!(stored == fresh, "schemas/alert.json is old; run the tests once with UPDATE_SCHEMAS=1");
    }

    #[test]
    fn text_from_outside_stays_on_its_line_and_shows_what_it_is() {
        assert_eq!(plain("a.csv\r\nBcc: x@y.z\u{1b}[2J", 99), "a.csv  Bcc: x@y.z\\u{1b}[2J");
        assert_eq!(plain("vsc.\u{202e}exe", 99), "vsc.\\u{202e}exe");
        assert_eq!(plain("é".repeat(9).as_str(), 4), "éééé…");
    }
}
