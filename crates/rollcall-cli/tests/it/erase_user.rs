//! Erasing a person, with who asks for it and why.

use crate::worker::{Script, rollcallctl};

const ADA: &str = "tenants/acme/users/00000000-0000-0000-0000-000000000001";

#[tokio::test(flavor = "multi_thread")]
async fn it_says_who_asks_and_why() {
    let script = Script::default();
    let endpoint = script.start().await;
    let arguments = [
        "erase-user",
        ADA,
        "--exclude",
        "--gateway",
        &endpoint,
        "--actor",
        "sam@example.com",
        "--reason",
        "ticket 12",
    ];
    let ended = rollcallctl(&arguments, &[]).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(
        ended.out.starts_with(ADA) && ended.out.contains("erased"),
        "{}",
        ended.out
    );
    let seen = script.seen.lock().unwrap().clone();
    assert_eq!(
        seen,
        [format!("{ADA} exclude: true, by sam@example.com: ticket 12")]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_reason_nobody_is_asked() {
    let script = Script::default();
    let endpoint = script.start().await;
    let ended = rollcallctl(&["erase-user", ADA, "--gateway", &endpoint], &[]).await;
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("--reason"), "{}", ended.err);
    assert!(script.seen.lock().unwrap().is_empty());
}
