//! What an object can hold, by the paths that a mapping uses (contract 5).

use crate::config::meant::WalletClass;
use crate::platform::{FieldKind, FieldRule};

/// The operation that carries every field: one PATCH has them all.
pub(super) const FIELDS: &str = "fields";
/// The end of the validity, which `expire` may be given.
pub(super) const END: &str = "validTimeInterval.end.date";
/// Where a message goes; no field that a mapping writes.
pub(super) const MESSAGES: &str = "messages";
/// The same without an alert.
pub(super) const SILENT_MESSAGES: &str = "messages.TEXT";

/// What stands at the end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaf {
    Text,
    /// An address with a scheme.
    Uri,
    /// The address of an image, which Google fetches while it handles the request.
    Image,
    /// 32 bits.
    Integer,
    /// A binary float of 64 bits.
    Float,
    Flag,
    /// An instant, sent in UTC.
    Instant,
    /// An ISO 8601 time, local or with an offset, shown as it is written.
    When,
    /// An amount in units of its currency; travels as micros beside the currency.
    Money,
    Currency,
    Word(&'static [&'static str]),
    /// A text that is kept by language.
    Localized,
    Color,
    /// Identifiers of other objects, replaced as a whole.
    Ids,
    /// Places, replaced as a whole.
    Places,
}

#[derive(Debug)]
pub(super) struct Entry {
    classes: u8,
    /// `*` stands for the `id` of an element of an array.
    path: &'static str,
    pub leaf: Leaf,
}

const LOYALTY: u8 = 1;
const GIFT: u8 = 2;
const OFFER: u8 = 4;
const EVENT: u8 = 8;
const FLIGHT: u8 = 16;
const TRANSIT: u8 = 32;
const GENERIC: u8 = 64;
const ALL: u8 = 127;

const STATES: &[&str] = &["ACTIVE", "COMPLETED", "EXPIRED", "INACTIVE"];
const BARCODES: &[&str] =
    &["AZTEC", "CODE_39", "CODE_128", "CODABAR", "DATA_MATRIX", "EAN_8", "EAN_13", "ITF_14", "PDF_417", "QR_CODE", "UPC_A", "TEXT_ONLY"];
const GENERIC_TYPES: &[&str] = &[
    "GENERIC_SEASON_PASS",
    "GENERIC_UTILITY_BILLS",
    "GENERIC_PARKING_PASS",
    "GENERIC_VOUCHER",
    "GENERIC_GYM_MEMBERSHIP",
    "GENERIC_LIBRARY_MEMBERSHIP",
    "GENERIC_RESERVATIONS",
    "GENERIC_AUTO_INSURANCE",
    "GENERIC_HOME_INSURANCE",
    "GENERIC_ENTRY_TICKET",
    "GENERIC_RECEIPT",
    "GENERIC_LOYALTY_CARD",
    "GENERIC_BUSINESS_CARD",
    "GENERIC_BARCODE_PASS",
    "GENERIC_MEMBERSHIP_CARD",
    "GENERIC_STUDENT_CARD",
    "GENERIC_TRANSIT_PASS",
    "GENERIC_VEHICLE_REGISTRATION",
    "GENERIC_OTHER",
];

const fn entry(classes: u8, path: &'static str, leaf: Leaf) -> Entry {
    Entry { classes, path, leaf }
}

