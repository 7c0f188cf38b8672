//! Which role an entry has now, by the sync's rules. The server evaluates them.

use rollcall_core::dialect::Dialect;
use rollcall_core::filter::Filter;
use rollcall_core::user_sync::{RoleCondition, UserSyncSettings};
use rollcall_ldap::{LdapDirectory, LdapError, ReadRequest};
use tokio::time::Instant;

use crate::directories::OpenDirectory;

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
    match condition {
        // Validation has refused a filter that cannot be parsed before it could be stored.
        RoleCondition::Filter(text) => match Filter::parse(text) {
            Ok(filter) => matches(&directory.ldap, dn, &filter, deadline).await,
            Err(_) => Ok(false),
        },
        RoleCondition::GroupDn(group) => {
            let contexts = match dialect {
                Dialect::ActiveDirectory => &[],
                Dialect::OpenLdap | Dialect::Dirsrv389 | Dialect::Generic => {
                    directory.contexts(deadline).await?
                }
            };
            let ldap = &directory.ldap;
            ldap.is_member(dialect, dn, group, contexts, deadline).await
        }
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
