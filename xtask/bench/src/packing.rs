//! An archive becomes an image.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::archive::Archive;
use crate::board::{Board, Role};
use crate::bounds;
use crate::measure::{Taken, run};
use crate::stage::Stage;

pub(crate) fn compare(stage: &Stage, archive: &Archive) -> Result<()> {
    let [skopeo, umoci, buildah] = ["skopeo", "umoci", "buildah"].map(|tool| stage.has(tool));
    let mut board = Board::new(format!("packing, {}", archive.size), archive.bytes()?);
    let tar = &archive.path;
    for _ in 0..stage.runs {
        board.add("one SHA-256 pass", Role::Bound, Taken::here(|| bounds::digest(tar)))?;
        board.add("ms2m pack", Role::Ours, pack(stage, tar, &[]))?;
        if skopeo {
            board.add("skopeo copy oci: (an image of the archive)", Role::Rival, skopeo_copy(stage, tar))?;
            board.add("skopeo copy tarball:", Role::Rival, skopeo_tarball(stage, tar))?;
        }
        if buildah {
            board.add("buildah from scratch, add, commit", Role::Rival, buildah_add(stage, tar))?;
        }
        if umoci {
            board.add("umoci raw add-layer", Role::Rival, umoci_add(stage, |image| umoci_raw(image, tar)))?;
            board.add("umoci insert", Role::Rival, umoci_add(stage, |image| umoci_insert(image, tar)))?;
        }
        board.add("ms2m pack --copy", Role::Variant, pack(stage, tar, &["--copy"]))?;
    }
    print!("{board}");
    Ok(())
}

fn pack(stage: &Stage, tar: &Path, more: &[&str]) -> Result<Taken> {
    let layout = stage.fresh()?.join("layout");
    run(stage.program("ms2m").arg("pack").arg(tar).arg("--to").arg(oci(&layout)).args(more))
}

fn oci(layout: &Path) -> String {
    format!("oci:{}:bench", layout.display())
}

/// From a layout that holds the archive as a layer to another one: it reads, digests and writes it, and no more than that.
fn skopeo_copy(stage: &Stage, tar: &Path) -> Result<Taken> {
    let fresh = stage.fresh()?;
    let (packed, layout) = (oci(&fresh.join("packed")), oci(&fresh.join("layout")));
    run(stage.program("ms2m").arg("pack").arg(tar).args(["--to", &packed]))?;
    run(skopeo().args([&packed, &layout]))
}

fn skopeo_tarball(stage: &Stage, tar: &Path) -> Result<Taken> {
    let layout = oci(&stage.fresh()?.join("layout"));
    run(skopeo().args([&format!("tarball:{}", tar.display()), &layout]))
}

fn skopeo() -> Command {
    let mut command = Command::new("skopeo");
    // Otherwise it would spend its time on compression.
    command.args(["copy", "--quiet", "--insecure-policy", "--dest-oci-accept-uncompressed-layers"]);
    command
}

/// `FROM scratch` and `ADD`, as other tools for checkpoints do it.
fn buildah_add(stage: &Stage, tar: &Path) -> Result<Taken> {
    let fresh = stage.fresh()?;
    let policy = fresh.join("policy.json");
    fs::write(&policy, r#"{"default": [{"type": "insecureAcceptAnything"}]}"#)?;
    let buildah = |words: &[&str]| {
        let mut command = Command::new("buildah");
        command.args(["--storage-driver", "vfs", "--root"]).arg(fresh.join("root")).arg("--runroot").arg(fresh.join("runroot"));
        run(command.args(words).env("BUILDAH_ISOLATION", "chroot"))
    };
    let tar = tar.display().to_string();
    let from = buildah(&["from", "--quiet", "--name", "bench", "scratch"])?;
    let added = from.and(buildah(&["add", "--quiet", "bench", &tar, "/"])?);
    Ok(added.and(buildah(&["commit", "--quiet", "--signature-policy", &policy.display().to_string(), "bench", "bench"])?))
}

/// It always compresses.
fn umoci_add(stage: &Stage, add: impl Fn(&str) -> Result<Taken>) -> Result<Taken> {
    let layout = stage.fresh()?.join("layout").display().to_string();
    let image = format!("{layout}:bench");
    let begun = run(Command::new("umoci").args(["init", "--layout", &layout]))?;
    let begun = begun.and(run(Command::new("umoci").args(["new", "--image", &image]))?);
    Ok(begun.and(add(&image)?))
}

fn umoci_raw(image: &str, tar: &Path) -> Result<Taken> {
    run(Command::new("umoci").args(["raw", "add-layer", "--image", image]).arg(tar))
}

fn umoci_insert(image: &str, tar: &Path) -> Result<Taken> {
    run(Command::new("umoci").args(["insert", "--image", image]).arg(tar).arg("/archive.tar"))
}
