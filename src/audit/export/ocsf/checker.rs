//! Holds an event against the published schema, strictly: `tests/cases/ocsf/schema-1.8.0.json` is compiled from it.

use std::net::IpAddr;
use std::sync::LazyLock;

use serde_json::{Map, Value};

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let text = include_str!("../../../../tests/cases/ocsf/schema-1.8.0.json");
    serde_json::from_str(text).unwrap()
});

/// The version the facts are of.
pub(super) fn version() -> &'static str {
    SCHEMA["version"].as_str().unwrap()
}

/// All that is wrong with an event, each with where it is.
pub(super) fn findings(event: &Value) -> Vec<String> {
    let Some(class) = SCHEMA["classes"].get(event["class_uid"].to_string()) else {
        return vec![format!("class_uid {} is not compiled", event["class_uid"])];
    };
    let mut check = Check { profiles: profiles(event), findings: Vec::new() };
    check.profiles_are_known(class);
    check.object("", event, class);
    let (uid, activity) = (event["class_uid"].as_i64(), event["activity_id"].as_i64());
    if event["type_uid"].as_i64() != uid.zip(activity).map(|(uid, activity)| uid * 100 + activity) {
        check.findings.push("type_uid is not class_uid * 100 + activity_id".to_owned());
    }
    if event["metadata"]["version"] != version() {
        check.findings.push("metadata.version is not the schema's".to_owned());
    }
    check.findings
}

fn profiles(event: &Value) -> Vec<String> {
    let listed = event["metadata"]["profiles"].as_array();
    listed.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

struct Check {
    profiles: Vec<String>,
    findings: Vec<String>,
}

impl Check {
    fn profiles_are_known(&mut self, class: &Value) {
        let facts = class["attributes"].as_object().unwrap();
        let known: Vec<&str> = facts.values().filter_map(|facts| facts["profile"].as_str()).collect();
        let strange: Vec<&String> =
            self.profiles.iter().filter(|profile| !known.contains(&profile.as_str())).collect();
        let found =
            strange.iter().map(|profile| format!("metadata.profiles: `{profile}` is none of the class"));
        self.findings.extend(found.collect::<Vec<_>>());
    }

    fn object(&mut self, at: &str, value: &Value, facts: &Value) {
        let Some(object) = value.as_object() else {
            return self.findings.push(format!("{at}: not an object"));
        };
        let attributes = facts["attributes"].as_object().unwrap();
        for (name, facts) in attributes {
            if self.in_force(facts) && facts["requirement"] == "required" && !object.contains_key(name) {
                self.findings.push(format!("{at}.{name}: required and missing"));
            }
        }
        for (name, value) in object {
            let here = format!("{at}.{name}");
            match attributes.get(name).filter(|facts| self.in_force(facts)) {
                None => self.findings.push(format!("{here}: unknown attribute")),
                Some(facts) => self.attribute(&here, value, facts),
            }
        }
        self.siblings(at, object, attributes);
        self.constraints(at, object, &facts["constraints"]);
    }

    /// Whether an attribute may be used: those of a profile only with the profile, deprecated ones never.
    fn in_force(&self, facts: &Value) -> bool {
        let profile = facts["profile"].as_str();
        facts.get("deprecated").is_none()
            && profile.is_none_or(|profile| self.profiles.iter().any(|listed| listed == profile))
    }

    fn attribute(&mut self, at: &str, value: &Value, facts: &Value) {
        if facts["array"] == true {
            let Some(items) = value.as_array() else {
                return self.findings.push(format!("{at}: not a list"));
            };
            items.iter().for_each(|item| self.single(at, item, facts));
        } else {
            self.single(at, value, facts);
        }
    }

    fn single(&mut self, at: &str, value: &Value, facts: &Value) {
        let kind = facts["type"].as_str().unwrap();
        if SCHEMA["types"].get(kind).is_some() {
            self.plain(at, value, kind);
        } else if kind == "object" {
            if !value.is_object() {
                self.findings.push(format!("{at}: not an object"));
            }
        } else if let Some(facts) = SCHEMA["objects"].get(kind) {
            self.object(at, value, facts);
        } else {
            self.findings.push(format!("{at}: objects of type `{kind}` are not compiled"));
        }
        if let Some(values) = facts["enum"].as_object() {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            if !values.contains_key(&text) {
                self.findings.push(format!("{at}: {text} is not in the enum"));
            }
        }
    }

    fn plain(&mut self, at: &str, value: &Value, kind: &str) {
        let facts = &SCHEMA["types"][kind];
        let fits = match facts["type"].as_str().unwrap_or(kind) {
            "string_t" => value.is_string(),
            "integer_t" | "long_t" => value.is_i64(),
            "boolean_t" => value.is_boolean(),
            "float_t" => value.is_number(),
            "json_t" => true,
            other => panic!("the type `{other}` is new to the checker"),
        };
        if !fits || (kind == "ip_t" && value.as_str().is_none_or(|text| text.parse::<IpAddr>().is_err())) {
            self.findings.push(format!("{at}: {value} is no {kind}"));
        }
        let length = value.as_str().map(|text| text.chars().count() as u64);
        if length.zip(facts["max_len"].as_u64()).is_some_and(|(length, most)| length > most) {
            self.findings.push(format!("{at}: longer than a {kind}"));
        }
        if let (Some(number), Some(range)) = (value.as_i64(), facts["range"].as_array())
            && !(range[0].as_i64().unwrap()..=range[1].as_i64().unwrap()).contains(&number)
        {
            self.findings.push(format!("{at}: {number} is out of range"));
        }
    }

    /// A name beside a number is the caption of the number, unless the number says *other*.
    fn siblings(&mut self, at: &str, object: &Map<String, Value>, attributes: &Map<String, Value>) {
        for (name, facts) in attributes {
            let Some(sibling) = facts["sibling"].as_str() else { continue };
            let (Some(value), Some(text)) = (object.get(name), object.get(sibling)) else { continue };
            let caption = &facts["enum"][value.to_string()];
            let other =
                value == 99 || (name == "type_uid" && value.as_i64().is_some_and(|uid| uid % 100 == 99));
            if caption.is_string() && !other && caption != text {
                self.findings.push(format!("{at}.{sibling}: {text} is not the caption {caption}"));
            }
        }
    }

    fn constraints(&mut self, at: &str, object: &Map<String, Value>, constraints: &Value) {
        let Some(names) = constraints["at_least_one"].as_array() else { return };
        if !names.iter().any(|name| object.contains_key(name.as_str().unwrap())) {
            self.findings.push(format!("{at}: at least one of {names:?} is needed"));
        }
    }
}
