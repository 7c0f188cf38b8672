//! An entry under the names that were asked for.
//!
//! A server may answer with any name of an attribute (RFC 4511 section 4.5.2), and with its options in any order (RFC
//! 4512 section 2.5). Code that reads entries looks values up by the names that it asked for, so the values are put
//! under these names once, when an entry arrives.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::entry::Entry;
use crate::schema::Schema;

/// Names that denote different attributes on every server: RFC 4519, RFC 4524, RFC 2798 and RFC 4530, and the vendors'
/// own. A request for these alone needs no schema to understand the answer, since no attribute has two names in this
/// list.
const DIFFERENT: [&str; 82] = [
    "accountexpires",
    "accountunlocktime",
    "c",
    "cn",
    "company",
    "configurationnamingcontext",
    "dc",
    "defaultnamingcontext",
    "department",
    "departmentnumber",
    "description",
    "displayname",
    "dn",
    "dnshostname",
    "ds-pwp-account-disabled",
    "ds-pwp-account-expiration-time",
    "dsservicename",
    "employeeid",
    "employeenumber",
    "employeetype",
    "entrydn",
    "entryuuid",
    "extensionattribute1",
    "facsimiletelephonenumber",
    "givenname",
    "guid",
    "info",
    "initials",
    "ipadomainlevel",
    "ipauniqueid",
    "krbpasswordexpiration",
    "krbprincipalexpiration",
    "l",
    "lockedbyintruder",
    "logindisabled",
    "loginexpirationtime",
    "mail",
    "manager",
    "member",
    "memberof",
    "memberuid",
    "mobile",
    "msds-user-account-control-computed",
    "namingcontexts",
    "nsaccountlock",
    "nsuniqueid",
    "o",
    "objectclass",
    "objectguid",
    "objectsid",
    "orclisenabled",
    "ou",
    "passwordexpirationtime",
    "physicaldeliveryofficename",
    "postalcode",
    "preferredlanguage",
    "primarygroupid",
    "proxyaddresses",
    "pwdaccountlockedtime",
    "pwdendtime",
    "pwdlastset",
    "pwdreset",
    "pwdstarttime",
    "roomnumber",
    "samaccountname",
    "schemanamingcontext",
    "sn",
    "st",
    "street",
    "subschemasubentry",
    "supportedcapabilities",
    "supportedcontrol",
    "supportedextension",
    "telephonenumber",
    "title",
    "uid",
    "uidnumber",
    "uniquemember",
    "useraccountcontrol",
    "userprincipalname",
    "vendorname",
    "vendorversion",
];

/// True if the name, in lower case and without options, denotes the same attribute on every server.
pub fn is_common(name: &str) -> bool {
    DIFFERENT.binary_search(&name).is_ok() || is_wildcard(name)
}

fn is_wildcard(name: &str) -> bool {
    matches!(name, "*" | "+" | "1.1")
}

/// The names that a request asks for.
#[derive(Clone, Debug)]
pub struct Naming {
    /// In lower case and in order, each once.
    wanted: Vec<String>,
    /// The names asked for that may denote the same attribute as another one of them.
    doubtful: Vec<String>,
    /// The request is for all attributes, whatever their names.
    everything: bool,
}

impl Naming {
    /// For a request of these attributes.
    pub fn of(attributes: &[String]) -> Self {
        let is_name = |name: &&String| !is_wildcard(name);
        let wanted: BTreeSet<String> = attributes
            .iter()
            .filter(is_name)
            .map(|name| name.to_ascii_lowercase())
            .collect();
        let is_doubtful = |name: &&String| DIFFERENT.binary_search(&base(name)).is_err();
        Self {
            doubtful: match wanted.len() {
                0 | 1 => Vec::new(),
                _ => wanted.iter().filter(is_doubtful).cloned().collect(),
            },
            everything: attributes.iter().any(|name| name == "*" || name == "+"),
            wanted: wanted.into_iter().collect(),
        }
    }

    /// True if the entry cannot be understood without the server's schema: it has a name that nobody asked for, or
    /// lacks one that may stand there under another of the names asked for.
    pub fn needs_schema(&self, entry: &Entry) -> bool {
        let is_answer = |name: &String| {
            let is_base = |wanted: &String| base(wanted) == base(name);
            self.wanted.binary_search(name).is_ok() || self.wanted.iter().any(is_base)
        };
        let lacks = |name: &String| !entry.attributes.contains_key(name);
        !self.everything
            && !entry.attributes.is_empty()
            && (self.doubtful.iter().any(lacks) || !entry.attributes.keys().all(is_answer))
    }

    /// How answers of a server with this schema are to be renamed.
    pub fn under(&self, schema: Arc<Schema>) -> Renaming {
        let mut by_key: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for wanted in self.wanted.iter().filter(|_| !self.everything) {
            by_key
                .entry(schema.canonical(wanted))
                .or_default()
                .push(wanted.clone());
        }
        let wanted = self.wanted.clone();
        Renaming {
            wanted,
            by_key,
            schema,
        }
    }
}

/// The names asked for, and what a server means by its own.
#[derive(Clone, Debug)]
pub struct Renaming {
    wanted: Vec<String>,
    /// The names asked for, by what they denote.
    by_key: BTreeMap<String, Vec<String>>,
    schema: Arc<Schema>,
}

