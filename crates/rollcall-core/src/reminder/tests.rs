#![allow(clippy::unwrap_used)]
use super::*;

fn now() -> DateTime<Utc> {
    "2026-06-01T06:00:00Z".parse().unwrap()
}

fn days(days: i64) -> TimeDelta {
    TimeDelta::days(days)
}

fn matter(topic: &'static str, stage: i64) -> Matter {
    Matter {
        subject: Subject::Directory(DirectoryId::parse("hq").unwrap()),
        topic,
        stage,
        message: format!("{topic} at {stage}"),
        hint: "Do it.",
    }
}

/// What a tenant's people are told over time.
#[derive(Default)]
struct People {
    known: Vec<Remembered>,
    week: Option<DateTime<Utc>>,
}

impl People {
    /// What is told of these matters then, in words.
    fn told(&mut self, matters: &[Matter], time: DateTime<Utc>) -> Vec<String> {
        let due = due(matters, &self.known, self.week, time);
        let begun = due.begun.iter().map(|index| matters[*index].message.clone());
        let ended = due
            .ended
            .iter()
            .map(|ended| format!("settled: {}", ended.message));
        let mut told: Vec<String> = begun.chain(ended).collect();
        if due.summary {
            told.push(format!("summary of {}", matters.len()));
        }
        (self.known, self.week) = (due.remembered, due.week);
        told
    }
}

#[test]
fn one_mail_when_it_begins_one_when_it_ends_and_a_summary_each_week_but_none_a_night() {
    let mut people = People::default();
    let due = [matter("password-age", 0)];
    assert_eq!(people.told(&due, now()), ["password-age at 0"]);
    let mut summaries = Vec::new();
    for day in 1..=30 {
        for hour in 0..24 {
            let time = now() + days(day) + TimeDelta::hours(hour);
            let told = people.told(&due, time);
            if !told.is_empty() {
                assert_eq!(told, ["summary of 1"], "{day}");
                summaries.push(day);
            }
        }
    }
    assert_eq!(summaries, [7, 14, 21, 28]);
    assert_eq!(people.told(&[], now() + days(31)), ["settled: password-age at 0"]);
    assert_eq!(people.told(&[], now() + days(32)), Vec::<String>::new());
    assert!(people.known.is_empty() && people.week.is_none());
}

#[test]
fn what_comes_nearer_is_told_at_each_of_its_stages_once() {
    let mut people = People::default();
    let end = now() + days(40);
    let mut told = Vec::new();
    for hour in 0..24 * 45 {
        let time = now() + TimeDelta::hours(hour);
        let stage = match end <= time {
            true => Some(0),
            false => CERTIFICATE_DAYS
                .into_iter()
                .filter(|days| end - time <= TimeDelta::days(*days))
                .min(),
        };
        let matters: Vec<Matter> = stage
            .map(|stage| matter("server-certificate", stage))
            .into_iter()
            .collect();
        told.extend(
            people
                .told(&matters, time)
                .into_iter()
                .filter(|told| !told.starts_with("summary")),
        );
    }
    let stages = [30, 14, 7, 3, 1, 0].map(|stage| format!("server-certificate at {stage}"));
    assert_eq!(told, stages);
    // A clock that goes back, or another certificate that ends as late, tells nothing twice.
    let before = [matter("server-certificate", 7)];
    let told = people.told(&before, now() + days(45));
    assert!(told.iter().all(|told| told.starts_with("summary")), "{told:?}");
}

#[test]
fn what_comes_and_goes_is_told_once_a_week_at_most() {
    let mut people = People::default();
    let gone = [matter("unreachable", 0)];
    let mut mails = 0;
    for night in 0..21 {
        let time = now() + days(night);
        mails += people
            .told(&gone, time)
            .iter()
            .filter(|told| !told.starts_with("summary"))
            .count();
        mails += people.told(&[], time + TimeDelta::hours(12)).len();
    }
    assert_eq!(mails, 6, "three weeks, each with a beginning and an end");
}

#[test]
fn every_subject_is_known_by_its_key() {
    for subject in [
        Subject::Tenant,
        Subject::Directory(DirectoryId::parse("hq").unwrap()),
        Subject::UserSync(UserSyncId::parse("staff").unwrap()),
    ] {
        let matter = Matter {
            subject: subject.clone(),
            ..matter("stale", 0)
        };
        assert_eq!(Subject::of(&matter.key()), subject);
    }
}
