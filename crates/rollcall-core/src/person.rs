//! Entries that are no people, whatever attributes they have.

use crate::dialect::Dialect;
use crate::dn::Dn;
use crate::entry::Entry;
use crate::issue::{Issue, IssueKind};

/// What has to be read to tell.
pub const ATTRIBUTE: &str = "objectClass";

/// Why an entry is not a person.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum NotAPerson {
    /// Another name of another entry (RFC 4512 section 2.6). Nobody can bind as it.
    Alias,
    /// What FreeIPA shows old clients of a person who has an entry elsewhere, with the same login.
    Shadow,
    /// The entry of a person who was erased and is not to be taken again.
    Excluded,
}

impl NotAPerson {
    /// What it is, for people.
    pub fn description(self) -> &'static str {
        match self {
            Self::Alias => "an alias of another entry",
            Self::Shadow => "a copy in FreeIPA's cn=compat of an entry elsewhere",
            Self::Excluded => "the entry of a person who was erased and is on the exclusion list",
        }
    }
}

/// Why the entry is not a person; `None` if it may be one. The entry must have been asked for [`ATTRIBUTE`].
pub fn not_a_person(dialect: Dialect, entry: &Entry) -> Option<NotAPerson> {
    let has_class = |class: &str| {
        let is_it = |text: &str| text.trim().eq_ignore_ascii_case(class);
        entry.texts(ATTRIBUTE).any(is_it)
    };
    if has_class("alias") || has_class("2.5.6.1") {
        return Some(NotAPerson::Alias);
    }
    // FreeIPA's copies have no class of people, unlike people whom another 389 server may hold in such a container.
    let may_be_copy = dialect.row().has_compat_copies && !has_class("person");
    (may_be_copy && is_in_compat(&entry.dn)).then_some(NotAPerson::Shadow)
}

/// The one issue for all entries that are not people for the same reason; `dn` is one of them.
pub fn issue(what: NotAPerson, count: u64, dn: &str) -> Issue {
    let message = match count {
        1 => format!("1 entry is {} and was not taken", what.description()),
        _ => format!(
            "{count} entries are not people but each {}; none was taken; this is one",
            what.description()
        ),
    };
    Issue::new(IssueKind::NotAPerson, dn, message)
}

fn is_in_compat(dn: &str) -> bool {
    // Most DNs need no parsing.
    dn.to_ascii_lowercase().contains("compat") && Dn::given(dn).passes("cn", "compat")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(dn: &str, classes: &[&str]) -> Entry {
        let classes = classes.iter().map(|class| class.as_bytes().to_vec());
        Entry {
            dn: dn.to_owned(),
            attributes: [("objectclass".to_owned(), classes.collect())].into(),
            ..Entry::default()
        }
    }

    #[test]
    fn aliases_are_nobody_on_every_server() {
        for &dialect in Dialect::ALL {
            for class in ["alias", "ALIAS", "2.5.6.1"] {
                let alias = entry("cn=x,dc=a", &["top", class, "extensibleObject"]);
                assert_eq!(not_a_person(dialect, &alias), Some(NotAPerson::Alias));
            }
            assert_eq!(not_a_person(dialect, &entry("cn=alias,dc=a", &["person"])), None);
            assert_eq!(not_a_person(dialect, &Entry::default()), None);
        }
    }

    #[test]
    fn copies_in_freeipa_s_compat_tree_are_nobody() {
        let copy = entry(
            "uid=ada,cn=users, CN=Compat,dc=ipa,dc=test",
            &["posixAccount", "ipaOverrideTarget", "top"],
        );
        assert_eq!(not_a_person(Dialect::Dirsrv389, &copy), Some(NotAPerson::Shadow));
        assert_eq!(not_a_person(Dialect::OpenLdap, &copy), None);
        for (dn, classes) in [
            ("uid=ada,cn=users,cn=accounts,dc=ipa", ["posixAccount"]),
            ("uid=ada,cn=compat,dc=a", ["Person"]),
            ("uid=compat,cn=users,dc=ipa", ["posixAccount"]),
            ("uid=ada,cn=compatible,dc=ipa", ["posixAccount"]),
        ] {
            assert_eq!(
                not_a_person(Dialect::Dirsrv389, &entry(dn, &classes)),
                None,
                "{dn}"
            );
        }
    }
}
