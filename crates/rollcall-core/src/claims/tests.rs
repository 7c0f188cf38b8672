//! Each rule alone. All of them together, by brute force: `orders.rs`.

#![allow(clippy::unwrap_used)]

use super::*;

fn key(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn want(text: &str) -> Want {
    match text {
        "=" => Want::Held,
        "" => Want::Nothing,
        other => Want::Other(other.to_owned()),
    }
}

/// An enabled person: holds a login and an e-mail address, wants these.
fn person(login: &str, email: &str, wants_login: &str, wants_email: &str) -> Claimant {
    Claimant {
        login: key(login),
        email: key(email),
        wants: Wants {
            login: want(wants_login),
            email: want(wants_email),
        },
        rejected: Wants::default(),
        enabled: true,
        leaves: false,
        taken: true,
        may_link: login.is_empty(),
    }
}

fn off(claimant: Claimant) -> Claimant {
    Claimant {
        enabled: false,
        ..claimant
    }
}

fn run(claimants: &[Claimant]) -> Vec<Outcome> {
    settle(claimants, &HashMap::new())
}

use Settled::{Granted, Refused, Unasked};

fn rival(index: usize) -> Settled {
    Refused(Refusal::Rival(index))
}

#[test]
fn who_holds_an_identifier_and_offers_it_keeps_it() {
    let outcomes = run(&[
        person("ada", "a@x", "=", "="),
        person("bob", "b@x", "=", "a@x"),
        person("", "", "ada", ""),
    ]);
    assert_eq!(outcomes[0], Outcome::default());
    assert_eq!(outcomes[1].email, rival(0));
    assert_eq!(outcomes[2].login, rival(0));
}

#[test]
fn a_disabled_entry_asks_for_nothing_that_an_enabled_one_asks_for() {
    let outcomes = run(&[off(person("", "", "ada", "m@x")), person("", "", "eve", "m@x")]);
    assert_eq!((outcomes[0].login, outcomes[0].email), (Granted, rival(1)));
    assert_eq!((outcomes[1].login, outcomes[1].email), (Granted, Granted));
    let alone = run(&[off(person("", "", "ada", "m@x"))]);
    assert_eq!((alone[0].login, alone[0].email), (Granted, Granted));
}

#[test]
fn a_deactivated_holder_gives_way_to_one_enabled_entry_and_to_no_disabled_one() {
    let gone = off(person("ada", "m@x", "=", "="));
    let outcomes = run(&[gone.clone(), person("", "", "ada", "m@x")]);
    assert!(outcomes[0].gives_up_login);
    assert_eq!((outcomes[1].login, outcomes[1].email), (Granted, Granted));
    assert_eq!(outcomes[1].needs.len(), 2);
    let outcomes = run(&[gone.clone(), off(person("", "", "ada", ""))]);
    assert_eq!((outcomes[1].login, outcomes[0].gives_up_login), (rival(0), false));
    // Two ask, so nobody gets it, and nothing is given up.
    let two = run(&[gone.clone(), person("", "", "ada", ""), person("", "", "ada", "")]);
    assert!(!two[0].gives_up_login);
    assert_eq!((two[1].login, two[2].login), (rival(2), rival(1)));
    // Who does not become a user takes nothing.
    let refused = run(&[gone, person("", "", "eve", "m@x"), person("eve", "", "=", "=")]);
    assert_eq!((refused[1].login, refused[0].gives_up_email), (rival(2), None));
}

#[test]
fn a_login_that_is_not_given_is_asked_for_all_the_same() {
    let kept = Claimant {
        rejected: Wants {
            login: want("eve"),
            email: Want::Held,
        },
        ..person("ada", "", "", "=")
    };
    let outcomes = run(&[kept.clone(), person("", "", "eve", "")]);
    assert_eq!((outcomes[0].login, outcomes[1].login), (Unasked, rival(0)));
    // Somebody who is archived asks for nothing any more.
    let disabled = off(kept);
    let outcomes = run(&[
        disabled,
        person("", "", "ada", ""),
        off(person("", "", "eve", "")),
    ]);
    assert!(outcomes[0].gives_up_login);
    assert_eq!((outcomes[1].login, outcomes[2].login), (Granted, Granted));
}

#[test]
fn what_somebody_leaves_is_free_for_disabled_entries_too() {
    let archived = Claimant {
        leaves: true,
        ..off(person("ada", "m@x", "=", "="))
    };
    let outcomes = run(&[archived, off(person("", "", "ada", "m@x"))]);
    assert_eq!((outcomes[1].login, outcomes[1].email), (Granted, Granted));
    assert!(!outcomes[0].gives_up_login && outcomes[0].gives_up_email.is_none());
}

#[test]
fn a_disabled_holder_who_was_renamed_away_gives_way_too() {
    let outcomes = run(&[off(person("ada", "", "", "=")), person("", "", "ada", "")]);
    assert!(outcomes[0].gives_up_login);
    assert_eq!(outcomes[1].login, Granted);
    assert_eq!(outcomes[0].ambiguous_with, None);
}

#[test]
fn what_several_ask_for_is_nobody_s_and_an_email_never_stands_against_a_login() {
    let outcomes = run(&[
        person("", "", "ada", "m@x"),
        person("", "", "ada", ""),
        person("", "", "eve", "m@x"),
        person("", "", "kim", "ada"),
    ]);
    assert_eq!((outcomes[0].login, outcomes[1].login), (rival(1), rival(0)));
    assert_eq!((outcomes[0].email, outcomes[2].email), (rival(2), rival(0)));
    assert!(matches!(outcomes[3].email, Refused(_)));
    let outcomes = run(&[person("", "", "eve", "ada"), person("", "", "ada", "")]);
    assert_eq!((outcomes[0].email, outcomes[1].login), (rival(1), Granted));
}

#[test]
fn an_email_address_that_is_the_login_comes_with_it() {
    let outcomes = run(&[person("", "", "a@x", "a@x")]);
    assert_eq!((outcomes[0].login, outcomes[0].email), (Granted, Granted));
    let outcomes = run(&[person("ada", "", "=", "ada")]);
    assert_eq!(outcomes[0].email, Granted);
    let swap = run(&[person("ada", "a@x", "a@x", "ada")]);
    assert_eq!((swap[0].login, swap[0].email), (Granted, Granted));
}

#[test]
fn moves_wait_for_a_release_and_fall_with_it() {
    let swap = run(&[person("a", "", "b", "="), person("b", "", "a", "=")]);
    assert_eq!((swap[0].login, swap[1].login), (Granted, Granted));
    let outside = HashMap::from([("c".to_owned(), Outside::Keeps)]);
    let chain = settle(&[person("a", "", "b", "="), person("b", "", "c", "=")], &outside);
    assert_eq!(chain[1].login, Refused(Refusal::Outside));
    assert_eq!(chain[0].login, Refused(Refusal::NotReleased(1)));
    assert_eq!(chain[1].ambiguous_with, Some(0), "whoever types b may be either");
    assert_eq!(chain[0].ambiguous_with, None);
    // An e-mail address that the entry does not have any more becomes free, whatever comes of the new one.
    let emails = run(&[
        person("a", "x", "=", "y"),
        person("b", "y", "=", "="),
        person("c", "", "=", "x"),
    ]);
    assert_eq!((emails[0].email, emails[2].email), (rival(1), Granted));
}

#[test]
fn a_kept_login_is_ambiguous_only_while_an_enabled_entry_asks_for_it() {
    let kept = person("ada", "", "", "=");
    let asked = run(&[kept.clone(), person("", "", "ada", "")]);
    assert_eq!(asked[0].ambiguous_with, Some(1));
    assert_eq!(asked[1].login, Refused(Refusal::NotReleased(0)));
    assert_eq!(
        run(&[kept.clone(), off(person("", "", "ada", ""))])[0].ambiguous_with,
        None
    );
    assert_eq!(
        run(&[kept.clone(), person("eve", "", "=", "ada")])[0].ambiguous_with,
        None
    );
    let bystander = Claimant {
        taken: false,
        ..person("", "", "ada", "")
    };
    assert_eq!(
        run(&[kept, bystander])[0].ambiguous_with,
        Some(1),
        "who is left out types it too"
    );
}

#[test]
fn a_local_user_is_linked_with_the_one_enabled_entry_that_asks() {
    let outside = HashMap::from([("ada".to_owned(), Outside::Linkable)]);
    let settled = |claimants: &[Claimant]| -> Vec<Settled> {
        settle(claimants, &outside)
            .iter()
            .map(|outcome| outcome.login)
            .collect()
    };
    let new = person("", "", "ada", "");
    assert_eq!(settled(std::slice::from_ref(&new)), [Granted]);
    assert_eq!(settled(&[new.clone(), new.clone()]), [rival(1), rival(0)]);
    assert_eq!(settled(&[off(new)]), [Refused(Refusal::Outside)]);
    assert_eq!(
        settled(&[person("eve", "", "ada", "=")]),
        [Refused(Refusal::Outside)]
    );
}
