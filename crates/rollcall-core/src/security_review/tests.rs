#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;

use super::*;
use crate::audit::AskedBy;
use crate::check::{CheckReport, Stage, StageKind, StageResult};
use crate::directory::{
    Directory, DirectoryObservations, DirectorySettings, HostUrl, PasswordStrength, TransportSecurity,
};
use crate::id::{DirectoryId, RunId, TenantId, UserSyncId, UserSyncKey, Uuid};
use crate::issue::{Health, IssueKind};
use crate::revision::Revision;
use crate::run::{Run, RunCounts, RunMode, RunState, RunTrigger};
use crate::soft_lock::SoftLockMode;
use crate::user_sync::UserSync;
use crate::user_sync::tests::settings;

fn at(time: &str) -> DateTime<Utc> {
    time.parse().unwrap()
}

fn now() -> DateTime<Utc> {
    at("2026-06-01T00:00:00Z")
}

fn good_directory() -> ReviewedDirectory {
    let directory = Directory {
        tenant: TenantId::parse("acme").unwrap(),
        id: DirectoryId::parse("hq").unwrap(),
        settings: DirectorySettings {
            display_name: "HQ".into(),
            bind_dn: "cn=rollcall".into(),
            ..DirectorySettings::with_defaults(vec![HostUrl::parse("ldaps://dc1.example.com").unwrap()])
        },
        bind_password_set: true,
        bind_password_update_time: Some(at("2026-05-01T00:00:00Z")),
        bind_password_strength: Some(PasswordStrength::Strong),
        pending_bind_password_time: None,
        pending_bind_password_refuse_time: None,
        endpoint_confirmed: true,
        observed: DirectoryObservations {
            lockout_threshold: Some(5),
            lockout_window: Some(Duration::from_secs(1_800)),
            ..DirectoryObservations::default()
        },
        revision: Revision::FIRST,
        create_time: now(),
        update_time: now(),
    };
    let stage = |kind| Stage {
        kind,
        subject: String::new(),
        result: StageResult::Pass,
        duration: Duration::ZERO,
        message: "fine".into(),
        hint: String::new(),
    };
    let report = CheckReport {
        stages: vec![stage(StageKind::Tls), stage(StageKind::Privilege)],
    };
    ReviewedDirectory {
        directory,
        last_check: Some((now(), report)),
        certificate_end: None,
        ca_certificate_end: None,
        client_certificate_end: None,
    }
}

fn good_sync() -> ReviewedSync {
    let key = UserSyncKey {
        tenant: TenantId::parse("acme").unwrap(),
        user_sync: UserSyncId::parse("all").unwrap(),
    };
    let run = Run {
        user_sync: key.clone(),
        id: RunId(Uuid::from_u128(1)),
        state: RunState::Succeeded,
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
        create_time: at("2026-05-31T02:00:00Z"),
        plan_time: None,
        end_time: Some(at("2026-05-31T02:05:00Z")),
        expire_time: None,
        mails_withheld: 0,
    };
    let user_sync = UserSync {
        tenant: key.tenant,
        id: key.user_sync,
        settings: settings(),
        revision: Revision::FIRST,
        scope_revision: Revision::FIRST,
        applied_scope_revision: Revision::FIRST,
        in_force_revision: Some(Revision::FIRST),
        hold: Vec::new(),
        last_complete_pull_time: Some(at("2026-05-31T02:00:00Z")),
        last_run: Some(run.id),
        next_run_time: None,
        health: Health::default(),
        create_time: now(),
        update_time: now(),
    };
    ReviewedSync {
        user_sync,
        last_run: Some(run),
    }
}

fn review_of(directories: &[ReviewedDirectory], user_syncs: &[ReviewedSync]) -> Vec<Finding> {
    let facts = Facts {
        egress_addresses: &["203.0.113.7".parse().unwrap()],
        directories,
        user_syncs,
        idle: None,
        last_review: Some(at("2026-05-01T00:00:00Z")),
        bind_password_age: Duration::from_secs(180 * 86_400),
        review_interval: Duration::from_secs(180 * 86_400),
    };
    review(&facts, now())
}

