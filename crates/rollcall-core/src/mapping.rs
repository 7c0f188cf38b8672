//! From an entry to the fields that a sync wants a user to have.

use std::collections::{BTreeMap, BTreeSet};

use crate::entry::Entry;
use crate::identifier::{Email, LoginPolicy, LoginProblem};
use crate::issue::{Issue, IssueKind};
use crate::template::Template;
use crate::user::Profile;
use crate::user_sync::UserSyncSettings;

/// Longest value of a field other than the login, in characters.
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

/// What an entry asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mapped {
    /// The fields.
    pub profile: Profile,
    /// What could not be taken over, although the entry as a whole is.
    pub issues: Vec<Issue>,
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

    /// Maps an entry. `Err` says why it cannot be a user at all.
    pub fn map(&self, entry: &Entry, role: &str) -> Result<Mapped, Box<Issue>> {
        if entry.tainted {
            let message = "the entry holds text that is not UTF-8, so its names cannot be trusted";
            return Err(Box::new(Issue::new(
                IssueKind::UndecodableEntry,
                &entry.dn,
                message,
            )));
        }
        let mut issues = Vec::new();
        let login = self.login(entry)?;
        let email = first(&self.email, entry).filter(|(_, email)| {
            let valid = Email::parse(email).is_ok();
            if !valid {
                let issue = Issue::new(
                    IssueKind::EmailInvalid,
                    &entry.dn,
                    "the e-mail address is not valid",
                );
                issues.push(issue.about("email", email));
            }
            valid
        });
        let mut text = |field: &str, templates: &[Template]| {
            let (_, value) = first(templates, entry)?;
            if value.chars().count() <= MAX_VALUE_CHARS {
                return Some(value);
            }
            let message = format!("the value has more than {MAX_VALUE_CHARS} characters");
            issues.push(Issue::new(IssueKind::ValueTooLong, &entry.dn, message).about(field, &value));
            None
        };
        let profile = Profile {
            login,
            email: email.map(|(_, email)| email),
            display_name: text("display_name", &self.display_name),
            given_name: text("given_name", &self.given_name),
            family_name: text("family_name", &self.family_name),
            phone_number: text("phone_number", &self.phone_number),
            role: role.to_owned(),
            restrictions: self.restrictions.clone(),
            custom: self
                .custom
                .iter()
                .filter_map(|(field, templates)| Some((field.clone(), text(field, templates)?)))
                .collect(),
        };
        Ok(Mapped { profile, issues })
    }

    fn login(&self, entry: &Entry) -> Result<String, Box<Issue>> {
        let Some((source, login)) = first(&self.login, entry) else {
            let issue = Issue::new(
                IssueKind::MissingRequiredField,
                &entry.dn,
                "the entry has no value for the login",
            );
            let wanted: Vec<_> = self.login.iter().map(ToString::to_string).collect();
            return Err(Box::new(issue.about(&wanted.join(", "), "")));
        };
        let (kind, message) = match self.policy.check(&login) {
            Ok(_) => return Ok(login),
            Err(problem @ LoginProblem::TooShort { .. }) => (IssueKind::LoginTooShort, problem.to_string()),
            Err(problem @ LoginProblem::TooLong { .. }) => (IssueKind::LoginTooLong, problem.to_string()),
            Err(problem @ LoginProblem::IllegalCharacters { .. }) => {
                (IssueKind::LoginIllegalCharacters, problem.to_string())
            }
        };
        let issue = Issue::new(kind, &entry.dn, format!("the login {message}"));
        Err(Box::new(issue.about(source, &login)))
    }
}

/// The first candidate that yields something, with the candidate as it is written.
fn first<'t>(templates: &'t [Template], entry: &Entry) -> Option<(&'t str, String)> {
    templates.iter().find_map(|template| {
        let value = template.render(|name| entry.text(name))?;
        Some((template.as_str(), value))
    })
}

#[cfg(test)]
mod tests;
