#![allow(clippy::unwrap_used)]

use super::*;
use crate::external_id::IdKind;
use crate::field::TextField;
use crate::id::{UserSyncId, Uuid};
use crate::issue::IssueKind;
use crate::user::{Origin, Profile};

fn ada() -> Person {
    let mut person = Person::new(UserId(Uuid::from_u128(1)));
    let origin = Origin {
        user_sync: UserSyncId::parse("staff").unwrap(),
        directory: DirectoryId::parse("hq").unwrap(),
        external_id: ExternalId::from_bytes(IdKind::EntryUuid, &[1; 16]).unwrap(),
        dn: "uid=ada,ou=People,dc=acme".into(),
        linked: false,
    };
    let profile = Profile {
        login: "ada".into(),
        email: Some("ada@acme.example".into()),
        texts: [(TextField::DisplayName, "Ada Lovelace".to_owned())].into(),
        ..Profile::default()
    };
    person.learn_origin(&origin);
    person.learn_profile(&profile);
    person
}

fn eraser() -> Eraser {
    Eraser::new(&TenantId::parse("acme").unwrap(), &[ada()]).unwrap()
}

#[test]
fn a_person_is_found_by_words_and_not_within_others() {
    let eraser = eraser();
    for text in [
        "ada left",
        "it is for Ada.",
        "see ADA@ACME.example",
        "Ada Lovelace asked",
        "<ada>",
    ] {
        assert!(eraser.named_in(text).is_some(), "{text}");
    }
    for text in ["adapted", "canada", "ada_1", "Lovelace", "", "\u{e4}ada"] {
        assert_eq!(eraser.named_in(text), None, "{text}");
    }
}

#[test]
fn nobody_is_named_where_nobody_is_erased() {
    let nobody = Eraser::new(&TenantId::parse("acme").unwrap(), &[]).unwrap();
    assert_eq!(nobody.named_in("ada"), None);
}

#[test]
fn of_an_own_issue_the_kind_stays_and_of_another_s_all_but_the_person() {
    let eraser = eraser();
    let own = Issue::new(IssueKind::LoginTaken, "UID=ada,ou=people,dc=acme", "x").about("uid", "lady");
    let left = eraser.issue(&own).unwrap();
    assert_eq!(
        (left.kind, left.attribute.as_deref()),
        (IssueKind::LoginTaken, Some("uid"))
    );
    assert_eq!(
        (left.dn.as_str(), &left.value, left.message.as_str()),
        ("", &None, LEFT_OUT)
    );

    let bob = "uid=bob,ou=people,dc=acme";
    let beside = Issue::new(IssueKind::LoginTaken, bob, "another entry has it").valued("ADA");
    let left = eraser.issue(&beside.beside("uid=ada,ou=People,dc=acme")).unwrap();
    assert_eq!(
        (left.dn.as_str(), left.message.as_str()),
        (bob, "another entry has it")
    );
    assert_eq!((left.value, left.other_dn), (None, None));

    let told = Issue::new(IssueKind::LoginChangeRejected, bob, "it had the login ada");
    assert_eq!(eraser.issue(&told).unwrap().message, LEFT_OUT);
    let nothing = Issue::new(IssueKind::EmailInvalid, bob, "no address").about("mail", "bob");
    assert_eq!(eraser.issue(&nothing), None);
}

#[test]
fn whoever_acted_stays_by_id() {
    let actor = |name: &str, reason: &str| Actor {
        name: name.into(),
        address: "192.0.2.1".into(),
        reason: reason.into(),
    };
    let left = eraser().actor(&actor("ada@acme.example", "ticket 1")).unwrap();
    assert_eq!(
        left.name,
        "tenants/acme/users/00000000-0000-0000-0000-000000000001"
    );
    assert_eq!((left.address.as_str(), left.reason.as_str()), ("", "ticket 1"));
    let left = eraser().actor(&actor("bob", "Ada Lovelace left")).unwrap();
    assert_eq!(
        (left.name.as_str(), left.address.as_str(), left.reason.as_str()),
        ("bob", "192.0.2.1", LEFT_OUT)
    );
    assert_eq!(eraser().actor(&actor("bob", "ticket 1")), None);
}

#[test]
fn an_item_of_a_report_that_names_somebody_is_left_out() {
    let text = "The run left 2 issues.\n\n2 issues\n- LOGIN_TAKEN\n  Entry: uid=ada,ou=People,dc=acme\n  Value: secret\n\
                - EMAIL_TAKEN\n  Entry: uid=bob\n\nfooter\n";
    let left = eraser().report_text(text).unwrap();
    assert_eq!(
        left,
        format!(
            "The run left 2 issues.\n\n2 issues\n- {LEFT_OUT}\n- EMAIL_TAKEN\n  Entry: uid=bob\n\nfooter\n"
        )
    );
    let html = "<ul>\n<li>LOGIN_TAKEN<br><b>Entry:</b> &lt;ada&gt;</li>\n<li>x</li>\n</ul>\n";
    let left = eraser().report_html(html).unwrap();
    assert_eq!(left, format!("<ul>\n<li>{LEFT_OUT}</li>\n<li>x</li>\n</ul>\n"));
    assert_eq!(eraser().report_text("- x\n  y\n"), None);
}
