#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use chrono_tz::Tz;
use rollcall_core::audit::AskedBy;
use rollcall_core::id::{RunId, TenantId, UserSyncId, UserSyncKey, Uuid};
use rollcall_core::issue::{Issue, IssueKind};
use rollcall_core::revision::Revision;
use rollcall_core::run::{RunCounts, RunTrigger};

use super::*;

fn run(state: RunState) -> Run {
    let time = |text: &str| text.parse().unwrap();
    Run {
        user_sync: UserSyncKey {
            tenant: TenantId::parse("acme").unwrap(),
            user_sync: UserSyncId::parse("staff").unwrap(),
        },
        id: RunId(Uuid::from_u128(7)),
        state,
        mode: RunMode::Apply,
        trigger: RunTrigger::Schedule,
        asked_by: AskedBy::default(),
        release: None,
        cancellation: None,
        counts: RunCounts::default(),
        issue_counts: BTreeMap::new(),
        hold_reasons: Vec::new(),
        failure: None,
        complete: true,
        user_sync_revision: Revision::FIRST,
        directory_revision: Revision::FIRST,
        create_time: time("2026-07-01T00:30:00Z"),
        plan_time: Some(time("2026-07-01T00:31:00Z")),
        end_time: Some(time("2026-07-01T00:32:00Z")),
        expire_time: None,
        mails_withheld: 0,
    }
}

fn with_issue(state: RunState) -> Run {
    Run {
        issue_counts: BTreeMap::from([(IssueKind::LoginTaken, 1)]),
        ..run(state)
    }
}

fn report(run: &Run, issues: &[Issue], name: &str) -> Composed {
    compose(&About {
        run,
        issues,
        user_sync: name,
        directory: "Head office",
        time_zone: Tz::Europe__Zurich,
    })
}

#[test]
fn a_report_is_sent_when_the_settings_want_it() {
    use ReportWhen::*;
    let cases = [
        (run(RunState::Succeeded), [true, false, false]),
        (with_issue(RunState::SucceededWithIssues), [true, true, false]),
        (run(RunState::Failed), [true, true, false]),
        (run(RunState::Held), [true, true, false]),
        (run(RunState::Expired), [true, true, false]),
        (with_issue(RunState::Cancelled), [true, false, false]),
        (with_issue(RunState::Superseded), [true, false, false]),
        (with_issue(RunState::Planned), [false; 3]),
        (with_issue(RunState::Applying), [false; 3]),
        (with_issue(RunState::Pulling), [false; 3]),
    ];
    for (run, expected) in cases {
        let found = [Always, OnIssues, Never].map(|when| is_wanted(when, &run));
        assert_eq!(found, expected, "{:?}", run.state);
    }
}

#[test]
fn a_preview_is_reported_once_it_was_released() {
    let mut preview = run(RunState::Failed);
    preview.mode = RunMode::Preview;
    assert!(is_wanted(ReportWhen::Always, &preview));
    preview.plan_time = None;
    assert!(
        !is_wanted(ReportWhen::Always, &preview),
        "it failed before anybody could"
    );
}

#[test]
fn only_a_plan_that_was_held_is_missed_when_it_expires() {
    let mut expired = run(RunState::Expired);
    expired.mode = RunMode::Preview;
    assert!(
        !is_wanted(ReportWhen::Always, &expired),
        "whoever asked for it has seen it"
    );
    expired.mode = RunMode::Relink;
    expired.hold_reasons = vec!["2 users were found by login".into()];
    assert!(is_wanted(ReportWhen::OnIssues, &expired));
    let report = report(&expired, &[], "Staff");
    assert_eq!(report.subject, "[Rollcall] Staff: a held run expired");
    for part in ["has changed nothing", "2 users were found by login"] {
        assert!(report.text.contains(part), "{part} in {}", report.text);
    }
}

