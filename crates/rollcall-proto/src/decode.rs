//! Decodes what many requests share. Each function records what is wrong and goes on, so that all bad fields of a
//! request are reported at once.

use rollcall_core::error::Error;
use rollcall_core::id::TenantId;
use rollcall_core::secret::SecretBytes;
use rollcall_core::violation::Violations;

use crate::resource_name;

/// How repeats of a request that creates something are recognised.
pub struct Repeatable {
    /// The request id.
    pub id: String,
    /// The method and all other fields. May hold secrets.
    pub content: SecretBytes,
}

/// Longest request id, in bytes.
const MAX_REQUEST_ID_BYTES: usize = 128;

/// The decoded request, unless something is wrong with it. `value` is `None` only if something is.
pub(crate) fn finish<T>(found: Violations, value: Option<T>) -> Result<T, Error> {
    if let (Some(value), true) = (value, found.is_empty()) {
        return Ok(value);
    }
    Err(Error::invalid(found))
}

/// A message that must be there.
pub(crate) fn required<T>(found: &mut Violations, field: &str, message: Option<T>) -> Option<T> {
    if message.is_none() {
        found.add(field, "is required");
    }
    message
}

/// The `parent` of a resource that belongs to a tenant.
pub(crate) fn parent(found: &mut Violations, text: &str) -> Option<TenantId> {
    resource_name::decode(
        found,
        "parent",
        text,
        resource_name::TENANT,
        resource_name::parse_tenant,
    )
}

/// The id chosen for a new resource; `None` to have one generated.
pub(crate) fn resource_id<T>(
    found: &mut Violations,
    field: &str,
    text: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    if text.is_empty() {
        return None;
    }
    let id = parse(text);
    if id.is_none() {
        found.add(
            field,
            "must be a lower-case letter, then up to 62 lower-case letters, digits and hyphens, not ending in a hyphen",
        );
    }
    id
}

/// The value of an enum field; `None` for UNSPECIFIED, to which each field gives a meaning of its own.
pub(crate) fn choice<W, D>(found: &mut Violations, field: &str, value: i32) -> Option<D>
where
    W: TryFrom<i32>,
    Option<D>: From<W>,
{
    match W::try_from(value) {
        Ok(wire) => wire.into(),
        Err(_) => {
            found.add(
                field,
                format!("{value} is none of the values that this version knows"),
            );
            None
        }
    }
}

/// The values of a repeated enum field that filters; none of them may be UNSPECIFIED.
pub(crate) fn choices<W, D>(found: &mut Violations, field: &str, values: &[i32]) -> Vec<D>
where
    W: TryFrom<i32>,
    Option<D>: From<W>,
{
    let decode = |(index, value): (usize, &i32)| {
        let field = format!("{field}[{index}]");
        let known = found.iter().count();
        let decoded = choice::<W, D>(found, &field, *value);
        if decoded.is_none() && found.iter().count() == known {
            found.add(field, "must be specified");
        }
        decoded
    };
    values.iter().enumerate().filter_map(decode).collect()
}

/// A request id, if the caller sent one.
pub(crate) fn request_id(found: &mut Violations, text: String) -> Option<String> {
    if text.is_empty() {
        return None;
    }
    let valid = text.len() <= MAX_REQUEST_ID_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic());
    found.require(
        valid,
        "request_id",
        "must be at most 128 printable ASCII characters without spaces",
    );
    Some(text)
}

/// How to recognise a repeat of a request that creates something, if the caller sent a request id. Takes the id out of
/// the request; the rest of it is its content.
pub(crate) fn repeatable<W: prost::Message>(
    found: &mut Violations,
    method: &str,
    request: &mut W,
    id: impl Fn(&mut W) -> &mut String,
) -> Option<Repeatable> {
    let id = request_id(found, std::mem::take(id(request)))?;
    let mut content = method.as_bytes().to_vec();
    // No method name contains it, so it is clear where the name ends.
    content.push(0);
    content.extend(request.encode_to_vec());
    Some(Repeatable {
        id,
        content: SecretBytes::new(content),
    })
}

/// `Some` unless the text is empty.
pub(crate) fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// Adds the mistakes that the rules found to those of decoding. Fields that could not be decoded are left out: the
/// rules saw something else than was sent.
pub(crate) fn merge(found: &mut Violations, rules: Violations) {
    let undecoded: Vec<String> = found
        .iter()
        .map(|violation| root(&violation.field).to_owned())
        .collect();
    for violation in rules
        .iter()
        .filter(|violation| !undecoded.iter().any(|field| field == root(&violation.field)))
    {
        found.add(&violation.field, &violation.description);
    }
}

/// The first part of a field's path.
pub(crate) fn root(path: &str) -> &str {
    path.split(['.', '[']).next().unwrap_or(path)
}

/// Maps an enum of the domain to the one on the wire that has the same names, and back; UNSPECIFIED is `None`.
macro_rules! wire_enum {
    (vocabulary $wire:ident, $domain:ident { $($name:ident),* $(,)? }) => {
        // What a newer release stored is shown as unspecified.
        wire_enum!(@ $wire, $domain { $($name),* } $domain::Newer(_) => v1::$wire::Unspecified,);
    };
    ($wire:ident, $domain:ident { $($name:ident),* $(,)? }) => {
        wire_enum!(@ $wire, $domain { $($name),* });
    };
    (@ $wire:ident, $domain:ident { $($name:ident),* } $($newer:pat => $shown:expr,)?) => {
        impl From<$domain> for v1::$wire {
            fn from(value: $domain) -> Self {
                match value {
                    $($domain::$name => v1::$wire::$name,)*
                    $($newer => $shown,)?
                }
            }
        }

        impl From<v1::$wire> for Option<$domain> {
            fn from(value: v1::$wire) -> Self {
                match value {
                    v1::$wire::Unspecified => None,
                    $(v1::$wire::$name => Some($domain::$name),)*
                }
            }
        }
    };
}

pub(crate) use wire_enum;
