//! Prints the definition of the resource: `cargo run -p ms2m-k8s --example crd >deploy/crds/statefulmigrations.yaml`.

fn main() -> ms2m_core::Result<()> {
    print!("{}", ms2m_k8s::api::crd_yaml()?);
    Ok(())
}
