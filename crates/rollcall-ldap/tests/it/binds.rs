//! Password checks.

use std::sync::Arc;
use std::time::Duration;

use rollcall_core::secret::{Password, PasswordProblem};
use rollcall_core::verdict::PolicyError;
use rollcall_ldap::{LdapError, ProtocolViolation, ResultCode};
use rollcall_testkit::{ScriptedLdap, Slapd, SlapdBuilder, ber, hostile_people, people_ldif, wait_for};
use tokio::sync::Notify;

use crate::setup::*;

#[tokio::test]
async fn a_right_password_succeeds_and_a_wrong_one_is_sent_once() {
    let people = hostile_people(30);
    let slapd = Slapd::builder()
        .ldif(&people_ldif(&people, "dc=example,dc=org"))
        .start()
        .unwrap();
    let directory = on_slapd(&slapd);
    for person in &people {
        let dn = person.dn(slapd.base_dn());
        let right = bind(&directory, &dn, &password(&person.password), in_seconds(10))
            .await
            .unwrap();
        assert_eq!(right.code, ResultCode::SUCCESS, "{dn}");
    }
    let dn = people[0].dn(slapd.base_dn());
    let before = slapd.binds().unwrap().len();
    let wrong = bind(&directory, &dn, &password("wrong"), in_seconds(10))
        .await
        .unwrap();
    assert_eq!(wrong.code, ResultCode::INVALID_CREDENTIALS);
    assert_eq!(slapd.binds().unwrap().len(), before + 1);
    let unknown = "cn=nobody,dc=example,dc=org";
    let unknown = bind(&directory, unknown, &password("x"), in_seconds(10))
        .await
        .unwrap();
    assert_eq!(unknown.code, ResultCode::INVALID_CREDENTIALS);
    // All of it on one connection, since one at a time is asked for.
    let connections: std::collections::BTreeSet<u64> = slapd
        .binds()
        .unwrap()
        .iter()
        .filter(|bind| bind.dn != slapd.service_dn())
        .map(|bind| bind.connection)
        .collect();
    assert_eq!(connections.len(), 1);
}

/// Matrix case 1 and 2: such a server says yes to an empty password, so none may ever be sent.
#[tokio::test]
async fn an_empty_password_cannot_even_be_written_down() {
    let slapd = Slapd::builder().bind_anon_dn().start().unwrap();
    assert_eq!(Password::new(String::new()).err(), Some(PasswordProblem::Empty));
    assert_eq!(Password::new("a\0".into()).err(), Some(PasswordProblem::Nul));
    let directory = on_slapd(&slapd);
    let answer = bind(&directory, &slapd.service_dn(), &password(" "), in_seconds(10))
        .await
        .unwrap();
    assert_eq!(answer.code, ResultCode::INVALID_CREDENTIALS);
}

#[tokio::test]
async fn the_bind_and_the_read_run_at_once_and_on_separate_connections() {
    let people = hostile_people(3);
    let slapd = Slapd::builder()
        .ldif(&people_ldif(&people, "dc=example,dc=org"))
        .start()
        .unwrap();
    let directory = on_slapd(&slapd);
    let dn = people[1].dn(slapd.base_dn());
    let request = read(&dn, &["uid", "entryUUID"]);
    let verified = directory
        .verify_and_read(&dn, &password(&people[1].password), &request, in_seconds(10))
        .await;
    assert_eq!(verified.bind.unwrap().code, ResultCode::SUCCESS);
    let entry = verified.read.unwrap().unwrap();
    assert_eq!(entry.text("uid"), Some(people[1].uid.as_str()));
    assert_eq!(entry.text("entryUUID").map(str::len), Some(36));
    let binds = slapd.binds().unwrap();
    let service = binds.iter().find(|bind| bind.dn == slapd.service_dn()).unwrap();
    assert!(
        binds
            .iter()
            .all(|bind| bind.dn == slapd.service_dn() || bind.connection != service.connection)
    );
}

