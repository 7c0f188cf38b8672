#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;

#[test]
fn spellings_that_a_directory_takes_for_one_have_one_key() {
    for (one, other) in [
        ("Alice", "aLICE"),
        ("user7 ", "\u{ff55}ser7"),
        ("  anna   maria ", "Anna\u{a0}Maria"),
        ("jos\u{e9}", "JOSE\u{301}"),
        ("strasse", "STRA\u{df}E"),
        ("\u{3c3}", "\u{3c2}"),
        ("ali\u{ad}ce", "alice\u{200b}"),
        ("office", "of\u{fb01}ce"),
        ("a\tb", "a b"),
    ] {
        assert_eq!(normalize(one), normalize(other), "{one:?} {other:?}");
    }
    assert_ne!(normalize("anna maria"), normalize("annamaria"));
    assert_ne!(normalize("jose"), normalize("jos\u{e9}"));
    assert_eq!(normalize(" \t "), "");
}

#[test]
fn the_policy_counts_characters_not_bytes() {
    let policy = LoginPolicy::default();
    assert_eq!(
        policy.check("\u{738b}\u{5c0f}\u{660e}").unwrap().key(),
        "\u{738b}\u{5c0f}\u{660e}"
    );
    assert_eq!(policy.check(" Al.i-ce_1 ").unwrap().as_str(), "Al.i-ce_1");
    assert_eq!(
        policy.check("al"),
        Err(LoginProblem::TooShort {
            characters: 2,
            min_chars: 3
        })
    );
    assert_eq!(
        policy.check("  "),
        Err(LoginProblem::TooShort {
            characters: 0,
            min_chars: 3
        })
    );
    let one = policy.check("x").unwrap_err().to_string();
    assert_eq!(one, "has 1 character, at least 3 are needed");
    assert!(policy.check(&"\u{e9}".repeat(128)).is_ok());
    let problem = LoginProblem::TooLong {
        characters: 129,
        max_chars: 128,
    };
    assert_eq!(policy.check(&"\u{e9}".repeat(129)), Err(problem));
}

#[test]
fn a_key_obeys_the_policy_as_its_login_does() {
    let policy = LoginPolicy::default();
    let expanding = "\u{fdfa}\u{fdfa}\u{fdfa}"; // 3 characters, 18 words after NFKC
    assert!(matches!(
        policy.check(expanding),
        Err(LoginProblem::IllegalCharacters { first: ' ' })
    ));
    let problem = LoginProblem::TooLong {
        characters: 256,
        max_chars: 128,
    };
    assert_eq!(policy.check(&"\u{df}".repeat(128)), Err(problem));
}

#[test]
fn scripts_that_need_marks_can_be_logins() {
    let policy = LoginPolicy::default();
    for login in [
        "\u{939}\u{93f}\u{928}\u{94d}\u{926}\u{940}",
        "jose\u{301}",
        "\u{645}\u{62d}\u{645}\u{62f}",
    ] {
        assert!(policy.check(login).is_ok(), "{login}");
    }
}

#[test]
fn illegal_characters_are_named() {
    let policy = LoginPolicy::default();
    for (login, first) in [
        ("alice@example.com", '@'),
        ("anna maria", ' '),
        ("al\u{ff20}ice", '\u{ff20}'),
        ("alice\u{1f600}", '\u{1f600}'),
        ("ali\u{200b}ce", '\u{200b}'),
        ("ali\u{3164}ce", '\u{3164}'),
        ("ali\0ce", '\0'),
        ("a*(b)", '*'),
    ] {
        assert_eq!(
            policy.check(login),
            Err(LoginProblem::IllegalCharacters { first }),
            "{login:?}"
        );
    }
    let allowed = AllowedCharacters::with_punctuation(".@").unwrap();
    let policy = LoginPolicy {
        allowed,
        ..LoginPolicy::default()
    };
    assert!(policy.check("alice@example.com").is_ok());
    assert_eq!(
        policy.check("a_b"),
        Err(LoginProblem::IllegalCharacters { first: '_' })
    );
    assert_eq!(AllowedCharacters::with_punctuation(". "), Err(' '));
}

