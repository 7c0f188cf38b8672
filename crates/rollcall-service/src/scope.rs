//! Does an entry belong to a user sync? Its position in the tree is compared here. Whether it matches the filter is
//! asked of the server, which alone knows its matching rules.

use rollcall_core::dn::Dn;
use rollcall_core::filter::Filter;
use rollcall_core::user_sync::{Search, SearchScope};
use rollcall_ldap::{LdapDirectory, LdapError, ReadRequest};
use tokio::time::Instant;

/// The filter that the entry at `dn` must match to be found by one of the searches. `None` if it lies outside
/// all of them.
pub fn filter_at(searches: &[Search], dn: &Dn) -> Option<Filter> {
    let mut filters: Vec<Filter> = Vec::new();
    for search in searches.iter().filter(|search| covers(search, dn)) {
        if let Ok(filter) = Filter::parse(&search.filter)
            && !filters.contains(&filter)
        {
            filters.push(filter);
        }
    }
    (!filters.is_empty()).then(|| Filter::or(filters))
}

/// True if one of the searches takes the entry at `dn`.
///
/// # Errors
/// No answer: nothing can be said then.
pub async fn in_scope(
    directory: &LdapDirectory,
    searches: &[Search],
    dn: &str,
    deadline: Instant,
) -> Result<bool, LdapError> {
    match filter_at(searches, &Dn::given(dn)) {
        Some(filter) => matches(directory, dn, &filter.to_string(), deadline).await,
        None => Ok(false),
    }
}

/// True if the entry at `dn` matches the filter.
pub async fn matches(
    directory: &LdapDirectory,
    dn: &str,
    filter: &str,
    deadline: Instant,
) -> Result<bool, LdapError> {
    let request = ReadRequest {
        dn: dn.to_owned(),
        filter: filter.to_owned(),
        // No attributes (RFC 4511 section 4.5.1.8).
        attributes: vec!["1.1".to_owned()],
    };
    Ok(directory.read_entry(&request, deadline).await?.is_some())
}

fn covers(search: &Search, dn: &Dn) -> bool {
    let Ok(base) = Dn::parse(&search.base_dn) else {
        return false;
    };
    match search.scope {
        SearchScope::Base => *dn == base,
        SearchScope::OneLevel => dn.is_child_of(&base),
        SearchScope::Subtree => dn.is_within(&base),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn search(base_dn: &str, scope: SearchScope, filter: &str) -> Search {
        Search {
            base_dn: base_dn.into(),
            scope,
            filter: filter.into(),
        }
    }

    #[test]
    fn only_searches_that_reach_the_entry_count() {
        let people = "ou=People,dc=acme,dc=example";
        let searches = [
            search(people, SearchScope::OneLevel, "(uid=*)"),
            search("OU=people, DC=acme,DC=example", SearchScope::Subtree, "(mail=*)"),
            search(
                "uid=eve,ou=people,dc=acme,dc=example",
                SearchScope::Base,
                "(cn=eve)",
            ),
        ];
        let at = |dn: &str| filter_at(&searches, &Dn::parse(dn).unwrap()).map(|filter| filter.to_string());
        assert_eq!(at(&format!("uid=ada,{people}")).unwrap(), "(|(uid=*)(mail=*))");
        assert_eq!(at(&format!("uid=ada,ou=x,{people}")).unwrap(), "(mail=*)");
        assert_eq!(
            at("uid=eve,ou=people,dc=acme,dc=example").unwrap(),
            "(|(uid=*)(mail=*)(cn=eve))"
        );
        assert_eq!(at("uid=ada,ou=other,dc=acme,dc=example"), None);
    }

    /// A run took such an entry, so a login must not say that it lies outside.
    #[test]
    fn a_name_that_is_not_rfc_4514_lies_where_the_server_has_it() {
        let searches = [search(
            "ou=People,dc=acme,dc=example",
            SearchScope::Subtree,
            "(uid=*)",
        )];
        for rdn in [
            "cn=a<b>".to_owned(),
            "cn=a\"b".to_owned(),
            format!("cn={}", "x".repeat(9_000)),
        ] {
            let at = |above: &str| filter_at(&searches, &Dn::given(&format!("{rdn},{above}")));
            assert!(at("ou=people,dc=acme,dc=example").is_some(), "{rdn}");
            assert!(at("ou=elsewhere,dc=acme,dc=example").is_none(), "{rdn}");
        }
    }

    #[test]
    fn the_same_filter_is_asked_once() {
        let searches = [
            search("dc=acme,dc=example", SearchScope::Subtree, "(uid=*)"),
            search("ou=people,dc=acme,dc=example", SearchScope::Subtree, "(uid=*)"),
        ];
        let dn = Dn::parse("uid=ada,ou=people,dc=acme,dc=example").unwrap();
        assert_eq!(filter_at(&searches, &dn).unwrap().to_string(), "(uid=*)");
    }
}
