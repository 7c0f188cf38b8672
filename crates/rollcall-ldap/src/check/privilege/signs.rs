//! Signs that an account is too powerful, on servers that do not tell what an account may do.
//!
//! OpenLDAP has no control for it, so it cannot be proven that an account is harmless. The opposite can: a root DN is
//! not subject to access rules and may read the configuration, and no other account sees password hashes.

use rollcall_core::dn::Dn;
use rollcall_core::user_sync::SearchScope;
use tokio::time::Instant;

use super::{Privilege, sample, verdict};
use crate::connection::{Connection, Query};
use crate::error::LdapError;
use crate::lookup::find;
use crate::result_code::ResultCode;
use crate::root_dse::RootDse;

/// Entries that commonly have a password.
const ACCOUNTS: &str = "(|(objectClass=person)(objectClass=account)(objectClass=simpleSecurityObject))";

/// Looks for signs. If there are none, nothing is known.
pub(super) async fn read(
    connection: &mut Connection,
    root: &RootDse,
    bind_dn: &str,
    has_configuration: bool,
    deadline: Instant,
) -> Result<Privilege, LdapError> {
    let mut evidence = Vec::new();
    if has_configuration {
        evidence.extend(configuration(connection, bind_dn, deadline).await?);
    }
    for naming_context in root.data_naming_contexts() {
        if let Some(sign) = hashes(connection, naming_context, bind_dn, deadline).await? {
            evidence.push(sign);
            break;
        }
    }
    if !evidence.is_empty() && is_no_entry(connection, bind_dn, deadline).await? {
        evidence.push("it has no entry of its own, as only a root DN may".to_owned());
    }
    Ok(match evidence.is_empty() {
        true => Privilege::Unknown,
        false => verdict(evidence, 0),
    })
}

/// What the account sees of slapd-config(5): nothing, unless somebody gave it the right.
async fn configuration(
    connection: &mut Connection,
    bind_dn: &str,
    deadline: Instant,
) -> Result<Option<String>, LdapError> {
    let query = Query {
        base: "cn=config".to_owned(),
        scope: SearchScope::Subtree,
        filter: "(olcRootDN=*)".to_owned(),
        attributes: vec!["olcRootDN".to_owned()],
        size_limit: 100,
    };
    let found = match find(connection, &query, deadline).await {
        Ok(found) => found,
        Err(LdapError::SearchRefused(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let own = Dn::parse(bind_dn).ok();
    let is_own = |text: &str| own.is_some() && Dn::parse(text).ok() == own;
    let mut root_dns = found.entries.iter().flat_map(|entry| entry.texts("olcRootDN"));
    Ok(match root_dns.any(is_own) {
        true => Some("it is the root DN (olcRootDN), for which no access rule holds".to_owned()),
        false if found.entries.is_empty() => None,
        false => {
            Some("it can read the server's configuration, with its root password (cn=config)".to_owned())
        }
    })
}

/// Whether the account's searches see other accounts' `userPassword`. The values are not asked for.
async fn hashes(
    connection: &mut Connection,
    naming_context: String,
    bind_dn: &str,
    deadline: Instant,
) -> Result<Option<String>, LdapError> {
    let whole = SearchScope::Subtree;
    let accounts = sample(connection, naming_context, whole, ACCOUNTS, &["1.1"], deadline).await?;
    for entry in accounts.entries {
        if entry.dn.eq_ignore_ascii_case(bind_dn) {
            continue;
        }
        let (dn, filter) = (entry.dn.clone(), "(userPassword=*)");
        let seen = sample(connection, dn, SearchScope::Base, filter, &["1.1"], deadline).await?;
        if !seen.entries.is_empty() {
            return Ok(Some(format!(
                "it sees passwords' hashes, as that of {}",
                entry.dn
            )));
        }
    }
    Ok(None)
}

async fn is_no_entry(
    connection: &mut Connection,
    bind_dn: &str,
    deadline: Instant,
) -> Result<bool, LdapError> {
    let query = Query {
        base: bind_dn.to_owned(),
        scope: SearchScope::Base,
        filter: "(objectClass=*)".to_owned(),
        attributes: vec!["1.1".to_owned()],
        size_limit: 0,
    };
    match find(connection, &query, deadline).await {
        Ok(_) => Ok(false),
        Err(LdapError::SearchRefused(code)) => Ok(code == ResultCode::NO_SUCH_OBJECT),
        Err(error) => Err(error),
    }
}
