//! What Rollcall shows against what the model says, line by line.

mod issues;

use std::collections::{BTreeMap, BTreeSet};

use rollcall_proto::v1;

pub(crate) use self::issues::wrong_words;
use crate::company::sync_name;
use crate::model::{Change, Event, Run, State, User, Why};

/// Things to compare: what each is about, and what it is.
type Lines = BTreeSet<String>;

/// What differs, or nothing.
pub(crate) fn difference(what: &str, expected: Lines, found: Lines) -> Vec<String> {
    let missing = expected
        .difference(&found)
        .map(|line| format!("{what} should be: {line}"));
    let extra = found
        .difference(&expected)
        .map(|line| format!("{what} is:        {line}"));
    let mut lines: Vec<String> = missing.chain(extra).collect();
    // What belongs together comes together: by what follows the first words.
    lines.sort_by_key(|line| line.split_once(": ").map(|(_, rest)| rest.trim().to_owned()));
    lines
}

/// Each user, field by field.
pub(crate) fn expected_users(users: &[User]) -> Lines {
    users.iter().flat_map(shown_by_model).collect()
}

pub(crate) fn found_users(users: &[v1::User]) -> Lines {
    users.iter().flat_map(shown_by_rollcall).collect()
}

fn shown_by_model(user: &User) -> Vec<String> {
    let mut fields = BTreeMap::new();
    fields.insert("dn", user.dn.clone());
    fields.insert("login", user.login.clone());
    fields.insert("email", user.email.clone());
    fields.insert("role", user.role.clone());
    fields.insert("state", state(user.state));
    fields.insert("ambiguous", user.ambiguous.to_string());
    fields.insert("sync", user.sync.map(sync_name).unwrap_or_default());
    for (name, value) in &user.fields {
        fields.insert(name, value.clone());
    }
    lines(&user.id, fields)
}

fn shown_by_rollcall(user: &v1::User) -> Vec<String> {
    let mut fields = BTreeMap::new();
    fields.insert("dn", user.dn.clone());
    fields.insert("login", user.login.clone());
    fields.insert("email", user.email.clone());
    fields.insert("role", user.role.clone());
    fields.insert("ambiguous", user.login_ambiguous.to_string());
    fields.insert("sync", user.user_sync.clone());
    fields.insert("display_name", user.display_name.clone());
    fields.insert("given_name", user.given_name.clone());
    fields.insert("family_name", user.family_name.clone());
    fields.insert("phone_number", user.phone_number.clone());
    fields.insert(
        "custom.badge",
        user.custom.get("badge").cloned().unwrap_or_default(),
    );
    let reason = user.state_reason().as_str_name();
    let reason = reason.trim_start_matches("USER_STATE_REASON_");
    let name = user.state().as_str_name().trim_start_matches("USER_STATE_");
    let shown = match reason {
        "UNSPECIFIED" => name.to_owned(),
        reason => format!("{name} {reason}"),
    };
    fields.insert("state", shown);
    let id = if user.external_id.is_empty() {
        &user.login
    } else {
        &user.external_id
    };
    lines(id, fields)
}

fn lines(id: &str, fields: BTreeMap<&str, String>) -> Vec<String> {
    let short = short(id);
    let lines = fields
        .into_iter()
        .map(|(name, value)| format!("{short} {name} = {value}"));
    lines.collect()
}

fn reason_name(why: Why) -> &'static str {
    match why {
        Why::Gone => "GONE",
        Why::OutOfScope => "OUT_OF_SCOPE",
        Why::Disabled => "DISABLED_IN_DIRECTORY",
        Why::Expired => "EXPIRED_IN_DIRECTORY",
    }
}

fn state(state: State) -> String {
    match state {
        State::Active => "ACTIVE".to_owned(),
        State::Deactivated(reason) => format!("DEACTIVATED {}", reason_name(reason)),
        State::Archived(reason) => format!("ARCHIVED {}", reason_name(reason)),
    }
}

/// State, counts, issues and whether it is held; of one that failed the state alone.
pub(crate) fn expected_run(run: &Run) -> Lines {
    if run.state == "FAILED" {
        return ["state = FAILED".to_owned()].into();
    }
    let counts = run.counts.iter().filter(|(_, count)| **count != 0);
    let mut lines: Lines = counts.map(|(name, count)| format!("{name} = {count}")).collect();
    lines.insert(format!("state = {}", run.state));
    lines.extend(run.holds.iter().map(|hold| format!("held for {hold}")));
    lines.extend(issues::expected(&run.issues));
    lines
}

