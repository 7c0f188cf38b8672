//! What is done when a directory refuses its bind password: another replica may have stored a newer one, or a pending
//! one is tried, by one replica at a time.

use std::sync::Arc;
use std::time::Duration;

use rollcall_core::audit::{Actor, AskedBy, AuditCaller, AuditKind, AuditedFieldChange, SecretChange};
use rollcall_core::directory::{Directory, DirectorySettings};
use rollcall_core::id::{DirectoryId, TenantId};
use rollcall_core::secret::Password;
use rollcall_ldap::{AnotherPassword, Later, PasswordKeeper, TriedPassword};
use rollcall_metrics::{PendingPassword, metrics};
use rollcall_proto::{changes, resource_name, v1};
use rollcall_runtime::clock::Clock;
use rollcall_store::{BindPassword, Deed, NewAuditEvent, PendingOutcome, Recorded, Store, StoreError};
use tokio::time::{Instant, sleep};

/// How soon to ask again while another process tries a password.
const PAUSE: Duration = Duration::from_millis(100);
/// How long to ask at most, since a caller waits for the connection.
const PATIENCE: Duration = Duration::from_secs(5);
/// A password that the directory has accepted is stored even if the store does not answer for a while, at most for this
/// long.
const STORING: Duration = Duration::from_secs(10 * 60);

/// The keeper of one directory's passwords.
pub(super) struct Keeper(Arc<Kept>);

struct Kept {
    store: Store,
    clock: Clock,
    tenant: TenantId,
    directory: DirectoryId,
    /// The endpoint. Whatever the store says later, this keeper's passwords go to no other.
    endpoint: DirectorySettings,
    once_in: Duration,
}

impl Keeper {
    pub(super) fn of(store: &Store, clock: &Clock, directory: &Directory) -> Self {
        Self(Arc::new(Kept {
            store: store.clone(),
            clock: clock.clone(),
            tenant: directory.tenant.clone(),
            directory: directory.id.clone(),
            endpoint: directory.settings.clone(),
            once_in: directory.pending_tried_once_in(),
        }))
    }
}

impl PasswordKeeper for Keeper {
    fn another(&self, refused: Arc<Password>) -> Later<Option<AnotherPassword>> {
        let kept = Arc::clone(&self.0);
        Box::pin(async move { kept.another(&refused).await })
    }

    fn tried(&self, password: Arc<Password>, outcome: TriedPassword) -> Later<()> {
        let kept = Arc::clone(&self.0);
        Box::pin(async move { kept.tried(password, outcome).await })
    }
}

impl Kept {
    fn name(&self) -> String {
        resource_name::directory(&self.tenant, &self.directory)
    }

    async fn another(&self, refused: &Password) -> Option<AnotherPassword> {
        let end = Instant::now() + PATIENCE;
        loop {
            let claimed = self
                .store
                .claim_bind_password(
                    &self.tenant,
                    &self.directory,
                    &self.endpoint,
                    refused,
                    self.once_in,
                )
                .await;
            match claimed {
                Ok(BindPassword::Present(password)) => return Some(AnotherPassword::Present(password)),
                Ok(BindPassword::Pending(password)) => {
                    tracing::info!(
                        directory = self.name(),
                        "the directory refuses the bind password; the pending one is tried"
                    );
                    return Some(AnotherPassword::Pending(password));
                }
                Ok(BindPassword::UnderWay) if Instant::now() < end => sleep(PAUSE).await,
                Ok(BindPassword::UnderWay | BindPassword::Nothing) => return None,
                Err(error) => {
                    tracing::warn!(directory = self.name(), %error, "whether there is another bind password could not be read");
                    return None;
                }
            }
        }
    }

    async fn tried(self: Arc<Self>, password: Arc<Password>, outcome: TriedPassword) {
        metrics().pending_bind_passwords.count(match outcome {
            TriedPassword::Accepted => PendingPassword::Accepted,
            TriedPassword::Refused => PendingPassword::Refused,
            TriedPassword::Unsent | TriedPassword::Unknown => PendingPassword::Unanswered,
        });
        let directory = self.name();
        let settled = match outcome {
            TriedPassword::Accepted => {
                tracing::info!(
                    directory,
                    "the directory accepts the pending bind password: it takes the place of the other one"
                );
                let first = self.accept(&password).await;
                if let Err(error) = &first
                    && may_pass(error)
                {
                    tracing::warn!(directory, %error, "it could not be stored yet");
                    // Until it is stored, the directory refuses the other replicas.
                    tokio::spawn(Arc::clone(&self).accept_in_the_end(password));
                    return;
                }
                first
            }
            TriedPassword::Refused => {
                tracing::error!(directory, "the directory refuses the pending bind password too");
                self.settle(&password, PendingOutcome::Refused).await
            }
            TriedPassword::Unsent => self.settle(&password, PendingOutcome::Unsent).await,
            TriedPassword::Unknown => {
                tracing::warn!(
                    directory,
                    "whether the pending bind password is right is not known: no answer came"
                );
                return;
            }
        };
        if let Err(error) = settled {
            tracing::error!(directory, %error, "what became of the pending bind password could not be stored");
        }
    }

    async fn accept_in_the_end(self: Arc<Self>, password: Arc<Password>) {
        let end = Instant::now() + STORING;
        while Instant::now() < end {
            sleep(Duration::from_secs(1)).await;
            match self.accept(&password).await {
                Ok(()) => return,
                Err(error) if may_pass(&error) => {}
                Err(error) => {
                    tracing::error!(directory = self.name(), %error, "an accepted bind password could not be stored");
                    return;
                }
            }
        }
        tracing::error!(
            directory = self.name(),
            "an accepted bind password could not be stored"
        );
    }

    async fn accept(&self, password: &Password) -> Result<(), StoreError> {
        let (name, time) = (self.name(), self.clock.now());
        // There is no caller: the directory refused the former password.
        let record = Recorded::new(time, AskedBy::default(), |deed: Deed<'_, Directory>| {
            let mut told = vec![AuditedFieldChange::secret(
                "bind_password",
                SecretChange::Replaced,
            )];
            let (before, after) = (
                deed.before.map(v1::Directory::from),
                deed.after.map(v1::Directory::from),
            );
            told.extend(changes(before.as_ref(), after.as_ref()));
            NewAuditEvent {
                time,
                tenant: Some(self.tenant.clone()),
                caller: AuditCaller::default(),
                actor: Actor::default(),
                kind: AuditKind::Change {
                    method: "DirectoryService.RotateBindPassword".into(),
                    resource: name.clone(),
                    changes: told,
                },
            }
        });
        self.store
            .accept_pending_bind_password(&self.tenant, &self.directory, password, record)
            .await
            .map(|_| ())
    }

    async fn settle(&self, password: &Password, outcome: PendingOutcome) -> Result<(), StoreError> {
        self.store
            .settle_pending_bind_password(&self.tenant, &self.directory, password, outcome)
            .await
            .map(|_| ())
    }
}

/// Whether storing the same may work a moment later.
fn may_pass(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Unavailable(_) | StoreError::Contended | StoreError::Locked
    )
}
