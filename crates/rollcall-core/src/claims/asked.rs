//! Everything about one identifier: who holds it, who asks for it, and who gets it by the rules 1 to 4.

use std::collections::{BTreeMap, HashMap};

use super::claimant::{Claimant, Field, Outside, Want};
use super::outcome::{Outcome, Refusal, Settled};

/// Everything about one identifier.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) holder: Option<(usize, Field)>,
    outside: Option<Outside>,
    pub(super) logins: Vec<usize>,
    emails: Vec<usize>,
    /// Those who ask and are not given anything: see [`Claimant::rejected`].
    pub(super) rejected_logins: Vec<usize>,
    rejected_emails: Vec<usize>,
}

pub(super) struct Keys<'c>(pub(super) BTreeMap<&'c str, Asked>);

impl<'c> Keys<'c> {
    pub(super) fn of(claimants: &'c [Claimant], outside: &'c HashMap<String, Outside>) -> Self {
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

impl Asked {
    pub(super) fn settle(&self, key: &str, claimants: &[Claimant], outcomes: &mut [Outcome]) {
        let enabled = |index: &usize| claimants[*index].enabled;
        let offered_by_enabled = self
            .holder
            .filter(|(holder, field)| enabled(holder) && claimants[*holder].offers(*field))
            .map(|(holder, _)| holder);
        // Sorted, so that the settings do not change which entry is named.
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

    /// A holder outside is named before any entry that asks for it, so that all are told the same.
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

    /// The claimants who get it, each with the field that it fills.
    pub(super) fn grants(&self, outcomes: &[Outcome]) -> Vec<(usize, Field)> {
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

pub(super) fn sorted(some: &[usize], others: &[usize]) -> impl Iterator<Item = usize> {
    let mut all = [some, others].concat();
    all.sort_unstable();
    all.into_iter()
}

pub(super) fn enabled_of(claimants: &[Claimant]) -> impl Fn(&usize) -> bool {
    |index| claimants[*index].enabled
}
