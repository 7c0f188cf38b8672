//! What an admin reads, word for word: `docs/check-connection.md` is made here and compared here.

use std::fmt::Write;

use rollcall_testkit::Certificate;

use super::*;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/check-connection.md");
const HEAD: &str = "\
# What CheckConnection says

Word for word, against slapd 2.5, Samba 4.17, 389-ds 2.3 and a scripted server. The test
`the_transcripts_are_what_a_check_says` compares this file with what is said now; with `ROLLCALL_TRANSCRIPTS=write`
in its environment it writes the file anew.
";

/// The document in the making.
struct Transcripts {
    text: String,
    /// What differs from one time to the next, and what to write instead.
    masked: Vec<(String, &'static str)>,
}

impl Transcripts {
    fn tell(&mut self, title: &str, check: &ConnectionCheck) {
        let mut told = format!("\n## {title}\n\n");
        for stage in &check.report.stages {
            let result = format!("{:?}", stage.result).to_uppercase();
            writeln!(told, "- **{result}** {:?}: {}", stage.kind, stage.message).unwrap();
            if !stage.hint.is_empty() {
                writeln!(told, "  - {}", stage.hint).unwrap();
            }
        }
        if let Some(vendor) = check.root_dse().and_then(|root| root.vendor.as_ref()) {
            told = told.replace(vendor, &without_version(vendor));
        }
        for (from, to) in &self.masked {
            told = told.replace(from, to);
        }
        self.text += &told;
    }

