//! The desk: takes what the adapter asks, in the place of a platform's API. What it says was done is on the disk.

use std::sync::Arc;

use bytes::Bytes;
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::{Map, Value as Json, json};

use super::pass::{field, field_mut, layout};
use super::slot::{Slot, Top, decimal};
use super::store::{Pass, Store, StoreError, Work, now_ms};
use super::talk::{AddWish, Added, Ask, Changed, End, Ended, Found, Known, Listed, Name, WasAdded, What, Wish};
use crate::config::meant::apple::{AppleWallet, Serials};
use crate::platform::http::exact;

/// Passes of one page of a listing.
const PAGE: usize = 1000;

/// Statuses of the desk. Nothing was done unless it is the first.
pub const DONE: u16 = 200;
/// Somebody else writes for long.
pub const BUSY: u16 = 503;
/// The store cannot be written or read.
pub const BROKEN: u16 = 507;
const NOT_UNDERSTOOD: u16 = 400;

/// Answers for one account.
pub struct Desk {
    account: Arc<AppleWallet>,
    store: Store,
}

impl Desk {
    pub fn open(account: Arc<AppleWallet>) -> Result<Desk, StoreError> {
        let store = Store::open(&account.store)?;
        Ok(Desk { account, store })
    }

    /// A status and an answer for one request of [`super::talk`].
    pub async fn answer(&self, body: &[u8]) -> (u16, Bytes) {
        let ask = match serde_json::from_slice(body) {
            Ok(Ask::Probe) => return (DONE, bytes(&super::probe::prove(&self.account).await)),
            Ok(ask) => ask,
            Err(error) => return (NOT_UNDERSTOOD, bytes(&json!({ "message": error.to_string() }))),
        };
        match self.carry_out(&ask) {
            Ok(answer) => (DONE, answer),
            Err(error) => {
                let status = if matches!(error, StoreError::Busy { .. }) { BUSY } else { BROKEN };
                (status, bytes(&json!({ "message": error.to_string() })))
            }
        }
    }

    fn carry_out(&self, ask: &Ask) -> Result<Bytes, StoreError> {
        let now = now_ms();
        Ok(match ask {
            Ask::Find(names) => {
                let passes = self.store.read(|work| names.iter().map(|name| known(work, name)).collect())?;
                bytes(&Found { passes })
            }
            Ask::Change(wishes) => {
                let ends = self.store.write(|work| wishes.iter().map(|wish| self.change(work, wish, now)).collect())?;
                bytes(&Changed { ends })
            }
            Ask::Add(wish) => bytes(&self.store.write(|work| self.add(work, wish, now))?),
            Ask::Added(key) => bytes(&WasAdded { added: self.store.read(|work| work.added(key))?.is_some() }),
            Ask::List(from) => {
                let passes = self.store.read(|work| work.page(*from, PAGE))?;
                let next = (passes.len() == PAGE).then(|| from + PAGE as u64);
                let told = |pass: Pass| (Known { serial: pass.serial, external_id: pass.external_id }, pass.data);
                bytes(&Listed { passes: passes.into_iter().map(told).collect(), next })
            }
            Ask::Probe => bytes(&Json::Null),
        })
    }

    fn change(&self, work: &Work<'_>, wish: &Wish, now: i64) -> rusqlite::Result<Ended> {
        let pass = match one(work, wish.serial.as_deref(), &wish.name)? {
            Ok(pass) => pass,
            Err(End::Absent) => match (wish.what, &wish.name) {
                (What::Upsert, Name::External(id)) => return self.create(work, id, &wish.set, now),
                // Taking away what is not there has come true already.
                (What::Void, _) => return Ok(ended(End::Done, None, "")),
                _ => return Ok(ended(End::Absent, None, "")),
            },
            Err(end) => return Ok(ended(end, None, "")),
        };
        let mut new = pass.clone();
        let set = match wish.what {
            What::Update | What::Upsert => set_all(&mut new.data, &wish.set),
            What::Expire if !wish.set.is_empty() => set_all(&mut new.data, &wish.set),
            What::Void => Slot::Voided.set(&mut new.data, Some(Json::Bool(true))),
            What::Expire if is_over(&pass.data, now) => Ok(()),
            What::Expire => Slot::Top(Top::ExpirationDate).set(&mut new.data, Some(Json::String(instant(now)))),
        };
        if let Err(fault) = set {
            return Ok(ended(End::Refused, Some(pass.serial), &fault));
        }
        keep(work, &pass, &new, now)?;
        Ok(ended(End::Done, Some(pass.serial), ""))
    }

