//! Who gets which login and e-mail address: settled once for a run, over what all of its entries ask for, in an order
//! of rules and not of entries.
//!
//! 1. Who holds an identifier and whose entry offers it keeps it.
//! 2. A disabled entry asks for nothing that an enabled one asks for, and a deactivated holder gives way to an enabled
//!    entry.
//! 3. A login that exactly one entry asks for is its; one that several ask for is nobody's in this run.
//! 4. The same for e-mail addresses. An e-mail address never stands against a login.
//! 5. Who asks for what another has waits for that one to release it; if it is not released, nobody gets it.

use std::collections::{BTreeMap, HashMap};

mod recheck;

pub use recheck::{PendingWrite, Rechecked, recheck};

/// What an entry asks for, for one identifier of its person.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Want {
    /// What the person holds, if anything: the entry offers it, or nobody can read what it offers.
    #[default]
    Held,
    /// Nothing that could be used: what the person holds is not offered any more.
    Nothing,
    /// This normalised identifier, which the person does not hold as this field.
    Other(String),
}

/// What an entry asks for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wants {
    /// Its login.
    pub login: Want,
    /// Its e-mail address.
    pub email: Want,
}

/// Somebody who holds identifiers, asks for some, or both.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Claimant {
    /// The normalised login that the store has for it.
    pub login: Option<String>,
    /// The normalised e-mail address that the store has for it, unless it is the same as the login.
    pub email: Option<String>,
    /// What its entry asks for.
    pub wants: Wants,
    /// What its entry asks for and is not given, since its sync keeps logins, or all fields. It asks for it all the same:
    /// nobody else may be mistaken for it.
    pub rejected: Wants,
    /// It may log in after this run, as far as its entry decides.
    pub enabled: bool,
    /// It is archived by this run, and keeps nothing.
    pub leaves: bool,
    /// Whether it can be given anything. Entries that are left out ask all the same.
    pub taken: bool,
    /// It is no user yet, and may become the LOCAL user who has the login.
    pub may_link: bool,
}

/// Somebody whom this run does not change, and who has an identifier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outside {
    /// It stays with them.
    Keeps,
    /// A LOCAL user, whom the one new and enabled entry that asks for the login is linked with.
    Linkable,
}

/// What became of one wish.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Settled {
    /// Nothing else was asked for.
    #[default]
    Unasked,
    /// The person gets it.
    Granted,
    /// The person does not get it.
    Refused(Refusal),
}

/// Why a wish is not granted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The entry of this claimant offers it or asks for it too.
    Rival(usize),
    /// This claimant holds it and releases it not, although its entry does not offer it any more.
    NotReleased(usize),
    /// Somebody has it whom this run does not change.
    Outside,
}

/// What became of a claimant.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// The login that it asked for.
    pub login: Settled,
    /// The e-mail address that it asked for.
    pub email: Settled,
    /// It is deactivated, and an enabled entry gets its login.
    pub gives_up_login: bool,
    /// It is deactivated, and the enabled entry of this claimant gets its e-mail address.
    pub gives_up_email: Option<usize>,
    /// It keeps a login that its entry does not offer any more, and this claimant's enabled entry asks for it.
    pub ambiguous_with: Option<usize>,
    /// What it gets from others, who must release it first.
    pub needs: Vec<(String, usize)>,
}

/// Settles who gets what. `outside` has those whom this run does not change, by identifier.
pub fn settle(claimants: &[Claimant], outside: &HashMap<String, Outside>) -> Vec<Outcome> {
    let mut claimants = claimants.to_vec();
    let mut archived = vec![false; claimants.len()];
    loop {
        let mut outcomes = settle_once(&claimants, outside);
        let gave_up = |(_, outcome): &(usize, &Outcome)| outcome.gives_up_login;
        let gave_up: Vec<usize> = outcomes
            .iter()
            .enumerate()
            .filter(gave_up)
            .map(|(index, _)| index)
            .collect();
        for &index in &gave_up {
            // Without a login nobody keeps an e-mail address either: it is there for others too.
            archived[index] = true;
            claimants[index].leaves = true;
        }
        if gave_up.is_empty() {
            for (outcome, archived) in outcomes.iter_mut().zip(&archived) {
                outcome.gives_up_login |= archived;
            }
            return outcomes;
        }
    }
}

