//! Can the service account write? Found out by reading only: Rollcall never sends a write, not even one
//! that would do nothing.

mod signs;

use std::collections::BTreeSet;

use ldap3::controls::RawControl;
use rollcall_core::dialect::PrivilegeSource;
use rollcall_core::entry::Entry;
use rollcall_core::user_sync::SearchScope;
use tokio::time::Instant;

use crate::connection::{Connection, Query};
use crate::error::LdapError;
use crate::lookup::{Found, find, find_with_controls};
use crate::own_account;
use crate::root_dse::RootDse;

/// Get Effective Rights (draft-ietf-ldapext-acl-model).
const GET_EFFECTIVE_RIGHTS: &str = "1.3.6.1.4.1.42.2.27.9.5.2";
/// MS-ADTS 3.1.1.4.5.4 to 3.1.1.4.5.7.
const EFFECTIVE: [&str; 3] = [
    "allowedAttributesEffective",
    "allowedChildClassesEffective",
    "sDRightsEffective",
];
/// Objects of each kind that are looked at.
const SAMPLE: u32 = 5;
/// Most attributes named as evidence for one object.
const MAX_NAMED: usize = 5;

/// What the service account may do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Privilege {
    /// No right to write was found on any object that was looked at.
    ReadOnly {
        /// How many objects that were.
        objects: usize,
    },
    /// It can write, or see what no reader needs to see.
    TooPowerful {
        /// What, where: a sentence each.
        evidence: Vec<String>,
    },
    /// This server does not tell, and there is no sign that the account can do more than read.
    Unknown,
}

/// Looks at what the server says about the account's rights.
pub(super) async fn read(
    connection: &mut Connection,
    root: &RootDse,
    bind_dn: &str,
    deadline: Instant,
) -> Result<Privilege, LdapError> {
    match root.dialect.row().privilege {
        PrivilegeSource::AllowedAttributes => active_directory(connection, root, bind_dn, deadline).await,
        PrivilegeSource::EffectiveRights => effective_rights(connection, root, bind_dn, deadline).await,
        PrivilegeSource::Signs { has_configuration } => {
            signs::read(connection, root, bind_dn, has_configuration, deadline).await
        }
    }
}

async fn active_directory(
    connection: &mut Connection,
    root: &RootDse,
    bind_dn: &str,
    deadline: Instant,
) -> Result<Privilege, LdapError> {
    let Some(domain) = &root.default_naming_context else {
        return Ok(Privilege::Unknown);
    };
    let any = "(objectClass=*)";
    let places = [
        (domain.clone(), SearchScope::Base, any),
        (
            format!("CN=AdminSDHolder,CN=System,{domain}"),
            SearchScope::Base,
            any,
        ),
        (
            domain.clone(),
            SearchScope::Subtree,
            "(objectClass=organizationalUnit)",
        ),
        (
            domain.clone(),
            SearchScope::Subtree,
            "(&(objectCategory=person)(objectClass=user))",
        ),
        (domain.clone(), SearchScope::Subtree, "(objectClass=group)"),
    ];
    let own = own_entry(connection, root, bind_dn, deadline).await?;
    let own_dn = own.as_ref().map(|entry| entry.dn.to_lowercase());
    let mut evidence = own.as_ref().map(powerful_groups).unwrap_or_default();
    let mut objects = 0;
    for (base, scope, filter) in places {
        let found = sample(connection, base, scope, filter, &EFFECTIVE, deadline).await?;
        // Everybody may write some of their own attributes, so the account's own entry does not count.
        for entry in found
            .entries
            .iter()
            .filter(|entry| Some(entry.dn.to_lowercase()) != own_dn)
        {
            objects += 1;
            evidence.extend(judge_effective(entry));
        }
    }
    Ok(verdict(evidence, objects))
}

/// The account's own entry with all its groups.
async fn own_entry(
    connection: &mut Connection,
    root: &RootDse,
    bind_dn: &str,
    deadline: Instant,
) -> Result<Option<Entry>, LdapError> {
    let name = own_account::dn(connection, root, bind_dn, deadline).await?;
    let Some(name) = name else {
        return Ok(None);
    };
    // MS-ADTS 3.1.1.4.5.19: only a base search computes tokenGroups.
    let found = sample(
        connection,
        name,
        SearchScope::Base,
        "(objectClass=*)",
        &["tokenGroups"],
        deadline,
    )
    .await?;
    Ok(found.entries.into_iter().next())
}

