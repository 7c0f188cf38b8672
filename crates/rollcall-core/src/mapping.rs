//! From an entry to what it offers for each field of a user.
//!
//! Nothing is decided here. What a field becomes depends also on what the person has: see [`crate::judgement`].

use std::collections::{BTreeMap, BTreeSet};

use crate::dn::Dn;
use crate::entry::Entry;
use crate::identifier::{Email, LoginPolicy, LoginProblem, normalize};
use crate::issue::{Issue, IssueKind};
use crate::template::{Rendered, Template};
use crate::user_sync::UserSyncSettings;

/// Longest name, in characters.
pub const MAX_NAME_CHARS: usize = 256;
/// Longest phone number, in characters.
pub const MAX_PHONE_CHARS: usize = 64;
/// Longest value of a custom field, in characters.
pub const MAX_VALUE_CHARS: usize = 1024;

/// A sync's mapping, ready to be used.
#[derive(Clone, Debug)]
pub struct Mapping {
    login: Vec<Template>,
    email: Vec<Template>,
    display_name: Vec<Template>,
    given_name: Vec<Template>,
    family_name: Vec<Template>,
    phone_number: Vec<Template>,
    custom: BTreeMap<String, Vec<Template>>,
    restrictions: Vec<String>,
    policy: LoginPolicy,
}

/// What an entry offers for one field.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Offer {
    /// The values that can be used, of the first candidate that has any. The first one is for a person who has none
    /// of them yet.
    pub values: Vec<String>,
    /// Why there is less than the entry holds.
    pub gap: Gap,
    /// What to tell about the gap.
    pub issue: Option<Box<Issue>>,
}

/// Why a field has no value, or not the one that it should have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Gap {
    /// There is no gap: a field without a value has none in the entry.
    #[default]
    None,
    /// There are values, but none that can be used.
    Unusable,
    /// A candidate that comes before the values found cannot be decoded, so the entry may hold another one.
    Unreadable,
}

/// What an entry offers for all fields.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Offers {
    /// The login.
    pub login: Offer,
    /// The e-mail address.
    pub email: Offer,
    /// The full name.
    pub display_name: Offer,
    /// The given name.
    pub given_name: Offer,
    /// The family name.
    pub family_name: Offer,
    /// The phone number.
    pub phone_number: Offer,
    /// The product's own fields.
    pub custom: BTreeMap<String, Offer>,
    /// The product's own values, which every user of the sync gets.
    pub restrictions: Vec<String>,
    /// Of several values offered for the login, the one in the entry's RDN.
    pub naming_login: Option<String>,
}

impl Offers {
    /// All issues about what could not be taken.
    pub fn issues(&self) -> impl Iterator<Item = &Issue> {
        let fixed = [
            &self.login,
            &self.email,
            &self.display_name,
            &self.given_name,
            &self.family_name,
            &self.phone_number,
        ];
        let offers = fixed.into_iter().chain(self.custom.values());
        offers.filter_map(|offer| offer.issue.as_deref())
    }

    /// Every login and e-mail address that the entry may ask for, normalised.
    pub fn identifiers(&self) -> impl Iterator<Item = String> {
        let values = self.login.values.iter().chain(&self.email.values);
        values.map(|value| normalize(value))
    }
}

impl Mapping {
    /// Reads the mapping of a sync. Candidates that do not parse yield nothing: validation has refused them
    /// before they could be stored.
    pub fn new(settings: &UserSyncSettings, policy: LoginPolicy) -> Self {
        let parse = |candidates: &[String]| -> Vec<Template> {
            candidates
                .iter()
                .filter_map(|candidate| Template::parse(candidate).ok())
                .collect()
        };
        let fields = &settings.field_mappings;
        Self {
            login: parse(&fields.login),
            email: parse(&fields.email),
            display_name: parse(&fields.display_name),
            given_name: parse(&fields.given_name),
            family_name: parse(&fields.family_name),
            phone_number: parse(&fields.phone_number),
            custom: fields
                .custom
                .iter()
                .map(|(field, candidates)| (field.clone(), parse(candidates)))
                .collect(),
            restrictions: settings.restrictions.clone(),
            policy,
        }
    }

    /// The attributes that the mapping reads, in lower case, each once.
    pub fn attributes(&self) -> Vec<String> {
        let all = self
            .fields()
            .flat_map(|(_, templates)| templates)
            .flat_map(Template::attributes);
        let names: BTreeSet<String> = all.map(|name| name.to_lowercase()).collect();
        names.into_iter().collect()
    }

