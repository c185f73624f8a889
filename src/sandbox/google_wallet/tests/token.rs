//! Section 2, and item 1 of section 16.

use super::*;

#[tokio::test]
async fn a_token_is_given_for_a_signed_assertion() {
    let rig = Rig::new().await;
    let (status, answer) = rig.exchange(&rig.assertion(&json!({}))).await;
    assert_eq!((status, &answer["expires_in"], &answer["token_type"]), (200, &json!(3599), &json!("Bearer")));
    let google = json!({"aud": "https://oauth2.googleapis.com/token", "scope": "a https://www.googleapis.com/auth/wallet_object.issuer"});
    assert_eq!(rig.exchange(&rig.assertion(&google)).await.0, 200);
    rig.knobs(|knobs| knobs.token_seconds_as_text = true);
    assert_eq!(rig.exchange(&rig.assertion(&json!({}))).await.1["expires_in"], "3599");
}

#[tokio::test]
async fn an_assertion_is_judged() {
    let rig = Rig::new().await;
    let now = chrono::Utc::now().timestamp();
    for claims in [
        json!({"iss": "somebody@else"}),
        json!({"aud": "https://example.com/token"}),
        json!({"scope": "https://www.googleapis.com/auth/drive"}),
        json!({"exp": now + 3700}),
        json!({"iat": now - 4000, "exp": now - 400}),
        json!({"iat": now + 300, "exp": now + 400}),
    ] {
        let (status, error) = rig.exchange(&rig.assertion(&claims)).await;
        assert_eq!((status, &error["error"]), (400, &json!("invalid_grant")), "{claims}");
    }
    let good = rig.assertion(&json!({}));
    let (signed, _) = good.rsplit_once('.').expect("three parts");
    assert_eq!(rig.exchange(&format!("{signed}.{}", base64url(b"forged"))).await.1["error_description"], "Invalid JWT Signature.");
    assert_eq!(rig.exchange(&rig.assertion_of(&json!({"alg": "HS256"}), &json!({}))).await.0, 400);
    assert_eq!(rig.exchange(&rig.assertion_of(&json!({"alg": "RS256", "kid": "other"}), &json!({}))).await.0, 400);
    let request = rig.client.post(rig.url("/token")).body("grant_type=password&assertion=x");
    assert_eq!(answered(request.send().await.expect("an answer")).await.1["error"], "unsupported_grant_type");
}

#[tokio::test]
async fn the_token_endpoint_fails_as_told() {
    let rig = Rig::new().await;
    for (error, status) in [("invalid_grant", 400), ("temporarily_unavailable", 503), ("internal_failure", 500)] {
        rig.knobs(|knobs| knobs.token_error = Some(error.to_owned()));
        let (answered, body) = rig.exchange(&rig.assertion(&json!({}))).await;
        assert_eq!((answered, &body["error"]), (status, &json!(error)));
    }
    rig.knobs(|knobs| knobs.token_error = None);
    rig.trouble(Rule::new(Trouble::Status { code: 503, message: None }).path("/token").next(1));
    assert_eq!(rig.exchange(&rig.assertion(&json!({}))).await.0, 503);
    assert_eq!(rig.exchange(&rig.assertion(&json!({}))).await.0, 200);
}

/// Section 10: shape C without credentials, 401 with stale ones.
#[tokio::test]
async fn calls_need_a_token_that_is_still_good() {
    let rig = Rig::with(|knobs| knobs.token_calls = Some(2)).await;
    let path = format!("loyaltyObject/{ISSUER}.A");
    let bare = rig.client.get(rig.url(&format!("/walletobjects/v1/{path}"))).send().await.expect("an answer");
    let (status, error) = answered(bare).await;
    assert_eq!((status, reason(&error), &error["error"]["errors"][0]["location"]), (401, "required", &json!("Authorization")));
    assert_eq!([rig.get(&path).await.0, rig.get(&path).await.0, rig.get(&path).await.0], [200, 200, 401]);
    let mut rig = Rig::new().await;
    rig.sandbox.faults().change(|faults| faults.clock_skew_seconds = 3600);
    assert_eq!(rig.get(&path).await.0, 401, "it expired");
    rig.sandbox.faults().clear();
    assert_eq!(rig.get(&path).await.0, 200);
    rig.sandbox.revoke_tokens();
    assert_eq!(rig.get(&path).await.0, 401);
    "nonsense".clone_into(&mut rig.token);
    assert_eq!(rig.get(&path).await.0, 401);
}

#[tokio::test]
async fn a_key_file_is_written_once_and_used_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("key.json");
    let start = || {
        let google_wallet = crate::sandbox::google_wallet::Settings { key_file: Some(file.clone()), ..Default::default() };
        Sandbox::start(Settings { google_wallet, ..Settings::default() }).expect("the sandbox starts")
    };
    let first = start().google_key().expect("a key");
    let written: Value = serde_json::from_str(&std::fs::read_to_string(&file).expect("written")).expect("JSON");
    assert_eq!(serde_json::from_str::<Value>(&first).expect("JSON"), written);
    let again: Value = serde_json::from_str(&start().google_key().expect("a key")).expect("JSON");
    assert_eq!(again["private_key"], written["private_key"]);
    for name in ["client_email", "private_key", "private_key_id", "token_uri"] {
        assert!(written[name].is_string(), "{name}");
    }
}

#[tokio::test]
async fn no_assertion_and_no_token_is_logged() {
    let rig = Rig::new().await;
    rig.get(&format!("loyaltyObject/{ISSUER}.A")).await;
    let log = serde_json::to_string(&rig.sandbox.requests().all()).expect("JSON");
    assert!(!log.contains("assertion=") && !log.contains("ya29"), "{log}");
}
