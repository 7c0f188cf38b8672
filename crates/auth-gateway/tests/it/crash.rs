//! A gateway that is killed under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rollcall_proto::v1::AuthenticateRequest;
use rollcall_proto::v1::auth_service_client::AuthServiceClient;
use rollcall_proto::v1::authenticate_response::Outcome;
use rollcall_testkit::{Slapd, TestDatabase, wait_for};

use crate::binary::gateway;
use crate::world::{PASSWORD, World, request};

#[tokio::test(flavor = "multi_thread")]
async fn every_login_that_was_answered_is_in_the_audit_log_after_kill_nine_on_sqlite() {
    every_answer_is_recorded(World::without_gateway(Slapd::builder()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_login_that_was_answered_is_in_the_audit_log_after_kill_nine_on_postgresql() {
    every_answer_is_recorded(World::on_postgres(TestDatabase::new().unwrap()).await).await;
}

/// What a caller keeps sending, and how the audit log calls it.
#[derive(Clone, Copy)]
enum Caller {
    RightPassword,
    WrongPassword,
    UnknownLogin,
}

impl Caller {
    const ALL: [Self; 3] = [Self::RightPassword, Self::WrongPassword, Self::UnknownLogin];

    fn audited(self) -> &'static str {
        match self {
            Self::RightPassword => "AUTHENTICATED AUTHENTICATED",
            Self::WrongPassword => "DENIED INVALID_CREDENTIALS",
            Self::UnknownLogin => "DENIED UNKNOWN_LOGIN",
        }
    }

    fn request(self, caller: usize, number: usize) -> AuthenticateRequest {
        match self {
            Self::RightPassword => request("ada", PASSWORD),
            Self::WrongPassword => request("bob", &format!("guess {caller} {number}")),
            Self::UnknownLogin => request(&format!("nobody{caller}-{number}"), "x"),
        }
    }
}

const CALLERS: usize = 18;

async fn every_answer_is_recorded(world: World) {
    let limits = ["throttle.login_limit=1000", "throttle.max_login_limit=1000"];
    let mut gateway = gateway(&world, &limits).await;
    let answered: Arc<[AtomicUsize; 3]> = Arc::default();
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let (mut auth, answered) = (AuthServiceClient::new(gateway.channel.clone()), answered.clone());
            let kind = Caller::ALL[caller % 3];
            tokio::spawn(async move {
                for number in 0.. {
                    match auth.authenticate(kind.request(caller, number)).await {
                        Ok(answer) => assert_eq!(
                            matches!(answer.into_inner().outcome, Some(Outcome::Authenticated(_))),
                            matches!(kind, Caller::RightPassword)
                        ),
                        Err(_) => return,
                    }
                    answered[caller % 3].fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let busy = wait_for("the gateway is busy", Duration::from_secs(60), async || {
        answered.iter().all(|count| count.load(Ordering::SeqCst) >= 40)
    });
    busy.await.unwrap();
    gateway.child.kill().unwrap();
    gateway.child.wait().unwrap();
    for caller in callers {
        caller.await.unwrap();
    }
    let audit = world.audit().await;
    for (kind, answered) in Caller::ALL.into_iter().zip(answered.iter()) {
        let recorded = audit.iter().filter(|event| *event == kind.audited()).count();
        let answered = answered.load(Ordering::SeqCst);
        let name = kind.audited();
        assert!(
            recorded >= answered,
            "{name}: {answered} were answered, {recorded} recorded"
        );
        // Those that were under way.
        assert!(
            recorded <= answered + CALLERS / 3,
            "{name}: {answered} were answered, {recorded} recorded"
        );
    }
}
