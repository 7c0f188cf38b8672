//! What does not depend on the command, and checks.

use rollcall_proto::v1::{CheckConnectionResponse, CheckOutcome, CheckReport, CheckStage, CheckStageKind};

use crate::worker::{Script, rollcallctl};

const DIRECTORY: &str = "tenants/acme/directories/main";

#[tokio::test]
async fn a_wrong_command_line_is_64_and_help_is_0() {
    for wrong in [
        &[][..],
        &["dance"],
        &["check-connection"],
        &["runs", "x", "--limit", "0"],
    ] {
        assert_eq!(rollcallctl(wrong, &[]).await.code, 64, "{wrong:?}");
    }
    let help = rollcallctl(&["--help"], &[]).await;
    assert_eq!(help.code, 0);
    assert!(
        help.out.contains("trigger-due") && help.out.contains("Exit codes"),
        "{}",
        help.out
    );
}

#[tokio::test]
async fn the_release_is_told_without_a_worker() {
    let told = rollcallctl(&["--endpoint", "http://127.0.0.1:1", "version"], &[]).await;
    assert_eq!(
        (told.code, told.out.trim()),
        (0, concat!("rollcallctl ", env!("CARGO_PKG_VERSION")))
    );
}

#[tokio::test]
async fn a_worker_that_cannot_be_reached_is_told_plainly() {
    // Bound and closed again, so that nobody listens there.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let ended = rollcallctl(&["--endpoint", &endpoint, "trigger-due"], &[]).await;
    assert_eq!(ended.code, 1);
    assert!(
        ended
            .err
            .starts_with(&format!("rollcallctl: cannot reach {endpoint}")),
        "{}",
        ended.err
    );
}

#[tokio::test]
async fn a_token_never_goes_over_an_open_network() {
    let token = [("ROLLCALL_TOKEN", "sesame")];
    let ended = rollcallctl(&["--endpoint", "http://192.0.2.1:1", "trigger-due"], &token).await;
    assert_eq!(ended.code, 1);
    assert_eq!(
        ended.err,
        "rollcallctl: a token needs an https endpoint (or --insecure)\n"
    );
}

#[tokio::test]
async fn https_needs_to_know_whom_to_trust() {
    let ended = rollcallctl(&["--endpoint", "https://127.0.0.1:1", "trigger-due"], &[]).await;
    assert_eq!(ended.err, "rollcallctl: an https endpoint needs --ca-file\n");
}

#[tokio::test]
async fn a_check_shows_its_stages_and_its_worst_outcome() {
    let stage = |kind: CheckStageKind, outcome: CheckOutcome, message: &str, hint: &str| CheckStage {
        kind: kind.into(),
        subject: "ldaps://dc1.example".to_owned(),
        outcome: outcome.into(),
        message: message.to_owned(),
        hint: hint.to_owned(),
        duration: None,
    };
    for (outcome, code) in [
        (CheckOutcome::Pass, 0),
        (CheckOutcome::Warn, 2),
        (CheckOutcome::Fail, 1),
    ] {
        let report = CheckReport {
            outcome: outcome.into(),
            stages: vec![stage(CheckStageKind::Tls, outcome, "TLS 1.3", "renew soon")],
            ..Default::default()
        };
        let script = Script {
            check: CheckConnectionResponse { report: Some(report) },
            ..Script::default()
        };
        let endpoint = script.start().await;
        let ended = rollcallctl(&["--endpoint", &endpoint, "check-connection", DIRECTORY], &[]).await;
        assert_eq!(ended.code, code, "{}", ended.err);
        assert!(
            ended
                .out
                .ends_with("TLS  ldaps://dc1.example  TLS 1.3  renew soon\n"),
            "{}",
            ended.out
        );
        assert_eq!(*script.seen.lock().unwrap(), ["tenants/acme"]);
    }
}
