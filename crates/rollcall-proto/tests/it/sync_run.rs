use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use rollcall_core::audit::{AskedBy, LoginOutcome};
use rollcall_core::check::{CheckReport, Stage, StageKind, StageResult};
use rollcall_core::event::EventType;
use rollcall_core::external_id::{ExternalId, IdKind};
use rollcall_core::guard::HoldRule;
use rollcall_core::id::{DirectoryId, RunId, TenantId, UserId, UserSyncId, UserSyncKey, Uuid};
use rollcall_core::issue::{Issue, IssueKind};
use rollcall_core::plan::{Change, ChangeKind};
use rollcall_core::revision::Revision;
use rollcall_core::run::{Run, RunCounts, RunMode, RunState, RunTrigger};
use rollcall_core::user::{FieldChange, Origin, Profile, StateReason, UserState};
use rollcall_proto::convert::check::report;
use rollcall_proto::convert::sync_run::{ListSyncRunChanges, change, issue};
use rollcall_proto::v1;

use crate::bad_fields;

fn acme() -> TenantId {
    TenantId::parse("acme").unwrap()
}

fn run() -> Run {
    Run {
        user_sync: UserSyncKey {
            tenant: acme(),
            user_sync: UserSyncId::parse("staff").unwrap(),
        },
        id: RunId(Uuid::from_u128(5)),
        state: RunState::Held,
        mode: RunMode::Apply,
        trigger: RunTrigger::Call,
        asked_by: AskedBy::caller("billing"),
        release: None,
        cancellation: None,
        counts: RunCounts {
            entries: u64::MAX,
            deactivated: 40,
            ..RunCounts::default()
        },
        issue_counts: BTreeMap::from([(IssueKind::LoginTaken, 2)]),
        hold_reasons: vec!["too many".into()],
        failure: None,
        complete: true,
        user_sync_revision: Revision::FIRST,
        directory_revision: Revision::FIRST,
        create_time: DateTime::UNIX_EPOCH,
        plan_time: Some(DateTime::UNIX_EPOCH + TimeDelta::seconds(9)),
        end_time: None,
        expire_time: None,
        mails_withheld: 0,
    }
}