/// In the order in which they are offered to whoever writes an unknown name.
const ENTRIES: &[Entry] = &[
    entry(LOYALTY, "loyaltyPoints.balance.int", Leaf::Integer),
    entry(LOYALTY, "loyaltyPoints.balance.string", Leaf::Text),
    entry(LOYALTY, "loyaltyPoints.balance.double", Leaf::Float),
    entry(LOYALTY, "loyaltyPoints.balance.money", Leaf::Money),
    entry(LOYALTY, "loyaltyPoints.balance.money.currencyCode", Leaf::Currency),
    entry(LOYALTY, "loyaltyPoints.label", Leaf::Text),
    entry(LOYALTY, "loyaltyPoints.localizedLabel", Leaf::Localized),
    entry(LOYALTY, "secondaryLoyaltyPoints.balance.int", Leaf::Integer),
    entry(LOYALTY, "secondaryLoyaltyPoints.balance.string", Leaf::Text),
    entry(LOYALTY, "secondaryLoyaltyPoints.balance.double", Leaf::Float),
    entry(LOYALTY, "secondaryLoyaltyPoints.balance.money", Leaf::Money),
    entry(LOYALTY, "secondaryLoyaltyPoints.balance.money.currencyCode", Leaf::Currency),
    entry(LOYALTY, "secondaryLoyaltyPoints.label", Leaf::Text),
    entry(LOYALTY, "secondaryLoyaltyPoints.localizedLabel", Leaf::Localized),
    entry(LOYALTY, "accountId", Leaf::Text),
    entry(LOYALTY, "accountName", Leaf::Text),
    entry(GIFT, "balance", Leaf::Money),
    entry(GIFT, "balance.currencyCode", Leaf::Currency),
    entry(GIFT, "balanceUpdateTime.date", Leaf::Instant),
    entry(GIFT, "cardNumber", Leaf::Text),
    entry(GIFT, "pin", Leaf::Text),
    entry(GIFT, "eventNumber", Leaf::Text),
    entry(EVENT, "seatInfo.seat", Leaf::Localized),
    entry(EVENT, "seatInfo.row", Leaf::Localized),
    entry(EVENT, "seatInfo.section", Leaf::Localized),
    entry(EVENT, "seatInfo.gate", Leaf::Localized),
    entry(EVENT, "ticketHolderName", Leaf::Text),
    entry(EVENT | TRANSIT, "ticketNumber", Leaf::Text),
    entry(EVENT, "ticketType", Leaf::Localized),
    entry(EVENT | FLIGHT, "reservationInfo.confirmationCode", Leaf::Text),
    entry(EVENT, "faceValue", Leaf::Money),
    entry(EVENT, "faceValue.currencyCode", Leaf::Currency),
    entry(LOYALTY | EVENT, "linkedOfferIds", Leaf::Ids),
    entry(FLIGHT, "passengerName", Leaf::Text),
    entry(FLIGHT, "boardingAndSeatingInfo.seatNumber", Leaf::Text),
    entry(FLIGHT, "boardingAndSeatingInfo.boardingGroup", Leaf::Text),
    entry(FLIGHT, "boardingAndSeatingInfo.boardingPosition", Leaf::Text),
    entry(FLIGHT, "boardingAndSeatingInfo.seatClass", Leaf::Text),
    entry(FLIGHT, "boardingAndSeatingInfo.sequenceNumber", Leaf::Text),
    entry(FLIGHT, "boardingAndSeatingInfo.seatAssignment", Leaf::Localized),
    entry(FLIGHT, "boardingAndSeatingInfo.boardingDoor", Leaf::Word(&["FRONT", "BACK"])),
    entry(FLIGHT, "reservationInfo.eticketNumber", Leaf::Text),
    entry(FLIGHT, "reservationInfo.frequentFlyerInfo.frequentFlyerNumber", Leaf::Text),
    entry(FLIGHT, "reservationInfo.frequentFlyerInfo.frequentFlyerProgramName", Leaf::Localized),
    entry(FLIGHT, "securityProgramLogo.sourceUri.uri", Leaf::Image),
    entry(TRANSIT, "tripType", Leaf::Word(&["ROUND_TRIP", "ONE_WAY"])),
    entry(TRANSIT, "ticketStatus", Leaf::Word(&["USED", "REFUNDED", "EXCHANGED"])),
    entry(TRANSIT, "passengerNames", Leaf::Text),
    entry(TRANSIT, "passengerType", Leaf::Word(&["SINGLE_PASSENGER", "MULTIPLE_PASSENGERS"])),
    entry(TRANSIT, "concessionCategory", Leaf::Word(&["ADULT", "CHILD", "SENIOR"])),
    entry(TRANSIT, "tripId", Leaf::Text),
    entry(TRANSIT, "activationStatus.state", Leaf::Word(&["NOT_ACTIVATED", "ACTIVATED"])),
    entry(TRANSIT, "ticketLeg.originStationCode", Leaf::Text),
    entry(TRANSIT, "ticketLeg.originName", Leaf::Localized),
    entry(TRANSIT, "ticketLeg.destinationStationCode", Leaf::Text),
    entry(TRANSIT, "ticketLeg.destinationName", Leaf::Localized),
    entry(TRANSIT, "ticketLeg.departureDateTime", Leaf::When),
    entry(TRANSIT, "ticketLeg.arrivalDateTime", Leaf::When),
    entry(TRANSIT, "ticketLeg.carriage", Leaf::Text),
    entry(TRANSIT, "ticketLeg.platform", Leaf::Text),
    entry(TRANSIT, "ticketLeg.zone", Leaf::Text),
    entry(TRANSIT, "ticketLeg.fareName", Leaf::Localized),
    entry(TRANSIT, "ticketLeg.transitOperatorName", Leaf::Localized),
    entry(TRANSIT, "ticketLeg.transitTerminusName", Leaf::Localized),
    entry(TRANSIT, "ticketLeg.ticketSeat.seat", Leaf::Text),
    entry(TRANSIT, "ticketLeg.ticketSeat.coach", Leaf::Text),
    entry(TRANSIT, "ticketLeg.ticketSeat.fareClass", Leaf::Word(&["ECONOMY", "FIRST", "BUSINESS"])),
    entry(TRANSIT, "ticketLeg.ticketSeat.seatAssignment", Leaf::Localized),
    entry(TRANSIT, "purchaseDetails.confirmationCode", Leaf::Text),
    entry(TRANSIT, "purchaseDetails.purchaseReceiptNumber", Leaf::Text),
    entry(TRANSIT, "purchaseDetails.accountId", Leaf::Text),
    entry(TRANSIT, "purchaseDetails.purchaseDateTime", Leaf::When),
    entry(TRANSIT, "purchaseDetails.ticketCost.faceValue", Leaf::Money),
    entry(TRANSIT, "purchaseDetails.ticketCost.faceValue.currencyCode", Leaf::Currency),
    entry(TRANSIT, "purchaseDetails.ticketCost.purchasePrice", Leaf::Money),
    entry(TRANSIT, "purchaseDetails.ticketCost.purchasePrice.currencyCode", Leaf::Currency),
    entry(GENERIC, "cardTitle", Leaf::Localized),
    entry(GENERIC, "header", Leaf::Localized),
    entry(GENERIC, "subheader", Leaf::Localized),
    entry(GENERIC, "genericType", Leaf::Word(GENERIC_TYPES)),
    entry(GENERIC, "logo.sourceUri.uri", Leaf::Image),
    entry(GENERIC, "wideLogo.sourceUri.uri", Leaf::Image),
    entry(GENERIC, "notifications.expiryNotification.enableNotification", Leaf::Flag),
    entry(GENERIC, "notifications.upcomingNotification.enableNotification", Leaf::Flag),
    entry(EVENT | FLIGHT | TRANSIT | GENERIC, "hexBackgroundColor", Leaf::Color),
    entry(OFFER, "disableExpirationNotification", Leaf::Flag),
    entry(ALL, "state", Leaf::Word(STATES)),
    entry(ALL, END, Leaf::Instant),
    entry(ALL, "validTimeInterval.start.date", Leaf::Instant),
    entry(ALL, "barcode.value", Leaf::Text),
    entry(ALL, "barcode.type", Leaf::Word(BARCODES)),
    entry(ALL, "barcode.alternateText", Leaf::Text),
    entry(ALL, "barcode.renderEncoding", Leaf::Word(&["UTF_8"])),
    entry(ALL, "barcode.showCodeText", Leaf::Localized),
    entry(ALL, "textModulesData.*.header", Leaf::Text),
    entry(ALL, "textModulesData.*.body", Leaf::Text),
    entry(ALL, "textModulesData.*.localizedHeader", Leaf::Localized),
    entry(ALL, "textModulesData.*.localizedBody", Leaf::Localized),
    entry(ALL, "linksModuleData.uris.*.uri", Leaf::Uri),
    entry(ALL, "linksModuleData.uris.*.description", Leaf::Text),
    entry(ALL, "imageModulesData.*.mainImage.sourceUri.uri", Leaf::Image),
    entry(ALL, "heroImage.sourceUri.uri", Leaf::Image),
    entry(ALL, "groupingInfo.groupingId", Leaf::Text),
    entry(ALL, "groupingInfo.sortIndex", Leaf::Integer),
    entry(ALL, "smartTapRedemptionValue", Leaf::Text),
    entry(ALL, "appLinkData.displayText", Leaf::Localized),
    entry(ALL, "appLinkData.androidAppLinkInfo.appTarget.packageName", Leaf::Text),
    entry(ALL, "appLinkData.androidAppLinkInfo.appTarget.targetUri.uri", Leaf::Uri),
    entry(ALL, "appLinkData.webAppLinkInfo.appTarget.targetUri.uri", Leaf::Uri),
    entry(ALL, "passConstraints.screenshotEligibility", Leaf::Word(&["ELIGIBLE", "INELIGIBLE"])),
    entry(ALL, "saveRestrictions.restrictToEmailSha256", Leaf::Text),
    entry(ALL, "linkedObjectIds", Leaf::Ids),
    entry(ALL, "merchantLocations", Leaf::Places),
];

