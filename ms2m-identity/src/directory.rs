//! [`CertificateDirectory`]: where a program finds its certificate.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};

use ms2m_core::{Error, ErrorKind, Result};
use time::OffsetDateTime;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::parse_x509_pem;

use crate::authority::Signed;

const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const AUTHORITY: &str = "ca.crt";
/// The link to the files that count.
const CURRENT: &str = "..current";
/// Before the number of a directory with files.
const VERSION: &str = "..of-";

/// A directory with `tls.crt`, `tls.key` and `ca.crt`.
///
/// They are links through one other link, which is replaced: all three change at once, and nobody sees some of an old certificate and some of a new one.
/// Only one process at a time may write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateDirectory {
    path: PathBuf,
}

/// A certificate that is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// Whom it names.
    pub name: String,
    /// The authorities that are believed beside it, PEM.
    pub authority: String,
    /// When its time begins.
    pub not_before: OffsetDateTime,
    /// When its time ends.
    pub not_after: OffsetDateTime,
}

impl Held {
    /// When two thirds of its time are over.
    #[must_use]
    pub fn renew_at(&self) -> OffsetDateTime {
        self.not_after - (self.not_after - self.not_before) / 3
    }

    /// Whether it names this one, and is believed at this time.
    #[must_use]
    pub fn is_good(&self, name: &str, at: OffsetDateTime) -> bool {
        self.name == name && self.not_before <= at && at < self.not_after
    }
}

impl CertificateDirectory {
    /// At this path, which need not exist.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces what is there.
    ///
    /// # Errors
    /// When it cannot be written; what was there is there still.
    pub fn write(&self, signed: &Signed, key: &str) -> Result<()> {
        self.replace(signed, key).map_err(|error| {
            let message = "the certificate cannot be written; may this account write there, and is there room?";
            Error::retry(ErrorKind::Other, message).with("directory", self.path.display()).caused_by(error)
        })
    }

    fn replace(&self, signed: &Signed, key: &str) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.path)?;
        let version = format!("{VERSION}{}", OffsetDateTime::now_utc().unix_timestamp_nanos());
        let files = self.path.join(&version);
        // Who reads them may be of another account; the directory around is for those who may.
        fs::DirBuilder::new().mode(0o700).create(&files)?;
        for (name, text) in [(CERTIFICATE, signed.certificate.as_str()), (KEY, key), (AUTHORITY, signed.authority.as_str())] {
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(files.join(name))?;
            file.write_all(text.as_bytes())?;
        }
        self.link(&version, CURRENT)?;
        for name in [CERTIFICATE, KEY, AUTHORITY] {
            let to = format!("{CURRENT}/{name}");
            if fs::read_link(self.path.join(name)).ok().as_deref() != Some(Path::new(&to)) {
                self.link(&to, name)?;
            }
        }
        for entry in fs::read_dir(&self.path)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(VERSION) && name != version {
                // Whoever reads one of these at this moment reads again.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        Ok(())
    }

    /// Whatever bore the name is replaced.
    fn link(&self, to: &str, name: &str) -> io::Result<()> {
        let new = self.path.join(format!("..new-{name}"));
        if let Err(error) = fs::remove_file(&new)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        symlink(to, &new)?;
        fs::rename(new, self.path.join(name))
    }

    /// What is there, as far as it can be read.
    #[must_use]
    pub fn held(&self) -> Option<Held> {
        let text = fs::read(self.path.join(CERTIFICATE)).ok()?;
        let authority = fs::read_to_string(self.path.join(AUTHORITY)).ok()?;
        fs::metadata(self.path.join(KEY)).ok()?;
        let (_, pem) = parse_x509_pem(&text).ok()?;
        let certificate = pem.parse_x509().ok()?;
        let names = certificate.subject_alternative_name().ok()??;
        let name = names.value.general_names.iter().find_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        })?;
        let validity = certificate.validity();
        Some(Held { name, authority, not_before: validity.not_before.to_datetime(), not_after: validity.not_after.to_datetime() })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::KeyPair;

    use super::*;
    use crate::Authority;

    fn signed(name: &str, seconds: u64) -> (Signed, String) {
        let key = KeyPair::generate().unwrap();
        (Authority::new().unwrap().sign(name, &key, Duration::from_secs(seconds)).unwrap(), key.serialize_pem())
    }

    #[test]
    fn the_three_files_change_together_and_nothing_is_left() {
        let root = tempfile::tempdir().unwrap();
        let directory = CertificateDirectory::new(root.path().join("tls"));
        assert_eq!(directory.held(), None);
        for name in ["n1", "n2"] {
            let (signed, key) = signed(name, 300);
            directory.write(&signed, &key).unwrap();
            let held = directory.held().unwrap();
            assert_eq!((held.name.as_str(), &held.authority), (name, &signed.authority));
            assert_eq!(fs::read_to_string(directory.path().join("tls.key")).unwrap(), key);
            let now = OffsetDateTime::now_utc();
            assert!(held.is_good(name, now) && !held.is_good("n3", now) && !held.is_good(name, held.not_after));
            assert_eq!((held.not_after - held.renew_at()).whole_seconds(), 110);
        }
        // The three, the link, and one directory behind it.
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 5);
    }

    #[test]
    fn files_that_lay_there_are_replaced_and_what_cannot_be_written_says_so() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("tls.crt"), "old").unwrap();
        let directory = CertificateDirectory::new(root.path());
        let (signed, key) = signed("n1", 300);
        directory.write(&signed, &key).unwrap();
        assert_eq!(fs::read_to_string(root.path().join("tls.crt")).unwrap(), signed.certificate);
        let error = CertificateDirectory::new(root.path().join("tls.crt/tls")).write(&signed, &key).unwrap_err();
        assert!(error.to_string().contains("may this account write there"), "{error}");
    }
}