fn result_of(findings: &[Finding], practice: Practice) -> StageResult {
    let results = findings
        .iter()
        .filter(|finding| finding.practice == practice)
        .map(|finding| finding.result);
    results.min_by_key(|result| severity(*result)).unwrap()
}

#[test]
fn a_tenant_that_does_everything_right_passes_everything() {
    let findings = review_of(&[good_directory()], &[good_sync()]);
    let bad: Vec<_> = findings
        .iter()
        .filter(|finding| finding.result != StageResult::Pass)
        .collect();
    assert!(bad.is_empty(), "{bad:?}");
    assert_eq!(worst(&findings), StageResult::Pass);
    assert!(
        findings
            .iter()
            .any(|finding| finding.message.contains("203.0.113.7"))
    );
}

#[test]
fn each_fault_of_a_directory_is_found() {
    type Spoil = fn(&mut ReviewedDirectory);
    let cases: [(Practice, StageResult, Spoil); 23] = [
        (Practice::Transport, StageResult::Fail, |it| {
            it.directory.settings.transport_security = TransportSecurity::Plaintext;
        }),
        (Practice::PasswordStrength, StageResult::Fail, |it| {
            it.directory.bind_password_strength = Some(PasswordStrength::Weak);
        }),
        (Practice::PasswordStrength, StageResult::Warn, |it| {
            it.directory.bind_password_strength = Some(PasswordStrength::Fair);
        }),
        (Practice::PasswordRotation, StageResult::Warn, |it| {
            it.directory.bind_password_update_time = Some(at("2025-11-01T00:00:00Z"));
        }),
        (Practice::PasswordRotation, StageResult::Warn, |it| {
            it.directory.settings.bind_password_max_age = Some(Duration::from_secs(86_400));
        }),
        (Practice::PasswordRotation, StageResult::Pass, |it| {
            it.directory.settings.bind_password_max_age = Some(Duration::from_secs(3_000 * 86_400));
            it.directory.bind_password_update_time = Some(at("2025-11-01T00:00:00Z"));
        }),
        (Practice::PasswordRotation, StageResult::Warn, |it| {
            it.directory.observed.bind_password_expire_time = Some(now() + TimeDelta::days(13));
        }),
        (Practice::PasswordRotation, StageResult::Fail, |it| {
            it.directory.observed.bind_password_expire_time = Some(now());
        }),
        (Practice::PasswordRotation, StageResult::Fail, |it| {
            it.directory.pending_bind_password_refuse_time = Some(now());
        }),
        (Practice::Certificates, StageResult::Skipped, |it| {
            it.last_check = None
        }),
        (Practice::Certificates, StageResult::Warn, |it| {
            it.last_check.as_mut().unwrap().1.stages[0].result = StageResult::Warn;
        }),
        (Practice::Certificates, StageResult::Warn, |it| {
            it.certificate_end = Some(now() + TimeDelta::days(29));
        }),
        (Practice::Certificates, StageResult::Fail, |it| {
            it.certificate_end = Some(now());
        }),
        (Practice::Certificates, StageResult::Warn, |it| {
            it.client_certificate_end = Some(now() + TimeDelta::days(29));
        }),
        (Practice::Certificates, StageResult::Fail, |it| {
            it.client_certificate_end = Some(now());
        }),
        (Practice::LeastPrivilege, StageResult::Skipped, |it| {
            it.last_check.as_mut().unwrap().1.stages[1].result = StageResult::Skipped;
        }),
        (Practice::SoftLock, StageResult::Skipped, |it| {
            it.directory.observed.lockout_threshold = None;
        }),
        (Practice::SoftLock, StageResult::Warn, |it| {
            it.directory.observed.lockout_window = None;
        }),
        (Practice::SoftLock, StageResult::Pass, |it| {
            it.directory.observed.lockout_threshold = Some(0);
            it.directory.observed.lockout_window = None;
        }),
        (Practice::SoftLock, StageResult::Warn, |it| {
            it.directory.observed.lockout_threshold = Some(1);
        }),
        (Practice::SoftLock, StageResult::Warn, |it| {
            it.directory.settings.soft_lock.mode = Some(SoftLockMode::Log);
        }),
        (Practice::SoftLock, StageResult::Warn, |it| {
            it.directory.settings.soft_lock.limit = Some(5);
        }),
        (Practice::Unused, StageResult::Warn, |it| {
            it.directory.settings.disabled = true
        }),
    ];
    for (practice, expected, spoil) in cases {
        let mut directory = good_directory();
        spoil(&mut directory);
        let findings = review_of(&[directory], &[good_sync()]);
        assert_eq!(result_of(&findings, practice), expected, "{practice:?}");
        assert!(
            findings.is_sorted_by_key(|finding| severity(finding.result)),
            "the worst comes first"
        );
    }
}

