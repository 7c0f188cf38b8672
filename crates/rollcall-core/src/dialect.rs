//! The kinds of directory servers, as data: each kind is one file in `kinds/`, which holds everything by
//! which it differs.

mod kinds;
mod password_expiry;
mod row;
mod state;
mod time;

use chrono::{DateTime, Utc};

use crate::entry::Entry;
use crate::external_id::IdKind;
use state::Reading;

pub use kinds::Dialect;
pub use password_expiry::{POLICY_ATTRIBUTE, password_expire_time, password_policy};
pub use row::*;
pub use state::{AccountState, AccountStatus};

/// The rows of a dialect to which a test added one.
#[cfg(debug_assertions)]
static ADDED: std::sync::OnceLock<(Dialect, Vec<(&str, Reading)>)> = std::sync::OnceLock::new();

impl Dialect {
    /// The kind of a server with this root DSE.
    pub fn of_root_dse(root: &Entry) -> Self {
        let shows = |sign: &Sign| {
            let any = |attribute: &str, test: &dyn Fn(&str) -> bool| root.texts(attribute).any(test);
            match *sign {
                Sign::Capability(oid) => any("supportedCapabilities", &|value| value == oid),
                Sign::ObjectClass(class) => any("objectClass", &|value| value.eq_ignore_ascii_case(class)),
                Sign::Vendor(word) => ["vendorName", "vendorVersion"]
                    .iter()
                    .any(|attribute| any(attribute, &|value| value.to_lowercase().contains(word))),
                Sign::Attribute(attribute) => any(attribute, &|_| true),
            }
        };
        let is_of = |dialect: &Self| dialect.row().signs.iter().any(shows);
        let all = Self::ALL.iter().copied().filter(is_of);
        all.min_by_key(|dialect| dialect.row().turn)
            .unwrap_or(Self::Generic)
    }

    /// The attributes that may hold the stable id, the best first.
    pub fn external_id_kinds(self) -> &'static [IdKind] {
        self.row().external_ids
    }

    /// The attributes that tell the account's state. Most are operational: they come only when asked for.
    pub fn state_attributes(self) -> impl Iterator<Item = &'static str> {
        self.readings().iter().map(|(attribute, _)| *attribute)
    }

    /// Reads the account's state from an entry that was asked for [`state_attributes`](Self::state_attributes).
    ///
    /// LDAP does not tell an absent attribute from one that may not be read. An attribute that every account has is
    /// unreadable where it is absent; any other one is not set, unless somebody has found out that it may not be read. Where several states hold, disabled comes before
    /// expired, expired before unreadable, and unreadable before locked.
    pub fn account_state(self, entry: &Entry, now: DateTime<Utc>) -> AccountState {
        self.read_state(entry, now, &[]).0
    }

    /// The same for a server on which the attributes in `hidden` may not be read: if one of them is absent, it counts
    /// as unreadable. Also returns the first attribute that decides whether the account is enabled and cannot be read.
    pub fn read_state(
        self,
        entry: &Entry,
        now: DateTime<Utc>,
        hidden: &[&str],
    ) -> (AccountState, Option<&'static str>) {
        let mut facts = state::Facts::default();
        let mut unreadable = None;
        for (attribute, reading) in self.readings() {
            self.read_attribute(attribute, *reading, entry, now, hidden, &mut facts);
            if facts.is_unreadable() {
                unreadable.get_or_insert(*attribute);
            }
        }
        (facts.into_state(), unreadable)
    }

    /// What each attribute of the account's state says by itself, with its values as text. Attributes that say nothing
    /// are left out.
    pub fn state_evidence(
        self,
        entry: &Entry,
        now: DateTime<Utc>,
        hidden: &[&str],
    ) -> Vec<(&'static str, String, AccountState)> {
        let said = |(attribute, reading): &(&'static str, Reading)| {
            let mut facts = state::Facts::default();
            self.read_attribute(attribute, *reading, entry, now, hidden, &mut facts);
            let state = facts.into_state();
            let values: Vec<String> = entry
                .values(attribute)
                .iter()
                .map(|value| String::from_utf8_lossy(value).into_owned())
                .collect();
            (state != AccountState::default()).then(|| (*attribute, values.join(", "), state))
        };
        self.readings().iter().filter_map(said).collect()
    }

    fn read_attribute(
        self,
        attribute: &str,
        reading: Reading,
        entry: &Entry,
        now: DateTime<Utc>,
        hidden: &[&str],
        facts: &mut state::Facts,
    ) {
        match entry.values(attribute) {
            [] if self.has_always(attribute, entry) || hidden.contains(&attribute) => {
                reading.unreadable(facts);
            }
            [] => {}
            [value] => match std::str::from_utf8(value) {
                Ok(value) => reading.read(value.trim(), now.timestamp(), facts),
                Err(_) => reading.unreadable(facts),
            },
            _ => reading.unreadable(facts),
        }
    }

    /// Those of the [`state_attributes`](Self::state_attributes) that decide whether an account is enabled.
    pub fn deciding_attributes(self) -> impl Iterator<Item = &'static str> {
        let deciding = self
            .readings()
            .iter()
            .filter(|(_, reading)| reading.decides_status());
        deciding.map(|(attribute, _)| *attribute)
    }

    /// What absence means: true if every account has the attribute, so that an entry without it hides it. A gateway in
    /// front of another store may lack the attribute; its objectGUID, which is not 16 bytes, gives it away.
    fn has_always(self, attribute: &str, entry: &Entry) -> bool {
        let imitated = || {
            entry
                .values("objectGUID")
                .first()
                .is_some_and(|guid| guid.len() != 16)
        };
        self.row().always_present == Some(attribute) && !imitated()
    }

    /// Adds a row for the whole process: from now on such servers say by `TRUE` in this attribute that an account is
    /// disabled. False if a row was added before; there can be one.
    ///
    /// For tests, which show with it that all code that judges an account uses the rows. Only builds with debug
    /// assertions have it, so no release can be made to judge differently than its source says.
    #[cfg(debug_assertions)]
    pub fn add_disabling_attribute(self, attribute: &'static str) -> bool {
        let mut rows = self.row().readings.to_vec();
        rows.push((attribute, Reading::DisabledIfTrue));
        ADDED.set((self, rows)).is_ok()
    }

    /// The rows of the dialect: the code that asks for the state, and the code that reads it, go by these.
    fn readings(self) -> &'static [(&'static str, Reading)] {
        #[cfg(debug_assertions)]
        if let Some((changed, rows)) = ADDED.get()
            && *changed == self
        {
            return rows;
        }
        self.row().readings
    }
}

#[cfg(test)]
mod tests;
