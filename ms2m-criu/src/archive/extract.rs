//! Puts an archive into a new directory, or leaves nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ms2m_core::ByteStream;

use super::error::{ArchiveError, Result, Rule};
use super::format::{Engine, Facts, detect, is_known};
use super::input::{Input, OpenInput, open};
use super::limits::Limits;
use super::manifest::{CONTAINERS, MANIFEST, Manifest, image_directory};
use super::reader::{Kind, Member, Reader};
use super::stream::feed;
use super::target::Target;

/// Whose archive is expected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expect {
    /// Anybody's who is known.
    Any,
    /// This engine's only.
    Only(Engine),
}

/// What was extracted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Extracted {
    /// Where it is: the directory that was asked for.
    pub directory: PathBuf,
    /// Who wrote the archive.
    pub engine: Engine,
    /// The manifest of an archive of ours.
    pub manifest: Option<Manifest>,
    /// What an engine's documents tell.
    pub facts: Option<Facts>,
    /// Regular files.
    pub files: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Members that no engine is known to write. They were left out.
    pub left_out: u64,
}

/// Extracts the archive in a file, compressed or not, into the new directory `target` (mode 0700).
///
/// # Errors
/// When the archive breaks a rule or a limit, is not by whom it should be, `target` exists, or a file cannot be written.
/// Nothing is left of `target` then.
pub fn extract(archive: &Path, target: &Path, limits: &Limits, expect: Expect) -> Result<Extracted> {
    let OpenInput { input, .. } = open(archive, limits)?;
    let (directory, extracted) = extract_input(input, target, limits, expect)?;
    directory.keep();
    Ok(extracted)
}

/// Extracts an archive of ours from a stream into the new directory `target` (mode 0700), while it arrives.
///
/// Decompresses nothing: an archive of ours is plain. The bytes are written as they come, in constant memory; verify the digest of the
/// stream before you restore from it.
///
/// # Errors
/// As [`extract`], and what the stream says. Nothing is left of `target` then, nor when the future is dropped.
///
/// # Panics
/// Outside a tokio runtime.
pub async fn extract_stream(body: ByteStream, target: &Path, limits: &Limits) -> Result<Extracted> {
    let (target, limits) = (target.to_owned(), *limits);
    let (directory, extracted) = feed(body, move |input| extract_input(input, &target, &limits, Expect::Only(Engine::Ms2m))).await?;
    directory.keep();
    Ok(extracted)
}

/// The directory is removed unless it is kept.
fn extract_input(input: impl Input, target: &Path, limits: &Limits, expect: Expect) -> Result<(Target, Extracted)> {
    let mut reader = Reader::new(input, *limits);
    let mut target = Target::create(target)?;
    let mut walk =
        Walk { target: &mut target, manifest: None, documents: Default::default(), directories: BTreeSet::new(), counts: [0; 3] };
    let mut first = true;
    while let Some(member) = reader.next_member()? {
        if first && expect == Expect::Only(Engine::Ms2m) && member.name != MANIFEST {
            return Err(ArchiveError::refuse(Rule::OwnFormat, &member.name, "an archive of ms2m begins with manifest.json"));
        }
        walk.member(&mut reader, &member, first)?;
        first = false;
    }
    let [files, bytes, left_out] = walk.counts;
    let (engine, facts) = match &walk.manifest {
        Some(manifest) => {
            walk.check_parts(manifest)?;
            (Engine::Ms2m, None)
        }
        None => {
            let [config, spec] = &walk.documents;
            let (engine, facts) = detect(config.as_deref(), spec.as_deref())?;
            (engine, Some(facts))
        }
    };
    if let Expect::Only(expected) = expect
        && expected != engine
    {
        return Err(ArchiveError::refuse(Rule::KnownEngine, "", format!("it was written by {engine}, and {expected} was expected")));
    }
    if facts.is_some() && !walk.directories.contains("checkpoint") {
        return Err(ArchiveError::refuse(Rule::Complete, "", "it has no CRIU images below checkpoint/"));
    }
    let manifest = walk.manifest.take();
    if let Some(manifest) = &manifest {
        link_parents(&mut target, manifest)?;
    }
    let directory = target.path().to_owned();
    Ok((target, Extracted { directory, engine, manifest, facts, files, bytes, left_out }))
}

