//! A program on the node, replaced as a whole.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use ms2m_core::{Error, ErrorKind, Result};

/// Whether it had to be written: one that is the same already is left alone.
pub(super) fn put(program: &mut File, to: &Path) -> Result<bool> {
    let cannot = |error| {
        let message = "ms2m-runtime cannot be written there; name a directory of the node that can be, with --directory";
        Error::fatal(ErrorKind::Other, message).with("file", to.display()).caused_by(error)
    };
    if same(program, to).map_err(cannot)? {
        return Ok(false);
    }
    replace(program, to).map_err(cannot)?;
    Ok(true)
}

fn same(program: &mut File, to: &Path) -> io::Result<bool> {
    let Ok(there) = fs::read(to) else { return Ok(false) };
    let mut wanted = Vec::new();
    program.rewind()?;
    program.read_to_end(&mut wanted)?;
    Ok(there == wanted && fs::metadata(to)?.permissions().mode() & 0o111 == 0o111)
}

/// Containers are made meanwhile: there is always one that is whole.
fn replace(program: &mut File, to: &Path) -> io::Result<()> {
    let directory = to.parent().unwrap_or(Path::new("/"));
    fs::DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
    let new = to.with_extension("new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o755).open(&new)?;
    program.rewind()?;
    io::copy(program, &mut file)?;
    file.set_permissions(fs::Permissions::from_mode(0o755))?;
    file.sync_all()?;
    drop(file);
    fs::rename(new, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_when_it_differs_and_can_be_run() {
        let root = tempfile::tempdir().unwrap();
        let (from, to) = (root.path().join("from"), root.path().join("bin/deep/ms2m-runtime"));
        fs::write(&from, "one").unwrap();
        assert!(put(&mut File::open(&from).unwrap(), &to).unwrap());
        assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o755);
        assert!(!put(&mut File::open(&from).unwrap(), &to).unwrap());
        fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(put(&mut File::open(&from).unwrap(), &to).unwrap(), "it could not be run");
        fs::write(&from, "two").unwrap();
        assert!(put(&mut File::open(&from).unwrap(), &to).unwrap());
        assert_eq!((fs::read_to_string(&to).unwrap(), fs::read_dir(to.parent().unwrap()).unwrap().count()), ("two".to_owned(), 1));
        let error = put(&mut File::open(&from).unwrap(), &from.join("x")).unwrap_err();
        assert!(error.to_string().contains("--directory"), "{error}");
    }
}
