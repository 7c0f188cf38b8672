//! From an entry to what it offers for each field of a user.
//!
//! Nothing is decided here. What a field becomes depends also on what the person has: see [`crate::judgement`].

use std::collections::{BTreeMap, BTreeSet};

use crate::dn::Dn;
use crate::entry::Entry;
use crate::field::{self, Field, TextField, ValueProblem};
use crate::identifier::{LoginPolicy, normalize};
use crate::issue::{Issue, IssueKind};
use crate::template::{Rendered, Template, as_written};
use crate::user_sync::UserSyncSettings;

/// Values that an issue names beside the first that cannot be used, and of each so many characters.
const MAX_OTHERS: usize = 5;
const MAX_OTHER_CHARS: usize = 100;

/// A sync's mapping, ready to be used.
#[derive(Clone, Debug)]
pub struct Mapping {
    login: Vec<Template>,
    email: Vec<Template>,
    texts: BTreeMap<TextField, Vec<Template>>,
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
    /// Why the entry offers less than it holds.
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
    /// Each plain text.
    pub texts: BTreeMap<TextField, Offer>,
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
        let identifiers = [&self.login, &self.email].into_iter();
        let offers = identifiers.chain(self.texts.values()).chain(self.custom.values());
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
            texts: TextField::ALL
                .iter()
                .map(|field| (*field, parse(fields.text(*field))))
                .collect(),
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
        let identifiers = [("login", &self.login), ("email", &self.email)].into_iter();
        let texts = self
            .texts
            .iter()
            .map(|(field, templates)| (field.name(), templates));
        let custom = self
            .custom
            .iter()
            .map(|(field, templates)| (format!("custom.{field}"), templates.as_slice()));
        identifiers
            .chain(texts)
            .map(|(field, templates)| (field.to_owned(), templates.as_slice()))
            .chain(custom)
    }

    /// What an entry offers.
    pub fn read(&self, entry: &Entry) -> Offers {
        let read = |field: Field, templates: &[Template]| self.offer(entry, field, field.name(), templates);
        let login = read(Field::Login, &self.login);
        Offers {
            naming_login: naming_value(entry, &self.login, &login.values),
            login,
            email: read(Field::Email, &self.email),
            texts: self
                .texts
                .iter()
                .map(|(field, templates)| (*field, read(Field::Text(*field), templates)))
                .collect(),
            custom: self
                .custom
                .iter()
                .map(|(field, templates)| {
                    let offer = self.offer(entry, Field::Custom, &format!("custom.{field}"), templates);
                    (field.clone(), offer)
                })
                .collect(),
            restrictions: self.restrictions.clone(),
        }
    }

    /// Every field with what became of each of its candidates, also of those after the one that is taken.
    pub fn tried(&self, entry: &Entry) -> Vec<(String, Vec<Tried>)> {
        let field_at = |path: &str| match path {
            "login" => Field::Login,
            "email" => Field::Email,
            path => TextField::named(path).map_or(Field::Custom, Field::Text),
        };
        let tried = |(path, templates): (String, &[Template])| {
            let field = field_at(&path);
            let tried = templates
                .iter()
                .map(|candidate| self.try_candidate(entry, field, candidate));
            (path, tried.collect())
        };
        self.fields().map(tried).collect()
    }

    fn try_candidate(&self, entry: &Entry, field: Field, candidate: &Template) -> Tried {
        let found = match candidate.render(entry) {
            Rendered::Absent => Found::Nothing,
            Rendered::Unreadable(attribute) => {
                Found::Unreadable(as_written(candidate.as_str(), attribute).to_owned())
            }
            Rendered::Values(values) => Found::Values(
                values
                    .into_iter()
                    .map(|value| {
                        let usable = field::usable(field, &value, &self.policy);
                        (value, usable)
                    })
                    .collect(),
            ),
        };
        Tried {
            candidate: candidate.as_str().to_owned(),
            found,
        }
    }

    /// What an entry offers for the field at `path`.
    fn offer(&self, entry: &Entry, field: Field, path: &str, candidates: &[Template]) -> Offer {
        let (mut unusable, mut unreadable): (Option<Box<Issue>>, _) = (None, None);
        let mut others: Vec<String> = Vec::new();
        for candidate in candidates {
            let tried = self.try_candidate(entry, field, candidate);
            let found = match tried.found {
                Found::Nothing => continue,
                Found::Unreadable(attribute) => {
                    unreadable.get_or_insert_with(|| undecodable(entry, path, &attribute));
                    continue;
                }
                Found::Values(values) => values,
            };
            let mut values: Vec<String> = Vec::with_capacity(found.len());
            for (value, usable) in found {
                match usable {
                    Ok(usable) if values.contains(&usable) => {}
                    Ok(usable) => values.push(usable),
                    Err(problem) => {
                        if unusable.is_some() && problem.issue_kind().is_some() && others.len() < MAX_OTHERS {
                            let shown: String = value.chars().take(MAX_OTHER_CHARS).collect();
                            // Quoted, so that no control character gets into the sentence.
                            others.push(format!("{shown:?}"));
                        }
                        let issue = problem
                            .issue_kind()
                            .map(|kind| Issue::new(kind, &entry.dn, message(problem)));
                        unusable = unusable.or_else(|| {
                            issue
                                .map(|issue| Box::new(issue.of_field(path).about(candidate.as_str(), &value)))
                        });
                    }
                }
            }
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
        if let Some(issue) = &mut unusable
            && !others.is_empty()
        {
            issue.message += &format!("; nor can any other value be used: {}", others.join(", "));
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
}

/// What became of one candidate of a field.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tried {
    /// The candidate, as it is written.
    pub candidate: String,
    /// What the entry has for it.
    pub found: Found,
}

/// What an entry has for a candidate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// This attribute cannot be decoded.
    Unreadable(String),
    /// These values, each with the form in which it can be used, or why it cannot.
    Values(Vec<(String, Result<String, ValueProblem>)>),
}

impl Found {
    /// True if a value can be used, so that no later candidate is asked.
    pub fn is_taken(&self) -> bool {
        matches!(self, Self::Values(values) if values.iter().any(|(_, usable)| usable.is_ok()))
    }
}

/// Why a value cannot be used, for people.
pub fn message(problem: ValueProblem) -> String {
    match problem {
        ValueProblem::Login(problem) => format!("the login {problem}"),
        ValueProblem::Email(problem) => format!("the e-mail address is not valid: {problem}"),
        ValueProblem::Empty | ValueProblem::TooLong { .. } | ValueProblem::IllegalCharacter { .. } => {
            format!("the value {problem}")
        }
    }
}

fn undecodable(entry: &Entry, field: &str, attribute: &str) -> Box<Issue> {
    let message = format!("the value of {attribute}, which {field} is mapped to, is not UTF-8");
    let issue = Issue::new(IssueKind::UndecodableEntry, &entry.dn, message);
    Box::new(issue.of_field(field).about(attribute, ""))
}

/// Of several values, the one that stands in the entry's RDN.
fn naming_value(entry: &Entry, candidates: &[Template], values: &[String]) -> Option<String> {
    if values.len() < 2 {
        return None;
    }
    let dn = Dn::given(&entry.dn);
    let mut names = candidates.iter().filter_map(Template::attribute);
    let naming = names.find_map(|name| dn.naming_value(name.as_str()))?;
    values.iter().find(|value| normalize(value) == naming).cloned()
}

#[cfg(test)]
mod tests;