#[test]
fn what_a_server_does_not_tell_is_said_with_what_to_do_about_it() {
    let mut directory = good_directory();
    let stages = &mut directory.last_check.as_mut().unwrap().1.stages;
    stages[1].result = StageResult::Skipped;
    stages[1].message = "Unknown.".into();
    stages[1].hint = "Look at the access rules.".into();
    let findings = review_of(&[directory], &[good_sync()]);
    let found = findings
        .iter()
        .find(|finding| finding.practice == Practice::LeastPrivilege);
    let found = found.unwrap();
    assert_eq!(found.result, StageResult::Skipped);
    assert_eq!(
        (found.message.as_str(), found.hint.as_str()),
        ("Unknown.", "Look at the access rules.")
    );
}

#[test]
fn each_fault_of_a_user_sync_is_found() {
    type Spoil = fn(&mut ReviewedSync);
    let cases: [(Practice, StageResult, Spoil); 6] = [
        (Practice::Runs, StageResult::Warn, |it| {
            it.last_run.as_mut().unwrap().state = RunState::Held
        }),
        (Practice::Runs, StageResult::Fail, |it| {
            it.last_run.as_mut().unwrap().state = RunState::Failed
        }),
        (Practice::Runs, StageResult::Warn, |it| {
            it.user_sync.last_complete_pull_time = Some(at("2026-05-20T00:00:00Z"));
        }),
        (Practice::Runs, StageResult::Warn, |it| {
            it.user_sync.last_complete_pull_time = None
        }),
        (Practice::Overlap, StageResult::Warn, |it| {
            it.last_run
                .as_mut()
                .unwrap()
                .issue_counts
                .insert(IssueKind::Overlap, 3);
        }),
        (Practice::Unused, StageResult::Warn, |it| {
            it.user_sync.settings.disabled = true
        }),
    ];
    for (practice, expected, spoil) in cases {
        let mut sync = good_sync();
        spoil(&mut sync);
        let findings = review_of(&[good_directory()], &[sync]);
        assert_eq!(result_of(&findings, practice), expected, "{practice:?}");
    }
}

#[test]
fn what_nobody_uses_and_nobody_looked_at_is_found() {
    let findings = review_of(&[good_directory()], &[]);
    assert_eq!(result_of(&findings, Practice::Unused), StageResult::Warn);
    let facts = Facts {
        egress_addresses: &[],
        directories: &[],
        user_syncs: &[],
        idle: None,
        last_review: None,
        bind_password_age: Duration::from_secs(1),
        review_interval: Duration::from_secs(1),
    };
    let findings = review(&facts, now());
    assert_eq!(result_of(&findings, Practice::Egress), StageResult::Warn);
    assert_eq!(result_of(&findings, Practice::Review), StageResult::Warn);
    let old = Facts {
        idle: None,
        last_review: Some(at("2026-05-01T00:00:00Z")),
        ..facts
    };
    assert_eq!(
        result_of(&review(&old, now()), Practice::Review),
        StageResult::Warn
    );
}

