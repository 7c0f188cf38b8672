//! What a login would answer to the right password, from the tables that logins use: whether a directory is asked at
//! all, what the account's state means, what a refresh would change, and whether the user is let in after that.

use chrono::{DateTime, TimeDelta, Utc};
use rollcall_core::audit::{LoginReason, OwnReason};
use rollcall_core::dialect::password_expire_time;
use rollcall_core::entry::Entry;
use rollcall_core::error::{Error, Reason};
use rollcall_core::identifier::normalize;
use rollcall_core::plan::Change;
use rollcall_core::user::{Origin, User};
use rollcall_core::verdict::{self, Verdict};
use rollcall_ldap::{LdapError, Misconfiguration, ReadRequest};
use rollcall_proto::convert::auth::denial_reason;
use rollcall_proto::v1::login_forecast::Answer;
use rollcall_proto::v1::{DenialReason, LoginForecast};
use rollcall_proto::{resource_name, v1};
use rollcall_service::eligibility::{Admission, Eligibility, admission, eligibility};
use rollcall_service::reading::reader;
use rollcall_service::{failure, scope};
use rollcall_store::{JudgedBy, Kind, LoginSync, LoginTarget, StoreError};
use tokio::time::Instant;

use crate::run::Foreseen;
use crate::worker::Worker;

/// How long gateways trust the DN of the last run, if their configuration says nothing else. The worker does not know what it
/// says, which the contract tells.
const DN_TRUST: TimeDelta = TimeDelta::hours(24);

impl Worker {
    /// What a login of this user would answer, or a login that is nobody's. `typed` is the typed login; without it, the
    /// user's login is taken.
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn foresee_login(
        &self,
        user: Option<&User>,
        typed: Option<&str>,
        now: DateTime<Utc>,
        deadline: Instant,
    ) -> Result<v1::LoginForecast, Error> {
        let Some(user) = user else {
            return Ok(denied(
                OwnReason::UnknownLogin.into(),
                DenialReason::InvalidCredentials,
            ));
        };
        let typed = normalize(typed.unwrap_or(&user.profile.login));
        let (mut target, judged_by) = self.login_target(user).await?;
        let (origin, judged_by) = match (eligibility(&target, &typed), judged_by) {
            (Eligibility::Local, _) => {
                return Ok(denied(OwnReason::LocalUser.into(), DenialReason::LocalUser));
            }
            (Eligibility::Refused(reason), _) => {
                return Ok(denied(reason.into(), DenialReason::InvalidCredentials));
            }
            (Eligibility::Unable(obstacle), _) => return Ok(failed(&obstacle.into())),
            (Eligibility::Ask { origin, .. }, Some(judged_by)) => (origin, judged_by),
            (Eligibility::Ask { .. }, None) => {
                return Ok(denied(
                    OwnReason::UserSyncDeleted.into(),
                    DenialReason::InvalidCredentials,
                ));
            }
        };
        match self
            .ask_directory(user, &origin, &judged_by, now, deadline)
            .await?
        {
            Ok(Verdict::Authenticated { .. }) => {}
            Ok(Verdict::Denied { public, internal, .. }) => {
                return Ok(denied(internal.into(), denial_reason(public)));
            }
            Ok(Verdict::DirectoryError(_)) => {
                let error = Error::new(Reason::BindOutcomeUnknown, "the directory gives no verdict");
                return Ok(failed(&error));
            }
            Err(Refused::Denied(reason)) => {
                return Ok(denied(reason.into(), DenialReason::InvalidCredentials));
            }
            Err(Refused::Failed(error)) => return Ok(failed(&error)),
        }
        match self.engine.foresee_refresh(user).await {
            Ok(Foreseen::Write(change, _)) => target.user = applied(target.user, &change),
            Ok(Foreseen::Unchanged | Foreseen::Rejected(_)) => {}
            Err(error) => return Ok(failed(&error)),
        }
        Ok(match admission(&target, &typed) {
            Admission::Admitted => LoginForecast {
                answer: Some(Answer::Authenticated(true)),
                audit_reason: LoginReason::from(OwnReason::Authenticated).as_str().to_owned(),
                message: "The right password lets the user in.".to_owned(),
            },
            Admission::Denied(reason) => denied(reason.into(), DenialReason::InvalidCredentials),
            Admission::Local => denied(OwnReason::LocalUser.into(), DenialReason::LocalUser),
            Admission::Unable(obstacle) => failed(&obstacle.into()),
        })
    }

    /// What decides a user's login, as the gateway reads it.
    async fn login_target(&self, user: &User) -> Result<(LoginTarget, Option<JudgedBy>), Error> {
        let tenant = self.store.tenant(&user.tenant).await?;
        let judged_by = match &user.origin {
            None => None,
            Some(origin) => match self.store.judged_by(&user.tenant, &origin.user_sync).await {
                Ok(judged_by) => Some(judged_by),
                Err(StoreError::NotFound(Kind::UserSync)) => None,
                Err(error) => return Err(error.into()),
            },
        };
        let sync = match &judged_by {
            None => None,
            Some(judged_by) => {
                let sync = &judged_by.user_sync;
                let directory = self
                    .store
                    .directory(&user.tenant, &sync.settings.directory)
                    .await?;
                Some(LoginSync {
                    user_sync: sync.id.clone(),
                    user_sync_revision: sync.revision,
                    in_force_revision: None,
                    user_sync_disabled: sync.settings.disabled,
                    directory: directory.id,
                    directory_revision: directory.revision,
                    directory_disabled: directory.settings.disabled,
                    endpoint_confirmed: directory.endpoint_confirmed,
                    observe_time: directory.observed.observe_time,
                    last_complete_pull_time: sync.last_complete_pull_time,
                })
            }
        };
        let target = LoginTarget {
            user: user.clone(),
            tenant_enabled: tenant.settings.user_sync_enabled,
            tenant_revision: tenant.revision,
            sync,
            last_login_time: None,
        };
        Ok((target, judged_by))
    }

