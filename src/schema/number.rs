//! Integers and exact decimals. Whatever cannot be read in one way only is refused: a misplaced separator is a wrong balance.

use std::borrow::Cow;

use rust_decimal::Decimal;

use super::kind::{Reading, Unreadable};
use super::value::Value;
use crate::outcome::Code;

/// Written exponents beyond this are refused, so that a cell of few bytes cannot ask for a number of millions of digits.
const EXPONENT_MAX: i64 = 1000;

/// How numbers of a field are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NumberForm {
    /// `decimalChar`.
    pub decimal: String,
    /// `groupChar`: separates thousands.
    pub group: Option<String>,
    /// `bareNumber`: nothing but the number stands in the cell.
    pub bare: bool,
}

impl Default for NumberForm {
    fn default() -> NumberForm {
        NumberForm { decimal: ".".to_owned(), group: None, bare: true }
    }
}

#[inline]
pub(crate) fn integer<'c>(text: &'c str, form: &NumberForm) -> Reading<'c> {
    match small_integer(text.as_bytes()) {
        Some(value) => Ok(Value::Integer(value)),
        None => exact_integer(text, form),
    }
}

#[inline]
pub(crate) fn number<'c>(text: &'c str, form: &NumberForm) -> Reading<'c> {
    match small_decimal(text.as_bytes(), &form.decimal) {
        Some(value) => Ok(Value::Number(value)),
        None => exact_number(text, form),
    }
}

/// At most 18 digits with an optional sign: the same in every form.
#[inline]
pub(super) fn small_integer(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        all => (false, all),
    };
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let mut value = 0_i64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + i64::from(digit);
    }
    Some(if negative { -value } else { value })
}

/// At most 18 digits, an optional sign and one decimal point: no group, no exponent.
#[inline]
pub(super) fn small_decimal(bytes: &[u8], decimal: &str) -> Option<Decimal> {
    let &[point] = decimal.as_bytes() else { return None };
    let (negative, digits) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        all => (false, all),
    };
    let (mut value, mut count, mut scale) = (0_i64, 0_u32, None);
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            if count == 18 {
                return None;
            }
            value = value * 10 + i64::from(digit);
            count += 1;
            scale = scale.map(|scale| scale + 1);
        } else if byte == point && scale.is_none() {
            scale = Some(0);
        } else {
            return None;
        }
    }
    (count > 0).then(|| Decimal::new(if negative { -value } else { value }, scale.unwrap_or(0)))
}

#[cold]
fn exact_integer<'c>(text: &'c str, form: &NumberForm) -> Reading<'c> {
    let refusal = || Unreadable::new("is not an integer");
    let body = bare(text, form, None).ok_or_else(refusal)?;
    let (negative, unsigned) = sign(body);
    let whole = ungroup(unsigned, form).map_err(|broken| match broken {
        Broken::Grouping => bad_grouping(),
        Broken::Form => integer_hint(unsigned, form, refusal()),
    })?;
    let digits = whole.trim_start_matches('0');
    let canonical = canonical(negative, digits, "");
    Ok(canonical.parse().map_or_else(|_| Value::Big(Cow::Owned(canonical)), Value::Integer))
}

fn integer_hint(unsigned: &str, form: &NumberForm, refusal: Unreadable) -> Unreadable {
    match number(unsigned, form) {
        Ok(Value::Number(value)) if value.is_integer() => {
            refusal.suggest("write it without decimals or exponent, or make the field a number")
        }
        Ok(_) => refusal.suggest("write a whole number, or make the field a number"),
        Err(_) if form.group.is_none() && is_grouped_by_any(unsigned) => {
            refusal.suggest("write it without separators, or set groupChar to the one used")
        }
        Err(_) => refusal,
    }
}

/// Looks like thousands separated by one of the usual characters.
fn is_grouped_by_any(unsigned: &str) -> bool {
    [",", ".", " ", "'", "\u{a0}", "\u{202f}"].into_iter().any(|group| {
        let form = NumberForm { group: Some(group.to_owned()), ..NumberForm::default() };
        unsigned.contains(group) && ungroup(unsigned, &form).is_ok()
    })
}

