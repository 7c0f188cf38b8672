//! What a report says, before it is text or HTML.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use rollcall_core::issue::Issue;
use rollcall_core::run::{Run, RunState};
use rollcall_core::wording::counted;
use rollcall_proto::resource_name;

/// What a report is made from.
pub(super) struct About<'a> {
    /// The run, in the state that is reported.
    pub(super) run: &'a Run,
    /// Its first issues.
    pub(super) issues: &'a [Issue],
    /// The user sync's name for people.
    pub(super) user_sync: &'a str,
    /// The directory's name for people.
    pub(super) directory: &'a str,
    /// The time zone of the reader.
    pub(super) time_zone: Tz,
}

/// Longest name in a report, in characters.
pub(super) const MAX_NAME: usize = 80;
/// Longest other text from outside, in characters.
pub(super) const MAX_TEXT: usize = 500;

pub(super) struct Content {
    pub(super) subject: String,
    pub(super) headline: String,
    /// What is known about the run: label and value.
    pub(super) facts: Vec<(&'static str, String)>,
    pub(super) sections: Vec<Section>,
    pub(super) footer: String,
}

pub(super) struct Section {
    pub(super) title: String,
    pub(super) items: Vec<Item>,
}

pub(super) struct Item {
    pub(super) text: String,
    /// Label and value.
    pub(super) details: Vec<(&'static str, String)>,
}

impl Content {
    pub(super) fn of(about: &About<'_>) -> Self {
        let run = about.run;
        let name = clean(about.user_sync, MAX_NAME);
        let time = |time: DateTime<Utc>| {
            let local = time.with_timezone(&about.time_zone);
            local.format("%Y-%m-%d %H:%M %Z").to_string()
        };
        let run_name = resource_name::run(&run.user_sync, run.id);
        let mut facts = vec![
            ("User sync", name.clone()),
            ("Directory", clean(about.directory, MAX_NAME)),
            ("Tenant", run.user_sync.tenant.to_string()),
            ("Run", run_name.clone()),
            ("Started", time(run.create_time)),
        ];
        facts.extend(run.end_time.map(|end| ("Ended", time(end))));
        facts.extend(run.expire_time.map(|end| ("Expires", time(end))));
        facts.push(("Entries read", run.counts.entries.to_string()));
        if !run.complete && run.plan_time.is_some() {
            facts.push(("Pull", "incomplete, so nobody was removed".to_owned()));
        }
        let sections = [
            reasons(run),
            changes(run),
            kinds_of_issues(run),
            first_issues(run, about.issues),
        ];
        Self {
            subject: format!("[Rollcall] {name}: {}", outcome(run.state)),
            headline: headline(run),
            facts,
            sections: sections
                .into_iter()
                .filter(|section| !section.items.is_empty())
                .collect(),
            footer: format!(
                "ListSyncRunChanges and ListSyncRunIssues of {run_name} show everything. \
                 The report settings of the user sync say who gets this mail and when."
            ),
        }
    }
}

fn outcome(state: RunState) -> &'static str {
    match state {
        RunState::Succeeded => "the run succeeded",
        RunState::SucceededWithIssues => "the run left issues",
        RunState::Failed => "the run failed",
        RunState::Held => "the run is held, please look",
        RunState::Cancelled => "the run was cancelled",
        RunState::Superseded => "the run was superseded",
        RunState::Expired => "a held run expired",
        RunState::Pending | RunState::Pulling | RunState::Planned | RunState::Applying => "the run goes on",
    }
}

fn headline(run: &Run) -> String {
    let issues: u64 = run.issue_counts.values().sum();
    let (planned, applied) = (run.counts.changes(), run.counts.applied);
    let stopped = match applied {
        0 => "No user was changed.".to_owned(),
        _ => format!(
            "{applied} of {} had been made before; the next run sees to the rest.",
            counted(planned, "change", "changes")
        ),
    };
    let but_leavers = match applied {
        0 => " and has changed nothing".to_owned(),
        1 => ", but for 1 user who left and has lost access already".to_owned(),
        _ => format!(", but for {applied} users who left and have lost access already"),
    };
    match run.state {
        RunState::Held => {
            format!("The run is held{but_leavers}. Look at what it would do, then apply or cancel it.")
        }
        RunState::Expired => format!(
            "The run was held{but_leavers}; nobody applied it in time, and it expired. Run the user sync again and look \
             at what it would do."
        ),
        RunState::Failed => format!("The run failed. {stopped}"),
        RunState::Cancelled => format!("The run was cancelled. {stopped}"),
        RunState::Superseded => format!("The configuration changed while the run was under way. {stopped}"),
        RunState::Pending
        | RunState::Pulling
        | RunState::Planned
        | RunState::Applying
        | RunState::Succeeded
        | RunState::SucceededWithIssues => {
            let made = counted(applied, "change", "changes");
            match issues {
                0 if planned == 0 => "Every user was up to date already.".to_owned(),
                0 => format!("The run made {made}."),
                _ => format!(
                    "The run made {made} and left {}.",
                    counted(issues, "issue", "issues")
                ),
            }
        }
    }
}

fn reasons(run: &Run) -> Section {
    let held: Vec<&String> = run.hold_reasons.iter().map(|reason| &reason.message).collect();
    let (title, reasons) = match run.state {
        RunState::Held => ("Why it is held", held),
        RunState::Expired => ("Why it was held", held),
        RunState::Pending
        | RunState::Pulling
        | RunState::Planned
        | RunState::Applying
        | RunState::Succeeded
        | RunState::SucceededWithIssues
        | RunState::Failed
        | RunState::Cancelled
        | RunState::Superseded => ("Why it ended", run.failure.iter().collect()),
    };
    Section {
        title: title.to_owned(),
        items: reasons
            .iter()
            .map(|reason| Item {
                text: clean(reason, MAX_TEXT),
                details: Vec::new(),
            })
            .collect(),
    }
}

fn changes(run: &Run) -> Section {
    let counts = &run.counts;
    let named = [
        (counts.created, "created"),
        (counts.linked, "local users linked"),
        (counts.updated, "updated"),
        (counts.reactivated, "reactivated"),
        (counts.transferred, "taken over from another user sync"),
        (counts.relinked, "found by login under another identifier"),
        (counts.deactivated, "deactivated"),
        (counts.archived, "archived"),
    ];
    let done = matches!(run.state, RunState::Succeeded | RunState::SucceededWithIssues);
    Section {
        title: if done {
            "Users"
        } else {
            "Users, had the run gone on"
        }
        .to_owned(),
        items: named
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| Item {
                text: format!("{count} {what}"),
                details: Vec::new(),
            })
            .collect(),
    }
}

