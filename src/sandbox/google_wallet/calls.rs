//! Which call a method and path name (contract section 4).

use crate::sandbox::stand_in::{Request, percent_decoded};

/// One of the seven kinds of pass.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Vertical {
    pub object: &'static str,
    pub class: &'static str,
    /// Messages of `messages.txt`.
    pub object_message: &'static str,
    pub class_message: &'static str,
    /// What an insert needs besides `id` and `classId`.
    pub required: &'static [&'static str],
    pub class_required: &'static [&'static str],
}

pub(super) const VERTICALS: &[Vertical] = &[
    Vertical {
        object: "loyaltyObject",
        class: "loyaltyClass",
        object_message: "LoyaltyObject",
        class_message: "LoyaltyClass",
        required: &["state"],
        class_required: &["issuerName", "programName", "programLogo", "reviewStatus"],
    },
    Vertical {
        object: "giftCardObject",
        class: "giftCardClass",
        object_message: "GiftCardObject",
        class_message: "GiftCardClass",
        required: &["state", "cardNumber"],
        class_required: &["issuerName", "reviewStatus"],
    },
    Vertical {
        object: "offerObject",
        class: "offerClass",
        object_message: "OfferObject",
        class_message: "OfferClass",
        required: &["state"],
        class_required: &["issuerName", "provider", "title", "redemptionChannel", "reviewStatus"],
    },
    Vertical {
        object: "eventTicketObject",
        class: "eventTicketClass",
        object_message: "EventTicketObject",
        class_message: "EventTicketClass",
        required: &["state"],
        class_required: &["issuerName", "eventName", "reviewStatus"],
    },
    Vertical {
        object: "genericObject",
        class: "genericClass",
        object_message: "GenericObject",
        class_message: "GenericClass",
        required: &["cardTitle", "header"],
        class_required: &[],
    },
    Vertical {
        object: "transitObject",
        class: "transitClass",
        object_message: "TransitObject",
        class_message: "TransitClass",
        required: &["state", "tripType"],
        class_required: &[],
    },
    Vertical {
        object: "flightObject",
        class: "flightClass",
        object_message: "FlightObject",
        class_message: "FlightClass",
        required: &["state", "passengerName", "reservationInfo"],
        class_required: &[],
    },
];

impl Vertical {
    /// By the name of its objects or of its classes, and whether it was that of its classes.
    pub fn of(resource: &str) -> Option<(&'static Vertical, bool)> {
        let vertical = VERTICALS.iter().find(|vertical| vertical.object == resource || vertical.class == resource)?;
        Some((vertical, vertical.class == resource))
    }
}

pub(super) const INSERT: &str = "POST /walletobjects/v1/{resource}";
pub(super) const UPDATE: &str = "PUT /walletobjects/v1/{resource}/{id}";
pub(super) const PATCH: &str = "PATCH /walletobjects/v1/{resource}/{id}";
pub(in crate::sandbox) const ADD_MESSAGE: &str = "/walletobjects/v1/{resource}/{id}/addMessage";

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Call {
    Token,
    Batch,
    /// On objects, or on classes where the flag is set.
    On(&'static Vertical, bool, Act),
    Unknown,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Act {
    Get(String),
    Insert,
    Update(String),
    Patch(String),
    List,
    AddMessage(String),
    LinkOffers(String),
}

impl Act {
    pub fn id(&self) -> Option<&str> {
        match self {
            Act::Get(id) | Act::Update(id) | Act::Patch(id) | Act::AddMessage(id) | Act::LinkOffers(id) => Some(id),
            Act::Insert | Act::List => None,
        }
    }
}

impl Call {
    pub fn of(request: &Request) -> (Call, &'static str) {
        let path = request.path.split(['?', '#']).next().unwrap_or_default();
        // Google's own samples end a resource's path with a slash.
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let overriding = request.header("x-http-method-override").filter(|_| request.method == "POST");
        let method = overriding.unwrap_or(&request.method);
        let known = match (method, &parts[..]) {
            ("POST", ["token"]) => Some((Call::Token, "/token")),
            ("POST", ["batch"]) => Some((Call::Batch, "/batch")),
            (_, ["walletobjects", "v1", resource, rest @ ..]) => Call::on(method, resource, rest),
            _ => None,
        };
        known.unwrap_or((Call::Unknown, "other"))
    }

    fn on(method: &str, resource: &str, rest: &[&str]) -> Option<(Call, &'static str)> {
        let (vertical, class) = Vertical::of(resource)?;
        let (act, route) = match (method, rest) {
            ("GET", []) => (Act::List, "/walletobjects/v1/{resource}"),
            ("POST", []) => (Act::Insert, "/walletobjects/v1/{resource}"),
            ("GET", [id]) => (Act::Get(percent_decoded(id)?), "/walletobjects/v1/{resource}/{id}"),
            ("PUT", [id]) => (Act::Update(percent_decoded(id)?), "/walletobjects/v1/{resource}/{id}"),
            ("PATCH", [id]) => (Act::Patch(percent_decoded(id)?), "/walletobjects/v1/{resource}/{id}"),
            ("POST", [id, "addMessage"]) => (Act::AddMessage(percent_decoded(id)?), ADD_MESSAGE),
            ("POST", [id, "modifyLinkedOfferObjects"]) if matches!(vertical.object, "loyaltyObject" | "eventTicketObject") && !class => {
                (Act::LinkOffers(percent_decoded(id)?), "/walletobjects/v1/{resource}/{id}/modifyLinkedOfferObjects")
            }
            _ => return None,
        };
        Some((Call::On(vertical, class, act), route))
    }
}