pub(crate) fn found_run(run: &v1::SyncRun, issues: &[v1::SyncIssue]) -> Lines {
    if run.state() == v1::SyncRunState::Failed {
        return ["state = FAILED".to_owned()].into();
    }
    let counts = run.counts.unwrap_or_default();
    let counts = [
        ("entries", counts.entries),
        ("created", counts.created),
        ("linked", counts.linked),
        ("updated", counts.updated),
        ("reactivated", counts.reactivated),
        ("deactivated", counts.deactivated),
        ("archived", counts.archived),
        ("transferred", counts.transferred),
        ("unchanged", counts.unchanged),
        ("ignored", counts.ignored),
        ("issues", counts.issues),
    ];
    let counts = counts.into_iter().filter(|(_, count)| *count != 0);
    let mut lines: Lines = counts.map(|(name, count)| format!("{name} = {count}")).collect();
    let state = run.state().as_str_name().trim_start_matches("SYNC_RUN_STATE_");
    lines.insert(format!("state = {state}"));
    lines.extend(run.hold_reasons.iter().map(held_for));
    lines.extend(issues::found(issues));
    lines
}

/// What a plan shows that it changes: of whom, and how.
pub(crate) fn expected_changes(run: &Run) -> Lines {
    let changes = run.applied.iter().chain(&run.waiting).map(|change| {
        let name = match change.event {
            Event::Created => "CREATE",
            Event::Updated => "UPDATE",
            Event::Deactivated => "DEACTIVATE",
            Event::Archived => "ARCHIVE",
            Event::Reactivated => "REACTIVATE",
            Event::Transferred => "TRANSFER",
            Event::Linked => "LINK",
        };
        // The entry is named as it is now, though who leaves keeps the former name until the rest is released.
        let same = run.waiting.iter().find(|other| other.after.id == change.after.id);
        let dn = &same.unwrap_or(change).after.dn;
        planned(dn, name, changed(change).into_iter())
    });
    numbered(changes.flatten()).collect()
}

pub(crate) fn found_changes(changes: &[v1::SyncRunChange]) -> Lines {
    let changes = changes.iter().map(|change| {
        let name = change.r#type().as_str_name().trim_start_matches("CHANGE_TYPE_");
        let changed = change.field_changes.iter().map(|change| {
            let (old, new) = (change.old_value.as_deref(), change.new_value.as_deref());
            told(&change.field, old, new)
        });
        planned(&change.dn, name, changed)
    });
    numbered(changes.flatten()).collect()
}

fn planned(dn: &str, name: &str, changed: impl Iterator<Item = String>) -> Vec<String> {
    let changed = changed.map(|changed| format!("{dn} {name} {changed}"));
    changed.chain([format!("{dn} {name}")]).collect()
}

/// How the user sync should do after a run, against how it does. A preview says nothing of it.
pub(crate) fn wrong_health(run: &Run, found: &v1::UserSyncHealth) -> Option<String> {
    let expected = match run.state {
        "PLANNED" => return None,
        "FAILED" => "ERROR",
        _ if run.ambiguous => "ERROR",
        "HELD" => "WARNING",
        "SUCCEEDED_WITH_ISSUES" => "WARNING",
        _ => "OK",
    };
    let state = found.state().as_str_name().trim_start_matches("HEALTH_STATE_");
    let silent = (state == "OK") != found.problems.is_empty();
    (state != expected || silent).then(|| {
        format!(
            "the health is {state} and should be {expected}: {:?}",
            found.problems
        )
    })
}

/// The rule of a hold; of a lost field the field.
fn held_for(reason: &v1::HoldReason) -> String {
    let rule = reason.rule().as_str_name().trim_start_matches("HOLD_RULE_");
    let field = Some(&reason.field).filter(|field| !field.is_empty());
    format!("held for {}", field.map_or(rule, String::as_str))
}

/// The events of a run: of whom, which, the user after it, and what changed with the values before.
pub(crate) fn expected_events(changes: &[Change]) -> Lines {
    let events = changes.iter().flat_map(|change| {
        let name = match change.event {
            Event::Created => "CREATED",
            Event::Updated => "UPDATED",
            Event::Deactivated => "DEACTIVATED",
            Event::Archived => "ARCHIVED",
            Event::Reactivated => "REACTIVATED",
            Event::Transferred => "TRANSFERRED",
            Event::Linked => "LINKED",
        };
        let id = short(&change.after.id).to_owned();
        let changed = changed(change).into_iter();
        let changed = changed.map(move |change| format!("{name} of {id} tells {change}"));
        let after = shown_by_model(&change.after).into_iter();
        let after = after.map(move |line| format!("{name} of {line}"));
        after.chain(changed)
    });
    numbered(events).collect()
}

