//! Attributes that hold secrets: passwords, their hashes and histories, and keys.
//!
//! A tenant's admin must not be able to read a secret through the bind account: neither as the value of a field, nor
//! letter by letter by asking in a filter who matches. So such attributes are never asked for, in whatever way they are
//! written.

/// Each attribute with its numeric OID; empty where none is of public record.
const SECRETS: &[(&str, &str)] = &[
    // RFC 4519, RFC 3112 and other common schemas
    ("userPassword", "2.5.4.35"),
    ("authPassword", "1.3.6.1.4.1.4203.1.3.4"),
    ("userPKCS12", "2.16.840.1.113730.3.1.216"),
    ("pwdHistory", "1.3.6.1.4.1.42.2.27.8.1.20"),
    ("passwordHistory", "2.16.840.1.113730.3.1.96"),
    ("clearPassword", ""),
    ("oathSecret", "1.3.6.1.4.1.5427.1.389.4226.4.1"),
    ("olcRootPW", "1.3.6.1.4.1.4203.1.12.2.3.2.0.9"),
    ("olcSyncrepl", "1.3.6.1.4.1.4203.1.12.2.3.2.0.11"),
    // 389-ds
    ("nsds5ReplicaCredentials", "2.16.840.1.113730.3.1.582"),
    ("nsDS5ReplicaBootstrapCredentials", "2.16.840.1.113730.3.1.2372"),
    ("replicaCredentials", "2.16.840.1.113730.3.1.202"),
    ("cirBindCredentials", "2.16.840.1.113730.3.1.85"),
    ("dnaRemoteBindCred", "2.16.840.1.113730.3.1.2157"),
    ("netscapeReversiblePassword", "2.16.840.1.113730.3.1.812"),
    ("ntUserNtPassword", "2.16.840.1.113730.3.1.2334"),
    ("nsMultiplexorCredentials", ""),
    ("nsslapd-rootpw", ""),
    ("nsSymmetricKey", "2.16.840.1.113730.3.1.2084"),
    // Active Directory
    ("unicodePwd", "1.2.840.113556.1.4.90"),
    ("dBCSPwd", "1.2.840.113556.1.4.55"),
    ("ntPwdHistory", "1.2.840.113556.1.4.94"),
    ("lmPwdHistory", "1.2.840.113556.1.4.160"),
    ("supplementalCredentials", "1.2.840.113556.1.4.125"),
    ("currentValue", "1.2.840.113556.1.4.27"),
    ("priorValue", "1.2.840.113556.1.4.100"),
    ("privateKey", "1.2.840.113556.1.4.101"),
    ("initialAuthIncoming", "1.2.840.113556.1.4.539"),
    ("initialAuthOutgoing", "1.2.840.113556.1.4.540"),
    ("trustAuthIncoming", "1.2.840.113556.1.4.129"),
    ("trustAuthOutgoing", "1.2.840.113556.1.4.135"),
    ("pekList", "1.2.840.113556.1.4.865"),
    ("linkTrackSecret", "1.2.840.113556.1.4.269"),
    ("msDS-ExecuteScriptPassword", "1.2.840.113556.1.4.1783"),
    ("msDS-ManagedPassword", "1.2.840.113556.1.4.2196"),
    ("msKds-RootKeyData", "1.2.840.113556.1.4.2175"),
    ("msPKIDPAPIMasterKeys", "1.2.840.113556.1.4.1893"),
    ("msPKIAccountCredentials", "1.2.840.113556.1.4.1894"),
    ("msPKI-CredentialRoamingTokens", "1.2.840.113556.1.4.2050"),
    ("msFVE-RecoveryPassword", "1.2.840.113556.1.4.1964"),
    ("msFVE-KeyPackage", "1.2.840.113556.1.4.1999"),
    ("msTPM-OwnerInformation", "1.2.840.113556.1.4.1966"),
    ("unixUserPassword", "1.2.840.113556.1.4.1910"),
    ("msSFU30Password", ""),
    (
        "ms-Mcs-AdmPwd",
        "1.2.840.113556.1.8000.2554.50051.45980.28112.18903.35903.6685103.1224907.2.1",
    ),
    // Samba
    ("sambaNTPassword", "1.3.6.1.4.1.7165.2.1.25"),
    ("sambaLMPassword", "1.3.6.1.4.1.7165.2.1.24"),
    ("ntPassword", "1.3.6.1.4.1.7165.2.1.2"),
    ("lmPassword", "1.3.6.1.4.1.7165.2.1.1"),
    ("sambaPasswordHistory", "1.3.6.1.4.1.7165.2.1.54"),
    ("sambaClearTextPassword", "1.3.6.1.4.1.7165.2.1.68"),
    ("sambaPreviousClearTextPassword", "1.3.6.1.4.1.7165.2.1.69"),
    ("clearTextPassword", ""),
    ("virtualClearTextUTF8", ""),
    ("virtualClearTextUTF16", ""),
    // Kerberos
    ("krbPrincipalKey", "2.16.840.1.113719.1.301.4.39.1"),
    ("krbPwdHistory", "2.16.840.1.113719.1.301.4.44.1"),
    ("krbMKey", "2.16.840.1.113719.1.301.4.46.1"),
    ("krb5Key", "1.3.6.1.4.1.5322.10.1.10"),
    // FreeIPA
    ("ipaNTHash", ""),
    ("ipaNTTrustAuthIncoming", ""),
    ("ipaNTTrustAuthOutgoing", ""),
    ("ipatokenOTPkey", "2.16.840.1.113730.3.8.16.1.8"),
    ("ipatokenRadiusSecret", "2.16.840.1.113730.3.8.16.1.17"),
    // eDirectory
    ("nspmPassword", ""),
    ("nspmDistributionPassword", ""),
    ("sasLoginSecret", ""),
    ("sasLoginSecretKey", ""),
];

