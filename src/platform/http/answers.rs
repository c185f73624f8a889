//! What an answer means on a platform whose configuration says so.

use serde_json::Value as Json;

use crate::config::meant::http::{Answers, Class, Told};
use crate::platform::judge::{clean, message, quote};
use crate::platform::strict;
use crate::row::Target;

/// An answer, or one item of it, taken apart.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Judged {
    pub class: Class,
    /// An answer that was accepted does not say whether it was applied, though it should.
    pub silent: bool,
}

impl Answers {
    /// The class of an answer. `json` is its body, where that is JSON of one meaning.
    pub(super) fn judge(&self, status: u16, json: Option<&Json>) -> Judged {
        let class = |class| Judged { class, silent: false };
        if let (Some((place, codes)), Some(json)) = (&self.codes, json)
            && let Some(code) = place.text(json)
            && let Some((meaning, _)) = codes.iter().find(|(_, words)| words.contains(&code))
        {
            return class(*meaning);
        }
        let of_status = self.of_status(status);
        match &self.success {
            Some((place, words)) if of_status == Class::Applied => match json.and_then(|json| place.text(json)) {
                Some(word) if words.contains(&word) => class(Class::Applied),
                Some(_) => class(Class::Refused),
                None => Judged { class: Class::Applied, silent: true },
            },
            _ => class(of_status),
        }
    }

    fn of_status(&self, status: u16) -> Class {
        let found = self.statuses.iter().find(|(_, ranges)| ranges.iter().any(|range| range.contains(&status)));
        found.map_or(Class::Unlisted, |(class, _)| *class)
    }

    /// Does reading a body change what a status means?
    pub(super) fn read_bodies(&self) -> bool {
        self.codes.is_some() || self.success.is_some()
    }

    /// The platform's words.
    pub(super) fn message(&self, body: &[u8]) -> String {
        let json = strict::read(body);
        json.and_then(|json| self.words(&json)).unwrap_or_else(|| message(body))
    }

    /// As [`Answers::message`], as part of our own words: marked, because it may repeat what was sent.
    pub(super) fn quoted(&self, body: &[u8]) -> String {
        quote(&self.message(body))
    }

    /// As [`Answers::message`], of one item of an answer.
    pub(super) fn message_of(&self, item: &Json) -> String {
        self.words(item).unwrap_or_else(|| message(item.to_string().as_bytes()))
    }

    fn words(&self, json: &Json) -> Option<String> {
        self.messages.iter().filter_map(|place| place.text(json)).map(|text| clean(&text)).find(|text| !text.is_empty())
    }
}

impl Told {
    /// The platform's identifier of the pass that an answer is about, checked against the one that was meant. The error says why the
    /// answer proves nothing (failure model, D18 and D19).
    pub(super) fn pass(&self, status: u16, body: &[u8], target: &Target, known: Option<&str>) -> Result<Option<String>, String> {
        if self.anything || status == 204 {
            return Ok(None);
        }
        let json = strict::read(body).ok_or("the answer is not JSON")?;
        self.pass_of(&json, target, known)
    }

