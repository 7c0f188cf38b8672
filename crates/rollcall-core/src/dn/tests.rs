#![allow(clippy::unwrap_used)]
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn dn(text: &str) -> Dn {
    Dn::parse(text).unwrap_or_else(|error| unreachable!("{text}: {error}"))
}

#[test]
fn spellings_of_one_name_are_equal() {
    for (one, other) in [
        ("", "  "),
        ("CN=Anna,DC=Example", "cn=anna,dc=example"),
        ("cn=a,dc=b", " cn = a , dc = b "),
        ("cn=a;dc=b", "cn=a,dc=b"),
        ("cn=a b,dc=c", "cn=A   B,dc=c"),
        ("cn=M\u{fc}ller", "cn=M\\C3\\BCller"),
        ("cn=M\u{fc}ller", "cn=mu\u{308}ller"),
        ("cn=Doe\\, Jane", "cn=Doe\\2c Jane"),
        ("cn=Doe\\, Jane", "cn=\"Doe, Jane\""),
        ("cn=a\\\"b", "cn=\"a\\\"b\""),
        ("cn=a+uid=b,dc=c", "UID=B+CN=A,dc=c"),
        ("cn=\\#x", "cn=\\23x"),
        ("cn=x", "cn=#040178"),
        ("cn=x", "cn=#0C0178"),
        ("cn=a\\ ", "cn=a"),
        ("2.5.4.3=x", "cn=x"),
        ("OID.2.5.4.11=x", "ou=x"),
        ("cn=a=b", "cn=a\\=b"),
        ("cn=\u{ff41}\u{ff42}", "cn=ab"),
        ("cn=", "cn= "),
    ] {
        assert_eq!(dn(one), dn(other), "{one:?} {other:?}");
    }
}

#[test]
fn different_names_are_different() {
    for (one, other) in [
        ("cn=a", "cn=b"),
        ("cn=a", "sn=a"),
        ("cn=a,cn=b", "cn=b,cn=a"),
        ("cn=a+cn=b", "cn=a,cn=b"),
        ("cn=a\\,dc=b", "cn=a,dc=b"),
        ("cn=a b", "cn=ab"),
        ("cn=#0500", "cn=\\#0500"),
        ("cn=\\ff", "cn=\\fe"),
        ("", "cn=a"),
    ] {
        assert_ne!(dn(one), dn(other), "{one:?} {other:?}");
    }
}

#[test]
fn the_tree_is_told_by_whole_parts() {
    let base = dn("OU=People,DC=example,DC=com");
    assert!(dn("uid=anna,ou=staff,ou=people, dc=example,dc=com").is_within(&base));
    assert!(base.is_within(&base));
    assert!(base.is_within(&dn("")));
    assert!(!dn("dc=example,dc=com").is_within(&base));
    assert!(!dn("uid=x,ou=nopeople,dc=example,dc=com").is_within(&base));
    assert!(!dn("uid=x\\,ou=people,dc=example,dc=com").is_within(&base));
    assert!(dn("uid=x,ou=people,dc=example,dc=com").is_child_of(&base));
    assert!(!dn("uid=x,ou=y,ou=people,dc=example,dc=com").is_child_of(&base));
    assert!(!base.is_child_of(&base));
}

#[test]
fn a_name_is_shown_as_it_was_written() {
    let text = " CN=Doe\\2c Jane ,DC = Example";
    assert_eq!(dn(text).to_string(), text);
}

#[test]
fn mistakes_are_named_where_they_are() {
    use DnProblem::*;
    for (text, problem, offset) in [
        ("anna", MissingEquals, 0),
        ("cn=a,anna", MissingEquals, 5),
        ("cn=a,", MissingEquals, 5),
        (",cn=a", MissingEquals, 0),
        ("cn=a,,dc=b", MissingEquals, 5),
        ("cn=a+,dc=b", MissingEquals, 5),
        ("=a", AttributeType, 0),
        ("c n=a", AttributeType, 0),
        ("\u{e9}=a", AttributeType, 0),
        ("2=a", AttributeType, 0),
        ("cn=a\\", Escape, 4),
        ("cn=a\\x", Escape, 4),
        ("cn=a\\2", Escape, 4),
        ("cn=a\"b", Unescaped('"'), 4),
        ("cn=a<b", Unescaped('<'), 4),
        ("cn=a\0", Unescaped('\0'), 4),
        ("cn=\"a\"b", Unescaped('b'), 6),
        ("cn=\"a\"\u{e9}", Unescaped('\u{e9}'), 6),
        ("cn=\"a", Quotes, 3),
        ("cn=#", HexString, 3),
        ("cn=#0", HexString, 3),
        ("cn=#04xx", HexString, 3),
    ] {
        let error = Dn::parse(text).unwrap_err();
        assert_eq!((error.problem, error.offset), (problem, offset), "{text:?}");
    }
    let error = Dn::parse("cn=\u{e9},x").unwrap_err();
    assert_eq!((error.offset, error.column), (6, 6));
    assert_eq!(
        Dn::parse(&format!("cn={}", "a".repeat(MAX_DN_BYTES)))
            .unwrap_err()
            .problem,
        TooLong
    );
}

