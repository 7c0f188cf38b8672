//! What every program does, and what each answer has to be.

use anyhow::Result;
use serde_json::{Value, json};

use crate::gateways::Gateways;
use crate::language::Language;
use crate::world::{LARGE_USERS, World, dn, login, password};

/// A column of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Feature {
    Login,
    Errors,
    Deadline,
    Retry,
    Feed,
    ListAnew,
    Gzip,
    FourMiB,
    Keepalive,
    Balance,
}

impl Feature {
    pub(crate) const ALL: [Self; 10] = [
        Self::Login,
        Self::Errors,
        Self::Deadline,
        Self::Retry,
        Self::Feed,
        Self::ListAnew,
        Self::Gzip,
        Self::FourMiB,
        Self::Keepalive,
        Self::Balance,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Login => "every denial of a login",
            Self::Errors => "every error that can be provoked, with its details",
            Self::Deadline => "a deadline of 1 ms binds nobody",
            Self::Retry => "retries bind once, though the gateway is killed",
            Self::Feed => "the feed through a restart, without loss",
            Self::ListAnew => "listing anew after an expired cursor",
            Self::Gzip => "gzip both ways",
            Self::FourMiB => "large pages within the usual 4 MiB",
            Self::Keepalive => "a silent connection is noticed",
            Self::Balance => "two gateways share the calls, and one may go",
        }
    }
}

/// One call of Authenticate, and the answer in words: AUTHENTICATED and the login, DENIED and the reason, or the code,
/// the reason, the fields of BadRequest, "retry" for RetryInfo and the metadata, as each program writes them.
struct Attempt {
    feature: Feature,
    name: &'static str,
    token: &'static str,
    tenant: &'static str,
    login: String,
    password: String,
    request_id: String,
    expected: String,
}

/// A person's own attempt with the right password.
fn attempt(
    feature: Feature,
    name: &'static str,
    tenant: &'static str,
    login: &str,
    expected: &str,
) -> Attempt {
    Attempt {
        feature,
        name,
        token: "product",
        tenant,
        login: login.to_owned(),
        password: password(login),
        request_id: String::new(),
        expected: expected.to_owned(),
    }
}

