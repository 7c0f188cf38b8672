//! Trees from files.

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Tree, TreeEntry};

impl Tree {
    /// The entries of LDIF content records (RFC 2849) without folded lines. Those without an id get an `entryUUID`, by
    /// their place.
    pub fn from_ldif(text: &str) -> Result<Self> {
        let mut tree = Self::default();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let lines: Vec<&str> = lines.collect();
        let records = lines
            .split(|line| line.trim().is_empty())
            .filter(|record| !record.is_empty());
        for (number, record) in records.enumerate() {
            let mut entry = TreeEntry::default();
            for line in record {
                let (name, value) = attribute(line)?;
                if name == "dn" {
                    entry.dn = String::from_utf8(value)?;
                } else {
                    let mut values = entry.values(name).to_vec();
                    values.push(value);
                    entry.set(name, &values);
                }
            }
            if entry.values("objectGUID").is_empty() {
                entry.set("entryUUID", &[format!("00000000-0000-4000-8000-{number:012}")]);
            }
            tree.add(entry);
        }
        Ok(tree)
    }
}

fn attribute(line: &str) -> Result<(&str, Vec<u8>)> {
    let (name, value) = line
        .split_once(':')
        .with_context(|| format!("no attribute: {line}"))?;
    Ok(match value.strip_prefix(':') {
        Some(encoded) => (name, STANDARD.decode(encoded.trim())?),
        None => (name, value.trim_start().as_bytes().to_vec()),
    })
}
