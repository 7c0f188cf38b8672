//! What a login does not hand out while a plan is held: a refresh of one user must not carry out what the hold keeps back.

use super::{HoldReason, HoldRule};
use crate::field::TextField;
use crate::plan::Change;
use crate::user::{Profile, User, UserState};

/// What was taken out of a change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Withheld {
    /// Nothing: the hold is about none of it.
    Nothing,
    /// These fields, which the change leaves as they are now; the role falls back to the sync's own.
    Fields(Vec<String>),
    /// All of it: the user would be able to log in again.
    Return,
}

/// Takes out of a change of `user` what `hold` is about. What takes away stays: a removal, and a role that is lost. A
/// user who loses one role and would get another gets `base_role`: the hold keeps back the other role.
pub fn withhold(change: &mut Change, user: &User, hold: &[HoldReason], base_role: &str) -> Withheld {
    let about = |rule: HoldRule| hold.iter().any(|reason| reason.rule == Some(rule));
    let returns = user.state != UserState::Active && change.state == UserState::Active;
    if returns && about(HoldRule::Returns) {
        return Withheld::Return;
    }
    let mut fields = Vec::new();
    for field in &change.changes {
        let rule = match field.field.as_str() {
            "role" if field.new.as_deref() == Some(base_role) => continue,
            "role" => HoldRule::RoleChanges,
            "login" => HoldRule::LoginChanges,
            "email" => HoldRule::EmailChanges,
            _ if field.new.is_none() => {
                let lost = |reason: &HoldReason| reason.field.as_ref() == Some(&field.field);
                if hold.iter().any(lost) {
                    fields.push(field.field.clone());
                }
                continue;
            }
            _ => continue,
        };
        if about(rule) {
            fields.push(field.field.clone());
        }
    }
    if fields.is_empty() {
        return Withheld::Nothing;
    }
    for field in &fields {
        keep(&mut change.profile, &user.profile, field, base_role);
    }
    *change = change.clone().compared(Some(user));
    Withheld::Fields(fields)
}

fn keep(new: &mut Profile, old: &Profile, field: &str, base_role: &str) {
    match field {
        "role" => base_role.clone_into(&mut new.role),
        "login" => new.login.clone_from(&old.login),
        "email" => new.email.clone_from(&old.email),
        _ => {
            if let Some(text) = TextField::named(field) {
                new.set_text(text, old.text(text).map(str::to_owned));
            } else if let Some(name) = field.strip_prefix("custom.")
                && let Some(value) = old.custom.get(name)
            {
                new.custom.insert(name.to_owned(), value.clone());
            }
        }
    }
}
