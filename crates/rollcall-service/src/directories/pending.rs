//! A pending bind password: tried once where the directory refuses the present one, by whichever process meets that first.

use std::time::Duration;

use rollcall_core::audit::{Actor, AskedBy, AuditCaller, AuditKind, AuditedFieldChange, SecretChange};
use rollcall_core::directory::Directory;
use rollcall_ldap::NextPassword;
use rollcall_proto::resource_name;
use rollcall_runtime::clock::Clock;
use rollcall_store::{NewAuditEvent, Recorded, Store};

/// Within this time it is tried once, where the directory's soft lock says nothing else: as long as the shipped window.
const WINDOW: Duration = Duration::from_secs(15 * 60);

/// What the connections of a directory try when its present password is refused; `None` if there is none.
pub(super) fn next_password(store: &Store, directory: &Directory) -> Option<NextPassword> {
    directory.pending_bind_password_time?;
    let window = directory.settings.soft_lock.window.unwrap_or(WINDOW);
    let claiming = (store.clone(), directory.tenant.clone(), directory.id.clone());
    let accepting = claiming.clone();
    let claim = move || {
        let (store, tenant, id) = claiming.clone();
        let claimed = async move {
            match store.claim_pending_bind_password(&tenant, &id, window).await {
                Ok(password) => password,
                Err(error) => {
                    tracing::warn!(%error, "a pending bind password could not be read");
                    None
                }
            }
        };
        Box::pin(claimed) as _
    };
    let accept = move || {
        let (store, tenant, id) = accepting.clone();
        let accepted = async move {
            let resource = resource_name::directory(&tenant, &id);
            let time = Clock::System.now();
            let record = Recorded::new(time, AskedBy::default(), |_| NewAuditEvent {
                time,
                tenant: Some(tenant.clone()),
                // Nobody called: the directory refused the password before.
                caller: AuditCaller::from("rollcall"),
                actor: Actor::default(),
                kind: AuditKind::Change {
                    method: "DirectoryService.RotateBindPassword".into(),
                    resource: resource.clone(),
                    changes: vec![AuditedFieldChange::secret("bind_password", SecretChange::Replaced)],
                },
            });
            match store.accept_pending_bind_password(&tenant, &id, record).await {
                Ok(_) => tracing::info!(directory = %resource, "the pending bind password has taken the place of the one before"),
                // The directory has it; whoever opens it next tries again.
                Err(error) => tracing::error!(directory = %resource, %error, "an accepted bind password could not be stored"),
            }
        };
        Box::pin(accepted) as _
    };
    Some(NextPassword::new(claim, accept))
}
