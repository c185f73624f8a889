//! The words and signs of a template's expressions, as far as it matters what they do with cells.

/// Filters whose result is a number, whatever goes in.
pub(super) const NUMBERS: [&str; 8] = ["int", "float", "abs", "round", "ceil", "floor", "length", "count"];

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Token<'t> {
    Number(f64),
    /// What stands between the quotes.
    Text(&'t str),
    Name(&'t str),
    Sign(&'t str),
}

/// The inside of a `{{ }}` or `{% %}`.
#[derive(Debug, Default)]
pub(super) struct Expression<'t> {
    pub tokens: Vec<Token<'t>>,
    /// The byte of the template at which each of them ends.
    pub ends: Vec<usize>,
}

/// Signs of more than one character.
const LONG: [&str; 6] = ["**", "//", "==", "!=", "<=", ">="];

/// The insides of `{{ }}` and `{% %}`.
pub(super) fn expressions(template: &str) -> Vec<Expression<'_>> {
    let mut all = Vec::new();
    let mut at = 0;
    while let Some(start) = template[at..].find('{') {
        at += start + 1;
        let (end, skip) = match template.as_bytes().get(at) {
            Some(b'{') => ("}}", false),
            Some(b'%') => ("%}", false),
            Some(b'#') => ("#}", true),
            _ => continue,
        };
        at += 1;
        if skip {
            at = template[at..].find(end).map_or(template.len(), |close| at + close + end.len());
            continue;
        }
        let expression;
        (expression, at) = read(template, at, end);
        if expression.tokens == [Token::Name("raw")] {
            at = template[at..].find("endraw").map_or(template.len(), |close| at + close);
        } else {
            all.push(expression);
        }
    }
    all
}

/// The expression from this byte on, and the byte behind its end.
fn read<'t>(template: &'t str, mut at: usize, end: &str) -> (Expression<'t>, usize) {
    let mut found = Expression::default();
    // Beside its brackets these are no signs of the expression: they ask for spaces to be left out or kept.
    let is_control = |byte: Option<&u8>| matches!(byte, Some(b'-' | b'+'));
    at += usize::from(is_control(template.as_bytes().get(at)));
    loop {
        let text = template[at..].trim_start();
        at = template.len() - text.len();
        let Some(first) = text.chars().next() else { return (found, at) };
        if text.starts_with(end) {
            return (found, at + end.len());
        }
        if is_control(text.as_bytes().first()) && text[1..].starts_with(end) {
            return (found, at + 1 + end.len());
        }
        let (token, length) = match first {
            '"' | '\'' => {
                let mut escaped = false;
                let close = text[1..].find(|c| {
                    let closes = c == first && !escaped;
                    escaped = c == '\\' && !escaped;
                    closes
                });
                let inside = close.unwrap_or(text.len() - 1);
                (Token::Text(&text[1..=inside]), close.map_or(text.len(), |close| close + 2))
            }
            '0'..='9' => {
                let length = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '.' && c != '_').unwrap_or(text.len());
                (Token::Number(text[..length].replace('_', "").parse().unwrap_or(f64::INFINITY)), length)
            }
            c if c.is_alphanumeric() || c == '_' => {
                let length = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
                (Token::Name(&text[..length]), length)
            }
            _ => {
                let length = LONG.iter().find(|sign| text.starts_with(**sign)).map_or(first.len_utf8(), |sign| sign.len());
                (Token::Sign(&text[..length]), length)
            }
        };
        at += length;
        found.tokens.push(token);
        found.ends.push(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_read_between_their_brackets_alone() {
        let found = expressions("a {{- x >= '}}' -}} {# y #} { {% raw %}{{ z }}{% endraw %}{% if 1_0 %}");
        let tokens: Vec<_> = found.iter().map(|expression| &*expression.tokens).collect();
        assert_eq!(tokens, [&[Token::Name("x"), Token::Sign(">="), Token::Text("}}")][..], &[Token::Name("if"), Token::Number(10.0)]]);
        assert_eq!(found[0].ends, [7, 10, 15]);
        assert!(expressions("{{ 'é").iter().all(|found| found.tokens == [Token::Text("é")]));
    }
}
