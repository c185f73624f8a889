//! The sample shows every option, and is right with and without them.

use serde_json::Value;

use super::*;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The sample with its options taken out of their comments: a `#` that is followed by no space.
fn uncommented() -> String {
    let option = |line: &str| {
        line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '"' || c == '[')).map(str::to_owned)
    };
    SAMPLE.lines().map(|line| option(line).unwrap_or_else(|| line.to_owned()) + "\n").collect()
}

#[cfg(feature = "pgp")]
#[test]
fn the_sample_is_right_as_it_stands() {
    let config = load(&root().join("samples/passferry.toml")).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(config.feeds.len(), 9);
}

#[cfg(feature = "pgp")]
#[test]
fn the_sample_is_right_with_every_option_on_and_they_stand_at_their_defaults() {
    let commented = load_text(SAMPLE, &root().join("samples")).unwrap();
    let config = load_text(&uncommented(), &root().join("samples")).unwrap_or_else(|faults| panic!("{faults}"));
    let (off, on) = (&commented.feeds["points"], &config.feeds["points"]);
    assert_eq!((off.guard.clone(), off.limits.clone()), (on.guard.clone(), on.limits.clone()));
    assert_eq!((&off.after, &off.complete, off.mode, &off.order), (&on.after, &on.complete, on.mode, &on.order));
    assert_eq!((&off.reports.folder, off.report_mode, &off.dialect), (&on.reports.folder, on.report_mode, &on.dialect));
    assert_eq!(off.source.wake, on.source.wake);
    assert_eq!((commented.drain, commented.workers, commented.retention), (config.drain, config.workers, config.retention));
    assert_eq!(commented.key_retention, config.key_retention);
    assert_eq!((commented.reserve, commented.network_state), (config.reserve, config.network_state));
    assert!((commented.space_factor - config.space_factor).abs() < f64::EPSILON);
    assert_eq!(off.fingerprint, on.fingerprint);
}

/// Options by the type of their table and their name: the place where each was first looked for, and none once it was seen. A type that
/// stands in several places is shown in one of them.
type Looked = std::collections::BTreeMap<(String, String), Option<String>>;

/// Looks for the options of the schema in the tables.
fn look<'a>(schema: &'a Value, whole: &'a Value, tables: &[&toml::Value], kind: &str, place: &str, looked: &mut Looked) {
    // The places of a secret are the same wherever it stands; the sample shows each place once.
    if schema["properties"]["credential"].is_object() {
        return;
    }
    if let Some(name) = schema["$ref"].as_str() {
        let target = whole.pointer(name.trim_start_matches('#')).unwrap_or_else(|| panic!("{name} is not in the schema"));
        look(target, whole, tables, name, place, looked);
    }
    for choice in ["anyOf", "oneOf", "allOf"].iter().filter_map(|key| schema[key].as_array()).flatten() {
        look(choice, whole, tables, kind, place, looked);
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let values: Vec<&toml::Value> = tables.iter().filter_map(|table| table.get(name)).collect();
        let here = format!("{place}.{name}");
        let seen = looked.entry((kind.to_owned(), name.clone())).or_insert_with(|| Some(here.clone()));
        if !values.is_empty() {
            *seen = None;
            look(property, whole, &values, &here, &here, looked);
        }
    }
    if schema["additionalProperties"].is_object() {
        let values: Vec<&toml::Value> = tables.iter().filter_map(|table| table.as_table()).flat_map(|table| table.values()).collect();
        let here = format!("{place}.*");
        look(&schema["additionalProperties"], whole, &values, &here, &here, looked);
    }
}

/// Options of the schema that the sample does not have, with a place of each.
fn missing(schema: &Value, sample: &toml::Value) -> Vec<String> {
    let mut looked = Looked::new();
    look(schema, schema, &[sample], "", "", &mut looked);
    looked.into_values().flatten().collect()
}

#[test]
fn the_sample_shows_every_option() {
    let schema = json_schema();
    let sample: toml::Value = toml::from_str(&uncommented()).unwrap();
    let absent = missing(&schema, &sample);
    assert!(absent.is_empty(), "not in samples/passferry.toml: {absent:#?}");
    for place in ["file", "env", "credential"] {
        assert!(SAMPLE.contains(&format!("= {{ {place} = ")), "no secret of the sample is at a {place}");
    }
    // The walk itself must be able to fail.
    let bare: toml::Value = toml::from_str("[feed.x.guard]\nrows = \"1%..2%\"").unwrap();
    let absent = missing(&schema, &bare);
    assert!(absent.contains(&".feed.*.guard.rejects".to_owned()) && absent.contains(&".source".to_owned()), "{absent:?}");
}

#[test]
fn the_schema_in_the_repository_is_fresh() {
    let path = root().join("schemas/config.json");
    let fresh = serde_json::to_string_pretty(&json_schema()).unwrap() + "\n";
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::write(&path, &fresh).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(stored == fresh, "schemas/config.json is old; run the tests once with UPDATE_SCHEMAS=1");
}

#[test]
fn the_schema_knows_no_null_and_describes_every_option() {
    fn walk(schema: &Value, place: &str) {
        assert_ne!(schema["type"], "null", "{place}");
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            assert!(property["description"].is_string(), "{place}.{name} has no description");
        }
        match schema {
            Value::Object(object) => object.iter().for_each(|(name, inner)| walk(inner, &format!("{place}/{name}"))),
            Value::Array(items) => items.iter().for_each(|inner| walk(inner, place)),
            Value::String(text) => assert_ne!(text, "null", "{place}"),
            _ => {}
        }
    }
    walk(&json_schema(), "");
}

#[cfg(feature = "json-schema")]
#[test]
fn an_editor_accepts_the_sample_and_refuses_a_misspelt_key() {
    let validator = jsonschema::validator_for(&json_schema()).unwrap();
    let as_json = |text: &str| serde_json::to_value(toml::from_str::<toml::Value>(text).unwrap()).unwrap();
    let errors: Vec<String> =
        validator.iter_errors(&as_json(&uncommented())).map(|error| format!("{} {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    assert!(!validator.is_valid(&as_json(&SAMPLE.replace("pattern = ", "patern = "))));
    assert!(!validator.is_valid(&as_json(&SAMPLE.replace("key = { env = \"PASSKIT_KEY\" }", "key = \"hunter2\""))));
}