fn kinds_of_issues(run: &Run) -> Section {
    Section {
        title: "Issues and what to do".to_owned(),
        items: run
            .issue_counts
            .iter()
            .map(|(kind, count)| Item {
                text: format!("{count} x {}", kind.word()),
                details: vec![("What to do", kind.hint().to_owned())],
            })
            .collect(),
    }
}

fn first_issues(run: &Run, issues: &[Issue]) -> Section {
    let total: u64 = run.issue_counts.values().sum();
    Section {
        title: match issues.len() as u64 == total {
            true => counted(total, "issue", "issues"),
            false => format!("The first {} of {total} issues", issues.len()),
        },
        items: issues.iter().map(one_issue).collect(),
    }
}

fn one_issue(issue: &Issue) -> Item {
    let mut details = vec![("Problem", clean(&issue.message, MAX_TEXT))];
    if !issue.dn.is_empty() {
        details.push(("Entry", clean(&issue.dn, MAX_TEXT)));
    }
    let named = [
        ("Other entry", &issue.other_dn, MAX_TEXT),
        ("Field", &issue.field, MAX_NAME),
        ("Attribute", &issue.attribute, MAX_NAME),
        ("Value", &issue.value, MAX_TEXT),
    ];
    details.extend(named.into_iter().filter_map(|(name, value, limit)| {
        let value = value.as_deref().filter(|value| !value.is_empty())?;
        Some((name, clean(value, limit)))
    }));
    details.push(("What to do", issue.hint().to_owned()));
    Item {
        text: issue.kind.word().to_owned(),
        details,
    }
}

/// One line of at most `limit` characters, without characters that could break it, hide in it or change its direction.
pub(super) fn clean(text: &str, limit: usize) -> String {
    let visible = |c: char| match c {
        c if c.is_control() => '\u{fffd}',
        '\u{061c}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}'
        | '\u{feff}' => '\u{fffd}',
        c => c,
    };
    let mut line: String = text.chars().take(limit).map(visible).collect();
    if text.chars().nth(limit).is_some() {
        line.push('…');
    }
    line
}
