//! What a claim becomes, once it is known who gets what.

use super::Planner;
use super::claim::Claim;
use super::refused::{Names, refused};
use crate::claims::{Outcome, Refusal, Settled, Want};
use crate::issue::{Issue, IssueKind};
use crate::plan::{Change, ChangeKind};
use crate::revision::Revision;
use crate::user::{Origin, User, UserState};

impl Planner<'_> {
    /// The change that a claim becomes, if it still is one. State, role and profile apply whatever became of the
    /// identifiers; only somebody who is left without any login does not become a user.
    pub(super) fn change_of(
        &mut self,
        claim: Claim,
        outcome: &Outcome,
        names: Option<&Names<'_>>,
        issues: &mut Vec<Issue>,
    ) -> Option<Change> {
        let Claim {
            user,
            before,
            judged,
            met,
            counted,
        } = claim;
        let has_login = before
            .as_ref()
            .is_some_and(|user| user.origin.is_some() && user.state != UserState::Archived);
        issues.extend(judged.issues);
        let mut profile = judged.profile;
        let (mut state, state_reason) = (judged.state, judged.state_reason);
        if let Settled::Refused(refusal) = outcome.login {
            let value = &profile.login;
            issues.push(refused(&judged.dn, "login", value, &refusal, names));
            match before.as_ref().filter(|_| has_login) {
                Some(before) => profile.login.clone_from(&before.profile.login),
                None => {
                    self.counts.unchanged += u64::from(before.is_some_and(|user| user.origin.is_some()));
                    return None;
                }
            }
        }
        if !has_login
            && before.is_some()
            && judged.wants.login == Want::Nothing
            && state != UserState::Archived
        {
            self.counts.unchanged += 1;
            return None;
        }
        if let Settled::Refused(refusal) = outcome.email {
            let value = profile.email.clone().unwrap_or_default();
            issues.push(refused(&judged.dn, "email", &value, &refusal, names));
            profile.email = match (&before, self.alone) {
                (Some(user), true) => user.profile.email.clone(),
                _ => None,
            };
        }
        if let Some(rival) = outcome.gives_up_email {
            let value = profile.email.take().unwrap_or_default();
            // Without an entry nothing asks for the address any more, so nothing is refused.
            if met {
                let refusal = Refusal::Rival(rival);
                issues.push(refused(&judged.dn, "email", &value, &refusal, names));
            }
        }
        if outcome.gives_up_login {
            state = UserState::Archived;
            // An archived user shows the login and address that it had.
            if let Some(before) = &before {
                profile.login.clone_from(&before.profile.login);
                profile.email.clone_from(&before.profile.email);
            }
        }
        if let Some(rival) = outcome.ambiguous_with {
            let message = "the entry does not have this login any more, and another entry asks for it: nobody can log in with it";
            let issue = Issue::new(IssueKind::LoginAmbiguous, &judged.dn, message);
            let mut issue = issue.of_field("login").valued(&profile.login);
            let rival = names.and_then(|names| names.parties.get(rival));
            issue.other_user = rival.and_then(|rival| rival.user);
            issue.other_dn = rival.and_then(|rival| rival.dn.clone());
            issue.other_user_sync = rival.and_then(|rival| rival.user_sync.clone());
            issues.push(issue);
        }
        // A pull with gaps may have missed the entry that asks for the login.
        let perhaps_still = before.as_ref().is_some_and(|user| user.login_ambiguous)
            && !self.complete
            && outcome.ambiguous_with.is_none()
            && judged.wants.login == Want::Nothing
            && state != UserState::Archived;
        if perhaps_still && !self.alone {
            let message = "the entry does not have this login any more, and another entry asked for it when the directory \
                           was last read completely: nobody can log in with it";
            let issue = Issue::new(IssueKind::LoginAmbiguous, &judged.dn, message);
            issues.push(issue.of_field("login").valued(&profile.login));
        }
        let linked = before.as_ref().is_some_and(|user| {
            let was_linked = user.origin.as_ref().is_some_and(|origin| origin.linked);
            user.origin.is_none() || was_linked
        });
        let origin = Origin {
            user_sync: self.user_sync.clone(),
            directory: self.settings.directory.clone(),
            external_id: judged.external_id,
            dn: judged.dn,
            linked,
        };
        let kind = kind_of(before.as_ref(), &origin, state);
        // If several entries have the user's id, nobody knows which logins are offered: only the access may change.
        let unknown = self.disputed.contains(&origin.external_id) && state != UserState::Archived;
        let stays = unknown && before.as_ref().is_some_and(|user| user.login_ambiguous);
        let login_ambiguous = outcome.ambiguous_with.is_some() || perhaps_still || stays;
        let asked_by = match outcome.ambiguous_with {
            Some(rival) => names.and_then(|names| names.entry(rival)),
            None => before.as_ref().and_then(|user| user.login_asked_by.clone()),
        };
        // Runs of this sync meet its own entries, so only the entries of others are remembered.
        let asked_by = asked_by.filter(|entry| login_ambiguous && entry.user_sync != *self.user_sync);
        let change = Change {
            kind,
            user,
            expected_revision: before.as_ref().map_or(Revision::NONE, |user| user.revision),
            state_before: before.as_ref().map(|user| user.state),
            origin,
            profile,
            state,
            state_reason,
            login_ambiguous,
            login_asked_by: asked_by,
            changes: Vec::new(),
        }
        .compared(before.as_ref());
        if change.changes.is_empty() {
            self.counts.unchanged += u64::from(met && !counted);
            return None;
        }
        if counted {
            self.no_longer_stays();
        }
        self.count(&change);
        Some(change)
    }
}

impl Claim {
    /// What becomes of a claim that nobody opposes.
    pub(super) fn unopposed(&self) -> Outcome {
        let wants = &self.judged.wants;
        let granted = |want: &Want| match want {
            Want::Other(_) => Settled::Granted,
            Want::Held | Want::Nothing => Settled::Unasked,
        };
        Outcome {
            login: granted(&wants.login),
            email: granted(&wants.email),
            ..Outcome::default()
        }
    }

    /// What becomes of a claim that cannot be settled in this run.
    pub(super) fn opposed(&self) -> Outcome {
        let refused = |want: &Want| match want {
            Want::Other(_) => Settled::Refused(Refusal::Outside),
            Want::Held | Want::Nothing => Settled::Unasked,
        };
        Outcome {
            login: refused(&self.judged.wants.login),
            email: refused(&self.judged.wants.email),
            ..Outcome::default()
        }
    }
}

fn kind_of(before: Option<&User>, origin: &Origin, state: UserState) -> ChangeKind {
    let Some(user) = before else {
        return ChangeKind::Create;
    };
    match &user.origin {
        None => ChangeKind::Link,
        Some(own) if own.user_sync != origin.user_sync => ChangeKind::Transfer,
        Some(own) if own.external_id != origin.external_id => ChangeKind::Relink,
        Some(_) => match (user.state, state) {
            (UserState::Active | UserState::Archived, UserState::Deactivated) => ChangeKind::Deactivate,
            (UserState::Active | UserState::Deactivated, UserState::Archived) => ChangeKind::Archive,
            (UserState::Deactivated | UserState::Archived, UserState::Active) => ChangeKind::Reactivate,
            _ => ChangeKind::Update,
        },
    }
}