fn attempts(world: &World, language: Language) -> Vec<Attempt> {
    use Feature::{Errors, Login};
    let of = |who: &str| login(language, who);
    let acme = "tenants/acme";
    let good = |login: &str| format!("AUTHENTICATED {login}");
    let mut all = vec![
        attempt(Login, "right password", acme, &of("right"), &good(&of("right"))),
        Attempt {
            login: format!("{}@example.org", of("right")),
            ..attempt(
                Login,
                "by address, without a tenant",
                "",
                &of("right"),
                &good(&of("right")),
            )
        },
        Attempt {
            password: "wrong".to_owned(),
            ..attempt(
                Login,
                "wrong password",
                acme,
                &of("wrong"),
                "DENIED INVALID_CREDENTIALS",
            )
        },
        attempt(
            Login,
            "unknown login",
            acme,
            &of("nobody"),
            "DENIED INVALID_CREDENTIALS",
        ),
        attempt(
            Login,
            "expired password",
            acme,
            &of("aged"),
            "DENIED PASSWORD_EXPIRED",
        ),
        attempt(
            Login,
            "password to change",
            acme,
            &of("changing"),
            "DENIED PASSWORD_MUST_CHANGE",
        ),
        attempt(
            Login,
            "local user",
            "tenants/large",
            "large1",
            "DENIED LOCAL_USER",
        ),
    ];
    for number in 0..3 {
        all.push(Attempt {
            password: format!("guess {number}"),
            ..attempt(Login, "guess", acme, &of("guessed"), "DENIED INVALID_CREDENTIALS")
        });
    }
    all.push(attempt(
        Login,
        "one guess too many",
        acme,
        &of("guessed"),
        "DENIED TOO_MANY_ATTEMPTS retry",
    ));
    if let Some(samba) = &world.samba {
        use rollcall_testkit::SambaPerson as Person;
        for (name, person, denial) in [
            ("disabled account", Person::Disabled, "ACCOUNT_DISABLED"),
            ("expired account", Person::Expired, "ACCOUNT_EXPIRED"),
            ("outside logon hours", Person::OffHours, "LOGON_RESTRICTED"),
        ] {
            let account = samba.person(person);
            all.push(Attempt {
                password: account.password,
                ..attempt(
                    Login,
                    name,
                    "tenants/forest",
                    &account.login,
                    &format!("DENIED {denial}"),
                )
            });
        }
    }
    let id = format!("{}-once", language.id());
    for (name, password, expected) in [
        ("request_id", password(&of("once")), good(&of("once"))),
        (
            "same request_id, same password",
            password(&of("once")),
            good(&of("once")),
        ),
        (
            "same request_id, other password",
            "other".to_owned(),
            format!("INVALID_ARGUMENT REQUEST_ID_REUSED request_id={id}"),
        ),
    ] {
        all.push(Attempt {
            password,
            request_id: id.clone(),
            ..attempt(Errors, name, acme, &of("once"), &expected)
        });
    }
    let with_token = |token, name, expected: &str| Attempt {
        token,
        ..attempt(Errors, name, acme, &of("right"), expected)
    };
    all.extend([
        with_token(
            "nobody",
            "unknown token",
            "UNAUTHENTICATED CALLER_UNAUTHENTICATED",
        ),
        with_token(
            "reader",
            "no permission",
            "PERMISSION_DENIED PERMISSION_MISSING permission=authenticate",
        ),
        with_token(
            "stranger",
            "foreign tenant",
            "PERMISSION_DENIED TENANT_ACCESS_DENIED tenant=acme",
        ),
        with_token("hasty", "within the quota", &good(&of("right"))),
        with_token(
            "hasty",
            "beyond the quota",
            "RESOURCE_EXHAUSTED CALLER_QUOTA_EXHAUSTED retry",
        ),
        Attempt {
            password: String::new(),
            ..attempt(
                Errors,
                "bad fields",
                "acme",
                "",
                "INVALID_ARGUMENT INVALID_FIELD fields=login,password,tenant",
            )
        },
        attempt(
            Errors,
            "no tenant",
            "",
            "somebody",
            "INVALID_ARGUMENT TENANT_REQUIRED fields=tenant",
        ),
        Attempt {
            password: "x".repeat(20_000),
            ..attempt(
                Errors,
                "too large",
                acme,
                &of("right"),
                "INVALID_ARGUMENT REQUEST_TOO_LARGE limit=16384 method=rollcall.v1.AuthService.Authenticate",
            )
        },
        attempt(
            Errors,
            "switched off",
            "tenants/off",
            "go-right",
            "FAILED_PRECONDITION SYNC_DISABLED resource=tenants/off",
        ),
        attempt(
            Errors,
            "misconfigured",
            "tenants/misconfigured",
            "go-right",
            "FAILED_PRECONDITION DIRECTORY_MISCONFIGURED resource=tenants/misconfigured/directories/hq",
        ),
        attempt(
            Errors,
            "moved endpoint",
            "tenants/unconfirmed",
            "go-right",
            "FAILED_PRECONDITION ENDPOINT_UNCONFIRMED resource=tenants/unconfirmed/directories/hq",
        ),
        attempt(
            Errors,
            "directory away",
            "tenants/away",
            "go-right",
            "UNAVAILABLE DIRECTORY_UNAVAILABLE retry",
        ),
        attempt(
            Errors,
            "lost in the bind",
            "tenants/held",
            &of("lost"),
            "ABORTED BIND_OUTCOME_UNKNOWN",
        ),
        attempt(
            Errors,
            "role taken away, worker away",
            acme,
            &of("demoted"),
            "ABORTED WORKER_UNAVAILABLE",
        ),
    ]);
    all
}

