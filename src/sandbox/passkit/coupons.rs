//! The calls on single-use coupons (contract section 5).

use serde_json::{Map, Value, json};

use super::documents::{Drawer, field, name_of, overlay, pass_meta_data};
use super::members::check_person;
use super::shape::{self, Fields, Kind, text};
use super::state::{new_id, now};
use super::switches::Switches;
use super::{list, member};
use crate::sandbox::answer::{Failure, Reply};
use crate::sandbox::effects::REDEEM_COUPON;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Create,
    Update,
    Redeem,
    Rename,
    Void,
    ById(String),
    ByExternalId { campaign: String, external_id: String },
    List(String),
    Count(String),
    Person,
}

impl Call {
    /// Names the call below `/coupon/singleUse`, the methods its path takes, and the route.
    pub fn of(method: &str, parts: &[&str]) -> Option<(&'static [&'static str], Call, &'static str)> {
        Some(match *parts {
            ["coupon"] => {
                let call = match method {
                    "POST" => Call::Create,
                    "PUT" => Call::Update,
                    _ => Call::Void,
                };
                (&["POST", "PUT", "DELETE"], call, "/coupon/singleUse/coupon")
            }
            ["coupon", "redeem"] if method == "PUT" => (&["PUT"], Call::Redeem, REDEEM_COUPON),
            ["coupon", "externalId"] if method == "PUT" => (&["PUT"], Call::Rename, "/coupon/singleUse/coupon/externalId"),
            ["coupon", "person"] if method == "PATCH" => (&["PATCH"], Call::Person, "/coupon/singleUse/coupon/person"),
            ["coupon", id] => (&["GET"], Call::ById(id.to_owned()), "/coupon/singleUse/coupon/{id}"),
            ["coupon", "externalId", campaign, external_id] => (
                &["GET"],
                Call::ByExternalId { campaign: campaign.to_owned(), external_id: external_id.to_owned() },
                "/coupon/singleUse/coupon/externalId/{couponCampaignId}/{externalId}",
            ),
            ["coupons", "list", campaign] => {
                (&["POST"], Call::List(campaign.to_owned()), "/coupon/singleUse/coupons/list/{couponCampaignId}")
            }
            ["coupons", "count", campaign] => {
                (&["POST"], Call::Count(campaign.to_owned()), "/coupon/singleUse/coupons/count/{couponCampaignId}")
            }
            _ => return None,
        })
    }

    /// Id and external ID of the coupon concerned, as the request names it.
    pub fn names(&self, body: Option<&Value>) -> (String, String) {
        match self {
            Call::ById(id) => (id.clone(), String::new()),
            Call::ByExternalId { external_id, .. } => (String::new(), external_id.clone()),
            Call::List(_) | Call::Count(_) => (String::new(), String::new()),
            _ => body.map_or_else(Default::default, |body| (field(body, "id").to_owned(), field(body, "externalId").to_owned())),
        }
    }

    pub fn shows_one(&self) -> bool {
        matches!(self, Call::ById(_) | Call::ByExternalId { .. })
    }
}

pub(super) const REDEMPTION: Fields = &[
    ("redemptionDate", Kind::Time),
    ("redemptionCode", Kind::Text),
    ("lat", Kind::Double),
    ("lon", Kind::Double),
    ("alt", Kind::Double),
    ("redemptionSource", Kind::Text),
    ("redemptionReference", Kind::Text),
    ("transactionReference", Kind::Text),
    ("transactionAmount", Kind::Double),
    ("metaData", Kind::Texts),
];

const COUPON: Fields = &[
    ("id", Kind::Text),
    ("externalId", Kind::Text),
    ("offerId", Kind::Text),
    ("campaignId", Kind::Text),
    ("person", Kind::Message(shape::PERSON)),
    ("metaData", Kind::Texts),
    ("sku", Kind::Text),
    ("optOut", Kind::Flag),
    ("status", Kind::Enum(&["UNREDEEMED", "REDEEMED"])),
    ("expiryDate", Kind::Time),
    ("redemptionDetails", Kind::Message(REDEMPTION)),
    ("passOverrides", Kind::Object),
    ("passMetaData", Kind::Object),
    ("created", Kind::Time),
    ("updated", Kind::Time),
];

const RENAME: Fields = &[("id", Kind::Text), ("couponCampaignId", Kind::Text), ("externalId", Kind::Text), ("newExternalId", Kind::Text)];

const PERSON: Fields = &[("id", Kind::Text), ("externalId", Kind::Text), ("classId", Kind::Text), ("person", Kind::Message(shape::PERSON))];

/// What an update may change.
const WRITABLE: &[&str] = &["person", "metaData", "sku", "optOut", "passOverrides"];
const FILTERS: &[&str] = &["externalId", "status", "offerId", "campaignId", "id", "created", "sku"];

/// An offer of the campaign.
#[derive(Clone, Debug)]
pub struct Offer {
    pub id: String,
    /// Its expiry type is `EXPIRE_ON_VARIABLE_DATE_TIME`: a coupon's own `expiryDate` counts, and otherwise is not kept.
    pub own_expiry: bool,
}

