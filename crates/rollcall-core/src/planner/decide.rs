//! What one entry means for one user, or for nobody yet.

use super::{Context, Desired, Holder, Planner, Waiting, identifiers};
use crate::id::{UserId, Uuid};
use crate::identifier::normalize;
use crate::issue::{Issue, IssueKind};
use crate::plan::{Change, ChangeKind};
use crate::user::{FieldChange, Origin, Profile, User, UserState};
use crate::user_sync::{ExistingUsers, LoginChanges, NewUsers};

impl Planner<'_> {
    pub(super) fn decide_new(
        &mut self,
        desired: Desired,
        context: &Context,
        new_id: &mut impl FnMut() -> Uuid,
        issues: &mut Vec<Issue>,
    ) -> Option<Change> {
        if self.settings.new_users == NewUsers::Ignore || !self.roles_known {
            self.counts.ignored += 1;
            return None;
        }
        if let Some(local) = self.linkable(&desired, context) {
            if local.owner {
                let message = "the entry has the login of the account owner";
                let issue = Issue::new(IssueKind::OwnerProtected, &desired.dn, message);
                issues.push(issue.about("login", &desired.profile.login));
                return None;
            }
            if self.settings.overwrite_local_users {
                return self.change(ChangeKind::Link, local, desired, context, issues);
            }
        }
        let user = UserId(new_id());
        let needs = match self.claims(user, &desired, context) {
            Ok(needs) => needs,
            Err(issue) => {
                issues.push(*issue);
                return None;
            }
        };
        let change = Change {
            kind: ChangeKind::Create,
            user,
            expected_revision: 0,
            origin: self.origin(&desired, false),
            state: desired.state(),
            state_reason: desired.state_reason,
            changes: Profile::default().changes_to(&desired.profile),
            profile: desired.profile,
        };
        self.emit(change, needs)
    }

    pub(super) fn decide_existing(
        &mut self,
        mut desired: Desired,
        user: &User,
        context: &Context,
        issues: &mut Vec<Issue>,
    ) -> Option<Change> {
        let origin = user.origin.as_ref()?;
        let owned = origin.user_sync == *self.user_sync;
        if !owned && !context.is_given_up(user) {
            let message = format!("the account is a user of the user sync {}", origin.user_sync);
            let mut issue = Issue::new(IssueKind::Overlap, &desired.dn, message);
            issue.other_user_sync = Some(origin.user_sync.clone());
            issues.push(issue);
            return None;
        }
        let relinked = origin.external_id != desired.external_id;
        let stands = relinked || user.state != desired.state() || user.state_reason != desired.state_reason;
        let ignored = match owned {
            true => self.settings.existing_users == ExistingUsers::Ignore && !stands,
            false => self.settings.new_users == NewUsers::Ignore,
        };
        if ignored {
            self.counts.ignored += 1;
            return None;
        }
        if owned && self.settings.existing_users == ExistingUsers::Ignore {
            // Who may log in, and by which entry, is no update of the fields.
            desired.profile = user.profile.clone();
        }
        if !self.roles_known {
            desired.profile.role = user.profile.role.clone();
        }
        let same_login = normalize(&desired.profile.login) == normalize(&user.profile.login);
        if !same_login && self.settings.login_changes == LoginChanges::Reject {
            let message = format!(
                "the login in the directory is not {} any more",
                user.profile.login
            );
            let issue = Issue::new(IssueKind::LoginChangeRejected, &desired.dn, message);
            issues.push(issue.about("login", &desired.profile.login));
            desired.profile.login = user.profile.login.clone();
        }
        let kind = match (owned, user.state, desired.state()) {
            (false, ..) => ChangeKind::Transfer,
            _ if relinked => ChangeKind::Relink,
            (true, UserState::Active, UserState::Deactivated) => ChangeKind::Deactivate,
            (true, UserState::Deactivated | UserState::Archived, UserState::Active) => ChangeKind::Reactivate,
            (true, ..) => ChangeKind::Update,
        };
        self.change(kind, user, desired, context, issues)
    }

    fn change(
        &mut self,
        kind: ChangeKind,
        user: &User,
        desired: Desired,
        context: &Context,
        issues: &mut Vec<Issue>,
    ) -> Option<Change> {
        let mut changes = user.profile.changes_to(&desired.profile);
        let linked = kind == ChangeKind::Link || user.origin.as_ref().is_some_and(|origin| origin.linked);
        let origin = self.origin(&desired, linked);
        if kind == ChangeKind::Relink {
            changes.extend(
                user.origin
                    .iter()
                    .flat_map(|before| identity_changes(before, &origin)),
            );
        }
        let unchanged = changes.is_empty()
            && kind == ChangeKind::Update
            && user.origin.as_ref() == Some(&origin)
            && user.state_reason == desired.state_reason;
        if unchanged {
            self.counts.unchanged += 1;
            return None;
        }
        let needs = match self.claims(user.id, &desired, context) {
            Ok(needs) => needs,
            Err(issue) => {
                issues.push(*issue);
                return None;
            }
        };
        if user.state != UserState::Archived {
            let kept = desired.identifiers();
            for key in identifiers(&user.profile) {
                if !kept.contains(&key) {
                    self.released.insert(key, user.id);
                }
            }
        }
        self.field_changes.each(&changes, |count| *count += 1);
        let change = Change {
            kind,
            user: user.id,
            expected_revision: user.revision,
            origin,
            state: desired.state(),
            state_reason: desired.state_reason,
            changes,
            profile: desired.profile,
        };
        self.emit(change, needs)
    }

    /// Takes the identifiers for `user`. `Ok` lists the ones that others must release first.
    fn claims(
        &mut self,
        user: UserId,
        desired: &Desired,
        context: &Context,
    ) -> Result<Vec<(String, UserId)>, Box<Issue>> {
        let keys = desired.identifiers();
        let mut needs = Vec::new();
        for (index, key) in keys.iter().enumerate() {
            let taken = |kind: IssueKind, message: &str| {
                let (field, value) = match (index, &desired.profile.email) {
                    (1, Some(email)) => ("email", email),
                    _ => ("login", &desired.profile.login),
                };
                Box::new(Issue::new(kind, &desired.dn, message).about(field, value))
            };
            let kind = if index == 0 {
                IssueKind::LoginTaken
            } else {
                IssueKind::EmailTaken
            };
            if self.claimed.contains(self.digests.of(key)) {
                return Err(taken(
                    IssueKind::DuplicateInDirectory,
                    "another entry has the same value",
                ));
            }
            match context.holder(key) {
                None => {}
                Some(Holder::User(holder)) if *holder == user => {}
                Some(Holder::User(holder)) if self.may_release(*holder, context) => {
                    needs.push((key.clone(), *holder));
                }
                Some(Holder::User(_)) => return Err(taken(kind, "another user of this tenant has it")),
                Some(Holder::Foreign) => return Err(taken(kind, "a user of another account has it")),
            }
        }
        for key in keys {
            self.claimed.insert(self.digests.of(&key));
        }
        Ok(needs)
    }

    /// True if this run may still bring a change that frees `holder`'s identifiers.
    fn may_release(&self, holder: UserId, context: &Context) -> bool {
        let origin = context.user(holder).and_then(|user| user.origin.as_ref());
        origin.is_some_and(|origin| origin.user_sync == *self.user_sync)
    }

    fn linkable<'c>(&self, desired: &Desired, context: &'c Context) -> Option<&'c User> {
        let login = normalize(&desired.profile.login);
        let Some(Holder::User(holder)) = context.holder(&login) else {
            return None;
        };
        let local = context.user(*holder).filter(|user| user.origin.is_none());
        local.filter(|user| normalize(&user.profile.login) == login)
    }

    fn origin(&self, desired: &Desired, linked: bool) -> Origin {
        Origin {
            user_sync: self.user_sync.clone(),
            directory: self.settings.directory.clone(),
            external_id: desired.external_id.clone(),
            dn: desired.dn.clone(),
            linked,
        }
    }

    fn emit(&mut self, change: Change, needs: Vec<(String, UserId)>) -> Option<Change> {
        if needs.is_empty() {
            self.count(&change);
            return Some(change);
        }
        self.waiting.push(Waiting { change, needs });
        None
    }
}

/// What tells an admin whether it is the same person.
fn identity_changes(before: &Origin, after: &Origin) -> [FieldChange; 2] {
    let change = |field: &str, old: &dyn ToString, new: &dyn ToString| FieldChange {
        field: field.to_owned(),
        old: Some(old.to_string()),
        new: Some(new.to_string()),
    };
    [
        change("external_id", &before.external_id, &after.external_id),
        change("dn", &before.dn, &after.dn),
    ]
}