    /// One that ends in the TLS stage, or before.
    async fn on_script(&mut self, title: &str, url: String, ca: &TestCa) {
        let mut settings = DirectorySettings {
            ca_certificates: ca.pem(),
            connect_timeout: Duration::from_millis(500),
            ..settings(&[url])
        };
        if settings.hosts[0].to_string().starts_with("ldap://") {
            settings.transport_security = TransportSecurity::StartTls;
        }
        self.tell(title, &check(settings, "x").await);
    }
}

/// Without the words that hold a version.
fn without_version(vendor: &str) -> String {
    let is_version = |word: &&str| {
        let mut pairs = word.split('.').zip(word.split('.').skip(1));
        pairs.any(|(before, after)| {
            before.ends_with(|c: char| c.is_ascii_digit()) && after.starts_with(|c: char| c.is_ascii_digit())
        })
    };
    let words: Vec<&str> = vendor
        .split_whitespace()
        .filter(|word| !is_version(word))
        .collect();
    words.join(" ")
}

/// A listener whose queue is full: whoever connects now hears nothing at all.
fn black_hole() -> (socket2::Socket, Vec<std::net::TcpStream>, std::net::SocketAddr) {
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    listener.bind(&any.into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let connect = || std::net::TcpStream::connect_timeout(&address, Duration::from_millis(50)).ok();
    (listener, std::iter::from_fn(connect).take(100).collect(), address)
}

/// Answers the first request with these bytes.
async fn says(answer: impl Fn(i64) -> Vec<u8> + Clone + Send + Sync + 'static) -> ScriptedLdap {
    ScriptedLdap::plain(move |mut peer| {
        let answer = answer.clone();
        async move {
            let request = next(&mut peer).await?;
            peer.send(&answer(request.id)).await?;
            peer.closed().await
        }
    })
    .await
    .unwrap()
}

async fn openldap(transcripts: &mut Transcripts, ca: &TestCa) {
    let names = ["localhost", "127.0.0.1"];
    let slapd = Slapd::builder()
        .certificate(ca.server(&names).unwrap())
        .start()
        .unwrap();
    let over_tls = |url: String, dn: String| DirectorySettings {
        bind_dn: dn,
        ca_certificates: ca.pem(),
        ..settings(&[url])
    };
    let good = over_tls(slapd.tls_url(), slapd.service_dn());
    let report = check(good.clone(), slapd.service_password()).await;
    transcripts.tell("OpenLDAP, all good", &report);
    let start_tls = DirectorySettings {
        transport_security: TransportSecurity::StartTls,
        ..over_tls(slapd.url(), slapd.service_dn())
    };
    let report = check(start_tls, slapd.service_password()).await;
    transcripts.tell("OpenLDAP with StartTLS, all good", &report);
    transcripts.tell("OpenLDAP, wrong bind password", &check(good, "wrong").await);
    let admin = over_tls(slapd.tls_url(), slapd.admin_dn());
    let report = check(admin, slapd.admin_password()).await;
    transcripts.tell("OpenLDAP, too powerful account", &report);
    let tls_on_plain = over_tls(format!("ldaps://{}", slapd.address()), slapd.service_dn());
    transcripts.tell("ldaps:// on the plain port", &check(tls_on_plain, "x").await);
    let plain_on_tls = settings(&[format!("ldap://{}", slapd.tls_address())]);
    transcripts.tell("ldap:// on the TLS port", &check(plain_on_tls.clone(), "x").await);
    let start_tls_on_tls = DirectorySettings {
        transport_security: TransportSecurity::StartTls,
        ca_certificates: ca.pem(),
        ..plain_on_tls
    };
    transcripts.tell("StartTLS on the TLS port", &check(start_tls_on_tls, "x").await);
}

async fn tls_failures(transcripts: &mut Transcripts, ca: &TestCa) {
    let host = ["127.0.0.1"];
    let good = || ca.server(&host).unwrap();
    let stranger = TestCa::new().unwrap();
    let old_versions = "TLSCipherSuite NORMAL:-VERS-ALL:+VERS-TLS1.1:%COMPAT";
    let old_ciphers = "TLSCipherSuite NORMAL:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+AES-128-CBC";
    let ca_file = format!(
        "TLSCACertificateFile {}\nTLSVerifyClient demand",
        ca.file().display()
    );
    for (title, certificate, config) in [
        ("Expired certificate", ca.expired_server(&host).unwrap(), ""),
        (
            "Certificate that is not valid yet",
            ca.future_server(&host).unwrap(),
            "",
        ),
        (
            "Certificate for other names",
            ca.server(&["dc1.example.com", "dc2.example.com"]).unwrap(),
            "",
        ),
        (
            "Certificate of an unknown CA",
            stranger.server(&host).unwrap(),
            "",
        ),
        (
            "Self-signed certificate",
            Certificate::self_signed(&host).unwrap(),
            "",
        ),
        ("Only TLS 1.1", good(), old_versions),
        ("No common cipher", good(), old_ciphers),
        ("Client certificate demanded", good(), &ca_file),
    ] {
        let slapd = Slapd::builder().certificate(certificate).global_config(config);
        let slapd = slapd.start().unwrap();
        transcripts.on_script(title, slapd.tls_url(), ca).await;
    }
    let refusing = says(|id| ber::extended_response(id, 52, "the server has no certificate")).await;
    let url = format!("ldap://{}", refusing.address());
    transcripts.on_script("StartTLS refused", url, ca).await;
    let without = says(|id| ber::extended_response(id, 2, "unsupported extended operation")).await;
    let url = format!("ldap://{}", without.address());
    transcripts.on_script("StartTLS not offered", url, ca).await;
}

async fn not_reached(transcripts: &mut Transcripts, ca: &TestCa) {
    let web = ScriptedLdap::plain(|mut peer| async move {
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n").await?;
        peer.closed().await
    })
    .await
    .unwrap();
    let url = format!("ldap://{}", web.address());
    transcripts.on_script("A web server's port", url, ca).await;
    let url = "ldaps://no-such-host.invalid".to_owned();
    transcripts.on_script("A name that does not exist", url, ca).await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ldaps://{}", nobody.local_addr().unwrap());
    drop(nobody);
    transcripts
        .on_script("A port where nothing listens", url, ca)
        .await;
    let (_listener, _queue, address) = black_hole();
    let url = format!("ldaps://{address}");
    transcripts.on_script("A black-holed host", url, ca).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ldaps://{}", silent.local_addr().unwrap());
    transcripts
        .on_script("A host that takes connections and says nothing", url, ca)
        .await;
}

async fn by_account(
    transcripts: &mut Transcripts,
    name: &str,
    url: &str,
    ca: &TestCa,
    accounts: [Account; 2],
) {
    let [service, powerful] = accounts;
    let wrong = Account {
        password: "wrong".into(),
        ..service.clone()
    };
    for (what, account) in [
        ("all good", service),
        ("wrong bind password", wrong),
        ("too powerful account", powerful),
    ] {
        let report = check_as(url, ca, &account).await;
        transcripts.tell(&format!("{name}, {what}"), &report);
    }
}

#[tokio::test]
#[allow(
    clippy::disallowed_methods,
    reason = "whoever runs the test says whether to write"
)]
async fn the_transcripts_are_what_a_check_says() {
    if !is_root_for("a Samba domain controller and a 389 Directory Server").unwrap() {
        return;
    }
    let ca = TestCa::new().unwrap();
    let dc = SambaDc::start(&ca).unwrap();
    let mut transcripts = Transcripts {
        text: HEAD.to_owned(),
        masked: vec![(dc.address().ip().to_string(), "127.x.y.z")],
    };
    openldap(&mut transcripts, &ca).await;
    tls_failures(&mut transcripts, &ca).await;
    not_reached(&mut transcripts, &ca).await;
    let accounts = [dc.service(), dc.powerful()];
    by_account(&mut transcripts, "Samba", &dc.tls_url(), &ca, accounts).await;
    let plain = DirectorySettings {
        bind_dn: dc.service().dn,
        ..settings(&[dc.url()])
    };
    let report = check(plain, &dc.service().password).await;
    transcripts.tell("Samba, bind without TLS", &report);
    let server = Dirsrv::start(&ca).unwrap();
    let accounts = [server.service(), server.powerful()];
    by_account(&mut transcripts, "389-ds", &server.tls_url(), &ca, accounts).await;
    if std::env::var("ROLLCALL_TRANSCRIPTS").is_ok_and(|what| what == "write") {
        std::fs::write(DOCUMENT, &transcripts.text).unwrap();
    }
    let written = std::fs::read_to_string(DOCUMENT).unwrap();
    let differing = written
        .lines()
        .zip(transcripts.text.lines())
        .find(|(old, new)| old != new);
    assert!(
        written == transcripts.text,
        "docs/check-connection.md is not what a check says; first difference: {differing:#?}"
    );
}