/// Coupons of one campaign, for the time of one call.
pub(super) struct Desk<'a> {
    pub campaign: &'a str,
    pub offers: &'a [Offer],
    pub switches: Switches,
}

impl Desk<'_> {
    pub fn answer(&self, coupons: &mut Drawer, call: &Call, raw: &[u8], body: Option<&Value>) -> Result<Reply, Failure> {
        let fields = |fields| shape::check(raw, body, fields, self.switches.reject_unknown_fields);
        match call {
            Call::Create => self.create(coupons, fields(COUPON)?),
            Call::Update => self.update(coupons, fields(COUPON)?),
            Call::Redeem => self.redeem(coupons, fields(COUPON)?),
            Call::Rename => self.rename(coupons, fields(RENAME)?),
            Call::Void => {
                let place = self.find(coupons, fields(COUPON)?, "campaignId")?;
                coupons.remove(place);
                Reply::json(&json!({}))
            }
            Call::ById(id) => {
                let coupon = coupons.place_of_id(id).and_then(|place| coupons.seen(place));
                Reply::json(coupon.ok_or_else(|| Failure::missing("coupon", "id", id))?)
            }
            Call::ByExternalId { campaign, external_id } => {
                self.campaign(campaign)?;
                let coupon = coupons.place_of_name(external_id).and_then(|place| coupons.seen(place));
                Reply::json(coupon.ok_or_else(|| Failure::missing("coupon", "externalId", external_id))?)
            }
            Call::List(campaign) | Call::Count(campaign) => {
                self.campaign(campaign)?;
                let query = list::Query::read(fields(shape::LIST)?, FILTERS, self.switches.page_max)?;
                let places = query.documents(coupons, |_| true);
                match call {
                    Call::List(_) => Ok(Reply::places(query.page(places))),
                    _ => Reply::json(&json!({"total": places.count()})),
                }
            }
            Call::Person => {
                let body = fields(PERSON)?;
                let place = self.find(coupons, body, "classId")?;
                check_person(body)?;
                changed(coupons.change(place, |coupon| overlay(coupon, body, &["person"], self.switches)))
            }
        }
    }

    fn campaign(&self, id: &str) -> Result<(), Failure> {
        if id == self.campaign { Ok(()) } else { Err(Failure::missing("campaign", "id", id)) }
    }

    fn offer(&self, id: &str) -> Result<&Offer, Failure> {
        self.offers.iter().find(|offer| offer.id == id).ok_or_else(|| Failure::missing("offer", "id", id))
    }

    /// Finds the coupon a body names by `id`, or by `externalId` and the campaign.
    fn find(&self, coupons: &Drawer, body: &Map<String, Value>, campaign: &str) -> Result<usize, Failure> {
        let (id, external_id) = (text(body, "id"), text(body, "externalId"));
        if !text(body, campaign).is_empty() {
            self.campaign(text(body, campaign))?;
        }
        if !id.is_empty() {
            coupons.place_of_id(id).ok_or_else(|| Failure::missing("coupon", "id", id))
        } else if external_id.is_empty() || text(body, campaign).is_empty() {
            Err(Failure::invalid(format_args!("id, or externalId and {campaign}, is required")))
        } else {
            coupons.place_of_name(external_id).ok_or_else(|| Failure::missing("coupon", "externalId", external_id))
        }
    }

    fn create(&self, coupons: &mut Drawer, body: &Map<String, Value>) -> Result<Reply, Failure> {
        made_by_platform(body, &["id", "created", "updated"])?;
        for name in ["campaignId", "offerId"] {
            if text(body, name).is_empty() {
                return Err(Failure::invalid(format_args!("{name} is required")));
            }
        }
        self.campaign(text(body, "campaignId"))?;
        let offer = self.offer(text(body, "offerId"))?;
        check_person(body)?;
        let external_id = text(body, "externalId");
        if !external_id.is_empty() && coupons.place_of_name(external_id).is_some() {
            return Err(Failure::new(409, format!("coupon with externalId[{external_id}] already exists")));
        }
        let mut coupon = blank(self.campaign, &offer.id, external_id);
        self.take(&mut coupon, body, offer);
        let answer = Reply::json(&json!({"id": coupon["id"]}));
        coupons.add(Value::Object(coupon));
        answer
    }

    fn update(&self, coupons: &mut Drawer, body: &Map<String, Value>) -> Result<Reply, Failure> {
        made_by_platform(body, &["created", "updated"])?;
        let place = self.find(coupons, body, "campaignId")?;
        let offer = match text(body, "offerId") {
            "" => coupons.at(place).map_or("", |coupon| field(coupon, "offerId")).to_owned(),
            given => given.to_owned(),
        };
        let offer = self.offer(&offer)?;
        check_person(body)?;
        changed(coupons.change(place, |coupon| {
            coupon.insert("offerId".to_owned(), offer.id.clone().into());
            self.take(coupon, body, offer);
        }))
    }

    /// The status is the platform's to write: only a redemption changes it.
    fn take(&self, coupon: &mut Map<String, Value>, body: &Map<String, Value>, offer: &Offer) {
        overlay(coupon, body, WRITABLE, self.switches);
        if offer.own_expiry {
            overlay(coupon, body, &["expiryDate"], self.switches);
        }
    }

    fn redeem(&self, coupons: &mut Drawer, body: &Map<String, Value>) -> Result<Reply, Failure> {
        let place = self.find(coupons, body, "campaignId")?;
        let Some(coupon) = coupons.at(place) else { return Err(Failure::new(404, "the coupon is gone")) };
        let (id, external_id) = (field(coupon, "id").to_owned(), field(coupon, "externalId").to_owned());
        if field(coupon, "status") == "REDEEMED" {
            redeemed_before("coupon", &id, self.switches)?;
        }
        let given = body.get("redemptionDetails");
        coupons.effects.count(REDEEM_COUPON, &external_id, &name_of(given), 0.0);
        changed(coupons.change(place, |coupon| {
            coupon.insert("status".to_owned(), "REDEEMED".into());
            coupon.insert("redemptionDetails".to_owned(), redemption(given));
        }))
    }

    fn rename(&self, coupons: &mut Drawer, body: &Map<String, Value>) -> Result<Reply, Failure> {
        let place = self.find(coupons, body, "couponCampaignId")?;
        let new = text(body, "newExternalId");
        if new.is_empty() {
            return Err(Failure::invalid("newExternalId is required"));
        }
        if coupons.place_of_name(new).is_some() {
            return Err(Failure::new(409, format!("coupon with externalId[{new}] already exists")));
        }
        changed(coupons.change(place, |coupon| {
            coupon.insert("externalId".to_owned(), new.into());
        }))
    }
}

