//! Asks the directory: is this still the person, may they log in, and is the password right?
//!
//! The bind and the read go out together, to the same host; both must say yes. Only if the read proves that the entry
//! at the DN is no longer this person, the person is searched by external id, and bound where the search finds them.

use chrono::{DateTime, Utc};
use rollcall_core::dialect::{Dialect, password_expire_time};
use rollcall_core::dn::{Dn, is_same_dn};
use rollcall_core::entry::Entry;
use rollcall_core::external_id::ExternalId;
use rollcall_core::filter::Filter;
use rollcall_core::person::{self, not_a_person};
use rollcall_core::secret::Password;
use rollcall_core::user_sync::Search;
use rollcall_core::verdict::Verdict;
use rollcall_ldap::{
    BindAnswer, BindAs, BindError, LdapDirectory, LdapError, Misconfiguration, ReadRequest, ResultCode,
};
use rollcall_service::scope::filter_at;
use tokio::time::Instant;

/// The person to ask about, and what is known about them.
pub struct Question<'a> {
    /// The directory that owns the user.
    pub directory: &'a LdapDirectory,
    /// Its kind.
    pub dialect: Dialect,
    /// The searches of the user's sync that are in force.
    pub searches: &'a [Search],
    /// The searches that an admin has edited meanwhile, if they differ: an entry outside them is refused too.
    pub edited_searches: Option<&'a [Search]>,
    /// The person's id.
    pub id: &'a ExternalId,
    /// Where the entry was when it was last seen, if that is recent enough to bind there at once.
    pub recent_dn: Option<&'a str>,
    /// What to read: the sync's mapped attributes.
    pub attributes: &'a [String],
    /// The time, for dates in the entry.
    pub now: DateTime<Utc>,
    /// When to give up.
    pub deadline: Instant,
}

/// What the directory said.
pub struct Answer {
    /// What came out.
    pub finding: Finding,
    /// A bind was answered, or may have been received.
    pub bind_sent: bool,
    /// A bind was answered, and not with success.
    pub bind_refused: bool,
}

/// The result.
pub enum Finding {
    /// The person is there, within the sync's searches, and the bind was answered.
    Judged {
        /// What the answer means.
        verdict: Verdict,
        /// The entry as it is now.
        entry: Box<Entry>,
    },
    /// The person is not there, or no search of the sync takes them any more.
    Absent(Absence),
    /// No answer.
    Failed(LdapError),
}

/// Why the person may not log in, whatever the password.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Absence {
    /// No entry below the bases of the searches has the external id. It is not looked for elsewhere.
    NotFound,
    /// Several entries have the external id.
    SharedId,
    /// The entry exists, but no search of the sync finds it.
    OutOfScope,
}

/// Checks a password. Where a bind by id is possible there is one bind, wherever the person is. Elsewhere at most one
/// bind goes to a DN that is not proven to be this person's, and at most one to a DN that is.
pub async fn ask(question: &Question<'_>, password: &Password) -> Answer {
    let mut sent = Sent::default();
    let finding = match question.recent_dn {
        Some(dn) => match at(question, dn, password, &mut sent).await {
            At::Person(finding) => finding,
            At::SomebodyElse(bound) => search_first(question, Some(dn), bound, password, &mut sent).await,
        },
        None => search_first(question, None, None, password, &mut sent).await,
    };
    Answer {
        finding: finding.unwrap_or_else(Finding::Failed),
        bind_sent: sent.any,
        bind_refused: sent.refused,
    }
}

/// Reads again a person whose password was checked; `None` if they are not there, or no search of the sync takes them.
///
/// # Errors
/// No answer.
pub async fn read_again(question: &Question<'_>, dn: &str) -> Result<Option<Entry>, LdapError> {
    let Some(request) = request_at(question, dn) else {
        return Ok(None);
    };
    let entry = question.directory.read_entry(&request, question.deadline).await?;
    Ok(entry.filter(|entry| is_person(question, entry)))
}

/// The binds that may have been sent.
#[derive(Default)]
struct Sent {
    any: bool,
    refused: bool,
}

enum At {
    Person(Result<Finding, LdapError>),
    /// The person is elsewhere. If there was a bind by id, its answer is about the person all the same.
    SomebodyElse(Option<BindAnswer>),
}

/// Binds at a DN and reads it at the same time.
async fn at(question: &Question<'_>, dn: &str, password: &Password, sent: &mut Sent) -> At {
    let Some(request) = request_at(question, dn) else {
        // The searches were changed since the DN was noted. Where the entry is now decides.
        return At::SomebodyElse(None);
    };
    let both = question
        .directory
        .verify_and_read(bind_as(question, dn), password, &request, question.deadline)
        .await;
    let bind = sent.note(both.bind);
    match (bind, both.read) {
        // If this bind has no answer, there is no second one, wherever the person is.
        (Err(error), _) | (Ok(_), Err(error)) => At::Person(Err(error)),
        (Ok(answer), Ok(Some(entry))) if is_person(question, &entry) => {
            At::Person(Ok(judged(question, &answer, entry)))
        }
        (Ok(answer), Ok(_)) => At::SomebodyElse(both.by_id.then_some(answer)),
    }
}

