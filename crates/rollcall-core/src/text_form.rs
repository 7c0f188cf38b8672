//! Attributes whose values are bytes: those that people write in a form of their own, and those that are no text at all.

use uuid::Uuid;

/// Attributes that hold a security identifier (MS-DTYP 2.4.2), in lower case.
const SIDS: [&str; 6] = [
    "objectsid",
    "1.2.840.113556.1.4.146",
    "sidhistory",
    "1.2.840.113556.1.4.609",
    "tokengroups",
    "ms-ds-creatorsid",
];
/// Attributes that hold a GUID as Active Directory does: the first three fields are little-endian (MS-DTYP 2.3.4.2).
const GUIDS: [&str; 7] = [
    "objectguid",
    "1.2.840.113556.1.4.2",
    "ms-ds-consistencyguid",
    "msexchmailboxguid",
    "msexcharchiveguid",
    "netbootguid",
    "parentguid",
];
/// eDirectory's, whose fields are all big-endian.
const BIG_ENDIAN_GUIDS: [&str; 1] = ["guid"];
/// Well-known attributes that hold pictures, keys and the like, in lower case (RFC 2798, RFC 4523, Active Directory).
const BINARY: [&str; 29] = [
    "attributecertificateattribute",
    "audio",
    "authorityrevocationlist",
    "cacertificate",
    "certificaterevocationlist",
    "crosscertificatepair",
    "dbcspwd",
    "dnsrecord",
    "jpegphoto",
    "krbextradata",
    "krbprincipalkey",
    "lmpwdhistory",
    "logonhours",
    "msds-keycredentiallink",
    "msexchblockedsendershash",
    "msexchmailboxsecuritydescriptor",
    "msexchsafesendershash",
    "ntpwdhistory",
    "ntsecuritydescriptor",
    "photo",
    "replpropertymetadata",
    "repluptodatevector",
    "supplementalcredentials",
    "thumbnaillogo",
    "thumbnailphoto",
    "unicodepwd",
    "usercertificate",
    "userpkcs12",
    "usersmimecertificate",
];

/// What kind of bytes an attribute holds by its name.
enum Form {
    Sid,
    Guid { little_endian: bool },
}

/// A value as text. `None` if it is not what its attribute holds, or not UTF-8: then it is unreadable, not absent.
///
/// Some identifiers happen to be UTF-8 too, so the name decides and not the bytes.
pub(crate) fn text_form(attribute: &str, value: &[u8]) -> Option<String> {
    let as_text = || std::str::from_utf8(value).ok();
    match form(attribute) {
        None => as_text().map(str::to_owned),
        Some(Form::Sid) => sid(value).or_else(|| {
            // Some gateways write the text themselves.
            let text = as_text()?;
            let is_sid = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
            text.strip_prefix("S-1-")
                .filter(|rest| is_sid(rest))
                .map(|_| text.to_owned())
        }),
        Some(Form::Guid { little_endian }) => match <[u8; 16]>::try_from(value) {
            Ok(bytes) if little_endian => Some(Uuid::from_bytes_le(bytes).to_string()),
            Ok(bytes) => Some(Uuid::from_bytes(bytes).to_string()),
            Err(_) => Uuid::try_parse(as_text()?).ok().map(|uuid| uuid.to_string()),
        },
    }
}

/// True if values of this attribute, given with its options, have a text form although they are bytes.
pub(crate) fn has_text_form(attribute: &str) -> bool {
    form(attribute).is_some()
}

/// True if the attribute is known to hold bytes that have no text form, or is asked for as bytes (RFC 4522).
pub(crate) fn is_known_binary(attribute: &str) -> bool {
    let (name, options) = split(attribute);
    BINARY.contains(&name.as_str())
        || options
            .split(';')
            .any(|option| option.eq_ignore_ascii_case("binary"))
}

fn form(attribute: &str) -> Option<Form> {
    let (name, _) = split(attribute);
    let name = name.as_str();
    if SIDS.contains(&name) {
        Some(Form::Sid)
    } else if GUIDS.contains(&name) {
        Some(Form::Guid { little_endian: true })
    } else {
        BIG_ENDIAN_GUIDS
            .contains(&name)
            .then_some(Form::Guid { little_endian: false })
    }
}

fn split(attribute: &str) -> (String, &str) {
    let (name, options) = attribute.split_once(';').unwrap_or((attribute, ""));
    (name.to_ascii_lowercase(), options)
}

