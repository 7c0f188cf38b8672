use rollcall_testkit::{Dirsrv, DirsrvPerson, TestCa, is_root_for};
use std::net::TcpStream;
use std::process::Command;
use std::sync::OnceLock;

/// One for all tests, since none changes what another one looks at.
fn shared() -> Option<&'static Dirsrv> {
    static SERVER: OnceLock<Option<Dirsrv>> = OnceLock::new();
    SERVER
        .get_or_init(|| {
            let root = is_root_for("the tests of 389 Directory Server").unwrap();
            root.then(|| Dirsrv::start(&TestCa::new().unwrap()).unwrap())
        })
        .as_ref()
}

#[test]
fn the_state_of_an_account_shows_in_the_answer_to_its_bind() {
    let Some(server) = shared() else { return };
    let (success, wrong_password) = ("", "Invalid credentials (49)");
    for person in DirsrvPerson::ALL {
        let (right, wrong) = match person {
            DirsrvPerson::Normal | DirsrvPerson::Aging => (success, wrong_password),
            DirsrvPerson::Disabled => (
                "ldap_bind: Server is unwilling to perform (53)",
                "unwilling to perform (53)",
            ),
            DirsrvPerson::Locked => (
                "ldap_bind: Constraint violation (19)",
                "Constraint violation (19)",
            ),
            DirsrvPerson::Aged => ("password expired!", wrong_password),
            // The bind succeeds, the search behind it does not.
            DirsrvPerson::MustChange => ("\nServer is unwilling to perform (53)", wrong_password),
        };
        let account = server.person(person);
        let answer = |password: &str| {
            let search = server.search_as(&account.dn, password, &["-b", "", "-s", "base", "1.1"]);
            search.map_or_else(|error| error.to_string(), |_| success.to_owned())
        };
        let (right_answer, wrong_answer) = (answer(&account.password), answer("wrong"));
        assert!(right_answer.contains(right), "{person:?}: {right_answer}");
        assert_eq!(
            right_answer.is_empty(),
            right.is_empty(),
            "{person:?}: {right_answer}"
        );
        assert!(wrong_answer.contains(wrong), "{person:?}: {wrong_answer}");
    }
}

#[test]
fn only_a_password_about_to_expire_is_announced() {
    let Some(server) = shared() else { return };
    for (person, announced) in [(DirsrvPerson::Normal, false), (DirsrvPerson::Aging, true)] {
        let account = server.person(person);
        let arguments = ["-e", "ppolicy", "-b", "", "-s", "base", "1.1"];
        let answer = server
            .search_as(&account.dn, &account.password, &arguments)
            .unwrap();
        assert_eq!(
            answer.contains("# PasswordExpiring control"),
            announced,
            "{person:?}: {answer}"
        );
    }
}

#[test]
fn the_service_account_reads_and_only_the_powerful_one_writes() {
    let Some(server) = shared() else { return };
    let (service, powerful) = (server.service(), server.powerful());
    let normal = server.person(DirsrvPerson::Normal).dn;
    let change = format!("dn: {normal}\nchangetype: modify\nreplace: description\ndescription: x\n");
    let read = server.search_as(
        &service.dn,
        &service.password,
        &["-b", &normal, "(objectClass=*)", "mail", "userPassword"],
    );
    let read = read.unwrap();
    assert!(
        read.contains("mail: normal@example.org") && !read.contains("userPassword"),
        "{read}"
    );
    let refused = server
        .modify_as(&service.dn, &service.password, &change)
        .unwrap_err();
    assert!(
        refused.to_string().contains("Insufficient access (50)"),
        "{refused}"
    );
    server
        .modify_as(&powerful.dn, &powerful.password, &change)
        .unwrap();
}

#[test]
fn membership_is_told_through_all_levels() {
    let Some(server) = shared() else { return };
    let normal = server.person(DirsrvPerson::Normal).dn;
    let groups = server
        .search(&["-b", &normal, "(objectClass=*)", "memberOf"])
        .unwrap();
    for group in ["inner", "middle", "outer"] {
        assert!(
            groups.contains(&format!("memberOf: cn={group},ou=Groups,")),
            "{groups}"
        );
    }
}

#[test]
fn tls_holds_and_an_outage_loses_nothing() {
    if !is_root_for("the tests of 389 Directory Server").unwrap() {
        return;
    }
    let ca = TestCa::new().unwrap();
    let stranger = TestCa::new().unwrap();
    let mut server = Dirsrv::start(&ca).unwrap();
    for (ca, trusted) in [(&ca, true), (&stranger, false)] {
        for arguments in [&["-H", &server.tls_url()][..], &["-ZZ", "-H", &server.url()]] {
            let output = Command::new("ldapsearch")
                .env("LDAPTLS_CACERT", ca.file())
                .env("LDAPTLS_REQCERT", "demand")
                .args(["-x", "-b", "", "-s", "base"])
                .args(arguments)
                .output()
                .unwrap();
            assert_eq!(output.status.success(), trusted, "{arguments:?}: {output:?}");
        }
    }
    let normal = server.person(DirsrvPerson::Normal).dn;
    let change = format!("dn: {normal}\nchangetype: modify\nreplace: mail\nmail: new@example.org\n");
    server.modify(&change).unwrap();
    let address = server.address();
    server.stop();
    assert!(TcpStream::connect(address).is_err());
    server.restart().unwrap();
    assert_eq!(server.address(), address);
    let mail = server
        .search(&["-b", &normal, "(objectClass=*)", "mail"])
        .unwrap();
    assert!(mail.contains("mail: new@example.org"), "{mail}");
}
