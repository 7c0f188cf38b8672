//! The way of a login's facts: from a real server's answer through the table in rollcall-core.

use chrono::{DateTime, Utc};
use rollcall_core::dialect::{AccountState, Dialect, password_expire_time};
use rollcall_core::directory::{DirectorySettings, TransportSecurity};
use rollcall_core::external_id::{ExternalId, IdKind};
use rollcall_core::verdict::{InternalReason, PublicReason, Verdict};
use rollcall_ldap::LdapDirectory;
use rollcall_testkit::{Account, TestCa};

use crate::setup::*;

/// Settings for a server with TLS and this service account.
pub(crate) fn tls_settings(url: &str, ca: &TestCa, service: &Account) -> DirectorySettings {
    let transport_security = if url.starts_with("ldaps") {
        TransportSecurity::Ldaps
    } else {
        TransportSecurity::StartTls
    };
    DirectorySettings {
        transport_security,
        allow_plaintext: false,
        ca_certificates: ca.pem(),
        bind_dn: service.dn.clone(),
        ..settings(&[url.to_owned()])
    }
}

/// Checks a password as a login does, bind and read at once: the verdict, and the state that the entry tells.
pub(crate) async fn log_in(
    directory: &LdapDirectory,
    dialect: Dialect,
    account: &Account,
    guess: &str,
    now: DateTime<Utc>,
) -> (Verdict, AccountState) {
    let state = dialect.state_attributes();
    let attributes: Vec<&str> = state.chain(dialect.row().login_expiry).collect();
    let request = read(&account.dn, &attributes);
    let verified = directory
        .verify_and_read(&account.dn, &password(guess), &request, in_seconds(20))
        .await;
    let entry = verified.read.unwrap().unwrap();
    let state = dialect.account_state(&entry, now);
    let expires_in = password_expire_time(&entry, None).map(|time| time - now);
    (verified.bind.unwrap().verdict(dialect, state, expires_in), state)
}

/// A denial that says why, since the password was right.
pub(crate) fn told(public: PublicReason, internal: InternalReason) -> Verdict {
    Verdict::Denied {
        public,
        internal,
        password_proven: true,
    }
}

/// A denial that tells the caller nothing.
pub(crate) fn silent(internal: InternalReason) -> Verdict {
    Verdict::Denied {
        public: PublicReason::InvalidCredentials,
        internal,
        password_proven: false,
    }
}

/// The external id of an entry, read through Rollcall.
pub(crate) async fn external_id(directory: &LdapDirectory, dn: &str, kind: IdKind) -> ExternalId {
    let request = read(dn, &[kind.attribute()]);
    let entry = directory
        .read_entry(&request, in_seconds(20))
        .await
        .unwrap()
        .unwrap();
    let values = entry.values(kind.attribute()).to_vec();
    ExternalId::from_values(kind, &values).unwrap()
}

/// The values of one attribute (or `dn`) in LDIF that `ldapsearch` printed, in order.
pub(crate) fn values<'a>(ldif: &'a str, attribute: &str) -> Vec<&'a str> {
    let prefix = format!("{attribute}: ");
    ldif.lines()
        .filter_map(|line| line.strip_prefix(&prefix))
        .collect()
}