/// The names of groups that may do far more than read, recognised by the end of their SIDs (MS-DTYP 2.4.2.4).
fn powerful_groups(own: &Entry) -> Vec<String> {
    let mut names = BTreeSet::new();
    for sid in own.values("tokenGroups") {
        let Some(identifier) = sid.last_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes)) else {
            continue;
        };
        let builtin = sid.len() == 16 && sid.get(8..12) == Some(&32_u32.to_le_bytes()[..]);
        let name = match (builtin, identifier) {
            (true, 544) => "Administrators",
            (true, 548) => "Account Operators",
            (true, 549) => "Server Operators",
            (true, 550) => "Print Operators",
            (true, 551) => "Backup Operators",
            (false, 512) => "Domain Admins",
            (false, 518) => "Schema Admins",
            (false, 519) => "Enterprise Admins",
            (false, 520) => "Group Policy Creator Owners",
            (false, 526) => "Key Admins",
            (false, 527) => "Enterprise Key Admins",
            _ => continue,
        };
        names.insert(name);
    }
    names
        .into_iter()
        .map(|name| format!("it is a member of {name}"))
        .collect()
}

fn judge_effective(entry: &Entry) -> Vec<String> {
    let mut evidence = Vec::new();
    if let Some(names) = listed(entry, "allowedAttributesEffective") {
        evidence.push(format!("it can write {names} of {}", entry.dn));
    }
    if let Some(names) = listed(entry, "allowedChildClassesEffective") {
        evidence.push(format!("it can create {names} below {}", entry.dn));
    }
    let rights: u32 = entry
        .text("sDRightsEffective")
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    // Owner, DACL and SACL (MS-ADTS 3.1.1.4.5.6).
    if rights & 0b1101 != 0 {
        evidence.push(format!("it can change the permissions of {}", entry.dn));
    }
    evidence
}

fn listed(entry: &Entry, attribute: &str) -> Option<String> {
    let names: BTreeSet<&str> = entry.texts(attribute).collect();
    shortened(&names)
}

fn shortened(names: &BTreeSet<&str>) -> Option<String> {
    let first: Vec<&str> = names.iter().copied().take(MAX_NAMED).collect();
    match names.len() {
        0 => None,
        few if few <= MAX_NAMED => Some(first.join(", ")),
        many => Some(format!("{} and {} more", first.join(", "), many - MAX_NAMED)),
    }
}

async fn effective_rights(
    connection: &mut Connection,
    root: &RootDse,
    bind_dn: &str,
    deadline: Instant,
) -> Result<Privilege, LdapError> {
    if !root.supports(GET_EFFECTIVE_RIGHTS) {
        return Ok(Privilege::Unknown);
    }
    let control = RawControl {
        ctype: GET_EFFECTIVE_RIGHTS.into(),
        crit: true,
        val: Some(format!("dn:{bind_dn}").into_bytes()),
    };
    let mut evidence = Vec::new();
    let mut objects = 0;
    for naming_context in root.data_naming_contexts() {
        for (scope, filter) in [
            (SearchScope::Base, "(objectClass=*)"),
            (SearchScope::Subtree, "(objectClass=organizationalUnit)"),
            (SearchScope::Subtree, "(objectClass=person)"),
            (SearchScope::Subtree, "(objectClass=groupOfNames)"),
        ] {
            let query = Query {
                base: naming_context.clone(),
                scope,
                filter: filter.to_owned(),
                attributes: vec!["*".into(), "userPassword".into(), "nsAccountLock".into()],
                size_limit: if scope == SearchScope::Base { 0 } else { SAMPLE },
            };
            let found = match find_with_controls(connection, &query, vec![control.clone()], deadline).await {
                Ok(found) => found,
                Err(LdapError::SearchRefused(_)) => continue,
                Err(error) => return Err(error),
            };
            let told = |entry: &&Entry| entry.text("entryLevelRights").is_some();
            for entry in found.entries.iter().filter(told) {
                if entry.dn.to_lowercase() != bind_dn.to_lowercase() {
                    objects += 1;
                    evidence.extend(judge_rights(entry));
                }
            }
        }
    }
    Ok(if objects == 0 {
        Privilege::Unknown
    } else {
        verdict(evidence, objects)
    })
}

