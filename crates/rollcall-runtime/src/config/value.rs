//! Types of single values.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rollcall_core::secret::SecretBytes;
use serde::de::{Deserialize, Deserializer, Error};

/// A secret from the configuration. It cannot be printed.
pub struct Secret(SecretBytes);

/// A secret's file cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}")]
pub struct SecretFileError {
    path: PathBuf,
    source: std::io::Error,
}

impl Secret {
    /// The secret itself. Empty if it was not set.
    #[expect(clippy::expect_used, reason = "it was made from a string")]
    pub fn expose(&self) -> &str {
        std::str::from_utf8(self.0.expose()).expect("made from a string")
    }

    /// The secret from `file` if one is set, else the value itself. Line ends at the end of a file are not
    /// part of the secret.
    ///
    /// # Errors
    /// The file cannot be read or is not UTF-8.
    pub fn resolve(&self, file: Option<&Path>) -> Result<Self, SecretFileError> {
        let Some(path) = file else {
            return Ok(Self(SecretBytes::new(self.0.expose().to_vec())));
        };
        let mut text = std::fs::read_to_string(path).map_err(|source| SecretFileError {
            path: path.to_owned(),
            source,
        })?;
        warn_if_open(path);
        text.truncate(text.trim_end_matches(['\r', '\n']).len());
        Ok(Self(SecretBytes::new(text.into_bytes())))
    }
}

/// Logs a warning if every account of this machine can read a file that holds a secret. It is no mistake: a container
/// may have only one account.
pub(crate) fn warn_if_open(path: &Path) {
    let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    if is_open(mode) {
        tracing::warn!(
            file = %path.display(),
            mode = format!("{:04o}", mode & 0o7777),
            "this file holds a secret, and every account of this machine can read it: chmod o-rwx"
        );
    }
}

fn is_open(mode: u32) -> bool {
    mode & 0o007 != 0
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(Self(SecretBytes::new(text.into_bytes())))
    }
}

/// Reads a duration with a unit: `500ms`, `10s`, `5m`, `12h`, `7d`. For `#[serde(deserialize_with)]`.
///
/// # Errors
/// The text is not a whole number followed by one of these units.
pub fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text).ok_or_else(|| {
        D::Error::custom(format!(
            "\"{text}\" is not a duration such as \"500ms\", \"10s\" or \"5m\""
        ))
    })
}

/// Reads a path; an empty one is none. For `#[serde(deserialize_with)]`.
///
/// # Errors
/// The value is not a string.
pub fn optional_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok((!text.is_empty()).then(|| PathBuf::from(text)))
}

/// Reads an address with a port; an empty one is none. For `#[serde(deserialize_with)]`.
///
/// # Errors
/// The value is not an IP address with a port.
pub(crate) fn optional_address<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        D::Error::custom(format!(
            "\"{text}\" is not an IP address with a port, such as \"0.0.0.0:8080\""
        ))
    })
}

fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let milliseconds = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(milliseconds).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_open_if_others_may_do_anything_with_it() {
        for (mode, expected) in [
            (0o100_600, false),
            (0o100_640, false),
            (0o100_644, true),
            (0o602, true),
        ] {
            assert_eq!(is_open(mode), expected, "{mode:o}");
        }
    }

    #[test]
    fn durations_need_a_number_and_a_unit() {
        let cases = [
            ("500ms", Some(500)),
            ("10s", Some(10_000)),
            ("5m", Some(300_000)),
            ("12h", Some(43_200_000)),
            ("7d", Some(604_800_000)),
            ("0s", Some(0)),
            ("10", None),
            ("s", None),
            ("", None),
            ("-1s", None),
            ("1.5s", None),
            ("1 s", None),
            ("99999999999999999999s", None),
            ("18446744073709551615d", None),
        ];
        for (text, expected) in cases {
            assert_eq!(
                parse_duration(text),
                expected.map(Duration::from_millis),
                "{text}"
            );
        }
    }
}
