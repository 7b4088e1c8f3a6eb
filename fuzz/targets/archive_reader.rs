//! Any bytes as an archive, compressed or not: every member or a rule that is broken, within the limits.
#![no_main]

mod mend;

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use ms2m_criu::archive::{Limits, Manifest, OpenInput, Reader};

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes.to_vec();
    if bytes.len() % 2 == 0 {
        mend::mend(&mut bytes);
    }
    let limits = Limits { members: 1_000, member_bytes: 1 << 20, total_bytes: 4 << 20, ..Limits::default() };
    let _ = Manifest::parse(&bytes);
    let Ok(OpenInput { input, .. }) = OpenInput::new(Cursor::new(bytes), &limits) else { return };
    let mut reader = Reader::new(input, limits);
    let (mut members, mut total) = (0, 0);
    loop {
        match reader.next_member() {
            Ok(Some(member)) => {
                assert!(!member.name.starts_with('/') && member.name.split('/').all(|part| part != ".."), "{member:?}");
                (members, total) = (members + 1, total + member.size);
                assert!(members <= limits.members && total <= limits.total_bytes, "beyond the limits: {member:?}");
                // What is not read is skipped by the next call.
                if members % 2 == 0 && reader.read_document().is_err() {
                    return;
                }
            }
            Ok(None) => return,
            Err(error) => {
                assert!(error.rule().is_some(), "{error:?}");
                return;
            }
        }
    }
});
