//! What a change did to one field.

/// One field of a resource, or one parameter of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditedFieldChange {
    /// The field's path as the contract names it, for instance `removal_limit.max_count`.
    pub path: String,
    /// What became of it.
    pub value: ValueChange,
}

/// What became of a field.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ValueChange {
    /// It was this and is that. `None` is a field that is not set.
    Shown {
        /// Before.
        before: Option<String>,
        /// After.
        after: Option<String>,
    },
    /// It is a secret: only what was done is told.
    Secret(SecretChange),
}

/// What was done with a secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SecretChange {
    /// There was none.
    Set,
    /// There was another one, or the same.
    Replaced,
    /// There is none any more.
    Removed,
}

impl SecretChange {
    /// From whether there was a secret to whether there is one; `None` if there is none before and after.
    pub fn between(before: bool, after: bool) -> Option<Self> {
        match (before, after) {
            (false, true) => Some(Self::Set),
            (true, true) => Some(Self::Replaced),
            (true, false) => Some(Self::Removed),
            (false, false) => None,
        }
    }
}

impl AuditedFieldChange {
    /// A parameter of the request, which is no field of the resource.
    pub fn asked(path: &str, value: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            value: ValueChange::Shown {
                before: None,
                after: Some(value.into()),
            },
        }
    }

    /// A secret.
    pub fn secret(path: &str, change: SecretChange) -> Self {
        Self {
            path: path.to_owned(),
            value: ValueChange::Secret(change),
        }
    }
}
