//! The kinds of objects (contract 4).

use crate::config::meant::WalletClass;

/// How a kind is called in addresses, and what Google needs to issue one.
pub(super) struct Names {
    pub object: &'static str,
    pub class: &'static str,
    /// Fields that an insert must have beside `id`, `classId` and `state`, by the names that a mapping uses.
    pub required: &'static [&'static str],
}

impl Names {
    pub(super) const fn of(class: WalletClass) -> Names {
        match class {
            WalletClass::Loyalty => Names { object: "loyaltyObject", class: "loyaltyClass", required: &[] },
            WalletClass::GiftCard => Names { object: "giftCardObject", class: "giftCardClass", required: &["cardNumber"] },
            WalletClass::Offer => Names { object: "offerObject", class: "offerClass", required: &[] },
            WalletClass::EventTicket => Names { object: "eventTicketObject", class: "eventTicketClass", required: &[] },
            WalletClass::Flight => {
                Names { object: "flightObject", class: "flightClass", required: &["passengerName", "reservationInfo.confirmationCode"] }
            }
            WalletClass::Transit => Names { object: "transitObject", class: "transitClass", required: &["tripType"] },
            WalletClass::Generic => Names { object: "genericObject", class: "genericClass", required: &["cardTitle", "header"] },
        }
    }
}
