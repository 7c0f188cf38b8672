use proptest::prelude::*;

use super::*;
use Dialect::*;
use DirectoryErrorKind::*;

const DAY: Duration = Duration::from_secs(86_400);

fn answer(dialect: Dialect, result_code: u32) -> BindAnswer<'static> {
    let account = AccountState {
        status: AccountStatus::Enabled,
        ..AccountState::default()
    };
    let netscape = NetscapeControls::default();
    BindAnswer {
        dialect,
        result_code,
        diagnostic: "",
        policy: None,
        netscape,
        account,
        expires_in: None,
    }
}

fn policy(error: PolicyError) -> Option<PolicyResponse> {
    Some(PolicyResponse {
        error: Some(error),
        ..PolicyResponse::default()
    })
}

/// A denial that tells nothing.
fn silent(internal: InternalReason) -> Verdict {
    Verdict::Denied {
        public: PublicReason::InvalidCredentials,
        internal,
        password_proven: false,
    }
}

/// A denial that the right password has earned.
fn told(public: PublicReason, internal: InternalReason) -> Verdict {
    Verdict::Denied {
        public,
        internal,
        password_proven: true,
    }
}

#[test]
fn every_result_code_means_the_same_in_every_dialect() {
    use InternalReason::*;
    for &dialect in Dialect::ALL {
        for code in (0..=200).chain([4096, 16654, u32::MAX]) {
            let expected = match code {
                0 => Verdict::Authenticated { notice: None },
                7 | 8 | 12 | 13 | 14 => Verdict::DirectoryError(Misconfigured),
                19 => silent(AccountLocked),
                32 => silent(NoSuchEntry),
                34 => silent(InvalidName),
                48 => silent(NoPassword),
                49 => silent(InvalidCredentials),
                50 => silent(Forbidden),
                51 => Verdict::DirectoryError(Busy),
                52 => Verdict::DirectoryError(Unavailable),
                53 => silent(Refused),
                // Among them 1, 2, 3, 10 (referral), 11, 80: never a denial.
                _ => Verdict::DirectoryError(Unclear),
            };
            assert_eq!(judge(&answer(dialect, code)), expected, "{dialect:?} {code}");
        }
    }
}

#[test]
fn active_directory_tells_the_state_of_an_account_by_code() {
    use InternalReason::*;
    for (code, expected) in [
        ("525", silent(NoSuchAccount)),
        ("52e", silent(InvalidCredentials)),
        ("52E", silent(InvalidCredentials)),
        ("52f", silent(LogonRestricted)),
        ("530", told(PublicReason::LogonRestricted, LogonHours)),
        ("531", told(PublicReason::LogonRestricted, LogonWorkstation)),
        ("532", told(PublicReason::PasswordExpired, PasswordExpired)),
        ("533", told(PublicReason::AccountDisabled, AccountDisabled)),
        ("534", silent(LogonRestricted)),
        ("569", silent(LogonRestricted)),
        ("57", silent(AmbiguousName)),
        ("701", told(PublicReason::AccountExpired, AccountExpired)),
        ("773", told(PublicReason::PasswordMustChange, PasswordMustChange)),
        ("775", silent(AccountLocked)),
        ("80090346", Verdict::DirectoryError(Misconfigured)),
        ("999", silent(InvalidCredentials)),
        ("0", silent(InvalidCredentials)),
    ] {
        let text = format!(
            "80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data {code}, v4563\0"
        );
        let bind = BindAnswer {
            diagnostic: &text,
            ..answer(ActiveDirectory, 49)
        };
        assert_eq!(judge(&bind), expected, "{code}");
        for dialect in [OpenLdap, Dirsrv389, Generic] {
            let bind = BindAnswer { dialect, ..bind };
            assert_eq!(judge(&bind), silent(InvalidCredentials), "{dialect:?} {code}");
        }
    }
}

#[test]
fn a_code_counts_only_in_its_exact_place() {
    for text in [
        "data 773",
        "error, data 773, v4563",
        "80090308: LdapErr: DSID-0C09044E, comment: data773, v4563",
        "80090308: LdapErr: DSID-0C09044E, comment: no data 773, v4563",
        "80090308: LdapErr: DSID-0C09044E, comment: x, data 773x, v4563",
        "80090308: LdapErr: DSID-0C09044E, comment: x, data +773, v4563",
        "80090308: LdapErr: DSID-0C09044E, comment: x, data 100000773, v4563",
        "80090308: LdapErr: DSID-0C09044E, comment: x, data 773, data 52e, v4563",
        "8009030: LdapErr: DSID-0C09044E, comment: x, data 773, v4563",
        "zzzzzzzz: LdapErr: DSID-0C09044E, comment: x, data 773, v4563",
        "80090308: LdapErr: DSID-0C09044E, comment: x, data , v4563",
    ] {
        let bind = BindAnswer {
            diagnostic: text,
            ..answer(ActiveDirectory, 49)
        };
        assert_eq!(judge(&bind), silent(InternalReason::InvalidCredentials), "{text}");
    }
}

