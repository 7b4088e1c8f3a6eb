//! Layouts that lie, and archives that are none.

mod common;

use std::fs;
use std::io::Read as _;
use std::ops::ControlFlow;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use common::{Home, archive, walk};
use ms2m_core::Digest;
use ms2m_oci::{Compression, Layout, Limits, OciError, PackOptions, Rule};

fn go_on(_: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// A packed layout to be spoilt.
struct Spoilt {
    home: Home,
    packed: ms2m_oci::Packed,
}

impl Spoilt {
    fn new() -> Self {
        let home = Home::new(&archive(&[7; 100_000]));
        let packed = home.pack(Some("a"), &PackOptions { copy: true, ..PackOptions::default() }).unwrap();
        Self { home, packed }
    }

    fn blob(&self, digest: Digest) -> PathBuf {
        self.home.layout.join("blobs/sha256").join(digest.to_string().trim_start_matches("sha256:"))
    }

    fn layer(&self) -> PathBuf {
        self.blob(self.packed.image.layer.digest)
    }

    /// Replaces the manifest, and lets the index name the new one.
    fn manifest(&self, change: impl FnOnce(&mut serde_json::Value)) {
        let mut manifest: serde_json::Value = serde_json::from_str(self.packed.image.manifest.text()).unwrap();
        change(&mut manifest);
        self.put_manifest(manifest.to_string().as_bytes());
    }

    fn put_manifest(&self, manifest: &[u8]) {
        let digest = Digest::of(manifest);
        fs::write(self.blob(digest), manifest).unwrap();
        self.index(|index| {
            index["manifests"][0]["digest"] = digest.to_string().into();
            index["manifests"][0]["size"] = manifest.len().into();
        });
    }

    /// Replaces the configuration, and lets a manifest name the new one.
    fn config(&self, change: impl FnOnce(&mut serde_json::Value)) {
        let mut config: serde_json::Value = serde_json::from_str(self.packed.image.config.text()).unwrap();
        change(&mut config);
        let config = config.to_string();
        let digest = Digest::of(config.as_bytes());
        fs::write(self.blob(digest), &config).unwrap();
        self.manifest(|manifest| {
            manifest["config"]["digest"] = digest.to_string().into();
            manifest["config"]["size"] = config.len().into();
        });
    }

    fn index(&self, change: impl FnOnce(&mut serde_json::Value)) {
        let path = self.home.layout.join("index.json");
        let mut index: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        change(&mut index);
        fs::write(path, index.to_string()).unwrap();
    }

    /// Reads everything, and says which rule is broken. Every way out must say the same, and leave nothing.
    fn rule(&self) -> Option<Rule> {
        let limits = Limits { document_bytes: 16 << 10, ..Limits::default() };
        let opened = Layout::open(&self.home.layout, &limits);
        let layout = match opened {
            Ok(layout) => layout,
            Err(error) => return error.rule(),
        };
        let checkpoint = match layout.checkpoint(Some("a")) {
            Ok(checkpoint) => checkpoint,
            Err(error) => return error.rule(),
        };
        let read = checkpoint.reader().unwrap().read_to_end(&mut Vec::new()).map_err(OciError::from_read).err();
        let before = walk(self.home.path());
        for copy in [false, true] {
            let extracted = checkpoint.extract(&self.home.path().join("out"), copy, &mut go_on).err();
            assert_eq!(extracted.as_ref().map(OciError::rule), read.as_ref().map(OciError::rule));
            if extracted.is_some() {
                assert_eq!(walk(self.home.path()), before, "nothing is left of a refused layer");
            }
        }
        read.and_then(|error| error.rule())
    }
}

#[test]
fn an_honest_layout_passes() {
    let honest = Spoilt::new();
    let layout = honest.home.open();
    layout.checkpoint(Some("a")).unwrap().reader().unwrap().read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn every_lie_breaks_its_rule() {
    type Lie = (&'static str, Rule, fn(&Spoilt));
    let other = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
    assert_eq!(other.len(), 71);
    let lies: &[Lie] = &[
        ("a byte of the layer is another", Rule::DigestMatch, |s| {
            let mut layer = fs::read(s.layer()).unwrap();
            layer[60_000] ^= 1;
            fs::write(s.layer(), layer).unwrap();
        }),
        ("the layer is cut", Rule::Size, |s| fs::write(s.layer(), &fs::read(s.layer()).unwrap()[..512]).unwrap()),
        ("the layer is longer", Rule::Size, |s| fs::write(s.layer(), [&fs::read(s.layer()).unwrap()[..], b"x"].concat()).unwrap()),
        ("the layer is a link to the right bytes", Rule::PlainFiles, |s| {
            fs::remove_file(s.layer()).unwrap();
            symlink(&s.home.archive, s.layer()).unwrap();
        }),
        ("the layer is a directory", Rule::PlainFiles, |s| {
            fs::remove_file(s.layer()).unwrap();
            fs::create_dir(s.layer()).unwrap();
        }),
        ("the layer is missing", Rule::Layout, |s| fs::remove_file(s.layer()).unwrap()),
        ("the blobs are behind a link", Rule::PlainFiles, |s| {
            fs::rename(s.home.layout.join("blobs"), s.home.path().join("elsewhere")).unwrap();
            symlink(s.home.path().join("elsewhere"), s.home.layout.join("blobs")).unwrap();
        }),
        ("the index is a link", Rule::PlainFiles, |s| {
            fs::rename(s.home.layout.join("index.json"), s.home.path().join("index.json")).unwrap();
            symlink(s.home.path().join("index.json"), s.home.layout.join("index.json")).unwrap();
        }),
        ("the index is huge", Rule::Limit, |s| fs::write(s.home.layout.join("index.json"), vec![b' '; 17 << 10]).unwrap()),
        ("the manifest is huge", Rule::Limit, |s| s.put_manifest(&vec![b' '; 17 << 10])),
        ("the index is no JSON", Rule::WellFormed, |s| fs::write(s.home.layout.join("index.json"), "{").unwrap()),
        ("the index is of another kind", Rule::MediaType, |s| s.index(|i| i["mediaType"] = "application/json".into())),
        ("the manifest is no JSON", Rule::WellFormed, |s| s.put_manifest(b"{")),
        ("the manifest is nested without end", Rule::WellFormed, |s| s.put_manifest("[".repeat(10_000).as_bytes())),
        ("the manifest is another document", Rule::WellFormed, |s| s.put_manifest(b"{\"schemaVersion\":2}")),
        ("the manifest is of version 1", Rule::WellFormed, |s| s.manifest(|m| m["schemaVersion"] = 1.into())),
        ("the layout is of version 2", Rule::Layout, |s| {
            fs::write(s.home.layout.join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
        }),
        ("oci-layout is missing", Rule::Layout, |s| fs::remove_file(s.home.layout.join("oci-layout")).unwrap()),
        ("the manifest's bytes are others", Rule::DigestMatch, |s| {
            let path = s.blob(s.packed.image.manifest.digest());
            let text = fs::read_to_string(&path).unwrap().replace("orders", "0rders");
            fs::write(path, text).unwrap();
        }),
        ("the manifest is a Docker one", Rule::MediaType, |s| {
            s.index(|i| i["manifests"][0]["mediaType"] = "application/vnd.docker.distribution.manifest.v2+json".into());
        }),
        ("the image is an index", Rule::MediaType, |s| {
            s.index(|i| i["manifests"][0]["mediaType"] = "application/vnd.oci.image.index.v1+json".into());
        }),
        ("the manifest calls itself something else", Rule::MediaType, |s| s.manifest(|m| m["mediaType"] = "application/json".into())),
        ("the layer is of another kind", Rule::MediaType, |s| {
            s.manifest(|m| m["layers"][0]["mediaType"] = "application/vnd.docker.image.rootfs.diff.tar.gzip".into());
        }),
        ("the configuration is of another kind", Rule::MediaType, |s| {
            s.manifest(|m| m["config"]["mediaType"] = "application/vnd.oci.empty.v1+json".into());
        }),
        ("two layers", Rule::OneLayer, |s| {
            s.manifest(|m| {
                let layer = m["layers"][0].clone();
                m["layers"].as_array_mut().unwrap().push(layer);
            });
        }),
        ("no layer", Rule::OneLayer, |s| s.manifest(|m| m["layers"] = serde_json::json!([]))),
        ("the configuration knows of two layers", Rule::OneLayer, |s| {
            s.config(|c| {
                let layer = c["rootfs"]["diff_ids"][0].clone();
                c["rootfs"]["diff_ids"].as_array_mut().unwrap().push(layer);
            });
        }),
        ("no checkpoint", Rule::Checkpoint, |s| {
            s.manifest(|m| m["annotations"] = serde_json::json!({}));
            s.index(|i| i["manifests"][0]["annotations"] = serde_json::json!({ "org.opencontainers.image.ref.name": "a" }));
        }),
        ("a plain layer whose diff id is another", Rule::DigestMatch, |s| {
            s.config(|c| c["rootfs"]["diff_ids"][0] = format!("sha256:{}", "0".repeat(64)).into());
        }),
        ("a diff id that leads elsewhere", Rule::DigestForm, |s| s.config(|c| c["rootfs"]["diff_ids"][0] = "sha256:../../x".into())),
        ("a digest that leads elsewhere", Rule::WellFormed, |s| {
            s.manifest(|m| m["layers"][0]["digest"] = "sha256:../../../archive.tar".into());
        }),
        ("an absolute digest", Rule::WellFormed, |s| s.manifest(|m| m["layers"][0]["digest"] = "/etc/passwd".into())),
        ("a digest of another kind", Rule::DigestForm, |s| {
            s.manifest(|m| m["layers"][0]["digest"] = format!("sha512:{}", "0".repeat(128)).into());
        }),
        ("an unknown kind of digest", Rule::DigestForm, |s| s.manifest(|m| m["layers"][0]["digest"] = "own:abc".into())),
        ("a size that is a lie", Rule::Size, |s| s.manifest(|m| m["layers"][0]["size"] = 1.into())),
        ("a size below zero", Rule::WellFormed, |s| s.manifest(|m| m["layers"][0]["size"] = (-1).into())),
        ("plain bytes announced as gzip", Rule::DigestMatch, |s| {
            s.manifest(|m| m["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.v1.tar+gzip".into());
        }),
        ("plain bytes announced as zstd", Rule::DigestMatch, |s| {
            s.manifest(|m| m["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.v1.tar+zstd".into());
        }),
    ];
    for (what, rule, lie) in lies {
        let spoilt = Spoilt::new();
        lie(&spoilt);
        assert_eq!(spoilt.rule(), Some(*rule), "{what}");
    }
}

#[test]
fn a_compressed_layer_has_two_digests() {
    let expected = archive(&[7; 100_000]);
    let home = Home::new(&expected);
    let packed = home.pack(Some("a"), &PackOptions { compression: Compression::Zstd, ..PackOptions::default() }).unwrap();
    // Other plain bytes, correctly announced but for the configuration.
    let other = zstd::encode_all(&archive(&[8; 100_000])[..], 3).unwrap();
    let spoilt = Spoilt { home, packed };
    let digest = Digest::of(&other);
    fs::write(spoilt.blob(digest), &other).unwrap();
    spoilt.manifest(|m| {
        m["layers"][0]["digest"] = digest.to_string().into();
        m["layers"][0]["size"] = other.len().into();
    });
    assert_eq!(spoilt.rule(), Some(Rule::DigestMatch));
}

#[test]
fn decompression_has_a_limit() {
    let home = Home::new(&archive(&[0; 1024]));
    fs::OpenOptions::new().write(true).open(&home.archive).unwrap().set_len(80 << 20).unwrap();
    home.pack(Some("a"), &PackOptions { compression: Compression::Zstd, ..PackOptions::default() }).unwrap();
    let layout = home.open();
    let error = layout.checkpoint(None).unwrap().extract(&home.path().join("out"), false, &mut go_on).unwrap_err();
    assert_eq!(error.rule(), Some(Rule::Limit), "{error}");
}

#[test]
fn what_is_no_plain_tar_is_not_packed() {
    let tar = archive(b"x");
    let gzip = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, &[&tar[..], &(0..4000).map(|at: u32| (at * 7) as u8).collect::<Vec<_>>()].concat())
            .unwrap();
        [encoder.finish().unwrap(), vec![0; 512]].concat()
    };
    let zstd = [zstd::encode_all(&tar[..], 1).unwrap(), vec![0; 512]].concat();
    for (what, bytes, words) in [
        ("empty", &b""[..], "shorter"),
        ("short", b"ustar", "shorter"),
        ("text", &[b'x'; 4096], "does not begin"),
        ("gzip", &gzip, "gzip"),
        ("zstd", &zstd, "zstd -d"),
    ] {
        let home = Home::new(bytes);
        let error = home.pack(None, &PackOptions::default()).unwrap_err();
        assert_eq!(error.rule(), Some(Rule::PlainTar), "{what}: {error}");
        assert!(error.to_string().contains(words), "{what}: {error}");
        assert_eq!(walk(home.path()), ["archive.tar"], "{what}");
    }
    let mut home = Home::new(&tar);
    let limits = Limits { layer_bytes: 100, ..Limits::default() };
    assert_eq!(home.pack(None, &PackOptions { limits, ..PackOptions::default() }).unwrap_err().rule(), Some(Rule::Limit));
    let link = home.path().join("link.tar");
    symlink(&home.archive, &link).unwrap();
    for (path, rule) in
        [(link, Some(Rule::PlainFiles)), (home.path().to_owned(), Some(Rule::PlainFiles)), (home.path().join("absent"), None)]
    {
        home.archive = path;
        assert_eq!(home.pack(None, &PackOptions::default()).unwrap_err().rule(), rule);
    }
}

#[test]
fn what_is_no_layout_is_not_touched() {
    let home = Home::new(&archive(b"x"));
    fs::create_dir(&home.layout).unwrap();
    fs::write(home.layout.join("precious"), "").unwrap();
    assert_eq!(home.pack(None, &PackOptions::default()).unwrap_err().rule(), Some(Rule::Layout));
    assert_eq!(walk(&home.layout), ["precious"]);
    fs::remove_dir_all(&home.layout).unwrap();
    fs::write(&home.layout, "precious").unwrap();
    home.pack(None, &PackOptions::default()).unwrap_err();
    assert_eq!(fs::read_to_string(&home.layout).unwrap(), "precious");
    for index in [&b"{}"[..], b"[]", b"{\"schemaVersion\":2,\"manifests\":3}"] {
        fs::remove_file(&home.layout).ok();
        fs::remove_dir_all(&home.layout).ok();
        fs::create_dir(&home.layout).unwrap();
        fs::write(home.layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        fs::write(home.layout.join("index.json"), index).unwrap();
        assert_eq!(home.pack(None, &PackOptions::default()).unwrap_err().rule(), Some(Rule::WellFormed));
    }
    let lost = home.path().join("no/such/layout");
    let name = ms2m_oci::LayoutName { directory: lost, tag: None };
    let error = ms2m_oci::pack(&home.archive, &name, &common::facts(), &PackOptions::default(), &mut go_on).unwrap_err();
    assert!(matches!(error, OciError::Io { .. }), "{error}");
}