/// `entryLevelRights: vadn` and `attributeLevelRights: cn:rscwo, sn:rsc`: add, delete, rename; write and
/// obliterate.
fn judge_rights(entry: &Entry) -> Vec<String> {
    let mut evidence = Vec::new();
    let rights = entry
        .text("entryLevelRights")
        .filter(|rights| *rights != "none")
        .unwrap_or_default();
    for (letter, what) in [('a', "add entries below"), ('d', "delete"), ('n', "rename")] {
        if rights.contains(letter) {
            evidence.push(format!("it can {what} {}", entry.dn));
        }
    }
    let writable: BTreeSet<&str> = entry
        .texts("attributeLevelRights")
        .flat_map(|text| text.split(','))
        .filter_map(|pair| pair.trim().split_once(':'))
        .filter(|(_, rights)| *rights != "none" && rights.contains(['w', 'o']))
        .map(|(name, _)| name)
        .collect();
    if let Some(names) = shortened(&writable) {
        evidence.push(format!("it can write {names} of {}", entry.dn));
    }
    evidence
}

fn verdict(evidence: Vec<String>, objects: usize) -> Privilege {
    match evidence.is_empty() {
        true => Privilege::ReadOnly { objects },
        false => Privilege::TooPowerful { evidence },
    }
}

/// A few entries; none if the server refuses.
async fn sample(
    connection: &mut Connection,
    base: String,
    scope: SearchScope,
    filter: &str,
    attributes: &[&str],
    deadline: Instant,
) -> Result<Found, LdapError> {
    let query = Query {
        base,
        scope,
        filter: filter.to_owned(),
        attributes: attributes.iter().map(|name| (*name).to_owned()).collect(),
        size_limit: if scope == SearchScope::Base { 0 } else { SAMPLE },
    };
    match find(connection, &query, deadline).await {
        Err(LdapError::SearchRefused(_)) => Ok(Found::default()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(attributes: &[(&str, &[&[u8]])]) -> Entry {
        let mut entry = Entry {
            dn: "cn=x".into(),
            ..Entry::default()
        };
        for (name, values) in attributes {
            let values = values.iter().map(|value| value.to_vec()).collect();
            entry.attributes.insert(name.to_lowercase(), values);
        }
        entry
    }

    #[test]
    fn effective_rights_of_389_are_read() {
        let rights = |entry_rights: &str, attributes: &str| {
            judge_rights(&entry(&[
                ("entryLevelRights", &[entry_rights.as_bytes()]),
                ("attributeLevelRights", &[attributes.as_bytes()]),
            ]))
        };
        assert!(rights("v", "cn:rsc, sn:rsc, userPassword:none").is_empty());
        assert!(rights("none", "cn:none").is_empty());
        assert_eq!(rights("vd", "cn:rsc"), ["it can delete cn=x"]);
        assert_eq!(
            rights("v", "cn:rscwo, sn:rsc, mail:w"),
            ["it can write cn, mail of cn=x"]
        );
        assert!(
            rights("v", "cn:rscWO").is_empty(),
            "self write of group members only"
        );
    }

    #[test]
    fn effective_attributes_of_active_directory_are_read() {
        assert!(judge_effective(&entry(&[])).is_empty());
        assert!(judge_effective(&entry(&[("sDRightsEffective", &[b"0"])])).is_empty());
        let both = entry(&[
            (
                "allowedAttributesEffective",
                &[b"mail", b"cn", b"a", b"b", b"c", b"d"],
            ),
            ("sDRightsEffective", &[b"15"]),
        ]);
        let expected = [
            "it can write a, b, c, cn, d and 1 more of cn=x",
            "it can change the permissions of cn=x",
        ];
        assert_eq!(judge_effective(&both), expected);
    }

    #[test]
    fn powerful_groups_are_known_by_their_sids() {
        let sid = |parts: &[u32]| {
            let authorities = parts.iter().flat_map(|part| part.to_le_bytes());
            [1, parts.len() as u8, 0, 0, 0, 0, 0, 5]
                .into_iter()
                .chain(authorities)
                .collect::<Vec<u8>>()
        };
        let admins = sid(&[32, 544]);
        let domain_admins = sid(&[21, 1, 2, 3, 512]);
        let users = sid(&[21, 1, 2, 3, 513]);
        let own = entry(&[("tokenGroups", &[&admins, &domain_admins, &users, b"x"])]);
        assert_eq!(
            powerful_groups(&own),
            [
                "it is a member of Administrators",
                "it is a member of Domain Admins"
            ]
        );
        assert!(powerful_groups(&entry(&[("tokenGroups", &[&users])])).is_empty());
    }
}
