//! Role rules, tried on the sampled entries one by one: as at a login, the server says which of them match.

use std::collections::BTreeMap;
use std::time::Duration;

use rollcall_core::check::{Stage, StageKind, StageResult};
use rollcall_core::dialect::Dialect;
use rollcall_core::dn::Dn;
use rollcall_core::filter::{Attribute, Filter};
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
        let matches = matches(directory, dialect, rule, &dns, deadline).await;
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
        let found = match &rule.condition {
            RoleCondition::Filter(filter) => read(directory, dn, &canonical(filter), deadline).await?,
            RoleCondition::GroupDn(group) if dialect == Dialect::ActiveDirectory => {
                read(directory, dn, &in_chain(group), deadline).await?
            }
            RoleCondition::GroupDn(group) => read(directory, group, &has_member(dn), deadline).await?,
        };
        matching.extend(found.map(|()| dn.clone()));
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
            match rule.condition {
                RoleCondition::GroupDn(_) => {
                    "Only direct members are counted here; runs look into groups in groups too."
                }
                RoleCondition::Filter(_) => "",
            },
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

/// Members of a group through any number of groups (MS-ADTS 3.1.1.3.4.4, `LDAP_MATCHING_RULE_IN_CHAIN`).
fn in_chain(group: &str) -> String {
    equality("memberOf", group).replacen("memberOf=", "memberOf:1.2.840.113556.1.4.1941:=", 1)
}

fn has_member(dn: &str) -> String {
    let dn = Dn::parse(dn).map_or_else(|_| dn.to_owned(), |dn| dn.to_string());
    format!("(|{}{})", equality("member", &dn), equality("uniqueMember", &dn))
}

fn equality(attribute: &str, value: &str) -> String {
    let attribute = Attribute::parse(attribute).expect("the names in this file are valid");
    Filter::equality(attribute, value.as_bytes()).to_string()
}
