//! How bare processes are moved.

use std::path::PathBuf;
use std::time::Duration;

use crate::archive::Limits;
use crate::criu::Criu;

/// How [`ProcessSource`](super::ProcessSource) takes a process.
#[derive(Clone, Debug)]
pub struct SourceOptions {
    /// The CRIU to use.
    pub criu: Criu,
    /// Where checkpoints are kept until they are discarded: see [`Store`](crate::store::Store).
    pub work_dir: PathBuf,
    /// Most bytes of files that the tree has open for writing, which are copied while it is frozen. Default 1 GiB.
    pub files_bytes_max: u64,
    /// Allow Unix sockets whose other end is outside of the tree; they come up disconnected. Default `false`.
    pub ext_unix_sk: bool,
    /// Take file locks along. The copy then has them on files of its own; on files that both have, it is refused. Default `false`.
    pub file_locks: bool,
    /// How long ending the tree may take. Default 10 s.
    pub end_max: Duration,
}

impl SourceOptions {
    /// The default options with this work directory.
    pub fn new(work_dir: impl Into<PathBuf>) -> Self {
        let end_max = Duration::from_secs(10);
        Self { criu: Criu::default(), work_dir: work_dir.into(), files_bytes_max: 1 << 30, ext_unix_sk: false, file_locks: false, end_max }
    }
}

/// How [`ProcessTarget`](super::ProcessTarget) makes copies.
#[derive(Clone, Debug)]
pub struct TargetOptions {
    /// The CRIU to use; without a launcher of its own.
    pub criu: Criu,
    /// Where arrived checkpoints and the copies' own files are: see [`Store`](crate::store::Store). May be the source's, too, only if
    /// the two are of different migrations.
    pub work_dir: PathBuf,
    /// The file from which a copy learns who it is. It must exist; the copy sees one of its own there, with its
    /// [`InstanceId`](ms2m_core::InstanceId) and a line end. Default `None`.
    pub identity: Option<PathBuf>,
    /// Where the copy's output goes that the source wrote into a pipe. Default `None`: into the file `output` of its job.
    pub output: Option<PathBuf>,
    /// See [`SourceOptions::ext_unix_sk`].
    pub ext_unix_sk: bool,
    /// See [`SourceOptions::file_locks`].
    pub file_locks: bool,
    /// What may arrive.
    pub limits: Limits,
    /// How long ending a copy may take. Default 10 s.
    pub end_max: Duration,
}

impl TargetOptions {
    /// The default options with this work directory.
    pub fn new(work_dir: impl Into<PathBuf>) -> Self {
        Self {
            criu: Criu::default(),
            work_dir: work_dir.into(),
            identity: None,
            output: None,
            ext_unix_sk: false,
            file_locks: false,
            limits: Limits::default(),
            end_max: Duration::from_secs(10),
        }
    }
}