/// The arrays whose elements have an `id`, by which a mapping names them.
pub(super) const ARRAYS: [&str; 3] = ["textModulesData", "linksModuleData.uris", "imageModulesData"];

/// What a pass cannot be without, so that it is never taken away.
const KEPT: [&str; 7] = ["state", "cardNumber", "cardTitle", "header", "tripType", "passengerName", "barcode.type"];

/// Names that nobody writes, or that are said in another way.
const ELSEWHERE: [(&str, &str); 18] = [
    ("id", "name the pass with pass = { external_id = \"…\" } or { pass_id = \"…\" }"),
    ("classId", "the platform's `class_id` setting says it; Google does not tell whether an object can change its class"),
    ("classReference", "Google keeps it"),
    ("hasUsers", "Google keeps it"),
    ("hasLinkedDevice", "Google keeps it"),
    ("kind", "it is deprecated"),
    ("version", "it is deprecated"),
    ("locations", "it is deprecated; write merchantLocations"),
    ("notifyPreference", "the platform's `notify_on` setting names the fields whose change alerts the holder"),
    (MESSAGES, "a message is sent by [feed.NAME.notify] with field = \"messages\""),
    (SILENT_MESSAGES, "a message is sent by [feed.NAME.notify] with field = \"messages.TEXT\""),
    ("loyaltyPoints.balance", "say as what: loyaltyPoints.balance.int, .string, .double or .money"),
    ("secondaryLoyaltyPoints.balance", "say as what: secondaryLoyaltyPoints.balance.int, .string, .double or .money"),
    ("balance.micros", "write balance, in units of the currency: passferry reckons the micros"),
    ("rewardsTier", "the tier belongs to the class; show a member's own in a text module, textModulesData.tier.body"),
    ("validTimeInterval", "write validTimeInterval.end.date or validTimeInterval.start.date"),
    ("barcode", "name one part of it, such as barcode.value"),
    ("ticketLegs", "passes of one leg are written by ticketLeg; of several, Google replaces all legs at once"),
];

