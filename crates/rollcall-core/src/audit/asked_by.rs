//! Who asked for something.

use chrono::{DateTime, Utc};

use super::Actor;

/// A calling service, and for whom it says that it acts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AskedBy {
    /// Name of the calling service; empty where Rollcall acts by itself.
    pub caller: String,
    /// For whom the service says that it acts.
    pub actor: Actor,
}

/// What somebody decided, and when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    /// Who.
    pub by: AskedBy,
    /// When.
    pub time: DateTime<Utc>,
}

impl AskedBy {
    /// A service that names nobody behind its call.
    pub fn caller(name: &str) -> Self {
        Self {
            caller: name.to_owned(),
            actor: Actor::default(),
        }
    }
}
