//! When a user sync runs by itself: a cron expression in a time zone.

use std::time::Duration;

use chrono::{DateTime, Datelike, LocalResult, NaiveDate, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use croner::parser::{CronParser, Seconds, Year};
use croner::{Cron, Weekday};
use ring::digest;
use thiserror::Error;

/// Shortest time between two runs that a schedule may ask for, in minutes.
pub(crate) const MIN_INTERVAL_MINUTES: usize = 15;
/// Longest cron expression, in bytes.
pub const MAX_CRON_BYTES: usize = 256;
/// Longest time for which [`Schedule::parse`] looks ahead for a first run: a February 29 comes within it.
const LOOK_AHEAD_YEARS: usize = 9;

/// A cron expression in a time zone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Schedule {
    cron: Cron,
    zone: Tz,
}

/// What is wrong with a schedule.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ScheduleError {
    /// Not a cron expression.
    #[error(
        "is not a cron expression of five fields such as \"30 2 * * *\" (minute, hour, day, month, weekday)"
    )]
    Cron,
    /// A form that other programs know, and not one of those that are documented.
    #[error(
        "uses {0:?}, which is not supported: each field takes numbers, names such as MON, ranges, lists, * and steps"
    )]
    Unsupported(String),
    /// A range that ends before it begins.
    #[error("has a range that ends before it begins: {0}; write it as two, such as FRI,SAT,SUN,MON")]
    Backwards(String),
    /// Longer than [`MAX_CRON_BYTES`].
    #[error("is longer than {MAX_CRON_BYTES} bytes")]
    TooLong,
    /// Two runs too close to each other.
    #[error("would run {minutes} minutes after the last run, at least {MIN_INTERVAL_MINUTES} are needed")]
    TooFrequent {
        /// The shortest time between two runs.
        minutes: usize,
    },
    /// No such day ever comes, or not within years.
    #[error("names a day that does not come, such as February 30")]
    Never,
    /// Not in the IANA time zone database.
    #[error("{0:?} is not a time zone of the IANA database, such as Europe/Berlin or UTC")]
    TimeZone(String),
}

impl ScheduleError {
    /// The field that is wrong.
    pub fn field(&self) -> &'static str {
        match self {
            Self::TimeZone(_) => "time_zone",
            Self::Cron
            | Self::Unsupported(_)
            | Self::Backwards(_)
            | Self::TooLong
            | Self::TooFrequent { .. }
            | Self::Never => "schedule",
        }
    }
}

impl Schedule {
    /// Parses a cron expression of five fields and an IANA time zone.
    ///
    /// # Errors
    /// What is wrong with either, the time zone first.
    pub fn parse(cron: &str, time_zone: &str) -> Result<Self, ScheduleError> {
        let zone: Tz = time_zone
            .parse()
            .map_err(|_| ScheduleError::TimeZone(time_zone.to_owned()))?;
        if cron.len() > MAX_CRON_BYTES {
            return Err(ScheduleError::TooLong);
        }
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        check_forms(cron)?;
        let cron = parser.parse(cron).map_err(|_| match backwards(cron) {
            Some(range) => ScheduleError::Backwards(range),
            None => ScheduleError::Cron,
        })?;
        let minutes = shortest_interval(&cron).ok_or(ScheduleError::Never)?;
        if minutes < MIN_INTERVAL_MINUTES {
            return Err(ScheduleError::TooFrequent { minutes });
        }
        if !names_a_day(&cron) {
            return Err(ScheduleError::Never);
        }
        Ok(Self { cron, zone })
    }

    /// The first run after `now`; none only at the end of the calendar.
    ///
    /// A local time that occurs twice when clocks are set back counts once, unless the schedule runs every
    /// hour. One that is left out when clocks are set forward counts at the first instant after the gap,
    /// unless a regular run follows within the hour.
    pub fn next_after(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let local = now.with_timezone(&self.zone);
        let regular = self
            .cron
            .find_next_occurrence(&local, false)
            .ok()
            .map(|at| at.with_timezone(&Utc));
        let left_out = self.next_in_gap(local.naive_local()).filter(|at| *at > now);
        match (regular, left_out) {
            (Some(regular), Some(left_out)) if left_out + TimeDelta::hours(1) < regular => Some(left_out),
            (None, left_out) => left_out,
            (regular, _) => regular,
        }
    }

