//! The calls on members (contract section 4.2) once a request is through the door.

use serde_json::{Map, Value, json};

use super::alerts::Alert;
use super::calls::Call;
use super::member::{DELETED, Member, PERSON};
use super::points::{self, Change};
use super::shape::{self, text};
use super::state::{State, new_id, now};
use super::switches::Switches;
use super::{Account, list};
use crate::sandbox::answer::{Failure, Reply};

/// A call with its body, as sent and as read.
pub(super) struct Asked<'a> {
    pub call: &'a Call,
    pub raw: &'a [u8],
    pub body: Option<&'a Value>,
    pub switches: Switches,
}

/// Answers one call.
pub(super) fn answer(account: &Account, asked: &Asked<'_>) -> Result<Reply, Failure> {
    let fields = |fields| shape::check(asked.raw, asked.body, fields, asked.switches.reject_unknown_fields);
    let desk = Desk { program: &account.program, tiers: &account.tiers, switches: asked.switches };
    let mut state = account.store.lock();
    state.set_lag(asked.switches.lag);
    if let (Call::Events(_) | Call::ProgramEvents(_), Some(status)) = (asked.call, asked.switches.event_lists) {
        return Err(Failure::new(status, if status == 501 { "Method Not Allowed" } else { "Not Found" }));
    }
    match asked.call {
        Call::Profile => Reply::json(&json!({"username": "sandbox", "status": "ACTIVE", "projects": [desk.program]})),
        Call::Program(program) => {
            desk.program(program)?;
            Reply::json(&json!({
                "id": program, "name": "Sandbox", "status": ["PROJECT_ACTIVE_FOR_OBJECT_CREATION"], "pointsType": null, "metaData": {},
            }))
        }
        Call::Enrol => desk.enrol(&mut state, fields(shape::MEMBER)?),
        Call::Update => desk.update(&mut state, fields(shape::MEMBER)?),
        Call::Delete => desk.delete(&mut state, fields(shape::MEMBER)?),
        Call::ById(id) => {
            let member = state.place_of_id(id).and_then(|place| state.seen(place));
            Reply::json(member.ok_or_else(|| Failure::missing("member", "id", id))?)
        }
        Call::ByExternalId { program, external_id } => {
            desk.program(program)?;
            let member = state.place_of_external_id(external_id).and_then(|place| state.seen(place));
            Reply::json(member.ok_or_else(|| Failure::missing("member", "externalId", external_id))?)
        }
        Call::SetPoints => desk.points(&mut state, fields(shape::POINTS)?, Change::Set),
        Call::Earn => desk.points(&mut state, fields(shape::POINTS)?, Change::Earn),
        Call::Burn => desk.points(&mut state, fields(shape::POINTS)?, Change::Burn),
        Call::Tier => desk.tier_change(&mut state, fields(shape::TIER)?),
        Call::Expiry => desk.expiry(&mut state, fields(shape::EXPIRY)?),
        Call::Person => desk.person(&mut state, fields(shape::PERSON_ONLY)?),
        Call::Segment => desk.segment(&mut state, fields(shape::SEGMENT)?),
        Call::List(program) => {
            desk.program(program)?;
            let query = list::Query::read(fields(shape::LIST)?, list::MEMBER_FIELDS, asked.switches.page_max)?;
            Ok(Reply::places(query.members(&state)))
        }
        Call::Count(program) => {
            desk.program(program)?;
            let query = list::Query::read(fields(shape::LIST)?, list::MEMBER_FIELDS, asked.switches.page_max)?;
            Reply::json(&json!({"total": query.count(&state)}))
        }
        Call::Events(id) => {
            let place = state.place_of_id(id).ok_or_else(|| Failure::missing("member", "id", id))?;
            let until = state.events_until();
            list::lines(state.events_of(place).filter(|event| event.created <= until).take(list::DEFAULT_LIMIT))
        }
        Call::ProgramEvents(program) => {
            desk.program(program)?;
            list::Query::read(fields(shape::LIST)?, list::EVENT_FIELDS, asked.switches.page_max)?.events(&state)
        }
        Call::MetaKeys(program) => {
            desk.program(program)?;
            let keys: std::collections::BTreeSet<&String> =
                (0..state.end()).filter_map(|place| state.at(place)).flat_map(|member| member.meta_data.keys()).collect();
            Reply::json(&json!({"response": keys}))
        }
        Call::WrongMethod => Err(Failure::new(501, "Method Not Allowed")),
        Call::Unknown | Call::Login | Call::Coupon(_) | Call::Ticket(_) => Err(Failure::new(404, "Not Found")),
    }
}

struct Desk<'a> {
    program: &'a str,
    tiers: &'a [String],
    switches: Switches,
}

