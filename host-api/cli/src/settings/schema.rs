//! The JSON Schema of the file, for editors.

use serde_json::{Map, Value, json};
use verdict_server::Budgets;

use super::{Key, Kind};

/// The schema (draft 2020-12) of a file with these keys.
pub(crate) fn schema(keys: &[Key]) -> Value {
    let properties: Map<String, Value> = keys.iter().map(|key| (key.name.clone(), property(key))).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "verdict serve",
        "description": "The settings of `verdict serve`: its flags. Relative paths begin in the folder of the file.",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    })
}

fn property(key: &Key) -> Value {
    let mut schema = match &key.kind {
        Kind::Switch => json!({ "type": "boolean" }),
        Kind::Number(least) => json!({ "type": "integer", "minimum": least }),
        Kind::Fraction => json!({ "type": "number" }),
        Kind::Choice(words) => json!({ "enum": words }),
        Kind::Path | Kind::Place | Kind::Text => json!({ "type": "string" }),
    };
    if key.is_list {
        schema = json!({ "type": "array", "items": schema });
    }
    if key.is_budgets() {
        schema = json!({ "oneOf": [schema, Budgets::schema()] });
    }
    if let Some(members) = schema.as_object_mut() {
        members.insert("description".into(), key.help().into());
        let defaults = key.defaults();
        if !defaults.is_empty() {
            members.insert("default".into(), key.value(&defaults));
        }
    }
    schema
}

impl Key {
    /// Values as the file has them, in JSON.
    pub(crate) fn value(&self, values: &[String]) -> Value {
        let one = |value: &String| match self.kind {
            Kind::Switch => json!(value == "true"),
            Kind::Fraction => value.parse::<f64>().map_or_else(|_| json!(value), Value::from),
            Kind::Number(_) => value.parse::<u64>().map_or_else(|_| json!(value), Value::from),
            _ => json!(value),
        };
        if self.is_list {
            values.iter().map(one).collect()
        } else {
            values.first().map(one).unwrap_or_default()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::CommandFactory as _;

    use super::super::file::File;
    use super::*;

    fn keys() -> Vec<Key> {
        let mut command = crate::Cli::command();
        command.build();
        Key::all(command.find_subcommand("serve").unwrap())
    }

    /// Whether the schema takes a file, and whether the server does.
    fn taken(schema: &jsonschema::Validator, text: &str) -> (bool, bool) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("verdict.toml");
        std::fs::write(&path, text).unwrap();
        let value: toml::Table = toml::from_str(text).unwrap();
        let violations = crate::schema::violations(schema, &serde_json::to_value(value).unwrap());
        (violations.is_empty(), File::read(&path, &keys()).is_ok())
    }

    #[test]
    fn takes_the_files_that_the_server_takes() {
        let schema = crate::schema::compile(&schema(&keys())).unwrap();
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/verdict.toml");
        let example = std::fs::read_to_string(example).unwrap();
        let good =
            ["", "dir = 'x'", "cors = []", "budgets = 'file'", "[budgets]", "cache-bytes = 0", &example];
        for text in good {
            assert_eq!(taken(&schema, text), (true, true), "{text}");
        }
        for text in [
            "unknown = 1",
            "cors = 'x'",
            "cors = [1]",
            "connections-max = 0",
            "connections-max = '1'",
            "allow-decision-time = 1",
            "drain-timeout = 5",
            "log = 'x'",
            "budgets = 1",
            "budgets.default.fuel = 1",
            "budgets.tenants.bank.queue = -1",
            "trust = {}",
        ] {
            assert_eq!(taken(&schema, text), (false, false), "{text}");
        }
    }

    #[test]
    fn every_key_is_described_and_has_a_name_of_its_own_in_the_environment() {
        let keys = keys();
        let variables: std::collections::BTreeSet<_> = keys.iter().map(Key::variable).collect();
        assert!(variables.len() == keys.len() && keys.len() > 40, "{variables:?}");
        assert!(!variables.contains("VERDICT_CONFIG"));
        let schema = schema(&keys);
        for key in &keys {
            assert!(
                !schema["properties"][&key.name]["description"].as_str().unwrap().is_empty(),
                "{}",
                key.name
            );
        }
        let kind = |name: &str| &keys.iter().find(|key| key.name == name).unwrap().kind;
        assert_eq!((kind("dir"), kind("store"), kind("jwks")), (&Kind::Path, &Kind::Place, &Kind::Place));
        assert_eq!((kind("connections-max"), kind("cache-bytes")), (&Kind::Number(1), &Kind::Number(0)));
        assert_eq!((kind("unix-mode"), kind("drain-delay")), (&Kind::Text, &Kind::Text));
    }

    #[test]
    fn relative_paths_begin_in_the_folder_of_the_file() {
        let keys = keys();
        let of = |name: &str, value: &str| {
            let key = keys.iter().find(|key| key.name == name).unwrap();
            key.in_folder(Path::new("/etc/verdict"), value)
        };
        assert_eq!(of("trust", "trust.json"), "/etc/verdict/trust.json");
        assert_eq!(of("trust", "/srv/a:b.json"), "/srv/a:b.json");
        assert_eq!(of("trust", "a:b.json"), "/etc/verdict/a:b.json");
        assert_eq!(of("listen", "unix:v.sock"), "unix:/etc/verdict/v.sock");
        assert_eq!(of("listen", "unix:/run/v.sock"), "unix:/run/v.sock");
        assert_eq!(of("listen", "127.0.0.1:8181"), "127.0.0.1:8181");
        assert_eq!(of("follow", "registry"), "/etc/verdict/registry");
        assert_eq!(of("follow", "https://registry.example"), "https://registry.example");
        assert_eq!(of("store", "s3://bucket/prefix"), "s3://bucket/prefix");
        assert_eq!(of("registry", "catalogue.db"), "/etc/verdict/catalogue.db");
        assert_eq!(of("channel", "production"), "production");
    }
}