    /// The run to make up for: the earliest one after the `last` start that should have started by `now`.
    /// However many were missed, one run sees to all of them.
    pub fn missed(&self, last: DateTime<Utc>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.next_after(last).filter(|due| *due <= now)
    }

    /// The time zone.
    pub fn time_zone(&self) -> Tz {
        self.zone
    }

    /// If the next time on the calendar is left out by the clocks: the first instant after the gap.
    fn next_in_gap(&self, local: NaiveDateTime) -> Option<DateTime<Utc>> {
        let on_calendar = self.cron.find_next_occurrence(&local, false).ok()?;
        if !matches!(self.zone.from_local_datetime(&on_calendar), LocalResult::None) {
            return None;
        }
        // The longest gap ever was a day, when Samoa crossed the date line.
        (1..=24 * 60 + 60).find_map(|minutes| {
            let later = on_calendar + TimeDelta::minutes(minutes);
            Some(
                self.zone
                    .from_local_datetime(&later)
                    .earliest()?
                    .with_timezone(&Utc),
            )
        })
    }
}

/// Refuses forms that the parser accepts and our documentation does not name: those who read the schedule must be able
/// to tell what it means.
fn check_forms(cron: &str) -> Result<(), ScheduleError> {
    let fields = cron.split_whitespace();
    let mut items = fields.flat_map(|field| field.split([',', '/', '-']));
    match items.find(|item| is_extension(item)) {
        Some(form) => Err(ScheduleError::Unsupported(form.to_owned())),
        None => Ok(()),
    }
}

/// `@daily`, `?`, `#` and `+`; `L` and `W`, alone or behind a number or the name of a day.
fn is_extension(item: &str) -> bool {
    let upper = item.to_ascii_uppercase();
    let mark = upper.trim_start_matches(|c: char| c.is_ascii_digit());
    let last_day =
        mark.len() == 4 && mark.ends_with('L') && mark.bytes().all(|byte| byte.is_ascii_uppercase());
    item.starts_with('@') || item.contains(['?', '#', '+']) || matches!(mark, "L" | "W" | "LW") || last_day
}

/// The first range whose end is before its beginning.
fn backwards(cron: &str) -> Option<String> {
    const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
    const MONTHS: [&str; 12] = [
        "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
    ];
    let number = |text: &str| -> Option<usize> {
        let upper = text.to_ascii_uppercase();
        let named = |names: &[&str]| names.iter().position(|name| *name == upper);
        text.parse()
            .ok()
            .or_else(|| named(&DAYS))
            .or_else(|| named(&MONTHS))
    };
    let mut ranges = cron.split_whitespace().flat_map(|field| field.split(','));
    ranges.find_map(|item| {
        let range = item.split('/').next()?;
        let (from, to) = range.split_once('-')?;
        (number(from)? > number(to)?).then(|| range.to_owned())
    })
}