#[tokio::test]
async fn a_read_of_what_is_not_there_or_does_not_match_is_none() {
    let people = hostile_people(1);
    let slapd = Slapd::builder()
        .ldif(&people_ldif(&people, "dc=example,dc=org"))
        .start()
        .unwrap();
    let directory = on_slapd(&slapd);
    let mut request = read("cn=nobody,dc=example,dc=org", &["uid"]);
    assert_eq!(directory.read_entry(&request, in_seconds(10)).await, Ok(None));
    request.dn = people[0].dn(slapd.base_dn());
    assert!(
        directory
            .read_entry(&request, in_seconds(10))
            .await
            .unwrap()
            .is_some()
    );
    request.filter = "(uid=other)".into();
    assert_eq!(directory.read_entry(&request, in_seconds(10)).await, Ok(None));
}

#[tokio::test]
async fn lockout_is_reported_by_the_password_policy_control() {
    let people = hostile_people(1);
    let base = "dc=example,dc=org";
    let policy = format!(
        "dn: ou=Policies,{base}\nobjectClass: organizationalUnit\nou: Policies\n\n\
         dn: {}\nobjectClass: device\nobjectClass: pwdPolicy\ncn: default\npwdAttribute: userPassword\n\
         pwdLockout: TRUE\npwdMaxFailure: 2\n",
        SlapdBuilder::default_policy_dn(base)
    );
    let slapd = Slapd::builder()
        .ppolicy()
        .ldif(&policy)
        .ldif(&people_ldif(&people, base))
        .start()
        .unwrap();
    let directory = on_slapd(&slapd);
    let dn = people[0].dn(base);
    for _ in 0..2 {
        let wrong = bind(&directory, &dn, &password("wrong"), in_seconds(10))
            .await
            .unwrap();
        assert_eq!(wrong.code, ResultCode::INVALID_CREDENTIALS);
    }
    let right = bind(&directory, &dn, &password(&people[0].password), in_seconds(10))
        .await
        .unwrap();
    assert_eq!(right.code, ResultCode::INVALID_CREDENTIALS);
    assert_eq!(right.policy.unwrap().error, Some(PolicyError::AccountLocked));
}

#[tokio::test]
async fn a_refused_service_account_is_an_error_of_its_own_and_not_hammered() {
    let slapd = Slapd::builder().start().unwrap();
    let directory = directory(slapd_settings(&slapd), "not the password");
    for _ in 0..5 {
        let error = directory
            .read_entry(&read("dc=example,dc=org", &["dc"]), in_seconds(10))
            .await
            .unwrap_err();
        assert_eq!(error, LdapError::BindRefused(ResultCode::INVALID_CREDENTIALS));
    }
    assert_eq!(slapd.bind_count(&slapd.service_dn()).unwrap(), 1);
}

/// Matrix cases 12 and 13: only a BindResponse answers a bind, and only the one with its id.
#[tokio::test]
async fn an_answer_of_another_kind_never_counts_as_success() {
    for answer in [
        (|id| ber::extended_response(id, 0, "")) as fn(i64) -> Vec<u8>,
        |id| ber::search_done(id, 0, ""),
        |id| ber::search_entry(id, "cn=x", &[]),
        |id| ber::bind_response(id + 1, 0, "", ""),
        |id| ber::bind_response(-id, 0, "", ""),
    ] {
        let server = logins(move |mut peer, bind| async move {
            peer.send(&answer(bind.id)).await?;
            peer.closed().await
        })
        .await;
        let directory = on_script(server.address());
        let error = bind(&directory, "cn=x", &password("secret"), in_seconds(10))
            .await
            .unwrap_err();
        assert!(matches!(error.error, LdapError::Protocol(_)), "{error:?}");
        assert!(!error.unsent);
    }
}

