//! `inspect` on what the kubelet and podman wrote.

mod common;

use std::collections::BTreeSet;
use std::path::Path;

use common::{Tar, fixture, fixtures};
use ms2m_criu::archive::{ContainerManifest, Engine, Expect, Limits, Manifest, TarPlan, extract};
use ms2m_criu::check::CheckResult;
use ms2m_criu::inspect::{Here, InspectError, Inspection, inspect};
use tar::EntryType;

fn here() -> Here {
    Here {
        architecture: "x86_64".into(),
        kernel: "6.18.44".into(),
        criu: Some("4.2.1".into()),
        cpu_features: Some(["avx", "avx512f", "pku", "sse2", "amx_tile"].map(str::to_owned).into_iter().collect()),
        memory_available: Some(1 << 30),
    }
}

fn look(path: &Path) -> Inspection {
    inspect(path, &Limits::default(), &here()).unwrap()
}

fn line<'a>(inspection: &'a Inspection, name: &str) -> &'a ms2m_criu::check::Check {
    inspection.checks.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("{name}: {:?}", inspection.checks))
}

#[test]
fn the_kubelets_archive_is_told() {
    let found = look(&fixtures().join("containerd.tar.gz"));
    assert_eq!(
        (found.engine, found.architecture.as_deref(), found.criu_version.as_deref()),
        (Some(Engine::Containerd), Some("x86_64"), Some("4.2.1"))
    );
    let main = &found.containers[0];
    assert_eq!(
        (main.name.as_str(), main.runtime.as_deref(), main.hostname.as_deref()),
        ("main", Some("io.containerd.runc.v2"), Some("subject"))
    );
    let pod = main.pod.as_ref().unwrap();
    assert_eq!((pod.namespace.as_str(), pod.name.as_str()), ("default", "subject"));
    assert_eq!(main.image.as_deref(), Some("10.77.0.1:5000/subject:1"));
    assert!(main.image_ref.as_deref().unwrap().contains("@sha256:"));
    assert_eq!(main.created.as_deref().map(|time| &time[..19]), Some("2026-11-23T23:38:37"));
    assert_eq!(main.checkpointed.as_deref().map(|time| &time[..19]), Some("2026-11-23T23:38:58"));
    assert_eq!(main.addresses, ["10.88.1.2"]);
    // The figures of checkpointctl for the same archive.
    assert_eq!((main.sizes.pages, main.sizes.rootfs_diff), (248 << 10, Some(236)));
    let dump = main.dump.unwrap();
    assert_eq!((dump.frozen_us, dump.freezing_us, dump.pages_scanned, dump.pages_written), (130_566, 666, 76, 62));

    assert_eq!(line(&found, "base image").result, CheckResult::Ok);
    assert_eq!(line(&found, "images").result, CheckResult::Ok);
    let tcp = line(&found, "tcp");
    assert_eq!(tcp.result, CheckResult::Warn, "{tcp}");
    assert!(tcp.reason.contains("within the checkpoint") && tcp.remedy.as_ref().unwrap().contains("tcp-close"));
    assert_eq!(main.processes[0].sockets.iter().filter(|socket| socket.outer).count(), 1);
    assert_eq!(found.restorable, CheckResult::Warn);
}

#[test]
fn podmans_archive_is_told_compressed_or_not() {
    let mut seen = BTreeSet::new();
    for name in ["podman.tar.gz", "podman.tar.zst"] {
        let found = look(&fixtures().join(name));
        assert_eq!(found.engine, Some(Engine::Podman));
        let subject = &found.containers[0];
        assert_eq!((subject.name.as_str(), subject.runtime.as_deref(), subject.sizes.pages), ("subject", Some("runc"), 240 << 10));
        // An image that is known by its local id alone.
        assert_eq!(line(&found, "base image").result, CheckResult::Warn);
        // --tcp-established, and both ends are inside.
        assert_eq!(line(&found, "tcp").result, CheckResult::Ok);
        assert!(line(&found, "tcp").remedy.as_ref().unwrap().contains("tcp-established"));
        seen.insert(subject.id.clone());
    }
    assert_eq!(seen.len(), 1);
}

