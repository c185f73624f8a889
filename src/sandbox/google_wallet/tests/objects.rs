//! Sections 4 to 6, and items 2 to 5 of section 16.

use super::*;
use crate::sandbox::google_wallet::EleventhMessage;

fn gift_card(identifier: &str) -> Value {
    json!({
        "id": id(identifier), "classId": id("giftcards"), "state": "ACTIVE", "cardNumber": "6006",
        "balance": {"micros": 25_000_000, "currencyCode": "EUR"},
    })
}

async fn with_class() -> Rig {
    let rig = Rig::with(|knobs| knobs.calls_per_second = None).await;
    let class = json!({"id": id("giftcards"), "issuerName": "Shop", "reviewStatus": "UNDER_REVIEW"});
    let (status, class) = rig.ask("POST", "giftCardClass", class).await;
    assert_eq!((status, &class["reviewStatus"]), (200, &json!("approved")));
    rig
}

/// Sections 4.4 and 5: `micros` comes back as a text, enumerations in their old spelling, and the balance is dated.
#[tokio::test]
async fn an_object_is_inserted_and_read() {
    let rig = with_class().await;
    let (status, made) = rig.ask("POST", "giftCardObject", gift_card("gc-77")).await;
    assert_eq!((status, &made["state"], &made["balance"]["micros"]), (200, &json!("active"), &json!("25000000")));
    assert!(made["balanceUpdateTime"]["date"].is_string());
    let (_, read) = rig.get(&format!("giftCardObject/{ISSUER}.gc-77")).await;
    assert_eq!((&read["hasUsers"], &read["classReference"]["issuerName"]), (&json!(false), &json!("Shop")));
    assert_eq!(read.get("heroImage"), None, "unset fields are left out");
    let (status, error) = rig.ask("POST", "giftCardObject", gift_card("gc-77")).await;
    assert_eq!((status, &error["error"]["message"]), (409, &json!(format!("Wallet Object {ISSUER}.gc-77 already exists."))));
    rig.knobs(|knobs| knobs.capitals = true);
    assert_eq!(rig.get(&format!("giftCardObject/{ISSUER}.gc-77")).await.1["state"], "ACTIVE");
}

#[tokio::test]
async fn an_insert_needs_its_fields_and_its_class() {
    let rig = with_class().await;
    for (name, value, status, expected) in [
        ("cardNumber", Value::Null, 400, "invalidResource"),
        ("state", Value::Null, 400, "invalidResource"),
        ("classId", Value::Null, 400, "invalidResource"),
        ("classId", json!(id("nothing")), 404, "classNotFound"),
        ("classId", json!(id("loyaltyClass")), 404, "classNotFound"),
        ("id", json!("acme.member1"), 400, "invalidResource"),
        ("id", json!(format!("{ISSUER}.a b")), 400, "invalidResource"),
        ("id", json!("123.a"), 403, "permissionDenied"),
        ("id", json!(id("A")), 409, "existingResource"),
        ("balanceUpdateTime", json!({"date": "2026-11-21T10:00:00"}), 400, "invalidResource"),
        ("merchantLocations", json!([{"latitude": 1, "longitude": 2}]), 400, "invalidResource"),
        ("linkedObjectIds", json!([id("nobody")]), 400, "invalidResource"),
        ("textModulesData", json!([{"id": "a.b"}]), 400, "invalidResource"),
        ("linksModuleData", json!({"uris": [{"uri": "www.example.com"}]}), 400, "invalidResource"),
        (
            "validTimeInterval",
            json!({"start": {"date": "2026-01-01T00:00:00Z"}, "end": {"date": "2026-01-02T00:00:00"}}),
            400,
            "invalidResource",
        ),
        ("cardNumbr", json!("1"), 400, "invalid"),
        ("cardNumber", json!(5), 400, "invalid"),
        ("state", json!("ACTVE"), 400, "invalid"),
        ("balance", json!({"micros": "1.5"}), 400, "invalid"),
    ] {
        let mut card = gift_card("new");
        card[name] = value.clone();
        let (answered, error) = rig.ask("POST", "giftCardObject", card).await;
        assert_eq!((answered, reason(&error)), (status, expected), "{name}: {value} {error}");
    }
    let draft = json!({"id": id("draft"), "issuerName": "Shop", "reviewStatus": "DRAFT"});
    assert_eq!(rig.ask("POST", "giftCardClass", draft).await.0, 200);
    let mut card = gift_card("new");
    card["classId"] = json!(id("draft"));
    assert_eq!(rig.ask("POST", "giftCardObject", card).await.0, 400);
    assert_eq!(rig.ask("POST", "loyaltyClass", json!({"id": id("gold"), "issuerName": "Shop"})).await.0, 400);
    assert_eq!(rig.sandbox.count(GOOGLE_WALLET), 2);
}

