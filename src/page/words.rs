//! Numbers, times, outcomes and strangers' words as people read them.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::time::Duration;

use askama::filters::HtmlSafe;
use chrono::{DateTime, SecondsFormat, Utc};

use crate::ledger::State;
use crate::outcome::Outcome;
use crate::zone::Zone;

/// What stands in place of a personal value.
pub const MASK: &str = "•••";

/// A number with its thousands set apart.
pub fn count(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}

/// "1 row", "2 rows".
pub fn counted(number: u64, what: &str) -> String {
    format!("{} {what}{}", count(number), if number == 1 { "" } else { "s" })
}

/// A time in its two largest units.
pub fn span(seconds: u64) -> String {
    let coarse = match seconds {
        0..3600 => seconds,
        3600..86_400 => seconds / 60 * 60,
        _ => seconds / 3600 * 3600,
    };
    humantime::format_duration(Duration::from_secs(coarse)).to_string()
}

/// A time that a program measured: "4 ms", "1.2 s", "3m 20s".
pub fn milliseconds(ms: u64) -> String {
    match ms {
        0..100 => format!("{ms} ms"),
        100..60_000 => format!("{:.1} s", ms as f64 / 1000.0),
        _ => span(ms / 1000),
    }
}

/// A share of a whole. Never 0 % of something, and never 100 % of not all.
pub fn percent(part: u64, whole: u64) -> String {
    if whole == 0 || part == 0 {
        return "0 %".to_owned();
    }
    if part == whole { "100 %".to_owned() } else { share(part as f64 / whole as f64) }
}

/// A share that is neither nothing nor all.
pub fn share(share: f64) -> String {
    let share = share * 100.0;
    match share {
        _ if share < 0.1 => "under 0.1 %".to_owned(),
        _ if share > 99.9 => "over 99.9 %".to_owned(),
        _ if !(10.0..=90.0).contains(&share) => format!("{share:.1} %"),
        _ => format!("{share:.0} %"),
    }
}

/// A moment as a `<time>` element: for people in a zone, for programs in UTC.
#[derive(Clone, Copy, Debug)]
pub struct Instant {
    pub at: DateTime<Utc>,
    pub zone: Zone,
}

impl Instant {
    pub fn new(at: DateTime<Utc>, zone: impl Into<Zone>) -> Instant {
        Instant { at, zone: zone.into() }
    }

    /// "22 Nov 2026, 14:15:03 CET", without an element around it.
    pub fn plain(self) -> String {
        self.at.with_timezone(&self.zone).format("%-d %b %Y, %H:%M:%S %Z").to_string()
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = self.at.to_rfc3339_opts(SecondsFormat::Secs, true);
        write!(out, "<time datetime=\"{machine}\">{}</time>", self.plain())
    }
}

/// Made of digits, and of names of zones and months.
impl HtmlSafe for Instant {}

/// At most so many characters; what is left out is shown by an ellipsis.
pub fn cut(text: &str, letters_max: usize) -> Cow<'_, str> {
    match text.char_indices().nth(letters_max) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
    }
}

/// A stranger's words on one line, cut: control characters and marks that turn the direction of reading are shown instead of obeyed,
/// and blanks at either end are seen.
pub fn visible(text: &str, letters_max: usize) -> String {
    let inner = text.trim_matches(' ');
    let lead = text.len() - text.trim_start_matches(' ').len();
    let (lead, trail) = if inner.is_empty() { (text.len(), 0) } else { (lead, text.len() - lead - inner.len()) };
    let mut shown = String::new();
    let mut letters = std::iter::repeat_n('␠', lead).chain(inner.chars()).chain(std::iter::repeat_n('␠', trail));
    for letter in letters.by_ref().take(letters_max) {
        match letter {
            '\0'..='\u{1f}' => shown.extend(char::from_u32(0x2400 + letter as u32)),
            '\u{7f}' => shown.push('␡'),
            _ if letter.is_control() || is_unseen(letter) => {
                let _ = write!(shown, "⟨U+{:04X}⟩", letter as u32);
            }
            _ => shown.push(letter),
        }
    }
    if letters.next().is_some() {
        shown.push('…');
    }
    shown
}

/// Words in which these cells are masked, but for those that are too short to be told from other words.
pub fn without<'c>(words: &str, cells: impl Iterator<Item = &'c str>) -> String {
    const LETTERS_MIN: usize = 3;
    let cells = cells.map(str::trim).filter(|cell| cell.chars().nth(LETTERS_MIN - 1).is_some());
    cells.fold(words.to_owned(), |words, cell| words.replace(cell, MASK))
}