/// Matrix case 13: the yes to somebody else's bind, said again, is none to this one.
#[tokio::test]
async fn an_answer_to_an_earlier_bind_never_counts_as_success() {
    let server = logins(|mut peer, first| async move {
        peer.send(&ber::bind_response(first.id, 0, "", "")).await?;
        next(&mut peer).await?;
        peer.send(&ber::bind_response(first.id, 0, "", "")).await?;
        peer.closed().await
    })
    .await;
    let directory = on_script(server.address());
    let first = bind(&directory, "cn=x", &password("right"), in_seconds(10)).await;
    assert_eq!(first.unwrap().code, ResultCode::SUCCESS);
    let second = bind(&directory, "cn=y", &password("wrong"), in_seconds(10)).await;
    let unknown = LdapError::Protocol(ProtocolViolation::UnknownMessageId);
    assert_eq!(second.unwrap_err().error, unknown);
    assert_eq!(server.connections(), 2, "one of them is the service account's");
}

/// Matrix case 14: whatever comes after the deadline finds a closed connection.
#[tokio::test]
async fn a_bind_that_is_not_answered_is_unknown_and_its_connection_goes() {
    let server = logins(|mut peer, _| async move { peer.closed().await }).await;
    let directory = on_script(server.address());
    let deadline = tokio::time::Instant::now() + Duration::from_millis(200);
    let error = bind(&directory, "cn=x", &password("secret"), deadline)
        .await
        .unwrap_err();
    assert_eq!(error.error, LdapError::Timeout);
    assert!(!error.unsent);
    // The service account's may stay.
    wait_for("the connection is closed", Duration::from_secs(5), async || {
        server.open_connections() <= 1
    })
    .await
    .unwrap();
}

