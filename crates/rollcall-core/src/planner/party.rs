//! Who takes part when it is settled who gets what.

use super::Planner;
use super::claim::{Bystander, Claim, held};
use super::neighbour::Neighbour;
use crate::claims::Claimant;
use crate::id::{UserId, UserSyncId};
use crate::user::OtherEntry;

/// A person who asks for identifiers, or holds some.
pub(super) enum Party {
    Claim(Box<Claim>),
    Bystander(Bystander),
    Neighbour(Box<Neighbour>),
}

impl Party {
    pub(super) fn dn(&self) -> &str {
        match self {
            Self::Claim(claim) => &claim.judged.dn,
            Self::Bystander(bystander) => &bystander.dn,
            Self::Neighbour(neighbour) => {
                let origin = neighbour.user().origin.as_ref();
                origin.map_or("", |origin| &origin.dn)
            }
        }
    }

    /// The user, unless it asks and is not taken.
    pub(super) fn user(&self) -> Option<UserId> {
        match self {
            Self::Claim(claim) => Some(claim.user),
            Self::Bystander(_) => None,
            Self::Neighbour(neighbour) => Some(neighbour.user().id),
        }
    }

    /// How others name it, and find it again.
    pub(super) fn named(&self, planner: &Planner<'_>) -> Named {
        match self {
            Self::Claim(claim) => Named {
                dn: Some(claim.judged.dn.clone()),
                user: claim.synced_user(),
                user_sync: None,
                entry: Some(planner.entry(&claim.judged.external_id)),
            },
            Self::Bystander(bystander) => {
                let visible = !bystander.dn.is_empty();
                let of_other = bystander.entry.user_sync != *planner.user_sync;
                Named {
                    dn: visible.then(|| bystander.dn.clone()),
                    user: bystander.user.filter(|_| visible),
                    user_sync: (visible && of_other).then(|| bystander.entry.user_sync.clone()),
                    entry: Some(bystander.entry.clone()),
                }
            }
            Self::Neighbour(neighbour) => {
                let origin = neighbour.user().origin.as_ref();
                // Both are in the same directory, so its admin sees the other entry anyway.
                let visible = origin.filter(|origin| origin.directory == planner.settings.directory);
                Named {
                    dn: visible.map(|origin| origin.dn.clone()),
                    user: visible.map(|_| neighbour.user().id),
                    user_sync: visible.map(|origin| origin.user_sync.clone()),
                    entry: origin.map(|origin| OtherEntry {
                        user_sync: origin.user_sync.clone(),
                        external_id: origin.external_id.clone(),
                    }),
                }
            }
        }
    }

    /// True if the pull did not meet its entry.
    pub(super) fn is_unmet(&self) -> bool {
        matches!(self, Self::Claim(claim) if !claim.met)
    }

    pub(super) fn claimant(&self) -> Claimant {
        match self {
            Self::Claim(claim) => claim.claimant(),
            Self::Bystander(bystander) => bystander.claimant(),
            Self::Neighbour(neighbour) => neighbour.claimant(),
        }
    }
}

/// A party, as an issue may name it.
pub(super) struct Named {
    pub(super) dn: Option<String>,
    /// The user whose entry it is already.
    pub(super) user: Option<UserId>,
    /// Its user sync, if it is another one of the same directory.
    pub(super) user_sync: Option<UserSyncId>,
    pub(super) entry: Option<OtherEntry>,
}

impl Planner<'_> {
    /// The neighbours who take part. Their logins do not count as held outside any more.
    pub(super) fn neighbour_parties(&mut self, is_own: impl Fn(UserId) -> bool) -> Vec<Neighbour> {
        let parties = std::mem::take(&mut self.neighbours).parties(is_own);
        for neighbour in &parties {
            if let Some(login) = held(neighbour.user()).login {
                self.outside.remove(&login);
            }
        }
        parties
    }
}
