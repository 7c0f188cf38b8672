//! What one entry means for a known user, or for somebody new. Runs, previews, logins, refreshes and checks all ask
//! here, so that none of them can disagree.
//!
//! The order is fixed, and a later step never undoes or hides an earlier one:
//! 1. identity: the caller has found the person by the external id;
//! 2. state: may the person log in? Read before anything is mapped;
//! 3. role: by the rules, some of which may not have been evaluated;
//! 4. profile: each field by itself;
//! 5. identifiers: what the entry asks for. Whether it gets them depends on others: see [`crate::claims`].

use crate::claims::{Want, Wants};
use crate::dialect::AccountStatus;
use crate::external_id::ExternalId;
use crate::identifier::normalize;
use crate::issue::{Issue, IssueKind};
use crate::mapping::{Gap, Offer, Offers};
use crate::plan::Fingerprint;
use crate::role::RoleFinding;
use crate::user::{Profile, StateReason, User, UserState};
use crate::user_sync::{ExistingUsers, LoginChanges, UserSyncSettings};

/// What was read of one entry, before it is known whose it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EntryReading {
    /// The entry's stable id.
    pub external_id: ExternalId,
    /// The entry's DN.
    pub dn: String,
    /// The DN is not UTF-8: it was repaired for people to read, and no server knows it.
    pub dn_unreadable: bool,
    /// Whether the account may log in.
    pub status: AccountStatus,
    /// The first attribute that decides this and cannot be read, if there is one.
    pub unreadable_state: Option<&'static str>,
    /// What it offers for each field.
    pub offers: Offers,
}

/// What an entry means for a person.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Judged {
    /// The entry's stable id.
    pub external_id: ExternalId,
    /// The DN that the user shall have.
    pub dn: String,
    /// The state that the user shall have.
    pub state: UserState,
    /// Why it is in that state.
    pub state_reason: Option<StateReason>,
    /// The fields that the user shall have, with the login and the e-mail address that the entry asks for.
    pub profile: Profile,
    /// What the entry asks for, as claims are settled.
    pub wants: Wants,
    /// What the entry asks for and the sync does not give to it, since the sync keeps logins or all fields. Nobody else
    /// gets it either: they could be mistaken for this person.
    pub rejected: Wants,
    /// What could not be taken, and why.
    pub issues: Vec<Issue>,
}

impl Judged {
    /// The fingerprint that the user will have.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.profile, &self.dn, self.state, self.state_reason, false)
    }
}

impl EntryReading {
    /// Judges an entry of somebody who is no user of the tenant yet.
    ///
    /// # Errors
    /// Why the person has to wait: without a login, a role or a state there is no user to create.
    pub fn for_new(&self, role: &RoleFinding) -> Result<Judged, Vec<Issue>> {
        let mut issues: Vec<Issue> = self.offers.issues().cloned().collect();
        let mut waits = false;
        if self.dn_unreadable {
            issues.push(self.dn_issue("so nobody could log in with this entry"));
            waits = true;
        }
        let (state, state_reason) = match self.stated() {
            Some(stated) => stated,
            None => {
                issues.push(self.state_issue("the entry waits until it can be"));
                (UserState::Active, None)
            }
        };
        waits |= self.stated().is_none();
        if role.for_new().is_none() {
            issues.push(self.role_issue(role, "the entry waits until it can be"));
            waits = true;
        }
        let Some(login) = self.offers.login.values.first() else {
            issues.extend(self.missing_login());
            return Err(issues);
        };
        let (Some(role), false) = (role.for_new(), waits) else {
            return Err(issues);
        };
        let first = |offer: &Offer| offer.values.first().cloned();
        let email = first(&self.offers.email);
        Ok(Judged {
            external_id: self.external_id.clone(),
            dn: self.dn.clone(),
            state,
            state_reason,
            wants: self.asks(),
            rejected: Wants::default(),
            profile: self.profile(None, login.clone(), email, role),
            issues,
        })
    }