#[test]
fn policy_controls_are_believed_as_far_as_each_server_proves_the_password() {
    use InternalReason::*;
    use PolicyError as P;
    let expired = told(PublicReason::PasswordExpired, PasswordExpired);
    let must_change = told(PublicReason::PasswordMustChange, PasswordMustChange);
    let locked_but_right = told(PublicReason::InvalidCredentials, AccountLocked);
    for (dialect, code, error, verdict) in [
        (OpenLdap, 49, P::PasswordExpired, expired),
        (Dirsrv389, 49, P::PasswordExpired, expired),
        (Generic, 49, P::PasswordExpired, silent(PasswordExpired)),
        (OpenLdap, 49, P::AccountLocked, silent(AccountLocked)),
        (Dirsrv389, 49, P::AccountLocked, silent(AccountLocked)),
        (Generic, 49, P::AccountLocked, silent(AccountLocked)),
        (OpenLdap, 49, P::ChangeAfterReset, silent(PasswordMustChange)),
        (Generic, 49, P::ChangeAfterReset, silent(PasswordMustChange)),
        (OpenLdap, 0, P::PasswordExpired, expired),
        (OpenLdap, 0, P::ChangeAfterReset, must_change),
        (Dirsrv389, 0, P::ChangeAfterReset, must_change),
        (Generic, 0, P::ChangeAfterReset, must_change),
        (OpenLdap, 0, P::AccountLocked, locked_but_right),
        (Generic, 0, P::AccountLocked, locked_but_right),
    ] {
        let bind = BindAnswer {
            policy: policy(error),
            ..answer(dialect, code)
        };
        assert_eq!(judge(&bind), verdict, "{dialect:?} {code} {error:?}");
    }
    assert_eq!(PolicyError::from_code(1), Some(P::AccountLocked));
    assert_eq!((3..=9).find_map(PolicyError::from_code), None);
}

#[test]
fn netscape_controls_say_expired_or_must_change() {
    use InternalReason::*;
    let netscape = NetscapeControls {
        expired: true,
        expires_in: None,
    };
    for (dialect, code, verdict) in [
        (
            Dirsrv389,
            49,
            told(PublicReason::PasswordExpired, PasswordExpired),
        ),
        (Generic, 49, silent(PasswordExpired)),
        (
            Dirsrv389,
            0,
            told(PublicReason::PasswordMustChange, PasswordMustChange),
        ),
        (Dirsrv389, 53, silent(Refused)),
        (Dirsrv389, 19, silent(AccountLocked)),
    ] {
        assert_eq!(
            judge(&BindAnswer {
                netscape,
                ..answer(dialect, code)
            }),
            verdict,
            "{dialect:?} {code}"
        );
    }
}

#[test]
fn notices_travel_with_success_only() {
    let warned = Some(PolicyResponse {
        expires_in: Some(DAY),
        ..PolicyResponse::default()
    });
    let grace = Some(PolicyResponse {
        grace_logins_left: Some(2),
        ..PolicyResponse::default()
    });
    let netscape = NetscapeControls {
        expired: false,
        expires_in: Some(DAY),
    };
    let notice = |expires_in, grace_logins_left| Verdict::Authenticated {
        notice: Some(PasswordNotice {
            expires_in,
            grace_logins_left,
        }),
    };
    let ok = answer(OpenLdap, 0);
    assert_eq!(
        judge(&BindAnswer { policy: warned, ..ok }),
        notice(Some(DAY), None)
    );
    assert_eq!(judge(&BindAnswer { policy: grace, ..ok }), notice(None, Some(2)));
    assert_eq!(judge(&BindAnswer { netscape, ..ok }), notice(Some(DAY), None));
    let of_389 = BindAnswer {
        policy: grace,
        netscape: NetscapeControls {
            expired: true,
            expires_in: None,
        },
        ..answer(Dirsrv389, 0)
    };
    assert_eq!(judge(&of_389), notice(None, Some(2)));
    let empty = Some(PolicyResponse::default());
    assert_eq!(
        judge(&BindAnswer { policy: empty, ..ok }),
        Verdict::Authenticated { notice: None }
    );
    let denied = BindAnswer {
        policy: warned,
        ..answer(OpenLdap, 49)
    };
    assert_eq!(judge(&denied), silent(InternalReason::InvalidCredentials));
}

