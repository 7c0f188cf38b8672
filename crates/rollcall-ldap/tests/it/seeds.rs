//! Where the seeds of the fuzz targets come from: what three real servers say, kept on the way to the guard.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lber::structure::{PL, StructureTag};
use rollcall_core::dialect::Dialect;
use rollcall_core::directory::DirectorySettings;
use rollcall_core::user_sync::SearchScope;
use rollcall_ldap::{DirectoryConfig, LdapDirectory, check_connection};
use rollcall_testkit::{
    Account, Dirsrv, DirsrvPerson, Recorder, SambaDc, SambaPerson, Slapd, SlapdBuilder, TestCa, ber,
    hostile_people, people_ldif, wait_for,
};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::setup::*;

/// Larger messages teach a fuzzer nothing more, but slow it down.
const MAX_SEED: usize = 3 << 10;
/// Messages kept of one scene: the first ones, and the last.
const MAX_OF_A_SCENE: usize = 6;

/// One real server and whom it knows.
struct Stage {
    name: &'static str,
    dialect: Dialect,
    recorder: Recorder,
    base_dn: String,
    service: Account,
    people: Vec<Account>,
}

impl Stage {
    fn directory(&self) -> LdapDirectory {
        LdapDirectory::new(self.config()).unwrap()
    }

    fn config(&self) -> DirectoryConfig {
        let settings = DirectorySettings {
            bind_dn: self.service.dn.clone(),
            page_size: 3,
            ..settings(&[format!("ldap://{}", self.recorder.address())])
        };
        DirectoryConfig {
            dialect: Some(self.dialect),
            ..config(settings, &self.service.password)
        }
    }

    /// Writes what was said since the last scene.
    fn keep(&self, scene: &str) {
        let said = self.recorder.take();
        let mut kept: Vec<Vec<u8>> = Vec::new();
        for seed in said
            .iter()
            .rev()
            .take(1)
            .chain(&said)
            .filter_map(|said| with_id_2(said))
        {
            if seed.len() <= MAX_SEED && !kept.contains(&seed) && kept.len() < MAX_OF_A_SCENE {
                kept.push(seed);
            }
        }
        for (number, seed) in kept.iter().enumerate() {
            let name = format!("{}-{scene}-{number}", self.name);
            fs::write(folder("message").join(&name), seed).unwrap();
            for value in control_values(seed) {
                fs::write(folder("control_value").join(&name), value).unwrap();
            }
        }
    }

    async fn play(&self) {
        let directory = self.directory();
        directory.root_dse(in_seconds(20)).await.unwrap();
        self.keep("root-dse");
        let people = everything(&self.base_dn, &["*", "+", "memberOf"]);
        let mut search = directory.search(people).await.unwrap();
        for _ in 0..8 {
            search.next().await.unwrap();
        }
        drop(search);
        self.keep("people");
        pull(&directory, everything(&self.base_dn, &["1.1"])).await;
        self.keep("whole-tree");
        // Another connection, so that its ids are small again.
        let directory = self.directory();
        let attributes = ["objectClass".to_owned()];
        let find = |base: &str, filter: &'static str, limit| {
            let (directory, base, attributes) = (directory.clone(), base.to_owned(), attributes.clone());
            async move {
                let scope = SearchScope::Subtree;
                directory
                    .find(&base, scope, filter, &attributes, limit, in_seconds(20))
                    .await
            }
        };
        let _ = find(&self.base_dn, "(objectClass=*)", 1).await.unwrap();
        self.keep("size-limit");
        let nowhere = format!("ou=nowhere,{}", self.base_dn);
        pull(&directory, everything(&nowhere, &["1.1"])).await;
        self.keep("no-such-base");
        assert!(find("no DN at all", "(objectClass=*)", 1).await.is_err());
        self.keep("no-dn");
        for account in &self.people {
            for guess in [account.password.as_str(), "wrong"] {
                let guess = password(guess);
                let answer = bind(&directory, &account.dn, &guess, in_seconds(20));
                answer.await.unwrap();
            }
        }
        self.keep("binds");
        let now = "2026-06-01T12:00:00Z".parse().unwrap();
        check_connection(&self.config(), now, Duration::from_secs(10)).await;
        self.keep("check");
        self.ask(&extended("1.3.6.1.4.1.1466.20037")).await;
        self.keep("start-tls-refused");
        self.ask(&extended("1.3.6.1.4.1.4203.1.11.3")).await;
        self.keep("whoami");
        self.ask(&extended("1.2.3.4")).await;
        self.keep("unknown-extension");
        self.ask(&with_unknown_critical_control()).await;
        self.keep("control-refused");
    }

    /// Sends a request on a connection of its own and waits for the answer.
    async fn ask(&self, request: &[u8]) {
        let mut line = TcpStream::connect(self.recorder.address()).await.unwrap();
        line.write_all(request).await.unwrap();
        let mut buffer = Vec::new();
        wait_for("an answer", Duration::from_secs(20), async || {
            line.readable().await.unwrap();
            let _ = line.try_read_buf(&mut buffer);
            !buffer.is_empty()
        })
        .await
        .unwrap();
    }
}