/// A field of an object.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub entry: &'static Entry,
    /// Of the array's element.
    id: Option<String>,
}

/// Where in an object a field stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place<'f> {
    Plain(&'static str),
    /// In the element `id` of an array; `rest` is the path inside the element.
    Element {
        array: &'static str,
        id: &'f str,
        rest: &'static str,
    },
}

impl Field {
    /// Looks a name up. The error says what to write instead.
    pub(super) fn parse(class: WalletClass, name: &str) -> Result<Field, String> {
        let of_class = || ENTRIES.iter().filter(|entry| entry.is_of(class));
        if let Some(entry) = of_class().find(|entry| entry.path == name) {
            if entry.path.contains('*') {
                return Err(format!("\"{name}\": write the id of the element in place of the *"));
            }
            return Ok(Field { entry, id: None });
        }
        for entry in of_class() {
            let Some((front, back)) = entry.path.split_once('*') else { continue };
            let Some(id) = name.strip_prefix(front).and_then(|rest| rest.strip_suffix(back)) else { continue };
            return if is_element_id(id) {
                Ok(Field { entry, id: Some(id.to_owned()) })
            } else {
                Err(format!("Google Wallet field \"{name}\": the id of an element is letters, digits, `_` and `-`"))
            };
        }
        if let Some((_, instead)) = ELSEWHERE.iter().find(|(known, _)| *known == name) {
            return Err(format!("Google Wallet field \"{name}\" cannot be written so: {instead}"));
        }
        Err(unknown(class, name))
    }

