//! Numbers that a platform keeps in binary, and what becomes of decimals in them.

use std::fmt::Display;
use std::str::FromStr;

use rust_decimal::Decimal;

use super::ValueFault;
use crate::outcome::Code;

/// A binary number as a platform may keep one.
pub(super) trait Float: FromStr + Display + Copy {
    /// Significant digits that it keeps, in words.
    const DIGITS: &'static str;
    fn is_finite(self) -> bool;
}

impl Float for f32 {
    const DIGITS: &'static str = "seven";

    fn is_finite(self) -> bool {
        f32::is_finite(self)
    }
}

impl Float for f64 {
    const DIGITS: &'static str = "sixteen";

    fn is_finite(self) -> bool {
        f64::is_finite(self)
    }
}

/// A number must be the shortest text of the float that `platform` stores.
pub(super) fn check_float<F: Float>(platform: &str, text: &str) -> Result<(), ValueFault> {
    let Ok(stored) = text.parse::<F>() else {
        return Err(ValueFault { code: Code::MappingError, message: "this field takes a number".to_owned() });
    };
    if !stored.is_finite() {
        return Err(ValueFault { code: Code::ValueTooLarge, message: format!("the number is too large for {platform}") });
    }
    let shown = stored.to_string();
    let same = match (text.parse::<Decimal>(), shown.parse::<Decimal>()) {
        (Ok(wanted), Ok(kept)) => wanted == kept,
        _ => text == shown,
    };
    if same {
        return Ok(());
    }
    let message = format!("{platform} would store {shown}: it keeps about {} significant digits", F::DIGITS);
    Err(ValueFault { code: Code::ValueInexact, message })
}
