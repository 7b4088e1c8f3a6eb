//! Hides secrets. What may be one is one: a hidden greeting costs nothing.

use serde::{Deserialize, Serialize};

/// What stands where a secret was.
const MASK: &str = "***";

/// Parts of names whose values are secrets.
const NAMES: [&str; 11] = ["PASSWORD", "PASSWD", "PASSPHRASE", "PWD", "SECRET", "TOKEN", "KEY", "CREDENTIAL", "AUTH", "PRIVATE", "COOKIE"];

/// One variable of the environment, with its secret hidden.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value, or what is left of it.
    pub value: String,
    /// Whether something was hidden.
    pub masked: bool,
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase().replace('-', "_");
    // The working directory is called PWD.
    name != "PWD" && name != "OLDPWD" && NAMES.iter().any(|part| name.contains(part))
}

/// A variable `NAME=value` with its secret hidden.
#[must_use]
pub fn mask_variable(variable: &str) -> Variable {
    let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
    let shown = if is_secret(name) && !value.is_empty() { MASK.into() } else { mask_value(value) };
    Variable { name: clean(name), masked: shown != clean(value), value: shown }
}

/// A command line with secrets hidden: values of options whose names say so, and of URLs.
#[must_use]
pub fn mask_argument_list(arguments: &[String]) -> Vec<String> {
    let mut hide_next = false;
    arguments
        .iter()
        .map(|argument| {
            if std::mem::take(&mut hide_next) && !argument.starts_with('-') {
                return MASK.into();
            }
            match argument.split_once('=') {
                Some((name, value)) if is_secret(name) && !value.is_empty() => format!("{}={MASK}", clean(name)),
                Some(_) => mask_value(argument),
                None => {
                    hide_next = argument.starts_with('-') && is_secret(argument);
                    mask_value(argument)
                }
            }
        })
        .collect()
}

/// Any text with passwords in URLs, `password=…` in connection strings, bearer tokens and private keys hidden.
#[must_use]
pub fn mask_value(value: &str) -> String {
    let value = clean(value);
    if value.contains("-----BEGIN ") && value.contains("PRIVATE KEY") {
        return MASK.into();
    }
    mask_words(&mask_urls(&value))
}

/// `scheme://user:password@host`, however often. What a URL's user part holds without a password may be a token: it goes too.
fn mask_urls(value: &str) -> String {
    let mut masked = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = rest.find("://") {
        let (before, behind) = rest.split_at(at + 3);
        masked.push_str(before);
        let end = behind.find(|c: char| matches!(c, '/' | '?' | '#') || c.is_whitespace()).unwrap_or(behind.len());
        // A password may hold a slash that nobody has escaped: the last @ before a blank decides then.
        let word = behind.find(char::is_whitespace).unwrap_or(behind.len());
        rest = match behind[..end].rfind('@').or_else(|| behind[..word].split("://").next().and_then(|own| own.rfind('@'))) {
            Some(host) => {
                match behind[..host].split_once(':') {
                    Some((user, _)) => masked.push_str(&format!("{user}:{MASK}")),
                    None => masked.push_str(MASK),
                }
                &behind[host..]
            }
            None => behind,
        };
    }
    masked.push_str(rest);
    masked
}

/// `name=value` and `name: value` within a text, up to the next separator.
fn mask_words(value: &str) -> String {
    let mut masked = String::with_capacity(value.len());
    let mut name_start = 0;
    let mut hiding = false;
    for (at, c) in value.char_indices() {
        let separator = matches!(c, ';' | '&' | ',' | '?') || c.is_whitespace();
        if hiding {
            if !separator {
                continue;
            }
            hiding = false;
        }
        masked.push(c);
        if separator {
            name_start = at + c.len_utf8();
        } else if c == '=' && is_secret(&value[name_start..at]) {
            masked.push_str(MASK);
            hiding = true;
        }
    }
    match masked.to_ascii_lowercase().find("bearer ") {
        Some(at) => format!("{}{MASK}", &masked[..at + "bearer ".len()]),
        None => masked,
    }
}

/// Without what moves a cursor, and not without end.
fn clean(text: &str) -> String {
    text.chars().take(4096).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden() {
        for (variable, shown) in [
            ("DB_PASSWORD=hunter2", "***"),
            ("api-token=abc", "***"),
            ("SSH_KEY=x=y", "***"),
            ("DB_PASSWORD=", ""),
            ("PWD=/home", "/home"),
            ("GREETING=hello", "hello"),
            ("URL=amqp://orders:pass@host:5672/%2f", "amqp://orders:***@host:5672/%2f"),
            ("URL=redis://:pass@host", "redis://:***@host"),
            ("URL=https://token@host/x", "https://***@host/x"),
            ("URL=amqp://u:p@ss@host, amqp://v:q@other", "amqp://u:***@host, amqp://v:***@other"),
            ("URL=amqp://u:p/q@host/x", "amqp://u:***@host/x"),
            ("URL=http://host/a@b", "http://***@b"),
            ("URL=http://host/x?token=abc&y=1", "http://host/x?token=***&y=1"),
            ("DSN=host=db user=a password=x sslmode=on", "host=db user=a password=*** sslmode=on"),
            ("DSN=Server=a;Password=b;User=c", "Server=a;Password=***;User=c"),
            ("HEADER=Authorization: Bearer abc.def", "Authorization: Bearer ***"),
            ("CERT=-----BEGIN RSA PRIVATE KEY-----abc", "***"),
            ("TEXT=a\u{1b}[2J", "a\u{fffd}[2J"),
        ] {
            let masked = mask_variable(variable);
            assert_eq!(masked.value, shown, "{variable}");
            assert_eq!(masked.masked, shown.contains(MASK), "{variable}");
        }
    }

    #[test]
    fn arguments_too() {
        let list = ["/app", "--password", "x", "--token=y", "--verbose", "z", "amqp://a:b@c"].map(str::to_owned);
        assert_eq!(mask_argument_list(&list), ["/app", "--password", "***", "--token=***", "--verbose", "z", "amqp://a:***@c"]);
    }
}