#[cold]
fn exact_number<'c>(text: &'c str, form: &NumberForm) -> Reading<'c> {
    let refusal = || Unreadable::new(format!("is not a number with the decimal sign `{}`", form.decimal));
    let body = bare(text, form, Some(&form.decimal)).ok_or_else(refusal)?;
    let (mantissa, exponent) = match body.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, small_integer(exponent.as_bytes()).ok_or_else(refusal)?),
        None => (body, 0),
    };
    if exponent.abs() > EXPONENT_MAX {
        return Err(Unreadable::new(format!("has an exponent beyond {EXPONENT_MAX}")));
    }
    let (negative, unsigned) = sign(mantissa);
    let (whole, fraction) = unsigned.split_once(form.decimal.as_str()).unwrap_or((unsigned, ""));
    if whole.is_empty() && fraction.is_empty() {
        return Err(refusal());
    }
    let whole = match ungroup(whole, form) {
        Ok(whole) => whole,
        Err(Broken::Form) if whole.is_empty() => Cow::Borrowed(""),
        Err(Broken::Form) => return Err(number_hint(unsigned, form, refusal())),
        Err(Broken::Grouping) => return Err(bad_grouping()),
    };
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        let in_groups = form.group.as_ref().is_some_and(|group| {
            fraction.contains(group.as_str()) && fraction.replace(group.as_str(), "").bytes().all(|byte| byte.is_ascii_digit())
        });
        return Err(if in_groups { bad_grouping() } else { number_hint(unsigned, form, refusal()) });
    }
    let (whole, fraction) = shift(&whole, fraction, exponent);
    let canonical = canonical(negative, whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    Ok(match Decimal::from_str_exact(&canonical) {
        Ok(value) => Value::Number(value),
        Err(_) => Value::Big(Cow::Owned(canonical)),
    })
}

fn number_hint(unsigned: &str, form: &NumberForm, refusal: Unreadable) -> Unreadable {
    let other = if form.decimal == "." { "," } else { "." };
    let swapped = NumberForm { decimal: other.to_owned(), group: None, bare: true };
    let lower = unsigned.trim_start_matches('-').to_ascii_lowercase();
    if matches!(lower.as_str(), "nan" | "inf" | "infinity") {
        refusal.suggest("leave the cell empty; NaN and INF cannot be shown on a pass")
    } else if form.group.is_none() && is_grouped_by_any(unsigned) {
        refusal.suggest("write it without separators, or set groupChar or decimalChar to what the exporter writes")
    } else if number_is(unsigned, &swapped) {
        refusal.suggest(format!("write `{}` before the decimals, or set decimalChar to `{other}`", form.decimal))
    } else if form.bare && number_is(unsigned, &NumberForm { bare: false, ..form.clone() }) {
        refusal.suggest("write the number alone, or set bareNumber to false")
    } else {
        refusal
    }
}

fn number_is(text: &str, form: &NumberForm) -> bool {
    small_decimal(text.as_bytes(), &form.decimal).is_some()
        || (!form.bare
            && bare(text, form, Some(&form.decimal)).is_some_and(|body| body != text && number(body, &NumberForm::default()).is_ok()))
}

fn bad_grouping() -> Unreadable {
    Unreadable::coded(Code::BadGrouping, "has a thousands separator where no thousands end")
        .suggest("write the number without separators, or check decimalChar and groupChar")
}

/// The number in the cell. Without `bareNumber` white space is all that may surround it; with it anything may but a sign of its own, or a
/// bracket, either of which may mean "minus" and must not be lost.
fn bare<'c>(text: &'c str, form: &NumberForm, decimal: Option<&str>) -> Option<&'c str> {
    let text = text.trim_matches([' ', '\t', '\r', '\n']);
    if form.bare {
        return Some(text);
    }
    let first = text.find(|letter: char| letter.is_ascii_digit())?;
    let last = text.rfind(|letter: char| letter.is_ascii_digit())? + 1;
    let (mut before, mut after) = (&text[..first], &text[last..]);
    if let Some(decimal) = decimal {
        before = before.strip_suffix(decimal).unwrap_or(before);
        after = after.strip_prefix(decimal).unwrap_or(after);
    }
    before = before.strip_suffix(['-', '+']).unwrap_or(before);
    let suspicious = |part: &str| part.contains(['-', '+', '(', ')', '\u{2212}', '\u{2013}']);
    if suspicious(before) || suspicious(after) {
        return None;
    }
    Some(&text[before.len()..text.len() - after.len()])
}