pub(crate) fn found_events(events: &[v1::UserEvent]) -> Lines {
    let events = events.iter().flat_map(|event| {
        let name = event
            .r#type()
            .as_str_name()
            .trim_start_matches("USER_EVENT_TYPE_");
        let user = event.user.clone().unwrap_or_default();
        let id = short(&user.external_id).to_owned();
        let changed = event.field_changes.iter().map(move |change| {
            let (old, new) = (change.old_value.as_deref(), change.new_value.as_deref());
            format!("{name} of {id} tells {}", told(&change.field, old, new))
        });
        let after = shown_by_rollcall(&user).into_iter();
        let after = after.map(move |line| format!("{name} of {line}"));
        after.chain(changed)
    });
    numbered(events).collect()
}

fn told(field: &str, old: Option<&str>, new: Option<&str>) -> String {
    format!("{field}: {} -> {}", old.unwrap_or("none"), new.unwrap_or("none"))
}

/// The field changes of an event: all that User has but for name, revision, etag and times. Of a new user only what is
/// filled, and the state if it is not ACTIVE. Reading: what says where a new user comes from is no field to fill.
fn changed(change: &Change) -> Vec<String> {
    let before = change.before.as_ref().map(contract_fields).unwrap_or_default();
    let mut after = contract_fields(&change.after);
    if change.before.is_none() {
        const ORIGIN: [&str; 6] = [
            "source",
            "user_sync",
            "directory",
            "external_id",
            "external_id_attribute",
            "dn",
        ];
        after
            .retain(|name, value| !ORIGIN.contains(name) && value != "false" && value != "USER_STATE_ACTIVE");
    }
    let names: BTreeSet<&str> = before.keys().chain(after.keys()).copied().collect();
    let changed = names
        .into_iter()
        .filter(|name| before.get(name) != after.get(name));
    let told = changed.map(|name| {
        let (old, new) = (before.get(name), after.get(name));
        told(name, old.map(String::as_str), new.map(String::as_str))
    });
    told.collect()
}

/// What a user has, by the contract's names and in its words; what is empty is left out.
fn contract_fields(user: &User) -> BTreeMap<&'static str, String> {
    let synced = user.sync.is_some();
    let source = if synced {
        "USER_SOURCE_SYNCED"
    } else {
        "USER_SOURCE_LOCAL"
    };
    let of_entry = |value: &str| if synced { value.to_owned() } else { String::new() };
    let (name, reason) = match user.state {
        State::Active => ("ACTIVE", None),
        State::Deactivated(why) => ("DEACTIVATED", Some(why)),
        State::Archived(why) => ("ARCHIVED", Some(why)),
    };
    let reason = reason.map(|why| format!("USER_STATE_REASON_{}", reason_name(why)));
    let mut fields = BTreeMap::from([
        ("source", source.to_owned()),
        ("user_sync", user.sync.map(sync_name).unwrap_or_default()),
        ("directory", of_entry("tenants/acme/directories/hq")),
        ("external_id", of_entry(&user.id)),
        ("external_id_attribute", of_entry("entryUUID")),
        ("dn", user.dn.clone()),
        ("login", user.login.clone()),
        ("email", user.email.clone()),
        ("role", user.role.clone()),
        ("linked", user.linked.to_string()),
        ("owner", user.owner.to_string()),
        ("login_ambiguous", user.ambiguous.to_string()),
        ("state", format!("USER_STATE_{name}")),
        ("state_reason", reason.unwrap_or_default()),
    ]);
    fields.extend(user.fields.iter().map(|(name, value)| (*name, value.clone())));
    fields.retain(|_, value| !value.is_empty());
    fields
}

/// An id without what all ids have.
fn short(id: &str) -> &str {
    id.trim_start_matches("00000000-0000-4000-8000-")
}

/// The same line twice is two lines.
fn numbered(lines: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    let mut seen = BTreeMap::<String, usize>::new();
    lines.map(move |line| {
        let count = seen.entry(line.clone()).or_default();
        *count += 1;
        if *count == 1 {
            line
        } else {
            format!("{line} (no. {count})")
        }
    })
}
