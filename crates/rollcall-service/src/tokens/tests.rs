#![allow(clippy::unwrap_used)]

use rollcall_runtime::clock::ManualClock;

use rollcall_proto::page::AskedPage;

use super::*;

fn at(hours: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_900_000_000, 0).unwrap() + TimeDelta::hours(hours)
}

fn tokens(key: u8, clock: &ManualClock) -> Tokens {
    let key = MacKey::new(&[key; 32]);
    Tokens::new(key.clone(), key, Clock::Manual(clock.clone()))
}

fn asked(token: &str, request: &[&str]) -> AskedPage {
    AskedPage {
        size: 10,
        token: token.into(),
        request: request.iter().map(|&part| part.to_owned()).collect(),
    }
}

fn reason<T>(result: Result<T, Error>) -> Reason {
    let error = result.err().unwrap();
    assert_eq!(error.violations.iter().count(), 1, "{error:?}");
    error.reason
}

const REQUEST: [&str; 3] = ["ListUsers", "tenants/acme", "role: admin"];

#[test]
fn a_page_token_leads_to_the_place_that_it_was_made_of() {
    let tokens = tokens(1, &ManualClock::new(at(0)));
    for place in ["", "acme", "Zoë/\u{1F600}\n", &"x".repeat(1000)] {
        let first = tokens.page(None, asked("", &REQUEST)).unwrap();
        assert!(first.is_first());
        let token = first.next_token(Some(&Cursor::from_text(place.into())));
        let next = tokens.page(None, asked(&token, &REQUEST)).unwrap();
        assert_eq!(next.request().after.unwrap().as_str(), place);
        assert!(!next.is_first());
    }
    let last = tokens.page(None, asked("", &REQUEST)).unwrap();
    assert_eq!(last.next_token(None), "");
}

/// The same of all of them: nobody learns what is wrong with a token.
#[test]
fn a_page_token_is_good_for_one_request_of_the_same_tenants_alone() {
    let clock = ManualClock::new(at(0));
    let tokens = tokens(1, &clock);
    let both = ["acme".to_owned(), "beta".to_owned()];
    let first = tokens.page(Some(&both), asked("", &REQUEST)).unwrap();
    let token = first.next_token(Some(&Cursor::from_text("ada".into())));
    let good = |tenants, token: &str, request: &[&str]| tokens.page(tenants, asked(token, request));
    assert!(good(Some(&both), &token, &REQUEST).is_ok());
    let acme = ["acme".to_owned()];
    let mut bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
    let mut errors = vec![
        good(None, &token, &REQUEST),
        good(Some(&acme), &token, &REQUEST),
        good(Some(&[]), &token, &REQUEST),
        good(Some(&both), &token, &["ListUsers", "tenants/acme", "role: user"]),
        good(Some(&both), &token, &["ListUsers", "tenants/acmerole: admin"]),
        good(Some(&both), &token, &["ListUsers", "tenants/beta", "role: admin"]),
        good(
            Some(&both),
            &token,
            &["LookupUser", "tenants/acme", "role: admin"],
        ),
        self::tokens(2, &clock).page(Some(&both), asked(&token, &REQUEST)),
    ];
    for token in [
        "x",
        "AQ",
        "====",
        "Ag",
        &"A".repeat(10_000),
        &token[1..],
        &token[4..],
    ] {
        errors.push(good(Some(&both), token, &REQUEST));
    }
    for end in 1..token.len() {
        errors.push(good(Some(&both), &token[..end], &REQUEST));
    }
    for index in 0..bytes.len() {
        bytes[index] ^= 1;
        errors.push(good(Some(&both), &URL_SAFE_NO_PAD.encode(&bytes), &REQUEST));
        bytes[index] ^= 1;
    }
    let cursor = tokens.cursor("ListUsers", [Mark::START]);
    errors.push(good(Some(&both), &cursor, &REQUEST));
    let texts: std::collections::BTreeSet<String> = errors
        .into_iter()
        .map(|refused| format!("{:?}", refused.err().unwrap()))
        .collect();
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(texts.first().unwrap().contains("InvalidPageToken"), "{texts:?}");
}

#[test]
fn a_page_token_lives_a_day_and_replicas_an_hour_apart_understand_each_other() {
    let (ours, theirs) = (ManualClock::new(at(0)), ManualClock::new(at(1)));
    let (here, there) = (tokens(1, &ours), tokens(1, &theirs));
    let made_by = |tokens: &Tokens| {
        let first = tokens.page(None, asked("", &REQUEST)).unwrap();
        first.next_token(Some(&Cursor::from_text("ada".into())))
    };
    let (early, late) = (made_by(&here), made_by(&there));
    for (hours, early_is_good, late_is_good) in [
        (0, true, true),
        (23, true, true),
        (24, true, true),
        (25, false, true),
        (26, false, false),
    ] {
        ours.set(at(hours));
        let is_good = |token: &str| here.page(None, asked(token, &REQUEST)).is_ok();
        assert_eq!(
            (is_good(&early), is_good(&late)),
            (early_is_good, late_is_good),
            "after {hours} hours"
        );
    }
    assert_eq!(
        reason(here.page(None, asked(&early, &REQUEST))),
        Reason::InvalidPageToken
    );
    // One that was made by a clock far ahead is no good for years.
    theirs.set(at(24 * 365));
    assert!(here.page(None, asked(&made_by(&there), &REQUEST)).is_err());
}

#[test]
fn a_cursor_belongs_to_one_feed_and_does_not_end() {
    let clock = ManualClock::new(at(0));
    let tokens = tokens(1, &clock);
    let mark = Mark {
        position: 42,
        digest: -7,
    };
    let cursor = tokens.cursor("users/acme", [mark]);
    clock.set(at(24 * 365));
    assert_eq!(tokens.marks("users/acme", "after", &cursor).unwrap(), [mark]);
    let open = |tokens: &Tokens, feed, cursor: &str| tokens.marks::<1>(feed, "after", cursor);
    let two = tokens.cursor("users/acme", [mark, mark]);
    assert_eq!(tokens.marks("users/acme", "after", &two).unwrap(), [mark, mark]);
    let mut wrong = vec![
        open(&tokens, "users/other", &cursor),
        open(&tokens, "users/-", &cursor),
        open(&tokens, "audit/acme", &cursor),
        open(&self::tokens(2, &clock), "users/acme", &cursor),
        open(&tokens, "users/acme", &two),
        open(&tokens, "users/acme", "x"),
        open(&tokens, "users/acme", &URL_SAFE_NO_PAD.encode("e1/acme/42")),
    ];
    for end in 0..cursor.len() {
        wrong.push(open(&tokens, "users/acme", &cursor[..end]));
    }
    for refused in wrong {
        assert_eq!(reason(refused), Reason::InvalidCursor);
    }
}