    pub(super) fn rule(&self, nulls: bool) -> FieldRule {
        let leaf = self.entry.leaf;
        let kind = match leaf {
            Leaf::Integer => FieldKind::Integer,
            Leaf::Float | Leaf::Money => FieldKind::Number,
            Leaf::Flag => FieldKind::Boolean,
            Leaf::Instant => FieldKind::Instant,
            _ => FieldKind::Text,
        };
        let number = matches!(leaf, Leaf::Integer | Leaf::Float | Leaf::Money);
        let balance = number && self.entry.path.split('.').any(|part| part == "balance");
        // What is in an array is left out of the next one; what is not must be said to be nothing.
        let removable = self.id.is_some() || nulls;
        let kept = KEPT.contains(&self.entry.path) || leaf == Leaf::Currency;
        FieldRule { kind, operation: FIELDS, clearable: removable && !kept, balance }
    }

    pub(super) fn place(&self) -> Place<'_> {
        match (&self.id, self.entry.path.split_once(".*.")) {
            (Some(id), Some((array, rest))) => Place::Element { array, id, rest },
            _ => Place::Plain(self.entry.path),
        }
    }

    /// Is it one of these fields, or under one of these fronts?
    pub(super) fn is_under(&self, fronts: &[String]) -> bool {
        let name = self.name();
        fronts.iter().any(|front| name == *front || name.strip_prefix(front.as_str()).is_some_and(|rest| rest.starts_with('.')))
    }

    pub(super) fn name(&self) -> String {
        self.id.as_ref().map_or_else(|| self.entry.path.to_owned(), |id| self.entry.path.replace('*', id))
    }
}

impl Entry {
    fn is_of(&self, class: WalletClass) -> bool {
        self.classes & bit(class) != 0
    }
}

fn bit(class: WalletClass) -> u8 {
    match class {
        WalletClass::Loyalty => LOYALTY,
        WalletClass::GiftCard => GIFT,
        WalletClass::Offer => OFFER,
        WalletClass::EventTicket => EVENT,
        WalletClass::Flight => FLIGHT,
        WalletClass::Transit => TRANSIT,
        WalletClass::Generic => GENERIC,
    }
}

/// Every field that a class has outside arrays.
pub(super) fn plain(class: WalletClass) -> impl Iterator<Item = Field> {
    ENTRIES.iter().filter(move |entry| entry.is_of(class) && !entry.path.contains('*')).map(|entry| Field { entry, id: None })
}

/// What an element of an array can hold, for one id.
pub(super) fn of_element(class: WalletClass, array: &str, id: &str) -> Vec<Field> {
    let inside = |entry: &&Entry| entry.is_of(class) && entry.path.strip_prefix(array).is_some_and(|rest| rest.starts_with(".*."));
    ENTRIES.iter().filter(inside).map(|entry| Field { entry, id: Some(id.to_owned()) }).collect()
}

/// Names one field or the front part of some. The error says what to write instead.
pub(crate) fn is_field_or_front(class: WalletClass, name: &str) -> Result<(), String> {
    let front = |entry: &&Entry| entry.is_of(class) && entry.path.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
    if !name.is_empty() && ENTRIES.iter().any(|entry| front(&entry)) {
        return Ok(());
    }
    Field::parse(class, name).map(drop)
}

