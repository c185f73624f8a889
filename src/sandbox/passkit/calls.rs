//! Which call of the platform a method and path name (contract sections 4.2, 5 and 6).

use super::{coupons, ticket_calls};
use crate::sandbox::stand_in::percent_decoded;

pub(super) const PROFILE: &str = "/user/profile";
pub(super) const LOGIN: &str = "/login";

/// A call, with the ids its path carries, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Profile,
    Login,
    Coupon(coupons::Call),
    Ticket(ticket_calls::Call),
    Program(String),
    Enrol,
    Update,
    Delete,
    ById(String),
    ByExternalId {
        program: String,
        external_id: String,
    },
    SetPoints,
    Earn,
    Burn,
    Tier,
    Expiry,
    Person,
    Segment,
    List(String),
    Count(String),
    Events(String),
    ProgramEvents(String),
    MetaKeys(String),
    /// The path exists for another method: gRPC Unimplemented.
    WrongMethod,
    Unknown,
}

impl Call {
    /// Names the call and the route it came by.
    pub fn of(method: &str, path: &str) -> (Call, &'static str) {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let parts: Option<Vec<String>> = path.trim_start_matches('/').split('/').map(percent_decoded).collect();
        let Some(parts) = parts else { return (Call::Unknown, "other") };
        // The gateway matches on the decoded path, so that an encoded slash divides an id in two.
        if parts.iter().any(|part| part.contains('/') || part.is_empty()) {
            return (Call::Unknown, "other");
        }
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let (wanted, call, route): (&[&str], Call, &'static str) = match parts[..] {
            ["coupon", "singleUse", ref rest @ ..] => match coupons::Call::of(method, rest) {
                Some((wanted, call, route)) => (wanted, Call::Coupon(call), route),
                None => return (Call::Unknown, "other"),
            },
            ["eventTickets", ref rest @ ..] => match ticket_calls::Call::of(method, rest, query) {
                Some((wanted, call, route)) => (wanted, Call::Ticket(call), route),
                None => return (Call::Unknown, "other"),
            },
            ["login"] => (&["POST"], Call::Login, LOGIN),
            ["user", "profile"] => (&["GET"], Call::Profile, PROFILE),
            ["members", "program", id] => (&["GET"], Call::Program(id.to_owned()), "/members/program/{id}"),
            ["members", "member"] => {
                let call = match method {
                    "POST" => Call::Enrol,
                    "PUT" => Call::Update,
                    _ => Call::Delete,
                };
                (&["POST", "PUT", "DELETE"], call, "/members/member")
            }
            ["members", "member", "id", id] => (&["GET"], Call::ById(id.to_owned()), "/members/member/id/{id}"),
            ["members", "member", "externalId", program, external_id] => (
                &["GET"],
                Call::ByExternalId { program: program.to_owned(), external_id: external_id.to_owned() },
                "/members/member/externalId/{programId}/{externalId}",
            ),
            ["members", "member", "points", "set"] => (&["PUT"], Call::SetPoints, "/members/member/points/set"),
            ["members", "member", "points", "earn"] => (&["PUT"], Call::Earn, "/members/member/points/earn"),
            ["members", "member", "points", "burn"] => (&["PUT"], Call::Burn, "/members/member/points/burn"),
            ["members", "member", "tier"] => (&["PUT"], Call::Tier, "/members/member/tier"),
            ["members", "member", "updateExpiry"] => (&["PUT"], Call::Expiry, "/members/member/updateExpiry"),
            ["members", "member", "person"] => (&["PATCH"], Call::Person, "/members/member/person"),
            ["members", "member", "segment"] => (&["PUT"], Call::Segment, "/members/member/segment"),
            ["members", "member", "list", program] => (&["POST"], Call::List(program.to_owned()), "/members/member/list/{programId}"),
            ["members", "count", program] => (&["POST"], Call::Count(program.to_owned()), "/members/count/{programId}"),
            ["members", "member", "list", "events", id] => (&["POST"], Call::Events(id.to_owned()), "/members/member/list/events/{id}"),
            ["members", "program", "list", "events", program] => {
                (&["POST"], Call::ProgramEvents(program.to_owned()), "/members/program/list/events/{programId}")
            }
            ["members", "member", "meta", program] => (&["GET"], Call::MetaKeys(program.to_owned()), "/members/member/meta/{programId}"),
            _ => return (Call::Unknown, "other"),
        };
        if wanted.contains(&method) { (call, route) } else { (Call::WrongMethod, route) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_external_id_is_percent_decoded() {
        let (call, _) = Call::of("GET", "/members/member/externalId/p/CUST%200%C3%A9");
        assert_eq!(call, Call::ByExternalId { program: "p".to_owned(), external_id: "CUST 0é".to_owned() });
    }

    #[test]
    fn an_encoded_slash_matches_no_route() {
        assert_eq!(Call::of("GET", "/members/member/externalId/p/a%2Fb").0, Call::Unknown);
        assert_eq!(Call::of("GET", "/members/member/id/a%zz").0, Call::Unknown);
    }

    #[test]
    fn another_method_of_a_known_path_is_told_apart() {
        assert_eq!(Call::of("POST", "/members/member/points/set").0, Call::WrongMethod);
        assert_eq!(Call::of("PATCH", "/members/member").0, Call::WrongMethod);
        assert_eq!(Call::of("DELETE", "/members/member").0, Call::Delete);
    }
}
