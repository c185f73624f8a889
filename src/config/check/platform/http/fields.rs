//! Fields that a description declares.

use rust_decimal::Decimal;

use super::super::super::{Check, Key};
use crate::config::meant::http::{Field, Format, Kind, NamePattern};
use crate::config::value::quoted;
use crate::config::written;
use crate::platform::http::pointer::Pointer;

impl Check<'_> {
    pub(super) fn described_fields(&mut self, key: &Key, platform: &written::Platform) -> Vec<Field> {
        let here = key.child("fields");
        let mut entries: Vec<(&String, &written::HttpField)> = platform.fields.iter().map(|(name, field)| (name, &field.0)).collect();
        entries.sort_by_key(|(name, _)| self.document.offset(&here.child(name)));
        let mut fields: Vec<Field> = Vec::new();
        for (name, field) in entries {
            let here = here.child(name);
            if name.is_empty() || name.matches('*').count() > 1 {
                self.fault(&here, format!("{} is no name of a field; write a name, with one \"*\" at most", quoted(name)));
                continue;
            }
            let Some(field) = self.described_field(&here, name, field) else { continue };
            let same = |other: &&Field| !field.name.text.contains('*') && !other.name.text.contains('*') && field.at.overlaps(&other.at);
            if let Some(other) = fields.iter().find(same) {
                let message = format!("stands at {}, where {} stands; write another place", field.at, quoted(&other.name.text));
                self.fault(&here.child("at"), message);
            }
            fields.push(field);
        }
        fields
    }

    fn described_field(&mut self, here: &Key, name: &str, field: &written::HttpField) -> Option<Field> {
        let kind = match field.kind {
            None | Some(written::HttpKind::Text) => Kind::Text,
            Some(written::HttpKind::Number) => Kind::Number,
            Some(written::HttpKind::Integer) => Kind::Integer,
            Some(written::HttpKind::Boolean) => Kind::Boolean,
            Some(written::HttpKind::Date) => Kind::Date,
            Some(written::HttpKind::Instant) => Kind::Instant,
            Some(written::HttpKind::Json) => Kind::Json,
        };
        let (number, text) = (matches!(kind, Kind::Number | Kind::Integer), matches!(kind, Kind::Text | Kind::Json));
        let misplaced = [
            ("length_max", field.length_max.is_some() && !text, "text or json"),
            ("items_max", field.items_max.is_some() && kind != Kind::Json, "json"),
            ("least", field.least.is_some() && !number, "number or integer"),
            ("most", field.most.is_some() && !number, "number or integer"),
            ("decimals", field.decimals.is_some() && kind != Kind::Number, "number"),
            ("format", field.format.is_some() && !matches!(kind, Kind::Date | Kind::Instant), "date or instant"),
            ("balance", field.balance == Some(true) && !number, "number or integer"),
            ("alert", field.alert == Some(true) && kind != Kind::Text, "text"),
        ];
        for (option, wrong, kinds) in misplaced {
            if wrong {
                self.fault(&here.child(option), format!("belongs to fields of kind {kinds}; remove it, or write another kind"));
            }
        }
        for (name, most) in [("length_max", field.length_max), ("items_max", field.items_max)] {
            if most == Some(0) {
                self.fault(&here.child(name), "is 0, so that nothing could be written; write at least 1".into());
            }
        }
        let at = match &field.at {
            Some(text) => self.inner_place(&here.child("at"), text)?,
            None => Pointer::of_name(&name.replace('*', "{name}")),
        };
        let many = name.contains('*');
        if many && at.with_name("a") == at.with_name("b") {
            let message = "is the same place for every field that \"*\" stands for; write {name} in it, such as \"/fields/{name}/value\"";
            self.fault(&here.child("at"), message.into());
        } else if !many && at.with_name("a") != at {
            self.fault(&here.child("at"), "has {name}, which only a field with \"*\" in its name has; remove it".into());
        }
        let (least, most) = (self.bound(here, "least", field.least.as_ref()), self.bound(here, "most", field.most.as_ref()));
        if let (Some(least), Some(most)) = (least, most)
            && least > most
        {
            self.fault(&here.child("least"), "is above most, so that no number is right; write the smaller one".into());
        }
        let format = field.format.as_ref().and_then(|text| self.good(&here.child("format"), format(text)));
        let cleared = field.cleared.as_ref().and_then(|text| {
            let json = serde_json::from_str(text);
            let json = json.map_err(|_| format!("{} is not JSON; write \"null\", or '\"\"' for an empty text", quoted(text)));
            self.good(&here.child("cleared"), json)
        });
        Some(Field {
            name: NamePattern { text: name.to_owned() },
            kind,
            at,
            length_max: field.length_max.map(|length| length as usize),
            items_max: field.items_max.map(|items| items as usize),
            least,
            most,
            decimals: field.decimals.map(u32::from),
            format,
            cleared,
            balance: field.balance.unwrap_or(false),
            alert: field.alert.unwrap_or(false),
        })
    }

    fn bound(&mut self, here: &Key, name: &str, bound: Option<&written::Bound>) -> Option<Decimal> {
        let text = &bound?.0;
        let number = text.parse::<Decimal>().or_else(|_| Decimal::from_scientific(text));
        self.good(&here.child(name), number.map_err(|_| format!("{} is not a number; write such as 0 or 99.99", quoted(text))))
    }
}

fn format(text: &str) -> Result<Format, String> {
    use chrono::format::{Item, StrftimeItems};
    match text {
        "seconds" => Ok(Format::Seconds),
        "milliseconds" => Ok(Format::Milliseconds),
        _ if StrftimeItems::new(text).any(|item| matches!(item, Item::Error)) || !text.contains('%') => Err(format!(
            "{} is no form of a date; write strftime conversions such as \"%Y-%m-%d\", or \"seconds\" or \"milliseconds\"",
            quoted(text)
        )),
        _ => Ok(Format::Text(text.to_owned())),
    }
}