impl Desk<'_> {
    fn program(&self, id: &str) -> Result<(), Failure> {
        if id == self.program { Ok(()) } else { Err(Failure::missing("program", "id", id)) }
    }

    fn tier(&self, id: &str) -> Result<(), Failure> {
        if self.tiers.iter().any(|tier| tier == id) { Ok(()) } else { Err(Failure::missing("tier", "id", id)) }
    }

    /// Finds the member a body names by `id`, or by `externalId` and `programId`.
    fn find(&self, state: &State, body: &Map<String, Value>, id: &str, external_id: &str) -> Result<usize, Failure> {
        self.find_in(state, [text(body, id), text(body, external_id), text(body, "programId")])
    }

    fn find_in(&self, state: &State, [id, external_id, program]: [&str; 3]) -> Result<usize, Failure> {
        if !program.is_empty() {
            self.program(program)?;
        }
        let (place, missing) = if !id.is_empty() {
            (state.place_of_id(id), Failure::missing("member", "id", id))
        } else if external_id.is_empty() {
            return Err(Failure::invalid("id, or externalId and programId, is required"));
        } else if program.is_empty() {
            return Err(Failure::invalid("programId is required with externalId"));
        } else {
            (state.place_of_external_id(external_id), Failure::missing("member", "externalId", external_id))
        };
        place.filter(|place| state.at(*place).is_some_and(Member::is_there)).ok_or(missing)
    }

    fn enrol(&self, state: &mut State, body: &Map<String, Value>) -> Result<Reply, Failure> {
        for name in ["id", "created", "updated"] {
            if !text(body, name).is_empty() {
                return Err(Failure::invalid(format_args!("{name} must be empty")));
            }
        }
        let (program, tier, external_id) = (text(body, "programId"), text(body, "tierId"), text(body, "externalId"));
        for (name, value) in [("programId", program), ("tierId", tier)] {
            if value.is_empty() {
                return Err(Failure::invalid(format_args!("{name} is required")));
            }
        }
        self.program(program)?;
        self.tier(tier)?;
        check_person(body)?;
        if !external_id.is_empty() && state.place_of_external_id(external_id).is_some() {
            return Err(Failure::new(409, format!("member with externalId[{external_id}] already exists")));
        }
        let mut member = Member::new(new_id(), program, tier, external_id, now());
        self.overlay(&mut member, body, false);
        let answer = Reply::json(&json!({"id": member.id}));
        state.add(member);
        answer
    }

    fn update(&self, state: &mut State, body: &Map<String, Value>) -> Result<Reply, Failure> {
        for name in ["created", "updated"] {
            if !text(body, name).is_empty() {
                return Err(Failure::invalid(format_args!("{name} must be empty")));
            }
        }
        let place = self.find(state, body, "id", "externalId")?;
        if !text(body, "tierId").is_empty() {
            self.tier(text(body, "tierId"))?;
        }
        check_person(body)?;
        let all = text(body, "operation") == "OPERATION_PUT";
        let changed = state.change(place, |member| {
            let before = member.meta_data.clone();
            self.overlay(member, body, all);
            (member.id.clone(), Alert::between(&member.external_id, &member.meta_data, &before))
        });
        let Some((id, alerts)) = changed else { return Err(Failure::new(404, "the member is gone")) };
        state.alerts.add(alerts);
        Reply::json(&json!({"id": id}))
    }

    /// The person alone; the program is called `classId` here.
    fn person(&self, state: &mut State, body: &Map<String, Value>) -> Result<Reply, Failure> {
        let place = self.find_in(state, ["id", "externalId", "classId"].map(|name| text(body, name)))?;
        check_person(body)?;
        let only = body.iter().filter(|(name, _)| *name == "person").map(|(name, value)| (name.clone(), value.clone())).collect();
        let id = state.change(place, |member| {
            self.overlay(member, &only, false);
            member.id.clone()
        });
        Reply::json(&json!({ "id": id }))
    }

    /// One change for every member that a filter meets, however many they are.
    fn segment(&self, state: &mut State, body: &Map<String, Value>) -> Result<Reply, Failure> {
        let Some(values) = body.get("newValues").and_then(Value::as_object) else {
            return Err(Failure::invalid("newValues is required"));
        };
        check_person(values)?;
        if !text(values, "tierId").is_empty() {
            self.tier(text(values, "tierId"))?;
        }
        let mut filters = body.get("filter").and_then(Value::as_object).cloned().unwrap_or_default();
        filters.insert("limit".to_owned(), (-1).into());
        let body = Map::from_iter([("filters".to_owned(), Value::Object(filters))]);
        for place in list::Query::read(&body, list::MEMBER_FIELDS, None)?.members(state) {
            state.change(place, |member| self.overlay(member, values, false));
        }
        Reply::json(&json!({}))
    }

    /// Takes over the fields of a request: all of them, or (by default) those that are not falsy. `metaData` is replaced whole either way,
    /// and the external ID never changes (contract sections 2.1 and 4.1).
    fn overlay(&self, member: &mut Member, body: &Map<String, Value>, all: bool) {
        for (name, value) in body {
            if value.is_null() || (!all && shape::is_falsy(value)) {
                continue;
            }
            let string = || value.as_str().unwrap_or("").to_owned();
            match name.as_str() {
                "groupingIdentifier" => member.grouping_identifier = string(),
                "tierId" if !string().is_empty() => member.tier_id = string(),
                "person" => self.overlay_person(member, value, all),
                "metaData" => member.meta_data = value.as_object().cloned().unwrap_or_default(),
                "optOut" => member.opt_out = value.as_bool().unwrap_or(false),
                "points" => member.points = shape::float(body, name),
                "secondaryPoints" => member.secondary_points = shape::float(body, name),
                "tierPoints" => member.tier_points = shape::unsigned(body, name),
                "expiryDate" => member.expiry_date = Some(shape::canonical_time(&string())),
                "status" => member.status = string(),
                "passOverrides" => member.pass_overrides = value.clone(),
                "notes" => member.notes = value.clone(),
                "currentTierAwarded" => member.current_tier_awarded = Some(shape::canonical_time(&string())),
                "currentTierExpires" => member.current_tier_expires = Some(shape::canonical_time(&string())),
                "profileImage" => member.profile_image = string(),
                _ => {}
            }
        }
    }

    fn overlay_person(&self, member: &mut Member, person: &Value, all: bool) {
        if self.switches.replace_person {
            member.person.retain(|name, _| name == "externalId");
        }
        for (name, value) in person.as_object().into_iter().flatten() {
            if name == "externalId" || !PERSON.contains(&name.as_str()) {
                continue;
            }
            if !shape::is_falsy(value) {
                member.person.insert(name.clone(), value.clone());
            } else if all && !value.is_null() {
                member.person.shift_remove(name);
            }
        }
    }

    fn delete(&self, state: &mut State, body: &Map<String, Value>) -> Result<Reply, Failure> {
        let place = self.find(state, body, "id", "externalId")?;
        if self.switches.keep_deleted {
            state.change(place, |member| DELETED.clone_into(&mut member.status));
        } else {
            state.remove(place);
        }
        Reply::json(&json!({}))
    }

    fn points(&self, state: &mut State, body: &Map<String, Value>, change: Change) -> Result<Reply, Failure> {
        points::check_details(body)?;
        let place = self.find(state, body, "id", "externalId")?;
        if !text(body, "tierId").is_empty() {
            self.tier(text(body, "tierId"))?;
        }
        points::apply(state, place, body, change, self.switches)
    }

    fn tier_change(&self, state: &mut State, body: &Map<String, Value>) -> Result<Reply, Failure> {
        points::check_details(body)?;
        let place = self.find(state, body, "memberId", "externalMemberId")?;
        let tier = text(body, "tierId");
        if tier.is_empty() {
            return Err(Failure::invalid("tierId is required"));
        }
        self.tier(tier)?;
        let event = state.change(place, |member| {
            tier.clone_into(&mut member.tier_id);
            member.current_tier_awarded = Some(now());
            points::tier_event(member, body)
        });
        let answer = Reply::json(&event);
        if let Some(event) = event {
            points::keep(state, place, event, "/members/member/tier", self.switches);
        }
        answer
    }

    fn expiry(&self, state: &mut State, body: &Map<String, Value>) -> Result<Reply, Failure> {
        let place = self.find(state, body, "id", "externalId")?;
        let expiry = text(body, "expiryDate");
        if expiry.is_empty() {
            return Err(Failure::invalid("expiryDate is required"));
        }
        let id = state.change(place, |member| {
            member.expiry_date = Some(shape::canonical_time(expiry));
            member.id.clone()
        });
        Reply::json(&json!({"id": id}))
    }
}

/// Addresses and numbers are validated (contract section 4.1).
pub(super) fn check_person(body: &Map<String, Value>) -> Result<(), Failure> {
    let Some(person) = body.get("person").and_then(Value::as_object) else { return Ok(()) };
    let email = text(person, "emailAddress");
    let plausible = email.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && domain.contains('.') && !domain.starts_with('.') && !domain.ends_with('.') && !domain.contains('@')
    });
    if !email.is_empty() && (!plausible || email.contains(char::is_whitespace)) {
        return Err(Failure::invalid("person.emailAddress is not an email address"));
    }
    let mobile = text(person, "mobileNumber");
    let digits = mobile.strip_prefix('+').unwrap_or("");
    let dialable = (7..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !mobile.is_empty() && !dialable {
        return Err(Failure::invalid("person.mobileNumber must be + with the country code and the number, without separators"));
    }
    Ok(())
}
