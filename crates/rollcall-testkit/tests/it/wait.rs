use rollcall_testkit::{wait_for, wait_for_blocking};
use std::time::Duration;

#[tokio::test]
async fn a_condition_that_comes_true_ends_the_wait() {
    let mut looks = 0;
    let wait = wait_for("three looks", Duration::from_secs(60), async || {
        looks += 1;
        looks == 3
    });
    wait.await.unwrap();
    assert_eq!(looks, 3);
}

#[test]
fn a_condition_that_stays_false_fails_by_name_after_a_last_look() {
    let mut looks = 0;
    let error = wait_for_blocking("the moon", Duration::ZERO, || {
        looks += 1;
        false
    });
    assert!(error.unwrap_err().to_string().contains("the moon"));
    assert_eq!(looks, 1);
}
