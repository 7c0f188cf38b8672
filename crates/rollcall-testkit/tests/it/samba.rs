use rollcall_testkit::{SambaDc, SambaPerson, TestCa, ber, is_root_for};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::OnceLock;

/// One for all tests, since none changes what another one looks at.
fn shared() -> Option<&'static SambaDc> {
    static DC: OnceLock<Option<SambaDc>> = OnceLock::new();
    DC.get_or_init(|| {
        let root = is_root_for("the tests of the Samba domain controller").unwrap();
        root.then(|| SambaDc::start(&TestCa::new().unwrap()).unwrap())
    })
    .as_ref()
}

const ROOT_DSE: [&str; 5] = ["-b", "", "-s", "base", "1.1"];

#[test]
fn the_state_of_an_account_shows_in_the_code_of_its_bind() {
    let Some(dc) = shared() else { return };
    for person in SambaPerson::ALL {
        let (right, wrong) = match person {
            SambaPerson::Normal => (None, "52e"),
            SambaPerson::Disabled => (Some("533"), "52e"),
            SambaPerson::Expired => (Some("701"), "52e"),
            SambaPerson::Aged => (Some("532"), "52e"),
            SambaPerson::MustChange => (Some("773"), "52e"),
            SambaPerson::Locked => (Some("775"), "775"),
            SambaPerson::OffHours => (Some("530"), "52e"),
            SambaPerson::OffSite => (Some("531"), "52e"),
        };
        let account = dc.person(person);
        let code = |password: &str| match dc.search_as(&account.dn, password, &ROOT_DSE) {
            Ok(_) => None,
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains("Invalid credentials (49)"), "{person:?}: {error}");
                let (_, code) = error.split_once("AcceptSecurityContext error, data ").unwrap();
                Some(code.split(',').next().unwrap().to_owned())
            }
        };
        assert_eq!(
            code(&account.password).as_deref(),
            right,
            "{person:?}, right password"
        );
        assert_eq!(
            code("wrong").as_deref(),
            Some(wrong),
            "{person:?}, wrong password"
        );
    }
}

#[test]
fn the_service_account_reads_and_only_the_powerful_one_writes() {
    let Some(dc) = shared() else { return };
    let (service, powerful) = (dc.service(), dc.powerful());
    let normal = dc.person(SambaPerson::Normal).dn;
    let change = format!("dn: {normal}\nchangetype: modify\nreplace: description\ndescription: x\n");
    let read = dc.search_as(
        &service.dn,
        &service.password,
        &["-b", &normal, "mail", "unicodePwd"],
    );
    let read = read.unwrap();
    assert!(
        read.contains("mail: normal@lab.test") && !read.contains("unicodePwd"),
        "{read}"
    );
    let refused = dc.modify_as(&service.dn, &service.password, &change).unwrap_err();
    assert!(
        refused.to_string().contains("Insufficient access (50)"),
        "{refused}"
    );
    dc.modify_as(&powerful.dn, &powerful.password, &change).unwrap();
}

#[test]
fn groups_nest_and_the_crowd_is_larger_than_a_range() {
    let Some(dc) = shared() else { return };
    let base = dc.base_dn();
    let normal = dc.person(SambaPerson::Normal).dn;
    let direct = dc.search(&["-b", &normal, "memberOf"]).unwrap();
    assert_eq!(direct.matches("memberOf: ").count(), 1, "{direct}");
    let in_chain =
        format!("(&(sAMAccountName=normal)(memberOf:1.2.840.113556.1.4.1941:=CN=outer,OU=Groups,{base}))");
    let nested = dc.search(&["-b", base, &in_chain, "sAMAccountName"]).unwrap();
    assert!(nested.contains("sAMAccountName: normal"), "{nested}");
    let crowd = format!("CN=crowd,OU=Groups,{base}");
    let range = dc
        .search(&["-b", &crowd, "(objectClass=*)", "member;range=0-1499"])
        .unwrap();
    assert_eq!(range.matches("member;range=0-1499: ").count(), 1500);
    let all = dc.search(&["-b", &crowd, "member"]).unwrap();
    assert_eq!(all.matches("member: ").count(), 1600);
}

#[test]
fn a_bind_without_tls_is_refused() {
    let Some(dc) = shared() else { return };
    let normal = dc.person(SambaPerson::Normal);
    let mut stream = TcpStream::connect(dc.address()).unwrap();
    let bind = ber::bind_request(1, &normal.dn, normal.password.as_bytes());
    stream.write_all(&bind).unwrap();
    let expected = ber::bind_response(1, 8, "", "BindSimple: Transport encryption required.");
    let mut answer = vec![0; expected.len()];
    stream.read_exact(&mut answer).unwrap();
    // Samba writes lengths in a longer form than needed; the code stands for the rest.
    assert!(
        answer.windows(3).any(|window| window == [0x0a, 1, 8]),
        "{answer:02x?}"
    );
}

#[test]
fn two_stand_side_by_side_and_an_outage_loses_nothing() {
    let Some(first) = shared() else { return };
    let ca = TestCa::new().unwrap();
    let mut second = SambaDc::start(&ca).unwrap();
    assert_ne!(first.address(), second.address());
    let read_root = |dc: &SambaDc, arguments: &[&str]| {
        let output = Command::new("ldapsearch")
            .env("LDAPTLS_CACERT", ca.file())
            .env("LDAPTLS_REQCERT", "demand")
            .args(["-x", "-H"])
            .args(arguments)
            .args(["-b", "", "-s", "base"])
            .output()
            .unwrap();
        assert_eq!(output.status.success(), std::ptr::eq(dc, &second), "{output:?}");
    };
    for dc in [first, &second] {
        read_root(dc, &[&dc.tls_url()]);
        read_root(dc, &[&dc.url(), "-ZZ"]);
    }
    let normal = second.person(SambaPerson::Normal).dn;
    let change = format!("dn: {normal}\nchangetype: modify\nreplace: mail\nmail: new@lab.test\n");
    second.modify(&change).unwrap();
    let address = second.address();
    second.stop();
    assert!(TcpStream::connect(address).is_err());
    second.restart().unwrap();
    assert_eq!(second.address(), address);
    assert!(
        second
            .search(&["-b", &normal, "mail"])
            .unwrap()
            .contains("mail: new@lab.test")
    );
}

#[test]
fn the_names_in_binds_are_kept() {
    let Some(dc) = shared() else { return };
    let nobody = format!("CN=Nobody\\, at all,{}", dc.base_dn());
    for times in 1..=2 {
        assert!(dc.search_as(&nobody, "x", &ROOT_DSE).is_err());
        let binds = dc.binds().unwrap();
        assert_eq!(binds.iter().filter(|name| **name == nobody).count(), times);
    }
}
