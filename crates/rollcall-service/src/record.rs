//! The record of a change. It goes into the transaction of the change (`rollcall_store::Recorded`), so there is neither
//! without the other.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use rollcall_core::audit::{Actor, AskedBy, AuditKind, AuditedFieldChange};
use rollcall_core::error::{Error, Reason};
use rollcall_core::id::TenantId;
use rollcall_proto::{Resource, changes};
use rollcall_runtime::caller::Caller;
use rollcall_store::{NewAuditEvent, Recorded};

use crate::call::Call;

/// What the records of a call say about who makes the change.
#[derive(Clone, Debug)]
pub struct Author {
    caller: Arc<Caller>,
    actor: Actor,
    method: &'static str,
    time: DateTime<Utc>,
}

impl<T> Call<T> {
    /// The author of this call's changes, which are made at this time.
    ///
    /// # Errors
    /// `ACTOR_REQUIRED`.
    pub fn author(&self, time: DateTime<Utc>) -> Result<Author, Error> {
        Author::new(&self.caller, &self.actor, self.method, time)
    }
}

impl Author {
    /// As [`Call::author`].
    ///
    /// # Errors
    /// `ACTOR_REQUIRED`.
    pub fn new(
        caller: &Arc<Caller>,
        actor: &Actor,
        method: &'static str,
        time: DateTime<Utc>,
    ) -> Result<Self, Error> {
        if caller.must_name_actor() && actor.is_nobody() {
            let message = "say for whom this is done, in the metadata rollcall-actor";
            return Err(Error::new(Reason::ActorRequired, message));
        }
        Ok(Self {
            caller: Arc::clone(caller),
            actor: actor.clone(),
            method,
            time,
        })
    }

    /// Who calls.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Who calls, and for whom.
    pub fn asked_by(&self) -> AskedBy {
        AskedBy {
            caller: self.caller.name().to_owned(),
            actor: self.actor.clone(),
        }
    }

    /// When.
    pub fn time(&self) -> DateTime<Utc> {
        self.time
    }

    /// The record of a change to a resource: the fields that differ, as the contract shows them, after the parameters
    /// in `besides`.
    pub fn change<'a, T, W>(
        &'a self,
        tenant: &'a TenantId,
        resource: &'a str,
        besides: Vec<AuditedFieldChange>,
    ) -> Recorded<'a, T>
    where
        T: 'a,
        W: Resource + for<'t> From<&'t T>,
    {
        Recorded::new(self.time, self.asked_by(), move |deed| {
            let (before, after) = (deed.before.map(W::from), deed.after.map(W::from));
            let mut told = besides.clone();
            told.extend(changes(before.as_ref(), after.as_ref()));
            self.event(tenant, resource, told)
        })
    }

    /// The record of something that changes no field of a resource.
    pub fn event(
        &self,
        tenant: &TenantId,
        resource: &str,
        changes: Vec<AuditedFieldChange>,
    ) -> NewAuditEvent {
        NewAuditEvent {
            time: self.time,
            tenant: Some(tenant.clone()),
            caller: self.caller.audited(),
            actor: self.actor.clone(),
            kind: AuditKind::Change {
                method: self.method.into(),
                resource: resource.to_owned(),
                changes,
            },
        }
    }
}
