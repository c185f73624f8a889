//! What the stand-ins have in common.

use reqwest::Client;
use serde_json::{Value, json};

use super::{AIRSHIP, GOOGLE_WALLET, PASSENTRY, PASSKIT, PLATFORMS, Rule, Sandbox, Settings, THEWALLETCREW, TILLS, Trouble};

/// A pass named `A`, in the form that a platform takes.
fn pass(platform: &str) -> Value {
    match platform {
        GOOGLE_WALLET => json!({"id": "A"}),
        THEWALLETCREW => json!({"identifiers": {"crm": "A"}}),
        PASSENTRY => json!({"extId": "A"}),
        TILLS => json!({"reference": "A"}),
        _ => json!({"externalId": "A"}),
    }
}

/// A path of the platform that names `A`.
fn path(platform: &str) -> &'static str {
    match platform {
        PASSKIT => "/members/member/externalId/sandbox-program/A",
        GOOGLE_WALLET => "/walletobjects/v1/loyaltyObject/3388000000012345678.A",
        THEWALLETCREW => "/api/sandbox/passes?id.crm=A",
        AIRSHIP => "/pass/template/1001/id/A",
        PASSENTRY => "/api/v1/passes/A",
        _ => "/passes/ref:A",
    }
}

#[tokio::test]
async fn every_platform_is_seeded_and_shown_in_one_way() {
    let sandbox = Sandbox::start(Settings::default()).expect("the sandbox starts");
    let client = Client::builder().no_proxy().build().expect("a client");
    for platform in PLATFORMS {
        let url = format!("{}/sandbox/passes/{platform}", sandbox.base_url());
        let seeded = client.post(&url).body(pass(platform).to_string()).send().await.expect("an answer");
        assert_eq!(seeded.json::<Value>().await.expect("JSON"), json!({"issued": 1}), "{platform}");
        let all = client.get(&url).send().await.expect("an answer").json::<Vec<Value>>().await.expect("JSON");
        assert_eq!((all.len(), sandbox.count(platform)), (1, 1));
        let shown = client.get(format!("{url}/A")).send().await.expect("an answer").json::<Value>().await.expect("JSON");
        assert_eq!((Some(&shown), sandbox.pass(platform, "A").as_ref()), (all.first(), all.first()), "{platform}");
    }
    let nobody = client.get(format!("{}/sandbox/passes/nobody", sandbox.base_url())).send().await.expect("an answer");
    assert_eq!(nobody.status(), 404);
}

/// Trouble is the door's: it befalls all platforms alike, and none lets a request without credentials in.
#[tokio::test]
async fn every_platform_keeps_strangers_out_and_meets_the_same_trouble() {
    let sandbox = Sandbox::start(Settings::default()).expect("the sandbox starts");
    let client = Client::builder().no_proxy().build().expect("a client");
    for platform in PLATFORMS {
        sandbox.seed(platform, [pass(platform)]).expect("seeded");
        let method = if matches!(platform, PASSKIT | GOOGLE_WALLET | TILLS) { reqwest::Method::GET } else { reqwest::Method::PATCH };
        let url = format!("{}{}", sandbox.base_url_of(platform), path(platform));
        let ask = || client.request(method.clone(), &url).json(&json!({})).send();
        assert_eq!(ask().await.expect("an answer").status(), 401, "{platform}");
        for (trouble, status) in [(Trouble::Unavailable, 503), (Trouble::Blocked { code: 403 }, 403), (Trouble::BadGatewayHtml, 502)] {
            sandbox.faults().change(|faults| faults.rules = vec![Rule::new(trouble).id("A")]);
            assert_eq!(ask().await.expect("an answer").status(), status, "{platform}");
        }
        sandbox.faults().change(|faults| faults.rules = vec![Rule::new(Trouble::TooMany { retry_after: Some("7".to_owned()) }).id("A")]);
        let answer = ask().await.expect("an answer");
        assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().expect("a text")), (429, "7"), "{platform}");
        sandbox.faults().change(|faults| faults.rules = vec![Rule::new(Trouble::DropBefore).id("A")]);
        assert!(ask().await.is_err(), "{platform}");
        sandbox.faults().clear();
        assert_eq!(sandbox.requests().of("A").last().expect("logged").status, None);
        sandbox.requests().clear();
    }
    assert!(sandbox.effects().is_empty());
}