/// How long after its time a sync starts, so that not all start at once: the same for the same name,
/// evenly spread over zero to `bound`, which is excluded.
pub fn jitter(name: &str, bound: Duration) -> Duration {
    let hash = digest::digest(&digest::SHA256, name.as_bytes());
    let first: [u8; 8] = hash.as_ref().first_chunk().copied().unwrap_or_default();
    let bound = u64::try_from(bound.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(u64::from_be_bytes(first).checked_rem(bound).unwrap_or(0))
}

/// In minutes, over the times of day that the expression names; none if it names none.
fn shortest_interval(cron: &Cron) -> Option<usize> {
    let named = |minute: &usize| {
        let (hour, minute) = ((minute / 60) as u32, (minute % 60) as u32);
        cron.pattern.hour_match(hour).unwrap_or(false) && cron.pattern.minute_match(minute).unwrap_or(false)
    };
    let times: Vec<usize> = (0..24 * 60).filter(named).collect();
    let overnight = times.first()? + 24 * 60 - times.last()?;
    times
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .chain([overnight])
        .min()
}

/// True if one of the days of [`LOOK_AHEAD_YEARS`] is named.
fn names_a_day(cron: &Cron) -> bool {
    let Some(start) = NaiveDate::from_ymd_opt(2024, 1, 1) else {
        return false;
    };
    let mut days = start.iter_days().take(LOOK_AHEAD_YEARS * 366);
    days.any(|day| {
        let weekday = Weekday::from_days_from_sunday(day.weekday().num_days_from_sunday());
        cron.pattern.month_match(day.month()).unwrap_or(false)
            && cron
                .pattern
                .day_match(day.year(), day.month(), day.day(), weekday)
                .unwrap_or(false)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn schedule(cron: &str, zone: &str) -> Schedule {
        Schedule::parse(cron, zone).unwrap()
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    /// The runs after `start`, as UTC.
    fn runs(cron: &str, zone: &str, start: &str, count: usize) -> Vec<String> {
        let schedule = schedule(cron, zone);
        let mut now = at(start);
        let mut next = || {
            now = schedule.next_after(now)?;
            Some(now.format("%m-%dT%H:%M").to_string())
        };
        (0..count).map_while(|_| next()).collect()
    }

    #[test]
    fn runs_follow_local_time_through_the_year() {
        let nightly = |start| runs("30 2 * * *", "Europe/Berlin", start, 2);
        assert_eq!(nightly("2026-01-10T12:00:00Z"), ["01-11T01:30", "01-12T01:30"]);
        assert_eq!(nightly("2026-07-10T12:00:00Z"), ["07-11T00:30", "07-12T00:30"]);
        assert_eq!(nightly("2026-01-10T01:30:00Z"), ["01-11T01:30", "01-12T01:30"]);
    }

    #[test]
    fn a_time_left_out_in_spring_runs_after_the_gap() {
        // Berlin: 02:00 to 03:00 do not exist on March 29, 2026; 03:00 is 01:00 UTC.
        for cron in ["30 2 * * *", "*/30 2 * * *", "0 2 * * *"] {
            let runs = runs(cron, "Europe/Berlin", "2026-03-28T12:00:00Z", 2);
            assert_eq!(runs[0], "03-29T01:00", "{cron}");
            assert!(runs[1].starts_with("03-30T00:"), "{cron} {runs:?}");
        }
        // Lord Howe: half an hour, 02:00 to 02:30 on October 4, 2026; 02:30 is 15:30 UTC the day before.
        assert_eq!(
            runs("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z", 2)[0],
            "10-03T15:30"
        );
    }

    #[test]
    fn frequent_runs_neither_double_nor_pause_in_spring() {
        assert_eq!(
            runs("7 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", 3),
            ["03-29T00:07", "03-29T01:07", "03-29T02:07"]
        );
        let quarters = runs("*/15 * * * *", "Europe/Berlin", "2026-03-29T00:40:00Z", 3);
        assert_eq!(quarters, ["03-29T00:45", "03-29T01:00", "03-29T01:15"]);
    }

    #[test]
    fn a_time_that_comes_twice_in_autumn_runs_once() {
        // Berlin: 02:00 to 03:00 twice on October 25, 2026, at 00:00 and 01:00 UTC.
        let runs_after = |start| runs("30 2 * * *", "Europe/Berlin", start, 2);
        assert_eq!(runs_after("2026-10-24T12:00:00Z"), ["10-25T00:30", "10-26T01:30"]);
        assert_eq!(runs_after("2026-10-25T01:10:00Z"), ["10-26T01:30", "10-27T01:30"]);
        let quarters = runs("*/15 * * * *", "Europe/Berlin", "2026-10-25T00:40:00Z", 3);
        assert_eq!(quarters, ["10-25T00:45", "10-25T01:00", "10-25T01:15"]);
    }

    #[test]
    fn schedules_that_run_too_often_are_refused() {
        for (cron, minutes) in [
            ("* * * * *", 1),
            ("*/10 * * * *", 10),
            ("0,5 0 1 1 *", 5),
            ("55,5 23,0 * * *", 10),
            ("*/14 * * * *", 4),
        ] {
            assert_eq!(
                Schedule::parse(cron, "UTC"),
                Err(ScheduleError::TooFrequent { minutes }),
                "{cron}"
            );
        }
        for cron in [
            "*/15 * * * *",
            "0 * * * *",
            "30 2 * * MON-FRI",
            "30 2 * jan-jun mon,wed",
            "0 0 29 2 *",
        ] {
            assert!(Schedule::parse(cron, "UTC").is_ok(), "{cron}");
        }
    }

    /// Other programs know more than the five documented fields, each a little differently.
    #[test]
    fn what_is_not_documented_is_refused_with_the_reason() {
        for (cron, form) in [
            ("@daily", "@daily"),
            ("@reboot", "@reboot"),
            ("0 3 L * *", "L"),
            ("0 3 15W * *", "15W"),
            ("0 3 * * FRI#2", "FRI#2"),
            ("0 3 * * 5L", "5L"),
            ("0 3 * * fril", "fril"),
            ("0 3 LW * *", "LW"),
            ("0 3 ? * MON", "?"),
            ("0 3 1 * +MON", "+MON"),
        ] {
            let error = Schedule::parse(cron, "UTC").unwrap_err();
            assert_eq!(error, ScheduleError::Unsupported(form.into()), "{cron}");
            assert!(error.to_string().contains("not supported"), "{error}");
        }
        for (cron, range) in [
            ("0 3 * * FRI-MON", "FRI-MON"),
            ("0 22-4 * * *", "22-4"),
            ("0 3 * NOV-FEB *", "NOV-FEB"),
        ] {
            let error = Schedule::parse(cron, "UTC").unwrap_err();
            assert_eq!(error, ScheduleError::Backwards(range.into()), "{cron}");
            assert!(error.to_string().contains("ends before it begins"), "{error}");
        }
    }

    #[test]
    fn mistakes_are_told_apart() {
        for (cron, zone, error) in [
            ("", "UTC", ScheduleError::Cron),
            ("30 2 * *", "UTC", ScheduleError::Cron),
            ("0 30 2 * * *", "UTC", ScheduleError::Cron),
            ("60 2 * * *", "UTC", ScheduleError::Cron),
            ("nightly", "UTC", ScheduleError::Cron),
            ("0 0 30 2 *", "UTC", ScheduleError::Never),
            (
                "30 2 * * *",
                "Mars/Olympus",
                ScheduleError::TimeZone("Mars/Olympus".into()),
            ),
            ("30 2 * * *", "", ScheduleError::TimeZone(String::new())),
        ] {
            assert_eq!(Schedule::parse(cron, zone), Err(error), "{cron:?} {zone:?}");
        }
        let long = format!("{}0 * * * *", "0,".repeat(200));
        assert_eq!(Schedule::parse(&long, "UTC"), Err(ScheduleError::TooLong));
    }

    #[test]
    fn one_run_makes_up_for_all_that_were_missed() {
        let nightly = schedule("0 2 * * *", "UTC");
        let last = at("2026-05-01T02:00:03Z");
        assert_eq!(nightly.missed(last, at("2026-05-02T01:59:59Z")), None);
        assert_eq!(
            nightly.missed(last, at("2026-05-02T02:00:00Z")),
            Some(at("2026-05-02T02:00:00Z"))
        );
        assert!(nightly.missed(last, at("2026-05-20T12:00:00Z")).is_some());
        assert_eq!(
            nightly.missed(at("2026-05-20T12:00:00Z"), at("2026-05-20T12:00:01Z")),
            None
        );
    }

    #[test]
    fn jitter_is_the_same_for_a_name_and_spread_over_names() {
        let bound = Duration::from_secs(600);
        assert_eq!(jitter("a", bound), jitter("a", bound));
        let early = (0..1000)
            .filter(|i| jitter(&format!("sync-{i}"), bound) < bound / 2)
            .count();
        assert!((400..600).contains(&early), "{early}");
        assert!((0..1000).all(|i| jitter(&format!("sync-{i}"), bound) < bound));
        assert_eq!(jitter("a", Duration::ZERO), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn any_text_gets_an_answer(text in any::<String>(), soup in "[0-9*/,\\-?L#W+@a-z ]{0,20}") {
            for text in [text, soup] {
                let _ = Schedule::parse(&text, "UTC");
            }
        }

        #[test]
        fn runs_are_never_closer_than_the_minimum(
            minute in "(0|7|\\*/15|5,35|30)", hour in "(\\*|2|1-3|\\*/2)", start in 1_760_000_000i64..1_800_000_000,
            zone in prop_oneof![Just("Europe/Berlin"), Just("America/St_Johns"), Just("Australia/Lord_Howe")]
        ) {
            let schedule = schedule(&format!("{minute} {hour} * * *"), zone);
            let now = DateTime::from_timestamp(start, 0).unwrap();
            let first = schedule.next_after(now).unwrap();
            let second = schedule.next_after(first).unwrap();
            prop_assert!(now < first && first - now <= TimeDelta::hours(26));
            prop_assert!(second - first >= TimeDelta::minutes(15), "{first} {second}");
        }
    }
}