    /// What the directory would say to the right password.
    async fn ask_directory(
        &self,
        user: &User,
        origin: &Origin,
        judged_by: &JudgedBy,
        now: DateTime<Utc>,
        deadline: Instant,
    ) -> Result<Result<Verdict, Refused>, Error> {
        let tenant = &user.tenant;
        let directory = self
            .store
            .directory(tenant, &judged_by.user_sync.settings.directory)
            .await?;
        let name = resource_name::directory(tenant, &directory.id);
        let unread = |error: &LdapError| Err(Refused::Failed(failure::for_login(error, &name)));
        let opened = match self.directories.open(&directory).await {
            Ok(opened) => opened,
            Err(error) => return Ok(Err(Refused::Failed(error))),
        };
        let dialect = match opened.dialect(deadline).await {
            Ok(dialect) => dialect,
            Err(error) => return Ok(unread(&error)),
        };
        let (in_force, edited) = (&judged_by.in_force, &judged_by.user_sync.settings.searches);
        let reader = reader(
            dialect,
            &directory,
            Some(&origin.user_sync),
            in_force,
            &self.login_policy,
        );
        let mut attributes = reader.attributes();
        attributes.extend(dialect.row().login_expiry.map(str::to_owned));
        let mut bases: Vec<String> = in_force
            .searches
            .iter()
            .map(|search| search.base_dn.clone())
            .collect();
        bases.dedup();
        let found = opened
            .ldap
            .find_by_external_id(&origin.external_id, &bases, &attributes, deadline)
            .await;
        let entry: Entry = match found {
            Ok(Some(entry)) => entry,
            Ok(None) => return Ok(Err(Refused::Denied(OwnReason::EntryNotFound))),
            // A login looks at the last known DN first, and searches by id only if the person is not there.
            Err(LdapError::Misconfigured(Misconfiguration::SharedId)) => {
                let request = ReadRequest {
                    dn: origin.dn.clone(),
                    filter: "(objectClass=*)".to_owned(),
                    attributes,
                };
                let pulled = judged_by.user_sync.last_complete_pull_time;
                let pulled = pulled.filter(|_| in_force.runs_confirm_dns());
                let is_recent = pulled.is_some_and(|pulled| now - pulled < DN_TRUST);
                let is_its = |entry: &Entry| {
                    reader.not_a_person(entry).is_none()
                        && reader.external_id(entry).as_ref() == Ok(&origin.external_id)
                };
                match opened.ldap.read_entry(&request, deadline).await {
                    Ok(Some(entry)) if is_recent && is_its(&entry) => entry,
                    Ok(_) => return Ok(Err(Refused::Denied(OwnReason::ExternalIdShared))),
                    Err(error) => return Ok(unread(&error)),
                }
            }
            Err(error) => return Ok(unread(&error)),
        };
        for searches in [&in_force.searches, edited] {
            match scope::in_scope(&opened.ldap, searches, &entry.dn, deadline).await {
                Ok(true) => {}
                Ok(false) => return Ok(Err(Refused::Denied(OwnReason::EntryOutOfScope))),
                Err(error) => return Ok(unread(&error)),
            }
        }
        let expires_in = dialect
            .row()
            .login_expiry
            .and_then(|_| password_expire_time(&entry, None))
            .map(|time| time - now);
        let account = dialect.account_state(&entry, now);
        Ok(Ok(verdict::foretell(dialect, account, expires_in)))
    }
}

/// Why no password is tried.
enum Refused {
    Denied(OwnReason),
    Failed(Error),
}

/// The user as a change leaves it.
pub(super) fn applied(user: User, change: &Change) -> User {
    User {
        origin: Some(change.origin.clone()),
        profile: change.profile.clone(),
        state: change.state,
        state_reason: change.state_reason,
        login_ambiguous: change.login_ambiguous,
        login_asked_by: change.login_asked_by.clone(),
        ..user
    }
}

fn denied(audit: LoginReason, told: DenialReason) -> LoginForecast {
    let why = audit.as_str().to_lowercase().replace('_', " ");
    let message = match told == DenialReason::LocalUser {
        true => "The user is LOCAL: the product's own password store decides.".to_owned(),
        false => format!("Even the right password is denied with {}: {why}.", short(told)),
    };
    LoginForecast {
        answer: Some(Answer::DenialReason(told.into())),
        audit_reason: audit.as_str().to_owned(),
        message,
    }
}

fn failed(error: &Error) -> LoginForecast {
    LoginForecast {
        answer: Some(Answer::ErrorReason(error.reason.as_str().to_owned())),
        audit_reason: error.reason.as_str().to_owned(),
        message: format!(
            "The call would fail with {}: {}.",
            error.reason.as_str(),
            error.message
        ),
    }
}

fn short(reason: DenialReason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix("DENIAL_REASON_").unwrap_or(name)
}
