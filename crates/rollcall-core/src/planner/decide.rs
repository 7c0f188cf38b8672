//! What one entry means for one user, or for nobody yet.

use super::claim::{Bystander, Claim, asked, held};
use super::known::Offered;
use super::outsider::Outsider;
use super::{Asker, BatchFacts, Decisions, Planner, ReadEntry};
use crate::claims::{Outside, Want, Wants};
use crate::external_id::ExternalId;
use crate::id::{UserId, Uuid};
use crate::identifier::Holder;
use crate::identifier::normalize;
use crate::issue::{Issue, IssueKind};
use crate::judgement::{EntryReading, Judged};
use crate::role::RoleFinding;
use crate::user::{OtherEntry, StateReason, User, UserState};
use crate::user_sync::{ExistingUsers, NewUsers};

/// Most claims in dispute that are settled in one run; and as many entries that ask without being taken. Each costs
/// about a kilobyte, and a hostile directory may dispute everything. The claims beyond wait for the next run.
const MAX_CONTESTED: usize = 50_000;

impl Planner<'_> {
    /// Decides on entries that ask for something new. `new_id` makes the ids of new users.
    pub fn decide(
        &mut self,
        batch: Vec<ReadEntry>,
        facts: &BatchFacts,
        mut new_id: impl FnMut() -> Uuid,
    ) -> Decisions {
        let mut decisions = Decisions::default();
        for (reading, role) in batch {
            let person = facts
                .person(&reading.external_id)
                .or_else(|| self.relinked_user(&reading, facts));
            match person {
                None => self.decide_new(&reading, &role, facts, &mut new_id, &mut decisions),
                Some(person) => self.decide_known(&reading, &role, person, facts, &mut decisions),
            }
        }
        decisions
    }

    fn decide_new(
        &mut self,
        reading: &EntryReading,
        role: &RoleFinding,
        facts: &BatchFacts,
        new_id: &mut impl FnMut() -> Uuid,
        decisions: &mut Decisions,
    ) {
        if self.settings.new_users == NewUsers::Ignore {
            self.counts.ignored += 1;
            return self.stand_by(reading, None, facts);
        }
        let judged = match reading.for_new(role) {
            Ok(judged) => judged,
            Err(issues) => {
                decisions.issues.extend(issues);
                return self.stand_by(reading, None, facts);
            }
        };
        let local = linkable(&judged, facts);
        if local.is_some_and(|local| local.owner) {
            let message = "the entry has the login of the account owner";
            let issue = Issue::new(IssueKind::OwnerProtected, &reading.dn, message);
            decisions
                .issues
                .push(issue.of_field("login").valued(&judged.profile.login));
            return;
        }
        let linked = local.filter(|local| self.may_link(local) && reading.is_enabled());
        let claim = Claim {
            user: linked.map_or_else(|| UserId(new_id()), |local| local.id),
            before: linked.cloned(),
            judged,
            met: true,
            counted: false,
        };
        self.plan_or_contest(claim, facts, decisions);
    }

    fn decide_known(
        &mut self,
        reading: &EntryReading,
        role: &RoleFinding,
        person: &User,
        facts: &BatchFacts,
        decisions: &mut Decisions,
    ) {
        let Some(origin) = &person.origin else { return };
        let owned = origin.user_sync == *self.user_sync;
        if !owned && !facts.is_given_up(person) {
            let message = format!("the account is a user of the user sync {}", origin.user_sync);
            let mut issue = Issue::new(IssueKind::Overlap, &reading.dn, message);
            issue.other_user_sync = Some(origin.user_sync.clone());
            decisions.issues.push(issue);
            return self.stand_by(reading, Some(person), facts);
        }
        let judged = reading.for_known(role, person, owned, self.settings);
        let offered = Offered {
            login: judged.wants.login == Want::Held,
            email: judged.wants.email == Want::Held,
        };
        if owned {
            self.known.note_offered(&reading.external_id, offered);
            self.keep_asker(person, facts);
        } else {
            self.taken_over.insert(reading.external_id.clone(), offered);
        }
        let is_same = origin.external_id == judged.external_id
            && (person.state, person.state_reason) == (judged.state, judged.state_reason);
        let left_alone = owned && self.settings.existing_users == ExistingUsers::Ignore && is_same;
        let claim = Claim {
            user: person.id,
            before: Some(person.clone()),
            judged,
            met: true,
            counted: false,
        };
        if left_alone && !person.login_ambiguous {
            self.counts.ignored += 1;
            // An issue says that the state is unreadable even of a user whom the sync leaves alone.
            decisions.issues.extend(claim.judged.issues.iter().cloned());
            return self.keep_rejected(&claim, facts);
        }
        self.plan_or_contest(claim, facts, decisions);
    }

    /// Plans a change if nobody else has or asked for what it claims; keeps any other claim for the end.
    fn plan_or_contest(&mut self, claim: Claim, facts: &BatchFacts, decisions: &mut Decisions) {
        self.keep_rejected(&claim, facts);
        let keys = asked(
            &claim.judged.wants,
            claim.before.as_ref().filter(|user| user.origin.is_some()),
        );
        // Whether two entries still claim the login is known only after all entries were met.
        let mut contested = claim.before.as_ref().is_some_and(|user| user.login_ambiguous);
        for key in keys {
            contested |= self.ask(key, facts);
        }
        let outcome = if !contested {
            claim.unopposed()
        } else if self.claims.len() < MAX_CONTESTED {
            self.claims.push(claim);
            return;
        } else {
            // From now on others who ask for the same are refused too: this claim is not kept to compare them with.
            for key in asked(&claim.judged.wants, None) {
                self.contested.insert(key.clone());
                self.outside.entry(key).or_insert(Outsider::unnamed());
            }
            claim.opposed()
        };
        let left_out = Bystander {
            user: claim.synced_user(),
            entry: self.entry(&claim.judged.external_id),
            dn: claim.judged.dn.clone(),
            wants: claim.judged.wants.clone(),
            enabled: claim.judged.state == UserState::Active,
        };
        match self.change_of(claim, &outcome, None, &mut decisions.issues) {
            Some(change) => decisions.changes.push(change),
            // Somebody who does not become a user for want of a login asks for the rest all the same.
            None if self.bystanders.len() < MAX_CONTESTED => self.bystanders.extend(left_out.if_it_asks()),
            None => {
                for key in asked(&left_out.wants, None) {
                    self.crowd.insert(self.digests.of(&key));
                }
            }
        }
    }

    /// Keeps, as a bystander, what the entry asks for and the sync does not give to it.
    fn keep_rejected(&mut self, claim: &Claim, facts: &BatchFacts) {
        let Claim {
            user, before, judged, ..
        } = claim;
        let held = before.as_ref().map(held).unwrap_or_default();
        let open = |want: &Want| {
            let is_held = matches!(want, Want::Other(key)
                if held.login.as_ref() == Some(key) || held.email.as_ref() == Some(key));
            match is_held || *want == judged.wants.email {
                true => Want::Held,
                false => want.clone(),
            }
        };
        let wants = Wants {
            login: open(&judged.rejected.login),
            email: open(&judged.rejected.email),
        };
        let enabled = judged.state == UserState::Active;
        let entry = self.entry(&judged.external_id);
        self.keep_bystander(Some(*user), entry, &judged.dn, wants, enabled, facts);
    }

    /// An entry of another sync that asks for the ambiguous login of this user asks for it in this run too.
    fn keep_asker(&mut self, person: &User, facts: &BatchFacts) {
        let asker = person.login_asked_by.clone().filter(|_| person.login_ambiguous);
        let (Some(entry), Asker::Asks { dn, user }) = (asker, facts.asker(person.id)) else {
            return;
        };
        let login = normalize(&person.profile.login);
        // The user has the login, and the user's own entry does not.
        self.contested.insert(login.clone());
        let wants = Wants {
            login: Want::Other(login),
            email: Want::Nothing,
        };
        self.keep_bystander(user, entry, &dn.unwrap_or_default(), wants, true, facts);
    }

    /// An entry of this sync.
    pub(super) fn entry(&self, id: &ExternalId) -> OtherEntry {
        OtherEntry {
            user_sync: self.user_sync.clone(),
            external_id: id.clone(),
        }
    }

    /// Notes that an entry asks for an identifier. True if anybody else has it or asks for it too.
    fn ask(&mut self, key: String, facts: &BatchFacts) -> bool {
        let holder = facts.holder(&key);
        let digest = self.digests.of(&key);
        let first = self.asked.insert(digest);
        if first && holder.is_none() {
            return false;
        }
        match holder {
            None if self.crowd.contains(digest) => {
                self.outside.insert(key.clone(), Outsider::unnamed());
            }
            None => {}
            Some(Holder::Foreign) => {
                self.outside.insert(key.clone(), Outsider::unnamed());
            }
            Some(Holder::User(holder)) => match facts.user(*holder) {
                Some(user) if self.owns(user) => {
                    self.holders.entry(user.id).or_insert_with(|| user.clone());
                }
                Some(user) => {
                    let outsider = self.outside_of(&key, user);
                    self.outside_users.insert(user.id);
                    self.outside.insert(key.clone(), outsider);
                    self.meet_neighbour(user.id, facts);
                }
                None => {
                    self.outside.insert(key.clone(), Outsider::unnamed());
                }
            },
        }
        self.contested.insert(key);
        true
    }

    /// Notes a user of another sync whose entry does not offer the login any more. The entry may ask for a login of a
    /// user of this sync instead.
    fn meet_neighbour(&mut self, user: UserId, facts: &BatchFacts) {
        let Some(neighbour) = facts.neighbour(user).filter(|_| !self.neighbours.has(user)) else {
            return;
        };
        self.neighbours.note(neighbour.clone(), facts);
        let target = neighbour.target();
        if let Some(target) = target.filter(|target| facts.holder(target).is_some()) {
            self.ask(target, facts);
        }
    }

    fn outside_of(&self, key: &str, user: &User) -> Outsider {
        let is_login = normalize(&user.profile.login) == key;
        let unnamed = Outsider::unnamed();
        match &user.origin {
            None if is_login && self.may_link(user) => Outsider {
                outside: Outside::Linkable,
                ..unnamed
            },
            None => unnamed,
            // Both are in the same directory, so its admin sees the other entry anyway.
            Some(origin) if origin.directory == self.settings.directory => Outsider {
                dn: Some(origin.dn.clone()),
                user: Some(user.id),
                user_sync: Some(origin.user_sync.clone()),
                ..unnamed
            },
            Some(_) => unnamed,
        }
    }

    /// Whether an entry with the login of a LOCAL user may have it. If the product has deactivated the user, no
    /// directory brings the user back.
    fn may_link(&self, local: &User) -> bool {
        self.settings.overwrite_local_users
            && !local.owner
            && local.state_reason != Some(StateReason::ByProduct)
    }

    fn owns(&self, user: &User) -> bool {
        user.origin
            .as_ref()
            .is_some_and(|origin| origin.user_sync == *self.user_sync)
    }

    /// An entry that is not taken asks for its identifiers all the same. Otherwise settings and the order of entries
    /// would decide who is mistaken for whom.
    fn stand_by(&mut self, reading: &EntryReading, person: Option<&User>, facts: &BatchFacts) {
        let mut wants = reading.asks();
        for want in [&mut wants.login, &mut wants.email] {
            let Want::Other(key) = &*want else { continue };
            let own = match (facts.holder(key), person) {
                (Some(Holder::User(holder)), Some(person)) => *holder == person.id,
                _ => false,
            };
            if own {
                *want = Want::Nothing;
            }
        }
        let entry = self.entry(&reading.external_id);
        let user = person.map(|person| person.id);
        self.keep_bystander(user, entry, &reading.dn, wants, reading.is_enabled(), facts);
    }

    fn keep_bystander(
        &mut self,
        user: Option<UserId>,
        entry: OtherEntry,
        dn: &str,
        wants: Wants,
        enabled: bool,
        facts: &BatchFacts,
    ) {
        let keys = asked(&wants, None);
        if keys.is_empty() {
            return;
        }
        let crowded = self.bystanders.len() >= MAX_CONTESTED;
        for key in keys {
            let contested = self.ask(key.clone(), facts);
            if crowded {
                if contested {
                    self.outside.entry(key).or_insert(Outsider::unnamed());
                } else {
                    self.crowd.insert(self.digests.of(&key));
                }
            }
        }
        if !crowded {
            self.bystanders.push(Bystander {
                user,
                entry,
                dn: dn.to_owned(),
                wants,
                enabled,
            });
        }
    }
}

/// The LOCAL user who has the login that the entry asks for.
fn linkable<'c>(judged: &Judged, facts: &'c BatchFacts) -> Option<&'c User> {
    let login = normalize(&judged.profile.login);
    let Some(Holder::User(holder)) = facts.holder(&login) else {
        return None;
    };
    let local = facts.user(*holder).filter(|user| user.origin.is_none());
    local.filter(|user| normalize(&user.profile.login) == login)
}
