//! What one entry means, by itself: DESIGN.md 2.1, steps 2 to 4 and the wishes of step 5.

use chrono::{DateTime, Utc};
use rollcall_testkit::{Tree, TreeEntry};

use super::{Issue, State, Sync, User, Why};

/// What `pwdAccountLockedTime` is where an administrator locked the account.
const LOCKED: &str = "000001010000Z";

/// May this person log in, as the entry says?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Enabled,
    Disabled,
    Expired,
    Unreadable,
}

/// What becomes of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Read {
    Value(String),
    Empty,
    /// What is there cannot be read or cannot be used: the field of a known person stays.
    Stays,
}

/// What an entry offers as login, or as e-mail address.
#[derive(Debug, Clone, Default)]
pub(super) struct Offer {
    /// What can be used, the one to take first.
    pub(super) values: Vec<String>,
    pub(super) unreadable: bool,
    /// Why nothing can be used, though there is something; or what cannot be read.
    pub(super) problem: Option<Issue>,
}

/// An entry that was judged.
#[derive(Debug, Clone)]
pub(super) struct Judged<'a> {
    pub(super) entry: &'a TreeEntry,
    pub(super) id: String,
    pub(super) standing: Standing,
    pub(super) role: &'static str,
    pub(super) fields: Vec<(&'static str, Read)>,
    pub(super) login: Offer,
    pub(super) email: Offer,
    /// Issues of the profile.
    pub(super) issues: Vec<Issue>,
}

impl Judged<'_> {
    pub(super) fn dn(&self) -> &str {
        &self.entry.dn
    }

    /// Reading: who gave the login up to somebody else stays away, and asks for nothing, for as long as the entry says what
    /// it said then. Whoever is archived stays away while the state cannot be read, since only a return makes anybody a user
    /// with a role, fields and a login again.
    pub(super) fn stays_away(&self, user: &User) -> bool {
        matches!(
            (user.state, self.standing),
            (State::Archived(Why::Disabled), Standing::Disabled)
                | (State::Archived(Why::Expired), Standing::Expired)
                | (State::Archived(_), Standing::Unreadable)
        )
    }
}

pub(super) fn judge<'a>(
    sync: &Sync,
    tree: &Tree,
    entry: &'a TreeEntry,
    known: Option<&User>,
    hidden: &[&'static str],
    now: DateTime<Utc>,
) -> Judged<'a> {
    let mut issues = Vec::new();
    let seen = Seen { tree, entry };
    let mut fields = Vec::new();
    let mapped = [
        ("display_name", sync.display_name.clone(), 256),
        ("given_name", vec!["givenName"], 256),
        ("family_name", vec!["sn"], 256),
        ("phone_number", vec!["telephoneNumber"], 64),
        ("custom.badge", vec!["employeeNumber"], 1024),
    ];
    for (field, candidates, limit) in mapped {
        let was = known.and_then(|user| user.fields.get(field)).map(String::as_str);
        let was = read(&seen, field, &candidates, limit, was, &mut issues);
        fields.push((field, was));
    }
    let (standing, unreadable) = standing(&seen, hidden, now);
    if standing == Standing::Unreadable {
        issues.push(Issue::of("STATE_UNREADABLE", "", unreadable));
    }
    Judged {
        entry,
        id: entry.text("entryUUID").unwrap_or_default().to_owned(),
        standing,
        role: role(sync, &seen),
        fields,
        login: login(sync, &seen, known.map(|user| user.login.as_str())),
        email: email(&seen, known.map(|user| user.email.as_str())),
        issues,
    }
}

/// What the bind account sees of an entry.
struct Seen<'a> {
    tree: &'a Tree,
    entry: &'a TreeEntry,
}

