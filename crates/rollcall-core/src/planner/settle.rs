//! The claims that were kept for the end, settled; and what everybody's change becomes by that.

use std::collections::{HashMap, HashSet};

use super::claim::{Claim, held};
use super::known::Offered;
use super::order::{Ordered, order_claims};
use super::outsider::Outsider;
use super::party::{Named, Party};
use super::{OrderedClaims, Planner};
use crate::claims::{Claimant, Outcome, Refusal, Settled, Want, Wants, settle};
use crate::dn::is_same_dn;
use crate::external_id::ExternalId;
use crate::id::UserId;
use crate::identifier::normalize;
use crate::issue::{Issue, IssueKind};
use crate::judgement::Judged;
use crate::plan::{Change, ChangeKind};
use crate::user::{Origin, OtherEntry, Profile, User, UserState};

/// Which planned changes are in dispute.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Contested {
    keys: HashSet<String>,
    users: HashSet<UserId>,
}

impl Contested {
    /// True if the change has something that another entry asks for.
    pub fn concerns(&self, change: &Change) -> bool {
        self.users.contains(&change.user)
            || change
                .profile
                .identifiers()
                .iter()
                .any(|key| self.keys.contains(key))
    }
}

/// Whom an issue names: where the other one is found.
pub(super) struct Names<'n> {
    parties: &'n [Named],
    outside: &'n HashMap<String, Outsider>,
    /// Those whose login two entries claim.
    ambiguous: &'n HashSet<usize>,
    /// Those whose entries the pull did not meet.
    unmet: &'n HashSet<usize>,
}

impl Names<'_> {
    fn entry(&self, index: usize) -> Option<OtherEntry> {
        self.parties.get(index)?.entry.clone()
    }
}