    /// Every field with its candidates.
    pub fn fields(&self) -> impl Iterator<Item = (String, &[Template])> {
        let fixed = [
            ("login", &self.login),
            ("email", &self.email),
            ("display_name", &self.display_name),
            ("given_name", &self.given_name),
            ("family_name", &self.family_name),
            ("phone_number", &self.phone_number),
        ];
        let custom = self
            .custom
            .iter()
            .map(|(field, templates)| (format!("custom.{field}"), templates.as_slice()));
        fixed
            .into_iter()
            .map(|(field, templates)| (field.to_owned(), templates.as_slice()))
            .chain(custom)
    }

    /// What an entry offers.
    pub fn read(&self, entry: &Entry) -> Offers {
        let text = |field: &str, templates: &[Template], most: usize| {
            offer(entry, field, templates, |value| text_problem(value, most))
        };
        let login = offer(entry, "login", &self.login, |value| self.login_problem(value));
        Offers {
            naming_login: naming_value(entry, &self.login, &login.values),
            login,
            email: offer(entry, "email", &self.email, email_problem),
            display_name: text("display_name", &self.display_name, MAX_NAME_CHARS),
            given_name: text("given_name", &self.given_name, MAX_NAME_CHARS),
            family_name: text("family_name", &self.family_name, MAX_NAME_CHARS),
            phone_number: text("phone_number", &self.phone_number, MAX_PHONE_CHARS),
            custom: self
                .custom
                .iter()
                .map(|(field, templates)| {
                    let offer = text(&format!("custom.{field}"), templates, MAX_VALUE_CHARS);
                    (field.clone(), offer)
                })
                .collect(),
            restrictions: self.restrictions.clone(),
        }
    }

    fn login_problem(&self, login: &str) -> Option<(IssueKind, String)> {
        let problem = self.policy.check(login).err()?;
        let kind = match problem {
            LoginProblem::TooShort { .. } => IssueKind::LoginTooShort,
            LoginProblem::TooLong { .. } => IssueKind::LoginTooLong,
            LoginProblem::IllegalCharacters { .. } => IssueKind::LoginIllegalCharacters,
        };
        Some((kind, format!("the login {problem}")))
    }
}

fn email_problem(value: &str) -> Option<(IssueKind, String)> {
    let invalid = Email::parse(value).is_err();
    invalid.then(|| {
        (
            IssueKind::EmailInvalid,
            "the e-mail address is not valid".to_owned(),
        )
    })
}

fn text_problem(value: &str, most: usize) -> Option<(IssueKind, String)> {
    let too_long = value.len() > most && value.chars().count() > most;
    too_long.then(|| {
        (
            IssueKind::ValueTooLong,
            format!("the value has more than {most} characters"),
        )
    })
}

fn offer(
    entry: &Entry,
    field: &str,
    candidates: &[Template],
    problem: impl Fn(&str) -> Option<(IssueKind, String)>,
) -> Offer {
    let (mut unusable, mut unreadable) = (None, None);
    for candidate in candidates {
        let mut values = match candidate.render(entry) {
            Rendered::Absent => continue,
            Rendered::Unreadable(attribute) => {
                unreadable.get_or_insert_with(|| undecodable(entry, field, attribute));
                continue;
            }
            Rendered::Values(values) => values,
        };
        values.retain(|value| match problem(value) {
            None => true,
            Some((kind, message)) => {
                unusable.get_or_insert_with(|| {
                    Box::new(Issue::new(kind, &entry.dn, message).about(candidate.as_str(), value))
                });
                false
            }
        });
        if !values.is_empty() {
            let gap = if unreadable.is_some() {
                Gap::Unreadable
            } else {
                Gap::None
            };
            return Offer {
                values,
                gap,
                issue: unreadable,
            };
        }
    }
    let gap = match (&unreadable, &unusable) {
        (Some(_), _) => Gap::Unreadable,
        (None, Some(_)) => Gap::Unusable,
        (None, None) => Gap::None,
    };
    Offer {
        values: Vec::new(),
        gap,
        issue: unreadable.or(unusable),
    }
}

fn undecodable(entry: &Entry, field: &str, attribute: &str) -> Box<Issue> {
    let message = format!("the value of {attribute}, which {field} is mapped to, is not UTF-8");
    Box::new(Issue::new(IssueKind::UndecodableEntry, &entry.dn, message).about(attribute, ""))
}

/// Of several values, the one that stands in the entry's RDN.
fn naming_value(entry: &Entry, candidates: &[Template], values: &[String]) -> Option<String> {
    if values.len() < 2 {
        return None;
    }
    let dn = Dn::parse(&entry.dn).ok()?;
    let mut names = candidates.iter().filter_map(Template::attribute);
    let naming = names.find_map(|name| dn.naming_value(name.as_str()))?;
    values.iter().find(|value| normalize(value) == naming).cloned()
}

#[cfg(test)]
mod tests;
