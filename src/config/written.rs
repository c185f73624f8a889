//! The configuration as written: the keys of the file and the shapes of their values. What they mean is checked apart, all at once.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A TOML table, and nothing else: serde's own structs would take an array for one.
#[derive(Clone, Debug, Default)]
pub struct Table<T>(pub T);

impl<T> Deref for Table<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// A text, or a table that says more.
#[derive(Clone, Debug)]
pub enum TextOr<T> {
    Text(String),
    Table(T),
}

struct TableVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for TableVisitor<T> {
    type Value = Table<T>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a table { … }")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Table<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Table)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Table<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Table<T>, D::Error> {
        from.deserialize_map(TableVisitor(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Table<T> {
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

struct TextOrVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for TextOrVisitor<T> {
    type Value = TextOr<T>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a string or a table { … }")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<TextOr<T>, E> {
        Ok(TextOr::Text(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TextOr<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(TextOr::Table)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for TextOr<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<TextOr<T>, D::Error> {
        from.deserialize_any(TextOrVisitor(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for TextOr<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}Choice", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [{ "type": "string" }, table] })
    }
}

/// Values written as a text of a certain form, or as something else that is short.
macro_rules! leaf {
    ($(#[doc = $doc:literal])+ $name:ident, $expected:literal, $schema:tt $(, $method:ident($type:ty) $make:expr)*) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name(pub String);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<$name, D::Error> {
                struct Leaf;
                impl<'de> Visitor<'de> for Leaf {
                    type Value = $name;
                    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                        out.write_str($expected)
                    }
                    fn visit_str<E: Error>(self, text: &str) -> Result<$name, E> {
                        Ok($name(text.to_owned()))
                    }
                    $(fn $method<E: Error>(self, value: $type) -> Result<$name, E> {
                        let make: fn($type) -> Option<String> = $make;
                        make(value).map($name).ok_or_else(|| E::custom(concat!("write ", $expected)))
                    })*
                }
                from.deserialize_any(Leaf)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }

            fn inline_schema() -> bool {
                true
            }
        }
    };
}

leaf!(
    /// A number and a unit: `30s`, `1m`, `30d`.
    Span, "a duration such as \"30s\" or \"5m\"", { "type": "string", "examples": ["30s", "5m"] }
);
leaf!(
    /// A percentage; `false` (kept here as an empty text) switches its guard off.
    Share, "a percentage such as \"5%\", or false to switch the guard off",
    { "anyOf": [{ "type": "string", "pattern": "^[0-9.]+ ?%$" }, { "const": false }] },
    visit_bool(bool) |on| (!on).then(String::new)
);
leaf!(
    /// Two percentages; `false` (kept here as an empty text) switches the guard off.
    Rows, "a range such as \"50%..200%\", or false to switch the guard off",
    { "anyOf": [{ "type": "string", "pattern": "^[0-9.]+ ?%\\.\\.[0-9.]+ ?%$" }, { "const": false }] },
    visit_bool(bool) |on| (!on).then(String::new)
);
leaf!(
    /// Requests per time.
    Allowance, "an allowance such as \"20/s\" or \"600/m\"", { "type": "string", "examples": ["20/s", "600/m"] }
);
leaf!(
    /// A number of bytes, or a text with a unit.
    Size, "bytes as a number, or a size such as \"4MiB\"",
    { "anyOf": [{ "type": "string", "examples": ["4MiB"] }, { "type": "integer", "minimum": 0 }] },
    visit_i64(i64) |bytes| u64::try_from(bytes).ok().map(|bytes| bytes.to_string())
);
leaf!(
    /// A number, exact.
    Bound, "a number such as 0 or 99.99",
    { "type": "number" },
    visit_i64(i64) |number| Some(number.to_string()),
    visit_f64(f64) |number| Some(number.to_string())
);
leaf!(
    /// HTTP statuses.
    Statuses, "statuses such as 404 or \"404, 500..599\"",
    { "anyOf": [{ "type": "string", "examples": ["404, 500..599"] }, { "type": "integer", "minimum": 200, "maximum": 599 }] },
    visit_i64(i64) |status| Some(status.to_string())
);
leaf!(
    /// An octal file mode.
    FileMode, "a file mode in quotes, such as \"0640\"", { "type": "string", "pattern": "^0?[0-7]{3}$" }
);

/// One text or a list of them.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged)]
pub enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<OneOrMany, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = OneOrMany;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a string or a list of strings")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany::One(text.to_owned()))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<OneOrMany, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = items.next_element()? {
                    texts.push(text);
                }
                Ok(OneOrMany::Many(texts))
            }
        }
        from.deserialize_any(Texts)
    }
}

