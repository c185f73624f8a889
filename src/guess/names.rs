//! What a column's label says of it.

/// What a column is for, as far as its label tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Names a member, a card, an order; the larger the number, the more likely the pass's own identifier.
    Identifier(u8),
    Email,
    Phone,
    /// Something of a person.
    Person,
    Balance,
    Tier,
    Expiry,
    /// A yes or no.
    Flag,
    /// Permission to write to somebody.
    Consent,
    /// When the row's state was true.
    Stamp,
    /// A moment or a day of another kind.
    Time,
    Message,
    /// Made by the warehouse for itself.
    Technical,
}

impl Role {
    /// Are values a person's own?
    pub fn is_personal(self) -> bool {
        matches!(self, Role::Email | Role::Phone | Role::Person)
    }
}

/// Identifiers of members, as exporters call them.
const MEMBERS: [&str; 22] = [
    "externalid",
    "memberid",
    "memberno",
    "membernumber",
    "customerid",
    "customernumber",
    "customerno",
    "subscriberkey",
    "contactkey",
    "loyaltyid",
    "loyaltynumber",
    "cardnumber",
    "cardno",
    "crmid",
    "externalreferenceid",
    "kundennr",
    "kundennummer",
    "numeroclient",
    "referenceid",
    "passid",
    "serialnumber",
    "userid",
];

/// The label without what exporters write differently: case, blanks, points, underscores, accents.
fn plain(label: &str) -> String {
    let folded = label.chars().map(|letter| match letter.to_lowercase().next().unwrap_or(letter) {
        'ä' | 'à' | 'á' | 'â' => 'a',
        'é' | 'è' | 'ê' | 'ë' => 'e',
        'ï' | 'î' | 'í' => 'i',
        'ö' | 'ô' | 'ó' => 'o',
        'ü' | 'ù' | 'û' | 'ú' => 'u',
        'ç' => 'c',
        other => other,
    });
    folded.filter(|letter| letter.is_alphanumeric()).collect()
}

/// The label's words, lower case: at signs other than letters and digits, and where a small letter is followed by a capital one.
fn words(label: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut small = false;
    for letter in label.chars() {
        if !letter.is_alphanumeric() || (small && letter.is_uppercase()) {
            words.push(String::new());
        }
        small = letter.is_lowercase() || letter.is_ascii_digit();
        if letter.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(letter.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

pub(super) fn role(label: &str) -> Option<Role> {
    let plain = plain(label);
    let words = words(label);
    let is = |names: &[&str]| names.contains(&plain.as_str());
    let has = |names: &[&str]| words.iter().any(|word| names.contains(&word.as_str()));
    let ends = |names: &[&str]| words.last().is_some_and(|word| names.contains(&word.as_str()));
    if label.starts_with('_') || is(&["rownum", "rownumber", "loadedat", "batchid"]) {
        return Some(Role::Technical);
    }
    if MEMBERS.contains(&plain.as_str()) {
        return Some(Role::Identifier(4));
    }
    if has(&["consent", "optin", "opt", "marketing", "accepts", "subscribed", "gdpr"]) && !has(&["date", "at", "text", "message"]) {
        return Some(Role::Consent);
    }
    if has(&["email", "mail"]) {
        return Some(if has(&["status", "subscription"]) { Role::Consent } else { Role::Email });
    }
    if has(&["phone", "mobile", "telephone", "tel"]) {
        return Some(Role::Phone);
    }
    if is(&["updatedat", "lastmodified", "modifiedat", "lastupdate", "lastupdated", "updated", "updatetimestamp"]) {
        return Some(Role::Stamp);
    }
    if has(&["expiry", "expires", "expiration", "expire"]) || is(&["gultigbis", "validuntil", "validto"]) {
        return Some(Role::Expiry);
    }
    if is(&[
        "firstname",
        "lastname",
        "name",
        "fullname",
        "surname",
        "givenname",
        "vorname",
        "nachname",
        "nickname",
        "birthday",
        "birthdate",
    ]) || has(&[
        "street",
        "address",
        "zip",
        "postal",
        "postcode",
        "city",
        "birthday",
        "birthdate",
        "note",
        "notes",
        "memo",
        "lastname",
        "firstname",
    ]) || (has(&["name"]) && has(&["first", "last", "person", "billing", "shipping", "full"]))
    {
        return Some(Role::Person);
    }
    if has(&["points", "balance", "stamps", "punkte", "credit", "solde", "puntos"]) {
        return Some(Role::Balance);
    }
    if has(&["tier", "level", "tierid"]) {
        return Some(Role::Tier);
    }
    if has(&["is", "has", "vip", "active", "enabled", "flag", "exempt", "allowed"]) {
        return Some(Role::Flag);
    }
    if has(&["message", "text", "offer", "campaign"]) && !ends(&["id", "code"]) {
        return Some(Role::Message);
    }
    if ends(&["id", "key", "uuid", "guid"]) || is(&["id"]) || words.iter().any(|word| word.ends_with("id") && word.len() > 4) {
        return Some(Role::Identifier(if is(&["id"]) { 3 } else { 2 }));
    }
    if ends(&["number", "no", "nr", "code", "sku", "ean", "barcode", "iban"]) {
        return Some(Role::Identifier(2));
    }
    if ends(&["date", "time", "at", "on", "since", "visit", "purchase", "timestamp", "added", "created"]) {
        return Some(Role::Time);
    }
    None
}

/// A name for the field: the label as it is, where schemas and configurations can hold it; otherwise the column's place. `taken` are the
/// names of columns before it.
pub(super) fn field_name(label: &str, index: usize, taken: &[&str]) -> String {
    let trimmed = label.trim();
    let name = if trimmed.is_empty() { format!("column_{}", index + 1) } else { trimmed.to_owned() };
    let is_taken = |name: &str| taken.iter().any(|taken| taken.eq_ignore_ascii_case(name));
    if !is_taken(&name) {
        return name;
    }
    // Of one more than there are, one is free.
    (2..=taken.len() + 2).map(|n| format!("{name}.{n}")).find(|other| !is_taken(other)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_exporters_say_what_their_columns_are() {
        let known = [
            ("MEMBER_ID", Role::Identifier(4)),
            ("customerNumber", Role::Identifier(4)),
            ("Customer ID", Role::Identifier(4)),
            ("SubscriberKey", Role::Identifier(4)),
            ("Klaviyo ID", Role::Identifier(2)),
            ("Email Address", Role::Email),
            ("Phone Number", Role::Phone),
            ("billingPerson.name", Role::Person),
            ("Loyalty Points", Role::Balance),
            ("points_balance", Role::Balance),
            ("EXPIRES_ON", Role::Expiry),
            ("Gültig bis", Role::Expiry),
            ("IsVip", Role::Flag),
            ("acceptMarketing", Role::Consent),
            ("updated_at", Role::Stamp),
            ("_batch_id", Role::Technical),
            ("LastPurchase", Role::Time),
        ];
        for (label, role) in known {
            assert_eq!(super::role(label), Some(role), "{label}");
        }
        assert_eq!(role("colour"), None);
    }

    #[test]
    fn names_are_never_taken_twice() {
        assert_eq!(field_name("Email", 1, &["email"]), "Email.2");
        assert_eq!(field_name("", 2, &[]), "column_3");
    }
}