/// The identifier of an element: Google allows no dot in it (contract 5), which ends it in a path.
pub(super) fn is_element_id(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

fn unknown(class: WalletClass, name: &str) -> String {
    let object = super::class::Names::of(class).object;
    if let Some(other) = ENTRIES.iter().find(|entry| entry.path == name) {
        let owners = [
            WalletClass::Loyalty,
            WalletClass::GiftCard,
            WalletClass::Offer,
            WalletClass::EventTicket,
            WalletClass::Flight,
            WalletClass::Transit,
            WalletClass::Generic,
        ];
        let owners = owners.into_iter().filter(|class| other.is_of(*class)).map(|class| super::class::Names::of(class).object);
        return format!("a {object} has no field \"{name}\"; it belongs to {}", owners.collect::<Vec<_>>().join(", "));
    }
    let lower = name.to_lowercase();
    let likeness = |entry: &'static Entry| (strsim::jaro_winkler(&entry.path.to_lowercase(), &lower), entry.path);
    let best = ENTRIES.iter().filter(|entry| entry.is_of(class)).map(likeness).max_by(|a, b| a.0.total_cmp(&b.0));
    let hint = match best {
        Some((likeness, known)) if likeness > 0.85 => format!("did you mean {known}?"),
        _ => "a text of your own is textModulesData.ID.body".to_owned(),
    };
    format!("a {object} has no field \"{name}\"; {hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_field_of_the_classes_that_have_it() {
        let place = |class, name: &str| Field::parse(class, name).map(|field| field.name());
        assert_eq!(place(WalletClass::Loyalty, "loyaltyPoints.balance.int").unwrap(), "loyaltyPoints.balance.int");
        assert_eq!(place(WalletClass::Generic, "textModulesData.tier-1.body").unwrap(), "textModulesData.tier-1.body");
        let field = Field::parse(WalletClass::Offer, "linksModuleData.uris.shop.uri").unwrap();
        assert_eq!(field.place(), Place::Element { array: "linksModuleData.uris", id: "shop", rest: "uri" });
        assert!(field.rule(false).clearable);
    }

    #[test]
    fn unknown_names_are_told_what_was_meant() {
        for (class, name, hint) in [
            (WalletClass::Loyalty, "loyaltyPoints.balance", "say as what"),
            (WalletClass::Loyalty, "loyaltypoints.balance.int", "did you mean loyaltyPoints.balance.int?"),
            (WalletClass::Offer, "loyaltyPoints.balance.int", "belongs to loyaltyObject"),
            (WalletClass::Loyalty, "textModulesData.a.b.body", "letters, digits"),
            (WalletClass::Loyalty, "textModulesData..body", "letters, digits"),
            (WalletClass::Loyalty, "textModulesData.*.body", "in place of the *"),
            (WalletClass::Loyalty, "zzz", "textModulesData.ID.body"),
            (WalletClass::Generic, "notifyPreference", "notify_on"),
            (WalletClass::GiftCard, "messages", "feed.NAME.notify"),
            (WalletClass::Offer, "classId", "class_id"),
        ] {
            let error = Field::parse(class, name).unwrap_err();
            assert!(error.contains(hint), "{name}: {error}");
        }
    }

    #[test]
    fn a_front_stands_for_the_fields_behind_it() {
        assert!(is_field_or_front(WalletClass::Loyalty, "loyaltyPoints").is_ok());
        assert!(is_field_or_front(WalletClass::Loyalty, "loyaltyPoints.balance").is_ok());
        assert!(is_field_or_front(WalletClass::Loyalty, "loyaltyPoint").is_err());
        assert!(is_field_or_front(WalletClass::Offer, "seatInfo").is_err());
        let points = Field::parse(WalletClass::Loyalty, "loyaltyPoints.balance.int").unwrap();
        assert!(points.is_under(&["loyaltyPoints.balance".to_owned()]));
        assert!(!points.is_under(&["loyaltyPoints.bal".to_owned()]));
    }

    #[test]
    fn only_numbers_of_a_balance_are_balances_and_what_a_pass_needs_is_never_taken_away() {
        let rule = |class, name: &str| Field::parse(class, name).unwrap().rule(true);
        assert!(rule(WalletClass::Loyalty, "loyaltyPoints.balance.int").balance);
        assert!(rule(WalletClass::GiftCard, "balance").balance);
        assert!(!rule(WalletClass::EventTicket, "faceValue").balance);
        assert!(!rule(WalletClass::Loyalty, "loyaltyPoints.balance.string").balance);
        assert!(!rule(WalletClass::Loyalty, "state").clearable);
        assert!(rule(WalletClass::Loyalty, "accountName").clearable);
        assert!(!Field::parse(WalletClass::Loyalty, "accountName").unwrap().rule(false).clearable);
    }
}
