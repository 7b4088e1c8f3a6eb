//! The table of what happened, as a page.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::case::Owner;

const HEAD: &str = "# Faults

What became of migrations on a cluster of two nodes when something went wrong. Written by `bins/ms2m/tests/cluster_faults`, which plays each line in every run,
at another moment each time. In all of them: one consumer serves in the end; 0 messages lost, 0 doubled, 0 reordered (audited from outside, publishers go on
meanwhile); no pod, no queue, no checkpoint and no process is left over, and the workload's own controller owns its one pod. What agents do keep is a note of
some hundred bytes of each copy that was promoted on their node. Where either may own the queue, the moment decides: before one record in the journal
everything is undone, after it everything is completed.
";

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) owners: BTreeSet<Owner>,
    pub(crate) says: String,
}

/// That the page says this, or makes it say so.
pub(crate) fn check(title: &str, rows: &[Row]) {
    let mut chapter = format!("\n## {title}\n\n| what | who owns the queue | what is said |\n|---|---|---|\n");
    for Row { what, owners, says } in rows {
        let owners: Vec<_> = owners
            .iter()
            .map(|owner| match owner {
                Owner::Source => "the source",
                Owner::Copy => "the copy",
            })
            .collect();
        chapter.push_str(&format!("| {what} | {} | {says} |\n", owners.join(" or ")));
    }
    println!("{chapter}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ms2m-controller/FAULTS.md");
    let mut page = fs::read_to_string(&path).unwrap_or_default();
    if std::env::var_os("MS2M_BLESS").is_some() {
        let chapters = page.split("\n## ").skip(1).map(|known| format!("\n## {known}"));
        let is_this = |known: &String| known.starts_with(&format!("\n## {title}\n"));
        let mut chapters: Vec<_> = chapters.collect();
        match chapters.iter().position(is_this) {
            Some(at) => chapters[at].clone_from(&chapter),
            None => chapters.push(chapter.clone()),
        }
        page = format!("{HEAD}{}", chapters.concat());
        fs::write(&path, &page).unwrap();
    }
    assert!(page.contains(&chapter), "{} does not say this", path.display());
}