/// What the names and OIDs of whole families begin with: Windows LAPS, and Samba's virtual attributes made of hashes.
const FAMILIES: &[&str] = &[
    "msLAPS-",
    "1.2.840.113556.1.6.44.1.",
    "virtualCrypt",
    "virtualWDigest",
];

/// What the names of passwords and secrets end with in the schemas of the many products that have one of their own, such as
/// `radiusTunnelPassword`, `gosaMailPasswd` and `dhcpKeySecret`.
const ENDINGS: &[&str] = &["password", "passwd", "pwd", "passphrase", "secret"];

/// True if an attribute description names an attribute that holds a secret, by name or OID, with or without options.
pub fn is_secret(description: &str) -> bool {
    let name = description.split(';').next().unwrap_or_default().trim();
    let name = without_padding(name);
    let begins = |family: &&str| {
        name.get(..family.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(family))
    };
    let ends = |ending: &&str| {
        let start = name.len().checked_sub(ending.len());
        start
            .and_then(|start| name.get(start..))
            .is_some_and(|end| end.eq_ignore_ascii_case(ending))
    };
    FAMILIES.iter().any(begins)
        || ENDINGS.iter().any(ends)
        || SECRETS
            .iter()
            .any(|(secret, oid)| name.eq_ignore_ascii_case(secret) || (!oid.is_empty() && name == *oid))
}

/// An OID as a lenient server reads it: `oid.2.5.4.035` is 2.5.4.35.
fn without_padding(name: &str) -> std::borrow::Cow<'_, str> {
    let oid = match name.get(..4) {
        Some(start) if start.eq_ignore_ascii_case("oid.") => &name[4..],
        _ => name,
    };
    if !oid.starts_with(|c: char| c.is_ascii_digit()) {
        return name.into();
    }
    let arcs = oid.split('.').map(|arc| match arc.trim_start_matches('0') {
        "" => "0",
        arc => arc,
    });
    arcs.collect::<Vec<_>>().join(".").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_secret_attribute_is_seen() {
        for written in [
            "userPassword",
            "USERPASSWORD",
            "userPassword;binary",
            "userpassword;lang-de;x-y",
            "2.5.4.35",
            "2.5.4.35;binary",
            "02.5.4.035",
            "OID.2.5.4.35",
            "ms-mcs-admpwd",
            "msLAPS-Password",
            "mslaps-EncryptedPasswordHistory;range=0-5",
            "1.2.840.113556.1.6.44.1.3",
            "ntUserNtPassword",
            "2.16.840.1.113730.3.1.582",
            "dnaRemoteBindCred;x-y",
            "msKds-RootKeyData",
            "radiusTunnelPassword;tag-1",
            "gosaMailPasswd",
            "dhcpKeySecret",
            "corp-Secret",
            "PWD",
        ] {
            assert!(is_secret(written), "{written}");
        }
        for (name, oid) in SECRETS {
            assert!(is_secret(name) && (oid.is_empty() || is_secret(oid)), "{name}");
        }
    }

    #[test]
    fn what_only_speaks_of_passwords_is_none() {
        for open in [
            "",
            ";",
            "uid",
            "2.5.4.3",
            "2.5.4.350",
            "pwdLastSet",
            "pwdPolicySubentry",
            "nsRoleDN",
            "krbPasswordExpiration",
            "sambaPwdLastSet",
            "ms-Mcs-AdmPwdExpirationTime",
            "msDS-UserPasswordExpiryTimeComputed",
            "secretary",
            "passwordExpirationTime",
            "krbLastPwdChange",
            "pwdé",
        ] {
            assert!(!is_secret(open), "{open}");
        }
    }
}
