//! What a feed says of operations that must not be repeated: their identity, consent, notifications.

use std::time::Duration;

use super::mapping::Columns;
use super::{Check, Key, notify_fault};
use crate::config::meant::{Adds, Consent, Content, Feed, FieldMapping, Identity, Notify, NotifyKind, Platform, Several};
use crate::config::value::{self, instead, quoted};
use crate::config::written;

impl Check<'_> {
    /// What makes a row that adds itself. Needed where rows can add, and of no use elsewhere.
    pub(super) fn adds(&mut self, key: &Key, name: &str, feed: &written::Feed, columns: &Columns) -> Option<Adds> {
        let here = key.child("add");
        let adds = feed.add.as_ref()?;
        let identity = match (&adds.transaction_id, adds.dedupe) {
            (Some(column), None) => {
                self.column(&here.child("transaction_id"), column, columns);
                Identity::Transaction(column.clone())
            }
            (None, Some(written::Dedupe::File)) => Identity::File,
            _ if self.document.pruned_within(&here) => return None,
            _ => {
                let message = "needs exactly one of transaction_id = \"COLUMN\" (recommended) and dedupe = \"file\"";
                self.fault(&here, message.into());
                return None;
            }
        };
        if adds.scope.as_deref() == Some("") {
            self.fault(&here.child("scope"), "is empty; write a word, or remove it to use the feed's name".into());
        }
        Some(Adds { scope: adds.scope.clone().unwrap_or_else(|| name.to_owned()), identity })
    }

    pub(super) fn consent(
        &mut self,
        key: &Key,
        feed: &written::Feed,
        columns: &Columns,
        mapped: &[(String, FieldMapping)],
    ) -> Option<Consent> {
        let here = key.child("consent");
        let consent = feed.consent.as_ref()?;
        let column = self.required(&here.child("column"), consent.column.as_ref(), "column = \"COLUMN\", a boolean one")?;
        self.column(&here.child("column"), &column, columns);
        let known: Vec<&str> = mapped.iter().map(|(name, _)| name.as_str()).collect();
        for field in &consent.fields {
            if !known.contains(&field.as_str()) && !self.document.pruned_within(&key.child("fields")) {
                let message = format!("{} is not mapped in fields; {}", quoted(field), instead(field, &known));
                self.fault(&here.child("fields"), message);
            }
        }
        Some(Consent { column, fields: consent.fields.clone(), clear: consent.clear.unwrap_or(false) })
    }

    pub(super) fn notify(&mut self, key: &Key, feed: &written::Feed, columns: &Columns, platform: Option<&Platform>) -> Option<Notify> {
        let here = key.child("notify");
        let notify = feed.notify.as_ref()?;
        let message = self.required(&here.child("message"), notify.message.as_ref(), "message = \"COLUMN\", or a template");
        let field = self.required(
            &here.child("field"),
            notify.field.as_ref(),
            "field = \"metaData.NAME\", the pass field whose change is shown to the holder",
        );
        let kind = self.required(&here.child("kind"), notify.kind.as_ref(), "kind = \"marketing\" or kind = \"transactional\"");
        let message = message.map(|text| self.source_of(&here.child("message"), &text, columns));
        if let (Some(field), Some(platform)) = (&field, platform) {
            if let Some(message) = notify_fault(&platform.kind, field) {
                self.fault(&here.child("field"), message);
            } else if feed.fields.contains_key(field) {
                self.fault(&here.child("field"), format!("{} is mapped in fields too; a message has a field of its own", quoted(field)));
            }
        }
        let window = notify.window.as_ref().and_then(|text| self.good(&here.child("window"), value::window(text)));
        let expires =
            notify.expires.as_ref().and_then(|span| self.good(&here.child("expires"), value::duration(&span.0, Duration::from_secs(1))));
        if notify.seeds.iter().any(String::is_empty) {
            self.fault(&here.child("seeds"), "has an empty identifier; remove it".into());
        }
        if kind == Some(written::NotifyKind::Marketing) && feed.consent.is_none() {
            self.fault(&here.child("kind"), "is \"marketing\", which needs consent; write [feed.NAME.consent] with its column".into());
        }
        let kind = match kind? {
            written::NotifyKind::Marketing => NotifyKind::Marketing,
            written::NotifyKind::Transactional => NotifyKind::Transactional,
        };
        Some(Notify { message: message?, field: field?, kind, window, expires, seeds: notify.seeds.clone() })
    }

    /// What only shows once the parts are known.
    pub(super) fn adds_fit(&mut self, key: &Key, feed: &Feed, written: &written::Feed) {
        let names_add = feed.operation.names_add();
        if (names_add || feed.notify.is_some()) && written.add.is_none() && !self.document.pruned_within(&key.child("add")) {
            let message = "is missing, and rows of this feed add: a row must be known again wherever it turns up. \
                           Write add = { transaction_id = \"COLUMN\" } (recommended), or add = { dedupe = \"file\" }";
            self.fault(&key.child("add"), message.into());
        }
        if names_add && feed.content == Content::Snapshot {
            self.fault(&key.child("content"), "is \"snapshot\", and a present state adds nothing; write content = \"delta\"".into());
        }
        if feed.may_add() && feed.several == Several::All {
            self.fault(&key.child("several"), "is \"all\", and an add is about one pass; remove it".into());
        }
    }
}
