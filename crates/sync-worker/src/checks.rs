//! Checks: CheckConnection here, the checks of user syncs in the files below. A report says what is wrong; an error
//! means that there was nothing to check.

mod endpoint;
mod explain;
mod overlaps;
mod user_sync;

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use rollcall_core::check::CheckReport;
use rollcall_core::directory::{Directory, DirectoryObservations, DirectorySettings, RefusalsAllowed};
use rollcall_core::error::{Error, Reason};
use rollcall_core::id::{DirectoryId, TenantId};
use rollcall_core::secret::Password;
use rollcall_core::user_sync::SearchScope;
use rollcall_core::violation::Violations;
use rollcall_ldap::{ConnectionCheck, DirectoryConfig, LdapDirectory, LdapError, ResultClass};
use rollcall_proto::convert::check::{self, CheckConnection, DirectoryTarget};
use rollcall_proto::convert::directory::DirectorySecrets;
use rollcall_proto::{resource_name, v1};
use rollcall_runtime::server::Deadline;
use rollcall_service::failure;
use rollcall_service::record::Author;
use rollcall_store::CheckSubject;

use crate::services::directories::password_required;
use crate::worker::Worker;
use rollcall_service::resource::about;

/// Most capabilities kept of what a server announces.
const MAX_CAPABILITIES: usize = 500;
/// A check ends this long before its caller stops waiting, so that the report arrives in time.
const AHEAD: Duration = Duration::from_millis(250);

/// When a check began, and how long it may still take.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    pub(crate) time: DateTime<Utc>,
    pub(crate) began: Instant,
    pub(crate) limit: Duration,
}

impl Span {
    /// The time left.
    pub(crate) fn left(&self) -> Duration {
        self.limit.saturating_sub(self.began.elapsed())
    }

    /// The report for the caller.
    pub(crate) fn report(&self, report: &CheckReport) -> v1::CheckReport {
        check::report(report, self.time, self.began.elapsed())
    }
}

impl Worker {
    /// Counts a check against the tenant's rate.
    pub(crate) fn admit_check(&self, tenant: &TenantId) -> Result<(), Error> {
        self.check_limit.admit(tenant, Instant::now())
    }

    /// The time that a check has, beginning now.
    pub(crate) fn span(&self, deadline: Option<Deadline>) -> Span {
        let longest = self.settings.checks.timeout;
        let limit = deadline.map_or(longest, |deadline| {
            longest.min(deadline.remaining().saturating_sub(AHEAD))
        });
        Span {
            time: self.now(),
            began: Instant::now(),
            limit,
        }
    }

    /// CheckConnection.
    pub(crate) async fn check_connection(
        &self,
        author: &Author,
        request: CheckConnection,
        deadline: Option<Deadline>,
    ) -> Result<v1::CheckConnectionResponse, Error> {
        let tenant = request.tenant;
        let (stored, config) = match request.target {
            DirectoryTarget::Stored(id) => {
                let directory = self.stored_directory(&tenant, &id).await?;
                let config = self.directories.stored_config(&directory).await?;
                (Some(directory), config)
            }
            DirectoryTarget::Draft {
                stored,
                settings,
                secrets,
            } => (
                None,
                self.draft_config(&tenant, stored.as_ref(), *settings, secrets)
                    .await?,
            ),
        };
        let observed = stored
            .as_ref()
            .map(|directory| directory.observed.clone())
            .unwrap_or_default();
        let allowed = RefusalsAllowed::at(&config.settings, &observed);
        self.refusal_limit
            .admit(&tenant, &config.settings, allowed, Instant::now())?;
        self.admit_check(&tenant)?;
        let span = self.span(deadline);
        let mut check = rollcall_ldap::check_connection(&config, span.time, span.limit).await;
        if let Some(accepted) = check.password_accepted() {
            self.refusal_limit
                .note(&tenant, &config.settings, accepted, Instant::now());
        }
        if let Some(directory) = stored {
            self.keep_check(&directory, &check, span.time).await?;
            if !directory.endpoint_confirmed {
                let stage = self.confirm_endpoint(author, &directory, &check, span).await?;
                check.report.stages.push(stage);
            }
        }
        Ok(v1::CheckConnectionResponse {
            report: Some(span.report(&check.report)),
        })
    }

