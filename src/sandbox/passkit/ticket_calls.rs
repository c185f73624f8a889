//! Which call on tickets a method and path name (contract section 6).

use serde_json::Value;

use super::documents::field;
use crate::sandbox::effects::{REDEEM_TICKET, VALIDATE_TICKET};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Issue,
    IssueByOwnIds,
    Update,
    Validate,
    Redeem,
    RedeemOrder,
    ById(String),
    ByNumber { production: String, number: String },
    ByOrder { production: String, order: String },
    Delete,
    DeleteOrder,
    List,
    Count,
    Person,
}

impl Call {
    /// Names the call below `/eventTickets`, the methods its path takes, and the route.
    pub fn of(method: &str, parts: &[&str], query: &str) -> Option<(&'static [&'static str], Call, &'static str)> {
        let asked = |names: &[&str]| {
            let mut pairs = url::form_urlencoded::parse(query.as_bytes());
            pairs.find_map(|(name, value)| names.contains(&&*name).then(|| value.into_owned())).unwrap_or_default()
        };
        let production = || asked(&["productionId", "productionUid"]);
        Some(match *parts {
            ["ticket"] => {
                let call = match method {
                    "POST" => Call::Issue,
                    "PUT" => Call::Update,
                    _ => Call::Delete,
                };
                (&["POST", "PUT", "DELETE"], call, "/eventTickets/ticket")
            }
            ["ticket", "id"] => (&["POST"], Call::IssueByOwnIds, "/eventTickets/ticket/id"),
            ["ticket", "id", id] => (&["GET"], Call::ById(id.to_owned()), "/eventTickets/ticket/id/{id}"),
            ["ticket", "validate"] => (&["PUT"], Call::Validate, VALIDATE_TICKET),
            ["ticket", "redeem"] => (&["PUT"], Call::Redeem, REDEEM_TICKET),
            ["ticket", "person"] => (&["PATCH"], Call::Person, "/eventTickets/ticket/person"),
            ["ticket", "ticketNumber"] => {
                let call = Call::ByNumber { production: production(), number: asked(&["ticketNumber"]) };
                (&["GET"], call, "/eventTickets/ticket/ticketNumber")
            }
            ["tickets", "orderNumber"] => {
                let call = Call::ByOrder { production: production(), order: asked(&["orderNumber"]) };
                (&["GET"], call, "/eventTickets/tickets/orderNumber")
            }
            ["tickets", "orderNumber", "redeem"] => (&["PUT"], Call::RedeemOrder, "/eventTickets/tickets/orderNumber/redeem"),
            ["orderNumber"] => (&["DELETE"], Call::DeleteOrder, "/eventTickets/orderNumber"),
            ["tickets", "list"] => (&["POST"], Call::List, "/eventTickets/tickets/list"),
            ["tickets", "count"] => (&["POST"], Call::Count, "/eventTickets/tickets/count"),
            _ => return None,
        })
    }

    /// Id and number of the ticket concerned, as the request names it.
    pub fn names(&self, body: Option<&Value>) -> (String, String) {
        let nothing = Value::Null;
        let body = body.unwrap_or(&nothing);
        let key = match self {
            Call::ById(id) => return (id.clone(), String::new()),
            Call::ByNumber { number, .. } => return (String::new(), number.clone()),
            Call::Issue | Call::IssueByOwnIds | Call::Update => {
                return (field(body, "id").to_owned(), field(body, "ticketNumber").to_owned());
            }
            Call::Validate | Call::Redeem => &body["ticket"],
            Call::Delete | Call::Person => body,
            Call::ByOrder { .. } | Call::RedeemOrder | Call::DeleteOrder | Call::List | Call::Count => &nothing,
        };
        let id = key["ticketId"].as_str().or_else(|| key["ticketId"]["id"].as_str()).unwrap_or("");
        (id.to_owned(), field(&key["ticketNumber"], "ticketNumber").to_owned())
    }

    pub fn shows_one(&self) -> bool {
        matches!(self, Call::ById(_) | Call::ByNumber { .. })
    }
}
