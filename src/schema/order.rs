//! When one value is less than, or equal to, another: what `minimum`, `maximum` and `enum` ask.

use std::cmp::Ordering;

use super::duration;
use super::value::Value;

/// The order of two values of one field; none where they have no order, such as `P1M` and `P30D`.
///
/// A date-time without an offset is compared as if it were UTC with one that has an offset.
pub(crate) fn compare(left: &Value<'_>, right: &Value<'_>) -> Option<Ordering> {
    Some(match (left, right) {
        (Value::Integer(left), Value::Integer(right)) => left.cmp(right),
        (Value::Number(left), Value::Number(right)) => left.cmp(right),
        (Value::Integer(_) | Value::Number(_) | Value::Big(_), Value::Integer(_) | Value::Number(_) | Value::Big(_)) => {
            compare_digits(&left.canonical(), &right.canonical())
        }
        (Value::Date(left), Value::Date(right)) => left.cmp(right),
        (Value::Time(left), Value::Time(right)) => left.cmp(right),
        (Value::DateTime(left, left_offset), Value::DateTime(right, right_offset)) => {
            let left = left_offset.map_or(*left, |offset| *left - offset);
            let right = right_offset.map_or(*right, |offset| *right - offset);
            left.cmp(&right)
        }
        (Value::Year(left), Value::Year(right)) => left.cmp(right),
        (Value::YearMonth(year, month), Value::YearMonth(other_year, other_month)) => (year, month).cmp(&(other_year, other_month)),
        (Value::Duration(left), Value::Duration(right)) => return duration::compare(left, right),
        _ => return None,
    })
}

pub(crate) fn equal(left: &Value<'_>, right: &Value<'_>) -> bool {
    compare(left, right).map_or_else(|| left == right, Ordering::is_eq)
}

/// Orders canonical decimal texts of any length.
fn compare_digits(left: &str, right: &str) -> Ordering {
    match (left.strip_prefix('-'), right.strip_prefix('-')) {
        (Some(left), Some(right)) => compare_unsigned(right, left),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => compare_unsigned(left, right),
    }
}

fn compare_unsigned(left: &str, right: &str) -> Ordering {
    let (left_whole, left_fraction) = left.split_once('.').unwrap_or((left, ""));
    let (right_whole, right_fraction) = right.split_once('.').unwrap_or((right, ""));
    left_whole.len().cmp(&right_whole.len()).then_with(|| left_whole.cmp(right_whole)).then_with(|| left_fraction.cmp(right_fraction))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_length_have_an_order() {
        let big = |text: &'static str| Value::Big(text.into());
        assert_eq!(compare(&big("123456789012345678901"), &Value::Integer(5)), Some(Ordering::Greater));
        assert_eq!(compare(&big("-123456789012345678901"), &Value::Integer(5)), Some(Ordering::Less));
        assert_eq!(compare(&big("-2.5"), &big("-2.4")), Some(Ordering::Less));
        assert_eq!(compare(&big("2.05"), &big("2.1")), Some(Ordering::Less));
    }
}
