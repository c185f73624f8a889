//! Words that exporters and spreadsheets write where there is no value (contracts/exports.md section 0).

/// Who writes this word for "no value", and what to do; nothing for other texts.
pub fn no_value(text: &str) -> Option<String> {
    let who = match text {
        r"\N" => "Snowflake, Redshift and MySQL write",
        "NULL" | "null" | "Null" | "(null)" | "<null>" | "nil" => "database tools write",
        "None" | "NaN" | "nan" | "NaT" | "<NA>" => "Python's exports write",
        "#N/A" | "N/A" | "n/a" | "NA" | "-" | "--" => "spreadsheets and their users write",
        _ => return None,
    };
    let quoted = serde_json::Value::from(text);
    Some(format!("{who} `{text}` for \"no value\": add {quoted} to the missingValues of the field or the schema"))
}

#[cfg(test)]
mod tests {
    use super::no_value;
    use crate::schema::Schema;

    #[test]
    fn words_for_no_value_are_known_where_nobody_declared_them() {
        let schema = Schema::parse(r#"{"fields": [{"name": "n", "type": "integer"}, {"name": "d", "type": "date"}]}"#).unwrap();
        for field in schema.fields() {
            let said = field.read(r"\N").unwrap_err().remove(0).suggestion.unwrap();
            assert!(said.starts_with("Snowflake") && said.contains(r#"add "\\N" to the missingValues"#), "{said}");
            assert!(field.read("NULL").unwrap_err().remove(0).suggestion.unwrap().contains("`NULL`"));
        }
        for text in ["", "0", "no", "nullable"] {
            assert_eq!(no_value(text), None, "{text}");
        }
    }
}
