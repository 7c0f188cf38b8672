//! LDAP messages (RFC 4511) as bytes, right ones and, piece by piece, wrong ones. Written by hand so that
//! a fault of an encoder library cannot hide the same fault in its decoder.

/// The paged results control (RFC 2696).
pub const PAGED_RESULTS: &str = "1.2.840.113556.1.4.319";

/// One element: tag byte, definite length in its shortest form, content.
pub fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    match content.len() {
        short @ 0..128 => bytes.push(short as u8),
        long => {
            let length = long.to_be_bytes();
            let skip = length.iter().take_while(|byte| **byte == 0).count();
            bytes.push(0x80 | (length.len() - skip) as u8);
            bytes.extend(&length[skip..]);
        }
    }
    bytes.extend(content);
    bytes
}

/// An INTEGER (0x02) or, with tag 0x0a, an ENUMERATED; two's complement in the fewest bytes.
pub fn integer(tag: u8, value: i64) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let redundant = |pair: &[u8]| (pair[0] == 0 && pair[1] < 0x80) || (pair[0] == 0xff && pair[1] >= 0x80);
    let skip = bytes.windows(2).take_while(|pair| redundant(pair)).count();
    element(tag, &bytes[skip..])
}

/// An OCTET STRING.
pub fn octets(value: impl AsRef<[u8]>) -> Vec<u8> {
    element(0x04, value.as_ref())
}

/// A SEQUENCE of these elements.
pub fn sequence(elements: &[Vec<u8>]) -> Vec<u8> {
    element(0x30, &elements.concat())
}

/// An LDAPMessage around a ready-made operation and, when there are any, controls ([`control`]).
pub fn message(id: i64, operation: Vec<u8>, controls: &[Vec<u8>]) -> Vec<u8> {
    let mut elements = vec![integer(0x02, id), operation];
    if !controls.is_empty() {
        elements.push(element(0xa0, &controls.concat()));
    }
    sequence(&elements)
}

/// A Control with a value; not critical.
pub fn control(oid: &str, value: &[u8]) -> Vec<u8> {
    sequence(&[octets(oid), octets(value)])
}

/// The paged results control of a response; an empty cookie ends the paging.
pub fn paging_control(size_estimate: i64, cookie: &[u8]) -> Vec<u8> {
    control(
        PAGED_RESULTS,
        &sequence(&[integer(0x02, size_estimate), octets(cookie)]),
    )
}

/// The three parts that every LDAPResult begins with.
pub fn result_parts(code: i64, matched_dn: &str, text: &str) -> Vec<u8> {
    [integer(0x0a, code), octets(matched_dn), octets(text)].concat()
}

/// A BindRequest (version 3, simple).
pub fn bind_request(id: i64, dn: &str, password: &[u8]) -> Vec<u8> {
    let content = [integer(0x02, 3), octets(dn), element(0x80, password)].concat();
    message(id, element(0x60, &content), &[])
}

/// A BindResponse.
pub fn bind_response(id: i64, code: i64, matched_dn: &str, text: &str) -> Vec<u8> {
    message(id, element(0x61, &result_parts(code, matched_dn, text)), &[])
}

/// A SearchResultEntry; every attribute with all of its values, as bytes.
pub fn search_entry(id: i64, dn: &str, attributes: &[(&str, &[&[u8]])]) -> Vec<u8> {
    let attributes: Vec<Vec<u8>> = attributes
        .iter()
        .map(|(name, values)| {
            let values: Vec<Vec<u8>> = values.iter().map(octets).collect();
            sequence(&[octets(name), element(0x31, &values.concat())])
        })
        .collect();
    message(
        id,
        element(0x64, &[octets(dn), sequence(&attributes)].concat()),
        &[],
    )
}

/// A SearchResultReference.
pub fn search_reference(id: i64, urls: &[&str]) -> Vec<u8> {
    let urls: Vec<Vec<u8>> = urls.iter().map(octets).collect();
    message(id, element(0x73, &urls.concat()), &[])
}

/// A SearchResultDone without controls.
pub fn search_done(id: i64, code: i64, text: &str) -> Vec<u8> {
    message(id, element(0x65, &result_parts(code, "", text)), &[])
}

/// A successful SearchResultDone of a page; an empty cookie ends the paging.
pub fn page_done(id: i64, cookie: &[u8]) -> Vec<u8> {
    message(
        id,
        element(0x65, &result_parts(0, "", "")),
        &[paging_control(0, cookie)],
    )
}

/// An ExtendedResponse, e.g. to StartTLS.
pub fn extended_response(id: i64, code: i64, text: &str) -> Vec<u8> {
    message(id, element(0x78, &result_parts(code, "", text)), &[])
}

/// The Notice of Disconnection (RFC 4511 section 4.4.1).
pub fn notice_of_disconnection(code: i64, text: &str) -> Vec<u8> {
    let content = [
        result_parts(code, "", text),
        element(0x8a, b"1.3.6.1.4.1.1466.20036"),
    ]
    .concat();
    message(0, element(0x78, &content), &[])
}
