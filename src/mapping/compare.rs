//! What a template compares. The engine puts values of different kinds in the order of their kinds, without a word: a decimal, which reaches
//! it as text, is more than any number, and so is an empty cell. So both sides of a comparison are of one kind, and a cell beside a number
//! becomes one first. What cannot be known to be right is refused when the feed is read.

use minijinja::{Error, Value};
use rust_decimal::Decimal;

use super::template::said;
use super::tokens::{Expression, NUMBERS, Token, expressions};
use crate::schema::FieldType;

/// The filters that stand behind what is compared, as [`guarded`] puts them there.
pub(super) const AS_NUMBER: &str = "compared_as_number";
pub(super) const AS_GIVEN: &str = "compared_as_given";

/// A decimal of so many digits and its nearest binary fraction belong to each other alone (IEEE 754).
const DIGITS_MAX: usize = 15;

/// Filters that give text, whatever goes in.
const TEXTS: [&str; 9] = ["capitalize", "format", "join", "lower", "replace", "string", "title", "trim", "upper"];

/// Tests that compare: signs say the same, and are looked at.
pub(super) const TESTS: [&str; 17] =
    ["eq", "equalto", "==", "ne", "!=", "lt", "lessthan", "<", "le", "<=", "gt", "greaterthan", ">", "ge", ">=", "in", "sameas"];

/// Names that an operand ends at.
const ENDS: [&str; 12] = ["and", "or", "not", "if", "elif", "else", "in", "is", "for", "set", "with", "do"];

/// What one side of a comparison is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// A number, or a cell that has to become one.
    Number,
    Text,
    /// The text of no letters, by which an empty cell is asked for.
    Nothing,
    Boolean,
    Unknown,
}

impl Kind {
    fn of(field: FieldType) -> Kind {
        match field {
            FieldType::Integer | FieldType::Number | FieldType::Year => Kind::Number,
            FieldType::Boolean => Kind::Boolean,
            _ => Kind::Text,
        }
    }
}

/// The template with what looks at its compared cells when it is filled in, or what is wrong with its comparisons. `column` gives the type
/// of the column that a name means.
pub(super) fn guarded(template: &str, column: impl Fn(&str) -> Option<FieldType>) -> Result<String, String> {
    let mut guards: Vec<(usize, &str)> = Vec::new();
    for expression in expressions(template) {
        Looked { expression: &expression, column: &column, guards: &mut guards }.look()?;
    }
    guards.sort_unstable();
    guards.dedup_by_key(|(end, _)| *end);
    let mut text = template.to_owned();
    for (end, filter) in guards.into_iter().rev() {
        text.insert_str(end, &format!(" | {filter}"));
    }
    Ok(text)
}

struct Looked<'e, 't, C> {
    expression: &'e Expression<'t>,
    column: &'e C,
    guards: &'e mut Vec<(usize, &'static str)>,
}