/// MS-DTYP 2.4.2.2, written as in 2.4.2.1: revision, number of parts, authority, and the parts in little-endian order.
fn sid(value: &[u8]) -> Option<String> {
    let (&[1, count], rest) = value.split_first_chunk::<2>()? else {
        return None;
    };
    let (authority, parts) = rest.split_first_chunk::<6>()?;
    if count > 15 || parts.len() != usize::from(count) * 4 {
        return None;
    }
    let authority = authority
        .iter()
        .fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let mut text = match authority {
        small if small < 1 << 32 => format!("S-1-{small}"),
        large => format!("S-1-0x{large:012x}"),
    };
    for part in parts.as_chunks::<4>().0 {
        text.push_str(&format!("-{}", u32::from_le_bytes(*part)));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ANNA: [u8; 28] = [
        1, 5, 0, 0, 0, 0, 0, 5, 0x15, 0, 0, 0, 0x32, 0xfb, 0xa1, 0xc6, 0x0b, 0x1d, 0xf1, 0x47, 0xf5, 0xc8,
        0x72, 0x45, 0x55, 4, 0, 0,
    ];
    /// All of its bytes are ASCII.
    const BERT: &[u8] = b"\x01\x05\0\0\0\0\0\x05\x15\0\0\0DCBA$#\"!4321P\x04\0\0";

    #[test]
    fn a_sid_reads_as_windows_writes_it_even_if_its_bytes_are_text() {
        for name in ["objectSid", "OBJECTSID", "sIDHistory", "1.2.840.113556.1.4.146"] {
            assert_eq!(
                text_form(name, &ANNA).as_deref(),
                Some("S-1-5-21-3332504370-1206983947-1165150453-1109")
            );
        }
        assert!(std::str::from_utf8(BERT).is_ok());
        let bert = text_form("objectSid", BERT).unwrap_or_default();
        assert_eq!(bert, "S-1-5-21-1094861636-555885348-825373492-1104");
        assert_eq!(text_form("objectSid", bert.as_bytes()), Some(bert));
        assert_eq!(
            text_form("objectSid", b"\x01\0\0\0\0\0\0\x05").as_deref(),
            Some("S-1-5")
        );
    }

    #[test]
    fn a_guid_reads_as_its_server_writes_it() {
        let bytes = b"\xe4\x41\xba\x85\x9d\x3f\x2c\x4a\x8e\x01\x02\x03\x04\x05\x06\x07";
        let text = |name: &str| text_form(name, bytes).unwrap_or_default();
        assert_eq!(text("objectGUID"), "85ba41e4-3f9d-4a2c-8e01-020304050607");
        assert_eq!(text("mS-DS-ConsistencyGuid"), text("objectGUID"));
        assert_eq!(text("GUID"), "e441ba85-9d3f-2c4a-8e01-020304050607");
        assert_eq!(
            text_form("objectGUID", text("objectGUID").as_bytes()),
            Some(text("objectGUID"))
        );
    }

    #[test]
    fn what_is_not_what_its_attribute_holds_is_unreadable() {
        for value in [
            &b""[..],
            b"x",
            &ANNA[..27],
            b"S-2-5",
            b"S-1-x",
            &[2, 0, 0, 0, 0, 0, 0, 5],
        ] {
            assert_eq!(text_form("objectSid", value), None, "{value:?}");
        }
        assert_eq!(text_form("objectGUID", b"100"), None);
        assert_eq!(text_form("cn", b"\xff"), None);
        assert_eq!(text_form("cn", b"Ada").as_deref(), Some("Ada"));
    }

    #[test]
    fn pictures_keys_and_what_is_asked_for_as_bytes_are_known() {
        for name in [
            "jpegPhoto",
            "thumbnailPhoto",
            "userCertificate",
            "userCertificate;binary",
            "cn;x;BINARY",
        ] {
            assert!(is_known_binary(name), "{name}");
        }
        for name in ["cn", "objectSid", "binary", "cn;lang-de"] {
            assert!(!is_known_binary(name), "{name}");
        }
        assert!(
            BINARY
                .iter()
                .chain(&SIDS)
                .chain(&GUIDS)
                .all(|name| !name.contains(char::is_uppercase))
        );
    }

    proptest! {
        #[test]
        fn any_value_gets_an_answer(value in any::<Vec<u8>>()) {
            for name in ["objectSid", "objectGUID", "guid", "cn"] {
                text_form(name, &value);
            }
        }
    }
}