fn extended(oid: &str) -> Vec<u8> {
    ber::message(2, ber::element(0x77, &ber::element(0x80, oid.as_bytes())), &[])
}

fn with_unknown_critical_control() -> Vec<u8> {
    let control = ber::sequence(&[ber::octets("1.2.3.4"), vec![1, 1, 0xff]]);
    let root_dse = [
        ber::octets(""),
        ber::integer(0x0a, 0),
        ber::integer(0x0a, 0),
        ber::integer(0x02, 0),
        ber::integer(0x02, 0),
        vec![1, 1, 0],
        ber::element(0x87, b"objectClass"),
        ber::sequence(&[]),
    ];
    ber::message(2, ber::element(0x63, &root_dse.concat()), &[control])
}

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(target)
}

/// The message with the id that the fuzz targets take to be in flight, if its own takes as many octets; 0 stays.
fn with_id_2(message: &[u8]) -> Option<Vec<u8>> {
    let mut message = message.to_vec();
    let header = if message[1] < 0x80 {
        2
    } else {
        2 + usize::from(message[1] & 0x7f)
    };
    let id = message.get_mut(header..header + 3)?;
    if id[..2] != [2, 1] {
        return None;
    }
    if id[2] != 0 {
        id[2] = 2;
    }
    Some(message)
}

fn control_values(message: &[u8]) -> Vec<Vec<u8>> {
    let (_, message) = lber::parse::parse_tag(message).unwrap();
    let children = |tag: StructureTag| match tag.payload {
        PL::C(children) => children,
        PL::P(_) => panic!("a constructed element"),
    };
    let controls = children(message).into_iter().nth(2).map(children);
    let last = |control| children(control).pop().and_then(StructureTag::expect_primitive);
    controls
        .unwrap_or_default()
        .into_iter()
        .filter_map(last)
        .collect()
}

async fn openldap(ca: &TestCa) -> (Slapd, Stage) {
    let base = "dc=example,dc=org";
    let people = hostile_people(40);
    let policy = format!(
        "dn: ou=Policies,{base}\nobjectClass: organizationalUnit\nou: Policies\n\n\
         dn: {}\nobjectClass: device\nobjectClass: pwdPolicy\ncn: default\npwdAttribute: userPassword\n\
         pwdLockout: TRUE\npwdMaxFailure: 2\npwdMaxAge: 1000000\npwdExpireWarning: 999999\n\n\
         dn: ou=Elsewhere,{base}\nobjectClass: referral\nobjectClass: extensibleObject\nou: Elsewhere\n\
         ref: ldap://elsewhere.example/ou=People,dc=example,dc=net\n",
        SlapdBuilder::default_policy_dn(base)
    );
    let slapd = Slapd::builder()
        .certificate(ca.loopback_server().unwrap())
        .ppolicy()
        .memberof()
        .ldif(&policy)
        .ldif(&people_ldif(&people, base))
        .start()
        .unwrap();
    let account = |dn: String, password: &str| Account {
        dn,
        password: password.into(),
        login: String::new(),
    };
    let stage = Stage {
        name: "openldap",
        dialect: Dialect::OpenLdap,
        recorder: Recorder::start(slapd.tls_address(), ca).await.unwrap(),
        base_dn: base.into(),
        service: account(slapd.service_dn(), slapd.service_password()),
        people: people[..3]
            .iter()
            .map(|person| account(person.dn(base), &person.password))
            .collect(),
    };
    (slapd, stage)
}

/// Writes `fuzz/seeds/message` and `fuzz/seeds/control_value` anew: what the three servers say to what
/// Rollcall asks, about invented people.
#[tokio::test]
#[ignore = "writes files; needs root. Run it after a new version of a server, and look at what changed"]
async fn seeds_are_what_real_servers_say() {
    for target in ["message", "control_value"] {
        let _ = fs::remove_dir_all(folder(target));
        fs::create_dir_all(folder(target)).unwrap();
    }
    let ca = TestCa::new().unwrap();
    let (_slapd, stage) = openldap(&ca).await;
    stage.play().await;
    let dc = SambaDc::start(&ca).unwrap();
    let stage = Stage {
        name: "samba",
        dialect: Dialect::ActiveDirectory,
        recorder: Recorder::start(dc.tls_address(), &ca).await.unwrap(),
        base_dn: dc.base_dn().into(),
        service: dc.service(),
        people: SambaPerson::ALL.map(|person| dc.person(person)).into(),
    };
    stage.play().await;
    let server = Dirsrv::start(&ca).unwrap();
    let stage = Stage {
        name: "dirsrv",
        dialect: Dialect::Dirsrv389,
        recorder: Recorder::start(server.tls_address(), &ca).await.unwrap(),
        base_dn: server.base_dn().into(),
        service: server.service(),
        people: DirsrvPerson::ALL.map(|person| server.person(person)).into(),
    };
    stage.play().await;
}