/// What a program is told.
pub(crate) fn task(world: &World, language: Language, gateways: &Gateways) -> Value {
    let [a, b] = gateways.addresses();
    let attempts: Vec<Value> = attempts(world, language)
        .iter()
        .map(|attempt| {
            json!({
                "name": attempt.name,
                "token": format!("token of the {}", attempt.token),
                "tenant": attempt.tenant,
                "login": attempt.login,
                "password": attempt.password,
                "request_id": attempt.request_id,
            })
        })
        .collect();
    let person = |tenant: &str, who: &str| {
        let login = login(language, who);
        json!({"tenant": tenant, "password": password(&login), "login": login})
    };
    json!({
        "a": a,
        "b": b,
        "ca_file": world.ca.file(),
        "token": "token of the product",
        "attempts": attempts,
        "right": person("tenants/acme", "right"),
        "hurried": person("tenants/acme", "hurried"),
        "held": person("tenants/held", "held"),
        "own": format!("tenants/{}", language.id()),
        "large": "tenants/large",
        "archive": "tenants/archive",
        // Each program blocks another user there.
        "place": Language::ALL.iter().position(|other| *other == language),
        "expired_cursor": world.expired_cursor,
    })
}

/// The other cases, and their answers.
fn others(language: Language) -> Vec<(Feature, &'static str, String)> {
    let right = format!("AUTHENTICATED {}", login(language, "right"));
    let all_large = format!("{LARGE_USERS} users, {LARGE_USERS} events");
    vec![
        (
            Feature::Errors,
            "the worker's service",
            "UNIMPLEMENTED UNIMPLEMENTED method=rollcall.v1.TenantService.GetTenant served_by=sync-worker"
                .to_owned(),
        ),
        (Feature::Deadline, "1 ms", "DEADLINE_EXCEEDED".to_owned()),
        (
            Feature::Retry,
            "killed while binding",
            "ABORTED BIND_OUTCOME_UNKNOWN, 1 bind".to_owned(),
        ),
        (Feature::Feed, "events", "15 events in order".to_owned()),
        (
            Feature::ListAnew,
            "expired cursor",
            "FAILED_PRECONDITION CURSOR_EXPIRED parent=tenants/archive, then 4 users and the next event"
                .to_owned(),
        ),
        (Feature::Gzip, "login", right.clone()),
        (Feature::Gzip, "list", format!("{LARGE_USERS} users")),
        (Feature::FourMiB, "pages", all_large),
        (
            Feature::Keepalive,
            "silence",
            format!("UNAVAILABLE, then {right}"),
        ),
        (Feature::Balance, "both", "30 of 30, both served".to_owned()),
        (Feature::Balance, "one killed", "30 of 30".to_owned()),
    ]
}

/// Where the answers of a feature are not what they should be.
pub(crate) fn faults(
    world: &World,
    language: Language,
    feature: Feature,
    told: &[(String, String)],
) -> Result<Vec<String>> {
    let mut expected: Vec<(String, String)> = attempts(world, language)
        .into_iter()
        .filter(|attempt| attempt.feature == feature)
        .map(|attempt| (format!("login: {}", attempt.name), attempt.expected))
        .collect();
    for (of, name, answer) in others(language) {
        if of == feature {
            expected.push((name.to_owned(), answer));
        }
    }
    let mut rest: Vec<&(String, String)> = told.iter().collect();
    let mut faults = Vec::new();
    for (name, answer) in expected {
        match rest.iter().position(|(told, _)| *told == name) {
            None => faults.push(format!("{name}: not told")),
            Some(place) => {
                let (_, told) = rest.remove(place);
                if *told != answer {
                    faults.push(format!("{name}: {told}, and not {answer}"));
                }
            }
        }
    }
    if feature == Feature::Deadline && world.slapd.bind_count(&dn(&login(language, "hurried")))? > 0 {
        faults.push("a login that was given 1 ms was bound".to_owned());
    }
    Ok(faults)
}