impl Seen<'_> {
    fn values(&self, attribute: &str) -> &[Vec<u8>] {
        if self.tree.is_readable(attribute) {
            self.entry.values(attribute)
        } else {
            &[]
        }
    }

    /// What is text, in order, and whether something is not.
    fn texts(&self, attribute: &str) -> (Vec<String>, bool) {
        let values = self.values(attribute);
        let texts = values.iter().map(|value| String::from_utf8(value.clone()));
        let (good, bad): (Vec<_>, Vec<_>) = texts.partition(Result::is_ok);
        let mut good: Vec<String> = good
            .into_iter()
            .flatten()
            .map(|text| text.trim().to_owned())
            .collect();
        good.retain(|text| !text.is_empty());
        good.sort_unstable();
        (good, !bad.is_empty())
    }
}

/// May the person of this entry log in, as it says?
pub(super) fn standing_of(tree: &Tree, entry: &TreeEntry, now: DateTime<Utc>) -> Standing {
    standing(&Seen { tree, entry }, &[], now).0
}

/// What tells on OpenLDAP whether an account may log in.
pub(super) const DECIDING: [&str; 3] = ["pwdAccountLockedTime", "pwdStartTime", "pwdEndTime"];

/// OpenLDAP's attributes are optional: absent is not set, unless it was found out that it may not be read. Also which
/// attribute cannot be read.
fn standing(seen: &Seen, hidden: &[&str], now: DateTime<Utc>) -> (Standing, &'static str) {
    let stamp = now.format("%Y%m%d%H%M%SZ").to_string();
    let is_time = |text: &str| {
        text.len() == 15 && text.ends_with('Z') && text[..14].bytes().all(|b| b.is_ascii_digit())
    };
    let mut unreadable = Vec::new();
    let mut one = |attribute: &'static str| match seen.values(attribute) {
        [] => {
            unreadable.extend(hidden.contains(&attribute).then_some(attribute));
            None
        }
        [value] => match String::from_utf8(value.clone()) {
            // An administrator's lock is of the same form, with a year 0 and without seconds.
            Ok(text) if is_time(&text) || text == LOCKED => Some(text),
            _ => {
                unreadable.push(attribute);
                None
            }
        },
        // Several.
        _ => {
            unreadable.push(attribute);
            None
        }
    };
    let locked = one("pwdAccountLockedTime");
    let (start, end) = (one("pwdStartTime"), one("pwdEndTime"));
    // Locked after wrong passwords is no matter of a run.
    let standing = match () {
        () if locked.as_deref() == Some(LOCKED) => Standing::Disabled,
        () if end.is_some_and(|end| end <= stamp) || start.is_some_and(|start| start > stamp) => {
            Standing::Expired
        }
        () if !unreadable.is_empty() => Standing::Unreadable,
        () => Standing::Enabled,
    };
    (standing, unreadable.first().copied().unwrap_or_default())
}

/// The first rule that holds.
fn role(sync: &Sync, seen: &Seen) -> &'static str {
    let name = seen.entry.dn.to_lowercase();
    for (group, role) in &sync.groups {
        let members = seen
            .tree
            .entry(group)
            .map(|group| group.values("member").to_vec());
        let mut members = members.unwrap_or_default().into_iter();
        if members.any(|member| String::from_utf8_lossy(&member).to_lowercase() == name) {
            return role;
        }
    }
    if let Some(role) = sync.boss
        && seen.texts("employeeType").0.iter().any(|value| value == "boss")
    {
        return role;
    }
    "user"
}

