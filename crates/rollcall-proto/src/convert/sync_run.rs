//! SyncRunService.

use rollcall_core::audit::Decision;
use rollcall_core::error::Error;
use rollcall_core::guard::{HoldReason, HoldRule};
use rollcall_core::id::TenantId;
use rollcall_core::issue::{Issue, IssueKind};
use rollcall_core::plan::{Change, ChangeKind};
use rollcall_core::run::{Run, RunCounts, RunMode, RunState, RunTrigger};
use rollcall_core::violation::Violations;

use super::audit::actor;
use super::named_request;
use crate::decode::{choices, finish, wire_enum};
use crate::page::AskedPage;
use crate::resource_name::{self, RunName, RunParent};
use crate::{timestamp, v1};

/// ListSyncRuns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListSyncRuns {
    /// Whose runs.
    pub parent: RunParent,
    /// Only those in one of these states; empty for any.
    pub states: Vec<RunState>,
    /// Which page.
    pub page: AskedPage,
}

/// ListSyncRunChanges.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListSyncRunChanges {
    /// The run.
    pub name: RunName,
    /// Only changes of these kinds; empty for any.
    pub kinds: Vec<ChangeKind>,
    /// Which page.
    pub page: AskedPage,
}

/// ListSyncRunIssues.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListSyncRunIssues {
    /// The run.
    pub name: RunName,
    /// Only issues of these kinds; empty for any.
    pub kinds: Vec<IssueKind>,
    /// Which page.
    pub page: AskedPage,
}

named_request!(GetSyncRunRequest => RunName, parse_run, RUN);
named_request!(WatchSyncRunRequest => RunName, parse_run, RUN);
named_request!(ApplySyncRunRequest => RunName, parse_run, RUN);
named_request!(CancelSyncRunRequest => RunName, parse_run, RUN);

wire_enum!(
    SyncRunMode,
    RunMode {
        Apply,
        Preview,
        Relink
    }
);
wire_enum!(vocabulary SyncRunTrigger, RunTrigger { Schedule, Due, Call });
wire_enum!(
    SyncRunState,
    RunState {
        Pending,
        Pulling,
        Planned,
        Held,
        Applying,
        Succeeded,
        SucceededWithIssues,
        Failed,
        Cancelled,
        Superseded,
        Expired,
    }
);
wire_enum!(
    ChangeType,
    ChangeKind {
        Create,
        Link,
        Update,
        Reactivate,
        Deactivate,
        Archive,
        Transfer,
        Relink,
    }
);
wire_enum!(
    vocabulary IssueType,
    IssueKind {
        LoginTooShort,
        LoginTooLong,
        LoginIllegalCharacters,
        LoginTaken,
        EmailTaken,
        EmailInvalid,
        LoginChangeRejected,
        OwnerProtected,
        Overlap,
        MissingRequiredField,
        DuplicateInDirectory,
        MissingExternalId,
        UndecodableEntry,
        ValueTooLong,
        EntryTooLarge,
        ValueIllegalCharacters,
        RoleRuleFailed,
        RoleGroupMissing,
        ChangedMeanwhile,
        PullIncomplete,
        LoginAmbiguous,
        StateUnreadable,
        AbsenceUnconfirmed,
        Held,
        NotAPerson,
    }
);
wire_enum!(
    vocabulary HoldRule,
    HoldRule {
        Removals,
        MostUsers,
        RoleChanges,
        LoginChanges,
        EmailChanges,
        LostField,
        Returns,
        Takeovers,
        Links,
        Growth,
        Relinked,
        ConfigurationChanged,
    }
);

impl TryFrom<v1::ListSyncRunsRequest> for ListSyncRuns {
    type Error = Error;

    fn try_from(request: v1::ListSyncRunsRequest) -> Result<Self, Error> {
        let mut found = Violations::new();
        let parent = resource_name::decode(
            &mut found,
            "parent",
            &request.parent,
            resource_name::RUN_PARENT,
            resource_name::parse_run_parent,
        );
        let states = choices::<v1::SyncRunState, _>(&mut found, "states", &request.states);
        let binding = ["ListSyncRuns", &request.parent, &format!("{:?}", request.states)];
        let page = AskedPage::decode(&mut found, request.page_size, request.page_token, &binding);
        finish(found, parent.map(|parent| Self { parent, states, page }))
    }
}

impl TryFrom<v1::ListSyncRunChangesRequest> for ListSyncRunChanges {
    type Error = Error;

    fn try_from(request: v1::ListSyncRunChangesRequest) -> Result<Self, Error> {
        let mut found = Violations::new();
        let name = run_parent(&mut found, &request.parent);
        let kinds = choices::<v1::ChangeType, _>(&mut found, "types", &request.types);
        let binding = [
            "ListSyncRunChanges",
            &request.parent,
            &format!("{:?}", request.types),
        ];
        let page = AskedPage::decode(&mut found, request.page_size, request.page_token, &binding);
        finish(found, name.map(|name| Self { name, kinds, page }))
    }
}

impl TryFrom<v1::ListSyncRunIssuesRequest> for ListSyncRunIssues {
    type Error = Error;

