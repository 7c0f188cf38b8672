//! What all services, the scheduler and the one-shot jobs of a process share.

use std::net::IpAddr;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use ring::rand::{SecureRandom, SystemRandom};
use rollcall_core::error::{Error, Reason};
use rollcall_core::id::{TenantId, Uuid};
use rollcall_core::identifier::LoginPolicy;
use rollcall_proto::resource_name;
use rollcall_runtime::clock::Clock;
use rollcall_runtime::config::Shared;
use rollcall_runtime::exit::Failure;
use rollcall_service::configuration::{StoreSecrets, egress_policy, login_policy, open_store, store_options};
use rollcall_service::directories::Directories;
use rollcall_service::failure;
use rollcall_service::resource::about;
use rollcall_service::tokens::Tokens;
use rollcall_store::Store;
use tokio_util::sync::CancellationToken;

use crate::check_limit::CheckLimit;
use crate::config::WorkerSettings;
use crate::mail::{self, Smtp};
use crate::refusal_limit::RefusalLimit;
use crate::report::{OwnDomains, Reports};
use crate::run::{RunEngine, RunLimits};

/// The parts of a worker. Clones share them.
#[derive(Clone)]
pub struct Worker {
    pub(crate) store: Store,
    pub(crate) tokens: Tokens,
    pub(crate) directories: Directories,
    pub(crate) engine: RunEngine,
    pub(crate) clock: Clock,
    pub(crate) settings: Arc<WorkerSettings>,
    pub(crate) login_policy: LoginPolicy,
    /// The addresses that Rollcall's connections come from.
    pub(crate) egress_addresses: Arc<[IpAddr]>,
    pub(crate) check_limit: Arc<CheckLimit>,
    pub(crate) refusal_limit: Arc<RefusalLimit>,
    /// `None` while mail is switched off.
    pub(crate) smtp: Option<Smtp>,
    /// Cancelled when the process is to stop: endless streams end then.
    pub(crate) stop: CancellationToken,
}

impl Worker {
    /// Connects to the store, whose schema must be this release's, and puts the parts together.
    ///
    /// # Errors
    /// Settings that cannot be used, and a store that cannot be.
    pub async fn open(
        shared: Shared,
        settings: WorkerSettings,
        clock: Clock,
        stop: CancellationToken,
    ) -> Result<Self, Failure> {
        let Shared {
            store,
            keyring,
            egress,
            users,
            ..
        } = shared;
        let login_policy = login_policy(&users)?;
        let options = store_options(&store, &users);
        let secrets = StoreSecrets::read(store, keyring)?;
        let smtp = settings
            .mail
            .enabled
            .then(|| Smtp::open(&settings.mail))
            .transpose()?;
        let store = open_store(secrets, options, 0).await?;
        let tokens = Tokens::of(&store, clock.clone()).map_err(Failure::because)?;
        let directories = Directories::new(
            store.clone(),
            clock.clone(),
            egress_policy(&egress),
            failure::for_admin,
        );
        let limits = RunLimits {
            login_policy: login_policy.clone(),
            lease_ttl: settings.runs.lease_ttl,
            concurrent: settings.runs.concurrent,
            per_directory: settings.runs.per_directory,
            max_entries: settings.runs.max_entries,
            reports: smtp.as_ref().map(|_| settings.mail.limits()),
            manual_pause: settings.runs.manual_pause,
        };
        let engine = RunEngine::new(store.clone(), directories.clone(), clock.clone(), limits);
        Ok(Self {
            store,
            tokens,
            directories,
            engine,
            clock,
            check_limit: Arc::new(CheckLimit::new(settings.checks.per_minute)),
            refusal_limit: Arc::default(),
            settings: Arc::new(settings),
            login_policy,
            egress_addresses: egress.addresses.clone().into(),
            smtp,
            stop,
        })
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// What writes mails for the outbox.
    pub(crate) fn reports(&self) -> Reports {
        let limits = self.smtp.as_ref().map(|_| self.settings.mail.limits());
        Reports::new(self.store.clone(), limits)
    }

    /// Refuses addresses that would get no mail, if mails go to the tenant's own domains alone: otherwise people would
    /// notice only later. Addresses that were there before do not keep anybody from changing something else.
    pub(crate) async fn expect_own_addresses(
        &self,
        tenant: &TenantId,
        field: &str,
        before: &[String],
        addresses: &[String],
    ) -> Result<(), Error> {
        if !self.settings.mail.only_verified_domains {
            return Ok(());
        }
        let own = OwnDomains::of(&self.store, tenant).await;
        let own = own.map_err(about(&resource_name::tenant(tenant)))?;
        let strangers = own.strangers(field, before, addresses);
        match strangers.is_empty() {
            true => Ok(()),
            false => Err(strangers.into()),
        }
    }

    /// What sends the mails of the outbox; `None` while mail is switched off.
    pub(crate) fn mail_sender(&self) -> Option<mail::Sender> {
        let settings = &self.settings.mail;
        self.smtp.clone().map(|smtp| mail::Sender {
            store: self.store.clone(),
            smtp,
            clock: self.clock.clone(),
            poll_interval: settings.poll_interval,
            retry_interval: settings.retry_interval,
            max_attempts: settings.max_attempts,
        })
    }

    /// Random bits for the id of a new resource.
    pub(crate) fn random_id(&self) -> Result<Uuid, Error> {
        let mut bytes = [0; 16];
        SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| Error::new(Reason::Internal, "the operating system gives no random numbers"))?;
        Ok(Uuid::from_bytes(bytes))
    }
}