#[tokio::test]
async fn every_kind_can_be_inserted_patched_and_listed() {
    let rig = Rig::with(|knobs| knobs.calls_per_second = None).await;
    let text = json!({"defaultValue": {"language": "en", "value": "x"}});
    for (kind, class, more) in [
        ("loyalty", json!({"programName": "P", "programLogo": {"sourceUri": {"uri": "https://example.com/a.png"}}}), json!({})),
        ("giftCard", json!({}), json!({"cardNumber": "1"})),
        ("offer", json!({"provider": "P", "title": "T", "redemptionChannel": "BOTH"}), json!({})),
        ("eventTicket", json!({"eventName": text}), json!({})),
        ("generic", json!({}), json!({"cardTitle": text, "header": text})),
        ("transit", json!({}), json!({"tripType": "ROUND_TRIP"})),
        ("flight", json!({}), json!({"passengerName": "Ana", "reservationInfo": {"confirmationCode": "X"}})),
    ] {
        let mut body = json!({"id": id(&format!("{kind}-c"))});
        if kind != "generic" {
            body["issuerName"] = "Shop".into();
            body["reviewStatus"] = "UNDER_REVIEW".into();
        }
        body.as_object_mut().expect("an object").extend(class.as_object().expect("an object").clone());
        let mut wanted = body;
        if matches!(kind, "transit" | "flight" | "generic") {
            wanted.as_object_mut().expect("an object").retain(|name, _| name == "id" || (name != "issuerName" || kind != "flight"));
        }
        let (status, made) = rig.ask("POST", &format!("{kind}Class"), wanted).await;
        assert_eq!(status, 200, "{kind}: {made}");
        let mut object = json!({"id": id(&format!("{kind}-o")), "classId": id(&format!("{kind}-c")), "state": "ACTIVE"});
        object.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let (status, made) = rig.ask("POST", &format!("{kind}Object"), object).await;
        assert_eq!(status, 200, "{kind}: {made}");
        let path = format!("{kind}Object/{ISSUER}.{kind}-o");
        let (status, patched) = rig.ask("PATCH", &path, json!({"state": "COMPLETED"})).await;
        assert_eq!((status, &patched["state"]), (200, &json!("completed")), "{kind}");
        let listed = rig.get(&format!("{kind}Object?classId={ISSUER}.{kind}-c")).await.1;
        assert_eq!(listed["resources"][0]["id"], json!(id(&format!("{kind}-o"))));
        assert_eq!(rig.get(&format!("loyaltyObject/{ISSUER}.{kind}-o")).await.0, if kind == "loyalty" { 200 } else { 404 });
    }
}

/// Section 6.
#[tokio::test]
async fn a_patch_merges_objects_replaces_arrays_and_deletes_by_null() {
    let rig = Rig::new().await;
    let (status, _) = rig
        .patch("A", json!({"loyaltyPoints": {"label": "Points", "balance": {"int": "7"}}, "textModulesData": [{"id": "a"}, {"id": "b"}]}))
        .await;
    assert_eq!(status, 200);
    let (_, patched) = rig.patch("A", json!({"loyaltyPoints": {"balance": {"int": 9}}, "textModulesData": [{"id": "c"}]})).await;
    assert_eq!(patched["loyaltyPoints"], json!({"label": "Points", "balance": {"int": 9}}));
    assert_eq!(patched["textModulesData"], json!([{"id": "c"}]));
    let (status, error) = rig.patch("A", json!({"loyaltyPoints": {"balance": {"string": "nine"}}})).await;
    assert_eq!((status, reason(&error)), (400, "invalidResource"), "two subtypes of a balance");
    let (_, patched) =
        rig.patch("A", json!({"loyaltyPoints": {"balance": {"string": "nine", "int": null}}, "textModulesData": null})).await;
    assert_eq!((&patched["loyaltyPoints"]["balance"], patched.get("textModulesData")), (&json!({"string": "nine"}), None));
    rig.knobs(|knobs| {
        knobs.two_balances = true;
        knobs.null_keeps = true;
    });
    let (_, patched) = rig.patch("A", json!({"loyaltyPoints": {"label": null, "balance": {"int": 1}}})).await;
    assert_eq!(patched["loyaltyPoints"], json!({"label": "Points", "balance": {"string": "nine", "int": 1}}));
}

