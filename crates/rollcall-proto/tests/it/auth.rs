use std::collections::BTreeSet;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::time::Duration;

use prost_reflect::DescriptorPool;
use rollcall_core::audit::{LoginReason, OwnReason};
use rollcall_core::error::Reason;
use rollcall_core::secret::{Password, SecretBytes};
use rollcall_core::verdict::{InternalReason, PublicReason};
use rollcall_proto::convert::audit;
use rollcall_proto::convert::auth::{self, Authenticate, denied};
use rollcall_proto::convert::check::{CheckConnection, DirectoryTarget};
use rollcall_proto::convert::directory::{
    CreateDirectory, DirectorySecrets, RotateBindPassword, UpdateDirectory,
};
use rollcall_proto::v1;

use crate::bad_fields;

fn request() -> v1::AuthenticateRequest {
    v1::AuthenticateRequest {
        tenant: "tenants/acme".into(),
        login: "ada".into(),
        password: "  pässwörd ".into(),
        client_address: "2001:db8::1".into(),
        request_id: "5f0d1b1e".into(),
    }
}

#[test]
fn an_attempt_is_taken_exactly_as_it_was_typed() {
    let attempt = Authenticate::try_from(request()).ok().unwrap();
    assert_eq!(attempt.tenant.unwrap().as_str(), "acme");
    assert_eq!(attempt.login, "ada");
    assert_eq!(attempt.password.expose(), "  pässwörd ");
    assert_eq!(attempt.client_address, Some("2001:db8::1".parse().unwrap()));
    assert_eq!(attempt.request_id.as_deref(), Some("5f0d1b1e"));
}

#[test]
fn all_that_is_wrong_with_an_attempt_is_said_at_once() {
    let request = v1::AuthenticateRequest {
        tenant: "acme".into(),
        login: "x".repeat(10 * 1024),
        password: String::new(),
        client_address: "2001:db8::1:8080:nonsense".into(),
        request_id: "two words".into(),
    };
    let fields = bad_fields(Authenticate::try_from(request));
    assert_eq!(
        fields,
        ["tenant", "login", "password", "client_address", "request_id"]
    );
}

#[test]
fn a_password_that_cannot_be_one_is_refused() {
    for password in [String::new(), "a\0b".into(), "x".repeat(1025)] {
        let fields = bad_fields(Authenticate::try_from(v1::AuthenticateRequest {
            password,
            ..request()
        }));
        assert_eq!(fields, ["password"]);
    }
    for login in ["", "a\0", "a\nb"] {
        let request = v1::AuthenticateRequest {
            login: login.into(),
            ..request()
        };
        assert!(
            bad_fields(Authenticate::try_from(request))
                .iter()
                .all(|field| field == "login")
        );
    }
}

#[test]
fn only_an_email_address_can_do_without_a_tenant() {
    let without = |login: &str| {
        Authenticate::try_from(v1::AuthenticateRequest {
            tenant: String::new(),
            login: login.into(),
            ..request()
        })
    };
    assert_eq!(without("ada@example.com").ok().unwrap().tenant, None);
    for login in ["ada", "@", "ada@"] {
        let error = without(login).err().unwrap();
        assert_eq!(error.reason, Reason::TenantRequired, "{login}");
    }
}

#[test]
fn how_long_to_wait_is_said_of_too_many_attempts_alone() {
    let delay = |reason| match denied(reason, Some(Duration::from_secs(90))).outcome {
        Some(v1::authenticate_response::Outcome::Denial(denial)) => {
            denial.retry_after.map(|delay| delay.seconds)
        }
        _ => panic!("a denial must come out as one"),
    };
    assert_eq!(delay(v1::DenialReason::TooManyAttempts), Some(90));
    assert_eq!(delay(v1::DenialReason::InvalidCredentials), None);
}

struct Probe<T>(PhantomData<T>);

trait WithoutDebug {
    const HAS_DEBUG: bool = false;
}

impl<T> WithoutDebug for Probe<T> {}