#[test]
fn addresses_that_mail_is_delivered_to_are_accepted() {
    for good in [
        "a@b.c",
        "Anna.O'Neil+x@Mail.Example.COM",
        "\u{7528}\u{6237}@\u{4f8b}\u{5b50}.cn",
        " a@b.c ",
        "a@xn--e1afmkfd.example",
        "\"q q\"@x.example",
        "\"a@b\"@x.example",
        "\"a\\\"..b\"@x.example",
        "\"\u{7528} \u{6237}\"@x.example",
    ] {
        assert!(Email::parse(good).is_ok(), "{good}");
    }
    let long = format!("{}@b.c", "a".repeat(65));
    for (bad, problem) in [
        ("", EmailProblem::NotOneAt),
        ("alice", EmailProblem::NotOneAt),
        ("-", EmailProblem::NotOneAt),
        ("n/a", EmailProblem::NotOneAt),
        ("a@b@c.d", EmailProblem::NotOneAt),
        ("a\u{ff20}b@c.d", EmailProblem::NotOneAt),
        ("a..b@c.d", EmailProblem::LocalPart),
        (".a@c.d", EmailProblem::LocalPart),
        ("a.@c.d", EmailProblem::LocalPart),
        ("\"\"@c.d", EmailProblem::LocalPart),
        ("\"a\"b\"@c.d", EmailProblem::LocalPart),
        ("\"a\\\"@c.d", EmailProblem::LocalPart),
        ("\"a\"b@c.d", EmailProblem::LocalPart),
        ("\"a\nb\"@c.d", EmailProblem::LocalPart),
        ("\"a\u{202e}b\"@c.d", EmailProblem::LocalPart),
        ("\u{ff02}q q\u{ff02}@c.d", EmailProblem::LocalPart),
        ("@b.c", EmailProblem::LocalPart),
        ("a b@c.d", EmailProblem::LocalPart),
        ("a\u{0}b@c.d", EmailProblem::LocalPart),
        ("<a@b.c>", EmailProblem::LocalPart),
        (long.as_str(), EmailProblem::LocalPart),
        ("a@", EmailProblem::Domain),
        ("a@localhost", EmailProblem::Domain),
        ("a@192.0.2.1", EmailProblem::Domain),
        ("a@b..c", EmailProblem::Domain),
        ("a@-b.c", EmailProblem::Domain),
        ("a@b_c.d", EmailProblem::Domain),
        ("a@b.c.", EmailProblem::Domain),
    ] {
        assert_eq!(Email::parse(bad), Err(problem), "{bad:?}");
    }
    assert_eq!(
        Email::parse(&format!("a@{}", "b.".repeat(130))),
        Err(EmailProblem::TooLong)
    );
}

#[test]
fn the_domain_is_that_of_the_only_at() {
    assert_eq!(email_domain("Anna@EXAMPLE.com").as_deref(), Some("example.com"));
    assert_eq!(email_domain("a\u{ff20}evil.test@example.com"), None);
    assert_eq!(
        email_domain("\"a@evil.test\"@example.com").as_deref(),
        Some("example.com")
    );
    assert_eq!(
        email_domain("\"a\u{ff20}b\"@example.com").as_deref(),
        Some("example.com")
    );
    assert_eq!(email_domain("anna@localhost"), None);
    assert_eq!(email_domain("anna"), None);
}

proptest! {
    #[test]
    fn normalizing_twice_changes_nothing(text in any::<String>()) {
        let once = normalize(&text);
        prop_assert_eq!(normalize(&once), once);
    }

    #[test]
    fn any_text_gets_an_answer(text in any::<String>()) {
        if let Ok(login) = LoginPolicy::default().check(&text) {
            prop_assert!(LoginPolicy::default().check(login.key()).is_ok());
        }
        if let Ok(email) = Email::parse(&text) {
            prop_assert!(Email::parse(email.key()).is_ok());
        }
    }
}