#[test]
fn a_held_run_says_why() {
    let wire = v1::SyncRun::from(&run());
    assert_eq!(
        wire.name,
        "tenants/acme/userSyncs/staff/runs/00000000-0000-0000-0000-000000000005"
    );
    assert_eq!(
        (wire.state(), wire.mode()),
        (v1::SyncRunState::Held, v1::SyncRunMode::Apply)
    );
    assert_eq!(
        (wire.trigger(), wire.caller.as_str()),
        (v1::SyncRunTrigger::Call, "billing")
    );
    assert_eq!(wire.hold_reasons[0].message, "too many");
    assert_eq!(wire.issue_counts[0].r#type(), v1::IssueType::LoginTaken);
    let counts = wire.counts.unwrap();
    assert_eq!((counts.entries, counts.deactivated), (i64::MAX, 40));
    assert!(wire.failure.is_none());
}

#[test]
fn whether_the_answer_was_whole_is_known_once_there_is_a_plan() {
    let outcome = |run: Run| v1::SyncRun::from(&run).search_outcome();
    assert_eq!(outcome(run()), v1::SearchOutcome::Complete);
    assert_eq!(
        outcome(Run {
            complete: false,
            ..run()
        }),
        v1::SearchOutcome::Partial
    );
    let failed = Run {
        plan_time: None,
        state: RunState::Failed,
        failure: Some("down".into()),
        ..run()
    };
    assert_eq!(v1::SyncRun::from(&failed).failure.unwrap().message, "down");
    assert_eq!(outcome(failed), v1::SearchOutcome::Unspecified);
}

/// Each word has one in the contract; one of a newer release, which none can be here, is shown as unspecified.
#[test]
fn words_have_their_names_in_the_contract_and_newer_ones_are_unspecified() {
    macro_rules! shown {
        ($($wire:ident $prefix:literal $domain:ty,)*) => { $(
            for known in <$domain>::ALL {
                let wire = v1::$wire::from(*known);
                assert_eq!(wire.as_str_name(), format!("{}_{}", $prefix, known.word()));
            }
            let newer = <$domain>::of_word("OF_TOMORROW").unwrap();
            assert_eq!(v1::$wire::from(newer), v1::$wire::Unspecified);
        )* };
    }
    shown! {
        CheckStageKind "CHECK_STAGE_KIND" StageKind,
        HoldRule "HOLD_RULE" HoldRule,
        IssueType "ISSUE_TYPE" IssueKind,
        LoginOutcome "LOGIN_OUTCOME" LoginOutcome,
        SyncRunTrigger "SYNC_RUN_TRIGGER" RunTrigger,
        UserEventType "USER_EVENT_TYPE" EventType,
        UserStateReason "USER_STATE_REASON" StateReason,
    }
}

#[test]
fn every_issue_kind_has_its_type_and_its_hint() {
    for kind in IssueKind::ALL {
        let told = Issue::new(*kind, "uid=ada", "what happened").about("uid", "ada");
        let wire = issue(&acme(), &told);
        assert_eq!(wire.r#type().as_str_name(), format!("ISSUE_TYPE_{}", kind.word()));
        assert_eq!(
            (wire.hint.as_str(), wire.attribute.as_str()),
            (told.hint(), "uid")
        );
        assert!(!told.hint().is_empty());
    }
    let other = Issue {
        other_user_sync: UserSyncId::parse("other"),
        ..Issue::new(IssueKind::Overlap, "uid=ada", "claimed twice")
    };
    assert_eq!(
        issue(&acme(), &other).other_user_sync,
        "tenants/acme/userSyncs/other"
    );
}

#[test]
fn a_change_shows_old_and_new_and_why_somebody_leaves() {
    let external_id = ExternalId::parse(IdKind::NsUniqueId, "0a0a0a0a-0b0b0b0b-0c0c0c0c-0d0d0d0d").unwrap();
    let planned = Change {
        kind: ChangeKind::Deactivate,
        user: UserId(Uuid::from_u128(1)),
        expected_revision: Revision::new(3),
        state_before: Some(UserState::Active),
        origin: Origin {
            user_sync: UserSyncId::parse("staff").unwrap(),
            directory: DirectoryId::parse("main").unwrap(),
            external_id,
            dn: "uid=ada".into(),
            linked: false,
        },
        profile: Profile {
            login: "ada".into(),
            ..Profile::default()
        },
        state: UserState::Deactivated,
        state_reason: Some(StateReason::Gone),
        login_ambiguous: false,
        login_asked_by: None,
        changes: vec![FieldChange {
            field: "email".into(),
            old: Some("a@x".into()),
            new: None,
        }],
    };
    let wire = change(&acme(), &planned);
    assert_eq!(
        (wire.r#type(), wire.state_reason()),
        (v1::ChangeType::Deactivate, v1::UserStateReason::Gone)
    );
    assert_eq!(wire.external_id, "0a0a0a0a-0b0b0b0b-0c0c0c0c-0d0d0d0d");
    assert_eq!(wire.field_changes[0].old_value.as_deref(), Some("a@x"));
    assert_eq!(wire.field_changes[0].new_value, None);
    let update = change(
        &acme(),
        &Change {
            kind: ChangeKind::Update,
            ..planned
        },
    );
    assert_eq!(update.state_reason(), v1::UserStateReason::Unspecified);
}

#[test]
fn lists_of_a_run_filter_by_type() {
    let list = |parent: &str, types| {
        ListSyncRunChanges::try_from(v1::ListSyncRunChangesRequest {
            parent: parent.into(),
            types,
            ..v1::ListSyncRunChangesRequest::default()
        })
    };
    let name = v1::SyncRun::from(&run()).name;
    let kinds = list(&name, vec![v1::ChangeType::Archive.into()]).unwrap().kinds;
    assert_eq!(kinds, [ChangeKind::Archive]);
    assert_eq!(bad_fields(list("x", vec![0])), ["parent", "types[0]"]);
}

#[test]
fn a_report_carries_its_stages_in_order() {
    let stage = |kind, result| Stage {
        kind,
        subject: "ldaps://dc1".into(),
        result,
        duration: Duration::from_millis(1500),
        message: "m".into(),
        hint: "h".into(),
    };
    let stages = vec![
        stage(StageKind::Dns, StageResult::Pass),
        stage(StageKind::Tcp, StageResult::Fail),
        stage(StageKind::Tls, StageResult::Skipped),
    ];
    let wire = report(
        &CheckReport { stages },
        DateTime::UNIX_EPOCH,
        Duration::from_secs(2),
    );
    assert_eq!(wire.outcome(), v1::CheckOutcome::Fail);
    let kinds: Vec<_> = wire.stages.iter().map(v1::CheckStage::kind).collect();
    assert_eq!(
        kinds,
        [
            v1::CheckStageKind::Dns,
            v1::CheckStageKind::Tcp,
            v1::CheckStageKind::Tls
        ]
    );
    let duration = wire.stages[0].duration.unwrap();
    assert_eq!((duration.seconds, duration.nanos), (1, 500_000_000));
}