impl<T: Debug> Probe<T> {
    const HAS_DEBUG: bool = true;
}

/// A type without `Debug` cannot be printed by mistake.
#[test]
fn nothing_that_holds_a_secret_has_debug() {
    const { assert!(Probe::<v1::User>::HAS_DEBUG, "the probe must tell the difference") };
    let secret = [
        Probe::<v1::AuthenticateRequest>::HAS_DEBUG,
        Probe::<v1::Directory>::HAS_DEBUG,
        Probe::<v1::CreateDirectoryRequest>::HAS_DEBUG,
        Probe::<v1::UpdateDirectoryRequest>::HAS_DEBUG,
        Probe::<v1::ListDirectoriesResponse>::HAS_DEBUG,
        Probe::<v1::CheckConnectionRequest>::HAS_DEBUG,
        Probe::<v1::check_connection_request::Target>::HAS_DEBUG,
        Probe::<v1::RotateBindPasswordRequest>::HAS_DEBUG,
        Probe::<Authenticate>::HAS_DEBUG,
        Probe::<DirectorySecrets>::HAS_DEBUG,
        Probe::<CreateDirectory>::HAS_DEBUG,
        Probe::<UpdateDirectory>::HAS_DEBUG,
        Probe::<RotateBindPassword>::HAS_DEBUG,
        Probe::<CheckConnection>::HAS_DEBUG,
        Probe::<DirectoryTarget>::HAS_DEBUG,
        Probe::<Password>::HAS_DEBUG,
        Probe::<SecretBytes>::HAS_DEBUG,
    ];
    assert_eq!(secret, [false; 17]);
}

#[test]
fn every_denial_reason_is_a_rule_s_or_the_gateway_s_own() {
    let of_rules = PublicReason::ALL.iter().map(|reason| {
        let wire = auth::denial_reason(*reason).as_str_name();
        assert_eq!(wire, format!("DENIAL_REASON_{}", reason.as_str()));
        wire.to_owned()
    });
    let own = ["UNSPECIFIED", "TOO_MANY_ATTEMPTS", "LOCAL_USER"];
    let own = own.iter().map(|name| format!("DENIAL_REASON_{name}"));
    let pool = DescriptorPool::decode(rollcall_proto::FILE_DESCRIPTOR_SET).unwrap();
    let contract = pool.get_enum_by_name("rollcall.v1.DenialReason").unwrap();
    let contract: BTreeSet<String> = contract.values().map(|value| value.name().to_owned()).collect();
    assert_eq!(of_rules.chain(own).collect::<BTreeSet<_>>(), contract);
}

#[test]
fn every_reason_of_the_audit_log_has_its_word_in_the_contract_and_no_other_is_there() {
    let own = OwnReason::ALL.iter().map(|reason| LoginReason::from(*reason));
    let directory = InternalReason::ALL
        .iter()
        .map(|reason| LoginReason::from(*reason));
    let of_rules: BTreeSet<String> = own
        .chain(directory)
        .map(|reason| match audit::reason_code(reason) {
            v1::LoginReason::Unspecified => format!("none for {}", reason.as_str()),
            word => word.as_str_name().to_owned(),
        })
        .collect();
    let failed = audit::reason_code(LoginReason::Error(Reason::StoreUnavailable));
    assert_eq!(failed, v1::LoginReason::CallFailed);
    let pool = DescriptorPool::decode(rollcall_proto::FILE_DESCRIPTOR_SET).unwrap();
    let contract = pool.get_enum_by_name("rollcall.v1.LoginReason").unwrap();
    let contract = contract.values().map(|value| value.name().to_owned());
    let others = ["LOGIN_REASON_UNSPECIFIED", "LOGIN_REASON_CALL_FAILED"];
    // The reason of another release is shown as unspecified.
    let unrecognized = format!("none for {}", OwnReason::Unrecognized.as_str());
    let contract: BTreeSet<String> = contract
        .filter(|name| !others.contains(&name.as_str()))
        .chain([unrecognized])
        .collect();
    assert_eq!(of_rules, contract);
}
