//! What a pass can hold, by the names that a mapping and the vendor's own files use (contract 1.6, 2.2, 4).

use rust_decimal::Decimal;
use serde_json::{Number, Value as Json};

use super::wire::BODY_BYTES_MAX;
use crate::config::meant::TheWalletCrew;
use crate::outcome::Code;
use crate::platform::{FieldKind, FieldRule, ValueFault};
use crate::schema::value::Value;

/// All fields of a change travel in one request.
pub(super) const FIELDS: &str = "fields";

/// Bytes of a name; longer ones are mistakes.
const NAME_BYTES_MAX: usize = 200;

/// Whole numbers beyond this are not kept exactly where numbers are binary floats, as they are in the vendor's store (contract 2.1).
const EXACT_MAX: u64 = 1 << 53;

/// A block of a pass whose values are set one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Block {
    AdditionalData,
    Metadata,
    Identifiers,
}

impl Block {
    pub(super) const ALL: [Block; 3] = [Block::Identifiers, Block::AdditionalData, Block::Metadata];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Block::AdditionalData => "additionalData",
            Block::Metadata => "metadata",
            Block::Identifiers => "identifiers",
        }
    }
}

/// A field of a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// A value that is set.
    Set(Block, String),
    /// The platform's own id, which must be the pass's.
    IsPass,
    /// An external identifier that must be the pass's.
    Is(String),
}

impl Field {
    /// Looks a name up. The error says what to write instead.
    pub(super) fn parse(name: &str, settings: &TheWalletCrew) -> Result<Field, String> {
        let fits = |key: &str| !key.is_empty() && key.len() <= NAME_BYTES_MAX && key.trim() == key && !key.chars().any(char::is_control);
        let known = Block::ALL.into_iter().find_map(|block| Some((block, name.strip_prefix(block.name())?.strip_prefix('.')?)));
        match known {
            Some((_, key)) if !fits(key) => {
                Err(format!("The Wallet Crew field {name:?}: a name is at most {NAME_BYTES_MAX} bytes, without spaces around it"))
            }
            Some((Block::Identifiers, key)) if settings.identifier.as_deref() == Some(key) => {
                Err(format!("{name:?} is what passes are found by, so it cannot be changed; another identifier can"))
            }
            Some((block, key)) => Ok(Field::Set(block, key.to_owned())),
            None if name == "id" => Ok(Field::IsPass),
            None => match name.strip_prefix("id.") {
                Some(key) if fits(key) => Ok(Field::Is(key.to_owned())),
                _ => Err(unknown(name)),
            },
        }
    }

    pub(super) fn rule(&self, settings: &TheWalletCrew) -> FieldRule {
        let (kind, clearable) = match self {
            Field::Set(Block::Identifiers, _) | Field::IsPass | Field::Is(_) => (FieldKind::Text, false),
            Field::Set(..) if settings.text_only => (FieldKind::Text, true),
            Field::Set(..) => (FieldKind::Any, true),
        };
        FieldRule { kind, operation: FIELDS, clearable, balance: false }
    }
}

fn unknown(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    let meant = Block::ALL.into_iter().find_map(|block| {
        let (prefix, key) = lower.split_once('.')?;
        (strsim::jaro_winkler(prefix, &block.name().to_lowercase()) > 0.85)
            .then(|| format!("{}.{}", block.name(), &name[name.len() - key.len()..]))
    });
    match meant {
        Some(meant) => format!("The Wallet Crew has no field {name:?}; did you mean {meant:?}?"),
        None => format!(
            "The Wallet Crew has no field {name:?}; what a pass shows is \"additionalData.NAME\", what it is chosen by \"metadata.NAME\""
        ),
    }
}

/// The value as it travels: numbers and booleans as the schema has them, everything else as text.
pub(super) fn json(value: &Value<'_>) -> Json {
    match value {
        Value::Boolean(on) => Json::Bool(*on),
        Value::Integer(n) => Json::from(*n),
        Value::Number(n) => number(*n).map_or_else(|| Json::String(value.canonical().into_owned()), Json::Number),
        other => Json::String(other.canonical().into_owned()),
    }
}

/// None where a binary float is another number.
fn number(decimal: Decimal) -> Option<Number> {
    let text = decimal.normalize().to_string();
    if let Ok(whole) = text.parse::<i64>() {
        return (whole.unsigned_abs() <= EXACT_MAX).then(|| whole.into());
    }
    let float: f64 = text.parse().ok()?;
    let same = float.to_string().parse::<Decimal>().is_ok_and(|again| again == decimal);
    if same { Number::from_f64(float) } else { None }
}

/// Would the platform refuse the value, or keep another?
pub(super) fn check(name: &str, value: &Value<'_>, settings: &TheWalletCrew) -> Result<(), ValueFault> {
    let fault = |code, message: &str| Err(ValueFault { code, message: message.to_owned() });
    let Ok(field) = Field::parse(name, settings) else { return fault(Code::MappingError, "The Wallet Crew has no such field") };
    if matches!(field, Field::IsPass) {
        return check_pass_id(&value.canonical());
    }
    if let Value::Text(text) = value {
        if text.len() > BODY_BYTES_MAX {
            return fault(Code::ValueTooLarge, "the text is larger than a whole update may be (256 KiB)");
        }
        if text.contains('\0') {
            return fault(Code::MappingError, "the text contains a NUL character");
        }
    }
    let typed = matches!(field, Field::Set(Block::AdditionalData | Block::Metadata, _)) && !settings.text_only;
    let inexact = match value {
        Value::Integer(n) => n.unsigned_abs() > EXACT_MAX,
        Value::Number(n) => number(*n).is_none(),
        Value::Big(_) => true,
        _ => false,
    };
    if typed && inexact {
        let words =
            "the number has more digits than the platform's numbers keep; make the column a string in the schema, or set values = \"text\"";
        return fault(Code::ValueInexact, words);
    }
    Ok(())
}

/// Can a pass have this id? Asked before anything is sent.
pub(super) fn check_pass_id(id: &str) -> Result<(), ValueFault> {
    if is_pass_id(id) {
        return Ok(());
    }
    let message = "an id of The Wallet Crew is 5 to 50 letters, digits, `_` and `-`".to_owned();
    Err(ValueFault { code: Code::MappingError, message })
}

/// Contract 2.2.
pub(super) fn is_pass_id(text: &str) -> bool {
    (5..=50).contains(&text.chars().count()) && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'))
}