    /// Issues a pass from the template.
    fn create(&self, work: &Work<'_>, external_id: &str, set: &[(String, Json)], now: i64) -> rusqlite::Result<Ended> {
        let mut data = self.account.design.pass.clone();
        if let Err(fault) = set_all(&mut data, set) {
            return Ok(ended(End::Refused, None, &fault));
        }
        let serial = match self.account.serials {
            Serials::ExternalId => external_id.to_owned(),
            Serials::Random => random_word(),
        };
        if work.insert(&serial, Some(external_id), &random_word(), &data, now)? {
            Ok(ended(End::Created, Some(serial), ""))
        } else {
            // Found by none of its names a moment ago: a pass that was brought in has this number and another identifier.
            Ok(ended(
                End::Refused,
                Some(serial),
                "another pass has this serial number; write serials = \"random\" for passes that are issued",
            ))
        }
    }

    fn add(&self, work: &Work<'_>, wish: &AddWish, now: i64) -> rusqlite::Result<Added> {
        match work.added(&wish.key)? {
            Some(print) if print == wish.print => return Ok(ended(End::Already, None, "")),
            Some(_) => return Ok(ended(End::OtherAdd, None, "another add was carried out under this key")),
            None => {}
        }
        let pass = match one(work, None, &wish.name)? {
            Ok(pass) => pass,
            Err(end) => return Ok(ended(end, None, "")),
        };
        let mut new = pass.clone();
        let mut message = "";
        let added = wish.amounts.iter().try_for_each(|(name, amount)| add_amount(&mut new.data, name, amount)).and_then(|()| {
            if wish.redeem {
                redeem(&mut new.data, now)?;
            }
            if let Some((key, words)) = &wish.message
                && !tell(&mut new.data, key, words, self.account.message_label.as_deref())?
            {
                message = "the pass shows these words already, so that phones tell nobody";
            }
            Ok(())
        });
        if let Err(fault) = added {
            return Ok(ended(End::Refused, Some(pass.serial), &fault));
        }
        keep(work, &pass, &new, now)?;
        work.note_added(&wish.key, wish.print, now)?;
        Ok(ended(End::Done, Some(pass.serial), message))
    }
}

fn bytes(answer: &impl Serialize) -> Bytes {
    // These types have nothing that JSON cannot say.
    serde_json::to_vec(answer).unwrap_or_default().into()
}

fn ended(end: End, serial: Option<String>, message: &str) -> Ended {
    Ended { end, serial, message: message.to_owned() }
}

fn known(work: &Work<'_>, name: &Name) -> rusqlite::Result<Vec<Known>> {
    match name {
        Name::Serial(serial) => {
            Ok(work.pass(serial)?.into_iter().map(|pass| Known { serial: pass.serial, external_id: pass.external_id }).collect())
        }
        Name::External(id) => {
            let known = |serial| Known { serial, external_id: Some(id.clone()) };
            Ok(work.serials_of(id)?.into_iter().map(known).collect())
        }
    }
}

