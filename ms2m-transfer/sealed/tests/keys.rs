//! Keys live in files, and nowhere else.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use ms2m_core::ErrorKind;
use ms2m_transfer_sealed::{Key, Recipient};

#[test]
fn a_key_is_kept_in_a_file_of_its_own() {
    let home = tempfile::tempdir().unwrap();
    let (path, link) = (home.path().join("key"), home.path().join("link"));
    let key = Key::generate();
    key.save(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    symlink(&path, &link).unwrap();
    for path in [&path, &link] {
        assert_eq!(Key::load(path).unwrap().recipient(), key.recipient());
    }
    let text = key.recipient().to_string();
    assert!(text.starts_with("age1") && text.parse::<Recipient>().unwrap() == key.recipient());
    assert_eq!(Key::generate().save(&path).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(Key::load(&path).unwrap().recipient(), key.recipient(), "the first key is still there");
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("key");
    Key::generate().save(&path).unwrap();
    for mode in [0o640, 0o604, 0o644, 0o660] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = Key::load(&path).unwrap_err();
        assert!(error.kind() == ErrorKind::Unauthorized && error.to_string().contains("chmod 600"), "{mode:o}: {error}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    Key::load(&path).unwrap();
}

#[test]
fn what_is_no_key_is_refused_without_being_shown() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("key");
    Key::generate().save(&path).unwrap();
    let secret = fs::read_to_string(&path).unwrap().lines().last().unwrap().to_owned();
    let two = format!("{secret}\n{secret}\n");
    let spoilt = secret.to_lowercase();
    for text in ["", "# only a comment\n", "hunter2", &two, &spoilt[..40], &"\n".repeat(100_000)] {
        fs::write(&path, text).unwrap();
        let error = Key::load(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(!error.to_string().contains("hunter2") && !error.to_string().contains(&secret[..30]), "{error}");
    }
    assert_eq!(Key::load(home.path()).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(Key::load(&home.path().join("absent")).unwrap_err().kind(), ErrorKind::NotFound);
    // Taken for the public one.
    let error = secret.parse::<Recipient>().unwrap_err();
    assert!(!error.to_string().contains(&secret[..30]), "{error}");
}

#[test]
fn a_key_does_not_show_itself() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("key");
    let key = Key::generate();
    key.save(&path).unwrap();
    let secret = fs::read_to_string(&path).unwrap().lines().last().unwrap().to_owned();
    assert!(secret.starts_with("AGE-SECRET-KEY-1"));
    let sealed = ms2m_transfer_sealed::Sealed::with_key(std::sync::Arc::new(ms2m_testkit::MemoryTransfer::default()), key.clone());
    for shown in [format!("{key:?}"), format!("{sealed:?}"), format!("{:#?}", key.recipient())] {
        assert!(!shown.contains("SECRET") && shown.contains("age1"), "{shown}");
    }
}