fn blank(campaign: &str, offer: &str, external_id: &str) -> Map<String, Value> {
    let now = now();
    let coupon = json!({
        "id": new_id(), "externalId": external_id, "offerId": offer, "campaignId": campaign, "person": member::nobody(), "metaData": {},
        "sku": "", "optOut": false, "status": "UNREDEEMED", "expiryDate": null, "redemptionDetails": null, "passOverrides": null,
        "passMetaData": pass_meta_data(), "created": now, "updated": now,
    });
    match coupon {
        Value::Object(coupon) => coupon,
        _ => Map::new(),
    }
}

/// A coupon put there past the platform's calls, from those fields of it that are given.
pub(super) fn seeded(given: &Map<String, Value>, campaign: &str, offers: &[Offer]) -> anyhow::Result<Value> {
    let unknown = given.keys().find(|name| !COUPON.iter().any(|(known, _)| known == name));
    anyhow::ensure!(unknown.is_none(), "a coupon has no field {unknown:?}");
    anyhow::ensure!(!text(given, "externalId").is_empty(), "a coupon to issue has no externalId");
    let mut coupon = blank(campaign, offers.first().map_or("", |offer| &offer.id), text(given, "externalId"));
    let (person, rest): (Vec<_>, Vec<_>) = given.iter().partition(|(name, _)| *name == "person");
    coupon.extend(rest.into_iter().map(|(name, value)| (name.clone(), value.clone())));
    for (name, value) in person.into_iter().flat_map(|(_, person)| person.as_object().into_iter().flatten()) {
        coupon["person"][name] = value.clone();
    }
    Ok(Value::Object(coupon))
}

/// What a redemption leaves; the date is the platform's.
pub(super) fn redemption(given: Option<&Value>) -> Value {
    let mut kept = json!({
        "redemptionDate": now(), "redemptionCode": "", "lat": 0, "lon": 0, "alt": 0, "redemptionSource": "", "redemptionReference": "",
        "transactionReference": "", "transactionAmount": 0, "metaData": {},
    });
    for (name, value) in given.and_then(Value::as_object).into_iter().flatten() {
        if name != "redemptionDate" && kept.get(name).is_some() && !value.is_null() {
            kept[name] = value.clone();
        }
    }
    kept
}

/// What the contract leaves open: how a second redemption is answered.
pub(super) fn redeemed_before(what: &str, id: &str, switches: Switches) -> Result<(), Failure> {
    match switches.second_redeem {
        None | Some(400) => Err(Failure::invalid(format_args!("{what} with id[{id}] is already redeemed"))),
        Some(200) => Ok(()),
        Some(status) => Err(Failure::new(status, format!("{what} with id[{id}] is already redeemed"))),
    }
}

/// Refuses fields that only the platform writes.
pub(super) fn made_by_platform(body: &Map<String, Value>, names: &[&str]) -> Result<(), Failure> {
    match names.iter().find(|name| !text(body, name).is_empty()) {
        Some(name) => Err(Failure::invalid(format_args!("{name} must be empty"))),
        None => Ok(()),
    }
}

/// `{"id"}` of what was changed.
pub(super) fn changed(id: Option<String>) -> Result<Reply, Failure> {
    let id = id.ok_or_else(|| Failure::new(404, "it is gone"))?;
    Reply::json(&json!({ "id": id }))
}
