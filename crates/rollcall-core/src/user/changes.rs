//! What is different about a user: the one place that says so, for events and for plans.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{Block, Origin, Profile, StateReason, User, UserState};
use crate::field::TextField;
use crate::id::TenantId;

/// A difference in one field. `None` stands for "not set".
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FieldChange {
    /// The field of the contract's `User`, `custom.` in front of a custom one.
    pub field: String,
    /// The value before, as the contract writes it.
    pub old: Option<String>,
    /// The value after.
    pub new: Option<String>,
}

/// All of a user that can change, but for its revision and times.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Changeable<'a> {
    /// Where it comes from; `None` for a LOCAL user.
    pub origin: Option<&'a Origin>,
    /// The fields.
    pub profile: &'a Profile,
    /// Whether it exists for the product.
    pub state: UserState,
    /// Why it is in that state.
    pub state_reason: Option<StateReason>,
    /// The tenant's owner.
    pub owner: bool,
    /// Set while an admin blocks the user.
    pub block: Option<&'a Block>,
    /// Nobody can log in with the login for now.
    pub login_ambiguous: bool,
}

type Field<'a> = (Cow<'a, str>, Option<Cow<'a, str>>);

impl User {
    /// All of the user that can change.
    pub fn changeable(&self) -> Changeable<'_> {
        // Without `..`, so that a new field cannot be forgotten.
        let User {
            tenant: _,
            id: _,
            origin,
            profile,
            state,
            state_reason,
            owner,
            block,
            login_ambiguous,
            // Only says why the flag above is set, which the product need not know.
            login_asked_by: _,
            revision: _,
            create_time: _,
            update_time: _,
        } = self;
        Changeable {
            origin: origin.as_ref(),
            profile,
            state: *state,
            state_reason: *state_reason,
            owner: *owner,
            block: block.as_ref(),
            login_ambiguous: *login_ambiguous,
        }
    }
}

/// What is different about a user, in the contract's order. Of a new user only its fields that are filled, and its state if
/// it is not active: where it comes from would be the larger part of an import's events, and is in the user beside them.
pub fn changes(before: Option<&User>, after: Changeable<'_>) -> Vec<FieldChange> {
    let empty = Profile::default();
    let nobody = Changeable {
        origin: after.origin,
        profile: &empty,
        state: UserState::Active,
        state_reason: None,
        owner: false,
        block: None,
        login_ambiguous: false,
    };
    let tenant = before.map(|user| &user.tenant);
    let mut old: BTreeMap<_, _> = fields(tenant, before.map_or(nobody, User::changeable))
        .into_iter()
        .collect();
    let change = |field: Cow<'_, str>, old: Option<Cow<'_, str>>, new: Option<Cow<'_, str>>| FieldChange {
        field: field.into_owned(),
        old: old.filter(|_| before.is_some()).map(Cow::into_owned),
        new: new.map(Cow::into_owned),
    };
    let mut changes = Vec::new();
    for (field, value) in fields(tenant, after) {
        let was = old.remove(&field).flatten();
        if was != value {
            changes.push(change(field, was, value));
        }
    }
    let gone = old.into_iter().filter(|(_, value)| value.is_some());
    changes.extend(gone.map(|(field, value)| change(field, value, None)));
    changes
}

fn fields<'a>(tenant: Option<&TenantId>, changeable: Changeable<'a>) -> Vec<Field<'a>> {
    let Changeable {
        origin,
        profile,
        state,
        state_reason,
        owner,
        block,
        login_ambiguous,
    } = changeable;
    let mut fields = origin_fields(tenant, origin);
    fields.extend(profile.fields());
    fields.extend([
        plain("state", Some(state.contract_name())),
        plain("state_reason", state_reason.map(StateReason::contract_name)),
        plain("owner", Some(yes_or_no(owner))),
        plain("block", block.map(|block| block.reason.as_str())),
        plain("login_ambiguous", Some(yes_or_no(login_ambiguous))),
    ]);
    fields
}

