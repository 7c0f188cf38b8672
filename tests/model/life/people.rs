//! People's names.

use rollcall_testkit::TreeEntry;

use crate::company::uuid;

const GIVEN: [&str; 8] = ["Ada", "Ben", "Cem", "Dora", "Eve", "Finn", "Gül", "Hugo"];
const FAMILY: [&str; 6] = ["Lovelace", "Müller", "Yilmaz", "de Vries", "王", "O'Neil"];

/// The id of the entry that was made as this one.
pub(super) fn id(number: usize) -> String {
    uuid(1000 + number)
}

/// Somebody new below a unit, named by login or by badge.
pub(super) fn newcomer(number: usize, unit: &str, by_badge: bool) -> TreeEntry {
    let login = format!("p{number:03}");
    let badge = format!("B{number:04}");
    let given = GIVEN[number % GIVEN.len()];
    let family = FAMILY[number % FAMILY.len()];
    let rdn = if by_badge {
        format!("employeeNumber={badge}")
    } else {
        format!("uid={login}")
    };
    let mut entry = TreeEntry::new(
        format!("{rdn},{unit}"),
        &[
            ("objectClass", "inetOrgPerson"),
            ("entryUUID", &id(number)),
            ("uid", &login),
            ("cn", &format!("{given} {family} {number}")),
            ("employeeNumber", &badge),
            ("givenName", given),
            ("sn", family),
            ("mail", &format!("{login}@example.org")),
            ("telephoneNumber", &format!("+32 {number}")),
        ],
    );
    if !number.is_multiple_of(3) {
        entry.set("displayName", &[format!("{given} {family}")]);
    }
    entry.password = Some(format!("password of {login}"));
    entry
}

/// What this person's login began as.
pub(super) fn name_of(entry: &TreeEntry) -> String {
    let badge = entry.text("employeeNumber").unwrap_or("B0000");
    let number: usize = badge[1..].parse().unwrap_or(0);
    format!("p{number:03}")
}