/// The one pass that is meant, or how it ends without.
fn one(work: &Work<'_>, serial: Option<&str>, name: &Name) -> rusqlite::Result<Result<Pass, End>> {
    let serial = match (serial, name) {
        (Some(serial), _) => serial.to_owned(),
        (None, Name::Serial(serial)) => serial.clone(),
        (None, Name::External(id)) => match &work.serials_of(id)?[..] {
            [] => return Ok(Err(End::Absent)),
            [serial] => serial.clone(),
            _ => return Ok(Err(End::Several)),
        },
    };
    Ok(work.pass(&serial)?.ok_or(End::Absent))
}

/// Only what really changed gets a new tag: a phone that is told of a pass that did not complains (contract 6.3).
fn keep(work: &Work<'_>, old: &Pass, new: &Pass, now: i64) -> rusqlite::Result<()> {
    if old.data == new.data { Ok(()) } else { work.change(new, now) }
}

fn set_all(data: &mut Json, set: &[(String, Json)]) -> Result<(), String> {
    for (name, value) in set {
        let slot = Slot::named(name, |key| field(data, key).is_some());
        // A pass that was brought in may have other fields than the template.
        let slot = slot.ok_or_else(|| format!("this pass has no field {name:?}"))?;
        slot.set(data, (!value.is_null()).then(|| value.clone()))?;
    }
    Ok(())
}

fn add_amount(data: &mut Json, name: &str, amount: &str) -> Result<(), String> {
    let amount: Decimal = amount.parse().map_err(|_| "the amount is no number".to_owned())?;
    let slot = Slot::Value(name.to_owned());
    let held = field(data, name).ok_or_else(|| format!("this pass has no field {name:?}"))?.get("value").and_then(decimal);
    let held = held.ok_or_else(|| format!("the field {name:?} of this pass holds no number"))?;
    let sum = held.checked_add(amount).ok_or("the sum has too many digits")?;
    if amount.is_sign_negative() && sum.is_sign_negative() && !sum.is_zero() {
        return Err(format!("the field {name:?} of this pass holds less than is to be taken off"));
    }
    let sum = exact(sum.normalize()).ok_or("the sum has more digits than a number of JSON keeps")?;
    slot.set(data, Some(sum))
}

fn redeem(data: &mut Json, now: i64) -> Result<(), String> {
    if data.get("voided") == Some(&Json::Bool(true)) {
        return Err("the pass is used up or void already".to_owned());
    }
    if is_over(data, now) {
        return Err("the pass has expired".to_owned());
    }
    Slot::Voided.set(data, Some(Json::Bool(true)))
}

/// Shows words in a field so that phones tell their holder (contract 8). False when the field says the same already.
fn tell(data: &mut Json, key: &str, words: &str, label: Option<&str>) -> Result<bool, String> {
    if field(data, key).is_none() {
        let style = layout(data)?;
        let back = data[style].as_object_mut().ok_or("the pass has no layout")?.entry("backFields").or_insert_with(|| json!([]));
        let mut new = Map::new();
        new.insert("key".to_owned(), key.into());
        new.extend(label.map(|label| ("label".to_owned(), label.into())));
        new.insert("value".to_owned(), "".into());
        back.as_array_mut().ok_or("the pass's backFields are no list")?.push(Json::Object(new));
    }
    let slot = Slot::Value(key.to_owned());
    let same = slot.get(data).and_then(Json::as_str) == Some(words);
    slot.set(data, Some(words.into()))?;
    if let Some(field) = field_mut(data, key) {
        field.entry("changeMessage").or_insert_with(|| "%@".into());
    }
    Ok(!same)
}

fn is_over(data: &Json, now: i64) -> bool {
    let until = data.get("expirationDate").and_then(Json::as_str);
    until.and_then(super::slot::instant_of).is_some_and(|until| until.timestamp_millis() <= now)
}

/// Seconds, in UTC.
fn instant(ms: i64) -> String {
    chrono::DateTime::from_timestamp_millis(ms).unwrap_or_default().format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// 128 bits that nobody can guess, in letters and digits (contract 2: at least 16 characters).
pub(super) fn random_word() -> String {
    crate::spool::hex(&rand::random::<[u8; 16]>())
}
