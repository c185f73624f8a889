//! Query parameters (contract section 4).

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::messages;
use crate::sandbox::answer::Failure;

const EVERYWHERE: [&str; 6] = ["fields", "alt", "prettyPrint", "quotaUser", "key", "$.xgafv"];

pub(super) struct Query(HashMap<String, String>);

impl Query {
    pub fn read(path: &str) -> Query {
        let query = path.split_once('?').map_or("", |(_, query)| query);
        Query(url::form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Refuses what the call does not know.
    pub fn check(&self, own: &[&str]) -> Result<(), Failure> {
        match self.0.keys().find(|name| !EVERYWHERE.contains(&name.as_str()) && !own.contains(&name.as_str())) {
            Some(name) => Err(messages::invalid(format!(
                "Invalid JSON payload received. Unknown name \"{name}\": Cannot bind query parameter. Field '{name}' could not be found in request message."
            ))),
            None => Ok(()),
        }
    }

    /// The answer with the fields asked for, by their top-level names; refuses names that `message` does not have.
    pub fn reduced(&self, answer: Value, message: Option<&str>) -> Result<Value, Failure> {
        let Some(fields) = self.get("fields").filter(|fields| *fields != "*") else { return Ok(answer) };
        let mut names = Vec::new();
        let mut depth = 0_usize;
        let mut name = String::new();
        for letter in fields.chars().chain([',']) {
            match letter {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                ',' if depth == 0 => {
                    let top = name.split('/').next().unwrap_or_default().trim().to_owned();
                    let known = |message| messages::has_field(message, &top) || top == "classReference";
                    if top.is_empty() || message.is_some_and(|message| !known(message)) {
                        return Err(Failure::new(400, format!("Invalid field selection {top}")).because("invalidParameter"));
                    }
                    names.push(top);
                    name.clear();
                }
                letter if depth == 0 => name.push(letter),
                _ => {}
            }
        }
        match answer {
            Value::Object(object) => {
                Ok(Value::Object(object.into_iter().filter(|(name, _)| names.contains(name)).collect::<Map<String, Value>>()))
            }
            other => Ok(other),
        }
    }

    /// Whether the answer is printed in lines, as it is unless told otherwise.
    pub fn is_pretty(&self) -> bool {
        self.get("prettyPrint") != Some("false")
    }
}