    /// Judges the entry of a known person. `owned` is false for a user whom this sync takes over from another one.
    pub fn for_known(
        &self,
        role: &RoleFinding,
        person: &User,
        owned: bool,
        settings: &UserSyncSettings,
    ) -> Judged {
        let holds = person.state != UserState::Archived;
        let left_alone = owned && settings.existing_users == ExistingUsers::Ignore && holds;
        // Where the sync leaves the user's fields alone, mistakes in the entry's fields do not matter.
        let of_fields = self.offers.issues().filter(|_| !left_alone);
        let mut issues: Vec<Issue> = of_fields.cloned().collect();
        let (state, state_reason) = self.stated().unwrap_or_else(|| {
            issues.push(self.state_issue("the user stays as it was"));
            (person.state, person.state_reason)
        });
        // A user was archived when another entry got its login. While its own entry says the same as then, it stays
        // archived.
        let same_as_before = person.state == UserState::Archived
            && state == UserState::Deactivated
            && person.state_reason == state_reason;
        let state = if same_as_before {
            UserState::Archived
        } else {
            state
        };
        let known_dn = person.origin.as_ref().map(|origin| origin.dn.clone());
        let dn = match (self.dn_unreadable, known_dn) {
            (true, Some(known)) => {
                issues.push(self.dn_issue("so the user keeps the one it had"));
                known
            }
            _ => self.dn.clone(),
        };
        let mut judged = Judged {
            external_id: self.external_id.clone(),
            dn,
            state,
            state_reason,
            profile: person.profile.clone(),
            wants: Wants::default(),
            rejected: Wants::default(),
            issues,
        };
        if state == UserState::Archived {
            // A user who stays archived asks for no identifiers.
            return judged;
        }
        let (login, login_want) = self.login(person, holds, settings);
        if left_alone {
            // Whether the user may log in, and by which entry, is decided even where the sync leaves fields alone.
            judged.wants.login = match login_want {
                Want::Held => Want::Held,
                Want::Nothing | Want::Other(_) => Want::Nothing,
            };
            judged.rejected = Wants {
                login: login_want,
                email: self.email(person, holds).1,
            };
            return judged;
        }
        let present = &person.profile.role;
        let role_name = role.for_known(present);
        if role_name != present && role.for_new().is_none() {
            let why = format!("the role {present} is lost, since no possible answer gives it");
            judged.issues.push(self.role_issue(role, &why));
        }
        let mut profile_login = login;
        let changes = matches!(login_want, Want::Other(_));
        judged.wants.login = if changes && holds && settings.login_changes == LoginChanges::Reject {
            judged.issues.push(self.rejected(person, &profile_login));
            judged.rejected.login = login_want;
            profile_login.clone_from(&person.profile.login);
            Want::Nothing
        } else {
            login_want
        };
        if self.offers.login.values.is_empty() {
            judged.issues.extend(self.missing_login());
        }
        let (email, email_want) = self.email(person, holds);
        judged.wants.email = email_want;
        judged.profile = self.profile(Some(&person.profile), profile_login, email, role_name);
        judged
    }

    /// The identifiers that the entry asks for, whatever it gets.
    pub fn asks(&self) -> Wants {
        let key = |offer: &Offer| match offer.values.first() {
            Some(value) => Want::Other(normalize(value)),
            None => Want::Nothing,
        };
        Wants {
            login: key(&self.offers.login),
            email: key(&self.offers.email),
        }
    }

    /// True if the entry says that the account may log in, or says nothing to the contrary.
    pub fn is_enabled(&self) -> bool {
        matches!(self.stated(), Some((UserState::Active, _)))
    }

    /// The state that the entry tells; `None` if it cannot be read.
    pub fn stated(&self) -> Option<(UserState, Option<StateReason>)> {
        match self.status {
            AccountStatus::Disabled => Some((UserState::Deactivated, Some(StateReason::DisabledInDirectory))),
            AccountStatus::Expired => Some((UserState::Deactivated, Some(StateReason::ExpiredInDirectory))),
            // A lock after wrong passwords ends by itself.
            AccountStatus::Enabled | AccountStatus::Locked | AccountStatus::NotSet => {
                Some((UserState::Active, None))
            }
            AccountStatus::Unreadable => None,
        }
    }

    fn login(&self, person: &User, holds: bool, settings: &UserSyncSettings) -> (String, Want) {
        let present = &person.profile.login;
        let offer = &self.offers.login;
        if holds && offer.gap == Gap::Unreadable {
            return (present.clone(), Want::Held);
        }
        let key = normalize(present);
        // A user who was archived gets the former login back, if the entry has it and it is free.
        let in_use = || in_use(&offer.values, Some(present));
        let naming = || self.offers.naming_login.as_ref();
        let chosen = match settings.login_changes {
            LoginChanges::Allow => naming().or_else(in_use),
            LoginChanges::Reject => in_use().or_else(naming),
        };
        match chosen.or_else(|| offer.values.first()) {
            None => (present.clone(), Want::Nothing),
            Some(login) if holds && normalize(login) == key => (login.clone(), Want::Held),
            Some(login) => (login.clone(), Want::Other(normalize(login))),
        }
    }