/// Section 4.3.
#[tokio::test]
async fn a_put_clears_what_is_left_out() {
    let rig = Rig::new().await;
    let path = format!("loyaltyObject/{ISSUER}.B");
    let (_, read) = rig.get(&path).await;
    assert_eq!((&read["accountName"], &read["hasUsers"]), (&json!("Ana"), &json!(true)));
    let put = json!({"classId": id("loyaltyClass"), "state": "active", "accountId": "7", "hasUsers": false, "classReference": read["classReference"]});
    let (status, put) = rig.ask("PUT", &path, put).await;
    assert_eq!((status, put.get("accountName"), &put["accountId"], &put["hasUsers"]), (200, None, &json!("7"), &json!(true)));
    assert_eq!(rig.ask("PUT", &path, json!({"state": "ACTIVE"})).await.0, 400, "no class");
    rig.knobs(|knobs| knobs.refuse_class_reference = true);
    let back = json!({"classId": id("loyaltyClass"), "state": "ACTIVE", "classReference": {}});
    assert_eq!(rig.ask("PUT", &path, back).await.0, 400);
}

#[tokio::test]
async fn what_the_front_end_does_not_know_is_refused_before_all_else() {
    let rig = Rig::new().await;
    let (status, error) = rig.patch("nobody", json!({"acountName": "x"})).await;
    assert_eq!((status, reason(&error)), (400, "invalid"));
    let (status, error) = rig.patch("A", json!({"loyaltyPoints": {"balanc": 1}})).await;
    let error = &error["error"];
    assert_eq!((status, &error["status"], &error["errors"][0]["reason"]), (400, &json!("INVALID_ARGUMENT"), &json!("invalid")));
    assert!(error["message"].as_str().expect("a text").contains("Unknown name \"balanc\" at 'loyaltyPoints'"), "{error}");
    for wrong in
        [json!({"loyaltyPoints": {"balance": {"int": 3_000_000_000_u64}}}), json!({"loyaltyPoints": {"balance": {"int": 1.5}}}), json!([1])]
    {
        assert_eq!(reason(&rig.patch("A", wrong).await.1), "invalid");
    }
    assert_eq!(rig.patch("A", json!({"classId": id("other")})).await.0, 404);
    assert_eq!(rig.get(&format!("loyaltyObject/{ISSUER}.A?field=id")).await.0, 400);
    assert_eq!(rig.get(&format!("loyaltyObject/{ISSUER}.A?fields=nothing")).await.0, 400);
    let (_, some) = rig.get(&format!("loyaltyObject/{ISSUER}.B?fields=id,accountName&alt=json&prettyPrint=false")).await;
    assert_eq!(some, json!({"id": id("B"), "accountName": "Ana"}));
    let request = rig.request("POST", &format!("loyaltyObject/{ISSUER}.A")).header("x-http-method-override", "PATCH");
    assert_eq!(request.json(&json!({"account_name": "Bo"})).send().await.expect("an answer").status(), 200);
    assert_eq!(rig.sandbox.pass(GOOGLE_WALLET, "A").expect("the object")["accountName"], "Bo");
}

/// Section 7: the preference is never stored, and is unknown on Generic.
#[tokio::test]
async fn the_notify_preference_is_not_kept() {
    let rig = Rig::new().await;
    let (status, patched) = rig.patch("A", json!({"notifyPreference": "NOTIFY_ON_UPDATE", "accountId": "1"})).await;
    assert_eq!((status, patched.get("notifyPreference")), (200, None));
    rig.sandbox.seed(GOOGLE_WALLET, [json!({"id": "G", "resource": "genericObject"})]).expect("seeded");
    let generic = rig.ask("PATCH", &format!("genericObject/{ISSUER}.G"), json!({"notifyPreference": "NOTIFY_ON_UPDATE"})).await;
    assert_eq!((generic.0, reason(&generic.1)), (400, "invalid"));
}

