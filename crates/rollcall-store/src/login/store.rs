//! The handle through which the gateway uses this folder. Its methods are in the order of a login's steps.

use std::sync::Arc;
use std::time::Duration;

use rollcall_core::id::TenantId;
use rollcall_core::identifier::normalize;
use rollcall_core::soft_lock::SoftLockSubject;

use crate::audit::NewAuditEvent;
use crate::error::Result;
use crate::login::cache::{LoginCache, LoginConfig};
use crate::login::finish::{FinishLogin, FinishOutcome};
use crate::login::group_commit::LoginWriter;
use crate::login::job::Job;
use crate::login::reader::{LoginReader, Wanted};
use crate::login::refusals::Refusal;
use crate::login::request_ids;
use crate::login::soft_lock::{Reservation, Reserved};
use crate::login::target::{LoginSync, LoginTarget};
use crate::login::tenant_queues::MAX_TENANT_QUEUES;
use crate::store::Store;

/// What logins read and commit. Cheap to clone; all clones share a cache and a few tasks, each with a connection of its own.
/// Only the gateway opens one.
#[derive(Clone)]
pub struct LoginStore {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    reader: LoginReader,
    writer: LoginWriter,
    cache: LoginCache,
}

impl LoginStore {
    /// Most connections to PostgreSQL that it opens beside those of the pool: one reads, one commits logins, one commits
    /// refusals, and each queue of a tenant has one.
    pub const MOST_CONNECTIONS: u32 = 3 + MAX_TENANT_QUEUES;

    /// Starts the tasks that read and commit. Must be called within a Tokio runtime.
    pub fn open(store: &Store) -> Self {
        let database = &store.inner.database;
        Self {
            inner: Arc::new(Inner {
                reader: LoginReader::start(database.clone()),
                writer: LoginWriter::start(database.clone()),
                cache: LoginCache::default(),
                store: store.clone(),
            }),
        }
    }

    /// Takes a request id for this time, so that the caller may carry the request out. False if another caller has it.
    /// `request` is a keyed hash.
    pub async fn claim_request(&self, request: &str, time: Duration) -> Result<bool> {
        request_ids::claim(&self.inner.store.inner.database, request, time).await
    }

    /// Gives back the request id of a request that had no effect, so that the request may be repeated.
    pub async fn release_request(&self, request: &str) -> Result<()> {
        request_ids::release(&self.inner.store.inner.database, request).await
    }

    /// The user that has this login or e-mail address, in any spelling, with the switches and revisions of everything
    /// that decides its login. `None` if nobody has it.
    pub async fn target(&self, tenant: &TenantId, identifier: &str) -> Result<Option<LoginTarget>> {
        let wanted = Wanted {
            scope: self.inner.store.scope(tenant).to_owned(),
            tenant: tenant.clone(),
            identifier: normalize(identifier),
        };
        self.inner.reader.target(wanted).await
    }

    /// The user sync and directory of a login's target, from memory while their revisions are the same. If they changed
    /// after the target was read, the newer ones are returned.
    ///
    /// # Errors
    /// `NotFound` if one of them was deleted meanwhile.
    pub async fn config(&self, tenant: &TenantId, sync: &LoginSync) -> Result<LoginConfig> {
        self.inner.cache.config(&self.inner.store, tenant, sync).await
    }

    /// Takes a slot for each subject, or none at all. Committed when it returns. Counts by the database's clock, so that
    /// all replicas agree how long ago a failure was.
    ///
    /// # Errors
    /// `Unavailable`, `Contended`, `Locked`: nothing was written.
    pub async fn reserve(&self, tenant: &TenantId, reservations: &[Reservation]) -> Result<Reserved> {
        let (tenant, reservations) = (tenant.clone(), reservations.to_vec());
        let job = |answer| Job::Reserve {
            tenant,
            reservations,
            answer,
        };
        self.inner.writer.submit(job).await
    }

    /// Ends a login attempt in one transaction: reads again what the verdict relies on, writes the audit row and settles
    /// the slots. What was committed before that read decides; what is committed later comes after the login. Committed
    /// when it returns; if it fails, the caller must not answer.
    ///
    /// # Errors
    /// `Unavailable`, `Contended`, `Locked`. Nothing was written, or, if the connection broke during the commit, perhaps
    /// everything was.
    pub async fn finish(&self, finish: FinishLogin) -> Result<FinishOutcome> {
        let finish = Box::new(finish);
        self.inner
            .writer
            .submit(|answer| Job::Finish { finish, answer })
            .await
    }

    /// Audits an attempt of this subject that was refused without a bind. Committed when it returns; if it fails, the
    /// caller must not answer.
    pub async fn record_refusal(
        &self,
        tenant: &TenantId,
        subject: &SoftLockSubject,
        event: NewAuditEvent,
    ) -> Result<()> {
        self.refuse(Refusal::new(tenant, subject, event)).await
    }

    /// Audits an attempt that was refused before its tenant was known. The attempts of one caller with one reason are
    /// counted together, by a few groups of client addresses; an event shows the last address of its group. Committed
    /// when it returns; if it fails, the caller must not answer.
    pub async fn record_refusal_of_nobody(&self, event: NewAuditEvent) -> Result<()> {
        self.refuse(Refusal::of_nobody(event)).await
    }

    async fn refuse(&self, refusal: Refusal) -> Result<()> {
        let refusal = Box::new(refusal);
        self.inner
            .writer
            .submit_refusal(|answer| Job::Refuse { refusal, answer })
            .await
    }

    /// Commits the logins under way and ends the tasks. Later calls fail as unavailable. Call it before
    /// [`Store::close`].
    pub async fn close(&self) {
        self.inner.writer.end().await;
        self.inner.reader.end().await;
    }
}