    fn email(&self, person: &User, holds: bool) -> (Option<String>, Want) {
        let present = person.profile.email.as_ref();
        let held = present.filter(|_| holds);
        let offer = &self.offers.email;
        if offer.gap == Gap::Unreadable && held.is_some() {
            return (held.cloned(), Want::Held);
        }
        let chosen = in_use(&offer.values, present.map(String::as_str)).or_else(|| offer.values.first());
        match chosen {
            None => (None, Want::Nothing),
            Some(email) if held.is_some_and(|present| normalize(present) == normalize(email)) => {
                (Some(email.clone()), Want::Held)
            }
            Some(email) => (Some(email.clone()), Want::Other(normalize(email))),
        }
    }

    fn profile(&self, person: Option<&Profile>, login: String, email: Option<String>, role: &str) -> Profile {
        let Offers {
            login: _,
            naming_login: _,
            email: _,
            texts,
            custom,
            restrictions,
        } = &self.offers;
        Profile {
            login,
            email,
            texts: texts
                .iter()
                .filter_map(|(field, offer)| {
                    let present = person.map(|person| person.text(*field));
                    Some((*field, chosen(offer, present)?))
                })
                .collect(),
            role: role.to_owned(),
            restrictions: restrictions.clone(),
            custom: custom
                .iter()
                .filter_map(|(field, offer)| {
                    let present = person.map(|person| person.custom.get(field).map(String::as_str));
                    Some((field.clone(), chosen(offer, present)?))
                })
                .collect(),
        }
    }

    fn missing_login(&self) -> Option<Issue> {
        let message = "the entry has no value for the login";
        let missing = self.offers.login.gap == Gap::None;
        missing.then(|| Issue::new(IssueKind::MissingRequiredField, &self.dn, message).of_field("login"))
    }

    fn rejected(&self, person: &User, login: &str) -> Issue {
        let message = format!(
            "the entry does not have the login {} any more, and this sync keeps logins",
            person.profile.login
        );
        let issue = Issue::new(IssueKind::LoginChangeRejected, &self.dn, message);
        issue.of_field("login").valued(login)
    }

    fn state_issue(&self, consequence: &str) -> Issue {
        let message = format!("whether the account is enabled cannot be read: {consequence}");
        let issue = Issue::new(IssueKind::StateUnreadable, &self.dn, message);
        match self.unreadable_state {
            Some(attribute) => issue.about(attribute, ""),
            None => issue,
        }
    }

    fn dn_issue(&self, consequence: &str) -> Issue {
        let message = format!("the distinguished name is not UTF-8, {consequence}");
        Issue::new(IssueKind::UndecodableEntry, &self.dn, message)
    }

    fn role_issue(&self, role: &RoleFinding, consequence: &str) -> Issue {
        let rules: Vec<String> = role
            .unevaluated()
            .iter()
            .map(|rule| (rule + 1).to_string())
            .collect();
        let rules = rules.join(", ");
        let message = format!("role rule {rules} could not be evaluated: {consequence}");
        Issue::new(IssueKind::RoleRuleFailed, &self.dn, message).of_field("role")
    }
}

/// The value that is in use, as the entry writes it now.
fn in_use<'o>(values: &'o [String], present: Option<&str>) -> Option<&'o String> {
    let present = present?;
    let same = values.iter().find(|value| *value == present);
    same.or_else(|| {
        let key = normalize(present);
        values.iter().find(|value| normalize(value) == key)
    })
}

/// The value of a field. `present` is `None` for a new person.
fn chosen(offer: &Offer, present: Option<Option<&str>>) -> Option<String> {
    let first = offer.values.first();
    let Some(present) = present else {
        return first.cloned();
    };
    let kept = present.map(str::to_owned);
    match (offer.gap, first) {
        (Gap::Unreadable, _) | (Gap::Unusable, None) => kept,
        _ if present.is_some_and(|present| offer.values.iter().any(|value| value == present)) => kept,
        _ => first.cloned(),
    }
}