/// passferry: which files become which changes of which passes.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Folder of the ledger and the spool. Default: `$STATE_DIRECTORY`, else `/var/lib/passferry`.
    pub state: Option<String>,
    /// How long a stop waits for requests in flight before they are abandoned (they are then taken up at the next start). Default `"30s"`.
    pub drain: Option<Span>,
    /// Room that a file takes on its road, as a multiple of its size: it is fetched only when the disk of `state` has that much. Default 4.
    pub space_factor: Option<f64>,
    /// Room kept in reserve on the disk of `state`, so that what is on its way is still written down when the disk is full. Default `"8MiB"`.
    pub reserve: Option<Size>,
    /// Allows `state` on a network file system, where SQLite's locks cannot be relied on. Default false.
    pub network_state: Option<bool>,
    /// Threads that validate rows; 0 means one per core. Default 0.
    pub workers: Option<u16>,
    /// How long copies of files, and what the ledger quotes of them, are kept after a run is over. Default `"90d"`.
    pub retention: Option<Span>,
    /// How long keys of adds are kept after they were last used. At least `retention`. Default `"400d"`.
    pub key_retention: Option<Span>,
    /// Where files arrive.
    #[serde(default)]
    pub source: BTreeMap<String, Table<Source>>,
    /// Where passes live: accounts.
    #[serde(default)]
    pub platform: BTreeMap<String, Table<Platform>>,
    /// Streams of like files.
    #[serde(default)]
    pub feed: BTreeMap<String, Table<Feed>>,
    /// Ways out for alerts.
    #[serde(default)]
    pub alert: BTreeMap<String, Table<Alert>>,
    /// The review page and its API.
    pub review: Option<Table<Review>>,
}

/// Where files arrive.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// An SFTP server that is pulled, or a folder of this machine that is watched.
    #[schemars(required)]
    pub kind: Option<SourceKind>,
    /// Time between two listings. Default `"1m"`. Not together with `schedule`.
    pub poll: Option<Span>,
    /// Five-field cron expression that says when to list, instead of `poll`.
    pub schedule: Option<String>,
    /// IANA time zone of `schedule`. Default `"UTC"`.
    pub timezone: Option<String>,
    /// The folder (kind `folder`).
    pub path: Option<String>,
    /// Name or address of the server (kind `sftp`, as all below).
    pub host: Option<String>,
    /// TCP port. Default 22.
    pub port: Option<u16>,
    /// Login name.
    pub user: Option<String>,
    /// Private key in OpenSSH or PEM form. One of `key`, `password` and `agent = true` is needed.
    pub key: Option<Table<SecretPlace>>,
    /// Passphrase of `key`.
    pub passphrase: Option<Table<SecretPlace>>,
    /// Password, for servers that take no key.
    pub password: Option<Table<SecretPlace>>,
    /// Log in with the keys of the running ssh-agent. Default false.
    pub agent: Option<bool>,
    /// The server's key as `SHA256:…`, or a list while it changes. This or `known_hosts` is needed; a key never seen is never accepted.
    pub host_key: Option<OneOrMany>,
    /// A file in OpenSSH's `known_hosts` form.
    pub known_hosts: Option<String>,
    /// Deadline of the TCP connection. Default `"10s"`.
    pub connect_timeout: Option<Span>,
    /// Deadline of key exchange and login together. Default `"20s"`.
    pub login_timeout: Option<Span>,
    /// Deadline of any one call without progress. Default `"30s"`.
    pub idle_timeout: Option<Span>,
    /// Bytes a second: a transfer slower than this over `speed_span` is given up and tried again later. Default `"1KiB"`.
    pub speed_min: Option<Size>,
    /// Over how long a transfer's speed is measured. Default `"1m"`.
    pub speed_span: Option<Span>,
    /// Time between two signs of life on an idle connection. Default `"30s"`.
    pub keepalive: Option<Span>,
    /// Least time between two connections; some vendors block clients that connect more often. Default `"0s"`.
    pub reconnect_min: Option<Span>,
    /// Bytes of the read and write buffers. Default `"4MiB"`.
    pub buffer: Option<Size>,
}

/// What a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    Sftp,
    Folder,
}

/// Where a secret is kept; exactly one of the three.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretPlace {
    /// Name of an environment variable.
    pub env: Option<String>,
    /// Path of a file that only its owner (and group) may read.
    pub file: Option<String>,
    /// Name of a systemd credential (`LoadCredential=`).
    pub credential: Option<String>,
}

pub mod alert;
pub mod arrival;
mod feed;
mod http;
mod platform;
mod review;
pub use alert::{Alert, AlertKind, Digest as AlertDigest, MailTls};
pub use feed::*;
pub use http::*;
pub use platform::*;
pub use review::*;
