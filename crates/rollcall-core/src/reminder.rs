//! What an admin has to see to before it does harm, and when mails say so: once when it begins, once when it is
//! settled, and in a summary each week while anything is open. The sender of the mails remembers what was told, so that
//! nothing is told twice.

pub mod matters;

use chrono::{DateTime, TimeDelta, Utc};

use crate::id::{DirectoryId, UserSyncId};
pub use crate::security_review::Subject;

/// A mail says when a certificate has this many days left, and when it has ended.
pub const CERTIFICATE_DAYS: [i64; 5] = [30, 14, 7, 3, 1];
/// The same of a bind password that expires in the directory.
pub const PASSWORD_DAYS: [i64; 4] = [14, 7, 3, 1];
/// Time between two summaries, and between two mails that the same thing has begun. What comes and goes within it is
/// only in the summary.
pub const SUMMARY_INTERVAL: TimeDelta = TimeDelta::days(7);

/// Something that somebody has to see to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Matter {
    /// What it is about.
    pub subject: Subject,
    /// Names it among those of its subject, for good: the store remembers it.
    pub topic: &'static str,
    /// How urgent it is. Each lower number is told once more.
    pub stage: i64,
    /// A sentence.
    pub message: String,
    /// What to do about it.
    pub hint: &'static str,
}

impl Subject {
    /// What a matter with this key is about.
    pub fn of(key: &str) -> Self {
        let mut parts = key.split('/');
        let (kind, id) = (parts.next(), parts.next().unwrap_or_default());
        match kind {
            Some("directories") => DirectoryId::parse(id).map(Self::Directory),
            Some("userSyncs") => UserSyncId::parse(id).map(Self::UserSync),
            _ => None,
        }
        .unwrap_or(Self::Tenant)
    }
}

impl Matter {
    /// Names it among those of its tenant.
    pub fn key(&self) -> String {
        match &self.subject {
            Subject::Tenant => self.topic.to_owned(),
            Subject::Directory(id) => format!("directories/{id}/{}", self.topic),
            Subject::UserSync(id) => format!("userSyncs/{id}/{}", self.topic),
        }
    }
}

/// What is remembered of a matter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remembered {
    /// [`Matter::key`].
    pub key: String,
    /// The lowest stage that was told.
    pub stage: i64,
    /// What was said last.
    pub message: String,
    /// When its beginning was last told.
    pub tell_time: DateTime<Utc>,
    /// It is still there.
    pub open: bool,
    /// It came back so soon that no mail said so.
    pub quiet: bool,
}

/// What is to be done now.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Due {
    /// To be told as new, or nearer than before: indices of the matters.
    pub begun: Vec<usize>,
    /// To be told as settled.
    pub ended: Vec<Remembered>,
    /// A summary of all that is open is due.
    pub summary: bool,
    /// When the present week began; `None` while nothing is open.
    pub week: Option<DateTime<Utc>>,
    /// What is remembered from then on.
    pub remembered: Vec<Remembered>,
}

/// Compares what there is with what was told. `week` is when the present week began: with the first thing that is open, or
/// with the last summary.
pub fn due(matters: &[Matter], known: &[Remembered], week: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Due {
    let mut due = Due::default();
    for (index, matter) in matters.iter().enumerate() {
        let key = matter.key();
        let before = known.iter().find(|known| known.key == key);
        let is_nearer = before.is_some_and(|before| matter.stage < before.stage && before.open);
        let is_open = before.is_some_and(|before| before.open);
        let told_lately = before.is_some_and(|before| now - before.tell_time < SUMMARY_INTERVAL);
        let tells = is_nearer || !(is_open || told_lately);
        if tells {
            due.begun.push(index);
        }
        due.remembered.push(Remembered {
            stage: match before {
                Some(before) if is_open => before.stage.min(matter.stage),
                _ => matter.stage,
            },
            message: matter.message.clone(),
            tell_time: match before {
                Some(before) if !tells => before.tell_time,
                _ => now,
            },
            open: true,
            quiet: !tells && before.is_some_and(|before| before.quiet || !before.open),
            key,
        });
    }
    for before in known {
        if due.remembered.iter().any(|it| it.key == before.key) {
            continue;
        }
        if before.open && !before.quiet {
            due.ended.push(before.clone());
        }
        // If it comes back soon, no mail says so.
        if now - before.tell_time < SUMMARY_INTERVAL {
            due.remembered.push(Remembered {
                open: false,
                ..before.clone()
            });
        }
    }
    let is_open = due.remembered.iter().any(|it| it.open);
    due.summary = is_open && week.is_some_and(|begin| now - begin >= SUMMARY_INTERVAL);
    due.week = is_open.then(|| week.filter(|_| !due.summary).unwrap_or(now));
    due
}

#[cfg(test)]
mod tests;
