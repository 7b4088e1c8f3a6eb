//! Containers that move together: who they are within their checkpoint, and what their copies are made like.

use futures_util::future::try_join_all;
use ms2m_core::{Error, ErrorKind, Result};
use ms2m_criu::local::{Network, Template};
use ms2m_criu::runtime::{Container, Runtime};

use super::args::MigrateArgs;

/// The name of a container that moves alone.
const ALONE: &str = "main";

/// Each container's name within the checkpoint, and in the runtime.
///
/// What the names in the runtime have in common at their beginning is the group's: `pod-1-app` and `pod-1-log` are `app` and `log`, and
/// so are their copies, `pod-2-app` and `pod-2-log`, when they move again.
pub(super) fn members(args: &MigrateArgs) -> Vec<(String, String)> {
    let names = match args.sources.as_slice() {
        [_] => vec![ALONE.to_owned()],
        sources => split(sources).1,
    };
    names.into_iter().zip(args.sources.iter().cloned()).collect()
}

/// What a copy is named after.
pub(super) fn stem(args: &MigrateArgs) -> String {
    match args.sources.as_slice() {
        [source] => source.clone(),
        sources => Some(split(sources).0).filter(|stem| !stem.is_empty()).unwrap_or_else(|| args.sources[0].clone()),
    }
}

/// What names of words with `-` between them have in common at their beginning, and what is left of each.
fn split(names: &[String]) -> (String, Vec<String>) {
    let words: Vec<Vec<&str>> = names.iter().map(|name| name.split('-').collect()).collect();
    let Some(first) = words.first() else { return Default::default() };
    let same = |at: &usize| words.iter().all(|words| words.len() > at + 1 && words[*at] == first[*at]);
    let common = (0..first.len()).take_while(same).count();
    (first[..common].join("-"), words.iter().map(|words| words[common..].join("-")).collect())
}

/// The containers, looked at once, each with its name within the checkpoint.
pub(super) async fn inspect(args: &MigrateArgs, runtime: &Runtime) -> Result<Vec<(String, Container)>> {
    let members = members(args);
    if members.iter().enumerate().any(|(at, (_, id))| members[..at].iter().any(|(_, other)| other == id)) {
        return refuse("a container can be moved once at a time; name each --source once");
    }
    try_join_all(members.into_iter().map(|(name, id)| async move { Ok((name, Container::inspect(runtime, &id).await?)) })).await
}

/// What the copies are made like.
pub(super) fn templates(args: &MigrateArgs, containers: &[(String, Container)]) -> Result<Vec<Template>> {
    if args.bundle.is_some() && containers.len() > 1 {
        return refuse("--bundle prepares one container; several are copied as they are, and --network names their prepared network");
    }
    let containers: Vec<_> = containers.iter().map(|(name, container)| (name.clone(), container)).collect();
    let mut templates = Template::together(&containers)?;
    for template in &mut templates {
        let made = template.clone().with_identity_file(&args.identity_file);
        let made = match &args.bundle {
            Some(bundle) => made.with_bundle(bundle)?,
            None => made,
        };
        *template = match &args.network {
            Some(network) => made.with_network(network)?,
            None => made,
        };
    }
    if args.broker.is_some() && templates.iter().any(|template| template.network == Network::Own) {
        return refuse(
            "the network that would be made for the copy leads nowhere; prepare one from which it reaches its broker, and name it with --network",
        );
    }
    Ok(templates)
}

fn refuse<T>(message: &str) -> Result<T> {
    Err(Error::fatal(ErrorKind::Invalid, message))
}

#[cfg(test)]
mod tests {
    use super::split;

    fn parts(names: &[&str]) -> (String, String) {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let (stem, rest) = split(&names);
        (stem, rest.join(" "))
    }

    #[test]
    fn what_is_common_is_the_groups() {
        let expect = |names: &[&str], stem: &str, rest: &str| assert_eq!(parts(names), (stem.to_owned(), rest.to_owned()), "{names:?}");
        expect(&["app", "log"], "", "app log");
        expect(&["pod-1-app", "pod-1-log"], "pod-1", "app log");
        expect(&["orders", "orders-log"], "", "orders orders-log");
        expect(&["pod-orders", "pod-orders-log"], "pod", "orders orders-log");
        expect(&["pod-app-1", "pod-app-2", "pod-log-1"], "pod", "app-1 app-2 log-1");
        expect(&["same", "same"], "", "same same");
    }
}
