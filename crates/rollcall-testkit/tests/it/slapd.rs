use rollcall_testkit::{Slapd, TestCa, wait_for_blocking};
use std::io::Read;
use std::net::TcpStream;
use std::process::{Command, Output};
use std::time::Duration;

const ADA: &str = "\
dn: cn=Ada\\2C Countess,dc=example,dc=org
objectClass: inetOrgPerson
cn: Ada, Countess
sn: Lovelace
uid: ada
userPassword: engine
";
const ADA_DN: &str = "cn=Ada\\2C Countess,dc=example,dc=org";

fn with_ada() -> Slapd {
    Slapd::builder().ldif(ADA).start().unwrap()
}

#[test]
fn the_service_account_reads_but_neither_passwords_nor_writes() {
    let slapd = with_ada();
    let read = slapd.search_as(
        &slapd.service_dn(),
        slapd.service_password(),
        &["-b", slapd.base_dn(), "(uid=ada)", "sn", "userPassword"],
    );
    let read = read.unwrap();
    assert!(
        read.contains("sn: Lovelace") && !read.contains("userPassword"),
        "{read}"
    );
    let change = format!("dn: {ADA_DN}\nchangetype: modify\nreplace: sn\nsn: Byron\n");
    let refused = slapd
        .modify_as(&slapd.service_dn(), slapd.service_password(), &change)
        .unwrap_err();
    assert!(
        refused.to_string().contains("Insufficient access (50)"),
        "{refused}"
    );
    slapd.modify(&change).unwrap();
    assert!(
        slapd
            .search(&["-b", ADA_DN, "-s", "base", "sn"])
            .unwrap()
            .contains("sn: Byron")
    );
}

#[test]
fn every_bind_is_counted_with_its_result() {
    let slapd = with_ada();
    assert_eq!(slapd.binds().unwrap(), []);
    slapd
        .search_as(ADA_DN, "engine", &["-b", "", "-s", "base"])
        .unwrap();
    slapd
        .search_as(ADA_DN, "wrong", &["-b", "", "-s", "base"])
        .unwrap_err();
    assert_eq!(slapd.bind_count(ADA_DN).unwrap(), 2);
    let results = || {
        slapd
            .binds()
            .unwrap()
            .iter()
            .map(|bind| bind.result)
            .collect::<Vec<_>>()
    };
    wait_for_blocking("both results are noted", Duration::from_secs(10), || {
        results() == [Some(0), Some(49)]
    })
    .unwrap();
}

#[test]
fn an_empty_password_is_anonymous_only_where_that_is_switched_on() {
    let strict = with_ada();
    let refused = strict
        .search_as(ADA_DN, "", &["-b", "", "-s", "base"])
        .unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("unauthenticated bind (DN with no password) disallowed"),
        "{refused}"
    );
    let lax = Slapd::builder().ldif(ADA).bind_anon_dn().start().unwrap();
    lax.search_as(ADA_DN, "", &["-b", "", "-s", "base"]).unwrap();
}

#[test]
fn the_size_limit_holds_for_others_than_the_admin() {
    let slapd = Slapd::builder().ldif(ADA).size_limit(500).start().unwrap();
    let more: String = (0..600)
        .map(|n| {
            format!(
                "dn: ou=u{n},{}\nobjectClass: organizationalUnit\n\n",
                slapd.base_dn()
            )
        })
        .collect();
    slapd.add(&more).unwrap();
    let all = [
        "-b",
        slapd.base_dn(),
        "-E",
        "pr=100/noprompt",
        "(objectClass=*)",
        "1.1",
    ];
    let cut = slapd
        .search_as(&slapd.service_dn(), slapd.service_password(), &all)
        .unwrap_err();
    assert!(cut.to_string().contains("Size limit exceeded (4)"), "{cut}");
    assert!(slapd.search(&all).is_ok());
}

#[test]
fn overlays_lock_accounts_and_know_groups() {
    let policy = "dn: ou=Policies,dc=example,dc=org\nobjectClass: organizationalUnit\n\n\
        dn: cn=default,ou=Policies,dc=example,dc=org\nobjectClass: organizationalRole\nobjectClass: pwdPolicy\n\
        pwdAttribute: userPassword\npwdLockout: TRUE\npwdMaxFailure: 1\n";
    let slapd = Slapd::builder()
        .ppolicy()
        .memberof()
        .ldif(ADA)
        .ldif(policy)
        .start()
        .unwrap();
    slapd
        .add(&format!(
            "dn: cn=g,dc=example,dc=org\nobjectClass: groupOfNames\nmember: {ADA_DN}\n"
        ))
        .unwrap();
    let groups = slapd.search(&["-b", ADA_DN, "-s", "base", "memberOf"]).unwrap();
    assert!(groups.contains("memberOf: cn=g,dc=example,dc=org"), "{groups}");
    slapd
        .search_as(ADA_DN, "wrong", &["-b", "", "-s", "base"])
        .unwrap_err();
    slapd
        .search_as(ADA_DN, "engine", &["-b", "", "-s", "base"])
        .unwrap_err();
}

#[test]
fn tls_holds_against_the_right_authority_and_name_only() {
    let ca = TestCa::new().unwrap();
    let good = Slapd::builder()
        .certificate(ca.loopback_server().unwrap())
        .start()
        .unwrap();
    let names = ["localhost", "127.0.0.1"];
    let expired = Slapd::builder()
        .certificate(ca.expired_server(&names).unwrap())
        .start()
        .unwrap();
    let wrong = Slapd::builder()
        .certificate(ca.server(&["elsewhere.example"]).unwrap())
        .start()
        .unwrap();
    assert_handshake(&good, &ca, true);
    assert_handshake(&good, &TestCa::new().unwrap(), false);
    assert_handshake(&expired, &ca, false);
    assert_handshake(&wrong, &ca, false);
}

fn assert_handshake(slapd: &Slapd, ca: &TestCa, expected: bool) {
    let read_root = |arguments: &[&str]| -> Output {
        Command::new("ldapsearch")
            .env("LDAPTLS_CACERT", ca.file())
            .env("LDAPTLS_REQCERT", "demand")
            .args(["-x", "-b", "", "-s", "base"])
            .args(arguments)
            .output()
            .unwrap()
    };
    for arguments in [&["-H", &slapd.tls_url()][..], &["-ZZ", "-H", &slapd.url()]] {
        let output = read_root(arguments);
        assert_eq!(output.status.success(), expected, "{arguments:?}: {output:?}");
    }
}

#[test]
fn an_outage_ends_with_the_same_ports_and_data() {
    let mut slapd = with_ada();
    let address = slapd.address();
    slapd.stop();
    assert!(TcpStream::connect(address).is_err());
    slapd.start().unwrap();
    assert_eq!(slapd.address(), address);
    assert!(
        slapd
            .search(&["-b", slapd.base_dn(), "(uid=ada)", "uid"])
            .unwrap()
            .contains("uid: ada")
    );
}

#[test]
fn a_paused_server_accepts_and_says_nothing_until_resumed() {
    let slapd = with_ada();
    slapd.pause().unwrap();
    let mut stream = TcpStream::connect(slapd.address()).unwrap();
    std::io::Write::write_all(&mut stream, &rollcall_testkit::ber::bind_request(1, "", b"")).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(stream.read(&mut [0; 1]).is_err());
    slapd.resume().unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 1);
}