/// Any text as the value of an RDN (RFC 4514 section 2.4).
fn escape_value(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let last = text.chars().count().saturating_sub(1);
    for (index, c) in text.chars().enumerate() {
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=' => {
                escaped.push('\\');
                escaped.push(c);
            }
            '#' if index == 0 => escaped.push_str("\\#"),
            ' ' if index == 0 || index == last => escaped.push_str("\\ "),
            c if c.is_control() => {
                let mut buffer = [0; 4];
                for byte in c.encode_utf8(&mut buffer).bytes() {
                    escaped.push_str(&format!("\\{byte:02x}"));
                }
            }
            c => escaped.push(c),
        }
    }
    escaped
}

proptest! {
    #[test]
    fn any_value_can_be_part_of_a_name(value in any::<String>(), special in "[ #+,;<>=\"\\\\a\0]{0,6}") {
        for value in [value, special] {
            let name = dn(&format!("uid={},dc=x", escape_value(&value)));
            prop_assert!(name.is_child_of(&dn("dc=x")));
            prop_assert_eq!(&name.rdns[0][0].1, &value_of(value.into_bytes()));
        }
    }

    #[test]
    fn bytes_written_in_hexadecimal_mean_themselves(value in vec(any::<u8>(), 0..20)) {
        let hex: String = value.iter().map(|byte| format!("\\{byte:02X}")).collect();
        prop_assert_eq!(&dn(&format!("cn={hex}")).rdns[0][0].1, &value_of(value));
    }

    #[test]
    fn any_text_gets_an_answer(text in any::<String>(), soup in "(cn|=|,|\\+|;|\\\\|\"|#|0|a| |\u{e9}){0,30}") {
        for text in [text, soup] {
            match Dn::parse(&text) {
                Ok(name) => prop_assert!(name.is_within(&name)),
                Err(error) => prop_assert!(text.is_char_boundary(error.offset), "{}", error),
            }
        }
    }
}

#[test]
fn texts_are_the_same_dn_however_they_are_written() {
    assert!(is_same_dn("uid=ada,dc=example", "UID=Ada, DC=Example"));
    assert!(!is_same_dn("uid=ada,dc=example", "uid=eve,dc=example"));
    assert!(is_same_dn("no dn", "no dn"));
    assert!(!is_same_dn("no dn", "No DN"));
}

#[test]
fn the_parent_of_a_dn_is_what_follows_its_first_part() {
    for (dn, parent) in [
        ("uid=ada,ou=people,dc=x", Some("ou=people,dc=x")),
        ("uid=ada; ou=people", Some("ou=people")),
        (r"cn=Lovelace\, Ada,ou=people", Some("ou=people")),
        (r"cn=a\\,ou=people", Some("ou=people")),
        (r#"cn="Lovelace, Ada",ou=people"#, Some("ou=people")),
        ("cn=<odd>,ou=people", Some("ou=people")),
        ("dc=x", None),
        ("", None),
        (r"cn=x\", None),
        ("cn=x,", Some("")),
    ] {
        assert_eq!(parent_of(dn), parent, "{dn}");
    }
}

/// What servers give need not be RFC 4514, and names somebody all the same.
#[test]
fn a_name_that_a_server_gave_is_never_refused() {
    let people = dn("ou=people,dc=example");
    let long = format!("cn={},ou=people,dc=example", "x".repeat(9_000));
    for given in [
        "cn=a<b>,ou=people,dc=example",
        "cn=a\"b,ou=people,dc=example",
        "cn=\"a,ou=people,dc=example",
        "cn=\"a,b\"c,ou=people,dc=example",
        "cn=a\0b,ou=people,dc=example",
        "no name at all,ou=people,dc=example",
        "cn=\\zz, ou=People , dc=Example",
        &long,
    ] {
        assert!(Dn::parse(given).is_err(), "{given:?}");
        let name = Dn::given(given);
        assert_eq!(name.as_str(), given);
        assert!(name.is_within(&people) && name.is_child_of(&people), "{given:?}");
        assert!(is_same_dn(given, given));
        assert!(!is_same_dn(given, &format!("x{given}")), "{given:?}");
    }
    assert_eq!(
        Dn::given("cn=A<b>,dc=x"),
        dn("cn=a\\<b\\>,dc=x"),
        "whoever escapes it means the same"
    );
    assert_ne!(
        Dn::given("cn=\\zz,dc=x"),
        Dn::given("cn=\\ZZ,dc=x"),
        "byte for byte"
    );
    for text in [
        "cn=Doe\\, Jane,dc=x",
        "cn=\"Doe, Jane\",dc=x",
        "",
        "cn=a+uid=b;dc=c",
    ] {
        assert_eq!(Dn::given(text), dn(text), "as it reads for anybody");
    }
}

proptest! {
    #[test]
    fn any_name_that_a_server_gave_is_itself_and_below_what_is_above_it(text in "[a-c=,;+\\\\\"<># \0]{0,24}") {
        let name = Dn::given(&text);
        prop_assert_eq!(&name, &Dn::given(&text));
        if let Ok(parsed) = Dn::parse(&text) {
            prop_assert_eq!(name, parsed);
        }
    }
}
