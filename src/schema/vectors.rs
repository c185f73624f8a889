//! The conformance vectors of contracts/table-schema.md section 14, column "expected here", and the rules of its other sections.

use std::borrow::Cow;

use super::value::Value;
use super::{Empty, FieldType, KeyKind, Schema, SchemaFault};
use crate::outcome::{Code, Problem};

/// A version 2 schema of one field `x` with these properties.
fn one_field(properties: &str) -> Schema {
    let text =
        format!(r#"{{"$schema": "https://datapackage.org/profiles/2.0/tableschema.json", "fields": [{{"name": "x", {properties}}}]}}"#);
    Schema::parse(&text).unwrap_or_else(|faults| panic!("{properties}: {faults:?}"))
}

fn faults(text: &str) -> Vec<SchemaFault> {
    Schema::parse(text).expect_err("the schema has faults")
}

fn paths(text: &str) -> Vec<String> {
    faults(text).into_iter().map(|fault| fault.path).collect()
}

/// The canonical value, `null`, or the codes of the problems, with the constraint's name where there is one.
fn read(schema: &Schema, text: &str) -> String {
    match schema.fields()[0].read(text) {
        Ok(Some(value)) => value.canonical().into_owned(),
        Ok(None) => "null".to_owned(),
        Err(problems) => problems.iter().map(shown).collect::<Vec<_>>().join(" "),
    }
}

fn shown(problem: &Problem) -> String {
    match (problem.code, &problem.constraint) {
        (Code::TypeError, _) => "err".to_owned(),
        (Code::ConstraintError, Some(constraint)) => constraint.clone(),
        (code, _) => code.to_string(),
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn cells() {
    let number = r#""type": "number""#;
    let grouped = r#""type": "number", "groupChar": ",""#;
    let european = r#""type": "number", "decimalChar": ",", "groupChar": ".""#;
    let bare = r#""type": "number", "bareNumber": false"#;
    let integer = r#""type": "integer""#;
    let grouped_integer = r#""type": "integer", "groupChar": ",""#;
    let boolean = r#""type": "boolean""#;
    let yes = r#""type": "boolean", "trueValues": ["Y"]"#;
    let date = r#""type": "date""#;
    let slashes = r#""type": "date", "format": "%d/%m/%Y""#;
    let datetime = r#""type": "datetime""#;
    let email = r#""type": "string", "format": "email""#;
    let uuid = r#""type": "string", "format": "uuid""#;
    let uri = r#""type": "string", "format": "uri""#;
    let binary = r#""type": "string", "format": "binary""#;
    let pattern = r#""type": "string", "constraints": {"pattern": "a.c"}"#;
    let two = r#""type": "string", "constraints": {"minLength": 2}"#;
    let integers = r#""type": "list", "itemType": "integer", "delimiter": ";""#;
    let dash = r#""type": "string", "missingValues": ["-"]"#;
    for (properties, cases) in [
        (
            number,
            &[
                ("+1.5", "1.5"),
                ("-.5", "-0.5"),
                ("1e3", "1000"),
                (" 7 ", "7"),
                ("NaN", "err"),
                ("INF", "err"),
                ("-inf", "err"),
                ("1,000", "err"),
                ("0x10", "err"),
                ("1_000", "err"),
                ("5.", "5"),
                (".", "err"),
                ("1e", "err"),
                ("", "null"),
            ][..],
        ),
        (
            grouped,
            &[
                ("1,000.5", "1000.5"),
                ("1,0,0", "bad-grouping"),
                ("1000,000", "bad-grouping"),
                ("1,000,000", "1000000"),
                ("1.000,5", "bad-grouping"),
                ("-1,000", "-1000"),
                (",100", "bad-grouping"),
                ("1000", "1000"),
            ],
        ),
        (european, &[("1.000,5", "1000.5"), ("1000.5", "bad-grouping"), ("1.250,50", "1250.5"), ("1250,5", "1250.5")]),
        (bare, &[("€95", "95"), ("95%", "95"), ("EUR 95", "95"), ("-3 pts", "-3"), ("$-3", "-3"), ("€.5", "0.5"), ("EUR", "err")]),
        (
            integer,
            &[
                ("01", "1"),
                ("+1", "1"),
                (" 7 ", "7"),
                ("1.0", "err"),
                ("1e3", "err"),
                ("1_000", "err"),
                ("９", "err"),
                ("-", "err"),
                ("123456789012345678901234567890", "123456789012345678901234567890"),
            ],
        ),
        (grouped_integer, &[("1,000", "1000"), ("1,00", "bad-grouping")]),
        (boolean, &[("true", "true"), ("1", "true"), ("0", "false"), ("yes", "err"), ("T", "err"), (" true", "err")]),
        (yes, &[("Y", "true"), ("y", "err"), ("true", "err"), ("false", "false")]),
        (date, &[("2026-01-02", "2026-01-02"), ("2026-1-2", "err"), ("20260102", "err"), ("2026-02-30", "err"), (" 2026-01-02", "err")]),
        (slashes, &[("2/1/2026", "2026-01-02"), ("02/01/2026", "2026-01-02"), ("2026-01-02", "err")]),
        (
            datetime,
            &[
                ("2026-01-02T03:04:05", "2026-01-02T03:04:05"),
                ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
                ("2026-01-02T03:04:05.123+02:00", "2026-01-02T01:04:05.123Z"),
                ("2026-01-02 03:04:05", "err"),
                ("2026-01-02T03:04", "err"),
                ("2026-01-02T03:04:60", "err"),
                ("2026-01-02T03:04:05+0200", "err"),
            ],
        ),
        (r#""type": "time""#, &[("03:04:05", "03:04:05"), ("03:04:05.5", "03:04:05.500"), ("03:04", "err"), ("25:00:00", "err")]),
        (r#""type": "year""#, &[("2026", "2026"), ("26", "err"), ("02026", "err")]),
        (r#""type": "yearmonth""#, &[("2026-01", "2026-01"), ("2026-13", "err"), ("2026-1", "err")]),
        (r#""type": "duration""#, &[("P1Y2M3DT10H30M", "P1Y2M3DT10H30M"), ("PT1.5S", "PT1.5S"), ("1D", "err")]),
        (email, &[("a@b.co", "a@b.co"), ("a@b", "err"), ("A <a@b.co>", "err")]),
        (
            uuid,
            &[
                ("123e4567-e89b-12d3-a456-426614174000", "123e4567-e89b-12d3-a456-426614174000"),
                ("123e4567e89b12d3a456426614174000", "123e4567e89b12d3a456426614174000"),
                ("123e4567", "err"),
            ],
        ),
        (uri, &[("http://a.b/c", "http://a.b/c"), ("mailto:x@y", "mailto:x@y"), ("a.b", "err")]),
        (binary, &[("aGk=", "aGk="), ("aGk", "err"), ("###", "err")]),
        (pattern, &[("abc", "abc"), ("xabc", "pattern"), ("abcd", "pattern")]),
        (two, &[("é", "minLength"), ("éé", "éé"), ("😀😀", "😀😀")]),
        (r#""type": "list""#, &[("a,b", "a,b"), ("", "null")]),
        (integers, &[("1;2", "1,2"), ("1;x", "err"), ("1;;2", "err")]),
        (r#""type": "any""#, &[("x", "x"), ("", "null")]),
        (r#""title": "no type""#, &[(" x", " x"), ("", "null")]),
        (dash, &[("", ""), ("-", "null")]),
        (r#""type": "integer", "missingValues": []"#, &[("", "err")]),
        (r#""type": "object""#, &[(r#"{"a": 1}"#, r#"{"a":1}"#), ("[1]", "err"), ("{", "err")]),
        (r#""type": "array""#, &[("[1]", "[1]"), ("{}", "err")]),
        (r#""type": "geopoint""#, &[("2.35, 48.85", "2.35, 48.85"), ("200, 0", "err")]),
        (r#""type": "geojson""#, &[(r#"{"type":"Point","coordinates":[1,2]}"#, r#"{"type":"Point","coordinates":[1,2]}"#), ("{}", "err")]),
        (r#""type": "date", "format": "any""#, &[("2026/11/20", "2026-11-20"), ("20 Nov 2026", "2026-11-20"), ("02/01/2026", "err")]),
        (
            r#""type": "datetime", "format": "any""#,
            &[
                ("2026-11-20 23:15:04.5 -0800", "2026-11-21T07:15:04.500Z"),
                ("2026-11-20T23:15", "2026-11-20T23:15:00"),
                ("11/20/2026 23:15:04", "err"),
            ],
        ),
    ] {
        let schema = one_field(properties);
        for (text, expected) in cases {
            assert_eq!(&read(&schema, text), expected, "{properties} reads {text:?}");
        }
    }
}

#[test]
fn constraints() {
    for (properties, cases) in [
        (
            r#""type": "integer", "constraints": {"required": true, "minimum": 0, "maximum": "10"}"#,
            &[("", "required"), ("-1", "minimum"), ("0", "0"), ("10", "10"), ("99999999999999999999", "maximum")][..],
        ),
        (
            r#""type": "number", "constraints": {"exclusiveMinimum": 0, "exclusiveMaximum": 1.5}"#,
            &[("0", "exclusiveMinimum"), ("1.5", "exclusiveMaximum"), ("0.0001", "0.0001")],
        ),
        (
            r#""type": "number", "decimalChar": ",", "constraints": {"minimum": "1,5", "maximum": 2.5}"#,
            &[("1,4", "minimum"), ("2,5", "2.5"), ("2,6", "maximum")],
        ),
        (
            r#""type": "date", "format": "%d/%m/%Y", "constraints": {"minimum": "01/02/2026"}"#,
            &[("31/01/2026", "minimum"), ("1/2/2026", "2026-02-01")],
        ),
        (
            r#""type": "datetime", "constraints": {"maximum": "2026-01-01T00:00:00Z"}"#,
            &[("2026-01-01T01:00:00+02:00", "2025-12-31T23:00:00Z"), ("2026-01-01T01:00:00Z", "maximum")],
        ),
        (
            r#""type": "duration", "constraints": {"minimum": "P28D", "maximum": "P1Y"}"#,
            &[("P1M", "P1M"), ("P27D", "minimum"), ("P365D", "P365D"), ("P366D", "maximum"), ("P12M", "P12M")],
        ),
        (r#""type": "yearmonth", "constraints": {"minimum": "2026-02"}"#, &[("2026-01", "minimum"), ("2026-02", "2026-02")]),
        (r#""type": "year", "constraints": {"minimum": 2000}"#, &[("1999", "minimum"), ("2000", "2000")]),
        (r#""type": "integer", "constraints": {"enum": [1, "2"]}"#, &[("01", "1"), ("2", "2"), ("3", "enum")]),
        (r#""type": "boolean", "constraints": {"enum": [true]}"#, &[("1", "true"), ("0", "enum")]),
        (
            r#""type": "string", "constraints": {"minLength": 2, "maxLength": 3, "pattern": "[a-z]*", "enum": ["ab", "abc"]}"#,
            &[("A", "minLength pattern enum"), ("abcd", "maxLength enum"), ("ab", "ab")],
        ),
        (r#""type": "list", "constraints": {"maxLength": 2}"#, &[("a,b,c", "maxLength"), ("a", "a")]),
        (r#""type": "object", "constraints": {"minLength": 1}"#, &[("{}", "minLength")]),
        (
            r#""type": "string", "categories": ["gold", {"value": "silver", "label": "Silver"}]"#,
            &[("gold", "gold"), ("bronze", "category-error")],
        ),
        (
            r#""type": "integer", "categories": [{"value": 1, "label": "low"}, {"value": 2, "label": "high"}]"#,
            &[("1", "1"), ("3", "category-error")],
        ),
        (r#""type": "string", "x-passferry": {"empty": "reject"}"#, &[("", "empty-rejected"), ("a", "a")]),
    ] {
        let schema = one_field(properties);
        for (text, expected) in cases {
            assert_eq!(&read(&schema, text), expected, "{properties} reads {text:?}");
        }
    }
}

#[cfg(feature = "json-schema")]
#[test]
fn json_schema_constraint() {
    let schema =
        one_field(r#""type": "object", "constraints": {"jsonSchema": {"required": ["a"], "properties": {"a": {"type": "integer"}}}}"#);
    assert_eq!(read(&schema, r#"{"a": 1}"#), r#"{"a":1}"#);
    assert_eq!(read(&schema, r#"{"a": "secret"}"#), "jsonSchema");
    let problems = schema.fields()[0].read(r#"{"a": "secret"}"#).unwrap_err();
    assert!(!problems[0].message.contains("secret"), "{}", problems[0].message);
}

#[test]
fn a_pattern_is_offered_for_what_warehouses_write() {
    let suggestion =
        |properties: &str, text: &str| one_field(properties).fields()[0].read(text).unwrap_err().remove(0).suggestion.unwrap_or_default();
    let datetime = r#""type": "datetime""#;
    assert_eq!(suggestion(datetime, "2026-01-02 03:04:05"), "set the field's format to `%Y-%m-%d %H:%M:%S`");
    assert_eq!(suggestion(datetime, "2026-11-20 23:15:04.000 -0800"), "set the field's format to `%Y-%m-%d %H:%M:%S.%f %z`");
    assert_eq!(suggestion(datetime, "2026-11-20 23:15:04 UTC"), "set the field's format to `%Y-%m-%d %H:%M:%S %Z`");
    assert_eq!(suggestion(datetime, "11/20/2026 11:15:04 PM"), "set the field's format to `%m/%d/%Y %I:%M:%S %p`");
    assert_eq!(suggestion(r#""type": "date""#, "02/01/2026"), "set the field's format to `%d/%m/%Y` or `%m/%d/%Y`");
    assert_eq!(suggestion(r#""type": "number""#, "12,50"), "write `.` before the decimals, or set decimalChar to `,`");
}

#[test]
fn no_message_repeats_the_cell() {
    for (properties, cell) in [
        (r#""type": "number""#, "sesame"),
        (r#""type": "boolean""#, "sesame"),
        (r#""type": "datetime""#, "sesame"),
        (r#""type": "string", "format": "email""#, "sesame"),
        (r#""type": "list", "itemType": "integer""#, "1,sesame"),
        (r#""type": "string", "constraints": {"maxLength": 2, "pattern": "a", "enum": ["a"]}"#, "sesame"),
        (r#""type": "string", "categories": ["a"]"#, "sesame"),
    ] {
        for problem in one_field(properties).fields()[0].read(cell).unwrap_err() {
            assert!(!format!("{problem:?}").contains("sesame"), "{problem:?}");
        }
    }
}

fn two_fields(fields_match: &str, more: &str) -> Schema {
    let fields = r#"[{"name": "id", "type": "integer"}, {"name": "name", "type": "string"}]"#;
    Schema::parse(&format!(r#"{{"fields": {fields}, "fieldsMatch": "{fields_match}"{more}}}"#)).unwrap()
}

/// Codes of the header's faults, or of the problems of the row `1,x`.
fn judge(schema: &Schema, header: &str) -> String {
    let labels: Vec<String> = header.split(',').map(str::to_owned).collect();
    let columns = match schema.columns(Some(&labels)) {
        Ok(columns) => columns,
        Err(faults) => return faults.iter().map(|fault| fault.code.as_str()).collect::<Vec<_>>().join(" "),
    };
    let codes = row(schema, &columns, &["1", "x"]);
    if codes.is_empty() { "ok".to_owned() } else { format!("ok, {}", codes.join(" ")) }
}

fn row(schema: &Schema, columns: &super::Columns, cells: &[&'static str]) -> Vec<String> {
    let cells: Vec<Cow<'static, str>> = cells.iter().map(|cell| Cow::Borrowed(*cell)).collect();
    let (mut values, mut problems) = (Vec::new(), Vec::new());
    schema.read(columns, &cells, &[], &mut values, &mut problems);
    assert_eq!(values.len(), schema.fields().len());
    problems.iter().map(shown).collect()
}

#[test]
fn headers() {
    const MATCHES: [&str; 5] = ["exact", "equal", "subset", "superset", "partial"];
    for (header, expected) in [
        ("id,name", ["ok", "ok", "ok", "ok", "ok"]),
        ("name,id", ["incorrect-label incorrect-label", "ok, err", "ok, err", "ok, err", "ok, err"]),
        ("id", ["missing-label", "missing-label", "missing-label", "ok, extra-cell", "ok, extra-cell"]),
        ("id,name,extra", ["extra-label", "extra-label", "ok, missing-cell", "extra-label", "ok, missing-cell"]),
        ("ID,name", ["incorrect-label", "extra-label missing-label", "missing-label", "extra-label", "ok"]),
        ("id,", ["blank-label", "extra-label missing-label", "missing-label", "extra-label", "ok"]),
        (
            "id,id",
            ["duplicate-label", "duplicate-label missing-label", "duplicate-label missing-label", "duplicate-label", "duplicate-label"],
        ),
        (
            "foo,bar",
            [
                "incorrect-label incorrect-label",
                "extra-label extra-label missing-label missing-label",
                "missing-label missing-label",
                "extra-label extra-label",
                "unmatched-header",
            ],
        ),
        (" id ,name", ["ok", "ok", "ok", "ok", "ok"]),
        (",", ["blank-header", "blank-header", "blank-header", "blank-header", "blank-header"]),
    ] {
        for (fields_match, expected) in MATCHES.into_iter().zip(expected) {
            assert_eq!(judge(&two_fields(fields_match, ""), header), expected, "{header:?} {fields_match}");
        }
    }
    assert_eq!(judge(&two_fields("exact", r#", "x-passferry": {"headerCase": false}"#), "ID,Name"), "ok");
    assert_eq!(judge(&two_fields("superset", r#", "primaryKey": "id""#), "name"), "missing-label");
}

#[test]
fn aliases_and_ignored_columns() {
    let schema = Schema::parse(
        r#"{"fields": [{"name": "points", "type": "integer", "x-passferry": {"aliases": ["Loyalty Points"]}}, {"name": "note"}], "fieldsMatch": ["subset"]}"#,
    )
    .unwrap();
    let labels: Vec<String> = ["_loaded_at", "Loyalty\nPoints", "", "note"].map(str::to_owned).to_vec();
    let columns = schema.columns(Some(&labels)).unwrap();
    assert_eq!(columns.column_of_field, [Some(1), Some(3)]);
    assert_eq!(columns.field_of_column, [None, Some(0), None, Some(1)]);
    assert_eq!(columns.warnings, ["columns not in the schema are ignored: `_loaded_at`, column 3"]);
    assert_eq!(
        (schema.field_index("Loyalty Points"), schema.field_index("points"), schema.field_index("Points")),
        (Some(0), Some(0), None)
    );
    let both: Vec<String> = ["points", "Loyalty Points", "note"].map(str::to_owned).to_vec();
    assert_eq!(schema.columns(Some(&both)).unwrap_err()[0].code, Code::DuplicateLabel);
}

#[test]
fn records() {
    let schema = Schema::parse(
        r#"{"fields": [{"name": "id"}, {"name": "points", "type": "integer", "constraints": {"required": true}}, {"name": "on", "type": "date"}],
            "primaryKey": ["id"], "missingValues": ["", "\\N"]}"#,
    )
    .unwrap();
    let columns = schema.columns(None).unwrap();
    for (cells, expected) in [
        (&["a", "1", "2026-01-01"][..], &[][..]),
        (&["a", "x", "y"], &["err", "err"]),
        (&["a"], &["required", "missing-cell", "missing-cell"]),
        (&["a", "1", "", "p", "q"], &["extra-cell", "extra-cell"]),
        (&["", "", "\\N"], &["blank-row"]),
        (&[], &["blank-row"]),
        (&["", "x", ""], &["err", "primary-key"]),
        (&["", "1", "", "p"], &["extra-cell", "primary-key"]),
    ] {
        assert_eq!(row(&schema, &columns, cells), expected, "{cells:?}");
    }
}

#[test]
fn values_are_left_per_field_and_none_where_faulty() {
    let schema = two_fields("equal", "");
    let labels = ["name", "id"].map(str::to_owned);
    let columns = schema.columns(Some(&labels)).unwrap();
    let cells = [Cow::Borrowed("Zoë"), Cow::Borrowed("7")];
    let (mut values, mut problems) = (vec![None; 9], Vec::new());
    schema.read(&columns, &cells, &[], &mut values, &mut problems);
    assert_eq!(values, [Some(Value::Integer(7)), Some(Value::Text("Zoë".into()))]);
}

#[test]
fn keys_of_every_kind() {
    let schema = Schema::parse(
        r#"{"fields": [{"name": "a"}, {"name": "b", "constraints": {"unique": true}}, {"name": "c"}], "primaryKey": ["a"], "uniqueKeys": [["b", "c"]]}"#,
    )
    .unwrap();
    let keys: Vec<_> = schema.keys().iter().map(|key| (key.kind, key.fields.clone())).collect();
    assert_eq!(keys, [(KeyKind::Primary, vec![0]), (KeyKind::Unique, vec![1]), (KeyKind::UniqueKey, vec![1, 2])]);
    assert!(schema.fields()[0].in_primary_key && !schema.fields()[0].required);
}

#[test]
fn editions_differ_where_the_standard_says() {
    let v1 = Schema::parse(r#"{"fields": [{"name": "a"}, {"name": "a"}], "primaryKey": "a"}"#).unwrap();
    assert_eq!(v1.fields()[0].kind, FieldType::String);
    let v2 = r#"{"$schema": "https://datapackage.org/profiles/2.0/tableschema.json", "fields": [{"name": "a"}, {"name": "a"}]}"#;
    assert_eq!(paths(v2), ["fields[1].name"]);
    assert_eq!(one_field(r#""title": "X""#).fields()[0].kind, FieldType::Any);
    let prefixed = one_field(r#""type": "date", "format": "fmt:%d/%m/%Y""#);
    assert_eq!(read(&prefixed, "2/1/2026"), "2026-01-02");
}

#[test]
fn a_resource_brings_its_dialect() {
    let resource = r#"{"name": "members", "schema": {"fields": [{"name": "a", "type": "integer"}]}, "dialect": {"delimiter": ";", "nullSequence": "\\N"}}"#;
    let schema = Schema::parse(resource).unwrap();
    assert_eq!(schema.dialect().and_then(|dialect| dialect.delimiter.as_deref()), Some(";"));
    assert_eq!((read(&schema, "\\N"), read(&schema, "")), ("null".to_owned(), "null".to_owned()));
    assert!(Schema::parse(&format!(r#"{{"resources": [{resource}]}}"#)).is_ok());
    assert_eq!(paths(r#"{"schema": {"fields": [{"name": "a"}]}, "dialect": {"delimiter": ""}}"#), ["delimiter"]);
}

#[test]
fn every_fault_of_a_descriptor_is_found_at_once() {
    let found = paths(
        r#"{"fields": [
            {"type": "string"},
            {"name": "a", "type": "strnig"},
            {"name": "b", "type": "integer", "required": true, "constraints": {"pattern": "x", "minimum": "low"}},
            {"name": "c", "type": "date", "format": "%Q"},
            {"name": "d", "constraints": {"pattern": "(?=a)", "minLength": -1, "enum": []}},
            {"name": "e", "type": "number", "groupChar": ".", "example": "x"},
            {"name": "f", "type": "integer", "example": "x"},
            {"name": "g", "type": "boolean", "constraints": {"unique": true}, "trueValues": []},
            {"name": "h", "categories": ["a", "a"]},
            {"name": "i", "categories": ["a"], "constraints": {"enum": ["b"]}},
            {"name": "j", "x-passferry": {"personel": true, "empty": "drop"}},
            {"name": "k", "type": "time", "format": "%I:%M"},
            {"name": "l", "type": "string", "format": "ipv4"},
            {"name": "m", "type": "integer", "constraints": {"minimum": 5, "maximum": 4}}
        ], "fieldsMatch": "some", "primaryKey": ["nope", "a"], "uniqueKeys": [], "missingValues": [1],
        "foreignKeys": [{"fields": ["d"], "reference": {"fields": ["d", "e"]}}]}"#,
    );
    insta::assert_json_snapshot!(found, @r#"
    [
      "missingValues[0]",
      "fields[0].name",
      "fields[1].type",
      "fields[2].required",
      "fields[2].constraints.minimum",
      "fields[2].constraints.pattern",
      "fields[3].format",
      "fields[4].constraints.minLength",
      "fields[4].constraints.pattern",
      "fields[4].constraints.enum",
      "fields[5].groupChar",
      "fields[5].example",
      "fields[6].example",
      "fields[7].trueValues",
      "fields[7].constraints.unique",
      "fields[8].categories",
      "fields[9].constraints.enum",
      "fields[10].x-passferry.personel",
      "fields[10].x-passferry.empty",
      "fields[11].format",
      "fields[12].format",
      "fields[13].constraints.minimum",
      "fieldsMatch",
      "primaryKey[0]",
      "uniqueKeys",
      "foreignKeys[0]"
    ]
    "#);
    assert_eq!(faults("{").len(), 1);
    assert_eq!(paths("[]"), [""]);
    assert_eq!(paths("{}"), ["fields"]);
}

#[test]
fn what_is_likely_not_meant_is_warned_of() {
    let schema = Schema::parse(
        r#"{"fields": [{"name": "a", "type": "date", "format": "any", "constraints": {"minimun": "2026-01-01"}}],
            "foreignKeys": [{"fields": "a", "reference": {"resource": "", "fields": "a"}}]}"#,
    )
    .unwrap();
    assert_eq!(schema.warnings().len(), 3, "{:?}", schema.warnings());
    assert!(schema.warnings()[1].contains("did you mean `minimum`?"), "{:?}", schema.warnings());
}

#[test]
fn own_properties_are_read() {
    let schema =
        one_field(r#""type": "string", "x-passferry": {"personal": true, "empty": "clear", "identifier": true, "aliases": ["y"]}"#);
    let field = &schema.fields()[0];
    assert!(field.personal && field.identifier && field.empty == Empty::Clear && field.aliases == ["y"]);
}

#[test]
fn formats_are_tried_in_their_order_and_never_guessed_between() {
    let field = |more: &str| format!(r#"{{"fields": [{{"name": "at", "type": "datetime", {more}}}]}}"#);
    let schema = Schema::parse(&field(
        r#""format": "%m/%d/%Y %H:%M:%S", "x-passferry": {"formats": ["%m/%d/%y %H:%M:%S", "default", "%Y-%m-%d %H:%M:%S%z", "epoch", "epoch-ms"]}"#,
    ))
    .unwrap();
    let read = |text: &str| schema.fields()[0].read(text).map(|value| value.map(|value| value.canonical().into_owned()));
    for (text, instant) in [
        ("09/30/2014 13:34:08", "2014-09-30T13:34:08"),
        ("09/30/14 13:34:08", "2014-09-30T13:34:08"),
        ("2014-09-30T13:34:08", "2014-09-30T13:34:08"),
        ("2014-09-30 13:34:08+02:00", "2014-09-30T11:34:08Z"),
        ("1412098448", "2014-09-30T17:34:08Z"),
        ("1412098448250", "2014-09-30T17:34:08.250Z"),
    ] {
        assert_eq!(read(text), Ok(Some(instant.to_owned())), "{text}");
    }
    assert!(read("30/09/2014 13:34:08").is_err() && read("14120984482").is_ok() && read("141209844825001").is_err());
    let faults = |more: &str| Schema::parse(&field(more)).unwrap_err()[0].to_string();
    insta::assert_snapshot!(faults(r#""format": "%d/%m/%Y", "x-passferry": {"formats": ["%m/%d/%Y"]}"#), @"fields[0].x-passferry.formats: `%d/%m/%Y` and `%m/%d/%Y` read `01/02/2003` as different times; nothing could tell which is meant");
    assert!(faults(r#""format": "%y-%m-%d", "x-passferry": {"formats": ["%d-%m-%y"]}"#).contains("different times"));
}

#[test]
fn words_for_nothing_count_only_without_quotes() {
    let text = r#"{"missingValues": ["", "\\N"], "fields": [
        {"name": "a", "type": "string"}, {"name": "b", "type": "string", "x-passferry": {"quotedEmpty": "text"}}, {"name": "c", "type": "integer"}]}"#;
    let schema = Schema::parse(text).unwrap();
    assert!(schema.tells_apart());
    let labels = ["a", "b", "c"].map(str::to_owned);
    let columns = schema.columns(Some(&labels)).unwrap();
    let read = |cells: [&'static str; 3], literal: &[usize]| {
        let cells = cells.map(std::borrow::Cow::Borrowed);
        let (mut values, mut problems) = (Vec::new(), Vec::new());
        schema.read(&columns, &cells, literal, &mut values, &mut problems);
        let shown: Vec<String> =
            values.iter().map(|value| value.as_ref().map_or("none".to_owned(), |value| format!("<{}>", value.canonical()))).collect();
        (shown.join(" "), problems.len())
    };
    assert_eq!(read(["\\N", "", "5"], &[]), ("none none <5>".to_owned(), 0));
    assert_eq!(read(["\\N", "", "5"], &[0, 1]), ("<\\N> <> <5>".to_owned(), 0));
    assert_eq!(read(["x", "\\N", ""], &[2]), ("<x> none none".to_owned(), 0), "a quoted empty cell has no value unless its field says so");
}

#[test]
fn an_apostrophe_goes_by_a_named_rule() {
    let schema = Schema::parse(r#"{"fields": [{"name": "id", "x-passferry": {"strip": "apostrophe"}}, {"name": "t"}]}"#).unwrap();
    let labels = ["id", "t"].map(str::to_owned);
    let columns = schema.columns(Some(&labels)).unwrap();
    let mut cells = ["'721'", "'x"].map(std::borrow::Cow::Borrowed);
    schema.strip(&columns, &mut cells);
    assert_eq!(cells, ["721'", "'x"]);
}