/// Finds the person by external id, and binds where they are.
async fn search_first(
    question: &Question<'_>,
    tried: Option<&str>,
    bound: Option<BindAnswer>,
    password: &Password,
    sent: &mut Sent,
) -> Result<Finding, LdapError> {
    let mut bases: Vec<String> = question
        .searches
        .iter()
        .map(|search| search.base_dn.clone())
        .collect();
    bases.dedup();
    let found = question
        .directory
        .find_by_external_id(question.id, &bases, &attributes(question), question.deadline)
        .await;
    let found = match found {
        Err(LdapError::Misconfigured(Misconfiguration::SharedId)) => {
            return Ok(Finding::Absent(Absence::SharedId));
        }
        found => found?,
    };
    let Some(found) = found.filter(|entry| is_person(question, entry)) else {
        return Ok(Finding::Absent(Absence::NotFound));
    };
    // The person has not moved, yet the read at this DN did not find them: so the filter excludes them.
    if tried.is_some_and(|tried| is_same_dn(tried, &found.dn)) {
        return Ok(Finding::Absent(Absence::OutOfScope));
    }
    let Some(request) = request_at(question, &found.dn) else {
        return Ok(Finding::Absent(Absence::OutOfScope));
    };
    // The search just proved that this is the person, so the password may go there. Whether it still is, and in which
    // state, is read from the host that judges the password.
    let (answer, entry) = match bound {
        Some(answer) => {
            let read = question.directory.read_entry(&request, question.deadline);
            (answer, read.await?)
        }
        None => {
            let who = bind_as(question, &found.dn);
            let both = question
                .directory
                .verify_and_read(who, password, &request, question.deadline)
                .await;
            (sent.note(both.bind)?, both.read?)
        }
    };
    let Some(entry) = entry else {
        return Ok(Finding::Absent(Absence::OutOfScope));
    };
    if !is_person(question, &entry) {
        return Ok(Finding::Absent(Absence::NotFound));
    }
    Ok(judged(question, &answer, entry))
}

fn bind_as<'a>(question: &Question<'a>, dn: &'a str) -> BindAs<'a> {
    BindAs {
        name: dn,
        id: Some(question.id),
    }
}

impl Sent {
    fn note(&mut self, bind: Result<BindAnswer, BindError>) -> Result<BindAnswer, LdapError> {
        self.any |= bind.as_ref().map_or_else(|error| !error.unsent, |_| true);
        self.refused |= bind
            .as_ref()
            .is_ok_and(|answer| answer.code != ResultCode::SUCCESS);
        bind.map_err(|error| error.error)
    }
}

fn judged(question: &Question<'_>, answer: &BindAnswer, entry: Entry) -> Finding {
    let account = question.dialect.account_state(&entry, question.now);
    let expires_in = question
        .dialect
        .row()
        .login_expiry
        .and_then(|_| password_expire_time(&entry, None))
        .map(|time| time - question.now);
    Finding::Judged {
        verdict: answer.verdict(question.dialect, account, expires_in),
        entry: Box::new(entry),
    }
}

/// Whether the entry is this person. An alias is not, whatever id it shows.
fn is_person(question: &Question<'_>, entry: &Entry) -> bool {
    if not_a_person(question.dialect, entry).is_some() {
        return false;
    }
    let kind = question.id.kind().clone();
    let values = entry.values(kind.attribute()).to_vec();
    ExternalId::from_values(kind, &values).as_ref() == Ok(question.id)
}

/// A read at a DN that returns the entry only if a search of the sync finds it.
fn request_at(question: &Question<'_>, dn: &str) -> Option<ReadRequest> {
    let entry = Dn::given(dn);
    let mut filter = filter_at(question.searches, &entry)?;
    if let Some(edited) = question.edited_searches {
        filter = Filter::And(vec![filter, filter_at(edited, &entry)?]);
    }
    Some(ReadRequest {
        dn: dn.to_owned(),
        filter: filter.to_string(),
        attributes: attributes(question),
    })
}

/// The attributes to read, each once: the object classes, the id, the account's state, the expiry of the password, and
/// the mapped ones.
fn attributes(question: &Question<'_>) -> Vec<String> {
    let mut names: Vec<String> = question.attributes.to_vec();
    let state = question.dialect.state_attributes().map(str::to_owned);
    let identity = [question.id.kind().attribute(), person::ATTRIBUTE].map(str::to_owned);
    let expiry = question.dialect.row().login_expiry.map(str::to_owned);
    for name in state.chain(identity).chain(expiry) {
        if !names.iter().any(|known| known.eq_ignore_ascii_case(&name)) {
            names.push(name);
        }
    }
    names
}
