//! A small company for the tests, in a real directory.

use anyhow::Result;
use rollcall_testkit::{Ldif, Slapd, TestCa};

pub(crate) const BASE: &str = "dc=rollcall,dc=test";

/// A company of the given people, each `(uid, mail, password)`.
pub(crate) async fn company(people: &[(&str, &str, &str)]) -> Result<(TestCa, Slapd)> {
    let ca = TestCa::new()?;
    let mut ldif = Ldif::new();
    ldif.entry(&people_dn())
        .attribute("objectClass", "organizationalUnit")
        .attribute("ou", "People");
    for (uid, mail, password) in people {
        person(&mut ldif, uid, mail, password);
    }
    let builder = Slapd::builder()
        .base_dn(BASE)
        .certificate(ca.loopback_server()?)
        .ldif(ldif.as_str());
    let slapd = tokio::task::spawn_blocking(move || builder.start()).await??;
    Ok((ca, slapd))
}

pub(crate) fn people_dn() -> String {
    format!("ou=People,{BASE}")
}

/// Adds a person to an LDIF.
pub(crate) fn person(ldif: &mut Ldif, uid: &str, mail: &str, password: &str) {
    ldif.entry(&format!("uid={uid},{}", people_dn()))
        .attribute("objectClass", "inetOrgPerson")
        .attribute("uid", uid)
        .attribute("cn", uid)
        .attribute("sn", uid)
        .attribute("displayName", format!("{uid} of the company"))
        .attribute("mail", mail)
        .attribute("userPassword", password);
}
