//! Identifiers that a spreadsheet took for numbers.

/// Is this text a number in the exponent form to which spreadsheets shorten long digits, such as `7.21045E+12`?
///
/// What was lost cannot be brought back: `7210448301122` and `7210451234567` both become that text. Decimal commas are known, because
/// spreadsheets write numbers as their country does. `1E5` without sign is left alone: article codes look so.
pub fn looks_like_spreadsheet_damage(text: &str) -> bool {
    let text = text.trim_matches(' ');
    let Some((mantissa, exponent)) = text.split_once(['E', 'e']) else { return false };
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa = mantissa.strip_prefix('-').unwrap_or(mantissa);
    let (whole, fraction) = mantissa.split_once(['.', ',']).unwrap_or((mantissa, "0"));
    let Some(exponent) = exponent.strip_prefix('+') else { return false };
    whole.len() == 1 && digits(whole) && digits(fraction) && (2..=3).contains(&exponent.len()) && digits(exponent)
}

#[cfg(test)]
mod tests {
    use super::looks_like_spreadsheet_damage as damaged;

    #[test]
    fn exponent_forms_of_spreadsheets_are_recognised() {
        for text in ["7.21045E+12", "1.00E+12", "7,21045E+12", "1E+15", "-4.5E+20", " 7.2e+12 "] {
            assert!(damaged(text), "{text}");
        }
        for text in ["7210448301122", "1E5", "12E+15", "AE+12", "E+12", "7.E+12", "7.21045E-12x", "7.2E+", "", "1.2.3E+10"] {
            assert!(!damaged(text), "{text}");
        }
    }
}