fn settle_once(claimants: &[Claimant], outside: &HashMap<String, Outside>) -> Vec<Outcome> {
    let keys = Keys::of(claimants, outside);
    let mut outcomes: Vec<Outcome> = vec![Outcome::default(); claimants.len()];
    for (key, asked) in &keys.0 {
        asked.settle(key, claimants, &mut outcomes);
    }
    settle_own(&keys, claimants, &mut outcomes);
    drop_unreleased(&keys, claimants, &mut outcomes);
    // An e-mail address may have lost its login by now.
    settle_own(&keys, claimants, &mut outcomes);
    note_releases(&keys, claimants, &mut outcomes);
    note_ambiguous(&keys, claimants, &mut outcomes);
    outcomes
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Field {
    Login,
    Email,
}

/// Everything about one identifier.
#[derive(Default)]
struct Asked {
    holder: Option<(usize, Field)>,
    outside: Option<Outside>,
    logins: Vec<usize>,
    emails: Vec<usize>,
    /// Those who ask and are not given anything: see [`Claimant::rejected`].
    rejected_logins: Vec<usize>,
    rejected_emails: Vec<usize>,
}

struct Keys<'c>(BTreeMap<&'c str, Asked>);

impl<'c> Keys<'c> {
    fn of(claimants: &'c [Claimant], outside: &'c HashMap<String, Outside>) -> Self {
        let mut keys: BTreeMap<&str, Asked> = BTreeMap::new();
        for (index, claimant) in claimants.iter().enumerate() {
            let held = [(&claimant.login, Field::Login), (&claimant.email, Field::Email)];
            for (key, field) in held {
                if let Some(key) = key {
                    keys.entry(key).or_default().holder = Some((index, field));
                }
            }
            if claimant.leaves {
                continue;
            }
            if let Want::Other(key) = &claimant.rejected.login
                && !claimant.has(key)
                && !matches!(&claimant.wants.email, Want::Other(email) if email == key)
            {
                keys.entry(key).or_default().rejected_logins.push(index);
            }
            if let Want::Other(key) = &claimant.rejected.email
                && !claimant.has(key)
                && claimant.rejected.login != claimant.rejected.email
            {
                keys.entry(key).or_default().rejected_emails.push(index);
            }
            if let Want::Other(key) = &claimant.wants.login
                && !claimant.has(key)
            {
                keys.entry(key).or_default().logins.push(index);
            }
            if let Want::Other(key) = &claimant.wants.email
                && !claimant.has(key)
                && !claimant.moves_login_to(key)
            {
                keys.entry(key).or_default().emails.push(index);
            }
        }
        for (key, outside) in outside {
            if let Some(asked) = keys.get_mut(key.as_str()) {
                asked.outside = Some(*outside);
            }
        }
        Self(keys)
    }
}

impl Claimant {
    fn has(&self, key: &str) -> bool {
        self.login.as_deref() == Some(key) || self.email.as_deref() == Some(key)
    }

    fn moves_login_to(&self, key: &str) -> bool {
        matches!(&self.wants.login, Want::Other(login) if login == key)
    }

    /// True if it is a user after the run: nobody is without a login.
    fn stays(&self, outcome: &Outcome) -> bool {
        self.taken && (self.login.is_some() || outcome.login == Settled::Granted)
    }

    /// True if its entry has the login that it holds.
    pub fn offers_login(&self) -> bool {
        self.offers(Field::Login)
    }

    /// True if its entry has what it holds in this field, be it in the other field.
    fn offers(&self, field: Field) -> bool {
        if self.leaves {
            return false;
        }
        match field {
            Field::Login => self.wants.login == Want::Held || self.wants.email == moved_to(&self.login),
            Field::Email => self.wants.email == Want::Held || self.wants.login == moved_to(&self.email),
        }
    }
}