impl<'t, C: Fn(&str) -> Option<FieldType>> Looked<'_, 't, C> {
    fn look(&mut self) -> Result<(), String> {
        let tokens = &self.expression.tokens;
        let is_loop = tokens.first() == Some(&Token::Name("for"));
        let of_loop = tokens.iter().position(|token| *token == Token::Name("in")).filter(|_| is_loop);
        for (at, token) in tokens.iter().enumerate() {
            match *token {
                Token::Sign(sign @ ("<" | ">" | "<=" | ">=" | "==" | "!=")) => {
                    let (left, right) = (self.before(at), self.after(at + 1));
                    self.pair(sign, left, right)?;
                }
                Token::Name("in") if of_loop != Some(at) => self.within(at)?,
                Token::Name("is") => {
                    let test = match tokens.get(at + 1..) {
                        Some([Token::Name("not"), Token::Name(test), ..] | [Token::Name(test), ..]) => test,
                        _ => continue,
                    };
                    if TESTS.contains(test) {
                        return Err(format!("`is {test}` compares without a look at what; write it with a sign, such as `>=` or `==`"));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The operand that ends before this token.
    fn before(&self, end: usize) -> std::ops::Range<usize> {
        let mut depth = 0;
        let stop = self.expression.tokens[..end].iter().rposition(|token| {
            match token {
                Token::Sign(")" | "]" | "}") => depth += 1,
                Token::Sign("(" | "[" | "{") => depth -= 1,
                _ => {}
            }
            depth < 0 || (depth == 0 && is_end(token))
        });
        stop.map_or(0, |stop| stop + 1)..end
    }

    /// The operand that begins with this token.
    fn after(&self, start: usize) -> std::ops::Range<usize> {
        let mut depth = 0;
        let tokens = self.expression.tokens.get(start..).unwrap_or_default();
        let stop = tokens.iter().position(|token| {
            match token {
                Token::Sign("(" | "[" | "{") => depth += 1,
                Token::Sign(")" | "]" | "}") => depth -= 1,
                _ => {}
            }
            depth < 0 || (depth == 0 && is_end(token))
        });
        start..start + stop.unwrap_or(tokens.len())
    }

    fn pair(&mut self, sign: &str, left: std::ops::Range<usize>, right: std::ops::Range<usize>) -> Result<(), String> {
        let equality = matches!(sign, "==" | "!=" | "in");
        match (self.kind(left.clone()), self.kind(right.clone())) {
            (Kind::Number, Kind::Number) => {
                self.guard(left);
                self.guard(right);
                Ok(())
            }
            (Kind::Nothing, _) | (_, Kind::Nothing) if equality => Ok(()),
            (Kind::Text, Kind::Text) if equality => Ok(()),
            (Kind::Text, Kind::Text) | (Kind::Boolean, Kind::Boolean) => {
                self.guard_given(left);
                self.guard_given(right);
                Ok(())
            }
            (Kind::Unknown, Kind::Text | Kind::Boolean | Kind::Unknown) | (Kind::Text | Kind::Boolean, Kind::Unknown) if equality => Ok(()),
            (Kind::Number, Kind::Text) | (Kind::Text, Kind::Number) => Err(format!(
                "`{sign}` compares a number with text, and neither is ever more or less; write the number without quotes, and text that is a \
                 number as `(COLUMN | float)`"
            )),
            (Kind::Number, _) | (_, Kind::Number) => Err(format!(
                "`{sign}` compares a number with what may be none; write such as `(NAME | float) {} 10`",
                if sign == "in" { "==" } else { sign }
            )),
            _ => Err(format!("`{sign}` compares what may be of two kinds; write `(NAME | float)` or `(NAME | string)` on each side")),
        }
    }

    /// `X in [A, B]`, or `X in TEXT`.
    fn within(&mut self, at: usize) -> Result<(), String> {
        let tokens = &self.expression.tokens;
        let negated = at > 0 && tokens[at - 1] == Token::Name("not");
        let left = self.before(if negated { at - 1 } else { at });
        let right = self.after(at + 1);
        let is_list = matches!(tokens.get(right.start), Some(Token::Sign("[" | "("))) && closing(&tokens[right.clone()]) + 1 == right.len();
        if !is_list {
            return self.pair("in", left, right);
        }
        let mut start = right.start + 1;
        while start + 1 < right.end {
            let one = self.after(start);
            start = one.end + 1;
            self.pair("in", left.clone(), one)?;
        }
        Ok(())
    }

    fn kind(&self, operand: std::ops::Range<usize>) -> Kind {
        let terms = self.terms(operand.clone());
        let joins = |at: &usize| self.expression.tokens[*at] == Token::Sign("~");
        let tokens = &self.expression.tokens[operand];
        match &terms[..] {
            _ if terms.is_empty() => Kind::Unknown,
            [(_, one)] if tokens.len() == one.len() => self.term(one.clone()),
            _ if terms.iter().any(|(before, _)| before.as_ref().is_some_and(joins)) => Kind::Text,
            // The engine reckons with numbers alone, except that it puts texts together and repeats one.
            _ if terms.iter().all(|(_, term)| self.term(term.clone()) == Kind::Number) => Kind::Number,
            _ => Kind::Unknown,
        }
    }

    /// What the signs of reckoning part, each with the sign before it.
    fn terms(&self, operand: std::ops::Range<usize>) -> Vec<(Option<usize>, std::ops::Range<usize>)> {
        let mut terms = Vec::new();
        let (mut depth, mut start, mut before) = (0, operand.start, None);
        for at in operand.clone() {
            match self.expression.tokens[at] {
                Token::Sign("(" | "[" | "{") => depth += 1,
                Token::Sign(")" | "]" | "}") => depth -= 1,
                Token::Sign("+" | "-" | "*" | "/" | "//" | "%" | "**" | "~") if depth == 0 => {
                    if start < at {
                        terms.push((before, start..at));
                    }
                    (start, before) = (at + 1, Some(at));
                }
                _ => {}
            }
        }
        if start < operand.end {
            terms.push((before, start..operand.end));
        }
        terms
    }

    /// One value and the filters behind it.
    fn term(&self, term: std::ops::Range<usize>) -> Kind {
        let tokens = &self.expression.tokens;
        let (mut kind, mut at) = match &tokens[term.clone()] {
            [Token::Name("loop"), Token::Sign("."), Token::Name(name), ..] if name.contains("index") || *name == "length" => {
                (Kind::Number, term.start + 3)
            }
            [Token::Name("true" | "false" | "True" | "False"), ..] => (Kind::Boolean, term.start + 1),
            [Token::Name(name), ..] => ((self.column)(name).map_or(Kind::Unknown, Kind::of), term.start + 1),
            [Token::Number(_), ..] => (Kind::Number, term.start + 1),
            [Token::Text(""), ..] => (Kind::Nothing, term.start + 1),
            [Token::Text(_), ..] => (Kind::Text, term.start + 1),
            [Token::Sign("("), ..] => {
                let close = term.start + closing(&tokens[term.clone()]);
                let inside = term.start + 1..close.max(term.start + 1);
                let plain = self.after(inside.start) == inside;
                (if plain { self.kind(inside) } else { Kind::Unknown }, close + 1)
            }
            _ => return Kind::Unknown,
        };
        while at < term.end {
            let [Token::Sign("|"), Token::Name(filter), ..] = tokens[at..term.end] else { return Kind::Unknown };
            at += 2;
            let mut given = None;
            if at < term.end && tokens[at] == Token::Sign("(") {
                let close = at + closing(&tokens[at..term.end]);
                given = Some(self.after(at + 1)).filter(|first| !first.is_empty());
                at = close + 1;
            }
            kind = match filter {
                "default" | "d" if given.clone().is_some_and(|given| self.kind(given) == kind) => kind,
                _ if NUMBERS.contains(&filter) => Kind::Number,
                _ if TEXTS.contains(&filter) => Kind::Text,
                _ => Kind::Unknown,
            };
        }
        kind
    }

    /// Has each cell of a reckoning looked at, and made a number.
    fn guard(&mut self, operand: std::ops::Range<usize>) {
        for (_, term) in self.terms(operand) {
            match &self.expression.tokens[term.clone()] {
                [Token::Number(_)] | [] => {}
                [Token::Sign("("), .., Token::Sign(")")] if closing(&self.expression.tokens[term.clone()]) + 1 == term.len() => {
                    self.guard(term.start + 1..term.end - 1);
                }
                _ => self.guards.push((self.expression.ends[term.end - 1], AS_NUMBER)),
            }
        }
    }

    /// Has a cell looked at that stands for itself.
    fn guard_given(&mut self, operand: std::ops::Range<usize>) {
        if let [Token::Name(name)] = self.expression.tokens[operand.clone()]
            && (self.column)(name).is_some()
        {
            self.guards.push((self.expression.ends[operand.start], AS_GIVEN));
        }
    }
}

/// Does an operand end at this sign or name, if it stands in no brackets of the operand's own?
fn is_end(token: &Token<'_>) -> bool {
    match token {
        Token::Sign(sign) => matches!(*sign, "," | ":" | "=" | "<" | ">" | "<=" | ">=" | "==" | "!="),
        Token::Name(name) => ENDS.contains(name),
        Token::Number(_) | Token::Text(_) => false,
    }
}

/// Where the bracket closes that opens first.
fn closing(tokens: &[Token<'_>]) -> usize {
    let mut depth = 0;
    let close = tokens.iter().position(|token| {
        match token {
            Token::Sign("(" | "[" | "{") => depth += 1,
            Token::Sign(")" | "]" | "}") => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    close.unwrap_or(tokens.len().saturating_sub(1))
}

const EMPTY: &str = "a cell that the template compares is empty; write what counts then, such as `COLUMN | default(0, true)`, or ask before \
                     with `COLUMN != ''`";

/// A cell that is compared with a number: as a number, with all its digits or not at all.
pub(super) fn as_number(value: &Value) -> Result<Value, Error> {
    if value.is_number() {
        return Ok(value.clone());
    }
    let text = value.as_str().ok_or_else(|| said("what the template compares with a number is none"))?;
    if text.is_empty() {
        return Err(said(EMPTY));
    }
    if let Ok(whole) = text.parse::<i128>() {
        return Ok(Value::from(whole));
    }
    let digits = text.trim_start_matches(['-', '0', '.']).bytes().filter(u8::is_ascii_digit).count();
    match (Decimal::from_str_exact(text), text.parse::<f64>()) {
        (Ok(_), Ok(number)) if digits <= DIGITS_MAX => Ok(Value::from(number)),
        (Ok(_), _) => Err(said("a number that the template compares has more than 15 digits")),
        _ => Err(said("what the template compares with a number is none")),
    }
}

/// A cell that is compared with others of its kind.
pub(super) fn as_given(value: &Value) -> Result<Value, Error> {
    if value.as_str() == Some("") { Err(said(EMPTY)) } else { Ok(value.clone()) }
}

/// A list whose items can be put in order: numbers where there is one, or where all are such.
pub(super) fn comparable(list: &Value) -> Result<Value, Error> {
    let items: Vec<Value> = list.try_iter()?.collect();
    let is_decimal = |item: &Value| item.as_str().is_some_and(|text| Decimal::from_str_exact(text).is_ok());
    let are_numbers = items.iter().any(Value::is_number) || items.iter().all(is_decimal);
    items.iter().map(if are_numbers { as_number } else { as_given }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(template: &str) -> Result<String, String> {
        guarded(template, |name| match name {
            "points" | "visits" => Some(FieldType::Integer),
            "balance" | "limit" => Some(FieldType::Number),
            "tier" | "name" => Some(FieldType::String),
            "until" => Some(FieldType::Date),
            "vip" => Some(FieldType::Boolean),
            _ => None,
        })
    }

    #[test]
    fn numbers_are_compared_as_numbers_and_texts_as_texts() {
        let (number, given) = (AS_NUMBER, AS_GIVEN);
        for (template, made) in [
            ("{{ 'Gold' if balance >= 1000 else '' }}", format!("{{{{ 'Gold' if balance | {number} >= 1000 else '' }}}}")),
            ("{{- 1 if points>=limit -}}", format!("{{{{- 1 if points | {number}>=limit | {number} -}}}}")),
            ("{% if -points + 1 < 3 and tier == 'x' %}", format!("{{% if -points | {number} + 1 < 3 and tier == 'x' %}}")),
            ("{{ 10 <= points < 20 }}", format!("{{{{ 10 <= points | {number} < 20 }}}}")),
            ("{{ (points + visits) * 2 == 4 }}", format!("{{{{ (points | {number} + visits | {number}) * 2 == 4 }}}}")),
            ("{{ points | default(0, true) > 3 }}", format!("{{{{ points | default(0, true) | {number} > 3 }}}}")),
            ("{{ points not in [1, 2] }}", format!("{{{{ points | {number} not in [1, 2] }}}}")),
            ("{{ until < '2026-12-01' }}", format!("{{{{ until | {given} < '2026-12-01' }}}}")),
            ("{{ vip == true }}", format!("{{{{ vip | {given} == true }}}}")),
        ] {
            assert_eq!(judged(template), Ok(made));
        }
    }

    #[test]
    fn what_has_no_cell_beside_a_number_stays_as_it_is() {
        for template in [
            "{{ points }} > 3 {# balance > 3 #}{% raw %}{{ balance > 3 }}{% endraw %}",
            "{{ tier in ['gold', 'silver'] }}",
            "{{ 'a' in name and name[0] == 'A' }}",
            "{{ balance if balance != '' else 0 }}",
            "{% for x in [1, 2] if x %}{{ loop.first }}{% endfor %}",
            "{{ 'VIP' if vip else balance }}",
            "{{ name | lower == tier | lower }}",
            "{{ points is defined }}",
        ] {
            assert_eq!(judged(template).as_deref(), Ok(template));
        }
    }

    #[test]
    fn what_may_be_of_two_kinds_is_not_compared() {
        for (template, says) in [
            ("{{ balance >= '1000' }}", "without quotes"),
            ("{{ name > 5 }}", "(COLUMN | float)"),
            ("{{ points ~ '' == 5 }}", "with text"),
            ("{% set x = balance %}{{ x >= 1000 }}", "(NAME | float) >= 10"),
            ("{{ x > y }}", "of two kinds"),
            ("{{ vip == 'true' }}", "of two kinds"),
            ("{{ balance in ['5'] }}", "with text"),
            ("{{ balance in other }}", "(NAME | float) == 10"),
            ("{{ 3 if (balance if vip else 5) > 4 }}", "may be none"),
            ("{{ balance is gt(5) }}", "`is gt`"),
            ("{{ balance is not equalto 5 }}", "`is equalto`"),
        ] {
            let fault = judged(template).unwrap_err();
            assert!(fault.contains(says), "{template}: {fault}");
        }
    }

    #[test]
    fn a_number_keeps_all_its_digits_or_is_not_compared() {
        let number = |text: &str| as_number(&Value::from(text));
        assert_eq!(number("12.5").unwrap(), Value::from(12.5));
        assert_eq!(number("-00.5").unwrap(), Value::from(-0.5));
        assert_eq!(number("12345678901234567890").unwrap(), Value::from(12_345_678_901_234_567_890_i128));
        assert!(number("0.1000000000000000055").unwrap_err().to_string().contains("15 digits"));
        assert!(number("").unwrap_err().to_string().contains("is empty"));
        assert!(number("x").is_err() && as_number(&Value::from(true)).is_err());
        let most = |items: &[&str]| {
            comparable(&items.iter().map(|item| Value::from(*item)).collect::<Value>())
                .map(|list| list.try_iter().unwrap().max().unwrap().to_string())
        };
        assert_eq!(most(&["9.5", "12.5"]).unwrap(), "12.5");
        assert_eq!(most(&["2026-01-02", "2025-12-31"]).unwrap(), "2026-01-02");
        assert!(most(&["9.5", ""]).is_err());
    }
}
