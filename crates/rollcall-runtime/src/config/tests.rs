#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::*;
use crate::caller::Permission;

#[derive(Deserialize)]
struct Own {
    probe: Probe,
}

#[derive(Deserialize)]
struct Probe {
    #[serde(deserialize_with = "duration")]
    interval: Duration,
    token: Secret,
    token_file: String,
    words: Vec<String>,
}

impl Settings for Own {
    const ENVIRONMENT_PREFIX: &'static str = "PROBE";
    const DEFAULTS: &'static str = "
        [server]
        listen = \"127.0.0.1:50099\"
        [probe]
        interval = \"1s\"
        token = \"\"
        token_file = \"\"
        words = []
    ";
    const SECRETS: &'static [&'static str] = &["probe.token"];

    fn validate(&self, _: &Shared, mistakes: &mut Mistakes) {
        mistakes.range(
            "probe.interval",
            self.probe.interval,
            Duration::from_millis(100)..=Duration::from_secs(60),
        );
    }
}

fn sources(file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Sources {
    let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    Sources {
        file: (!file.is_empty()).then(|| ("test.toml".to_owned(), file.to_owned())),
        environment: environment.iter().map(pair).collect::<BTreeMap<_, _>>(),
        flags: flags.iter().map(pair).collect(),
    }
}

fn mistakes(sources: &Sources) -> Vec<String> {
    match load::<Own>(sources) {
        Ok(_) => Vec::new(),
        Err(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
    }
}

fn check_mistakes(sources: Sources, expected: &[&str]) {
    assert_eq!(mistakes(&sources), expected);
}

/// What is said of a word that is no permission.
fn no_permission(word: &str) -> String {
    let names = Permission::ALL.iter().map(|one| format!("`{}`", one.as_str()));
    let names: Vec<_> = names.collect();
    format!("unknown variant `{word}`, expected one of {}", names.join(", "))
}

#[test]
fn the_defaults_are_valid_and_a_service_may_change_them() {
    let loaded = load::<Own>(&Sources::default()).ok().unwrap();
    assert_eq!(loaded.shared.server.listen.port(), 50099);
    assert_eq!(loaded.shared.egress.allow_ports, [389, 636, 3268, 3269]);
    assert_eq!(loaded.shared.health.listen, None);
    assert_eq!(loaded.own.probe.interval, Duration::from_secs(1));
}

#[test]
fn later_sources_win() {
    let file = "[probe]\ninterval = \"2s\"\n[drain]\ntimeout = \"2s\"\n[store]\nmax_connections = 2\n[users]\nlogin_characters = \"a\"";
    let environment = [
        ("PROBE__PROBE__INTERVAL", "3s"),
        ("PROBE__DRAIN__TIMEOUT", "3s"),
        ("PROBE__STORE__MAX_CONNECTIONS", "3"),
        ("OTHER__STORE__MAX_CONNECTIONS", "9"),
        ("PROBE_SERVICE_HOST", "10.0.0.1"),
    ];
    let flags = [
        ("probe.interval", "4s"),
        ("drain.timeout", "4s"),
        ("drain.timeout", "5s"),
    ];
    let loaded = load::<Own>(&sources(file, &environment, &flags)).ok().unwrap();
    assert_eq!(loaded.shared.users.login_characters, "a");
    assert_eq!(loaded.shared.store.max_connections, 3);
    assert_eq!(loaded.own.probe.interval, Duration::from_secs(4));
    assert_eq!(loaded.shared.drain.timeout, Duration::from_secs(5));
    assert_eq!(loaded.shared.drain.delay, Duration::ZERO);
}

#[test]
fn variables_and_flags_take_the_type_of_the_default() {
    let environment = [
        ("PROBE__EGRESS__ALLOW_CIDRS", "127.0.0.0/8, 10.0.0.0/8"),
        ("PROBE__EGRESS__ALLOW_PORTS", "1389,1636"),
        ("PROBE__PROBE__WORDS", "[\"1\", \"a,b\"]"),
        ("PROBE__PROBE__TOKEN", "12345"),
        ("PROBE__SERVER__INSECURE", "true"),
        (
            "PROBE__CALLERS",
            "[{name = \"a\", token_sha256 = \"0000000000000000000000000000000000000000000000000000000000000000\", \
             permissions = [\"users.read\"], tenants = [\"*\"]}]",
        ),
    ];
    let loaded = load::<Own>(&sources("", &environment, &[])).ok().unwrap();
    let cidrs: Vec<String> = loaded
        .shared
        .egress
        .allow_cidrs
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(cidrs, ["127.0.0.0/8", "10.0.0.0/8"]);
    assert_eq!(loaded.shared.egress.allow_ports, [1389, 1636]);
    assert_eq!(loaded.own.probe.words, ["1", "a,b"]);
    assert_eq!(loaded.own.probe.token.expose(), "12345");
    assert!(loaded.shared.server.insecure);
    assert_eq!(loaded.shared.callers[0].name, "a");
}

#[test]
fn every_mistake_is_told_at_once_with_its_place() {
    let file = "\
[server]
lisen = \"127.0.0.1:1\"
default_timeout = \"soon\"
[store]
max_connections = 0
url = \"mysql://x\"
[telemetry]
format = \"xml\"
[probe]
interval = \"90s\"
[nowhere]
key = 1
";
    let environment = [("PROBE__DRAIN__TIMEOUT", "5"), ("PROBE__SERVER__INSECURE", "yes")];
    let flags = [("users.identifier_uniqueness", "planet"), ("server", "x")];
    check_mistakes(
        sources(file, &environment, &flags),
        &[
            "test.toml:12: nowhere.key: unknown key; there are callers, drain, egress, health, keyring, probe, \
             server, store, telemetry, users",
            "test.toml:2: server.lisen: unknown key; [server] has client_ca_file, default_timeout, \
             first_call_timeout, handshake_timeout, insecure, keepalive_interval, keepalive_timeout, listen, \
             max_concurrent_streams, max_connection_age, max_connections, max_streams_per_caller, \
             reader_timeout, tls_certificate_file, tls_key_file",
            "--set server: server: is a section, not a value",
            "test.toml:3: server.default_timeout: \"soon\" is not a duration such as \"500ms\", \"10s\" or \"5m\"",
            "test.toml:8: telemetry.format: unknown variant `xml`, expected `pretty` or `json`",
            "PROBE__DRAIN__TIMEOUT: drain.timeout: \"5\" is not a duration such as \"500ms\", \"10s\" or \"5m\"",
            "PROBE__SERVER__INSECURE: server.insecure: invalid type: string \"yes\", expected a boolean",
            "--set users.identifier_uniqueness: users.identifier_uniqueness: unknown variant `planet`, \
             expected `tenant` or `global`",
            "test.toml:6: store.url: must begin with sqlite: or postgres:",
            "test.toml:5: store.max_connections: must be between 1 and 1000",
            "test.toml:10: probe.interval: must be between 100ms and 60s",
        ],
    );
}

#[test]
fn every_mistake_of_every_caller_is_told() {
    let file = "\
[[callers]]
name = 5
permissions = [\"fly\"]
colour = \"red\"
tenants = \"*\"
";
    check_mistakes(
        sources(file, &[], &[]),
        &[
            "test.toml:1: callers: entry 1: colour: unknown field `colour`, expected one of `name`, \
             `token_sha256`, `tokens`, `certificate_name`, `permissions`, `tenants`, `requests_per_second`, `burst`, `actor_required`",
            "test.toml:1: callers: entry 1: name: invalid type: integer `5`, expected a string",
            &format!(
                "test.toml:1: callers: entry 1: permissions: {}",
                no_permission("fly")
            ),
            "test.toml:1: callers: entry 1: tenants: invalid type: string \"*\", expected a sequence",
            "test.toml:1: callers[1].token_sha256: a caller needs token_sha256, tokens or certificate_name",
        ],
    );
}

#[test]
fn every_mistake_in_tokens_is_told() {
    let hash = "ab".repeat(32);
    let file = format!(
        "\
[[callers]]
name = \"a\"
token_sha256 = \"{hash}\"
permissions = [\"runs\"]
tenants = [\"*\"]
[[callers]]
name = \"b\"
permissions = [\"runs\"]
tenants = [\"*\"]
tokens = [
  {{ sha256 = \"{hash}\" }},
  {{ id = \"x\", sha256 = \"hunter2\", expire_time = \"tomorrow\" }},
  {{ id = \"x\", sha256 = \"{other}\", expire_time = \"2027-01-31T00:00:00Z\" }},
]
",
        other = "cd".repeat(32)
    );
    check_mistakes(
        sources(&file, &[], &[]),
        &[
            "test.toml:1: callers[2].tokens[1].id: must have 1 to 63 characters",
            "test.toml:1: callers[2].tokens[1].sha256: is the token of another caller too",
            "test.toml:1: callers[2].tokens[2].sha256: must be 64 hex digits",
            "test.toml:1: callers[2].tokens[2].expire_time: must be a time with its zone, such as \
             2027-01-31T00:00:00Z",
            "test.toml:1: callers[2].tokens[3].id: is the id of another token of the caller too",
        ],
    );
}

/// Whoever mends one caller learns of the others in the same go, and of no mistake that is none.
#[test]
fn every_mistake_in_callers_is_told_at_once_whatever_its_kind() {
    let hash = "ab".repeat(32);
    let file = format!(
        "
[[callers]]
name = \"a\"
token_sha256 = 5
permissions = [\"fly\"]
tenants = [\"*\"]
[[callers]]
name = \"b\"
tenants = [\"*\"]
permissions = [\"audit\"]
tokens = [{{ id = \"x\", sha256 = \"{hash}\", colour = 1 }}, {{ id = 7, sha256 = \"nonsense\" }}]
[[callers]]
name = \"b\"
token_sha256 = \"{hash}\"
permissions = []
tenants = [\"*\"]
"
    );
    let expected = "one of `id`, `sha256`, `expire_time`";
    check_mistakes(
        sources(&file, &[], &[]),
        &[
            &format!(
                "test.toml:2: callers: entry 1: permissions: {}",
                no_permission("fly")
            ),
            "test.toml:2: callers: entry 1: token_sha256: is not valid",
            &format!(
                "test.toml:2: callers: entry 2: tokens: entry 1: colour: unknown field `colour`, expected {expected}"
            ),
            "test.toml:2: callers: entry 2: tokens: entry 2: id: invalid type: integer `7`, expected a string",
            "test.toml:2: callers[2].tokens[2].sha256: must be 64 hex digits",
            "test.toml:2: callers[3].name: is the name of another caller too",
            "test.toml:2: callers[3].token_sha256: is the token of another caller too",
            "test.toml:2: callers[3].permissions: must not be empty",
        ],
    );
}

#[test]
fn callers_are_checked_against_each_other_and_the_server() {
    let file = "\
[[callers]]
name = \"a\"
token_sha256 = \"xyz\"
permissions = [\"runs\"]
tenants = [\"*\", \"acme\"]
[[callers]]
name = \"a\"
certificate_name = \"a.example\"
burst = 3
";
    check_mistakes(
        sources(file, &[], &[]),
        &[
            "test.toml:1: callers[1].token_sha256: must be 64 hex digits",
            "test.toml:1: callers[1].tenants: must be tenant ids, or [\"*\"] alone",
            "test.toml:1: callers[2].name: is the name of another caller too",
            "test.toml:1: callers[2].certificate_name: client certificates need server.client_ca_file",
            "test.toml:1: callers[2].permissions: must not be empty",
            "test.toml:1: callers[2].tenants: must not be empty",
            "test.toml:1: callers[2].burst: has no meaning without requests_per_second",
        ],
    );
}

#[test]
fn an_open_address_needs_tls_and_callers_or_the_word_insecure() {
    let open = ("server.listen", "0.0.0.0:0");
    check_mistakes(
        sources("", &[], &[open]),
        &[
            "--set server.listen: server.listen: an address other than loopback needs \
             server.tls_certificate_file (or --insecure)",
            "--set server.listen: server.listen: an address other than loopback needs callers (or --insecure)",
        ],
    );
    let tls = [
        open,
        ("server.tls_certificate_file", "c.pem"),
        ("server.tls_key_file", "k.pem"),
    ];
    check_mistakes(
        sources("", &[], &tls),
        &["--set server.listen: server.listen: an address other than loopback needs callers (or --insecure)"],
    );
    check_mistakes(sources("", &[], &[open, ("server.insecure", "true")]), &[]);
    check_mistakes(sources("", &[], &[("server.listen", "[::1]:0")]), &[]);
    check_mistakes(
        sources(
            "",
            &[],
            &[
                ("server.tls_certificate_file", "c.pem"),
                ("server.client_ca_file", "ca.pem"),
            ],
        ),
        &[": certificate and key must be set together"]
            .map(|text| format!("server.tls_key_file{text}"))
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>(),
    );
}

#[test]
fn broken_toml_is_told_by_line_and_never_quoted() {
    let file = "[store]\nurl = \"postgres://app:hunter2@db/x\nmax_connections = 5\n";
    let mistakes = mistakes(&sources(file, &[], &[]));
    assert!(!mistakes.is_empty());
    assert!(
        mistakes.iter().all(|mistake| mistake.starts_with("test.toml:")),
        "{mistakes:?}"
    );
    assert!(!mistakes.concat().contains("hunter2"), "{mistakes:?}");
}

#[test]
fn secrets_are_printed_nowhere() {
    let file = "[probe]\ntoken = 31337\n[store]\nurl = \"hunter2://x\"";
    let told = mistakes(&sources(file, &[], &[])).concat();
    assert!(told.contains("probe.token: is not valid"), "{told}");
    assert!(!told.contains("31337") && !told.contains("hunter2"), "{told}");

    let file = "\
[probe]
token = \"hunter2\"
[store]
url = \"postgres://app:hunter2@db/x\"
[[callers]]
name = \"front\"
token_sha256 = \"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"
permissions = [\"runs\"]
tenants = [\"*\"]
[[callers]]
name = \"back\"
tokens = [{ id = \"one\", sha256 = \"fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210\" }]
permissions = [\"runs\"]
tenants = [\"*\"]
";
    let printed = load::<Own>(&sources(file, &[], &[]))
        .ok()
        .unwrap()
        .to_redacted_toml();
    assert!(
        printed.contains("token = \"[redacted]\"") && printed.contains("name = \"front\""),
        "{printed}"
    );
    assert!(
        ["hunter2", "0123456789abcdef", "fedcba9876543210"]
            .iter()
            .all(|secret| !printed.contains(secret)),
        "{printed}"
    );
    assert!(
        printed.contains("key = \"\""),
        "an unset secret may be seen to be unset: {printed}"
    );
}

#[test]
fn a_secret_comes_from_its_file_without_the_line_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("url");
    std::fs::write(&path, "postgres://app:hunter2@db/x\r\n").unwrap();
    let flag = [("store.url_file", path.to_str().unwrap()), ("store.url", "")];
    let loaded = load::<Own>(&sources("", &[], &flag)).ok().unwrap();
    assert_eq!(loaded.own.probe.token_file, "");
    assert_eq!(
        loaded.shared.store.url().unwrap().expose(),
        "postgres://app:hunter2@db/x"
    );

    let gone = [("store.url_file", "/nonexistent/url")];
    let error = load::<Own>(&sources("", &[], &gone))
        .ok()
        .unwrap()
        .shared
        .store
        .url()
        .err()
        .unwrap();
    assert_eq!(error.to_string(), "cannot read /nonexistent/url");
}
