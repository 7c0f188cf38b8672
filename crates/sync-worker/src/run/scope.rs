//! One entry against the rules of a sync, asked of the server: is it in scope, and which role has it?

use std::time::Duration;

use rollcall_core::dialect::Dialect;
use rollcall_core::dn::Dn;
use rollcall_core::issue::Issue;
use rollcall_core::user_sync::{RoleCondition, Search, SearchScope, UserSyncSettings};
use rollcall_ldap::{LdapDirectory, LdapError, ReadRequest};
use tokio::time::Instant;

use super::pull::canonical;
use super::roles::{group_problem, rule_failed};

/// True if one of the searches takes the entry at `dn`.
///
/// # Errors
/// No answer: nothing can be said then.
pub(super) async fn in_scope(
    directory: &LdapDirectory,
    searches: &[Search],
    dn: &str,
    timeout: Duration,
) -> Result<bool, LdapError> {
    let Ok(entry) = Dn::parse(dn) else {
        return Ok(false);
    };
    for search in searches {
        let Ok(base) = Dn::parse(&search.base_dn) else {
            continue;
        };
        let below = match search.scope {
            SearchScope::Base => entry == base,
            SearchScope::OneLevel => entry.is_child_of(&base),
            SearchScope::Subtree => entry == base || entry.is_under(&base),
        };
        if below && matches(directory, dn, &canonical(&search.filter), timeout).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The role of the entry at `dn`, or the issue of a rule that cannot be evaluated: as in a run, one such rule
/// leaves all roles unknown.
///
/// # Errors
/// No answer: nothing can be said then.
pub(super) async fn role<'a>(
    directory: &LdapDirectory,
    dialect: Dialect,
    settings: &'a UserSyncSettings,
    contexts: &[String],
    dn: &str,
    timeout: Duration,
) -> Result<Result<&'a str, Box<Issue>>, LdapError> {
    let mut role = None;
    for (index, rule) in settings.role_rules.iter().enumerate() {
        if let RoleCondition::GroupDn(group) = &rule.condition
            && let Some(problem) = group_problem(directory, group, timeout).await?
        {
            return Ok(Err(rule_failed(index, dn, problem)));
        }
        if role.is_some() {
            continue;
        }
        let matched = match &rule.condition {
            RoleCondition::Filter(filter) => matches(directory, dn, &canonical(filter), timeout).await?,
            RoleCondition::GroupDn(group) => {
                let deadline = Instant::now() + timeout;
                directory
                    .is_member(dialect, dn, group, contexts, deadline)
                    .await?
            }
        };
        role = matched.then_some(rule.role.as_str());
    }
    Ok(Ok(role.unwrap_or(&settings.role)))
}

async fn matches(
    directory: &LdapDirectory,
    dn: &str,
    filter: &str,
    timeout: Duration,
) -> Result<bool, LdapError> {
    let request = ReadRequest {
        dn: dn.to_owned(),
        filter: filter.to_owned(),
        attributes: vec!["1.1".to_owned()],
    };
    Ok(directory
        .read_entry(&request, Instant::now() + timeout)
        .await?
        .is_some())
}
