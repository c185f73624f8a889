//! The calls on objects and classes once a request is through the door (contract section 4).

use std::time::SystemTime;

use serde_json::{Map, Value, json};

use super::Knobs;
use super::calls::{ADD_MESSAGE, Act, INSERT, PATCH, UPDATE, Vertical};
use super::messages;
use super::notices::{self, Notices};
use super::rules::{self, strings};
use super::{OverNotices, query::Query};
use crate::sandbox::answer::Failure;
use crate::sandbox::effects::Effects;
use crate::sandbox::shelf::Shelf;

type Object = Map<String, Value>;

/// What the issuer has.
pub(super) struct State {
    /// By id, which is one across all kinds; each as `{"resource": …, "object": …}`.
    pub objects: Shelf,
    pub classes: Shelf,
    pub notices: Notices,
    pub effects: Effects,
}

/// One call, with what it may look at.
pub(super) struct Desk<'a> {
    pub state: &'a mut State,
    pub issuer: &'a str,
    pub knobs: &'a Knobs,
    pub clock: SystemTime,
    pub vertical: &'static Vertical,
    /// On classes instead of objects.
    pub class: bool,
    pub body: Option<&'a Value>,
    pub query: &'a Query,
}

impl Desk<'_> {
    pub fn answer(&mut self, act: &Act) -> Result<Value, Failure> {
        match act {
            Act::Get(id) => {
                let object = self.find(id)?;
                Ok(self.shown(&object, true))
            }
            Act::Insert => self.insert(),
            Act::Update(id) => self.update(id),
            Act::Patch(id) => self.patch(id),
            Act::List => self.list(),
            Act::AddMessage(id) => self.add_message(id),
            Act::LinkOffers(id) => self.link_offers(id),
        }
    }

    fn message(&self) -> &'static str {
        if self.class { self.vertical.class_message } else { self.vertical.object_message }
    }

    fn resource(&self) -> &'static str {
        if self.class { self.vertical.class } else { self.vertical.object }
    }

    fn what(&self) -> &'static str {
        if self.class { "Wallet Object Class" } else { "Wallet Object" }
    }

    fn shelf(&mut self) -> &mut Shelf {
        if self.class { &mut self.state.classes } else { &mut self.state.objects }
    }

    fn find(&mut self, id: &str) -> Result<Object, Failure> {
        rules::check_id(id, self.issuer, self.knobs)?;
        let (resource, any) = (self.resource(), self.knobs.any_vertical);
        let found = self.shelf().get(id).filter(|kept| any || kept["resource"] == resource);
        let found = found.and_then(|kept| kept["object"].as_object()).cloned();
        let reason = if self.class { "classNotFound" } else { "resourceNotFound" };
        found.ok_or_else(|| Failure::new(404, format!("{} {id} not found.", self.what())).because(reason))
    }

    fn keep(&mut self, id: &str, object: &Object) {
        let kept = json!({"resource": self.resource(), "object": object});
        self.shelf().put(id, kept);
    }

    /// The body, without what only the platform sets.
    fn sent(&self) -> Result<Object, Failure> {
        let mut sent = messages::read(self.body, self.message())?;
        if sent.contains_key("classReference") && self.knobs.refuse_class_reference {
            return Err(messages::invalid("Invalid JSON payload received. Unknown name \"classReference\": Cannot find field."));
        }
        sent.retain(|name, _| !rules::OUTPUT.contains(&name.as_str()));
        Ok(sent)
    }

    fn shown(&self, object: &Object, with_class: bool) -> Value {
        let mut shown = messages::rendered(object, self.message(), self.knobs.capitals);
        if with_class && !self.class && self.vertical.object != "genericObject" {
            let class = object.get("classId").and_then(Value::as_str).and_then(|id| self.state.classes.get(id));
            if let Some(class) = class.and_then(|kept| kept["object"].as_object()) {
                let class = messages::rendered(class, self.vertical.class_message, self.knobs.capitals);
                shown.insert("classReference".to_owned(), Value::Object(class));
            }
        }
        Value::Object(shown)
    }

    fn insert(&mut self) -> Result<Value, Failure> {
        let mut sent = self.sent()?;
        sent.shift_remove("notifyPreference");
        let mut object = rules::without_nulls(&Value::Object(sent.clone())).as_object().cloned().unwrap_or_default();
        let id = text(&object, "id").to_owned();
        rules::check_id(&id, self.issuer, self.knobs)?;
        if self.shelf().get(&id).is_some() {
            return Err(Failure::new(409, format!("{} {id} already exists.", self.what())).because("existingResource"));
        }
        if self.class {
            self.check_class(&mut object)?;
        } else {
            self.complete(&mut object, None, &sent)?;
            object.insert("hasUsers".to_owned(), false.into());
        }
        self.keep(&id, &object);
        self.state.effects.count(INSERT, &id, "", 0.0);
        Ok(self.shown(&object, false))
    }

    fn check_class(&self, class: &mut Object) -> Result<(), Failure> {
        for name in self.vertical.class_required {
            if class.get(*name).is_none_or(|value| value.as_str() == Some("")) {
                return Err(Failure::new(400, format!("Missing required field: {name}.")).because("invalidResource"));
            }
        }
        if class.get("reviewStatus").is_some_and(|status| status == "UNDER_REVIEW") {
            class.insert("reviewStatus".to_owned(), "APPROVED".into());
        }
        Ok(())
    }

    /// What must hold of an object and its class, and what the platform adds.
    fn complete(&self, object: &mut Object, before: Option<&Object>, sent: &Object) -> Result<(), Failure> {
        let class_id = text(object, "classId").to_owned();
        if class_id.is_empty() {
            return Err(Failure::new(400, "Missing required field: classId.").because("invalidResource"));
        }
        rules::check_id(&class_id, self.issuer, self.knobs)?;
        let class = self.state.classes.get(&class_id).filter(|kept| kept["resource"] == self.vertical.class);
        let class =
            class.ok_or_else(|| Failure::new(404, format!("Wallet Object Class {class_id} not found.")).because("classNotFound"))?;
        let status = class["object"]["reviewStatus"].as_str().unwrap_or("APPROVED");
        if matches!(status, "DRAFT" | "REJECTED") {
            return Err(Failure::new(400, format!("Class {class_id} is not approved.")).because("invalidResource"));
        }
        let moved = before.is_some_and(|before| text(before, "classId") != class_id);
        if moved && !self.knobs.class_may_change {
            return Err(Failure::new(400, "classId may not be changed.").because("invalidResource"));
        }
        if self.vertical.object == "genericObject" && !object.contains_key("state") {
            object.insert("state".to_owned(), "ACTIVE".into());
        }
        if self.vertical.object == "giftCardObject" {
            rules::date_balance(object, before, sent, &notices::rfc3339(self.clock));
        }
        rules::check(object, self.vertical, before, |id| self.state.objects.get(id).is_some(), self.knobs)
    }

    fn update(&mut self, id: &str) -> Result<Value, Failure> {
        let mut sent = self.sent()?;
        let before = self.find(id)?;
        let notify = asks_to_notify(sent.shift_remove("notifyPreference").as_ref());
        same_id(&sent, id)?;
        let mut object = rules::without_nulls(&Value::Object(sent.clone())).as_object().cloned().unwrap_or_default();
        object.insert("id".to_owned(), id.into());
        self.settle(id, &before, object, &sent, notify, UPDATE)
    }

    fn patch(&mut self, id: &str) -> Result<Value, Failure> {
        let mut sent = self.sent()?;
        let before = self.find(id)?;
        let notify = asks_to_notify(sent.shift_remove("notifyPreference").as_ref());
        same_id(&sent, id)?;
        let mut object = before.clone();
        rules::merge(&mut object, &sent, !self.knobs.null_keeps);
        self.settle(id, &before, object, &sent, notify, PATCH)
    }

    /// Keeps a changed object and notifies of it where that was asked for.
    fn settle(
        &mut self,
        id: &str,
        before: &Object,
        mut object: Object,
        sent: &Object,
        notify: bool,
        route: &'static str,
    ) -> Result<Value, Failure> {
        if self.class {
            self.check_class(&mut object)?;
        } else {
            self.complete(&mut object, Some(before), sent)?;
            for name in ["hasUsers", "hasLinkedDevice"] {
                if let Some(value) = before.get(name) {
                    object.insert(name.to_owned(), value.clone());
                }
            }
            if notify {
                self.notify_of_change(id, before, &object)?;
            }
        }
        self.keep(id, &object);
        self.state.effects.count(route, id, "", 0.0);
        Ok(self.shown(&object, false))
    }

    fn notify_of_change(&mut self, id: &str, before: &Object, after: &Object) -> Result<(), Failure> {
        let changed = notices::changed(before, after, &self.knobs.notifying_fields);
        let about = match changed {
            Some(field) => field,
            None if self.knobs.notify_unchanged => "",
            None => return Ok(()),
        };
        let given = self.state.notices.give(id, notices::FIELD, about, self.clock, self.knobs.notices_per_day);
        if !given && self.knobs.over_notices == OverNotices::Refused {
            return Err(Failure::new(403, format!("Quota exceeded for notifications of object {id}")).because("quotaExceeded"));
        }
        Ok(())
    }

    fn list(&self) -> Result<Value, Failure> {
        let by = if self.class { "issuerId" } else { "classId" };
        let Some(wanted) = self.query.get(by) else {
            return Err(Failure::new(400, format!("Missing required parameter: {by}")).because("invalidParameter"));
        };
        if !self.class && !self.state.classes.get(wanted).is_some_and(|kept| kept["resource"] == self.vertical.class) {
            rules::check_id(wanted, self.issuer, self.knobs)?;
            return Err(Failure::new(404, format!("Wallet Object Class {wanted} not found.")).because("classNotFound"));
        }
        let number = |name: &str| self.query.get(name).map(|text| text.trim_start_matches("CAE").parse::<usize>()).transpose();
        let invalid = |_| Failure::new(400, "Invalid value of a parameter").because("invalidParameter");
        let most = number("maxResults").map_err(invalid)?.unwrap_or(usize::MAX);
        let from = number("token").map_err(invalid)?.unwrap_or(0);
        let kind = if self.class { &self.state.classes } else { &self.state.objects };
        let of_class = |kept: &&Value| self.class || kept["object"]["classId"] == wanted;
        let mut all = kind.iter().map(|(_, kept)| kept).filter(|kept| kept["resource"] == self.resource()).filter(of_class).skip(from);
        let page: Vec<Value> =
            all.by_ref().take(most).filter_map(|kept| kept["object"].as_object()).map(|object| self.shown(object, false)).collect();
        let mut pagination = json!({"resultsPerPage": page.len()});
        if all.next().is_some() {
            pagination["nextPageToken"] = format!("CAE{}", from + page.len()).into();
        }
        Ok(json!({"resources": page, "pagination": pagination}))
    }

    fn add_message(&mut self, id: &str) -> Result<Value, Failure> {
        // The front end judges a body before the object is looked for (contract section 10).
        let mut sent = messages::read(self.body, "AddMessageRequest")?;
        let mut object = self.find(id)?;
        let Some(mut message) = sent.shift_remove("message").filter(Value::is_object) else {
            return Err(Failure::new(400, "Missing required field: message.").because("invalidResource"));
        };
        if message.get("messageType").is_none() {
            message["messageType"] = "TEXT".into();
        }
        let event = message.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        let notify = message["messageType"] == "TEXT_AND_NOTIFY";
        rules::add_message(&mut object, message, self.knobs)?;
        if notify && !self.state.notices.give(id, notices::MESSAGE, &event, self.clock, self.knobs.notices_per_day) {
            let class = text(&object, "classId");
            let said = format!("Quota exceeded for issuer {} when adding TEXT_AND_NOTIFY message to class {class}", self.issuer);
            return Err(Failure::new(403, said).because("quotaExceeded"));
        }
        self.keep(id, &object);
        self.state.effects.count(ADD_MESSAGE, id, &event, 0.0);
        Ok(json!({"resource": self.shown(&object, false)}))
    }

    fn link_offers(&mut self, id: &str) -> Result<Value, Failure> {
        let before = self.find(id)?;
        let sent = self.body.and_then(|body| body.get("linkedOfferObjectIds")).and_then(Value::as_object);
        let sent = sent.ok_or_else(|| messages::invalid("Invalid JSON payload received. linkedOfferObjectIds is needed."))?;
        let (add, remove) = (strings(sent, "addLinkedOfferObjectIds"), strings(sent, "removeLinkedOfferObjectIds"));
        if let Some(missing) = add.iter().find(|id| self.state.objects.get(id).is_none_or(|kept| kept["resource"] != "offerObject")) {
            return Err(Failure::new(404, format!("Wallet Object {missing} not found.")).because("resourceNotFound"));
        }
        let mut linked = strings(&before, "linkedOfferIds");
        linked.retain(|id| !remove.contains(id));
        for id in add {
            if !linked.contains(&id) {
                linked.push(id);
            }
        }
        let mut object = before;
        object.insert("linkedOfferIds".to_owned(), linked.into());
        self.keep(id, &object);
        Ok(self.shown(&object, false))
    }
}

fn text<'a>(object: &'a Object, name: &str) -> &'a str {
    object.get(name).and_then(Value::as_str).unwrap_or("")
}

fn same_id(sent: &Object, id: &str) -> Result<(), Failure> {
    match sent.get("id").and_then(Value::as_str) {
        Some(other) if other != id => Err(Failure::new(400, format!("Invalid resource ID: {other}")).because("invalidResource")),
        _ => Ok(()),
    }
}

fn asks_to_notify(preference: Option<&Value>) -> bool {
    preference.is_some_and(|preference| preference == "NOTIFY_ON_UPDATE")
}
