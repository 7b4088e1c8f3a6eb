//! What a newcomer types.

const README: &str = include_str!("../../../../README.md");
/// In the section about clusters.
const FIRST: &str = "helm install";

/// The commands of the README from the installation to the first migration, without what is said of them.
pub(crate) fn commands() -> Vec<String> {
    let block = README.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap()).find(|block| block.starts_with(FIRST));
    let lines = block.expect("a block that begins with the installation").lines();
    lines.map(|line| line.split(" # ").next().unwrap().trim().to_owned()).filter(|line| !line.is_empty()).collect()
}
