//! Logins, one after another, and what each is answered.

use crate::feature::Feature;
use crate::language::Language;
use crate::world::{World, login, password};

/// One call of Authenticate, and the answer in words: AUTHENTICATED and the login, DENIED and the reason, or the code,
/// the reason, the fields of BadRequest, "retry" for RetryInfo and the metadata, as each program writes them.
pub(crate) struct Attempt {
    pub(crate) feature: Feature,
    pub(crate) name: &'static str,
    pub(crate) token: &'static str,
    pub(crate) tenant: &'static str,
    pub(crate) login: String,
    pub(crate) password: String,
    pub(crate) request_id: String,
    pub(crate) expected: String,
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

pub(crate) fn attempts(world: &World, language: Language) -> Vec<Attempt> {
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