    /// Asks the directory whether it accepts another password of the bind account.
    ///
    /// # Errors
    /// `BIND_PASSWORD_REJECTED`; `DIRECTORY_UNAVAILABLE` and the like if no host could be asked.
    pub(crate) async fn try_bind_password(
        &self,
        directory: &Directory,
        password: Password,
    ) -> Result<(), Error> {
        let name = resource_name::directory(&directory.tenant, &directory.id);
        let (tenant, settings) = (&directory.tenant, &directory.settings);
        self.refusal_limit
            .admit(tenant, settings, directory.refusals_allowed(), Instant::now())?;
        let note = |accepted| {
            self.refusal_limit
                .note(tenant, settings, accepted, Instant::now())
        };
        let client_key = self.store.client_key(&directory.tenant, &directory.id).await?;
        let dialect = directory.observed.dialect;
        let config = self
            .directories
            .config(directory.settings.clone(), password, client_key, dialect);
        let handle = LdapDirectory::new(config).map_err(|error| failure::for_admin(&error, &name))?;
        let deadline = tokio::time::Instant::now() + self.settings.checks.timeout;
        let none = ["1.1".to_owned()];
        let read = handle
            .find("", SearchScope::Base, "(objectClass=*)", &none, 1, deadline)
            .await;
        match read {
            // The bind was accepted. What the account may read does not matter here: a refused search needs a bind that
            // was accepted.
            Ok(_) | Err(LdapError::SearchRefused(_)) => {
                note(true);
                Ok(())
            }
            Err(LdapError::BindRefused(code)) if !code.is_infrastructure() => {
                if code.class() == ResultClass::Credentials {
                    note(false);
                }
                let message = "the directory did not accept the new bind password; the old one stays";
                Err(Error::new(Reason::BindPasswordRejected, message).with("resource", name))
            }
            Err(error) => Err(failure::for_admin(&error, &name)),
        }
    }

    pub(crate) async fn stored_directory(
        &self,
        tenant: &TenantId,
        id: &DirectoryId,
    ) -> Result<Directory, Error> {
        let found = self.store.directory(tenant, id).await;
        found.map_err(about(&resource_name::directory(tenant, id)))
    }

    /// Keeps what a check found out about a stored directory.
    pub(crate) async fn keep_check(
        &self,
        directory: &Directory,
        check: &ConnectionCheck,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let (tenant, id) = (&directory.tenant, &directory.id);
        if let Some(root) = check.root_dse() {
            let capabilities = root
                .controls
                .iter()
                .chain(&root.extensions)
                .take(MAX_CAPABILITIES);
            // A policy that cannot be read any more may still be in force, so the known one stays.
            let known = &directory.observed;
            let (lockout_threshold, lockout_window) = match check.lockout {
                Some(lockout) => (Some(lockout.threshold), lockout.window),
                None => (known.lockout_threshold, known.lockout_window),
            };
            let observed = DirectoryObservations {
                dialect: Some(root.dialect),
                vendor: root.vendor.clone(),
                capabilities: capabilities.cloned().collect(),
                lockout_threshold,
                lockout_window,
                hidden_state: known.hidden_state.clone(),
                bind_password_expire_time: check.bind_password_expire_time,
                certificate_end: check.certificate_end(),
                unreachable_since: known.unreachable_since,
                observe_time: Some(now),
            };
            self.store.save_observations(tenant, id, &observed).await?;
        }
        let subject = CheckSubject::Directory(id.clone());
        Ok(self
            .store
            .save_check(tenant, &subject, &check.report, now)
            .await?)
    }

    /// The configuration of a draft. It may use stored secrets only if they would go to the same place as before.
    async fn draft_config(
        &self,
        tenant: &TenantId,
        stored: Option<&DirectoryId>,
        settings: DirectorySettings,
        secrets: DirectorySecrets,
    ) -> Result<DirectoryConfig, Error> {
        let stored = match stored {
            Some(id) => Some(self.stored_directory(tenant, id).await?),
            None => None,
        };
        let lender = stored
            .as_ref()
            .filter(|stored| stored.settings.has_same_endpoint(&settings));
        let bind_password = match (secrets.bind_password, lender) {
            (Some(password), _) => Some(password),
            (None, Some(lender)) => self.store.bind_password(tenant, &lender.id).await?,
            (None, None) => None,
        };
        let Some(bind_password) = bind_password else {
            let resource = stored.map(|stored| resource_name::directory(tenant, &stored.id));
            return Err(password_required(&resource.unwrap_or_default()));
        };
        let same_certificate =
            |lender: &&Directory| lender.settings.client_certificate == settings.client_certificate;
        let client_key = match (secrets.client_private_key, lender.filter(same_certificate)) {
            (Some(key), _) => Some(key),
            (None, Some(lender)) => self.store.client_key(tenant, &lender.id).await?,
            (None, None) => None,
        };
        if settings.client_certificate.is_some() && client_key.is_none() {
            let mut found = Violations::new();
            found.add("draft.client_private_key", "is required with client_certificate");
            return Err(found.into());
        }
        let dialect = lender.and_then(|lender| lender.observed.dialect);
        Ok(self
            .directories
            .config(settings, bind_password, client_key, dialect))
    }
}