#[test]
fn privileged_accounts_that_nobody_uses_are_named() {
    let told = |idle: Option<IdlePrivileged>| {
        let facts = Facts {
            egress_addresses: &[],
            directories: &[],
            user_syncs: &[],
            idle,
            last_review: None,
            bind_password_age: Duration::from_secs(86_400),
            review_interval: Duration::from_secs(86_400),
        };
        let findings = review(&facts, now());
        let found = findings
            .into_iter()
            .find(|finding| finding.practice == Practice::IdlePrivilege);
        found.map(|finding| (finding.result, finding.message))
    };
    assert_eq!(told(None), None);
    assert_eq!(
        told(Some(IdlePrivileged::default())).unwrap().0,
        StageResult::Pass
    );
    let idle = IdlePrivileged {
        named: vec![("ada".into(), "admin".into()), ("bob".into(), "admin".into())],
        count: 5,
    };
    let (result, message) = told(Some(idle)).unwrap();
    assert_eq!(result, StageResult::Warn);
    let expected = "5 accounts with a privileged role have not logged in for 90 days: ada (admin), bob (admin) and 3 more.";
    assert_eq!(message, expected);
}

#[test]
fn people_are_reminded_of_the_same_facts() {
    type Spoil = fn(&mut ReviewedDirectory, &mut ReviewedSync, &mut Facts<'_>);
    let cases: [(&str, i64, Spoil); 8] = [
        ("password-expiry", 3, |it, _, _| {
            it.directory.observed.bind_password_expire_time = Some(now() + TimeDelta::days(2));
        }),
        ("password-age", 0, |it, _, _| {
            it.directory.bind_password_update_time = Some(at("2025-11-01T00:00:00Z"));
        }),
        ("server-certificate", 14, |it, _, _| {
            it.certificate_end = Some(now() + TimeDelta::days(13));
        }),
        ("ca-certificate", 30, |it, _, _| {
            it.ca_certificate_end = Some(now() + TimeDelta::days(30));
        }),
        ("client-certificate", 0, |it, _, _| {
            it.client_certificate_end = Some(now())
        }),
        ("unreachable", 0, |it, _, _| {
            it.directory.observed.unreachable_since = Some(now() - TimeDelta::hours(1));
        }),
        ("stale", 0, |_, it, _| {
            it.user_sync.last_complete_pull_time = Some(now() - TimeDelta::days(8));
        }),
        ("held", 0, |_, it, _| {
            let run = it.last_run.as_mut().unwrap();
            run.state = RunState::Held;
            run.expire_time = Some(now() + TimeDelta::hours(23));
        }),
    ];
    let none: Spoil = |_, _, _| {};
    let due: Spoil = |_, _, facts| facts.last_review = Some(at("2025-11-01T00:00:00Z"));
    let reminded = |spoil: Spoil, disabled: bool| -> Vec<(&str, i64)> {
        let (mut directory, mut sync) = (good_directory(), good_sync());
        sync.user_sync.settings.auto_sync = true;
        sync.user_sync.settings.directory = directory.directory.id.clone();
        let mut facts = Facts {
            egress_addresses: &[],
            directories: &[],
            user_syncs: &[],
            idle: None,
            last_review: Some(at("2026-05-01T00:00:00Z")),
            bind_password_age: Duration::from_secs(180 * 86_400),
            review_interval: Duration::from_secs(180 * 86_400),
        };
        spoil(&mut directory, &mut sync, &mut facts);
        directory.directory.settings.disabled = disabled;
        let (directories, user_syncs) = ([directory], [sync]);
        (facts.directories, facts.user_syncs) = (&directories, &user_syncs);
        let matters = crate::reminder::matters::matters(&facts, now());
        assert!(
            matters
                .iter()
                .all(|matter| !matter.message.is_empty() && !matter.hint.is_empty())
        );
        matters
            .iter()
            .map(|matter| (matter.topic, matter.stage))
            .collect()
    };
    assert_eq!(reminded(none, false), []);
    assert_eq!(reminded(due, false), [("review", 0)]);
    for (topic, stage, spoil) in cases {
        assert_eq!(reminded(spoil, false), [(topic, stage)]);
        assert_eq!(
            reminded(spoil, true),
            [],
            "{topic} of a directory that is switched off"
        );
    }
}
