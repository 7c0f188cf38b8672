//! How the tenant as a whole stands.

use std::net::IpAddr;

use chrono::{DateTime, Utc};

use super::facts::{Facts, is_older};
use super::finding::{About, Finding, Practice, Subject};
use crate::check::StageResult;

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