impl Asked {
    fn settle(&self, key: &str, claimants: &[Claimant], outcomes: &mut [Outcome]) {
        let enabled = |index: &usize| claimants[*index].enabled;
        let offered_by_enabled = self
            .holder
            .filter(|(holder, field)| enabled(holder) && claimants[*holder].offers(*field))
            .map(|(holder, _)| holder);
        // In one order, so that it does not depend on settings who is named.
        let all_logins = || sorted(&self.logins, &self.rejected_logins);
        let all_emails = || sorted(&self.emails, &self.rejected_emails);
        let first_enabled =
            offered_by_enabled.or_else(|| all_logins().chain(all_emails()).find(enabled_of(claimants)));
        // Rule 2: next to an enabled entry a disabled one asks for nothing.
        let asks = |index: &usize| first_enabled.is_none() || enabled(index);
        let logins: Vec<usize> = all_logins().filter(asks).collect();
        let emails: Vec<usize> = all_emails().filter(asks).collect();
        for &index in &self.logins {
            let settled = match first_enabled {
                Some(rival) if !asks(&index) => self.refused_by(rival),
                _ => self.login(index, &logins, claimants),
            };
            self.note(key, index, Field::Login, settled, outcomes);
        }
        for &index in &self.emails {
            let settled = match first_enabled {
                Some(rival) if !asks(&index) => self.refused_by(rival),
                _ => self.email(index, &logins, &emails, claimants),
            };
            self.note(key, index, Field::Email, settled, outcomes);
        }
    }

    /// Whoever has it outside is named before any entry that asks for it: the same fact for everybody.
    fn refused_by(&self, rival: usize) -> Settled {
        match self.outside {
            Some(Outside::Keeps) => Settled::Refused(Refusal::Outside),
            Some(Outside::Linkable) | None => Settled::Refused(Refusal::Rival(rival)),
        }
    }

    fn login(&self, index: usize, logins: &[usize], claimants: &[Claimant]) -> Settled {
        let claimant = &claimants[index];
        let linked = claimant.may_link && claimant.enabled;
        match self.outside {
            Some(Outside::Linkable) if linked => {}
            Some(_) => return Settled::Refused(Refusal::Outside),
            None => {}
        }
        if let Some(holder) = self.stays_with(claimants, claimant.enabled) {
            return Settled::Refused(Refusal::Rival(holder));
        }
        match logins.iter().find(|other| **other != index) {
            Some(rival) => Settled::Refused(Refusal::Rival(*rival)),
            None => Settled::Granted,
        }
    }

    fn email(&self, index: usize, logins: &[usize], emails: &[usize], claimants: &[Claimant]) -> Settled {
        match (self.outside, logins.iter().find(|other| **other != index)) {
            (None, _) => {}
            // The LOCAL user becomes that entry's.
            (Some(Outside::Linkable), Some(rival)) => return Settled::Refused(Refusal::Rival(*rival)),
            (Some(_), _) => return Settled::Refused(Refusal::Outside),
        }
        if let Some(holder) = self.stays_with(claimants, claimants[index].enabled) {
            return Settled::Refused(Refusal::Rival(holder));
        }
        match logins.iter().chain(emails).find(|other| **other != index) {
            Some(rival) => Settled::Refused(Refusal::Rival(*rival)),
            None => Settled::Granted,
        }
    }

    /// Rules 1 and 2: the holder whose entry offers it, unless it is deactivated and gives way.
    fn stays_with(&self, claimants: &[Claimant], asker_enabled: bool) -> Option<usize> {
        let (holder, field) = self.holder?;
        let gives_way = !claimants[holder].enabled && asker_enabled;
        (claimants[holder].offers(field) && !gives_way).then_some(holder)
    }

    fn note(&self, key: &str, index: usize, field: Field, settled: Settled, outcomes: &mut [Outcome]) {
        let outcome = &mut outcomes[index];
        match field {
            Field::Login => outcome.login = settled,
            Field::Email => outcome.email = settled,
        }
        if settled == Settled::Granted
            && let Some((holder, _)) = self.holder
        {
            outcome.needs.push((key.to_owned(), holder));
        }
    }
}

fn sorted(some: &[usize], others: &[usize]) -> impl Iterator<Item = usize> {
    let mut all = [some, others].concat();
    all.sort_unstable();
    all.into_iter()
}

fn enabled_of(claimants: &[Claimant]) -> impl Fn(&usize) -> bool {
    |index| claimants[*index].enabled
}

/// Rule 5: grants fall whose identifier its holder does not release, until nothing changes.
fn drop_unreleased(keys: &Keys, claimants: &[Claimant], outcomes: &mut [Outcome]) {
    loop {
        let mut dropped = Vec::new();
        for (key, asked) in &keys.0 {
            let Some((holder, field)) = asked.holder else {
                continue;
            };
            if releases(claimants, outcomes, holder, field) {
                continue;
            }
            for (asker, field) in asked.grants(outcomes) {
                // A deactivated holder gives way: it needs no wish of its own.
                let gives_way = claimants[asker].enabled && !claimants[holder].enabled;
                if !gives_way {
                    dropped.push((*key, asker, field, holder));
                }
            }
        }
        if dropped.is_empty() {
            return;
        }
        for (key, asker, field, holder) in dropped {
            let settled = Settled::Refused(Refusal::NotReleased(holder));
            match field {
                Field::Login => outcomes[asker].login = settled,
                Field::Email => outcomes[asker].email = settled,
            }
            outcomes[asker].needs.retain(|(needed, _)| needed != key);
        }
    }
}

