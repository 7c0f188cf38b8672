//! Which audit events are asked for.

use chrono::{DateTime, Utc};

use crate::audit::{AuditEvent, AuditKind, LoginOutcome, Subject};
use crate::id::{TenantId, UserId};

/// Chooses audit events, and says in which order. What is `None` or empty does not matter; everything else must hold.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AuditFilter {
    /// Logins alone, or changes alone.
    pub class: Option<AuditClass>,
    /// Changes by this method.
    pub method: Option<String>,
    /// About this resource.
    pub about: Option<About>,
    /// About this person.
    pub user: Option<UserId>,
    /// For the actor of this name.
    pub actor: Option<String>,
    /// By this calling service.
    pub caller: Option<String>,
    /// Logins from this address.
    pub client_address: Option<String>,
    /// Logins that ended like one of these.
    pub outcomes: Vec<LoginOutcome>,
    /// Logins that ended for this reason, as [`super::LoginReason`] spells it.
    pub reason: Option<String>,
    /// At this time or later.
    pub from: Option<DateTime<Utc>>,
    /// Before this time.
    pub to: Option<DateTime<Utc>>,
    /// In which order.
    pub order: AuditOrder,
}

/// The order of a list.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum AuditOrder {
    /// The newest first.
    #[default]
    NewestFirst,
    /// The oldest first.
    OldestFirst,
}

/// The two kinds of audit events.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AuditClass {
    /// Attempts to log in.
    Login,
    /// Changes.
    Change,
}

/// A resource that is asked about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct About {
    /// Its name.
    pub resource: String,
    /// The tenant that it belongs to.
    pub tenant: TenantId,
    /// What it is or lies under.
    pub subject: Subject,
    /// Whether what lies below it is meant too.
    pub below: bool,
}

impl About {
    /// `None` if the name is no tenant's resource.
    pub fn new(resource: &str, below: bool) -> Option<Self> {
        Subject::of_resource(resource).map(|(tenant, subject)| Self {
            resource: resource.to_owned(),
            tenant,
            subject,
            below,
        })
    }

    /// Whether it lies deeper than a [`Subject`] can say. A run does, so only its full name finds it.
    pub fn is_deeper(&self) -> bool {
        self.resource.split('/').count() > 4
    }

    /// Whether it is the tenant with all that it has.
    pub fn is_all(&self) -> bool {
        self.below && self.resource.split('/').count() == 2
    }

    fn has(&self, event: &AuditEvent) -> bool {
        if event.tenant.as_ref() != Some(&self.tenant) {
            return false;
        }
        let exactly = match &event.kind {
            AuditKind::Change { resource, .. } => *resource == self.resource,
            // The user, user sync or directory of a login; it is about nothing deeper, and not about the tenant itself.
            AuditKind::Login { .. } => !self.is_deeper() && !self.subject.is_nothing(),
        };
        if self.is_all() {
            return true;
        }
        if self.is_deeper() || self.subject.is_nothing() {
            return exactly;
        }
        let found = event.kind.subject();
        let wanted = &self.subject;
        let same = (wanted.user.is_none() || wanted.user == found.user)
            && (wanted.user_sync.is_none() || wanted.user_sync == found.user_sync)
            && (wanted.directory.is_none() || wanted.directory == found.directory);
        same && (self.below || exactly)
    }
}

impl AuditFilter {
    /// Whether the filter chooses this event.
    pub fn matches(&self, event: &AuditEvent) -> bool {
        let of_kind = match &event.kind {
            AuditKind::Login {
                outcome,
                reason,
                client_address,
                ..
            } => {
                self.class.is_none_or(|class| class == AuditClass::Login)
                    && self.method.is_none()
                    && (self.outcomes.is_empty() || self.outcomes.contains(outcome))
                    && self
                        .reason
                        .as_ref()
                        .is_none_or(|wanted| wanted == reason.as_str())
                    && (self.client_address.is_none() || self.client_address == *client_address)
            }
            AuditKind::Change { method, .. } => {
                self.class.is_none_or(|class| class == AuditClass::Change)
                    && self.method.as_ref().is_none_or(|wanted| wanted == method)
                    && self.outcomes.is_empty()
                    && self.reason.is_none()
                    && self.client_address.is_none()
            }
        };
        of_kind
            && self.about.as_ref().is_none_or(|about| about.has(event))
            && (self.user.is_none() || self.user == event.kind.subject().user)
            && self.actor.as_ref().is_none_or(|name| *name == event.actor.name)
            && self.caller.as_ref().is_none_or(|name| *name == event.caller.name)
            && self.from.is_none_or(|from| event.time >= from)
            && self.to.is_none_or(|to| event.time < to)
    }
}
