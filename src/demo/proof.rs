//! What the files say, kept beside the story, and held against what the passes say.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use rust_decimal::Decimal;
use serde_json::Value;

use super::exports::Member;
use super::stage::HOME_STORE;
use crate::sandbox::Sandbox;

/// What every card must hold by now.
#[derive(Default)]
pub struct Expected {
    members: BTreeMap<String, Member>,
    texts: BTreeMap<String, String>,
}

impl Expected {
    pub fn members(&mut self, members: impl IntoIterator<Item = Member>) {
        self.members.extend(members.into_iter().map(|member| (member.external_id.clone(), member)));
    }

    pub fn texts(&mut self, texts: impl IntoIterator<Item = (String, String)>) {
        self.texts.extend(texts);
    }

    /// Reads every pass at the platform. Fails on the first that differs; answers how many were read.
    pub fn compare(&self, sandbox: &Sandbox) -> anyhow::Result<u64> {
        for member in self.members.values() {
            let id = &member.external_id;
            let pass = sandbox.member(id).with_context(|| format!("the platform has lost pass {id}"))?;
            compare(member, self.texts.get(id).map(String::as_str), &pass)?;
        }
        Ok(self.members.len() as u64)
    }
}

fn compare(member: &Member, text: Option<&str>, pass: &Value) -> anyhow::Result<()> {
    let id = &member.external_id;
    let meta = |key: &str| pass["metaData"][key].as_str().unwrap_or_default();
    ensure!(
        pass["points"].as_f64() == Some(f64::from(member.points)),
        "pass {id} holds {} points, the file says {}",
        pass["points"],
        member.points
    );
    let label = format!("{} member", member.tier.to_uppercase());
    ensure!(meta("tierLabel") == label, "pass {id} shows {:?}, the file says {label:?}", meta("tierLabel"));
    let balance = |text: &str| text.parse::<Decimal>().with_context(|| format!("pass {id}: {text:?} is no amount"));
    ensure!(
        balance(meta("balance"))? == balance(&member.balance)?,
        "pass {id} shows a balance of {}, the file says {}",
        meta("balance"),
        member.balance
    );
    ensure!(
        meta("campaignText") == text.unwrap_or_default(),
        "pass {id} shows the text {:?}, the file says {text:?}",
        meta("campaignText")
    );
    ensure!(meta("homeStore") == HOME_STORE, "pass {id} lost a value that no feed maps");
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_value_that_differs_is_found() {
        let member = Member { external_id: "C-1".to_owned(), points: 120, tier: "gold".to_owned(), balance: "12.50".to_owned() };
        let right = json!({
            "points": 120.0,
            "metaData": { "tierLabel": "GOLD member", "balance": "12.5", "campaignText": "Hello", "homeStore": HOME_STORE },
        });
        compare(&member, Some("Hello"), &right).unwrap();
        assert!(compare(&member, None, &right).is_err(), "a text that nobody sent");
        let wrong = |pointer: &str, value: Value| {
            let mut pass = right.clone();
            *pass.pointer_mut(pointer).unwrap() = value;
            compare(&member, Some("Hello"), &pass)
        };
        assert!(wrong("/points", json!(0)).is_err());
        for field in ["tierLabel", "balance", "campaignText", "homeStore"] {
            assert!(wrong(&format!("/metaData/{field}"), json!("7")).is_err(), "{field}");
        }
    }
}