/// Section 4.5.
#[tokio::test]
async fn a_list_pages_only_when_asked_to() {
    let rig = Rig::new().await;
    let more = (0..5).map(|number| json!({"id": format!("L{number}")}));
    assert_eq!(rig.sandbox.seed(GOOGLE_WALLET, more).expect("seeded"), 5);
    let all = rig.get(&format!("loyaltyObject?classId={ISSUER}.loyaltyClass")).await.1;
    assert_eq!((all["resources"].as_array().map(Vec::len), all["pagination"].get("nextPageToken")), (Some(7), None));
    let mut token = String::new();
    let mut seen = 0;
    loop {
        let page = rig.get(&format!("loyaltyObject?classId={ISSUER}.loyaltyClass&maxResults=3{token}")).await.1;
        seen += page["resources"].as_array().expect("an array").len();
        let Some(next) = page["pagination"]["nextPageToken"].as_str() else { break };
        token = format!("&token={next}");
    }
    assert_eq!(seen, 7);
    assert_eq!(rig.get("loyaltyObject").await.0, 400);
    assert_eq!(rig.get(&format!("loyaltyObject?classId={ISSUER}.nothing")).await.0, 404);
}

/// Section 4.6: not idempotent, at most ten.
#[tokio::test]
async fn a_message_is_added_as_often_as_it_is_sent() {
    let rig = Rig::with(|knobs| knobs.calls_per_second = None).await;
    let path = format!("loyaltyObject/{ISSUER}.A/addMessage");
    let message = |id: &str| json!({"message": {"id": id, "header": "Double points", "body": "Now", "message_type": "TEXT"}});
    for _ in 0..2 {
        let (status, answer) = rig.ask("POST", &path, message("promo")).await;
        assert_eq!((status, &answer["resource"]["messages"][0]["messageType"]), (200, &json!("text")));
    }
    let doubled = rig.sandbox.double_effects();
    assert_eq!((doubled.len(), doubled[0].event.as_str(), doubled[0].times), (1, "promo", 2));
    for number in 2..10 {
        assert_eq!(rig.ask("POST", &path, message(&format!("m{number}"))).await.0, 200);
    }
    assert_eq!(rig.ask("POST", &path, message("eleventh")).await.0, 400);
    rig.knobs(|knobs| knobs.eleventh_message = EleventhMessage::DropsOldest);
    assert_eq!(rig.ask("POST", &path, message("eleventh")).await.1["resource"]["messages"].as_array().map(Vec::len), Some(10));
    rig.knobs(|knobs| knobs.eleventh_message = EleventhMessage::Kept);
    assert_eq!(rig.ask("POST", &path, message("twelfth")).await.1["resource"]["messages"].as_array().map(Vec::len), Some(11));
}

#[tokio::test]
async fn what_is_not_known_of_the_platform_is_a_knob() {
    let rig = Rig::new().await;
    let at_offers = format!("offerObject/{ISSUER}.A");
    assert_eq!(rig.get(&at_offers).await.0, 404);
    rig.knobs(|knobs| {
        knobs.any_vertical = true;
        knobs.id_max = Some(25);
        knobs.bare_errors = true;
    });
    assert_eq!(rig.get(&at_offers).await.0, 200);
    let (status, error) = rig.get(&format!("loyaltyObject/{ISSUER}.{}", "x".repeat(20))).await;
    assert_eq!((status, error["error"].as_object().map(serde_json::Map::len)), (400, Some(2)));
    rig.sandbox.seed(GOOGLE_WALLET, [json!({"id": "c2", "resource": "loyaltyClass", "reviewStatus": "APPROVED"})]).expect("seeded");
    let moved = json!({"classId": id("c2")});
    assert_eq!(rig.patch("A", moved.clone()).await.0, 400);
    rig.knobs(|knobs| knobs.class_may_change = true);
    assert_eq!(rig.patch("A", moved).await.0, 200);
}
