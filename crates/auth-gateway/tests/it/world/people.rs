//! A directory and its people: what they are called, and how Rollcall is told of them.

use rollcall_core::dialect::Dialect;
use rollcall_core::directory::{DirectorySettings, HostUrl, TransportSecurity};
use rollcall_core::field::TextField;
use rollcall_core::id::DirectoryId;
use rollcall_core::user_sync::*;
use rollcall_testkit::Ldif;

pub(crate) const BASE: &str = "dc=example,dc=org";
pub(crate) const PEOPLE: &str = "ou=People,dc=example,dc=org";
pub(crate) const PASSWORD: &str = "Pässword of ada 1";

/// A directory, and where its people are.
pub(crate) struct Place {
    pub(crate) url: String,
    pub(crate) ca: String,
    pub(crate) bind_dn: String,
    pub(crate) bind_password: String,
    pub(crate) dialect: Dialect,
    pub(crate) people: Search,
    pub(crate) login: &'static str,
}

/// The DN of somebody in the directory.
pub(crate) fn dn(uid: &str) -> String {
    format!("uid={uid},{PEOPLE}")
}

/// LDIF of one person.
pub(crate) fn person(uid: &str, dn: &str, password: &str) -> String {
    let mut ldif = Ldif::new();
    ldif.entry(dn)
        .attribute("objectClass", "inetOrgPerson")
        .attribute("uid", uid)
        .attribute("cn", uid)
        .attribute("sn", uid)
        .attribute("mail", format!("{uid}@acme.example"))
        .attribute("employeeType", "staff")
        .attribute("userPassword", password);
    ldif.as_str().to_owned()
}

/// LDIF of Ada, Bob and Eve, and of where they are.
pub(crate) fn people() -> String {
    let mut ldif = Ldif::new();
    for ou in ["People", "Elsewhere"] {
        ldif.entry(&format!("ou={ou},{BASE}"))
            .attribute("objectClass", "organizationalUnit")
            .attribute("ou", ou);
    }
    let all = [
        ("ada", PASSWORD),
        ("bob", "password of bob"),
        ("eve", "password of eve"),
    ];
    let mut text = ldif.as_str().to_owned();
    for (uid, password) in all {
        text.push('\n');
        text.push_str(&person(uid, &dn(uid), password));
    }
    text
}

pub(super) fn directory_settings(place: &Place) -> DirectorySettings {
    DirectorySettings {
        display_name: "Headquarters".into(),
        transport_security: match place.url.starts_with("ldaps") {
            true => TransportSecurity::Ldaps,
            false => TransportSecurity::Plaintext,
        },
        allow_plaintext: true,
        ca_certificates: place.ca.clone(),
        bind_dn: place.bind_dn.clone(),
        page_size: 500,
        ..DirectorySettings::with_defaults(vec![HostUrl::parse(&place.url).unwrap()])
    }
}

pub(super) fn sync_settings(directory: &DirectoryId, place: &Place) -> UserSyncSettings {
    UserSyncSettings {
        display_name: "Staff".into(),
        searches: vec![place.people.clone()],
        role: "user".into(),
        field_mappings: FieldMappings {
            login: vec![place.login.into()],
            email: vec!["mail".into()],
            texts: [(TextField::DisplayName, vec!["cn".to_owned()])].into(),
            ..FieldMappings::default()
        },
        missing_users: MissingUsers::Deactivate,
        ..UserSyncSettings::with_defaults(directory.clone())
    }
}
