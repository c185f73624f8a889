//! `pattern`: regular expressions of XML Schema, matched in linear time.

use regex::Regex;

/// A compiled pattern.
#[derive(Debug)]
pub(crate) struct Pattern {
    written: String,
    regex: Regex,
    /// The same again, where the pattern is simple enough.
    simple: Option<Simple>,
}

impl Pattern {
    /// The error says what is wrong with the pattern.
    pub fn parse(written: &str) -> Result<Pattern, String> {
        Ok(Pattern { written: written.to_owned(), regex: compile(written)?, simple: Simple::parse(written.as_bytes()) })
    }

    pub fn written(&self) -> &str {
        &self.written
    }

    /// Does the whole text match?
    #[inline]
    pub fn is_match(&self, text: &str) -> bool {
        match &self.simple {
            Some(simple) => simple.is_match(text.as_bytes()),
            None => self.regex.is_match(text),
        }
    }
}

/// ASCII characters and classes of them, each a fixed number of times but perhaps the last: currencies, codes, card numbers. Most patterns
/// of real schemas are of this form, and the texts they are matched with are so short that setting up the regex engine would cost most.
#[derive(Debug)]
struct Simple(Vec<Item>);

#[derive(Debug)]
struct Item {
    /// One bit for each ASCII character that fits.
    class: u128,
    least: usize,
    most: usize,
}

impl Simple {
    fn is_match(&self, text: &[u8]) -> bool {
        let mut rest = text;
        for item in &self.0 {
            let fits = |byte: &u8| byte.is_ascii() && item.class >> byte & 1 == 1;
            let count = rest.iter().take(item.most).take_while(|byte| fits(byte)).count();
            if count < item.least {
                return false;
            }
            rest = &rest[count..];
        }
        rest.is_empty()
    }

    /// None where a pattern has more to it.
    fn parse(written: &[u8]) -> Option<Simple> {
        let written = written.strip_prefix(b"^").unwrap_or(written);
        let mut rest = written.strip_suffix(b"$").unwrap_or(written);
        let mut items: Vec<Item> = Vec::new();
        while !rest.is_empty() {
            // How often an earlier item matched would depend on what follows it.
            if items.last().is_some_and(|item| item.least != item.most) {
                return None;
            }
            let class;
            (class, rest) = Simple::class(rest)?;
            let (least, most);
            (least, most, rest) = Simple::times(rest)?;
            items.push(Item { class, least, most });
        }
        Some(Simple(items))
    }

    /// A class or a character, and what follows it.
    fn class(text: &[u8]) -> Option<(u128, &[u8])> {
        let (&first, rest) = text.split_first()?;
        if Simple::is_plain(first) {
            return Some((1 << first, rest));
        }
        if first != b'[' {
            return None;
        }
        let end = rest.iter().position(|&byte| byte == b']')?;
        let (mut inside, rest) = (&rest[..end], &rest[end + 1..]);
        let mut class = 0_u128;
        while let [low, after @ ..] = inside {
            let (high, after) = match after {
                [b'-', high, after @ ..] => (high, after),
                _ => (low, after),
            };
            if !Simple::is_plain(*low) || !Simple::is_plain(*high) || low > high {
                return None;
            }
            class |= (*low..=*high).fold(0, |bits, byte| bits | 1 << byte);
            inside = after;
        }
        (class != 0).then_some((class, rest))
    }

    /// Least and most repetitions, and what follows them.
    fn times(text: &[u8]) -> Option<(usize, usize, &[u8])> {
        let (least, most, rest) = match text {
            [b'?', rest @ ..] => (0, 1, rest),
            [b'*', rest @ ..] => (0, usize::MAX, rest),
            [b'+', rest @ ..] => (1, usize::MAX, rest),
            [b'{', rest @ ..] => {
                let end = rest.iter().position(|&byte| byte == b'}')?;
                let inside = std::str::from_utf8(&rest[..end]).ok()?;
                let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
                let (least, most) = match inside.split_once(',') {
                    None => (digits(inside)?, digits(inside)?),
                    Some((least, "")) => (digits(least)?, usize::MAX),
                    Some((least, most)) => (digits(least)?, digits(most)?),
                };
                (least, most, &rest[end + 1..])
            }
            rest => (1, 1, rest),
        };
        // A second quantifier makes the first one lazy, or repeats it.
        let again = matches!(rest.first(), Some(b'?' | b'*' | b'+' | b'{'));
        (!again && least <= most).then_some((least, most, rest))
    }