/// CRI-O could not be had: this is containerd's archive with CRI-O's marks and members.
#[test]
fn an_archive_in_the_shape_of_cri_o_is_told() {
    let plain = fixture("containerd.tar.gz");
    let mut tar = Tar::default();
    for entry in tar::Archive::new(plain.as_slice()).entries().unwrap() {
        use std::io::Read as _;
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut content = vec![];
        entry.read_to_end(&mut content).unwrap();
        match name.as_str() {
            "status" | "status.dump" | "container.log" => continue,
            "spec.dump" => {
                let mut spec: serde_json::Value = serde_json::from_slice(&content).unwrap();
                spec["annotations"]["io.container.manager"] = "cri-o".into();
                spec["annotations"]["io.kubernetes.cri-o.IP.0"] = "10.85.0.7".into();
                spec["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = "{\"password\":\"plain\"}".into();
                content = serde_json::to_vec(&spec).unwrap();
            }
            _ => {}
        }
        tar = if name.ends_with('/') { tar.directory(&name) } else { tar.file(&name, &content) };
    }
    let archive = tar.file("bind.mounts", b"[]").file("io.kubernetes.cri-o.LogPath", b"").file("deleted.files", b"[]").end();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("crio.tar");
    std::fs::write(&file, archive).unwrap();
    let found = look(&file);
    assert_eq!((found.engine, found.containers[0].addresses.as_slice()), (Some(Engine::CriO), &["10.85.0.7".to_owned()][..]));
    assert_eq!(line(&found, "writable layer").result, CheckResult::Warn);
    assert!(!found.to_string().contains("plain"));
    extract(&file, &directory.path().join("target"), &Limits::default(), Expect::Only(Engine::CriO)).unwrap();
}

#[test]
fn secrets_are_in_neither_text_nor_json() {
    for name in ["containerd.tar.gz", "podman.tar.gz", "podman.tar.zst"] {
        let found = look(&fixtures().join(name));
        for shown in [found.to_string(), serde_json::to_string(&found).unwrap()] {
            assert!(!shown.contains("not-real") && !shown.contains("not-a-real"), "{name}");
            assert!(
                shown.contains("DB_PASSWORD") && shown.contains("amqp://orders:***@10.77.0.1:5672/%2f") && shown.contains("hello"),
                "{name}"
            );
        }
        let back: Inspection = serde_json::from_str(&serde_json::to_string(&found).unwrap()).unwrap();
        assert_eq!(back, found);
    }
}

#[test]
fn the_text_is_a_tree() {
    let text = look(&fixtures().join("containerd.tar.gz")).to_string();
    for words in [
        "containerd, archive, gzip",
        "pod: default/subject",
        "[1] subject",
        "[7] subject-child",
        "tcp listen 0.0.0.0:7070",
        "-> 10.77.0.1:5000, outside",
        "unix-stream listen /tmp-subject.sock",
        "/notes.txt (at 9)",
        "GREETING=hello",
        "frozen: 130.566 ms",
        "ghost-file-1.img: 7 B",
        "Verdict: can be restored here, with reservations",
    ] {
        assert!(text.contains(words), "{words}\n{text}");
    }
    assert!(text.lines().all(|line| !line.ends_with(' ')), "{text}");
}

#[test]
fn a_directory_tells_what_its_archive_does() {
    let home = tempfile::tempdir().unwrap();
    let target = home.path().join("target");
    extract(&fixtures().join("containerd.tar.gz"), &target, &Limits::default(), Expect::Any).unwrap();
    let mut archive = look(&fixtures().join("containerd.tar.gz"));
    let mut directory = look(&target);
    archive.source = directory.source.clone();
    assert_eq!(archive.containers, directory.containers);
    let images = look(&target.join("checkpoint"));
    assert_eq!((images.engine, images.containers[0].processes.len()), (None, 2));
    assert_eq!(line(&images, "writable layer").result, CheckResult::Unknown);

    // The same images as a checkpoint of ours, with a pre-dump round.
    let own = home.path().join("own");
    let main = own.join("containers/main");
    std::fs::create_dir_all(&main).unwrap();
    std::fs::rename(target.join("checkpoint"), main.join("checkpoint")).unwrap();
    std::fs::create_dir(main.join("pre-1")).unwrap();
    std::fs::copy(main.join("checkpoint/pagemap-1.img"), main.join("pre-1/pagemap-1.img")).unwrap();
    std::fs::rename(target.join("rootfs-diff.tar"), main.join("rootfs-diff.tar")).unwrap();
    std::fs::rename(target.join("spec.dump"), main.join("spec.json")).unwrap();
    let manifest = Manifest {
        criu_version: "4.2.1".into(),
        cpu_features: vec!["avx".into(), "something-rare".into()],
        taken_at_ms: Some(1_795_477_138_179),
        ..Manifest::new(vec![ContainerManifest {
            name: "main".into(),
            id: "7".into(),
            base_image: Some("registry/subject@sha256:00".into()),
            ..Default::default()
        }])
    };
    let plan = TarPlan::scan(&own, manifest).unwrap();
    let file = home.path().join("own.tar");
    plan.write_to(&mut std::fs::File::create(&file).unwrap(), 0).unwrap();
    directory = look(&file);
    assert_eq!(directory.engine, Some(Engine::Ms2m));
    assert_eq!(directory.containers[0].processes, archive.containers[0].processes);
    assert_eq!(directory.containers[0].rounds[0].pages.present, 31);
    assert_eq!(directory.containers[0].checkpointed.as_deref(), Some("2026-11-23T23:38:58Z"));
    assert_eq!(line(&directory, "cpu features").reason, "missing here: something-rare");
    assert_eq!(directory.restorable, CheckResult::Fail);
}

#[test]
fn each_lack_of_the_machine_has_its_line() {
    let archive = fixtures().join("containerd.tar.gz");
    let judge = |change: &dyn Fn(&mut Here)| {
        let mut machine = here();
        change(&mut machine);
        inspect(&archive, &Limits::default(), &machine).unwrap()
    };
    let cases: [(&str, CheckResult, &dyn Fn(&mut Here)); 9] = [
        ("architecture", CheckResult::Fail, &|here| here.architecture = "aarch64".into()),
        ("criu", CheckResult::Fail, &|here| here.criu = None),
        ("criu", CheckResult::Fail, &|here| here.criu = Some("4.1.1".into())),
        ("criu", CheckResult::Warn, &|here| (here.criu, here.kernel) = (Some("4.1.1".into()), "6.12.1".into())),
        ("kernel", CheckResult::Warn, &|here| here.kernel = "6.1.0-18-amd64".into()),
        ("cpu features", CheckResult::Fail, &|here| here.cpu_features = Some(BTreeSet::new())),
        ("cpu features", CheckResult::Unknown, &|here| here.cpu_features = None),
        ("memory", CheckResult::Fail, &|here| here.memory_available = Some(1000)),
        ("memory", CheckResult::Unknown, &|here| here.memory_available = None),
    ];
    for (name, result, change) in cases {
        let found = judge(change);
        let check = line(&found, name);
        assert_eq!(check.result, result, "{check}");
        assert!(result != CheckResult::Fail || check.remedy.is_some(), "{check}");
    }
}

#[test]
fn what_is_no_checkpoint_is_said_so() {
    let home = tempfile::tempdir().unwrap();
    let error = |path: &Path| inspect(path, &Limits::default(), &here()).unwrap_err();
    assert!(matches!(error(home.path()), InspectError::NotACheckpoint { .. }));
    std::fs::write(home.path().join("index.json"), "{}").unwrap();
    assert!(error(home.path()).to_string().contains("OCI layout"));
    assert!(error(&home.path().join("absent")).to_string().contains("No such file"));
    let link = Tar::containerd().member("checkpoint/x", EntryType::Symlink, b"").end();
    std::fs::write(home.path().join("a.tar"), link).unwrap();
    assert!(error(&home.path().join("a.tar")).to_string().contains("files-and-directories-only"));
    std::fs::write(home.path().join("b.tar"), Tar::containerd().end()).unwrap();
    assert!(matches!(error(&home.path().join("b.tar")), InspectError::Image(_)));
}
