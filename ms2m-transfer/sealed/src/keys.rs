//! Whom a checkpoint is encrypted for, and who can read it. Keys come from files and never appear in a log.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::str::FromStr;

use age::secrecy::{ExposeSecret as _, SecretString};
use age::x25519;
use ms2m_core::{Error, ErrorKind, Result};

/// A file with one key is far below.
const FILE_BYTES: u64 = 64 << 10;

/// A target's secret key.
#[derive(Clone)]
pub struct Key(x25519::Identity);

impl Key {
    /// A new one, from the system's random numbers.
    #[must_use]
    pub fn generate() -> Self {
        Self(x25519::Identity::generate())
    }

    /// Whom to encrypt for, so that this key can read it. Public.
    #[must_use]
    pub fn recipient(&self) -> Recipient {
        Recipient(self.0.to_public())
    }

    /// Reads a file as [`save`](Self::save) and `age-keygen` write it: one key, and lines that begin with `#`.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthorized`] when others than its owner may read the file, or its owner is neither this user nor root;
    /// [`ErrorKind::Invalid`] when there is not one key in it.
    pub fn load(path: &Path) -> Result<Self> {
        let failed = |error: std::io::Error| {
            let kind = if error.kind() == std::io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Unauthorized };
            Error::fatal(kind, "the key cannot be read").with("path", path.display()).caused_by(error)
        };
        let refuse = |kind, message: &str| Error::fatal(kind, message).with("path", path.display());
        // A link is followed: that is how Kubernetes mounts Secrets.
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(refuse(ErrorKind::Invalid, "the key is no regular file"));
        }
        if metadata.mode() & 0o077 != 0 {
            let message =
                "others than its owner may read the key; `chmod 600` it (a Secret: defaultMode 0400), and make a new one if anybody could";
            return Err(refuse(ErrorKind::Unauthorized, message));
        }
        if ![0, rustix::process::geteuid().as_raw()].contains(&metadata.uid()) {
            return Err(refuse(ErrorKind::Unauthorized, "the key belongs to somebody else; use one of your own"));
        }
        let mut text = String::new();
        let read = file.take(FILE_BYTES).read_to_string(&mut text);
        // From here on it is overwritten when it is dropped.
        let text = SecretString::from(text);
        read.map_err(failed)?;
        let mut keys = text.expose_secret().lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        match (keys.next().map(x25519::Identity::from_str), keys.next()) {
            (Some(Ok(key)), None) => Ok(Self(key)),
            // What is wrong with it is not said: it may be a secret of another kind.
            _ => Err(refuse(ErrorKind::Invalid, "the file does not hold one age key (AGE-SECRET-KEY-1…); `age-keygen` makes one")),
        }
    }

    /// Writes it to a new file that only its owner may read.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] when there is such a file; it may be the only way to a checkpoint.
    pub fn save(&self, path: &Path) -> Result<()> {
        let failed = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                Error::fatal(ErrorKind::AlreadyExists, "there is a key already; name another file").with("path", path.display())
            }
            _ => Error::fatal(ErrorKind::Other, "the key cannot be written").with("path", path.display()).caused_by(error),
        };
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
        writeln!(file, "# public key: {}", self.recipient()).map_err(failed)?;
        let secret = self.0.to_string();
        file.write_all(secret.expose_secret().as_bytes()).and_then(|()| file.write_all(b"\n")).map_err(failed)?;
        file.sync_all().map_err(failed)
    }

    pub(crate) fn identity(&self) -> &x25519::Identity {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key of {}", self.recipient())
    }
}

/// A target's public key, as text `age1…`.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipient(x25519::Recipient);

impl Recipient {
    pub(crate) fn age(&self) -> &x25519::Recipient {
        &self.0
    }
}

impl FromStr for Recipient {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::fatal(ErrorKind::Invalid, "it is no public key of age: expected age1 and 58 letters and digits");
        // A secret key that somebody has taken for the public one must not come up in a log.
        text.parse().map(Self).map_err(|_: &str| wrong())
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
