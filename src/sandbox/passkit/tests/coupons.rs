//! Single-use coupons (contract section 5).

use super::*;

const CAMPAIGN: &str = "sandbox-campaign";
const COUPON: &str = "/coupon/singleUse/coupon";

/// With coupons `S-1` and `S-2`.
fn rig() -> Rig {
    let rig = Rig::new();
    let coupons = ["S-1", "S-2"].map(|id| json!({"campaignId": CAMPAIGN, "externalId": id, "metaData": {"store": "12", "code": "A1"}}));
    assert_eq!(rig.sandbox.seed("passkit", coupons).expect("seeded"), 2);
    rig
}

fn key(external_id: &str, more: Value) -> Value {
    let mut body = json!({"externalId": external_id, "campaignId": CAMPAIGN});
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    body
}

async fn list(rig: &Rig, filters: Value) -> reqwest::Result<String> {
    let response = rig.send("POST", &format!("/coupon/singleUse/coupons/list/{CAMPAIGN}"), json!({ "filters": filters })).await;
    assert_eq!(response.status(), StatusCode::OK);
    response.text().await
}

#[tokio::test]
async fn a_coupon_is_created_once_and_read_both_ways() {
    let rig = Rig::new();
    let body = key("S 1", json!({"offerId": "sandbox-offer", "sku": "K", "expiryDate": "2027-01-31T23:59:59+01:00", "status": "REDEEMED"}));
    let (status, answer) = rig.ask("POST", COUPON, body.clone()).await;
    let id = answer["id"].as_str().expect("an id").to_owned();
    assert_eq!((status, id.len()), (200, 22));
    let coupon = rig.get(&format!("{COUPON}/{id}")).await.1;
    assert_eq!(coupon, rig.get(&format!("{COUPON}/externalId/{CAMPAIGN}/S%201")).await.1);
    assert_eq!((&coupon["sku"], &coupon["expiryDate"]), (&json!("K"), &json!("2027-01-31T22:59:59Z")));
    for (field, empty) in [("status", json!("UNREDEEMED")), ("optOut", json!(false)), ("redemptionDetails", Value::Null)] {
        assert_eq!(coupon[field], empty, "{field}");
    }
    assert_eq!(coupon["person"]["otherNames"], json!([]));
    let (status, error) = rig.ask("POST", COUPON, body).await;
    assert_eq!((status, &error["message"]), (409, &json!("coupon with externalId[S 1] already exists")));
}

#[tokio::test]
async fn a_coupon_needs_a_known_campaign_and_offer() {
    let rig = Rig::new();
    for (body, expected) in [
        (json!({"offerId": "sandbox-offer"}), 400),
        (json!({"campaignId": CAMPAIGN}), 400),
        (json!({"campaignId": "x", "offerId": "sandbox-offer"}), 404),
        (json!({"campaignId": CAMPAIGN, "offerId": "x"}), 404),
        (key("A", json!({"offerId": "sandbox-offer", "id": "mine"})), 400),
        (key("A", json!({"offerId": "sandbox-offer", "created": "2026-01-01T00:00:00Z"})), 400),
        (key("A", json!({"offerId": "sandbox-offer", "person": {"emailAddress": "ada"}})), 400),
    ] {
        assert_eq!(rig.ask("POST", COUPON, body.clone()).await.0, expected, "{body}");
    }
    assert_eq!(rig.sandbox.count("passkit"), 0);
    assert_eq!(rig.get(&format!("{COUPON}/externalId/other/S-1")).await.1["message"], "campaign with id[other] does not exist");
}

#[tokio::test]
async fn an_update_keeps_what_is_falsy_and_replaces_meta_data_whole() {
    let rig = rig();
    let set = json!({"sku": "K", "optOut": true, "metaData": {"store": "14"}, "person": {"forename": "Ada", "surname": "Byron"}});
    assert_eq!(rig.ask("PUT", COUPON, key("S-1", set)).await.0, 200);
    let falsy = json!({"sku": "", "optOut": false, "metaData": {}, "person": {"forename": ""}});
    assert_eq!(rig.ask("PUT", COUPON, key("S-1", falsy.clone())).await.0, 200);
    let coupon = rig.sandbox.coupon("S-1").expect("there");
    assert_eq!((&coupon["sku"], &coupon["optOut"], &coupon["metaData"]), (&json!("K"), &json!(true), &json!({"store": "14"})));
    assert_eq!((&coupon["person"]["forename"], &coupon["person"]["surname"]), (&json!("Ada"), &json!("Byron")));
    assert_eq!(rig.sandbox.alerts("S-1", "store"), ["14"]);
    rig.faults(|faults| faults.put_fields = true);
    rig.ask("PUT", COUPON, key("S-1", falsy)).await;
    let coupon = rig.sandbox.coupon("S-1").expect("there");
    assert_eq!((&coupon["sku"], &coupon["optOut"], &coupon["person"]["forename"]), (&json!(""), &json!(false), &json!("")));
    rig.faults(|faults| faults.replace_person = true);
    rig.ask("PUT", COUPON, key("S-1", json!({"person": {"forename": "Ann"}}))).await;
    assert_eq!(rig.sandbox.coupon("S-1").expect("there")["person"]["surname"], "");
}