#[test]
fn times_are_the_readers() {
    let report = report(&run(RunState::Succeeded), &[], "Staff");
    assert!(
        report.text.contains("Started: 2026-07-01 02:30 CEST"),
        "{}",
        report.text
    );
    assert!(report.html.contains("2026-07-01 02:30 CEST"), "{}", report.html);
    assert!(report.text.contains("Every user was up to date already."));
}

#[test]
fn a_held_run_says_why_and_what_it_would_do() {
    let mut held = run(RunState::Held);
    held.hold_reasons = vec!["12 of 40 users would be removed".into()];
    held.counts.deactivated = 12;
    held.expire_time = Some("2026-07-04T00:31:00Z".parse().unwrap());
    let report = report(&held, &[], "Staff");
    assert_eq!(report.subject, "[Rollcall] Staff: the run is held, please look");
    for part in [
        "has changed nothing",
        "12 of 40 users would be removed",
        "12 deactivated",
        "2026-07-04 02:31 CEST",
        "tenants/acme/userSyncs/staff/runs/",
    ] {
        assert!(report.text.contains(part), "{part} in {}", report.text);
        assert!(report.html.contains(part), "{part} in {}", report.html);
    }
}

#[test]
fn a_failed_run_says_why_and_how_far_it_came() {
    let mut failed = run(RunState::Failed);
    failed.failure = Some("the directory does not answer".into());
    let untouched = report(&failed, &[], "Staff").text;
    assert!(untouched.contains("No user was changed."), "{untouched}");
    assert!(untouched.contains("the directory does not answer"), "{untouched}");
    (failed.counts.created, failed.counts.applied) = (2000, 1000);
    let partly = report(&failed, &[], "Staff").text;
    assert!(partly.contains("1000 of 2000 changes"), "{partly}");
}

#[test]
fn issues_come_with_hints() {
    let issue =
        Issue::new(IssueKind::LoginTaken, "uid=ada,dc=example", "the login is taken").about("uid", "ada");
    let report = report(&with_issue(RunState::SucceededWithIssues), &[issue], "Staff");
    for part in [
        "1 x LOGIN_TAKEN",
        IssueKind::LoginTaken.hint(),
        "uid=ada,dc=example",
        "1 issue",
    ] {
        assert!(report.text.contains(part), "{part} in {}", report.text);
        assert!(report.html.contains(part), "{part} in {}", report.html);
    }
}

#[test]
fn nothing_of_a_directory_is_markup_or_a_line_of_its_own() {
    let evil = "</li><script>alert('1')</script>\r\nUser sync: \"forged\" & \u{202e}dnib\u{2028}\u{0}";
    let issue = Issue::new(IssueKind::LoginTaken, evil, evil).about(evil, evil);
    let mut run = with_issue(RunState::Failed);
    run.failure = Some(evil.into());
    run.hold_reasons = vec![evil.into()];
    for state in [RunState::Failed, RunState::Held] {
        run.state = state;
        let report = report(&run, std::slice::from_ref(&issue), evil);
        assert!(!report.html.contains("<script"), "{}", report.html);
        assert!(
            report.html.contains("&lt;script&gt;alert(&#39;1&#39;)"),
            "{}",
            report.html
        );
        let forged = |line: &str| line.starts_with("User sync: \"forged\"");
        assert!(!report.text.lines().any(forged), "{}", report.text);
        assert!(!report.subject.contains(char::is_control), "{}", report.subject);
        for text in [&report.subject, &report.text, &report.html] {
            assert!(!text.contains(['\r', '\0', '\u{202e}', '\u{2028}']), "{text}");
        }
    }
}

#[test]
fn long_values_are_cut() {
    let long = "é".repeat(1_000_000);
    let issue = Issue::new(IssueKind::LoginTaken, &long, long.clone());
    let report = report(&with_issue(RunState::Failed), &[issue], &long);
    assert!(report.text.len() < 5_000, "{}", report.text.len());
    assert!(report.subject.chars().count() < 130 && report.subject.contains('…'));
}
