//! Single-use coupons (contract 5).

use reqwest::Method;
use serde_json::{Map, Value as Json, json};

use super::documents::{Document, Mark, OPT_OUT};
use super::fields::{Catalogue, Entry, Form, PERSON};
use super::protocol::Class;
use super::wire::{Pass, as_map, escape, get, is_segment, key, object, send, text};
use crate::platform::Request;
use crate::row::{AddKind, Target, Verb};

pub(super) const COUPON: Catalogue = Catalogue {
    own: &[
        Entry::new("offerId", Form::Text),
        Entry::new("sku", Form::Text),
        Entry::of("optOut", Form::Flag, OPT_OUT),
        Entry::new("expiryDate", Form::Instant),
    ],
    blocks: &[PERSON],
    read_only: &[
        ("externalId", "name the pass with pass = { external_id = \"…\" }; PassKit never changes it later"),
        ("campaignId", "the platform's `campaign` setting says it"),
        ("status", "use operation = \"redeem\" or \"void\""),
        ("redemptionDetails", "use operation = \"redeem\""),
        ("person.externalId", "PassKit keeps it"),
    ],
};

const COUPONS: &str = "/coupon/singleUse/coupon";

/// The coupons of one campaign.
pub(super) struct Coupons {
    pub campaign: String,
    /// Offer of issued coupons whose feed maps none.
    pub offer: Option<String>,
}

impl Coupons {
    fn key(&self, target: &Target, pass_id: Option<&str>) -> Map<String, Json> {
        key("id", target, pass_id, |external| json!({ "externalId": external, "campaignId": self.campaign }))
    }

    fn path(&self, call: &str) -> String {
        format!("/coupon/singleUse/coupons/{call}/{}", escape(&self.campaign))
    }
}

impl Document for Coupons {
    const NOUN: &'static str = "coupon";
    const CATALOGUE: &'static Catalogue = &COUPON;
    const VERBS: &'static [Verb] = &[Verb::Update, Verb::Upsert, Verb::Void, Verb::Redeem];
    const KEPT: &'static [&'static str] = &["metaData", "person", "optOut"];

    fn required(&self) -> Vec<String> {
        if self.offer.is_none() { vec!["offerId".to_owned()] } else { Vec::new() }
    }

    fn class(&self) -> Class<'_> {
        Class { noun: "campaign", id: &self.campaign }
    }

    fn get(&self, target: &Target) -> Request {
        get(match target {
            Target::External(external) => format!("{COUPONS}/externalId/{}/{}", escape(&self.campaign), escape(external)),
            Target::Pass(id) => format!("{COUPONS}/{}", escape(id)),
        })
    }

    fn can_get(&self, target: &Target) -> bool {
        is_segment(target.text())
    }

    fn name_of<'p>(&self, pass: &'p Pass) -> &'p str {
        pass.text("externalId")
    }

    fn is_live(&self, pass: &Pass) -> bool {
        let theirs = pass.text("campaignId");
        theirs.is_empty() || theirs == self.campaign
    }

    /// Nothing of a coupon is for ever.
    fn issued_with(_: &Pass, _: &str) -> Option<String> {
        None
    }

    fn filter_field(&self) -> Option<&'static str> {
        Some("externalId")
    }

    fn list(&self, filters: &Json) -> Request {
        send(Method::POST, &self.path("list"), &json!({ "filters": filters }))
    }

    fn count(&self) -> Request {
        send(Method::POST, &self.path("count"), &json!({ "filters": {} }))
    }

    /// C1.
    fn create(&self, external: &str, fields: Map<String, Json>) -> Request {
        let mut body = as_map(json!({ "externalId": external, "campaignId": self.campaign }));
        body.extend(self.offer.as_ref().map(|offer| ("offerId".to_owned(), offer.as_str().into())));
        body.extend(fields);
        send(Method::POST, COUPONS, &Json::Object(body))
    }

    /// C2.
    fn update(&self, target: &Target, pass_id: Option<&str>, fields: Map<String, Json>) -> Request {
        let mut body = self.key(target, pass_id);
        body.extend(fields);
        send(Method::PUT, COUPONS, &Json::Object(body))
    }

    /// C5. DELETE carries a body.
    fn delete(&self, target: &Target, pass_id: Option<&str>) -> Request {
        send(Method::DELETE, COUPONS, &Json::Object(self.key(target, pass_id)))
    }

    /// C3.
    fn give(&self, _: AddKind, target: &Target, pass_id: Option<&str>, mark: &Mark<'_>) -> Request {
        let mut body = self.key(target, pass_id);
        let details = json!({ "redemptionSource": mark.source, "redemptionReference": mark.reference });
        body.insert("redemptionDetails".to_owned(), details);
        send(Method::PUT, &format!("{COUPONS}/redeem"), &Json::Object(body))
    }

    fn redeemed(pass: &Pass) -> Option<Map<String, Json>> {
        (text(&pass.0, "status") == "REDEEMED").then(|| object(&pass.0, "redemptionDetails"))
    }
}
