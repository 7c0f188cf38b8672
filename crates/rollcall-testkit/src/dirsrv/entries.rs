//! What the directory holds.

use super::person::{BASE_DN, DirsrvPerson};
use crate::account::Account;
use crate::process::unique;
use chrono::{DateTime, TimeDelta, Utc};

const SERVICES: [&str; 2] = ["reader", "powerful"];

/// Everybody who may log in, each with a new password.
pub(super) fn accounts() -> Vec<Account> {
    let account = |dn: String, login: &str| Account {
        dn,
        login: login.to_owned(),
        password: unique(),
    };
    let people = DirsrvPerson::ALL.map(|person| {
        let login = person.login();
        // The comma is there to be escaped.
        account(format!("cn={login}\\2C Dana,ou=People,{BASE_DN}"), login)
    });
    let services = SERVICES.map(|login| account(format!("uid={login},ou=Services,{BASE_DN}"), login));
    people.into_iter().chain(services).collect()
}

/// LDIF change records for an empty suffix. `now` is the time by the server's clock.
pub(super) fn ldif(accounts: &[Account], now: DateTime<Utc>) -> String {
    let mut ldif = format!(
        "dn: {BASE_DN}\nchangetype: modify\nadd: aci\n\
         aci: (targetattr!=\"userPassword\")(version 3.0; acl \"reader\"; allow (read,search,compare) \
         userdn=\"ldap:///uid=reader,ou=Services,{BASE_DN}\";)\n\
         aci: (targetattr=\"*\")(version 3.0; acl \"powerful\"; allow (all) \
         userdn=\"ldap:///uid=powerful,ou=Services,{BASE_DN}\";)\n\n"
    );
    for unit in ["People", "Services", "Groups"] {
        let dn = format!("ou={unit},{BASE_DN}");
        add(
            &mut ldif,
            &dn,
            &[("objectClass", "organizationalUnit"), ("ou", unit)],
        );
    }
    for account in accounts {
        let password = ("userPassword", account.password.as_str());
        let login = account.login.as_str();
        if SERVICES.contains(&login) {
            let classes = [
                ("objectClass", "account"),
                ("objectClass", "simpleSecurityObject"),
            ];
            add(
                &mut ldif,
                &account.dn,
                &[classes[0], classes[1], ("uid", login), password],
            );
        } else {
            let name = format!("{login}, Dana");
            let mail = format!("{login}@example.org");
            add(
                &mut ldif,
                &account.dn,
                &[
                    ("objectClass", "inetOrgPerson"),
                    ("cn", &name),
                    ("sn", login),
                    ("uid", login),
                    ("mail", &mail),
                    password,
                ],
            );
        }
        // A password that somebody else set counts as to be changed (the epoch) until this says otherwise.
        let expires = match login {
            "mustchange" => None,
            "aged" => Some("20000101000000Z".to_owned()),
            "aging" => Some((now + TimeDelta::hours(1)).format("%Y%m%d%H%M%SZ").to_string()),
            _ => Some("20991231000000Z".to_owned()),
        };
        if let Some(expires) = expires {
            replace(&mut ldif, &account.dn, "passwordExpirationTime", &expires);
        }
        if login == "disabled" {
            replace(&mut ldif, &account.dn, "nsAccountLock", "true");
        }
    }
    let mut member = accounts
        .first()
        .map(|normal| normal.dn.clone())
        .unwrap_or_default();
    for group in ["inner", "middle", "outer"] {
        let dn = format!("cn={group},ou=Groups,{BASE_DN}");
        add(
            &mut ldif,
            &dn,
            &[
                ("objectClass", "groupOfNames"),
                ("cn", group),
                ("member", &member),
            ],
        );
        member = dn;
    }
    ldif
}

fn add(ldif: &mut String, dn: &str, attributes: &[(&str, &str)]) {
    *ldif += &format!("dn: {dn}\nchangetype: add\n");
    for (name, value) in attributes {
        *ldif += &format!("{name}: {value}\n");
    }
    ldif.push('\n');
}

fn replace(ldif: &mut String, dn: &str, attribute: &str, value: &str) {
    *ldif += &format!("dn: {dn}\nchangetype: modify\nreplace: {attribute}\n{attribute}: {value}\n\n");
}
