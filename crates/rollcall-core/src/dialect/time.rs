//! Times as directories write them, in seconds since 1970.

use chrono::{NaiveDate, TimeDelta};

/// 100 ns ticks since 1601 (MS-DTYP 2.3.3).
pub(super) fn filetime(ticks: i64) -> i64 {
    const SECONDS_FROM_1601_TO_1970: i64 = 11_644_473_600;
    ticks.div_euclid(10_000_000) - SECONDS_FROM_1601_TO_1970
}

/// GeneralizedTime (RFC 4517 3.3.13): `YYYYMMDDHH[MM[SS]][.fraction](Z|+HH[MM]|-HH[MM])`. The fraction is
/// left out.
pub(super) fn generalized_time(text: &str) -> Option<i64> {
    let zone_at = text.find(['Z', '+', '-'])?;
    let (clock, zone) = text.split_at(zone_at);
    let digits = match clock.split_once(['.', ',']) {
        Some((digits, fraction)) if is_digits(fraction) => digits,
        Some(_) => return None,
        None => clock,
    };
    if !is_digits(digits) || !matches!(digits.len(), 10 | 12 | 14) {
        return None;
    }
    let number = |from: usize, to: usize| match digits.get(from..to) {
        Some(part) => part.parse::<u32>().ok(),
        None => Some(0),
    };
    let date = NaiveDate::from_ymd_opt(i32::try_from(number(0, 4)?).ok()?, number(4, 6)?, number(6, 8)?)?;
    let seconds = number(12, 14)?.min(59); // a leap second counts as the one before
    let local = date.and_hms_opt(number(8, 10)?, number(10, 12)?, seconds)?;
    Some((local - offset(zone)?).and_utc().timestamp())
}

fn offset(zone: &str) -> Option<TimeDelta> {
    if zone == "Z" {
        return Some(TimeDelta::zero());
    }
    let (sign, digits) = zone.split_at_checked(1)?;
    if !is_digits(digits) || !matches!(digits.len(), 2 | 4) {
        return None;
    }
    let hours: i64 = digits.get(..2)?.parse().ok()?;
    let minutes: i64 = digits.get(2..4).map_or(Ok(0), str::parse).ok()?;
    let offset = TimeDelta::minutes(hours * 60 + minutes);
    Some(if sign == "-" { -offset } else { offset })
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