fn sign(text: &str) -> (bool, &str) {
    match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    }
}

enum Broken {
    Form,
    Grouping,
}

/// The digits without their separators, which must part off groups of three.
fn ungroup<'t>(digits: &'t str, form: &NumberForm) -> Result<Cow<'t, str>, Broken> {
    let are_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let Some(group) = form.group.as_deref().filter(|group| digits.contains(group)) else {
        return if !digits.is_empty() && are_digits(digits) { Ok(Cow::Borrowed(digits)) } else { Err(Broken::Form) };
    };
    if !digits.split(group).all(are_digits) {
        return Err(Broken::Form);
    }
    let mut parts = digits.split(group);
    let well_led = parts.next().is_some_and(|first| (1..=3).contains(&first.len()));
    if well_led && parts.all(|part| part.len() == 3) { Ok(Cow::Owned(digits.replace(group, ""))) } else { Err(Broken::Grouping) }
}

/// Moves the decimal point as the exponent says.
fn shift(whole: &str, fraction: &str, exponent: i64) -> (String, String) {
    let digits = format!("{whole}{fraction}");
    let point = exponent.saturating_add_unsigned(whole.len() as u64);
    if point <= 0 {
        return (String::new(), format!("{}{digits}", "0".repeat(point.unsigned_abs() as usize)));
    }
    let point = point.unsigned_abs() as usize;
    if point >= digits.len() {
        return (format!("{digits}{}", "0".repeat(point - digits.len())), String::new());
    }
    (digits[..point].to_owned(), digits[point..].to_owned())
}

fn canonical(negative: bool, whole: &str, fraction: &str) -> String {
    let mut text = String::with_capacity(whole.len() + fraction.len() + 3);
    if negative && !(whole.is_empty() && fraction.is_empty()) {
        text.push('-');
    }
    text.push_str(if whole.is_empty() { "0" } else { whole });
    if !fraction.is_empty() {
        text.push('.');
        text.push_str(fraction);
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bare_form() -> NumberForm {
        NumberForm { bare: false, ..NumberForm::default() }
    }

    #[test]
    fn numbers_of_any_size_stay_exact() {
        let plain = NumberForm::default();
        let read = |text| number(text, &plain).map(|value| value.canonical().into_owned());
        assert_eq!(read("123456789012345678901234567890.5").as_deref(), Ok("123456789012345678901234567890.5"));
        assert_eq!(read("1e-30").as_deref(), Ok("0.000000000000000000000000000001"));
        assert_eq!(read("1.25E3").as_deref(), Ok("1250"));
        assert_eq!(read("-0.0").as_deref(), Ok("0"));
        assert!(read("1e1001").is_err());
        assert_eq!(integer("-000123456789012345678901", &plain), Ok(Value::Big("-123456789012345678901".into())));
        assert_eq!(integer("9223372036854775807", &plain), Ok(Value::Integer(i64::MAX)));
    }

    #[test]
    fn a_sign_is_never_stripped_away() {
        for text in ["-€95", "95-", "(95)", "− 95", "EUR -  95"] {
            assert!(number(text, &bare_form()).is_err(), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn fast_and_exact_readings_agree(text in "[-+]?[0-9]{0,20}([.][0-9]{0,6})?") {
            let plain = NumberForm::default();
            let exact = exact_number(&text, &plain);
            prop_assert_eq!(number(&text, &plain).map(|v| v.canonical().into_owned()), exact.map(|v| v.canonical().into_owned()));
            prop_assert_eq!(integer(&text, &plain), exact_integer(&text, &plain));
        }
    }
}
