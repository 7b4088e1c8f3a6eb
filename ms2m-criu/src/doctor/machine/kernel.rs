//! The kernel's version, and whether this CRIU knows that kernel.

use std::io;

use super::version::Version;
use crate::check::Check;

/// From here on the kernel reports guard pages and socket states that older CRIUs do not know.
const CHANGED: Version = Version(6, 16);
/// The first CRIU that does.
const KNOWS: Version = Version(4, 2);

pub(super) fn check(release: io::Result<String>, criu: Option<Version>) -> Check {
    let release = match release {
        Ok(release) => release.trim().to_owned(),
        Err(error) => return Check::unknown("kernel", format!("/proc/sys/kernel/osrelease: {error}")),
    };
    let Some(kernel) = Version::find(&release) else {
        return Check::unknown("kernel", format!("`{release}` is no version that can be read"));
    };
    match criu {
        Some(criu) if kernel >= CHANGED && criu < KNOWS => {
            Check::fail("kernel", format!("Linux {release} is too new for CRIU {criu}: from Linux {CHANGED} on it needs CRIU {KNOWS}"))
                .remedy(format!("install CRIU {KNOWS} or later"))
        }
        Some(criu) => Check::ok("kernel", format!("Linux {release} with CRIU {criu}")),
        None if kernel >= CHANGED => {
            Check::warn("kernel", format!("Linux {release} needs CRIU {KNOWS} or later")).remedy(format!("install CRIU {KNOWS} or later"))
        }
        None => Check::ok("kernel", format!("Linux {release}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::CheckResult::{self, Fail, Ok, Unknown, Warn};

    #[test]
    fn a_kernel_that_is_too_new_for_criu_fails() {
        let result = |release: &str, criu| -> CheckResult { check(Result::Ok(release.to_owned()), criu).result };
        assert_eq!(result("6.16.0\n", Some(Version(4, 1))), Fail);
        assert_eq!(result("6.16.0", Some(Version(4, 2))), Ok);
        assert_eq!(result("6.12.1-amd64", Some(Version(4, 1))), Ok);
        assert_eq!(result("7.0", None), Warn);
        assert_eq!(result("5.10", None), Ok);
        assert_eq!(result("strange", None), Unknown);
        assert_eq!(check(Err(io::ErrorKind::NotFound.into()), None).result, Unknown);
    }
}