/// A field: the first candidate that yields a value that can be used. Reading: among candidates the first wins, even if
/// the value in use is a later one's; among the values of an attribute the one in use stays.
fn read(
    seen: &Seen,
    field: &'static str,
    candidates: &[&'static str],
    limit: usize,
    was: Option<&str>,
    issues: &mut Vec<Issue>,
) -> Read {
    let mut unreadable: Option<Issue> = None;
    let mut long: Option<Issue> = None;
    for candidate in candidates {
        let (values, bad) = values_of(seen, candidate);
        if let Some(attribute) = bad {
            unreadable.get_or_insert(Issue::of("UNDECODABLE_ENTRY", field, attribute));
            if was.is_some() {
                // A known person's field stays, unless what is in use is no longer what is there.
                break;
            }
        }
        let (usable, rest): (Vec<_>, Vec<_>) = values
            .into_iter()
            .partition(|value| value.chars().count() <= limit);
        if !rest.is_empty() {
            long.get_or_insert(Issue::of("VALUE_TOO_LONG", field, candidate));
        }
        let in_use = usable.iter().find(|value| Some(value.as_str()) == was);
        if let Some(value) = in_use.or(usable.first()) {
            issues.extend(unreadable);
            return Read::Value(value.clone());
        }
    }
    let is_unreadable = unreadable.is_some();
    if let Some(issue) = unreadable.or(long) {
        issues.push(issue);
        let keeps = was.is_some() || !is_unreadable;
        return if keeps { Read::Stays } else { Read::Empty };
    }
    Read::Empty
}

/// The values of a candidate, an attribute's or what a template of two attributes makes; and which attribute cannot be read.
fn values_of(seen: &Seen, candidate: &'static str) -> (Vec<String>, Option<&'static str>) {
    match candidate {
        "{givenName} {sn}" => {
            let (given, bad) = seen.texts("givenName");
            let (family, worse) = seen.texts("sn");
            let both = given.first().zip(family.first());
            let both = both.map(|(given, family)| format!("{given} {family}"));
            let bad = [bad.then_some("givenName"), worse.then_some("sn")];
            (both.into_iter().collect(), bad.into_iter().flatten().next())
        }
        attribute => {
            let (values, bad) = seen.texts(attribute);
            (values, bad.then_some(attribute))
        }
    }
}

/// The logins that an entry offers. Under "rename" the one in the RDN comes first, then the one in use, then in order.
fn login(sync: &Sync, seen: &Seen, was: Option<&str>) -> Offer {
    let (values, unreadable) = seen.texts("uid");
    let in_rdn = |value: &String| {
        seen.entry
            .dn
            .to_lowercase()
            .starts_with(&format!("uid={},", value.to_lowercase()))
    };
    let problem = |value: &String| {
        let count = value.chars().count();
        if count < 3 {
            Some("LOGIN_TOO_SHORT")
        } else if count > 128 {
            Some("LOGIN_TOO_LONG")
        } else if value.chars().all(|c| c.is_alphanumeric() || "._-".contains(c)) {
            None
        } else {
            Some("LOGIN_ILLEGAL_CHARACTERS")
        }
    };
    let mut usable: Vec<String> = values
        .iter()
        .filter(|value| problem(value).is_none())
        .cloned()
        .collect();
    usable.sort_by_key(|value| {
        (
            !(sync.renames && in_rdn(value)),
            Some(value.to_lowercase()) != was.map(str::to_lowercase),
            value.clone(),
        )
    });
    // Reading: of a login that is missing no single attribute is at fault.
    let why = match values.iter().find_map(problem) {
        _ if unreadable => Some(Issue::of("UNDECODABLE_ENTRY", "login", "uid")),
        Some(kind) => Some(Issue::of(kind, "login", "uid")),
        None => Some(Issue::of("MISSING_REQUIRED_FIELD", "login", "")),
    };
    Offer {
        problem: why.filter(|_| usable.is_empty() || unreadable),
        values: usable,
        unreadable,
    }
}

fn email(seen: &Seen, was: Option<&str>) -> Offer {
    let (values, unreadable) = seen.texts("mail");
    let good = |value: &String| {
        value
            .split_once('@')
            .is_some_and(|(user, domain)| !user.is_empty() && domain.contains('.'))
    };
    let any = !values.is_empty();
    let mut usable: Vec<String> = values.into_iter().filter(good).collect();
    usable.sort_by_key(|value| (Some(value.as_str()) != was, value.clone()));
    Offer {
        problem: match unreadable {
            true => Some(Issue::of("UNDECODABLE_ENTRY", "email", "mail")),
            false if any && usable.is_empty() => Some(Issue::of("EMAIL_INVALID", "email", "mail")),
            false => None,
        },
        values: usable,
        unreadable,
    }
}
