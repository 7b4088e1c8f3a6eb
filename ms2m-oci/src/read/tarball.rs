//! A layout that is a tar of one, as `skopeo` (`oci-archive:`) and `ctr images export` write it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use tar::EntryType;

use super::section::Section;
use crate::error::{OciError, Result, Rule};
use crate::limits::Limits;

/// Where its files are. Contents are read in place.
#[derive(Debug)]
pub(crate) struct Tarball {
    file: Arc<File>,
    members: BTreeMap<String, (u64, u64)>,
}

impl Tarball {
    pub(crate) fn open(path: &Path, file: File, limits: &Limits) -> Result<Self> {
        let malformed =
            |error: std::io::Error| OciError::refuse(Rule::Layout, path.display(), format!("it is no tar of a layout: {error}"));
        let file = Arc::new(file);
        let mut members = BTreeMap::new();
        // The reader asks for headers alone, and seeks over what is between them.
        let mut archive = tar::Archive::new(BufReader::with_capacity(4096, &*file));
        for (count, entry) in archive.entries_with_seek().map_err(malformed)?.enumerate() {
            if count >= limits.members {
                return Err(OciError::refuse(Rule::Limit, path.display(), format!("it has more than {} members", limits.members)));
            }
            let entry = entry.map_err(malformed)?;
            let Ok(name) = std::str::from_utf8(&entry.path_bytes()).map(|name| name.trim_start_matches("./").to_owned()) else {
                return Err(OciError::refuse(Rule::PlainFiles, path.display(), "a name in it is not UTF-8"));
            };
            match entry.header().entry_type() {
                EntryType::Directory => {}
                EntryType::Regular => {
                    if members.insert(name.clone(), (entry.raw_file_position(), entry.size())).is_some() {
                        return Err(OciError::refuse(Rule::PlainFiles, name, "the tar has it twice"));
                    }
                }
                other => return Err(OciError::refuse(Rule::PlainFiles, name, format!("the tar has it as {other:?}"))),
            }
        }
        Ok(Self { file, members })
    }

    pub(crate) fn section(&self, name: &str) -> Result<Section> {
        let (at, bytes) = *self.members.get(name).ok_or_else(|| OciError::refuse(Rule::Layout, name, "it is missing"))?;
        Ok(Section { file: Arc::clone(&self.file), at, bytes })
    }
}
