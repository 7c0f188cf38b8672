//! The issues of a run: what each is about, and what it names.

use std::collections::BTreeMap;

use rollcall_proto::v1;

use super::numbered;
use crate::company::sync_name;
use crate::model::Issue;

pub(super) fn expected(issues: &[Issue]) -> impl Iterator<Item = String> {
    let lines = issues.iter().map(|issue| {
        let sync = issue.sync.map(sync_name).unwrap_or_default();
        line(&issue.dn, issue.kind, issue.field, &issue.attribute, &sync)
    });
    numbered(lines)
}

pub(super) fn found(issues: &[v1::SyncIssue]) -> impl Iterator<Item = String> {
    let lines = issues.iter().map(|issue| {
        let (field, attribute) = (&issue.field, &issue.attribute);
        // Of those who are missing it names one, whichever that is.
        let dn = match issue.r#type() {
            v1::IssueType::AbsenceUnconfirmed => "",
            _ => &issue.dn,
        };
        line(dn, kind(issue), field, attribute, &issue.other_user_sync)
    });
    numbered(lines)
}

fn line(dn: &str, kind: &str, field: &str, attribute: &str, sync: &str) -> String {
    let mut line = format!("issue {dn} {kind}");
    for (name, value) in [("field", field), ("attribute", attribute), ("user sync", sync)] {
        if !value.is_empty() {
            line += &format!(", {name} {value}");
        }
    }
    line
}

fn kind(issue: &v1::SyncIssue) -> &'static str {
    issue.r#type().as_str_name().trim_start_matches("ISSUE_TYPE_")
}

/// What issues say in words, against what they should: each names one of the others who are concerned, and says what to do.
/// `kept` has the users whose entries were renamed, by their new names, while the plan that says so is not applied: a user is
/// named as Rollcall has it, and not at all if the entry of the issue has that name by now.
pub(crate) fn wrong_words(
    expected: &[Issue],
    found: &[v1::SyncIssue],
    kept: &BTreeMap<String, String>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for issue in found {
        let is_it = |it: &&Issue| (it.kind, &*it.dn, it.field) == (kind(issue), &*issue.dn, &*issue.field);
        let is_named = |it: &Issue| match issue.other_dn.is_empty() {
            true => {
                let mut others = it.others.iter();
                it.others.is_empty() || others.any(|dn| kept.get(dn) == Some(&issue.dn))
            }
            false => {
                let mut others = it.others.iter();
                it.others.contains(&issue.other_dn) || others.any(|dn| kept.get(dn) == Some(&issue.other_dn))
            }
        };
        // Several of one entry and one kind have others to name.
        let names = |it: &&Issue| issue.other_dn.is_empty() || is_named(it);
        let all = || expected.iter().filter(is_it);
        let Some(expected) = all().find(names).or(all().next()) else {
            continue;
        };
        let about = format!("{} of {}", kind(issue), issue.dn);
        if !is_named(expected) {
            wrong.push(format!(
                "the words: {about} names {:?}, and should name one of {:?}",
                issue.other_dn, expected.others
            ));
        }
        let words = [("message", &issue.message), ("hint", &issue.hint)];
        for (what, text) in words {
            if text.is_empty() {
                wrong.push(format!("the words: {about} has no {what}"));
            }
        }
        if !issue.message.contains(&issue.other_dn) {
            wrong.push(format!("the words: {about} does not name {}", issue.other_dn));
        }
        if !expected.attribute.is_empty() && !mentions(issue, &expected.attribute) {
            wrong.push(format!(
                "the words: {about} says nothing of {}",
                expected.attribute
            ));
        }
    }
    wrong
}

/// Whether somebody who reads the issue learns which attribute is meant.
fn mentions(issue: &v1::SyncIssue, attribute: &str) -> bool {
    issue.attribute == attribute || issue.message.contains(attribute)
}
