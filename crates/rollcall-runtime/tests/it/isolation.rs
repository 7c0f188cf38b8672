//! What goes wrong in one call stays there.

use tonic::Code;

use crate::probe_service::{call, read};
use crate::running::Running;

#[tokio::test]
async fn a_panicking_handler_answers_internal_and_harms_no_other_call() {
    let server = Running::start("").await;
    let channel = server.connect().await;
    let waiting = tokio::spawn({
        let channel = channel.clone();
        async move { call(&channel, "Wait", None).await }
    });
    server.handlers.arrived.acquire().await.unwrap().forget();

    let status = call(&channel, "Panic", None).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(!status.message().contains("a handler's panic"), "{status}");
    let (texts, status) = read(&channel, "PanicInStream").await;
    assert_eq!((texts, status.code()), (vec!["one".to_owned()], Code::Internal));

    server.handlers.released.add_permits(1);
    assert_eq!(waiting.await.unwrap().unwrap(), "released");
}

#[tokio::test]
async fn a_call_without_a_deadline_gets_the_default() {
    let server = Running::start("[server]\ndefault_timeout = \"30m\"").await;
    let seconds: u64 = call(&server.connect().await, "SecondsLeft", None)
        .await
        .unwrap()
        .parse()
        .unwrap();
    assert!((1_700..=1_800).contains(&seconds), "{seconds}");
}