#[tokio::test]
async fn an_update_never_redeems_and_an_expiry_counts_for_one_kind_of_offer() {
    let rig = rig();
    let expiry = json!({"expiryDate": "2030-01-01T00:00:00Z", "status": "REDEEMED"});
    rig.ask("PUT", COUPON, key("S-1", expiry.clone())).await;
    let coupon = rig.sandbox.coupon("S-1").expect("there");
    assert_eq!((&coupon["expiryDate"], &coupon["status"]), (&json!("2030-01-01T00:00:00Z"), &json!("UNREDEEMED")));
    rig.ask("POST", COUPON, key("F-1", json!({"offerId": "sandbox-offer-fixed"}))).await;
    assert_eq!(rig.ask("PUT", COUPON, key("F-1", expiry)).await.0, 200);
    assert_eq!(rig.sandbox.coupon("F-1").expect("there")["expiryDate"], Value::Null);
}

#[tokio::test]
async fn a_coupon_is_redeemed_once() {
    let rig = rig();
    let path = format!("{COUPON}/redeem");
    let details = json!({"redemptionDetails": {"redemptionSource": "till", "transactionReference": "T-991", "transactionAmount": 12.5}});
    assert_eq!(rig.ask("PUT", &path, key("S-1", details.clone())).await.0, 200);
    let coupon = rig.sandbox.coupon("S-1").expect("there");
    assert_eq!((&coupon["status"], &coupon["redemptionDetails"]["transactionAmount"]), (&json!("REDEEMED"), &json!(12.5)));
    assert!(coupon["redemptionDetails"]["redemptionDate"].as_str().is_some_and(|date| date.ends_with('Z')));
    assert_eq!(rig.ask("PUT", &path, key("S-1", details.clone())).await.0, 400);
    rig.faults(|faults| faults.second_redeem = Some(409));
    assert_eq!(rig.ask("PUT", &path, key("S-1", details.clone())).await.0, 409);
    assert!(rig.sandbox.double_effects().is_empty());
    rig.faults(|faults| faults.second_redeem = Some(200));
    assert_eq!(rig.ask("PUT", &path, key("S-1", details)).await.0, 200);
    let doubled = rig.sandbox.double_effects();
    assert_eq!((doubled.len(), doubled[0].event.as_str(), doubled[0].times), (1, "T-991", 2));
}

#[tokio::test]
async fn the_path_says_coupon_campaign_and_the_body_says_campaign() {
    let rig = rig();
    let renamed = json!({"couponCampaignId": CAMPAIGN, "externalId": "S-1", "newExternalId": "S-9"});
    assert_eq!(rig.ask("PUT", COUPON, json!({"couponCampaignId": CAMPAIGN, "externalId": "S-1", "sku": "K"})).await.0, 400);
    let path = format!("{COUPON}/externalId");
    assert_eq!(rig.ask("PUT", &path, json!({"campaignId": CAMPAIGN, "externalId": "S-1", "newExternalId": "S-9"})).await.0, 400);
    assert_eq!(rig.ask("PUT", &path, renamed.clone()).await.0, 200);
    assert_eq!(rig.ask("PUT", &path, renamed).await.0, 404);
    assert_eq!(rig.ask("PUT", &path, json!({"couponCampaignId": CAMPAIGN, "externalId": "S-9", "newExternalId": "S-2"})).await.0, 409);
    assert!(rig.sandbox.coupon("S-1").is_none() && rig.sandbox.coupon("S-9").is_some());
    let person = json!({"externalId": "S-9", "classId": CAMPAIGN, "person": {"forename": "Ada"}, "sku": "no"});
    assert_eq!(rig.ask("PATCH", &format!("{COUPON}/person"), person).await.0, 200);
    let coupon = rig.sandbox.coupon("S-9").expect("there");
    assert_eq!((&coupon["person"]["forename"], &coupon["sku"]), (&json!("Ada"), &json!("")));
}

#[tokio::test]
async fn a_void_carries_a_body_and_is_final() {
    let rig = rig();
    assert_eq!(rig.ask("DELETE", COUPON, json!({})).await.0, 400);
    assert_eq!(rig.ask("DELETE", COUPON, key("S-1", json!({}))).await, (200, json!({})));
    assert_eq!(rig.ask("DELETE", COUPON, key("S-1", json!({}))).await.0, 404);
    assert_eq!(rig.get(&format!("{COUPON}/externalId/{CAMPAIGN}/S-1")).await.0, 404);
    assert_eq!(rig.sandbox.count("passkit"), 1);
}

