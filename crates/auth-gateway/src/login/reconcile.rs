//! What the entry shows is dealt with before the answer. What changed in the store meanwhile is judged anew, without
//! another bind.

use std::sync::Arc;

use rollcall_core::audit::{LoginReason, OwnReason};
use rollcall_core::error::{Error, ErrorKind};
use rollcall_core::id::UserSyncKey;
use rollcall_store::{LoginTarget, StoreError};
use tokio::time::Instant;

use super::ask::read_again;
use super::change::{Change, change};
use super::context::Context;
use super::outcome::{Denial, changed_too_fast, not_recorded};
use super::person::Stop;
use super::refresh::{Renewal, unavailable};
use super::seen::{Seen, Source};
use rollcall_service::eligibility::{self, Admission, Eligibility, eligibility};

/// Why a user with the right password is not let in: for the audit log, and for the caller.
pub(super) type Refusal = (LoginReason, Stop);

/// Brings the user up to date with the entry, as far as the answer depends on it, and says whether they may log in.
pub(super) async fn reconcile(
    c: &Context,
    seen: &Seen,
    target: &mut LoginTarget,
    typed: &str,
    deadline: Instant,
) -> Result<(), Refusal> {
    bring_up_to_date(c, seen, target, deadline).await?;
    admission(target, typed)
}

async fn bring_up_to_date(
    c: &Context,
    seen: &Seen,
    target: &mut LoginTarget,
    deadline: Instant,
) -> Result<(), Refusal> {
    let user = &target.user;
    let Some(sync) = &target.sync else {
        return Ok(());
    };
    let sync = UserSyncKey {
        tenant: user.tenant.clone(),
        user_sync: sync.user_sync.clone(),
    };
    let config = &seen.source.config;
    let role = match &seen.role {
        Some((role, dn)) if *dn == seen.entry.dn => role.clone(),
        _ => seen.source.role(&seen.entry.dn, deadline).await,
    };
    let Some(origin) = &user.origin else {
        return Ok(());
    };
    let prepared = c.prepared.get(config, seen.source.dialect);
    let id = origin.external_id.clone();
    let reading = prepared.reader.read(id, &seen.entry, c.now());
    let needed = |user| change(&config.in_force, &reading, user, &role);
    let renewal = c
        .refreshes
        .renew(needed(user), &sync, user, &seen.entry, deadline)
        .await
        .map_err(failed)?;
    if renewal == Renewal::NotNeeded {
        return Ok(());
    }
    let user = match c.store.user(&user.tenant, user.id).await {
        Ok(user) => user,
        Err(StoreError::NotFound(_)) => return Err(denied(OwnReason::ChangedMeanwhile)),
        Err(error) => return Err(failed(error.into())),
    };
    if renewal == Renewal::Rejected && needed(&user) == Change::Role {
        return Err(failed(unavailable()));
    }
    target.user = user;
    Ok(())
}

/// Whether a user with the right password may log in, as the store has the user now.
fn admission(target: &LoginTarget, typed: &str) -> Result<(), Refusal> {
    match eligibility::admission(target, typed) {
        Admission::Admitted => Ok(()),
        Admission::Denied(reason) => Err(denied(reason)),
        Admission::Local => Err((OwnReason::LocalUser.into(), Stop::Denied(Denial::LocalUser))),
        Admission::Unable(obstacle) => Err(failed(obstacle.into())),
    }
}

/// Judges again by what is stored now, since something changed that decides the login. The password is still right: the
/// directory that owns the user has checked it.
pub(super) async fn judge_again(
    c: &Context,
    seen: &mut Seen,
    target: &mut LoginTarget,
    now: Option<Box<LoginTarget>>,
    typed: &str,
    deadline: Instant,
) -> Result<(), Refusal> {
    let Some(now) = now else {
        return Err(denied(OwnReason::ChangedMeanwhile));
    };
    let was = std::mem::replace(target, *now);
    let Eligibility::Ask { origin, sync } = eligibility(target, typed) else {
        return admission(target, typed);
    };
    let is_same_person =
        was.user.origin.as_ref().is_some_and(|was| {
            (&was.directory, &was.external_id) == (&origin.directory, &origin.external_id)
        });
    if !is_same_person {
        return Err(failed(changed_too_fast()));
    }
    if was.sync.as_ref().is_some_and(|was| *was == sync) {
        return Ok(());
    }
    let source = Source::open(c, &target.user.tenant, &sync, deadline)
        .await
        .map_err(failed)?;
    let endpoint = |source: &Source| Arc::clone(&source.config.directory);
    let (before, after) = (endpoint(&seen.source), endpoint(&source));
    // The password was proven to another endpoint, which says nothing about this one.
    if !before.settings.has_same_endpoint(&after.settings) {
        return Err(failed(changed_too_fast()));
    }
    let prepared = c.prepared.get(&source.config, source.dialect);
    let question = source.question(&origin, &prepared.attributes, None, c.now(), deadline);
    let entry = match read_again(&question, &seen.entry.dn).await {
        Ok(Some(entry)) => Arc::new(entry),
        Ok(None) => return Err(denied(OwnReason::EntryOutOfScope)),
        Err(error) => return Err(failed(changed_too_fast().caused_by(error))),
    };
    *seen = Seen {
        source: source.clone(),
        entry,
        role: None,
    };
    Ok(())
}

fn denied(reason: OwnReason) -> Refusal {
    (reason.into(), Stop::Denied(Denial::INVALID_CREDENTIALS))
}

/// An error after the bind must not invite the caller to send it again.
pub(super) fn failed(error: Error) -> Refusal {
    let invites = matches!(
        error.kind(),
        ErrorKind::Unavailable | ErrorKind::DeadlineExceeded | ErrorKind::ResourceExhausted
    );
    let error = match invites {
        true => not_recorded().caused_by(error),
        false => error,
    };
    (error.reason.into(), Stop::Failed(error))
}