    fn try_from(request: v1::ListSyncRunIssuesRequest) -> Result<Self, Error> {
        let mut found = Violations::new();
        let name = run_parent(&mut found, &request.parent);
        let kinds = choices::<v1::IssueType, _>(&mut found, "types", &request.types);
        let binding = [
            "ListSyncRunIssues",
            &request.parent,
            &format!("{:?}", request.types),
        ];
        let page = AskedPage::decode(&mut found, request.page_size, request.page_token, &binding);
        finish(found, name.map(|name| Self { name, kinds, page }))
    }
}

impl From<&Run> for v1::SyncRun {
    fn from(run: &Run) -> Self {
        let search_outcome = match (run.plan_time, run.complete) {
            (None, _) => v1::SearchOutcome::Unspecified,
            (Some(_), true) => v1::SearchOutcome::Complete,
            (Some(_), false) => v1::SearchOutcome::Partial,
        };
        let issues = run.issue_counts.iter().map(|(kind, count)| v1::IssueCount {
            r#type: v1::IssueType::from(*kind).into(),
            count: count_of(*count),
        });
        let reason = |reason: &HoldReason| v1::HoldReason {
            message: reason.message.clone(),
            rule: reason.rule.map_or(v1::HoldRule::Unspecified, Into::into).into(),
            field: reason.field.clone().unwrap_or_default(),
        };
        Self {
            name: resource_name::run(&run.user_sync, run.id),
            mode: v1::SyncRunMode::from(run.mode).into(),
            trigger: v1::SyncRunTrigger::from(run.trigger).into(),
            caller: run.asked_by.caller.clone(),
            actor: actor(&run.asked_by.actor),
            release: run.release.as_ref().map(decision),
            cancellation: run.cancellation.as_ref().map(decision),
            configuration: None,
            state: v1::SyncRunState::from(run.state).into(),
            search_outcome: search_outcome.into(),
            counts: Some((&run.counts).into()),
            issue_counts: issues.collect(),
            hold_reasons: run.hold_reasons.iter().map(reason).collect(),
            failure: run.failure.clone().map(|message| v1::SyncRunFailure { message }),
            create_time: Some(timestamp(run.create_time)),
            plan_time: run.plan_time.map(timestamp),
            end_time: run.end_time.map(timestamp),
            expire_time: run.expire_time.map(timestamp),
            mails_withheld: count_of(run.mails_withheld),
        }
    }
}

fn decision(decision: &Decision) -> v1::SyncRunDecision {
    v1::SyncRunDecision {
        caller: decision.by.caller.clone(),
        actor: actor(&decision.by.actor),
        decide_time: Some(timestamp(decision.time)),
    }
}

impl From<&RunCounts> for v1::SyncRunCounts {
    fn from(counts: &RunCounts) -> Self {
        Self {
            entries: count_of(counts.entries),
            created: count_of(counts.created),
            linked: count_of(counts.linked),
            updated: count_of(counts.updated),
            reactivated: count_of(counts.reactivated),
            deactivated: count_of(counts.deactivated),
            archived: count_of(counts.archived),
            transferred: count_of(counts.transferred),
            relinked: count_of(counts.relinked),
            unchanged: count_of(counts.unchanged),
            ignored: count_of(counts.ignored),
            issues: count_of(counts.issues),
            referrals: count_of(counts.referrals),
            applied: count_of(counts.applied),
        }
    }
}

/// A change of a plan of one of this tenant's user syncs.
pub fn change(tenant: &TenantId, change: &Change) -> v1::SyncRunChange {
    let removal = change.state_reason.filter(|_| change.kind.ends_without_access());
    v1::SyncRunChange {
        r#type: v1::ChangeType::from(change.kind).into(),
        user: resource_name::user(tenant, change.user),
        login: change.profile.login.clone(),
        external_id: change.origin.external_id.to_string(),
        dn: change.origin.dn.clone(),
        state_reason: removal.map(v1::UserStateReason::from).unwrap_or_default().into(),
        field_changes: change.changes.iter().map(Into::into).collect(),
    }
}

/// An issue of a run of one of this tenant's user syncs.
pub fn issue(tenant: &TenantId, issue: &Issue) -> v1::SyncIssue {
    let other = issue.other_user_sync.as_ref();
    v1::SyncIssue {
        r#type: v1::IssueType::from(issue.kind).into(),
        dn: issue.dn.clone(),
        attribute: issue.attribute.clone().unwrap_or_default(),
        value: issue.value.clone().unwrap_or_default(),
        other_user_sync: other
            .map(|other| resource_name::user_sync(tenant, other))
            .unwrap_or_default(),
        message: issue.text(),
        hint: issue.hint().to_owned(),
        field: issue.field.clone().unwrap_or_default(),
        other_dn: issue.other_dn.clone().unwrap_or_default(),
    }
}

fn run_parent(found: &mut Violations, text: &str) -> Option<RunName> {
    resource_name::decode(
        found,
        "parent",
        text,
        resource_name::RUN,
        resource_name::parse_run,
    )
}

fn count_of(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
