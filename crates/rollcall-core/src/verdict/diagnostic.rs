//! What diagnostic messages tell. Their forms are no contract, so nothing but these is understood.

use super::reason::InternalReason;

/// The code in `80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data 52e, v4563`.
/// None unless exactly one field of that form is there.
pub fn active_directory_code(text: &str) -> Option<u32> {
    let (status, rest) = text.split_once(": LdapErr: DSID-")?;
    if status.len() != 8 || !status.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut codes = rest
        .split(',')
        .filter_map(|field| field.trim().strip_prefix("data "));
    let code = codes.next()?;
    let digits_only = code.bytes().all(|byte| byte.is_ascii_hexdigit());
    if codes.next().is_some() || !digits_only {
        return None;
    }
    u32::from_str_radix(code, 16).ok()
}

/// The reason in a refusal (unwillingToPerform), in the words of 389 Directory Server, OpenDJ and eDirectory.
pub(super) fn refusal(text: &str) -> InternalReason {
    let lower = text.to_ascii_lowercase();
    if lower.contains("inactivated") || lower.contains("disabled") {
        return InternalReason::AccountDisabled;
    }
    if lower.contains("locked") {
        return InternalReason::AccountLocked;
    }
    edirectory(text).unwrap_or(InternalReason::Refused)
}

/// The reason in eDirectory's `NDS error: failed authentication (-669)`.
pub(super) fn edirectory(text: &str) -> Option<InternalReason> {
    let (_, rest) = text.split_once("NDS error:")?;
    match rest.split_once("(-")?.1.split_once(')')?.0 {
        "197" => Some(InternalReason::AccountLocked),
        "218" => Some(InternalReason::LogonHours),
        "220" => Some(InternalReason::AccountExpired),
        "222" | "223" => Some(InternalReason::PasswordExpired),
        "669" => Some(InternalReason::InvalidCredentials),
        _ => None,
    }
}
