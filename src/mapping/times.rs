//! What a template multiplies. Text times a number from a cell would make as much text as the cell says, so both sides must be numbers.

use super::tokens::{Expression, NUMBERS, Token, expressions};

/// Text of a template may be repeated this often by a number that stands in the template.
const REPEATS_MAX: f64 = 1000.0;

/// What stands on one side of a `*`.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Number,
    /// A number of the template itself.
    Constant(f64),
    /// A text of the template itself.
    Text,
    Unknown,
}

/// Does the template multiply? The error says what is wrong with that. `is_number` tells which names are columns of whole numbers.
pub(super) fn multiplies(template: &str, is_number: impl Fn(&str) -> bool) -> Result<bool, String> {
    let mut any = false;
    for Expression { tokens, .. } in expressions(template) {
        for (index, _) in tokens.iter().enumerate().filter(|(_, token)| **token == Token::Sign("*")) {
            any = true;
            let (left, rest) = before(&tokens[..index], &is_number);
            let (right, more) = after(&tokens[index + 1..], &is_number);
            let alone = rest.last() != Some(&Token::Sign("*")) && more.first() != Some(&Token::Sign("*"));
            match (left, right) {
                (Side::Number | Side::Constant(_), Side::Number | Side::Constant(_)) => {}
                (Side::Text, Side::Constant(times)) | (Side::Constant(times), Side::Text) if alone && times <= REPEATS_MAX => {}
                _ => {
                    return Err("`*` may repeat text as often as a cell says; multiply numbers and columns of type integer alone, or \
                                write such as `(COLUMN | int) * 2`"
                        .into());
                }
            }
        }
    }
    Ok(any)
}

fn of_filter(name: &str) -> Side {
    if NUMBERS.contains(&name) { Side::Number } else { Side::Unknown }
}

/// The operand that ends here, and what stands before it.
fn before<'s, 't>(tokens: &'s [Token<'t>], is_number: &impl Fn(&str) -> bool) -> (Side, &'s [Token<'t>]) {
    match tokens {
        [rest @ .., Token::Sign("|"), Token::Name(filter)] => (of_filter(filter), rest),
        [rest @ .., Token::Sign("."), Token::Name(_)] => (Side::Unknown, rest),
        [rest @ .., Token::Name(name)] => (if is_number(name) { Side::Number } else { Side::Unknown }, rest),
        [rest @ .., Token::Number(number)] => (Side::Constant(*number), rest),
        [rest @ .., Token::Text(_)] => (Side::Text, rest),
        [.., Token::Sign(")")] => {
            let mut depth = 0;
            let open = tokens.iter().rposition(|token| {
                depth += i32::from(*token == Token::Sign(")")) - i32::from(*token == Token::Sign("("));
                depth == 0
            });
            let Some(open) = open else { return (Side::Unknown, &[]) };
            match &tokens[..open] {
                [rest @ .., Token::Sign("|"), Token::Name(filter)] => (of_filter(filter), rest),
                rest @ [.., Token::Name(_)] => (Side::Unknown, rest),
                rest => (group(&tokens[open + 1..tokens.len() - 1], is_number), rest),
            }
        }
        _ => (Side::Unknown, tokens),
    }
}

/// The operand that begins here, and what stands behind it.
fn after<'s, 't>(tokens: &'s [Token<'t>], is_number: &impl Fn(&str) -> bool) -> (Side, &'s [Token<'t>]) {
    let (mut side, mut rest) = match tokens {
        [Token::Sign("-" | "+"), rest @ ..] => return after(rest, is_number),
        [Token::Name(name), rest @ ..] => (if is_number(name) { Side::Number } else { Side::Unknown }, rest),
        [Token::Number(number), rest @ ..] => (Side::Constant(*number), rest),
        [Token::Text(_), rest @ ..] => (Side::Text, rest),
        [Token::Sign("("), ..] => {
            let close = closing(tokens);
            (group(&tokens[1..close], is_number), tokens.get(close + 1..).unwrap_or_default())
        }
        _ => (Side::Unknown, tokens),
    };
    // Filters bind closer than signs.
    loop {
        match rest {
            [Token::Sign("|"), Token::Name(filter), more @ ..] => {
                side = of_filter(filter);
                rest = if more.first() == Some(&Token::Sign("(")) { more.get(closing(more) + 1..).unwrap_or_default() } else { more };
            }
            [Token::Sign("." | "[" | "("), ..] => return (Side::Unknown, rest),
            _ => return (side, rest),
        }
    }
}

/// Where the bracket closes that opens first.
fn closing(tokens: &[Token<'_>]) -> usize {
    let mut depth = 0;
    let close = tokens.iter().position(|token| {
        depth += i32::from(*token == Token::Sign("(")) - i32::from(*token == Token::Sign(")"));
        depth == 0
    });
    close.unwrap_or(tokens.len())
}

/// What stands in brackets is a number when nothing else is in it.
fn group(tokens: &[Token<'_>], is_number: &impl Fn(&str) -> bool) -> Side {
    if let [.., Token::Sign("|"), Token::Name(filter)] = tokens
        && !tokens.iter().any(|token| matches!(token, Token::Text(_)))
    {
        let plain = tokens.iter().all(|token| matches!(token, Token::Name(_) | Token::Number(_) | Token::Sign("|")));
        return if plain { of_filter(filter) } else { Side::Unknown };
    }
    let number = |token: &Token<'_>| match token {
        Token::Number(_) | Token::Sign("+" | "-" | "*" | "/" | "//" | "%" | "**" | "(" | ")") => true,
        Token::Name(name) => is_number(name),
        Token::Text(_) | Token::Sign(_) => false,
    };
    if !tokens.is_empty() && tokens.iter().all(number) { Side::Number } else { Side::Unknown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_multiplied_and_text_is_repeated_by_no_cell() {
        let judged = |template| multiplies(template, |name| ["points", "visits"].contains(&name));
        for template in [
            "{{ points * 2 }}",
            "{{ 2 * points * visits }}",
            "{{ (points // 10 + 1) * -visits }}",
            "{{ (amount | int) * 3 }} of {{ name }}",
            "{{ amount | round(2) * 3 }}",
            "{{ 3 * amount | int }}",
            "{{ '-' * 40 }}",
            "{% if points * 2 > 7 %}*{{ name }}*{% endif %}",
        ] {
            assert_eq!(judged(template), Ok(true), "{template}");
        }
        for template in ["{{ name }} * {{ points }}", "* {{ '*' }} {# a * b #}", "{{ 2 ** points }}", "{ * }"] {
            assert_eq!(judged(template), Ok(false), "{template}");
        }
        for template in [
            "{{ name * points }}",
            "{{ points * name }}",
            "{{ 'x' * points }}",
            "{{ points * \"\\\"x\" }}",
            "{{ 'x' * 5000 }}",
            "{{ 'x' * 3 * points }}",
            "{{ points * 'x' * 3 }}",
            "{{ (points ~ '') * visits }}",
            "{{ points | string * visits }}",
            "{{ visits * points | string }}",
            "{{ (points | string) * visits }}",
            "{{ [1] * points }}",
            "{% set x = name %}{{ x * points }}",
            "{{ row.points * points }}",
            "{{ name[0] * points }}",
            "{{ points * name[0] }}",
            "{{ upper(points) * points }}",
        ] {
            assert!(judged(template).is_err(), "{template}");
        }
    }
}