fn origin_fields<'a>(tenant: Option<&TenantId>, origin: Option<&'a Origin>) -> Vec<Field<'a>> {
    let source = match origin {
        Some(_) => "USER_SOURCE_SYNCED",
        None => "USER_SOURCE_LOCAL",
    };
    let mut fields = vec![plain("source", Some(source))];
    let Some(origin) = origin else {
        fields.push(plain("linked", Some(yes_or_no(false))));
        return fields;
    };
    let Origin {
        user_sync,
        directory,
        external_id,
        dn,
        linked,
    } = origin;
    let tenant = tenant.map_or("-", TenantId::as_str);
    let made = |name: &'static str, value: String| (Cow::Borrowed(name), Some(Cow::Owned(value)));
    fields.extend([
        made("user_sync", format!("tenants/{tenant}/userSyncs/{user_sync}")),
        made("directory", format!("tenants/{tenant}/directories/{directory}")),
        made("external_id", external_id.to_string()),
        made("external_id_attribute", external_id.kind().attribute().to_owned()),
        plain("dn", Some(dn)),
        plain("linked", Some(yes_or_no(*linked))),
    ]);
    fields
}

impl Profile {
    /// Every field by name, in the contract's order.
    pub fn fields(&self) -> Vec<Field<'_>> {
        let Profile {
            login,
            email,
            texts: _,
            role,
            restrictions,
            custom,
        } = self;
        let text = |value| Some(value).filter(|value: &&str| !value.is_empty());
        let mut fields = vec![plain("login", text(login)), plain("email", email.as_deref())];
        let texts = TextField::ALL.iter();
        fields.extend(texts.map(|field| plain(field.name(), self.text(*field))));
        fields.extend([
            plain("role", text(role)),
            (Cow::Borrowed("restrictions"), list(restrictions)),
        ]);
        fields.extend(custom.iter().map(|(name, value)| {
            (
                Cow::Owned(format!("custom.{name}")),
                Some(Cow::Borrowed(value.as_str())),
            )
        }));
        fields
    }
}

impl UserState {
    /// The state as the contract names it.
    pub fn contract_name(self) -> &'static str {
        match self {
            UserState::Active => "USER_STATE_ACTIVE",
            UserState::Deactivated => "USER_STATE_DEACTIVATED",
            UserState::Archived => "USER_STATE_ARCHIVED",
        }
    }
}

impl StateReason {
    /// The reason as the contract names it.
    pub fn contract_name(self) -> &'static str {
        match self {
            StateReason::Gone => "USER_STATE_REASON_GONE",
            StateReason::OutOfScope => "USER_STATE_REASON_OUT_OF_SCOPE",
            StateReason::DisabledInDirectory => "USER_STATE_REASON_DISABLED_IN_DIRECTORY",
            StateReason::ExpiredInDirectory => "USER_STATE_REASON_EXPIRED_IN_DIRECTORY",
            StateReason::ByProduct => "USER_STATE_REASON_BY_PRODUCT",
            StateReason::SyncDeleted => "USER_STATE_REASON_SYNC_DELETED",
            StateReason::Newer(_) => "USER_STATE_REASON_UNSPECIFIED",
        }
    }
}

fn plain<'a>(name: &'static str, value: Option<&'a str>) -> Field<'a> {
    (Cow::Borrowed(name), value.map(Cow::Borrowed))
}

fn yes_or_no(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

/// The values of a list in one text, in which a comma or backslash of a value has a backslash before it: two lists that
/// differ have two texts.
fn list(values: &[String]) -> Option<Cow<'_, str>> {
    let escaped = values
        .iter()
        .map(|value| value.replace('\\', "\\\\").replace(',', "\\,"));
    (!values.is_empty()).then(|| Cow::Owned(escaped.collect::<Vec<_>>().join(", ")))
}

#[cfg(test)]
mod tests;
