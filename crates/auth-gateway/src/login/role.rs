//! Which role an entry has now, by the sync's rules. The server evaluates them.

use rollcall_core::dialect::Dialect;
use rollcall_core::filter::{Attribute, Filter, MatchingRule};
use rollcall_core::user_sync::{RoleCondition, UserSyncSettings};
use rollcall_ldap::{LdapDirectory, LdapError, ReadRequest};
use tokio::time::Instant;

use crate::directories::OpenDirectory;

/// LDAP_MATCHING_RULE_IN_CHAIN (MS-ADTS 3.1.1.3.4.4.3): membership through other groups too.
const IN_CHAIN: &str = "1.2.840.113556.1.4.1941";

/// The role of the entry at `dn`; `None` if a rule that comes first could not be evaluated.
pub async fn role<'a>(
    directory: &OpenDirectory,
    dialect: Dialect,
    settings: &'a UserSyncSettings,
    dn: &str,
    deadline: Instant,
) -> Option<&'a str> {
    for rule in &settings.role_rules {
        match holds(directory, dialect, &rule.condition, dn, deadline).await {
            Ok(true) => return Some(&rule.role),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(error = %error, "a role rule could not be evaluated during a login");
                return None;
            }
        }
    }
    Some(&settings.role)
}

async fn holds(
    directory: &OpenDirectory,
    dialect: Dialect,
    condition: &RoleCondition,
    dn: &str,
    deadline: Instant,
) -> Result<bool, LdapError> {
    match (condition, filter(condition, dialect)) {
        (_, Some(filter)) => matches(&directory.ldap, dn, &filter, deadline).await,
        (RoleCondition::GroupDn(group), None) => {
            let contexts = directory.contexts(deadline).await?;
            directory.ldap.is_member(dn, group, contexts, deadline).await
        }
        // Validation has refused such a filter before it could be stored.
        (RoleCondition::Filter(_), None) => Ok(false),
    }
}

async fn matches(
    directory: &LdapDirectory,
    dn: &str,
    filter: &Filter,
    deadline: Instant,
) -> Result<bool, LdapError> {
    let request = ReadRequest {
        dn: dn.to_owned(),
        filter: filter.to_string(),
        // No attributes (RFC 4511 section 4.5.1.8).
        attributes: vec!["1.1".to_owned()],
    };
    Ok(directory.read_entry(&request, deadline).await?.is_some())
}

/// The filter that an entry matches if the rule holds. Only Active Directory can say by one whether somebody is
/// in a group through others.
fn filter(condition: &RoleCondition, dialect: Dialect) -> Option<Filter> {
    match condition {
        RoleCondition::Filter(text) => Filter::parse(text).ok(),
        RoleCondition::GroupDn(dn) if dialect == Dialect::ActiveDirectory => Some(Filter::Extensible {
            attribute: Attribute::parse("memberOf"),
            dn_attributes: false,
            rule: MatchingRule::parse(IN_CHAIN),
            value: dn.clone().into_bytes(),
        }),
        RoleCondition::GroupDn(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_asked_for_where_the_server_can_follow_them() {
        let group = RoleCondition::GroupDn("cn=Admins (all),dc=acme".into());
        assert_eq!(
            filter(&group, Dialect::ActiveDirectory)
                .map(|filter| filter.to_string())
                .as_deref(),
            Some("(memberOf:1.2.840.113556.1.4.1941:=cn=Admins \\28all\\29,dc=acme)")
        );
        assert_eq!(filter(&group, Dialect::OpenLdap), None);
        let plain = RoleCondition::Filter("(title=Boss)".into());
        assert!(filter(&plain, Dialect::OpenLdap).is_some());
    }
}