impl Planner<'_> {
    /// Which of the changes planned so far are in dispute; `None` if none can be. The caller takes them out of the
    /// plan and gives them to [`rejoin`](Self::rejoin).
    pub fn contested(&self) -> Option<Contested> {
        let none = self.contested.is_empty();
        (!none).then(|| Contested {
            keys: self.contested.clone(),
            users: self.holders.keys().copied().collect(),
        })
    }

    /// Takes back changes that are in dispute, with the users whom they change as they are now.
    pub fn rejoin(&mut self, changes: Vec<Change>, users: impl IntoIterator<Item = User>) {
        let mut users: HashMap<UserId, User> = users.into_iter().map(|user| (user.id, user)).collect();
        for change in changes {
            self.uncount(&change);
            let before = users.remove(&change.user);
            if before.is_none() != (change.kind == ChangeKind::Create) {
                // Deleted meanwhile: there is nothing left to change.
                continue;
            }
            let slot = self.known.slot(&change.origin.external_id);
            let offered = slot.filter(|slot| !slot.is_absent()).map(|slot| slot.offered);
            self.claims.push(Claim::of_change(change, before, offered));
        }
    }

    /// Takes back what was decided for entries with these ids, and `changes`, which were planned for them already.
    pub fn withdraw(&mut self, ids: &HashSet<ExternalId>, changes: &[Change]) {
        changes.iter().for_each(|change| self.uncount(change));
        // Who was to change, or asks for something, stays as it is. Those who stay anyway were counted when they were met.
        let changed = changes.iter().map(|change| &change.origin.external_id);
        let asking = self.claims.iter().map(|claim| &claim.judged.external_id);
        let stay = changed.chain(asking).filter(|id| ids.contains(id));
        let stay: HashSet<&ExternalId> = stay.filter(|id| self.known.slot(id).is_some()).collect();
        self.counts.unchanged += stay.len() as u64;
        self.claims
            .retain(|claim| !ids.contains(&claim.judged.external_id));
        // Nobody knows which of the entries is theirs, so what they hold stays theirs.
        for id in ids {
            self.known.note_offered(id, Offered::ALL);
        }
        self.disputed.extend(ids.iter().cloned());
    }

    /// The pull had gaps: whoever was not met may ask for something all the same.
    pub fn had_gaps(&mut self) {
        self.complete = false;
    }

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
        let mut bystanders = std::mem::take(&mut self.bystanders);
        let places: HashMap<UserId, usize> = claims
            .iter()
            .enumerate()
            .map(|(place, claim)| (claim.user, place))
            .collect();
        bystanders.retain(|bystander| {
            if let Some(place) = bystander.user.and_then(|user| places.get(&user)) {
                // One and the same person, who may ask for nothing any more.
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
        // One and the same entry asks once.
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
        // What is settled depends on rules alone; whom an issue names, on this order.
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

    /// All of a change but the identifiers that it asks for.
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
            // Nobody knows what their entry says. A deactivated one gives way all the same.
            (None, UserState::Active) => {
                let held = held(&user);
                for key in held.login.into_iter().chain(held.email) {
                    let outsider = Outsider {
                        dn: Some(origin.dn.clone()),
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

    /// The change that a claim becomes, if it still is one. State, role and profile apply whatever became of the
    /// identifiers; only somebody who is left without any login does not become a user.
    pub(super) fn change_of(
        &mut self,
        claim: Claim,
        outcome: &Outcome,
        names: Option<&Names<'_>>,
        issues: &mut Vec<Issue>,
    ) -> Option<Change> {
        let Claim {
            user,
            before,
            judged,
            met,
            counted,
        } = claim;
        let has_login = before
            .as_ref()
            .is_some_and(|user| user.origin.is_some() && user.state != UserState::Archived);
        issues.extend(judged.issues);
        let mut profile = judged.profile;
        let (mut state, state_reason) = (judged.state, judged.state_reason);
        if let Settled::Refused(refusal) = outcome.login {
            let value = &profile.login;
            issues.push(refused(&judged.dn, "login", value, &refusal, names));
            match before.as_ref().filter(|_| has_login) {
                Some(before) => profile.login.clone_from(&before.profile.login),
                None => {
                    self.counts.unchanged += u64::from(before.is_some_and(|user| user.origin.is_some()));
                    return None;
                }
            }
        }
        if !has_login
            && before.is_some()
            && judged.wants.login == Want::Nothing
            && state != UserState::Archived
        {
            self.counts.unchanged += 1;
            return None;
        }
        if let Settled::Refused(refusal) = outcome.email {
            let value = profile.email.clone().unwrap_or_default();
            issues.push(refused(&judged.dn, "email", &value, &refusal, names));
            profile.email = match (&before, self.alone) {
                (Some(user), true) => user.profile.email.clone(),
                _ => None,
            };
        }
        if let Some(rival) = outcome.gives_up_email {
            let value = profile.email.take().unwrap_or_default();
            issues.push(refused(
                &judged.dn,
                "email",
                &value,
                &Refusal::Rival(rival),
                names,
            ));
        }
        if outcome.gives_up_login {
            state = UserState::Archived;
        }
        if let Some(rival) = outcome.ambiguous_with {
            let message = "the entry does not have this login any more, and another entry asks for it: nobody can log in with it";
            let issue = Issue::new(IssueKind::LoginAmbiguous, &judged.dn, message);
            let mut issue = issue.of_field("login").valued(&profile.login);
            let rival = names.and_then(|names| names.parties.get(rival));
            issue.other_dn = rival.and_then(|rival| rival.dn.clone());
            issue.other_user_sync = rival.and_then(|rival| rival.user_sync.clone());
            issues.push(issue);
        }
        let linked = before.as_ref().is_some_and(|user| {
            let was_linked = user.origin.as_ref().is_some_and(|origin| origin.linked);
            user.origin.is_none() || was_linked
        });
        let origin = Origin {
            user_sync: self.user_sync.clone(),
            directory: self.settings.directory.clone(),
            external_id: judged.external_id,
            dn: judged.dn,
            linked,
        };
        let kind = kind_of(before.as_ref(), &origin, state);
        // Whoever asked for the login may just not have been met.
        let perhaps_still = before.as_ref().is_some_and(|user| user.login_ambiguous)
            && !self.complete
            && judged.wants.login == Want::Nothing
            && state != UserState::Archived;
        let login_ambiguous = outcome.ambiguous_with.is_some() || perhaps_still;
        let asked_by = match outcome.ambiguous_with {
            Some(rival) => names.and_then(|names| names.entry(rival)),
            None => before.as_ref().and_then(|user| user.login_asked_by.clone()),
        };
        // What the runs of this sync meet, they need not remember.
        let asked_by = asked_by.filter(|entry| login_ambiguous && entry.user_sync != *self.user_sync);
        let change = Change {
            kind,
            user,
            expected_revision: before.as_ref().map_or(0, |user| user.revision),
            state_before: before.as_ref().map(|user| user.state),
            origin,
            profile,
            state,
            state_reason,
            login_ambiguous,
            login_asked_by: asked_by,
            changes: Vec::new(),
        }
        .compared(before.as_ref());
        if change.changes.is_empty() {
            self.counts.unchanged += u64::from(met && !counted);
            return None;
        }
        if counted {
            self.no_longer_stays();
        }
        self.count(&change);
        Some(change)
    }
}

impl Claim {
    /// What becomes of a claim that nobody opposes.
    pub(super) fn unopposed(&self) -> Outcome {
        let wants = &self.judged.wants;
        let granted = |want: &Want| match want {
            Want::Other(_) => Settled::Granted,
            Want::Held | Want::Nothing => Settled::Unasked,
        };
        Outcome {
            login: granted(&wants.login),
            email: granted(&wants.email),
            ..Outcome::default()
        }
    }

    /// What becomes of a claim that cannot be settled in this run.
    pub(super) fn opposed(&self) -> Outcome {
        let refused = |want: &Want| match want {
            Want::Other(_) => Settled::Refused(Refusal::Outside),
            Want::Held | Want::Nothing => Settled::Unasked,
        };
        Outcome {
            login: refused(&self.judged.wants.login),
            email: refused(&self.judged.wants.email),
            ..Outcome::default()
        }
    }
}

fn kind_of(before: Option<&User>, origin: &Origin, state: UserState) -> ChangeKind {
    let Some(user) = before else {
        return ChangeKind::Create;
    };
    match &user.origin {
        None => ChangeKind::Link,
        Some(own) if own.user_sync != origin.user_sync => ChangeKind::Transfer,
        Some(own) if own.external_id != origin.external_id => ChangeKind::Relink,
        Some(_) => match (user.state, state) {
            (UserState::Active, UserState::Deactivated) => ChangeKind::Deactivate,
            (UserState::Active | UserState::Deactivated, UserState::Archived) => ChangeKind::Archive,
            (UserState::Deactivated | UserState::Archived, UserState::Active) => ChangeKind::Reactivate,
            _ => ChangeKind::Update,
        },
    }
}

/// Why an identifier is not given, and who stands against it. Of people in other directories only that there is one is
/// said.
fn refused(dn: &str, field: &str, value: &str, refusal: &Refusal, names: Option<&Names<'_>>) -> Issue {
    let taken = match field {
        "login" => IssueKind::LoginTaken,
        _ => IssueKind::EmailTaken,
    };
    let named = |index: &usize| names.and_then(|names| names.parties.get(*index));
    let dn_of = |index: &usize| named(index).and_then(|party| party.dn.clone());
    let outsider = match refusal {
        Refusal::Outside => names.and_then(|names| names.outside.get(&normalize(value))),
        Refusal::Rival(_) | Refusal::NotReleased(_) => None,
    };
    let user_sync = match refusal {
        Refusal::Outside => outsider.and_then(|outsider| outsider.user_sync.clone()),
        Refusal::Rival(index) | Refusal::NotReleased(index) => {
            named(index).and_then(|party| party.user_sync.clone())
        }
    };
    let (kind, message, other_dn) = match refusal {
        Refusal::Rival(rival) if names.is_some_and(|names| names.unmet.contains(rival)) => {
            (taken, "another user has it".to_owned(), dn_of(rival))
        }
        Refusal::Rival(rival) => (
            IssueKind::DuplicateInDirectory,
            "another entry asks for it or has it too".to_owned(),
            dn_of(rival),
        ),
        Refusal::NotReleased(holder) => {
            let message = "another user keeps it, although the user's entry does not have it any more";
            let ambiguous = names.is_some_and(|names| names.ambiguous.contains(holder));
            let kind = if ambiguous {
                IssueKind::LoginAmbiguous
            } else {
                taken
            };
            (kind, message.to_owned(), dn_of(holder))
        }
        Refusal::Outside => {
            let message = match &user_sync {
                Some(user_sync) => format!("a user of the user sync {user_sync} has it, which was first"),
                None => "another user has it".to_owned(),
            };
            (taken, message, outsider.and_then(|outsider| outsider.dn.clone()))
        }
    };
    // Somebody was deleted, and made anew where they were.
    let made_anew = other_dn.as_deref().is_some_and(|other| is_same_dn(other, dn));
    let (kind, message, other_dn) = match made_anew {
        true => {
            let message =
                "the entry was deleted and made anew: the user of the former entry of this name has it";
            (taken, message.to_owned(), None)
        }
        false => (kind, message, other_dn),
    };
    let mut issue = Issue::new(kind, dn, message).of_field(field).valued(value);
    issue.other_user_sync = user_sync;
    issue.other_dn = other_dn;
    issue
}
