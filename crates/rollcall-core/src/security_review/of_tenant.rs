//! How the tenant as a whole stands.

use std::net::IpAddr;

use chrono::{DateTime, Utc};

use super::facts::{Facts, IDLE_AFTER, IdlePrivileged, is_older};
use super::finding::{About, Finding, Practice, Subject};
use crate::check::StageResult;
use crate::wording::counted;

pub(super) fn egress(addresses: &[IpAddr], now: DateTime<Utc>) -> Finding {
    let about = About {
        subject: Subject::Tenant,
        time: Some(now),
    };
    if addresses.is_empty() {
        let message = "This deployment does not say from which addresses it connects.";
        let hint =
            "Ask its operator to set egress.addresses, and let only those through the directory's firewall.";
        return about.find(Practice::Egress, StageResult::Warn, message, hint);
    }
    let list: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    let message = format!(
        "Rollcall connects from {}, and only to where its egress policy allows.",
        list.join(", ")
    );
    let hint = "Let these addresses, and only these, through the directory's firewall.";
    about.find(Practice::Egress, StageResult::Pass, message, hint)
}

pub(super) fn reviews(facts: &Facts<'_>, now: DateTime<Utc>) -> Finding {
    let about = About {
        subject: Subject::Tenant,
        time: facts.last_review,
    };
    let hint = "Go through these findings, and record that with RecordSecurityReview.";
    match facts.last_review {
        None => about.find(
            Practice::Review,
            StageResult::Warn,
            "No review was ever recorded.",
            hint,
        ),
        Some(last) if is_older(last, facts.review_interval, now) => {
            let message = format!("The last review is of {}.", last.date_naive());
            about.find(Practice::Review, StageResult::Warn, message, hint)
        }
        Some(last) => {
            let message = format!("The last review is of {}.", last.date_naive());
            about.find(Practice::Review, StageResult::Pass, message, "")
        }
    }
}

pub(super) fn idle_privilege(idle: &IdlePrivileged, now: DateTime<Utc>) -> Finding {
    let about = About {
        subject: Subject::Tenant,
        time: Some(now),
    };
    let days = IDLE_AFTER.num_days();
    if idle.count == 0 {
        let message = format!("Everybody with a privileged role has logged in within {days} days.");
        return about.find(Practice::IdlePrivilege, StageResult::Pass, message, "");
    }
    let named: Vec<String> = idle
        .named
        .iter()
        .map(|(login, role)| format!("{login} ({role})"))
        .collect();
    let more = idle.count.saturating_sub(named.len() as u64);
    let more = match more {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let message = format!(
        "{} not logged in for {days} days: {}{more}.",
        counted(
            idle.count,
            "account with a privileged role has",
            "accounts with a privileged role have"
        ),
        named.join(", ")
    );
    let hint =
        "Take the role away in the directory from whoever does not need it, or disable the account there.";
    about.find(Practice::IdlePrivilege, StageResult::Warn, message, hint)
}
