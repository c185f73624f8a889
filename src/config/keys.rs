//! Keys of sources and platforms: which kind has which, and which of their values may be shown in the words of a fault.

use super::written::PlatformKind;

/// The keys that one kind of platform has beside those of all.
pub(super) struct Own {
    pub kind: PlatformKind,
    pub name: &'static str,
    /// Of plain values that are no secrets.
    shown: &'static [&'static str],
    /// Of secrets, and of tables, in whose place something may stand that is one.
    hidden: &'static [&'static str],
}

impl Own {
    pub(super) fn has(&self, key: &str) -> bool {
        self.shown.contains(&key) || self.hidden.contains(&key)
    }
}

/// The keys of every kind of platform.
pub(super) const COMMON: [&str; 9] =
    ["kind", "environment", "allowance", "in_flight", "timeout", "tries", "settling", "ca_file", "base_url"];

pub(super) const OWN: [Own; 6] = [
    Own {
        kind: PlatformKind::Passkit,
        name: "passkit",
        shown: &[
            "region",
            "bearer",
            "token_ends",
            "program",
            "tier",
            "campaign",
            "offer",
            "production",
            "event",
            "ticket_type",
            "validations",
            "read_back",
            "sole_writer",
            "index_from",
        ],
        hidden: &["key", "secret", "token"],
    },
    Own {
        kind: PlatformKind::Http,
        name: "http",
        shown: &["account", "id_max"],
        hidden: &[
            "auth", "headers", "fields", "find", "update", "create", "expire", "void", "earn", "burn", "redeem", "notify", "batch",
            "answers", "probe",
        ],
    },
    Own {
        kind: PlatformKind::Airship,
        name: "airship",
        shown: &["region", "template", "id_max"],
        hidden: &["auth", "headers", "fields", "find", "update", "create", "notify", "answers", "probe"],
    },
    Own {
        kind: PlatformKind::GoogleWallet,
        name: "google_wallet",
        shown: &[
            "read_back",
            "issuer",
            "class",
            "class_id",
            "token_url",
            "object_ids",
            "id_prefix",
            "id_max",
            "language",
            "currency",
            "batch_size",
            "nulls",
            "notify_on",
            "notify_max",
            "over_quota",
            "message_header",
            "messages_full",
            "void_state",
            "slow_reasons",
        ],
        hidden: &["key"],
    },
    Own {
        kind: PlatformKind::TheWalletCrew,
        name: "thewalletcrew",
        shown: &[
            "tenant",
            "identifier",
            "pass_type",
            "type_in_updates",
            "look_first",
            "merge",
            "clear",
            "values",
            "confirm",
            "create_again",
            "page_size",
        ],
        hidden: &["key"],
    },
    Own {
        kind: PlatformKind::AppleWallet,
        name: "apple_wallet",
        shown: &[
            "pass_type",
            "team",
            "template",
            "intermediate",
            "check_subject",
            "public_url",
            "listen",
            "serials",
            "message_header",
            "push_key_id",
            "push_type",
            "push_priority",
            "push_body",
            "push_every",
            "push_retry",
        ],
        // A certificate may be a .p12, with the key in it.
        hidden: &["certificate", "key", "passphrase", "push_key"],
    },
];

const OF_SOURCES: &[&str] = &[
    "kind",
    "path",
    "poll",
    "schedule",
    "timezone",
    "host",
    "port",
    "user",
    "agent",
    "host_key",
    "known_hosts",
    "connect_timeout",
    "login_timeout",
    "idle_timeout",
    "keepalive",
    "reconnect_min",
    "buffer",
];

const OF_ALERTS: &[&str] = &[
    "tell",
    "unreachable_after",
    "rejected_above",
    "remind",
    "per_hour",
    "give_up_after",
    "digest",
    "page",
    "prefix",
    "tls",
    "from",
    "to",
];

/// Inside the tables that describe a platform. Headers and bodies may hold anything, and are not shown.
const OF_DESCRIPTIONS: &[&str] = &[
    "client_id",
    "scope",
    "credentials",
    "header",
    "name",
    "request",
    "by_pass_id",
    "places",
    "pass",
    "pass_id",
    "external_id",
    "answer",
    "whole",
    "creates",
    "requires",
    "negative",
    "key_lifetime",
    "list",
    "absent",
    "at",
    "is",
    "length_max",
    "items_max",
    "least",
    "most",
    "decimals",
    "format",
    "cleared",
    "balance",
    "alert",
    "size",
    "items",
    "item_id",
    "results",
    "result_id",
    "status",
    "applied",
    "refused",
    "too_large",
    "not_found",
    "gone",
    "conflict",
    "retry",
    "slow_down",
    "message",
    "next",
    "parameter",
];

/// May the value of this key of a source, platform or alert be shown?
pub(super) fn harmless(key: &str) -> bool {
    OF_SOURCES.contains(&key)
        || OF_ALERTS.contains(&key)
        || COMMON.contains(&key)
        || OF_DESCRIPTIONS.contains(&key)
        || OWN.iter().any(|own| own.shown.contains(&key))
}
