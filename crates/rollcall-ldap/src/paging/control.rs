//! The control of a page (RFC 2696).

use ldap3::controls::RawControl;

use crate::ber;
use crate::error::LdapError;
use crate::protocol_violation::ProtocolViolation;

const PAGED_RESULTS: &str = "1.2.840.113556.1.4.319";

/// The request control, critical.
pub(crate) fn paged_results(size: u32, cookie: &[u8]) -> RawControl {
    let mut inner = Vec::new();
    ber::put(&mut inner, 0x02, &ber::integer(size));
    ber::put(&mut inner, 0x04, cookie);
    let mut value = Vec::new();
    ber::put(&mut value, 0x30, &inner);
    RawControl {
        ctype: PAGED_RESULTS.into(),
        crit: true,
        val: Some(value),
    }
}

/// The cookie, if the answer has the control.
pub(crate) fn read_paged_results(controls: &[RawControl]) -> Result<Option<Vec<u8>>, LdapError> {
    let Some(control) = controls.iter().find(|control| control.ctype == PAGED_RESULTS) else {
        return Ok(None);
    };
    let cookie = || -> Result<Vec<u8>, ProtocolViolation> {
        let value = control.val.as_deref().unwrap_or_default();
        let outer = ber::element(value, 0, value.len())?;
        let size = ber::element(value, outer.start, outer.end)?;
        let cookie = ber::element(value, size.end, outer.end)?;
        match (outer.tag, size.tag, cookie.tag) {
            (0x30, 0x02, 0x04) => Ok(cookie.content(value).to_vec()),
            _ => Err(ProtocolViolation::PagedResultsControl),
        }
    };
    cookie()
        .map(Some)
        .map_err(|_| LdapError::Protocol(ProtocolViolation::PagedResultsControl))
}

#[cfg(any(fuzzing, test))]
pub(crate) fn read_control_value(value: &[u8]) {
    let control = RawControl {
        ctype: PAGED_RESULTS.into(),
        crit: false,
        val: Some(value.to_vec()),
    };
    let _ = read_paged_results(&[control]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_control_is_critical_and_read_back() {
        let control = paged_results(1000, b"cookie");
        assert!(control.crit);
        assert_eq!(read_paged_results(&[control]), Ok(Some(b"cookie".to_vec())));
        assert_eq!(read_paged_results(&[]), Ok(None));
    }

    #[test]
    fn a_malformed_control_is_an_error_and_not_the_end() {
        let broken = Err(LdapError::Protocol(ProtocolViolation::PagedResultsControl));
        for value in [
            None,
            Some(vec![]),
            Some(vec![0x30, 0]),
            Some(vec![0x30, 3, 2, 1, 0]),
            Some(vec![4, 0]),
        ] {
            let control = RawControl {
                ctype: PAGED_RESULTS.into(),
                crit: false,
                val: value,
            };
            assert_eq!(read_paged_results(&[control]), broken);
        }
    }
}
