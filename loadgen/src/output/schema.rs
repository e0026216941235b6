//! The form of the reports in JSON, for programs that read them.

/// JSON Schema (2020-12) of every report that this crate writes.
pub const SCHEMA: &str = include_str!("../../schema/report.json");

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use schemars::generate::SchemaSettings;
    use serde_json::{Value, json};

    use super::*;

    /// The schema as the types and their documentation make it.
    fn generate() -> String {
        let mut generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
        let kinds: Vec<Value> = [
            generator.subschema_for::<crate::run::Report>(),
            generator.subschema_for::<crate::slow::Report>(),
            generator.subschema_for::<crate::search::Report>(),
            generator.subschema_for::<crate::compare::Report>(),
            generator.subschema_for::<crate::replay::Report>(),
            generator.subschema_for::<crate::diff::Report>(),
        ]
        .into_iter()
        .map(|schema| schema.to_value())
        .collect();
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "Reports of weir-loadgen",
            "anyOf": kinds,
            "$defs": generator.take_definitions(true),
        });
        format!("{schema:#}\n")
    }

    #[test]
    fn the_schema_is_that_of_the_types() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/report.json");
        let generated = generate();
        if std::env::var_os("WEIR_WRITE_SCHEMA").is_some() {
            fs::write(&path, &generated).unwrap();
        }
        // Both as values, because the order of names depends on features of other crates.
        let [kept, made] = [&fs::read_to_string(&path).unwrap(), &generated]
            .map(|text| serde_json::from_str::<Value>(text).unwrap());
        assert!(kept == made, "write it anew: WEIR_WRITE_SCHEMA=1 cargo test -p weir-loadgen --lib schema");
    }

    #[test]
    fn unknown_and_missing_fields_are_refused() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let fine = json!({"report": "diff", "version": "1", "changes": [], "problems": []});
        assert!(validator.is_valid(&fine));
        for name in ["report", "version", "changes", "problems"] {
            let mut bad = fine.clone();
            bad.as_object_mut().unwrap().remove(name);
            assert!(!validator.is_valid(&bad), "{bad}");
        }
        let mut bad = fine;
        bad["more"] = json!(1);
        assert!(!validator.is_valid(&bad) && !validator.is_valid(&json!([])), "{bad}");
    }
}
