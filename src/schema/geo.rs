//! Places: points, and the structure of GeoJSON (RFC 7946) and TopoJSON.

use rust_decimal::Decimal;
use serde_json::Value as Json;

use super::kind::{Reading, Unreadable};
use super::number::{self, NumberForm};
use super::value::Value;

/// A format of `geopoint`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PointForm {
    /// `lon, lat`.
    Pair,
    /// `[lon, lat]` as JSON.
    Array,
    /// `{"lon": …, "lat": …}` as JSON.
    Object,
}

impl PointForm {
    pub fn parse(format: &str) -> Option<PointForm> {
        Some(match format {
            "default" => PointForm::Pair,
            "array" => PointForm::Array,
            "object" => PointForm::Object,
            _ => return None,
        })
    }
}

pub(crate) fn point(text: &str, form: PointForm) -> Reading<'_> {
    let (degrees, otherwise) = match form {
        PointForm::Pair => {
            (text.split_once(',').and_then(|(lon, lat)| decimal(lon).zip(decimal(lat))), "is not a point in the form `lon, lat`")
        }
        PointForm::Array => (from_array(text), "is not a point in the form `[lon, lat]`"),
        PointForm::Object => (from_object(text), "is not a point in the form `{\"lon\": 0, \"lat\": 0}`"),
    };
    let (lon, lat) = degrees.ok_or_else(|| Unreadable::new(otherwise))?;
    let within = |degrees: Decimal, bound: i64| degrees.abs() <= Decimal::from(bound);
    if within(lon, 180) && within(lat, 90) {
        return Ok(Value::Point(Box::new([lon, lat])));
    }
    let problem = Unreadable::new("lies beyond 180 degrees of longitude or 90 of latitude");
    Err(if within(lat, 180) && within(lon, 90) { problem.suggest("write the longitude before the latitude") } else { problem })
}

fn decimal(text: &str) -> Option<Decimal> {
    match number::number(text, &NumberForm::default()) {
        Ok(Value::Number(degrees)) => Some(degrees),
        _ => None,
    }
}

fn json_decimal(json: &Json) -> Option<Decimal> {
    json.as_number().and_then(|number| decimal(&number.to_string()))
}

fn from_array(text: &str) -> Option<(Decimal, Decimal)> {
    let Json::Array(items) = serde_json::from_str(text).ok()? else { return None };
    let [lon, lat] = items.as_slice() else { return None };
    json_decimal(lon).zip(json_decimal(lat))
}

fn from_object(text: &str) -> Option<(Decimal, Decimal)> {
    let Json::Object(items) = serde_json::from_str(text).ok()? else { return None };
    if items.len() != 2 {
        return None;
    }
    json_decimal(items.get("lon")?).zip(json_decimal(items.get("lat")?))
}

pub(crate) fn geojson(text: &str) -> Reading<'_> {
    match serde_json::from_str::<Json>(text) {
        Ok(json) if is_geojson(&json) => Ok(Value::Json(Box::new(json))),
        _ => Err(Unreadable::new("is not a GeoJSON object")),
    }
}

pub(crate) fn topojson(text: &str) -> Reading<'_> {
    match serde_json::from_str::<Json>(text) {
        Ok(json)
            if json["type"] == "Topology" && json["objects"].is_object() && is_list(&json["arcs"], &|arc| is_list(arc, &is_position)) =>
        {
            Ok(Value::Json(Box::new(json)))
        }
        _ => Err(Unreadable::new("is not a TopoJSON topology")),
    }
}

fn is_list(json: &Json, fits: &dyn Fn(&Json) -> bool) -> bool {
    json.as_array().is_some_and(|items| items.iter().all(fits))
}

fn is_geojson(json: &Json) -> bool {
    match json["type"].as_str() {
        Some("FeatureCollection") => is_list(&json["features"], &is_feature),
        Some("Feature") => is_feature(json),
        _ => is_geometry(json),
    }
}

fn is_feature(json: &Json) -> bool {
    let optional = |name: &str, fits: fn(&Json) -> bool| json.get(name).is_some_and(|member| member.is_null() || fits(member));
    json["type"] == "Feature" && optional("geometry", is_geometry) && optional("properties", Json::is_object)
}

fn is_geometry(json: &Json) -> bool {
    let at = &json["coordinates"];
    match json["type"].as_str() {
        Some("Point") => is_position(at),
        Some("MultiPoint") => is_list(at, &is_position),
        Some("LineString") => is_line(at),
        Some("MultiLineString") => is_list(at, &is_line),
        Some("Polygon") => is_list(at, &is_ring),
        Some("MultiPolygon") => is_list(at, &|polygon| is_list(polygon, &is_ring)),
        Some("GeometryCollection") => is_list(&json["geometries"], &is_geometry),
        _ => false,
    }
}

fn is_position(json: &Json) -> bool {
    json.as_array().is_some_and(|numbers| numbers.len() >= 2 && numbers.iter().all(Json::is_number))
}

fn is_line(json: &Json) -> bool {
    is_list(json, &is_position) && json.as_array().is_some_and(|positions| positions.len() >= 2)
}

/// At least four positions, the last equal to the first.
fn is_ring(json: &Json) -> bool {
    is_list(json, &is_position) && json.as_array().is_some_and(|positions| positions.len() >= 4 && positions.first() == positions.last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points() {
        assert!(point("2.35, 48.85", PointForm::Pair).is_ok());
        assert!(point("[2.35, 48.85]", PointForm::Array).is_ok());
        assert!(point(r#"{"lon": 2.35, "lat": 48.85}"#, PointForm::Object).is_ok());
        for (text, form) in [
            ("181, 0", PointForm::Pair),
            ("0, 90.5", PointForm::Pair),
            ("2.35", PointForm::Pair),
            ("1, 2, 3", PointForm::Pair),
            ("[1]", PointForm::Array),
            (r#"["1", "2"]"#, PointForm::Array),
            (r#"{"lat": 1}"#, PointForm::Object),
        ] {
            assert!(point(text, form).is_err(), "{text}");
        }
    }

    #[test]
    fn geojson_structure() {
        for text in [
            r#"{"type":"Point","coordinates":[1,2]}"#,
            r#"{"type":"Feature","geometry":null,"properties":{}}"#,
            r#"{"type":"FeatureCollection","features":[]}"#,
            r#"{"type":"Polygon","coordinates":[[[0,0],[1,0],[1,1],[0,0]]]}"#,
            r#"{"type":"GeometryCollection","geometries":[{"type":"MultiPoint","coordinates":[]}]}"#,
        ] {
            assert!(geojson(text).is_ok(), "{text}");
        }
        for text in [
            "{}",
            r#"{"type":"Point","coordinates":["1","2"]}"#,
            r#"{"type":"LineString","coordinates":[[1,2]]}"#,
            r#"{"type":"Polygon","coordinates":[[[0,0],[1,0],[1,1],[0,1]]]}"#,
            r#"{"type":"Feature","properties":{}}"#,
            r#"{"type":"Circle","coordinates":[1,2]}"#,
        ] {
            assert!(geojson(text).is_err(), "{text}");
        }
        assert!(topojson(r#"{"type":"Topology","objects":{},"arcs":[[[0,0],[1,1]]]}"#).is_ok());
        assert!(topojson(r#"{"type":"Topology","objects":{}}"#).is_err());
    }
}