#[tokio::test]
async fn shapes_and_unknown_fields_are_judged_as_for_members() {
    let rig = rig();
    for wrong in [
        json!({"metaData": {"seat": 12}}),
        json!({"optOut": "true"}),
        json!({"expiryDate": "2027-01-31"}),
        json!({"status": "VOIDED"}),
        json!({"redemptionDetails": {"transactionAmount": "12.5"}}),
    ] {
        let (status, error) = rig.ask("PUT", COUPON, key("S-1", wrong.clone())).await;
        assert!(status == 400 && error["message"].as_str().is_some_and(|text| text.starts_with("proto: syntax error")), "{wrong}");
    }
    assert_eq!(rig.ask("PUT", COUPON, key("S-1", json!({"operation": "OPERATION_PUT"}))).await.0, 200, "dropped");
    rig.faults(|faults| faults.reject_unknown_fields = true);
    assert_eq!(rig.ask("PUT", COUPON, key("S-1", json!({"operation": "OPERATION_PUT"}))).await.0, 400);
    let big = key("S-1", json!({"metaData": {"text": "x".repeat(10_000)}}));
    assert_eq!(rig.ask("PUT", COUPON, big).await.0, 400);
}

#[tokio::test]
async fn a_list_pages_filters_breaks_and_lies() {
    let rig = Rig::new();
    let coupons = (0..60).map(|n| json!({"campaignId": CAMPAIGN, "externalId": format!("S-{n:02}")}));
    rig.sandbox.seed("passkit", coupons).expect("seeded");
    let ids = |text: &str| -> Vec<String> {
        lines(text).iter().map(|row| row["result"]["externalId"].as_str().unwrap_or("error").to_owned()).collect()
    };
    assert_eq!(ids(&list(&rig, json!({})).await.expect("whole")).len(), 25);
    assert_eq!(ids(&list(&rig, json!({"limit": -1})).await.expect("whole")).len(), 60);
    assert_eq!(ids(&list(&rig, json!({"limit": 2, "offset": 58})).await.expect("whole")), ["S-58", "S-59"]);
    assert_eq!(ids(&list(&rig, json!({"limit": 1, "orderBy": "externalId", "orderAsc": false})).await.expect("whole")), ["S-59"]);
    assert_eq!(list(&rig, json!({"offset": 60})).await.expect("whole"), "");
    let one = json!({"filterGroups": [{"condition": "AND", "fieldFilters": [
        {"filterField": "externalId", "filterValue": "S-07", "filterOperator": "eq"}]}]});
    assert_eq!(ids(&list(&rig, one.clone()).await.expect("whole")), ["S-07"]);
    let (_, count) = rig.ask("POST", &format!("/coupon/singleUse/coupons/count/{CAMPAIGN}"), json!({"filters": one})).await;
    assert_eq!(count, json!({"total": 1}));
    assert_eq!(rig.ask("POST", "/coupon/singleUse/coupons/count/other", json!({})).await.0, 404);
    rig.trouble(Rule::new(Trouble::ListError { rows: 3 }));
    assert_eq!(ids(&list(&rig, json!({})).await.expect("whole")), ["S-00", "S-01", "S-02", "error"]);
    rig.trouble(Rule::new(Trouble::MixedList { without_every: 2, twice: true, reversed: true, extra: true }));
    assert_eq!(ids(&list(&rig, json!({"limit": 4})).await.expect("whole")), ["S-02", "S-02", "S-00", "S-00", "S-01"]);
    rig.trouble(Rule::new(Trouble::ListCut { rows: 3 }));
    assert!(list(&rig, json!({})).await.is_err());
}

#[tokio::test]
async fn another_writer_and_lagging_reads_befall_coupons_too() {
    let rig = rig();
    let path = format!("{COUPON}/externalId/{CAMPAIGN}/S-1");
    rig.faults(|faults| {
        faults.rules = vec![Rule::new(Trouble::LostUpdate { key: "code".to_owned(), value: "B2".to_owned() }).id("S-1").method("GET")];
    });
    assert_eq!(rig.get(&path).await.1["metaData"]["code"], "A1");
    assert_eq!(rig.sandbox.coupon("S-1").expect("there")["metaData"]["code"], "B2");
    rig.faults(|faults| {
        faults.rules = Vec::new();
        faults.members_lag_ms = 60_000;
    });
    assert_eq!(rig.get(&path).await.1["metaData"]["store"], "12");
    rig.ask("PUT", COUPON, key("S-1", json!({"metaData": {"store": "14"}}))).await;
    assert_eq!(rig.get(&path).await.1["metaData"]["store"], "12");
    rig.trouble(Rule::new(Trouble::DeleteMember).id("S-2"));
    assert_eq!(rig.ask("PUT", COUPON, key("S-2", json!({"sku": "K"}))).await.0, 404);
}