#[test]
fn the_entry_can_deny_what_the_bind_allowed() {
    use AccountStatus as S;
    let ok = Verdict::Authenticated { notice: None };
    for &dialect in Dialect::ALL {
        for (status, verdict) in [
            (S::Enabled, ok),
            (S::NotSet, ok),
            (S::Unreadable, ok),
            (S::Locked, ok),
            (
                S::Disabled,
                told(PublicReason::AccountDisabled, InternalReason::AccountDisabled),
            ),
            (
                S::Expired,
                told(PublicReason::AccountExpired, InternalReason::AccountExpired),
            ),
        ] {
            let account = AccountState {
                status,
                password_expired: true,
                must_change_password: true,
            };
            assert_eq!(
                judge(&BindAnswer {
                    account,
                    ..answer(dialect, 0)
                }),
                verdict,
                "{dialect:?} {status:?}"
            );
            let wrong = BindAnswer {
                account,
                ..answer(dialect, 49)
            };
            assert_eq!(
                judge(&wrong),
                silent(InternalReason::InvalidCredentials),
                "{dialect:?} {status:?}"
            );
        }
    }
}

#[test]
fn refusals_are_told_apart_in_the_audit_log_only() {
    use InternalReason::*;
    for (code, text, internal) in [
        (
            53,
            "Account inactivated. Contact system administrator.",
            AccountDisabled,
        ),
        (
            53,
            "Rejecting a bind request because the user account has been administratively disabled",
            AccountDisabled,
        ),
        (53, "The account has been locked", AccountLocked),
        (
            53,
            "unauthenticated bind (DN with no password) disallowed",
            Refused,
        ),
        (53, "NDS error: log account expired (-220)", AccountExpired),
        (53, "NDS error: bad login time (-218)", LogonHours),
        (49, "NDS error: failed authentication (-669)", InvalidCredentials),
        (49, "NDS error: login lockout (-197)", AccountLocked),
        (49, "NDS error: password expired (-222)", PasswordExpired),
        (49, "NDS error: bad password (-223)", PasswordExpired),
        (49, "NDS error: something else (-1)", InvalidCredentials),
        (49, "(-197)", InvalidCredentials),
    ] {
        let bind = BindAnswer {
            diagnostic: text,
            ..answer(Generic, code)
        };
        assert_eq!(judge(&bind), silent(internal), "{text}");
    }
}

proptest! {
    #[test]
    fn nothing_is_told_and_nobody_let_in_without_proof(
        dialect in 0usize..4, code in prop_oneof![0u32..100, any::<u32>()], text in any::<String>(),
        error in proptest::option::of(0u32..10), expired in any::<bool>()
    ) {
        let policy = error.map(|code| PolicyResponse { error: PolicyError::from_code(code), ..PolicyResponse::default() });
        let netscape = NetscapeControls { expired, expires_in: None };
        let bind = BindAnswer { diagnostic: &text, policy, netscape, ..answer(Dialect::ALL[dialect], code) };
        match judge(&bind) {
            Verdict::Authenticated { .. } => prop_assert_eq!(code, 0),
            Verdict::Denied { public, password_proven, .. } => {
                prop_assert!(password_proven || public == PublicReason::InvalidCredentials);
                prop_assert!(!password_proven || matches!(code, 0 | 49));
            }
            Verdict::DirectoryError(_) => prop_assert!(!matches!(code, 0 | 19 | 32 | 34 | 48 | 50 | 53)),
        }
    }
}

#[test]
fn an_expiry_that_only_the_entry_tells_is_told_when_it_is_near() {
    let told = |expires_in| {
        judge(&BindAnswer {
            expires_in: Some(expires_in),
            ..answer(ActiveDirectory, 0)
        })
    };
    let notice = |expires_in| Verdict::Authenticated {
        notice: Some(PasswordNotice {
            expires_in: Some(expires_in),
            grace_logins_left: None,
        }),
    };
    assert_eq!(told(TimeDelta::days(3)), notice(3 * DAY));
    assert_eq!(told(EXPIRY_NOTICE), notice(14 * DAY));
    let nothing = Verdict::Authenticated { notice: None };
    assert_eq!(told(EXPIRY_NOTICE + TimeDelta::seconds(1)), nothing);
    assert_eq!(told(TimeDelta::seconds(-1)), nothing);
}

#[test]
fn another_password_may_be_right_only_where_this_one_is_wrong_or_expired() {
    let ad = |data: &str| {
        format!("80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data {data}, v4563")
    };
    for dialect in [None, Some(ActiveDirectory)] {
        assert!(is_password_refused(dialect, 49, &ad("52e")));
        assert!(is_password_refused(dialect, 49, &ad("532")));
        for data in ["525", "530", "533", "701", "773", "775"] {
            assert!(!is_password_refused(dialect, 49, &ad(data)), "{data}");
        }
    }
    assert!(is_password_refused(Some(OpenLdap), 49, ""));
    assert!(!is_password_refused(Some(ActiveDirectory), 49, "something else"));
    assert!(is_password_refused(
        None,
        49,
        "NDS error: failed authentication (-669)"
    ));
    assert!(!is_password_refused(None, 49, "NDS error: login lockout (-197)"));
    for code in [0, 8, 19, 32, 50, 51, 52, 53] {
        assert!(!is_password_refused(None, code, &ad("52e")), "{code}");
    }
}
