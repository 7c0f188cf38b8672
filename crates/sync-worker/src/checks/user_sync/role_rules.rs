//! Role rules, tried on the sampled entries one by one as at a login.

use std::collections::BTreeMap;
use std::time::Duration;

use rollcall_core::check::{Stage, StageKind, StageResult};
use rollcall_core::dialect::Dialect;
use rollcall_core::filter::Filter;
use rollcall_core::user_sync::{RoleCondition, RoleRule, UserSyncSettings};
use rollcall_ldap::{LdapDirectory, LdapError, ReadRequest};
use tokio::time::Instant;

/// The role of each sampled entry, by DN.
pub(super) struct Roles {
    by_dn: BTreeMap<String, String>,
    default: String,
}

impl Roles {
    pub(super) fn of(&self, dn: &str) -> &str {
        self.by_dn.get(dn).unwrap_or(&self.default)
    }
}

/// One stage for each rule, and the role that the first matching rule gives.
pub(super) async fn check(
    directory: &LdapDirectory,
    dialect: Dialect,
    settings: &UserSyncSettings,
    contexts: &[String],
    dns: Vec<String>,
    deadline: Instant,
) -> (Vec<Stage>, Roles) {
    let mut roles = Roles {
        by_dn: BTreeMap::new(),
        default: settings.role.clone(),
    };
    let mut stages = Vec::new();
    for rule in &settings.role_rules {
        let began = Instant::now();
        let matches = matches(directory, dialect, rule, contexts, &dns, deadline).await;
        let (result, message, hint) = judge(rule, matches.as_ref(), dns.len());
        stages.push(Stage {
            kind: StageKind::RoleRules,
            subject: subject(rule).to_owned(),
            result,
            duration: began.elapsed(),
            message,
            hint: hint.to_owned(),
        });
        for dn in matches.unwrap_or_default() {
            roles.by_dn.entry(dn).or_insert_with(|| rule.role.clone());
        }
    }
    if stages.is_empty() {
        stages.push(Stage {
            kind: StageKind::RoleRules,
            subject: String::new(),
            result: StageResult::Pass,
            duration: Duration::ZERO,
            message: format!("There are no rules: everybody gets the role {}.", settings.role),
            hint: String::new(),
        });
    }
    (stages, roles)
}

/// The entries that a rule matches.
async fn matches(
    directory: &LdapDirectory,
    dialect: Dialect,
    rule: &RoleRule,
    contexts: &[String],
    dns: &[String],
    deadline: Instant,
) -> Result<Vec<String>, LdapError> {
    if let RoleCondition::GroupDn(group) = &rule.condition
        && read(directory, group, "(objectClass=*)", deadline)
            .await?
            .is_none()
    {
        return Err(LdapError::SearchRefused(
            rollcall_ldap::ResultCode::NO_SUCH_OBJECT,
        ));
    }
    let mut matching = Vec::new();
    for dn in dns {
        let matched = match &rule.condition {
            RoleCondition::Filter(filter) => {
                read(directory, dn, &canonical(filter), deadline).await?.is_some()
            }
            RoleCondition::GroupDn(group) => {
                directory
                    .is_member(dialect, dn, group, contexts, deadline)
                    .await?
            }
        };
        matching.extend(matched.then(|| dn.clone()));
    }
    Ok(matching)
}

async fn read(
    directory: &LdapDirectory,
    dn: &str,
    filter: &str,
    deadline: Instant,
) -> Result<Option<()>, LdapError> {
    let request = ReadRequest {
        dn: dn.to_owned(),
        filter: filter.to_owned(),
        attributes: vec!["1.1".to_owned()],
    };
    Ok(directory.read_entry(&request, deadline).await?.map(|_| ()))
}

fn judge(
    rule: &RoleRule,
    matches: Result<&Vec<String>, &LdapError>,
    sampled: usize,
) -> (StageResult, String, &'static str) {
    match matches {
        Err(LdapError::SearchRefused(rollcall_ldap::ResultCode::NO_SUCH_OBJECT)) => (
            StageResult::Fail,
            "The group does not exist, or the bind account may not see it.".to_owned(),
            "Check the group's DN and the bind account's right to read it.",
        ),
        Err(error) => (
            StageResult::Fail,
            format!("The rule cannot be evaluated: {error}."),
            "While a rule cannot be evaluated, roles stay as they are.",
        ),
        Ok(matching) if matching.is_empty() && sampled > 0 => (
            StageResult::Warn,
            format!(
                "None of the {sampled} sampled entries matches, so none of them gets the role {}.",
                rule.role
            ),
            "That may be right for a small group. A condition on an attribute that the server does not know, or \
             that the bind account may not read, never matches.",
        ),
        Ok(matching) => (
            StageResult::Pass,
            format!("{} of {sampled} sampled entries match.", matching.len()),
            "",
        ),
    }
}

fn subject(rule: &RoleRule) -> &str {
    match &rule.condition {
        RoleCondition::Filter(text) | RoleCondition::GroupDn(text) => text,
    }
}

fn canonical(filter: &str) -> String {
    Filter::parse(filter).map_or_else(|_| filter.to_owned(), |filter| filter.to_string())
}