    /// Stands for itself wherever it is in a pattern.
    const fn is_plain(byte: u8) -> bool {
        byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':' | b'/' | b',' | b';' | b'@' | b'%' | b'=' | b'!' | b'"' | b'\'')
    }
}

/// Compiles a pattern: anchored at both ends, with redundant `^` and `$` accepted because everybody writes them.
///
/// Refuses what XML Schema has and the `regex` crate lacks or reads otherwise (contracts/table-schema.md section 4).
fn compile(written: &str) -> Result<Regex, String> {
    let mut escaped = false;
    let mut letters = written.chars().peekable();
    while let Some(letter) = letters.next() {
        if escaped {
            match (letter, letters.peek()) {
                ('i' | 'I' | 'c' | 'C', _) => {
                    return Err(format!("`\\{letter}` (XML name characters) is not supported; list the characters"));
                }
                ('1'..='9', _) => return Err("back-references are not supported".to_owned()),
                _ => {}
            }
            escaped = false;
        } else if letter == '\\' {
            escaped = true;
        } else if letter == '(' && ['=', '!'].into_iter().any(|kind| letters.clone().take(2).eq(['?', kind])) {
            return Err("look-around is not supported; say the same with several constraints or with enum".to_owned());
        } else if letter == '-' && letters.peek() == Some(&'[') {
            return Err("character-class subtraction (`-[`) is not supported; list the characters, or escape the bracket".to_owned());
        }
    }
    if written.contains("\\p{Is") || written.contains("\\P{Is") {
        return Err("block escapes (`\\p{Is…}`) are not supported; use a script such as `\\p{Greek}`".to_owned());
    }
    // Read alone first, so that `a)(b` cannot close the group that holds it.
    Regex::new(written).and_then(|_| Regex::new(&format!(r"\A(?:{written})\z"))).map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "the pattern is too large".to_owned(),
        other => other.to_string().lines().last().unwrap_or("not a regular expression").trim_start_matches("error: ").to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_are_anchored_as_a_whole() {
        let matches = |written, text| Pattern::parse(written).unwrap().is_match(text);
        assert!(matches("a.c", "abc") && !matches("a.c", "xabc") && !matches("a.c", "abcd"));
        assert!(matches("a|b", "b") && !matches("a|b", "ax") && !matches("a|b", "xb"));
        assert!(matches("^[A-Z]{3}$", "EUR") && !matches("^[A-Z]{3}$", "EUR\n"));
        assert!(matches(r"[\d\-]+", "1-2"));
    }

    #[test]
    fn patterns_that_would_mean_something_else_are_refused() {
        for written in [r"\i\c*", r"(a)\1", "(?=a)b", "(?!a)b", "(?<=a)b", "[a-z-[aeiou]]", r"\p{IsGreek}", "a)(b", "["] {
            assert!(Pattern::parse(written).is_err(), "{written}");
        }
    }

    const PARTS: &[&str] = &["a", "b", "_", "[a-c]", "[a-b_?]", "[c-]", "-", "[^a]", "é"];
    const TIMES: &[&str] = &["", "", "?", "*", "+", "{0}", "{2}", "{1,}", "{0,2}", "{1,2}", "??", "+?"];

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn simple_patterns_match_what_the_engine_matches(
            items in proptest::collection::vec((proptest::sample::select(PARTS), proptest::sample::select(TIMES)), 0..4),
            anchored in any::<bool>(),
            text in "[abcé_?-]{0,5}",
        ) {
            let mut written = items.iter().map(|(class, times)| [class.to_string(), times.to_string()].concat()).collect::<Vec<_>>().concat();
            if anchored {
                written = format!("^{written}$");
            }
            if let Ok(pattern) = Pattern::parse(&written) {
                prop_assert_eq!(pattern.is_match(&text), pattern.regex.is_match(&text), "{}", written);
            }
        }
    }

    #[test]
    fn patterns_of_real_schemas_are_simple() {
        for written in ["^[A-Z]{3}$", "[A-Z]{2}[0-9]{6}", "C[0-9]+", "[A-Za-z0-9_]{1,36}"] {
            assert!(Pattern::parse(written).unwrap().simple.is_some(), "{written}");
        }
        for written in ["a|b", "[^a]", ".", r"\d{3}", "[a-z]+[0-9]", "a{2}?", "(a)", "é"] {
            assert!(Pattern::parse(written).unwrap().simple.is_none(), "{written}");
        }
    }
}