struct Walk<'a> {
    target: &'a mut Target,
    manifest: Option<Manifest>,
    /// `config.dump` and `spec.dump`.
    documents: [Option<Vec<u8>>; 2],
    /// Directories down to `containers/NAME/DIRECTORY`.
    directories: BTreeSet<String>,
    /// Files, bytes, left out.
    counts: [u64; 3],
}

impl Walk<'_> {
    fn member<R: Input>(&mut self, reader: &mut Reader<R>, member: &Member, first: bool) -> Result<()> {
        let name = member.name.as_str();
        if name.is_empty() {
            return Ok(());
        }
        if first && name == MANIFEST && member.kind == Kind::File {
            let json = reader.read_document()?;
            self.manifest = Some(Manifest::parse(&json)?);
            return self.write(name, &json);
        }
        if self.manifest.is_some() {
            self.check_own(name)?;
        } else if !is_known(name) {
            self.counts[2] += 1;
            return Ok(());
        }
        self.note_directories(name, member.kind);
        match (member.kind, name) {
            (Kind::Directory, _) => self.target.directory(name),
            (Kind::File, "config.dump" | "spec.dump") if self.manifest.is_none() => {
                let json = reader.read_document()?;
                self.write(name, &json)?;
                self.documents[usize::from(name == "spec.dump")] = Some(json);
                Ok(())
            }
            (Kind::File, _) => {
                self.counts[0] += 1;
                self.counts[1] += member.size;
                reader.copy_to(&mut self.target.file(name)?)
            }
        }
    }

    fn write(&mut self, name: &str, content: &[u8]) -> Result<()> {
        use std::io::Write as _;
        self.counts[0] += 1;
        self.counts[1] += content.len() as u64;
        self.target.file(name)?.write_all(content).map_err(|error| ArchiveError::io(format!("writing {name}"), error))
    }

    /// Only what the manifest names has a place in an archive of ours.
    fn check_own(&self, name: &str) -> Result<()> {
        let mut parts = name.split('/');
        let top = parts.next();
        let container = parts.next();
        let known =
            |container: &str| self.manifest.as_ref().is_some_and(|manifest| manifest.containers.iter().any(|one| one.name == container));
        if top == Some(CONTAINERS) && container.is_none_or(known) {
            return Ok(());
        }
        Err(ArchiveError::refuse(Rule::OwnFormat, name, "it belongs to no container of the manifest"))
    }

    fn note_directories(&mut self, name: &str, kind: Kind) {
        let ends = name.match_indices('/').map(|(at, _)| at).chain((kind == Kind::Directory).then_some(name.len()));
        for end in ends.take(3) {
            if !self.directories.contains(&name[..end]) {
                self.directories.insert(name[..end].to_owned());
            }
        }
    }

    /// Every container has its images. Parents may travel in archives of their own.
    fn check_parts(&self, manifest: &Manifest) -> Result<()> {
        let own = image_directory(manifest.part);
        for container in &manifest.containers {
            for part in container.parents.iter().map(|link| link.directory.as_str()).chain([own.as_str()]) {
                let name = format!("{CONTAINERS}/{}/{part}", container.name);
                if !self.directories.contains(&name) {
                    return Err(ArchiveError::refuse(Rule::Complete, &name, "the manifest needs this directory, and it is missing"));
                }
            }
        }
        Ok(())
    }
}

fn link_parents(target: &mut Target, manifest: &Manifest) -> Result<()> {
    for container in &manifest.containers {
        for link in &container.parents {
            let name = format!("{CONTAINERS}/{}/{}/parent", container.name, link.directory);
            target.link(&name, &format!("../{}", link.parent))?;
        }
    }
    Ok(())
}
