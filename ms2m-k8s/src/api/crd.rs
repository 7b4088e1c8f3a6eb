//! The definition of the resource, as an API server takes it.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use ms2m_core::{Error, ErrorKind, Result};
use serde_json::Value;

use super::spec::StatefulMigration;

const HEAD: &str = "# Made from the types of ms2m-k8s by `cargo run -p ms2m-k8s --example crd`. Do not edit.\n";

/// The definition, to be applied.
///
/// # Errors
/// When the types make no definition, which a test rules out.
pub fn crd() -> Result<CustomResourceDefinition> {
    let bad = |error: serde_json::Error| Error::fatal(ErrorKind::Invariant, "the types make no definition").caused_by(error);
    let mut value = serde_json::to_value(StatefulMigration::crd()).map_err(bad)?;
    signed(&mut value);
    serde_json::from_value(value).map_err(bad)
}

/// The definition as a file.
///
/// # Errors
/// See [`crd`].
pub fn crd_yaml() -> Result<String> {
    let bad =
        |error: serde_saphyr::ser::Error| Error::fatal(ErrorKind::Invariant, "the definition makes no YAML").caused_by(error.to_string());
    Ok(format!("{HEAD}{}", serde_saphyr::to_string(&crd()?).map_err(bad)?))
}

/// API servers know the formats of signed numbers only; that these are not negative is said by their minimum.
fn signed(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(format)) = fields.get_mut("format")
                && matches!(format.as_str(), "uint32" | "uint64")
            {
                *format = "int64".to_owned();
            }
            fields.values_mut().for_each(signed);
        }
        Value::Array(items) => items.iter_mut().for_each(signed),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_in_deploy_is_what_the_types_make() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/crds/statefulmigrations.yaml");
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            kept == crd_yaml().unwrap(),
            "deploy/crds/statefulmigrations.yaml is not what the types make: `cargo run -p ms2m-k8s --example crd >deploy/crds/statefulmigrations.yaml`"
        );
    }
}
