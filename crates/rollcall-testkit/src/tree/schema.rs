//! The schema that a tree publishes (RFC 4512 section 4.2), if it does.

use std::collections::BTreeSet;

/// What comes only when it is asked for by name, or with "+".
pub(super) const OPERATIONAL: [&str; 13] = [
    "msds-user-account-control-computed",
    "entryuuid",
    "objectguid",
    "nsuniqueid",
    "memberof",
    "pwdaccountlockedtime",
    "pwdstarttime",
    "pwdendtime",
    "pwdreset",
    "nsaccountlock",
    "accountunlocktime",
    "createtimestamp",
    "modifytimestamp",
];
/// Types that a server knows though no entry has them.
pub(super) const KNOWN: [&str; 12] = [
    "objectclass",
    "uid",
    "cn",
    "sn",
    "givenname",
    "displayname",
    "mail",
    "telephonenumber",
    "employeetype",
    "member",
    "uniquemember",
    "memberuid",
];

/// Where it is.
pub(super) const DN: &str = "cn=Subschema";

/// An arc that nobody has, for types and classes.
const ARC: &str = "1.3.6.1.4.1.55555";
const DIRECTORY_STRING: &str = "1.3.6.1.4.1.1466.115.121.1.15";

/// Every type that a tree knows which uses these, as the server describes it.
pub(super) fn attribute_types<'a>(used: impl Iterator<Item = &'a String>) -> Vec<String> {
    let known = KNOWN.iter().chain(&OPERATIONAL).map(|name| (*name).to_owned());
    let types: BTreeSet<String> = known.chain(used.map(|name| name.to_lowercase())).collect();
    let described = types.iter().enumerate().map(|(number, name)| {
        let kept = match OPERATIONAL.contains(&name.as_str()) {
            true => " NO-USER-MODIFICATION USAGE directoryOperation",
            false => "",
        };
        format!("( {ARC}.1.{number} NAME '{name}' SYNTAX {DIRECTORY_STRING}{kept} )")
    });
    described.collect()
}

/// Each of these classes once, as the server describes it.
pub(super) fn object_classes<'a>(used: impl Iterator<Item = &'a Vec<u8>>) -> Vec<String> {
    let classes: BTreeSet<String> = used
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect();
    let described = classes.iter().enumerate();
    described
        .map(|(number, name)| format!("( {ARC}.2.{number} NAME '{name}' )"))
        .collect()
}
