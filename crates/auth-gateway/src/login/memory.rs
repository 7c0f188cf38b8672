//! What a process remembers between logins. All of it may be forgotten: then a login takes longer, or a wrong password
//! counts once more.

pub mod keyed_hash;
pub mod known_dn;
pub mod prepared;
pub mod tenant_view;
