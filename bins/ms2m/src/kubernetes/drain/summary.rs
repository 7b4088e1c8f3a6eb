//! What became of each pod, at the end.

use std::io::{self, Write};

use ms2m_core::Result;
use serde::Serialize;

use super::super::list::told;
use super::evict::Evicted;
use super::moves::{End, Move};
use super::sorted::Name;
use crate::demo::Output;
use crate::exit::Exit;

/// All of it.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    pub(super) node: String,
    /// Nothing is left there but what belongs to the node; with `--migrate-only`, no opted-in pod.
    pub(super) drained: bool,
    pub(super) migrations: Vec<Move>,
    pub(super) evictions: Vec<Evicted>,
    pub(super) staying: Vec<Staying>,
    /// What stands in the way, in words.
    pub(super) reason: Option<String>,
}

/// A pod that belongs to the node.
#[derive(Debug, Serialize)]
pub(super) struct Staying {
    #[serde(flatten)]
    pub(super) name: Name,
    pub(super) why: String,
}

impl Summary {
    /// Of a node of which nothing is known yet.
    pub(super) fn new(node: &str, staying: Vec<(Name, String)>) -> Self {
        let staying = staying.into_iter().map(|(name, why)| Staying { name, why }).collect();
        Self { node: node.to_owned(), drained: false, migrations: Vec::new(), evictions: Vec::new(), staying, reason: None }
    }

    /// Prints it, and says how the command ends.
    pub(super) fn end(self, output: Output) -> Result<Exit> {
        let mut out = io::stdout().lock();
        told(match output {
            Output::Json => serde_json::to_writer_pretty(&mut out, &self).map_err(io::Error::from).and_then(|()| writeln!(out)),
            Output::Text => self.text(&mut out),
        })?;
        Ok(self.exit())
    }

    fn exit(&self) -> Exit {
        if !self.drained {
            Exit::RolledBack
        } else if self.migrations.iter().any(|one| one.end == End::NotProvenExact) {
            Exit::NotExact
        } else {
            Exit::Done
        }
    }

    fn text(&self, out: &mut impl Write) -> io::Result<()> {
        let node = &self.node;
        let moved = self.migrations.iter().filter(|one| one.has_moved()).count();
        let evicted = self.evictions.iter().filter(|one| one.gone).count();
        let done = format!(
            "{moved} of {} moved, {evicted} of {} evicted, {} stay",
            self.migrations.len(),
            self.evictions.len(),
            self.staying.len()
        );
        if self.drained {
            return writeln!(out, "{node} is drained: {done}");
        }
        writeln!(out, "{node} is NOT drained, and stays cordoned: {done}")?;
        if let Some(reason) = &self.reason {
            writeln!(out, "  {reason}")?;
        }
        for one in self.migrations.iter().filter(|one| !one.has_moved()) {
            writeln!(out, "  {}", super::moves::told(one))?;
        }
        for one in self.evictions.iter().filter(|one| !one.gone) {
            writeln!(out, "  {}: not evicted: {}", one.name, one.reason.as_deref().unwrap_or("no reason is known"))?;
        }
        if self.migrations.iter().any(|one| one.end == End::NotMoved) {
            writeln!(
                out,
                "mend that and repeat; `kubectl drain {node}` ends such a pod as any other, and the state in its memory is lost"
            )?;
        }
        writeln!(out, "`ms2m drain {node}` goes on from here, `kubectl uncordon {node}` gives it up")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn summary(end: End) -> Summary {
        let name = Name { namespace: "shop".to_owned(), pod: "orders-0".to_owned() };
        let mut summary = Summary::new("n1", vec![(name.clone(), "of DaemonSet x".to_owned())]);
        let reason = Some("no such Secret".to_owned());
        let migration = Some("orders-0-x".to_owned());
        summary.migrations.push(Move { name, migration, end, target_node: None, target_pod: None, reason, report: None });
        summary
    }

    fn text(summary: &Summary) -> String {
        let mut text = Vec::new();
        summary.text(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_pod_that_has_not_moved_is_named_with_what_to_do() {
        let failed = summary(End::NotMoved);
        assert_eq!(failed.exit(), Exit::RolledBack);
        let text = text(&failed);
        assert!(text.starts_with("n1 is NOT drained") && text.contains("shop/orders-0: not moved, it runs on: no such Secret"), "{text}");
        assert!(text.contains("kubectl uncordon n1"), "{text}");
        let json = serde_json::to_value(&failed).unwrap();
        assert_eq!(json["migrations"][0]["pod"], "orders-0");
        assert_eq!((&json["migrations"][0]["end"], &json["drained"]), (&json!("not_moved"), &json!(false)));
    }

    #[test]
    fn a_drained_node_is_one_line() {
        let done = Summary { drained: true, ..summary(End::Moved) };
        assert_eq!((text(&done).as_str(), done.exit()), ("n1 is drained: 1 of 1 moved, 0 of 0 evicted, 1 stay\n", Exit::Done));
        assert_eq!(Summary { drained: true, ..summary(End::NotProvenExact) }.exit(), Exit::NotExact);
    }
}