/// Matrix case 20.
#[tokio::test]
async fn a_cancelled_bind_closes_its_connection() {
    let arrived = Arc::new(Notify::new());
    let signal = arrived.clone();
    let server = logins(move |mut peer, _| {
        signal.notify_one();
        async move { peer.closed().await }
    })
    .await;
    let directory = on_script(server.address());
    let secret = password("secret");
    tokio::select! {
        _ = bind(&directory, "cn=x", &secret, in_seconds(60)) => panic!("nobody answers"),
        () = arrived.notified() => {}
    }
    // The service account's may stay.
    wait_for("the connection is closed", Duration::from_secs(5), async || {
        server.open_connections() <= 1
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_bind_lost_on_the_way_is_not_repeated() {
    let first = logins(|_, _| async { Ok(()) }).await;
    let second = logins(|_, _| async { Ok(()) }).await;
    let urls = [
        format!("ldap://{}", first.address()),
        format!("ldap://{}", second.address()),
    ];
    let directory = directory(settings(&urls), "service password");
    let error = bind(&directory, "cn=x", &password("secret"), in_seconds(10))
        .await
        .unwrap_err();
    assert_eq!(error.error, LdapError::ConnectionLost);
    assert!(!error.unsent);
    assert_eq!((bound(&first), bound(&second)), (vec!["cn=x".to_owned()], vec![]));
}

#[tokio::test]
async fn a_host_that_refuses_connections_is_passed_over_and_rests() {
    let slapd = Slapd::builder().start().unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = nobody.local_addr().unwrap();
    drop(nobody);
    let mut settings = slapd_settings(&slapd);
    settings.hosts.insert(
        0,
        rollcall_core::directory::HostUrl::parse(&format!("ldap://{dead}")).unwrap(),
    );
    let directory = directory(settings, slapd.service_password());
    let dn = slapd.service_dn();
    let secret = password(slapd.service_password());
    let answer = bind(&directory, &dn, &secret, in_seconds(10)).await.unwrap();
    assert_eq!(answer.code, ResultCode::SUCCESS);
    assert_eq!(usable(&directory), [false, true]);
}

#[tokio::test]
async fn a_directory_that_keeps_failing_is_left_alone() {
    let server = ScriptedLdap::plain(|mut peer| async move { next(&mut peer).await.map(drop) })
        .await
        .unwrap();
    let directory = on_script(server.address());
    let request = read("dc=x", &[]);
    let mut errors = Vec::new();
    for _ in 0..5 {
        errors.push(directory.read_entry(&request, in_seconds(10)).await.unwrap_err());
    }
    assert_eq!(errors[..3], [const { LdapError::ConnectionLost }; 3]);
    assert_eq!(errors[3..], [LdapError::CircuitOpen, LdapError::CircuitOpen]);
    assert_eq!(server.connections(), 3);
}

/// Matrix case 34, in the form of RFC 4511 and in Active Directory's.
#[tokio::test]
async fn a_notice_of_disconnection_tells_its_reason() {
    let active_directory = || {
        // The name behind the operation, where only controls may be.
        let result = [&[0x0a, 1, 52, 4, 0, 4, 3][..], b"bye"].concat();
        let name = b"1.3.6.1.4.1.1466.20036";
        let inner = [
            vec![2, 1, 0],
            [&[0x78, result.len() as u8][..], &result].concat(),
            [&[0x8a, name.len() as u8][..], name].concat(),
        ]
        .concat();
        [&[0x30, inner.len() as u8][..], &inner].concat()
    };
    for notice in [ber::notice_of_disconnection(52, "bye"), active_directory()] {
        let server = ScriptedLdap::plain(move |mut peer| {
            let notice = notice.clone();
            async move {
                let _ = after_bind(&mut peer).await?;
                peer.send(&notice).await?;
                peer.closed().await
            }
        })
        .await
        .unwrap();
        let error = on_script(server.address())
            .read_entry(&read("dc=x", &[]), in_seconds(10))
            .await
            .unwrap_err();
        let LdapError::Disconnected(notice) = error else {
            panic!("{error:?}")
        };
        assert_eq!((notice.code, notice.text.as_str()), (52, "bye"));
    }
}

/// Matrix case 44.
#[tokio::test]
async fn a_latin_1_diagnostic_message_keeps_its_result_code() {
    let server = logins(|mut peer, bind| async move {
        let mut answer = ber::bind_response(bind.id, 49, "", "falsches Passwort fXr J");
        let x = answer.iter().position(|byte| *byte == b'X').unwrap();
        answer[x] = 0xfc;
        peer.send(&answer).await?;
        peer.closed().await
    })
    .await;
    let directory = on_script(server.address());
    let answer = bind(&directory, "cn=x", &password("secret"), in_seconds(10))
        .await
        .unwrap();
    assert_eq!(answer.code, ResultCode::INVALID_CREDENTIALS);
    assert_eq!(answer.diagnostic, "falsches Passwort f?r J");
}

/// Matrix case 31: a byte now and then does not keep a call alive.
#[tokio::test]
async fn a_trickling_answer_ends_at_the_deadline() {
    let server = logins(|mut peer, bind| async move {
        // The pace is what this test is about: each byte comes well before the deadline, the last one never.
        let mut pace = tokio::time::interval(Duration::from_millis(5));
        for byte in ber::bind_response(bind.id, 0, "", &"x".repeat(10_000)) {
            pace.tick().await;
            peer.send(&[byte]).await?;
        }
        peer.closed().await
    })
    .await;
    let directory = on_script(server.address());
    let deadline = tokio::time::Instant::now() + Duration::from_millis(300);
    let error = bind(&directory, "cn=x", &password("secret"), deadline)
        .await
        .unwrap_err();
    assert_eq!(error.error, LdapError::Timeout);
}

/// Matrix case 38 and 40, on a bind connection.
#[tokio::test]
async fn a_bind_answer_may_not_be_large() {
    let server = logins(|mut peer, bind| async move {
        peer.send(&ber::bind_response(bind.id, 0, "", &"x".repeat(70_000)))
            .await?;
        peer.closed().await
    })
    .await;
    let directory = on_script(server.address());
    let error = bind(&directory, "cn=x", &password("secret"), in_seconds(10))
        .await
        .unwrap_err();
    assert_eq!(
        error.error,
        LdapError::Protocol(ProtocolViolation::MessageTooLarge { limit: 65536 })
    );
}
