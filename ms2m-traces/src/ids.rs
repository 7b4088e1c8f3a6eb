//! Ids that everybody finds by himself.

use opentelemetry::trace::{SpanId, TraceId};
use sha2::{Digest as _, Sha256};

/// The trace of a migration.
#[must_use]
pub fn trace_of(migration: &str) -> TraceId {
    TraceId::from_bytes(bytes_of(migration))
}

/// The span that all others of a migration are within.
#[must_use]
pub fn root_span_of(migration: &str) -> SpanId {
    let [.., a, b, c, d, e, f, g, h] = bytes_of(migration);
    SpanId::from_bytes([a, b, c, d, e, f, g, h])
}

fn bytes_of(migration: &str) -> [u8; 16] {
    uuid(migration).unwrap_or_else(|| {
        let digest = Sha256::digest(migration.as_bytes());
        std::array::from_fn(|at| digest[at])
    })
}

fn uuid(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.chars().filter(|character| *character != '-').collect();
    let is_uuid = digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let number = u128::from_str_radix(&digits, 16).ok().filter(|_| is_uuid)?;
    // Neither half may be 0: that is no id.
    (number >> 64 != 0 && number << 64 != 0).then(|| number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_its_own_trace() {
        let migration = "a8fd326c-2e8d-49da-ba4f-584162f62ff1";
        assert_eq!(trace_of(migration).to_string(), "a8fd326c2e8d49daba4f584162f62ff1");
        assert_eq!(root_span_of(migration).to_string(), "ba4f584162f62ff1");
    }

    #[test]
    fn every_other_name_has_a_trace_too() {
        let names = ["demo", "", "00000000-0000-0000-0000-000000000000", "+8fd326c2e8d49daba4f584162f62ff1"];
        for name in names {
            assert_ne!(trace_of(name), TraceId::INVALID, "{name}");
            assert_ne!(root_span_of(name), SpanId::INVALID, "{name}");
            assert_eq!(trace_of(name), trace_of(name));
            assert!(names.iter().all(|other| *other == name || trace_of(other) != trace_of(name)));
        }
    }
}
