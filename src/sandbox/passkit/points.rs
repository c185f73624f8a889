//! Balances: set, earn and burn, and the events they leave (contract section 4.2, M6 to M8).

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::member::{Event, EventMember, Member};
use super::shape;
use super::state::{State, new_id, now};
use super::switches::Switches;
use crate::sandbox::answer::{Failure, Reply};
use crate::sandbox::effects::{BURN, BY_ANOTHER, EARN};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Set,
    Earn,
    Burn,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MemberPoints<'a> {
    id: &'a str,
    external_id: &'a str,
    program_id: &'a str,
    points: f32,
    secondary_points: f32,
    tier_points: u32,
}

#[derive(Clone, Copy)]
struct Balances {
    points: f32,
    secondary: f32,
    tier: u32,
}

/// Changes the balances of one member and answers those after the change.
pub(super) fn apply(
    state: &mut State,
    place: usize,
    body: &Map<String, Value>,
    change: Change,
    switches: Switches,
) -> Result<Reply, Failure> {
    let given = Balances {
        points: shape::float(body, "points"),
        secondary: shape::float(body, "secondaryPoints"),
        tier: shape::unsigned(body, "tierPoints"),
    };
    let Some(member) = state.at(place) else { return Err(Failure::new(404, "the member is gone")) };
    let after = match change {
        Change::Set => set(member, body, given)?,
        Change::Earn => moved(member, given, true)?,
        Change::Burn => moved(member, given, false)?,
    };
    if change == Change::Burn && !switches.overdraw && (after.points < 0.0 || after.secondary < 0.0) {
        return Err(Failure::invalid(format_args!("member with id[{}] does not have enough points", member.id)));
    }
    let event_type = match change {
        Change::Set => "SET_POINTS",
        Change::Earn => "EARN_POINTS",
        Change::Burn => "BURN_POINTS",
    };
    let event = event(member, event_type, body, given);
    state.change(place, |member| {
        member.points = after.points;
        member.secondary_points = after.secondary;
        member.tier_points = after.tier;
    });
    let route = match change {
        Change::Set => "/members/member/points/set",
        Change::Earn => EARN,
        Change::Burn => BURN,
    };
    keep(state, place, event, route, switches);
    let Some(member) = state.at(place) else { return Err(Failure::new(404, "the member is gone")) };
    if switches.no_balances {
        return Reply::json(&json!({"id": member.id, "externalId": member.external_id, "programId": member.program_id}));
    }
    Reply::json(&MemberPoints {
        id: &member.id,
        external_id: &member.external_id,
        program_id: &member.program_id,
        points: member.points,
        secondary_points: member.secondary_points,
        tier_points: member.tier_points,
    })
}

/// Counts an effect, and keeps its event unless a switch says otherwise.
pub(super) fn keep(state: &mut State, place: usize, mut event: Event, route: &'static str, switches: Switches) {
    state.effects.count(route, &event.member.external_id, &event.external_id, f64::from(event.points));
    if switches.no_event_ids {
        event.external_id.clear();
    }
    if !switches.no_events {
        state.add_event(place, event);
    }
}

/// Another writer, who names no event, gives points.
pub(super) fn given_by_another(state: &mut State, place: usize, points: u32, switches: Switches) {
    let Some(member) = state.at(place) else { return };
    let given = Balances { points: points as f32, secondary: 0.0, tier: 0 };
    let event = event(member, "EARN_POINTS", &Map::new(), given);
    state.change(place, |member| member.points += given.points);
    keep(state, place, event, BY_ANOTHER, switches);
}

/// Zero is a missing value on this wire: only a reset flag makes a balance zero.
fn set(member: &Member, body: &Map<String, Value>, given: Balances) -> Result<Balances, Failure> {
    let [points, secondary, tier] = ["resetPoints", "resetSecondaryPoints", "resetTierPoints"].map(|name| shape::flag(body, name));
    if !(points || secondary || tier) && given.points == 0.0 && given.secondary == 0.0 && given.tier == 0 {
        return Err(Failure::invalid("at least one of points, secondaryPoints, tierPoints or a reset flag is required"));
    }
    let float = |reset: bool, given: f32, old: f32| {
        if reset {
            0.0
        } else if given == 0.0 {
            old
        } else {
            given
        }
    };
    Ok(Balances {
        points: float(points, given.points, member.points),
        secondary: float(secondary, given.secondary, member.secondary_points),
        tier: if tier {
            0
        } else if given.tier == 0 {
            member.tier_points
        } else {
            given.tier
        },
    })
}

fn moved(member: &Member, given: Balances, up: bool) -> Result<Balances, Failure> {
    if given.points < 0.0 || given.secondary < 0.0 {
        return Err(Failure::invalid("points must not be negative"));
    }
    if given.points == 0.0 && given.secondary == 0.0 && given.tier == 0 {
        return Err(Failure::invalid("at least one of points, secondaryPoints or tierPoints is required"));
    }
    let sign = if up { 1.0 } else { -1.0 };
    let tier = if up { member.tier_points.checked_add(given.tier) } else { member.tier_points.checked_sub(given.tier) };
    Ok(Balances {
        points: member.points + sign * given.points,
        secondary: member.secondary_points + sign * given.secondary,
        tier: tier.ok_or_else(|| Failure::invalid(format_args!("member with id[{}] does not have enough tierPoints", member.id)))?,
    })
}

/// The event a change leaves; the caller's `externalEventId` is its external id.
fn event(member: &Member, event_type: &str, body: &Map<String, Value>, given: Balances) -> Event {
    let nothing = Map::new();
    let details = body.get("eventDetails").and_then(Value::as_object).unwrap_or(&nothing);
    Event {
        id: new_id(),
        external_id: shape::text(details, "externalEventId").to_owned(),
        event_type: event_type.to_owned(),
        member: EventMember {
            id: member.id.clone(),
            external_id: member.external_id.clone(),
            program_id: member.program_id.clone(),
            tier_id: member.tier_id.clone(),
        },
        points: given.points,
        secondary_points: given.secondary,
        tier_points: i64::from(given.tier),
        notes: shape::text(details, "notes").to_owned(),
        meta_data: details.get("metaData").and_then(Value::as_object).cloned().unwrap_or_default(),
        created: now(),
    }
}

/// The event of a change of tier.
pub(super) fn tier_event(member: &Member, body: &Map<String, Value>) -> Event {
    event(member, "UPDATE_TIER", body, Balances { points: 0.0, secondary: 0.0, tier: 0 })
}

/// Texts of an event are at most 255 characters (contract section 3.3).
pub(super) fn check_details(body: &Map<String, Value>) -> Result<(), Failure> {
    let Some(details) = body.get("eventDetails").and_then(Value::as_object) else { return Ok(()) };
    for name in ["address", "externalEventId", "externalDeviceId", "externalServiceId", "externalUserId"] {
        if shape::text(details, name).chars().count() > 255 {
            return Err(Failure::invalid(format_args!("eventDetails.{name} is longer than 255 characters")));
        }
    }
    Ok(())
}
