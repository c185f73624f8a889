//! Token endpoints of OAuth 2 (RFC 6749): the client-credentials grant, and the errors that every grant has.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::{Failure, JSON, Reply};
use super::bearer::Tokens;
use super::stand_in::Request;

/// What a test wants of a token endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenKnobs {
    /// `expires_in` of a token, and how long it is good for.
    pub seconds: u64,
    /// `expires_in` is left out.
    pub no_seconds: bool,
    /// A token is good for so many calls only.
    pub calls: Option<u64>,
    /// The endpoint answers this error, e.g. `invalid_client` or `temporarily_unavailable`.
    pub error: Option<String>,
}

impl Default for TokenKnobs {
    fn default() -> TokenKnobs {
        TokenKnobs { seconds: 3600, no_seconds: false, calls: None, error: None }
    }
}

/// A client that may ask for tokens.
pub(super) struct Client<'a> {
    pub id: &'a str,
    pub secret: &'a str,
    /// What must be asked for, where anything must.
    pub scope: Option<&'a str>,
}

/// The client-credentials grant: the client is known by a Basic header (both halves form-encoded, section 2.3.1) or by the body.
pub(super) fn client_credentials(
    request: &Request,
    client: &Client<'_>,
    tokens: &Tokens,
    now: SystemTime,
    knobs: &TokenKnobs,
) -> Result<Reply, Failure> {
    if let Some(error) = &knobs.error {
        return Err(failure(error, "as the sandbox was told"));
    }
    let form: HashMap<String, String> = url::form_urlencoded::parse(&request.raw).into_owned().collect();
    let field = |name: &str| form.get(name).map(String::as_str);
    let by_header = request.header("authorization").and_then(basic).map(|(id, secret)| (form_decoded(&id), form_decoded(&secret)));
    let by_body = || Some((field("client_id")?.to_owned(), field("client_secret")?.to_owned()));
    let known = by_header.or_else(by_body).is_some_and(|(id, secret)| id == client.id && secret == client.secret);
    if !known {
        return Err(failure("invalid_client", "client authentication failed"));
    }
    if field("grant_type") != Some("client_credentials") {
        return Err(failure("unsupported_grant_type", "only client_credentials is"));
    }
    if client.scope.is_some_and(|scope| !field("scope").unwrap_or_default().split(' ').any(|asked| asked == scope)) {
        return Err(failure("invalid_scope", "the scope is missing"));
    }
    let token = tokens.issue("sbx.", now, Duration::from_secs(knobs.seconds), knobs.calls);
    let mut answer = json!({"access_token": token, "token_type": "Bearer"});
    if !knobs.no_seconds {
        answer["expires_in"] = knobs.seconds.into();
    }
    if let Some(scope) = client.scope {
        answer["scope"] = scope.into();
    }
    Reply::json(&answer)
}

/// User and password of a Basic header (RFC 7617).
pub(super) fn basic(header: &str) -> Option<(String, String)> {
    let bytes = openssl::base64::decode_block(header.strip_prefix("Basic ")?.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

fn form_decoded(text: &str) -> String {
    let pair = format!("x={}", text.replace('&', "%26"));
    url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// The reason that marks a failure of a token endpoint, which has a shape of its own (section 5.2).
pub(super) const TOKEN: &str = "token";

pub(super) fn failure(error: &str, description: &str) -> Failure {
    let status = match error {
        "invalid_client" => 401,
        "internal_failure" | "server_error" => 500,
        "temporarily_unavailable" => 503,
        _ => 400,
    };
    let body: Value = json!({"error": error, "error_description": description});
    Failure::new(status, body.to_string()).because(TOKEN)
}

pub(super) fn refused(failure: &Failure) -> Reply {
    Reply::of(failure.status, JSON, failure.message.clone())
}
