//! The bind account's own entry: where it is, and when its password expires.

use chrono::{DateTime, Utc};
use rollcall_core::dialect::{Dialect, POLICY_ATTRIBUTE, password_expire_time, password_policy};
use rollcall_core::entry::Entry;
use rollcall_core::filter::{Attribute, Filter};
use rollcall_core::user_sync::SearchScope;
use tokio::time::Instant;

use crate::connection::{Connection, Query};
use crate::error::LdapError;
use crate::lookup::find;
use crate::root_dse::RootDse;

/// Whether the name of a bind is a DN.
pub(crate) fn is_dn(bind_name: &str) -> bool {
    bind_name.contains('=')
}

/// The DN of the account that binds by this name: it may be a DN already, and on Active Directory a UPN or a login.
pub(crate) async fn dn(
    connection: &mut Connection,
    root: &RootDse,
    bind_name: &str,
    deadline: Instant,
) -> Result<Option<String>, LdapError> {
    if is_dn(bind_name) {
        return Ok(Some(bind_name.to_owned()));
    }
    let Some(domain) = root
        .default_naming_context
        .as_ref()
        .filter(|_| root.dialect.row().has_one_domain)
    else {
        return Ok(None);
    };
    // `LAB\user`, or `user@lab.test` if no entry has that name (MS-ADTS 5.1.1.1.1).
    let login = match bind_name.split_once('\\') {
        Some((_, login)) => login,
        None => bind_name.split('@').next().unwrap_or_default(),
    };
    for (attribute, value) in [("userPrincipalName", bind_name), ("sAMAccountName", login)] {
        let Some(attribute) = Attribute::parse(attribute) else {
            continue;
        };
        let query = Query {
            base: domain.clone(),
            scope: SearchScope::Subtree,
            filter: Filter::equality(attribute, value.as_bytes()).to_string(),
            attributes: vec!["1.1".to_owned()],
            size_limit: 1,
        };
        match find(connection, &query, deadline).await {
            Ok(found) => {
                if let Some(entry) = found.entries.into_iter().next() {
                    return Ok(Some(entry.dn));
                }
            }
            Err(LdapError::SearchRefused(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// When the password of this account expires; `None` if it never does, or the directory does not tell.
pub(crate) async fn password_expiry(
    connection: &mut Connection,
    dialect: Dialect,
    dn: &str,
    deadline: Instant,
) -> Result<Option<DateTime<Utc>>, LdapError> {
    let attributes = dialect.row().password_expiry;
    let Some(entry) = read(connection, dn.to_owned(), attributes, deadline).await? else {
        return Ok(None);
    };
    let policy = match password_policy(&entry) {
        Some(policy) => read(connection, policy.to_owned(), &[POLICY_ATTRIBUTE], deadline).await?,
        None => None,
    };
    Ok(password_expire_time(&entry, policy.as_ref()))
}

/// An entry, with the attributes that may be read.
async fn read(
    connection: &mut Connection,
    dn: String,
    attributes: &[&str],
    deadline: Instant,
) -> Result<Option<Entry>, LdapError> {
    let query = Query {
        base: dn,
        scope: SearchScope::Base,
        filter: "(objectClass=*)".to_owned(),
        attributes: attributes.iter().map(|name| (*name).to_owned()).collect(),
        size_limit: 0,
    };
    match find(connection, &query, deadline).await {
        Ok(found) => Ok(found.entries.into_iter().next()),
        Err(LdapError::SearchRefused(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
