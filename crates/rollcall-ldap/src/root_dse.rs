//! What a server says about itself (RFC 4512 section 5.1), and what kind of server that makes it.

use rollcall_core::dialect::Dialect;
use rollcall_core::entry::Entry;
use rollcall_core::user_sync::SearchScope;

use crate::connection::Query;

const ATTRIBUTES: [&str; 14] = [
    "objectClass",
    "namingContexts",
    "defaultNamingContext",
    "configurationNamingContext",
    "schemaNamingContext",
    "subschemaSubentry",
    "supportedControl",
    "supportedExtension",
    "supportedCapabilities",
    "vendorName",
    "vendorVersion",
    "dsServiceName",
    "dnsHostName",
    "ipaDomainLevel",
];
/// Most values of one attribute, and most characters of one value, that are kept.
const MAX_VALUES: usize = 200;
const MAX_CHARS: usize = 500;

/// A server's root DSE.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RootDse {
    /// The kind of server.
    pub dialect: Dialect,
    /// Vendor and version as the server names itself.
    pub vendor: Option<String>,
    /// The trees that it holds.
    pub naming_contexts: Vec<String>,
    /// The tree that matters on Active Directory: the domain.
    pub default_naming_context: Option<String>,
    /// Active Directory's configuration tree.
    pub configuration_naming_context: Option<String>,
    /// The entry that holds the schema.
    pub schema_dn: Option<String>,
    /// Supported controls, as OIDs.
    pub controls: Vec<String>,
    /// Supported extended operations, as OIDs.
    pub extensions: Vec<String>,
    /// Which of several domain controllers this is.
    pub server: Option<String>,
}

pub(crate) fn query() -> Query {
    Query {
        base: String::new(),
        scope: SearchScope::Base,
        filter: "(objectClass=*)".into(),
        attributes: ATTRIBUTES.map(str::to_owned).to_vec(),
        size_limit: 0,
    }
}

impl RootDse {
    /// Reads it from the entry; a server may hide any part of it.
    pub(crate) fn from_entry(entry: &Entry) -> Self {
        let one = |name: &str| texts(entry, name).into_iter().next();
        let vendor: Vec<String> = [one("vendorName"), one("vendorVersion")]
            .into_iter()
            .flatten()
            .collect();
        Self {
            dialect: Dialect::of_root_dse(entry),
            vendor: (!vendor.is_empty()).then(|| vendor.join(" ")),
            naming_contexts: texts(entry, "namingContexts"),
            default_naming_context: one("defaultNamingContext"),
            configuration_naming_context: one("configurationNamingContext"),
            schema_dn: one("subschemaSubentry"),
            controls: texts(entry, "supportedControl"),
            extensions: texts(entry, "supportedExtension"),
            server: one("dnsHostName").or_else(|| one("dsServiceName")),
        }
    }

    /// True if the server says that it supports this control.
    pub fn supports(&self, control: &str) -> bool {
        self.controls.iter().any(|oid| oid == control)
    }

    /// The trees where people may be: on Active Directory the domain, on other servers all trees that are not the
    /// server's own.
    pub fn data_naming_contexts(&self) -> Vec<String> {
        match &self.default_naming_context {
            Some(naming_context) if self.dialect.row().has_one_domain => vec![naming_context.clone()],
            _ => {
                let own = [
                    "cn=config",
                    "cn=schema",
                    "cn=monitor",
                    "cn=changelog",
                    "o=ipaca",
                    "cn=accesslog",
                ];
                let naming_contexts = self.naming_contexts.iter();
                naming_contexts
                    .filter(|naming_context| !own.contains(&naming_context.to_lowercase().as_str()))
                    .cloned()
                    .collect()
            }
        }
    }
}

fn texts(entry: &Entry, name: &str) -> Vec<String> {
    let texts = entry.texts(name).take(MAX_VALUES);
    texts
        .map(|text| text.chars().filter(|c| !c.is_control()).take(MAX_CHARS).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(attributes: &[(&str, &str)]) -> RootDse {
        let mut entry = Entry::default();
        for (name, value) in attributes {
            entry
                .attributes
                .entry(name.to_lowercase())
                .or_default()
                .push(value.as_bytes().to_vec());
        }
        RootDse::from_entry(&entry)
    }

    #[test]
    fn servers_are_told_apart() {
        let dialect = |attributes: &[(&str, &str)]| root(attributes).dialect;
        let samba = [
            ("supportedCapabilities", "1.2.840.113556.1.4.800"),
            ("vendorName", "Samba Team"),
        ];
        assert_eq!(dialect(&samba), Dialect::ActiveDirectory);
        assert_eq!(dialect(&[("objectClass", "OpenLDAProotDSE")]), Dialect::OpenLdap);
        let directory_server = [
            ("vendorName", "389 Project"),
            ("vendorVersion", "389-Directory/2.3.1"),
        ];
        assert_eq!(dialect(&directory_server), Dialect::Dirsrv389);
        assert_eq!(dialect(&[("vendorName", "ForgeRock AS.")]), Dialect::Generic);
        assert_eq!(dialect(&[]), Dialect::Generic);
    }

    #[test]
    fn people_are_looked_for_in_the_domain_or_the_data_trees() {
        let domain = root(&[
            ("supportedCapabilities", "1.2.840.113556.1.4.800"),
            ("defaultNamingContext", "DC=lab"),
            ("namingContexts", "DC=lab"),
            ("namingContexts", "CN=Schema,CN=Configuration,DC=lab"),
        ]);
        assert_eq!(domain.data_naming_contexts(), ["DC=lab"]);
        let other = root(&[("namingContexts", "dc=a"), ("namingContexts", "cn=config")]);
        assert_eq!(other.data_naming_contexts(), ["dc=a"]);
    }
}
