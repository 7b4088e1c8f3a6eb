//! The command line of an OCI runtime, as far as it must be understood.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// Options in front of the command that have a value.
const GLOBAL_WITH_VALUE: [&str; 6] = ["--root", "--log", "--log-format", "--rootless", "--cgroup-manager", "--criu"];
/// Those of `create`.
const CREATE_WITH_VALUE: [&str; 6] = ["--bundle", "-b", "--pid-file", "--console-socket", "--pidfd-socket", "--preserve-fds"];

/// One call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Call {
    /// As it came.
    pub(crate) words: Vec<OsString>,
    /// Options in front of the command, without those below.
    pub(crate) global: Vec<OsString>,
    pub(crate) root: Option<PathBuf>,
    /// The file for errors, and whether they are JSON there.
    pub(crate) log: Option<PathBuf>,
    pub(crate) log_is_json: bool,
    pub(crate) verb: Verb,
    /// The container; empty for commands that name none.
    pub(crate) id: String,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Verb {
    Create {
        bundle: PathBuf,
        /// Options that `restore` has, too.
        options: Vec<OsString>,
    },
    Start,
    Delete,
    Other,
}

impl Call {
    pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Self {
        let words: Vec<_> = words.into_iter().collect();
        let mut call = Self {
            words: words.clone(),
            global: Vec::new(),
            root: None,
            log: None,
            log_is_json: false,
            verb: Verb::Other,
            id: String::new(),
        };
        let mut rest = words.into_iter();
        let verb = loop {
            let Some(word) = rest.next() else { return call };
            if !is_option(&word) {
                break word;
            }
            let (name, value) = named(&word, &GLOBAL_WITH_VALUE, &mut rest);
            match (name.as_str(), value) {
                ("--root", Some(root)) => call.root = Some(root.into()),
                ("--log", Some(log)) => call.log = Some(log.into()),
                ("--log-format", Some(format)) => call.log_is_json = format == "json",
                (name, value) => call.global.extend(std::iter::once(name.into()).chain(value)),
            }
        };
        call.id = rest.as_slice().last().map(|id| id.to_string_lossy().into_owned()).unwrap_or_default();
        call.verb = match verb.to_str() {
            Some("create") => create(rest),
            Some("start") => Verb::Start,
            Some("delete") => Verb::Delete,
            _ => Verb::Other,
        };
        call
    }
}

fn create(mut rest: impl Iterator<Item = OsString>) -> Verb {
    let (mut bundle, mut options) = (PathBuf::from("."), Vec::new());
    while let Some(word) = rest.next() {
        if !is_option(&word) {
            continue;
        }
        match named(&word, &CREATE_WITH_VALUE, &mut rest) {
            (name, Some(value)) if name == "--bundle" || name == "-b" => bundle = value.into(),
            (name, Some(value)) if name == "--pid-file" || name == "--console-socket" => options.extend([name.into(), value]),
            (name, None) if name == "--no-pivot" => options.push(name.into()),
            // Of the process's own making, which a checkpoint brings.
            _ => {}
        }
    }
    Verb::Create { bundle, options }
}

fn is_option(word: &OsStr) -> bool {
    word.as_encoded_bytes().starts_with(b"-") && word.len() > 1
}

/// An option's name, and its value where it has one: in the same word, or in the next.
fn named(word: &OsStr, with_value: &[&str], rest: &mut impl Iterator<Item = OsString>) -> (String, Option<OsString>) {
    let text = word.to_string_lossy().into_owned();
    if let Some((name, value)) = text.split_once('=') {
        return (name.to_owned(), Some(value.into()));
    }
    let value = if with_value.contains(&text.as_str()) { rest.next() } else { None };
    (text, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Call {
        Call::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn containerds_create_is_understood() {
        let call = parsed(
            "--root /run/k8s.io --log /b/log.json --log-format json --systemd-cgroup create --bundle /b --pid-file /b/init.pid --no-new-keyring c1",
        );
        assert_eq!((call.root, call.log), (Some("/run/k8s.io".into()), Some("/b/log.json".into())));
        assert!(call.log_is_json);
        assert_eq!((call.global, call.id), (vec![OsString::from("--systemd-cgroup")], "c1".to_owned()));
        let options = ["--pid-file", "/b/init.pid"].map(OsString::from).to_vec();
        assert_eq!(call.verb, Verb::Create { bundle: "/b".into(), options });
    }

    #[test]
    fn values_may_stand_in_the_same_word() {
        let call = parsed("--root=/r --log=/l create --bundle=/b --pid-file=/p --no-pivot c1");
        assert_eq!((call.root, call.log, call.log_is_json), (Some("/r".into()), Some("/l".into()), false));
        let options = ["--pid-file", "/p", "--no-pivot"].map(OsString::from).to_vec();
        assert_eq!(call.verb, Verb::Create { bundle: "/b".into(), options });
    }

    #[test]
    fn other_calls_keep_their_words() {
        for line in ["--version", "", "features", "--root /r state c1", "--root /r kill --all c1 9", "--root /r exec --process /p c1"] {
            let call = parsed(line);
            assert_eq!((call.verb, call.words.len()), (Verb::Other, line.split_whitespace().count()), "{line}");
        }
        assert_eq!((parsed("--root /r start c1").verb, parsed("--root /r start c1").id), (Verb::Start, "c1".to_owned()));
        assert_eq!((parsed("--root /r delete --force c1").verb, parsed("--root /r delete --force c1").id), (Verb::Delete, "c1".to_owned()));
    }
}
