//! Names that cross crates and processes.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};

/// Longest accepted [`MigrationId`] and [`InstanceId`], in bytes. They become parts of queue, file and container names.
pub const ID_BYTES_MAX: usize = 128;

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and takes a name.
            ///
            /// # Errors
            /// [`ErrorKind::Invalid`] unless it has 1 to [`ID_BYTES_MAX`] bytes of `A-Z a-z 0-9 . _ -` and starts with a letter or digit.
            pub fn new(name: impl Into<String>) -> Result<Self, Error> {
                let name = name.into();
                let well_formed = name.len() <= ID_BYTES_MAX
                    && name.starts_with(|c: char| c.is_ascii_alphanumeric())
                    && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
                if well_formed {
                    Ok(Self(name.into()))
                } else {
                    Err(Error::fatal(
                        ErrorKind::Invalid,
                        format!("{name:?} is no valid name: use 1 to {ID_BYTES_MAX} of A-Z a-z 0-9 . _ - and start with a letter or digit"),
                    ))
                }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self, Error> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;
            fn try_from(text: String) -> Result<Self, Error> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.as_ref().to_owned()
            }
        }
    };
}

identifier!(
    /// Names one migration for its whole life: the key of every idempotent effect, of the journal and of the checkpoint.
    MigrationId
);
identifier!(
    /// Names one running consumer: a pod UID, a host name, a process. Source and copy differ in nothing else.
    InstanceId
);