/// Characters without a shape of their own: those that join emoji and some scripts' letters are left.
const fn is_unseen(letter: char) -> bool {
    matches!(letter,
        '\u{ad}' | '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// How much a reader should mind, which is a class of the style sheet too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Good,
    Plain,
    Warn,
    Bad,
    Doubt,
}

impl Tone {
    pub const fn class(self) -> &'static str {
        match self {
            Tone::Good => "good",
            Tone::Plain => "plain",
            Tone::Warn => "warn",
            Tone::Bad => "bad",
            Tone::Doubt => "doubt",
        }
    }
}

impl fmt::Display for Tone {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.class())
    }
}

impl HtmlSafe for Tone {}

/// What an outcome means, in a sentence's half.
pub const fn meaning(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Applied => "the platform confirmed the change",
        Outcome::Created => "the pass did not exist and was issued",
        Outcome::Unchanged => "the pass already had these values",
        Outcome::Superseded => "a later record or a newer file won",
        Outcome::Duplicate => "it was applied earlier",
        Outcome::Stale => "older than what was applied",
        Outcome::Rejected => "a cell or the record is wrong",
        Outcome::Unresolved => "no such pass, or several",
        Outcome::Refused => "the platform said no",
        Outcome::InDoubt => "sent, and no answer proves it",
        Outcome::NotAttempted => "the run ended before it",
        Outcome::Withheld => "kept back for lack of consent",
    }
}

pub const fn outcome_tone(outcome: Outcome) -> Tone {
    match outcome {
        Outcome::Applied | Outcome::Created => Tone::Good,
        Outcome::Unchanged | Outcome::Superseded | Outcome::Duplicate | Outcome::Stale | Outcome::Withheld => Tone::Plain,
        Outcome::NotAttempted => Tone::Warn,
        Outcome::Rejected | Outcome::Unresolved | Outcome::Refused => Tone::Bad,
        Outcome::InDoubt => Tone::Doubt,
    }
}

/// Where a run stands, for somebody who has never heard of runs.
pub const fn state_words(state: State) -> &'static str {
    match state {
        State::Complete => "Arrived",
        State::Fetched => "Fetched",
        State::Checked => "Checked",
        State::Held => "Waits for a decision",
        State::Applying => "Being sent",
        State::Paused => "Paused",
        State::Reporting => "Being reported",
        State::Done => "Done",
        State::DoneInDoubt => "Done, with rows in doubt",
        State::Failed => "Failed as a whole",
        State::Discarded => "Discarded",
        State::Superseded => "Replaced by a newer file",
        State::Stopped => "Stopped",
    }
}

pub const fn state_tone(state: State) -> Tone {
    match state {
        State::Done => Tone::Good,
        State::Held | State::Paused | State::Stopped => Tone::Warn,
        State::Failed => Tone::Bad,
        State::DoneInDoubt => Tone::Doubt,
        _ => Tone::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_never_rounded_to_nothing_or_to_all() {
        assert_eq!(percent(0, 10), "0 %");
        assert_eq!(percent(1, 1_000_000), "under 0.1 %");
        assert_eq!(percent(999_999, 1_000_000), "over 99.9 %");
        assert_eq!(percent(10, 10), "100 %");
        assert_eq!(percent(19, 1000), "1.9 %");
        assert_eq!(percent(1, 3), "33 %");
        assert_eq!(percent(0, 0), "0 %");
    }

    #[test]
    fn times_are_in_units_that_fit() {
        assert_eq!([4, 1234, 59_960, 200_000, 7_260_000].map(milliseconds), ["4 ms", "1.2 s", "60.0 s", "3m 20s", "2h 1m"]);
        let at = DateTime::from_timestamp(1_795_356_903, 0).unwrap();
        assert_eq!(
            Instant::new(at, chrono_tz::Europe::Paris).to_string(),
            "<time datetime=\"2026-11-22T14:15:03Z\">22 Nov 2026, 15:15:03 CET</time>"
        );
    }

    #[test]
    fn nothing_in_a_cell_hides_or_turns_round() {
        assert_eq!(visible("  12\t€ ", 99), "␠␠12␉€␠");
        assert_eq!(visible("abc\u{202e}fdp.exe\u{0}", 99), "abc⟨U+202E⟩fdp.exe␀");
        assert_eq!(visible("   ", 99), "␠␠␠");
        assert_eq!(visible(&"x".repeat(1 << 20), 5), "xxxxx…");
        assert_eq!(visible("👩\u{200d}👩", 9), "👩\u{200d}👩");
        assert_eq!(cut("héé", 2), "hé…");
        assert_eq!(cut("héé", 3), "héé");
    }
}