impl Renaming {
    /// Puts the values under the names asked for. Values under any other name stay as they are.
    pub fn apply(&self, entry: &mut Entry) {
        let is_other = |name: &&String| self.wanted.binary_search(name).is_err();
        let others: Vec<String> = entry.attributes.keys().filter(is_other).cloned().collect();
        for name in others {
            if let Some(wanted) = self.by_key.get(&self.schema.canonical(&name))
                && let Some(values) = entry.attributes.remove(&name)
            {
                add(entry, &wanted[0], values);
            }
        }
        for same in self.by_key.values().filter(|same| same.len() > 1) {
            let mut all = Entry::default();
            for name in same {
                let values = entry.attributes.remove(name).unwrap_or_default();
                add(&mut all, "", values);
            }
            let all = all.attributes.remove("").filter(|all| !all.is_empty());
            for (name, values) in same.iter().zip(std::iter::repeat_n(all, same.len())) {
                entry
                    .attributes
                    .extend(values.map(|values| (name.clone(), values)));
            }
        }
    }
}

/// Adds values that are not there yet: a server that answers under two names sends one value twice.
fn add(entry: &mut Entry, name: &str, values: Vec<Vec<u8>>) {
    match entry.attributes.get_mut(name) {
        None => _ = entry.attributes.insert(name.to_owned(), values),
        Some(there) => {
            there.extend(values);
            there.sort_unstable();
            there.dedup();
        }
    }
}

/// The name without options.
fn base(description: &str) -> &str {
    description.split(';').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Schema {
        let types = [
            "( 2.5.4.4 NAME ( 'sn' 'surname' ) )",
            "( 2.5.4.3 NAME ( 'cn' 'commonName' ) )",
            "( 0.9.2342.19200300.100.1.3 NAME ( 'mail' 'rfc822Mailbox' ) )",
        ];
        Schema::from_entry(&entry(&[("attributetypes", &types)]))
    }

    fn entry(attributes: &[(&str, &[&str])]) -> Entry {
        let attributes = attributes.iter().map(|(name, values)| {
            let values = values.iter().map(|value| value.as_bytes().to_vec());
            ((*name).to_owned(), values.collect())
        });
        Entry {
            attributes: attributes.collect(),
            ..Entry::default()
        }
    }

    fn named(wanted: &[&str], schema: &Schema, mut answer: Entry) -> Entry {
        naming(wanted).under(Arc::new(schema.clone())).apply(&mut answer);
        answer
    }

    fn naming(wanted: &[&str]) -> Naming {
        Naming::of(&wanted.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_list_is_in_order_and_each_name_stands_once() {
        assert!(DIFFERENT.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn values_are_found_by_every_name_that_was_asked_for() {
        let answer = entry(&[
            ("sn", &["One"]),
            ("mail", &["a@x"]),
            ("cn;phonetic;lang-ja", &["x"]),
        ]);
        let found = named(
            &["surname", "2.5.4.4", "rfc822mailbox", "CN;lang-ja;phonetic"],
            &schema(),
            answer,
        );
        let expected = entry(&[
            ("surname", &["One"]),
            ("2.5.4.4", &["One"]),
            ("rfc822mailbox", &["a@x"]),
            ("cn;lang-ja;phonetic", &["x"]),
        ]);
        assert_eq!(found, expected);
    }

    #[test]
    fn a_name_that_was_asked_for_too_keeps_its_values() {
        let found = named(&["sn", "surname"], &schema(), entry(&[("sn", &["One"])]));
        assert_eq!(found, entry(&[("sn", &["One"]), ("surname", &["One"])]));
        // A server that answers with both names sends one value twice.
        let both = entry(&[("sn", &["One"]), ("surname", &["One"])]);
        assert_eq!(named(&["sn", "surname"], &schema(), both.clone()), both);
    }

    #[test]
    fn without_a_schema_only_the_options_may_differ() {
        let answer = entry(&[
            ("sn", &["One"]),
            ("cn;phonetic;lang-ja", &["x"]),
            ("cn;lang-de", &["y"]),
        ]);
        let found = named(
            &["surname", "cn", "cn;lang-ja;phonetic"],
            &Schema::default(),
            answer,
        );
        let expected = entry(&[
            ("sn", &["One"]),
            ("cn;lang-ja;phonetic", &["x"]),
            ("cn;lang-de", &["y"]),
        ]);
        assert_eq!(found, expected);
    }

    #[test]
    fn values_with_other_options_are_not_the_plain_attribute_s() {
        let answer = entry(&[("cn;lang-de", &["y"])]);
        assert_eq!(named(&["commonname"], &schema(), answer.clone()), answer);
    }

    #[test]
    fn the_schema_is_needed_only_where_an_answer_may_be_under_another_name() {
        let plain = entry(&[("uid", &["a"]), ("cn", &["A"]), ("cn;lang-de", &["A"])]);
        assert!(!naming(&["uid", "cn", "mail"]).needs_schema(&plain));
        assert!(naming(&["uid", "commonname"]).needs_schema(&plain));
        // Both may be names of one attribute, which the server answers once.
        assert!(naming(&["uid", "cn", "badge"]).needs_schema(&plain));
        assert!(!naming(&["uid", "cn", "badge"]).needs_schema(&entry(&[("badge", &["1"]), ("cn", &["A"])])));
        assert!(!naming(&["*"]).needs_schema(&plain));
        assert!(!naming(&["1.1"]).needs_schema(&Entry::default()));
    }
}