/// True if the holder lets go of what it holds by its own wishes.
fn releases(claimants: &[Claimant], outcomes: &[Outcome], holder: usize, field: Field) -> bool {
    let claimant = &claimants[holder];
    if claimant.leaves {
        return true;
    }
    match field {
        // What the entry does not offer becomes empty, whether or not there is another one.
        Field::Email => !claimant.offers(Field::Email),
        // Nobody is left without a login.
        Field::Login => outcomes[holder].login == Settled::Granted,
    }
}

fn moved_to(key: &Option<String>) -> Want {
    key.clone().map_or(Want::Held, Want::Other)
}

impl Asked {
    fn grants(&self, outcomes: &[Outcome]) -> Vec<(usize, Field)> {
        let logins = self.logins.iter().map(|index| (*index, Field::Login));
        let emails = self.emails.iter().map(|index| (*index, Field::Email));
        let granted = |(index, field): &(usize, Field)| {
            let settled = match field {
                Field::Login => outcomes[*index].login,
                Field::Email => outcomes[*index].email,
            };
            settled == Settled::Granted
        };
        logins.chain(emails).filter(granted).collect()
    }
}

/// Wishes for what is the person's own already: an e-mail address that is the same as the login comes with it; what the
/// person holds in the other field is there, unless an enabled entry gets it from a deactivated holder.
fn settle_own(keys: &Keys, claimants: &[Claimant], outcomes: &mut [Outcome]) {
    for index in 0..claimants.len() {
        let claimant = &claimants[index];
        let own = |key: &String| {
            let grants = keys
                .0
                .get(key.as_str())
                .map(|asked| asked.grants(outcomes))
                .unwrap_or_default();
            let given_to = |(asker, _): &(usize, Field)| claimants[*asker].stays(&outcomes[*asker]);
            match grants.into_iter().find(given_to) {
                Some((asker, _)) => Settled::Refused(Refusal::Rival(asker)),
                None => Settled::Granted,
            }
        };
        let login = match &claimant.wants.login {
            Want::Other(key) if claimant.has(key) => own(key),
            _ => outcomes[index].login,
        };
        let email = match &claimant.wants.email {
            Want::Other(key) if claimant.has(key) => own(key),
            Want::Other(key) if claimant.moves_login_to(key) => login,
            _ => outcomes[index].email,
        };
        outcomes[index].login = login;
        outcomes[index].email = email;
    }
}

/// What deactivated holders give up.
fn note_releases(keys: &Keys, claimants: &[Claimant], outcomes: &mut [Outcome]) {
    for asked in keys.0.values() {
        let Some((holder, field)) = asked.holder else {
            continue;
        };
        let stays = |(asker, _): &(usize, Field)| claimants[*asker].stays(&outcomes[*asker]);
        let Some((asker, _)) = asked.grants(outcomes).into_iter().find(stays) else {
            continue;
        };
        if releases(claimants, outcomes, holder, field) {
            continue;
        }
        match field {
            Field::Login => outcomes[holder].gives_up_login = true,
            // One that asks for another address, or for none, loses nothing.
            Field::Email if claimants[holder].wants.email != Want::Held => {}
            Field::Email => outcomes[holder].gives_up_email = Some(asker),
        }
    }
}

fn note_ambiguous(keys: &Keys, claimants: &[Claimant], outcomes: &mut [Outcome]) {
    for asked in keys.0.values() {
        let Some((holder, Field::Login)) = asked.holder else {
            continue;
        };
        let keeps = !claimants[holder].offers(Field::Login)
            && !releases(claimants, outcomes, holder, Field::Login)
            && claimants[holder].enabled;
        let mut logins = sorted(&asked.logins, &asked.rejected_logins);
        let rival = logins.find(enabled_of(claimants));
        if let (true, Some(rival)) = (keeps, rival) {
            outcomes[holder].ambiguous_with = Some(rival);
        }
    }
}

#[cfg(test)]
mod tests;
