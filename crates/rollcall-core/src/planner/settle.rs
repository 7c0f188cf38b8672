//! The claims that were kept for the end, settled together.

use std::collections::{HashMap, HashSet};

use super::claim::{Claim, held};
use super::known::Offered;
use super::order::{Ordered, order_claims};
use super::outsider::Outsider;
use super::party::{Named, Party};
use super::refused::Names;
use super::{OrderedClaims, Planner};
use crate::claims::{Claimant, Want, Wants, settle};
use crate::id::UserId;
use crate::issue::{Issue, IssueKind};
use crate::judgement::Judged;
use crate::plan::Change;
use crate::user::{Profile, User, UserState};

impl Planner<'_> {
    /// Settles all claims. Called last, when every entry was met and every removal is known.
    pub fn finish(&mut self) -> OrderedClaims {
        let mut claims = std::mem::take(&mut self.claims);
        let claimed: HashSet<UserId> = claims.iter().map(|claim| claim.user).collect();
        let holders = std::mem::take(&mut self.holders);
        for (id, holder) in holders {
            if !claimed.contains(&id) {
                claims.extend(self.holder_claim(holder));
            }
        }
        claims.iter().for_each(|claim| self.take_in(claim));
        let mut bystanders = std::mem::take(&mut self.bystanders);
        let places: HashMap<UserId, usize> = claims
            .iter()
            .enumerate()
            .map(|(place, claim)| (claim.user, place))
            .collect();
        bystanders.retain(|bystander| {
            if let Some(place) = bystander.user.and_then(|user| places.get(&user)) {
                // The claim is of the same person, and may ask for nothing any more: then what the entry asked for
                // without getting it still counts.
                claims[*place].judged.rejected = bystander.wants.clone();
                return false;
            }
            let disputed = |want: &Want| matches!(want, Want::Other(key) if self.contested.contains(key));
            disputed(&bystander.wants.login) || disputed(&bystander.wants.email)
        });
        let mut parties: Vec<Party> = claims
            .into_iter()
            .map(|claim| Party::Claim(Box::new(claim)))
            .collect();
        let own: HashSet<UserId> = parties.iter().filter_map(Party::user).collect();
        let neighbours = self.neighbour_parties(|user| own.contains(&user));
        // The entry of a neighbour that moves asks once, as the neighbour.
        bystanders.retain(|bystander| {
            !neighbours
                .iter()
                .any(|neighbour| neighbour.moves_as(&bystander.entry))
        });
        parties.extend(bystanders.into_iter().map(Party::Bystander));
        parties.extend(
            neighbours
                .into_iter()
                .map(|neighbour| Party::Neighbour(Box::new(neighbour))),
        );
        // The rules alone settle who gets what. This order decides only whom an issue names.
        parties.sort_by(|one, other| (one.dn(), one.user()).cmp(&(other.dn(), other.user())));
        let claimants: Vec<Claimant> = parties.iter().map(Party::claimant).collect();
        let named: Vec<Named> = parties.iter().map(|party| party.named(self)).collect();
        let unmet = parties.iter().enumerate().filter(|(_, party)| party.is_unmet());
        let unmet: HashSet<usize> = unmet.map(|(index, _)| index).collect();
        let outside = std::mem::take(&mut self.outside);
        let kept = outside
            .iter()
            .map(|(key, outsider)| (key.clone(), outsider.outside));
        let outcomes = settle(&claimants, &kept.collect());
        let ambiguous = outcomes.iter().enumerate();
        let ambiguous = ambiguous.filter(|(_, outcome)| outcome.ambiguous_with.is_some());
        let names = Names {
            parties: &named,
            outside: &outside,
            ambiguous: &ambiguous.map(|(index, _)| index).collect(),
            unmet: &unmet,
        };
        let users: Vec<Option<UserId>> = parties.iter().map(Party::user).collect();
        let mut issues = Vec::new();
        let mut ordered = Vec::new();
        for (party, outcome) in parties.into_iter().zip(&outcomes) {
            let (before, change) = match party {
                Party::Claim(claim) => {
                    let before = claim.before.as_ref().map(|user| user.profile.clone());
                    let change = self.change_of(*claim, outcome, Some(&names), &mut issues);
                    (before, change)
                }
                Party::Neighbour(neighbour) => {
                    let before = neighbour.user().profile.clone();
                    let rival = outcome.ambiguous_with.and_then(|rival| names.entry(rival));
                    let change = neighbour.change(outcome, rival);
                    change.iter().for_each(|change| self.count(change));
                    (Some(before), change)
                }
                Party::Bystander(_) => continue,
            };
            if let Some(change) = change {
                let needs = outcome.needs.iter();
                let needs = needs.filter_map(|(_, holder)| users.get(*holder).copied().flatten());
                ordered.push(Ordered {
                    change,
                    after: needs.collect(),
                    before,
                });
            }
        }
        let (mut groups, too_large) = order_claims(ordered);
        for Ordered { change, before, .. } in too_large {
            self.uncount(&change);
            groups.extend(
                self.without_identifiers(change, before, &mut issues)
                    .map(|change| vec![change]),
            );
        }
        OrderedClaims { groups, issues }
    }

    /// A user who is taken over takes part like the users of this sync: what it has does not count as held outside.
    fn take_in(&mut self, claim: &Claim) {
        let Some(before) = &claim.before else { return };
        let Some(origin) = before
            .origin
            .as_ref()
            .filter(|origin| origin.user_sync != *self.user_sync)
        else {
            return;
        };
        let held = held(before);
        for key in held.login.into_iter().chain(held.email) {
            let is_it = |outsider: &Outsider| outsider.user_sync.as_ref() == Some(&origin.user_sync);
            if self.outside.get(&key).is_some_and(is_it) {
                self.outside.remove(&key);
            }
        }
    }

    /// The change without the identifiers that it asks for; `None` if nothing else is left.
    fn without_identifiers(
        &mut self,
        mut change: Change,
        before: Option<Profile>,
        issues: &mut Vec<Issue>,
    ) -> Option<Change> {
        let message = "too many users wait for each other's logins and e-mail addresses";
        let issue = Issue::new(IssueKind::LoginTaken, &change.origin.dn, message);
        issues.push(issue.of_field("login").valued(&change.profile.login));
        let before = before?;
        change.profile.login = before.login;
        change.profile.email = before.email;
        change
            .changes
            .retain(|changed| !["login", "email"].contains(&changed.field.as_str()));
        if change.changes.is_empty() {
            return None;
        }
        self.count(&change);
        Some(change)
    }

    /// A user of this sync who has what others ask for, and whom nothing else in the plan changes.
    fn holder_claim(&mut self, user: User) -> Option<Claim> {
        let origin = user.origin.clone()?;
        let slot = self.known.slot(&origin.external_id);
        let seen = slot.filter(|slot| !slot.is_absent()).map(|slot| slot.offered);
        let offered = match (seen, user.state) {
            (Some(offered), _) => offered,
            // It is unknown what the entry says, so an active user keeps what it has. A deactivated one gives way all
            // the same.
            (None, UserState::Active) => {
                let held = held(&user);
                for key in held.login.into_iter().chain(held.email) {
                    let outsider = Outsider {
                        dn: Some(origin.dn.clone()),
                        user: Some(user.id),
                        ..Outsider::unnamed()
                    };
                    self.outside.insert(key, outsider);
                }
                return None;
            }
            (None, UserState::Deactivated | UserState::Archived) => Offered::ALL,
        };
        let want = |offered: bool| if offered { Want::Held } else { Want::Nothing };
        Some(Claim {
            user: user.id,
            met: seen.is_some(),
            counted: seen.is_some(),
            judged: Judged {
                external_id: origin.external_id,
                dn: origin.dn,
                state: user.state,
                state_reason: user.state_reason,
                profile: user.profile.clone(),
                wants: Wants {
                    login: want(offered.login),
                    email: want(offered.email),
                },
                rejected: Wants::default(),
                issues: Vec::new(),
            },
            before: Some(user),
        })
    }
}
