//! Brings one user up to date between runs, by the same rules as a run: the gateway asks for it when a login
//! shows that the entry changed.

use std::collections::HashMap;

use rollcall_core::error::{Error, Reason};
use rollcall_core::id::{TenantId, UserId, UserSyncKey};
use rollcall_core::issue::Issue;
use rollcall_core::mapping::Mapping;
use rollcall_core::plan::{ChangeKind, Fingerprint};
use rollcall_core::planner::{Context, Holder, Known, Planner};
use rollcall_core::reader::EntryReader;
use rollcall_core::user::{Origin, User};
use rollcall_core::user_sync::UserSync;
use rollcall_proto::resource_name;
use rollcall_store::SingleOutcome;
use tokio::time::Instant;

use super::{Inner, planning, scope};
use crate::directories::to_error;

/// What a refresh did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RefreshOutcome {
    /// The user was up to date.
    Unchanged,
    /// Fields changed.
    Updated,
    /// The user may log in again.
    Reactivated,
    /// The user may not log in any more.
    Removed,
    /// The user stays as before; the issues say why.
    Rejected,
}

/// A user after a refresh.
#[derive(Clone, Debug)]
pub struct Refreshed {
    /// The user as of now.
    pub user: User,
    /// What was done.
    pub outcome: RefreshOutcome,
    /// What was not, and why.
    pub issues: Vec<Issue>,
}

impl Inner {
    pub(super) async fn refresh(&self, tenant: &TenantId, id: UserId) -> Result<Refreshed, Error> {
        let user = self.store.user(tenant, id).await?;
        let Some(origin) = user.origin.clone() else {
            return Err(Error::new(Reason::UserNotFound, "there is no such synced user"));
        };
        let key = UserSyncKey {
            tenant: tenant.clone(),
            user_sync: origin.user_sync.clone(),
        };
        let sync = self.store.user_sync(tenant, &origin.user_sync).await?;
        if sync.settings.disabled {
            return Err(Error::new(Reason::SyncDisabled, "the user sync is switched off"));
        }
        let (directory, ldap) = self.directories.open(tenant, &origin.directory).await?;
        let name = resource_name::directory(tenant, &directory.id);
        let timeout = directory.settings.operation_timeout;
        let root = ldap
            .root_dse(Instant::now() + timeout)
            .await
            .map_err(|error| to_error(&error, &name))?;
        let contexts = root.data_contexts();
        let mapping = Mapping::new(&sync.settings, self.limits.login_policy.clone());
        let reader = EntryReader::new(
            root.dialect,
            directory.settings.external_id_attribute.as_deref(),
            mapping,
        );
        let deadline = Instant::now() + timeout;
        let found = ldap
            .find_by_external_id(&origin.external_id, &contexts, &reader.attributes(), deadline)
            .await;
        let found = found.map_err(|error| to_error(&error, &name))?;
        // Whether somebody is gone is for a run to say, which can tell a missing person from a missing right.
        let Some(entry) = found else {
            return Ok(unchanged(user));
        };
        let in_scope = scope::in_scope(&ldap, &sync.settings.searches, &entry.dn, timeout).await;
        if !in_scope.map_err(|error| to_error(&error, &name))? {
            return Ok(unchanged(user));
        }
        let role = scope::role(&ldap, root.dialect, &sync.settings, &contexts, &entry.dn, timeout).await;
        let (role, rule_issue) = match role.map_err(|error| to_error(&error, &name))? {
            Ok(role) => (role.to_owned(), None),
            // Whatever else changed is taken over.
            Err(issue) => (user.profile.role.clone(), Some(*issue)),
        };
        let (desired, mut issues) =
            match reader.read(origin.external_id.clone(), &entry, &role, self.clock.now()) {
                Ok(read) => read,
                Err(issue) => return Ok(rejected(user, vec![*issue])),
            };
        issues.extend(rule_issue);
        self.follow(&key, &sync, user, &origin, desired, issues).await
    }

    async fn follow(
        &self,
        key: &UserSyncKey,
        sync: &UserSync,
        user: User,
        origin: &Origin,
        desired: rollcall_core::planner::Desired,
        mut issues: Vec<Issue>,
    ) -> Result<Refreshed, Error> {
        let tenant = &key.tenant;
        let known = Known {
            user: user.id,
            fingerprint: Fingerprint::of(&user.profile, &origin.dn, user.state, user.state_reason),
            state: user.state,
        };
        let mut planner = Planner::new(&sync.id, &sync.settings, [(origin.external_id.clone(), known)]);
        if !planner.screen(&desired) {
            return Ok(if issues.is_empty() {
                unchanged(user)
            } else {
                rejected(user, issues)
            });
        }
        let mut keys = desired.identifiers();
        keys.sort_unstable();
        let mut holders: HashMap<String, Holder> = self
            .store
            .identifier_holders(tenant, &keys)
            .await?
            .into_iter()
            .collect();
        // Nobody else changes along with this user, so nobody else releases anything.
        for holder in holders.values_mut() {
            if *holder != Holder::User(user.id) {
                *holder = Holder::Foreign;
            }
        }
        let context = Context::new(&sync.settings.directory, [user.clone()], holders);
        let decisions = planner.decide(vec![desired], &context, planning::new_user_id);
        issues.extend(decisions.issues);
        let Some(change) = decisions.changes.into_iter().next() else {
            return Ok(if issues.is_empty() {
                unchanged(user)
            } else {
                rejected(user, issues)
            });
        };
        match self.store.apply_single(key, &change, self.clock.now()).await? {
            SingleOutcome::Applied(user) => {
                let outcome = match change.kind {
                    ChangeKind::Deactivate | ChangeKind::Archive => RefreshOutcome::Removed,
                    ChangeKind::Reactivate => RefreshOutcome::Reactivated,
                    ChangeKind::Create
                    | ChangeKind::Link
                    | ChangeKind::Update
                    | ChangeKind::Transfer
                    | ChangeKind::Relink => RefreshOutcome::Updated,
                };
                Ok(Refreshed {
                    user: *user,
                    outcome,
                    issues,
                })
            }
            SingleOutcome::Refused(issue) => {
                issues.push(issue);
                Ok(rejected(user, issues))
            }
        }
    }
}

fn unchanged(user: User) -> Refreshed {
    Refreshed {
        user,
        outcome: RefreshOutcome::Unchanged,
        issues: Vec::new(),
    }
}

fn rejected(user: User, issues: Vec<Issue>) -> Refreshed {
    Refreshed {
        user,
        outcome: RefreshOutcome::Rejected,
        issues,
    }
}