    /// The same, of JSON that was read.
    pub(super) fn pass_of(&self, json: &Json, target: &Target, known: Option<&str>) -> Result<Option<String>, String> {
        let meant_id = known.or(match target {
            Target::Pass(id) => Some(id.as_str()),
            Target::External(_) => None,
        });
        let id = match &self.pass_id {
            None => None,
            Some(place) => Some(place.text(json).filter(|id| !id.is_empty()).ok_or("the answer names no pass")?),
        };
        if let (Some(id), Some(meant)) = (&id, meant_id)
            && id != meant
        {
            return Err(format!("the answer is about another pass ({})", clean(id)));
        }
        if let (Some(place), Target::External(meant)) = (&self.external_id, target) {
            match place.text(json) {
                Some(external) if external == *meant => {}
                Some(_) => return Err("the answer is about another pass".to_owned()),
                None => return Err("the answer names no pass".to_owned()),
            }
        }
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::http::pointer::Pointer;
    use serde_json::json;

    fn at(text: &str) -> Pointer {
        Pointer::parse(text).unwrap()
    }

    fn answers() -> Answers {
        Answers {
            statuses: vec![
                (Class::Applied, vec![200..=299]),
                (Class::Refused, vec![400..=400, 422..=422]),
                (Class::NotFound, vec![404..=404]),
            ],
            success: Some((at("/success"), vec!["true".to_owned(), "ok".to_owned()])),
            codes: Some((at("/error/code"), vec![(Class::NotFound, vec!["NO_PASS".to_owned()]), (Class::Retry, vec!["17".to_owned()])])),
            messages: vec![at("/error/text"), at("/reason")],
        }
    }

    #[test]
    fn an_accepted_answer_counts_only_when_it_says_that_it_was_applied() {
        let class = |status, json: Json| {
            let judged = answers().judge(status, Some(&json));
            (judged.class, judged.silent)
        };
        assert_eq!(class(200, json!({ "success": true })), (Class::Applied, false));
        assert_eq!(class(200, json!({ "success": "ok" })), (Class::Applied, false));
        assert_eq!(class(200, json!({ "success": false })), (Class::Refused, false));
        assert_eq!(class(200, json!({})), (Class::Applied, true));
        assert_eq!(answers().judge(200, None), Judged { class: Class::Applied, silent: true });
        assert_eq!(class(400, json!({ "success": true })), (Class::Refused, false));
        assert_eq!(class(418, json!({})), (Class::Unlisted, false));
    }

    #[test]
    fn a_code_of_the_platform_counts_more_than_the_status() {
        let class = |status, code: Json| answers().judge(status, Some(&json!({ "error": { "code": code } }))).class;
        assert_eq!(class(200, json!("NO_PASS")), Class::NotFound);
        assert_eq!(class(400, json!("NO_PASS")), Class::NotFound);
        assert_eq!(class(400, json!(17)), Class::Retry);
        assert_eq!(class(400, json!("OTHER")), Class::Refused);
    }

    #[test]
    fn words_are_taken_from_where_they_stand() {
        assert_eq!(answers().message(br#"{"error":{"text":""},"reason":"too\nold"}"#), "too old");
        assert_eq!(answers().message(br#"{"message":"usual"}"#), "usual");
        assert_eq!(answers().message(b"plain"), "plain");
    }

    /// D18, D19.
    #[test]
    fn an_answer_about_another_pass_proves_nothing() {
        let told = Told { pass_id: Some(at("/data/id")), external_id: Some(at("/data/ext")), anything: false };
        let c1 = Target::External("C-1".to_owned());
        let pass = |body: &str, known| told.pass(200, body.as_bytes(), &c1, known);
        assert_eq!(pass(r#"{"data":{"id":7,"ext":"C-1"}}"#, None), Ok(Some("7".to_owned())));
        assert_eq!(pass(r#"{"data":{"id":7,"ext":"C-1"}}"#, Some("7")), Ok(Some("7".to_owned())));
        for (body, known) in [
            (r#"{"data":{"id":7,"ext":"C-1"}}"#, Some("8")),
            (r#"{"data":{"id":7,"ext":"C-2"}}"#, None),
            (r#"{"data":{"id":7}}"#, None),
            (r#"{"data":{"ext":"C-1"}}"#, None),
            (r#"{"data":{"id":7,"id":7,"ext":"C-1"}}"#, None),
            ("", None),
            ("<html>", None),
        ] {
            assert!(pass(body, known).is_err(), "{body}");
        }
        assert_eq!(told.pass(204, b"", &c1, None), Ok(None), "there is nothing to read by definition");
        let anything = Told { anything: true, ..told.clone() };
        assert_eq!(anything.pass(202, b"queued", &c1, None), Ok(None));
    }
}
