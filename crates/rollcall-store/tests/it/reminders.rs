//! What is remembered of reminders, and the mails that go with it.

use chrono::TimeDelta;
use rollcall_core::reminder::Remembered;
use rollcall_store::{Mailing, NewMail, Recorded, Reminders};

use crate::engine::{Engine, on_both};
use crate::fixture::*;

on_both! {
    each_tenant_is_looked_at_by_one_replica_at_a_time,
    what_is_told_and_its_mails_are_kept_together,
    a_budget_that_does_not_reach_leaves_all_for_another_day,
    what_no_budget_of_a_day_reaches_for_is_sent_over_several,
}

fn remembered(key: &str) -> Remembered {
    Remembered {
        key: key.into(),
        stage: 7,
        message: "It ends.".into(),
        tell_time: at(3),
        open: true,
        quiet: false,
    }
}

fn mailing(mails: u32, per_day: u32) -> Mailing {
    let mail = |number| NewMail {
        id: format!("acme.reminder-{number}"),
        to: vec!["admin@example.org".into()],
        subject: "Look".into(),
        text: "Look".into(),
        html: "Look".into(),
    };
    Mailing {
        mails: (0..mails).map(mail).collect(),
        per_day,
        ..Mailing::default()
    }
}

async fn tenant(engine: &Engine, ids: &[&str]) -> rollcall_store::Store {
    let store = engine.store().await;
    for id in ids {
        let record = Recorded::by_nobody(at(0));
        store
            .create_tenant(&tenant_id(id), &tenant_settings(&[]), record)
            .await
            .unwrap();
    }
    store
}

async fn each_tenant_is_looked_at_by_one_replica_at_a_time(engine: Engine) {
    let store = tenant(&engine, &["acme", "globex", "initech"]).await;
    let next = at(0) + TimeDelta::hours(1);
    let asking = (0..6).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.claim_reminder_looks(1, next, at(0)).await.unwrap() })
    });
    let mut claimed = Vec::new();
    for asked in asking.collect::<Vec<_>>() {
        claimed.extend(asked.await.unwrap());
    }
    while let [tenant] = store
        .claim_reminder_looks(1, next, at(0))
        .await
        .unwrap()
        .as_slice()
    {
        claimed.push(tenant.clone());
    }
    claimed.sort();
    assert_eq!(claimed, ["acme", "globex", "initech"].map(tenant_id));
    assert!(
        store
            .claim_reminder_looks(9, next, at(3_599))
            .await
            .unwrap()
            .is_empty()
    );
    let far = at(0) + TimeDelta::days(900);
    assert_eq!(
        store.claim_reminder_looks(3, far, at(3_600)).await.unwrap().len(),
        3
    );
    let again = store.claim_reminder_looks(9, next, at(3_601)).await.unwrap();
    assert_eq!(again.len(), 3, "a clock that was ahead keeps nobody waiting");
}

async fn what_is_told_and_its_mails_are_kept_together(engine: Engine) {
    let store = tenant(&engine, &["acme"]).await;
    assert_eq!(store.reminders(&acme()).await.unwrap(), Reminders::default());
    let ended = Remembered {
        open: false,
        ..remembered("b")
    };
    let quiet = Remembered {
        quiet: true,
        ..remembered("c")
    };
    let kept = Reminders {
        known: vec![remembered("a"), ended, quiet],
        week: Some(at(9)),
    };
    assert!(
        store
            .remind(&acme(), &kept, &[mailing(2, 9)], at(9))
            .await
            .unwrap()
    );
    assert_eq!(store.reminders(&acme()).await.unwrap(), kept);
    assert_eq!(store.claim_mail(9, TTL, at(9)).await.unwrap().len(), 2);
    assert!(
        store
            .remind(&acme(), &Reminders::default(), &[], at(10))
            .await
            .unwrap()
    );
    assert_eq!(store.reminders(&acme()).await.unwrap(), Reminders::default());
    assert!(
        store
            .remind(&tenant_id("nobody"), &kept, &[], at(10))
            .await
            .unwrap()
    );
    assert_eq!(
        store.reminders(&tenant_id("nobody")).await.unwrap(),
        Reminders::default()
    );
}

async fn a_budget_that_does_not_reach_leaves_all_for_another_day(engine: Engine) {
    let store = tenant(&engine, &["acme"]).await;
    let kept = Reminders {
        known: vec![remembered("a")],
        week: Some(at(9)),
    };
    assert_eq!(
        store.enqueue_mails(&acme(), &mailing(2, 3), at(9)).await.unwrap(),
        0
    );
    assert!(
        !store
            .remind(&acme(), &kept, &[mailing(2, 3)], at(9))
            .await
            .unwrap()
    );
    assert_eq!(store.reminders(&acme()).await.unwrap(), Reminders::default());
    assert_eq!(
        store.claim_mail(9, TTL, at(9)).await.unwrap().len(),
        2,
        "those before"
    );
    assert!(
        store
            .remind(&acme(), &kept, &[mailing(5, 3)], at(9))
            .await
            .unwrap(),
        "no day has room for so many"
    );
    assert_eq!(store.reminders(&acme()).await.unwrap(), kept);
}

async fn what_no_budget_of_a_day_reaches_for_is_sent_over_several(engine: Engine) {
    let store = tenant(&engine, &["acme"]).await;
    let kept = Reminders {
        known: vec![remembered("a")],
        week: Some(at(9)),
    };
    assert_eq!(
        store.enqueue_mails(&acme(), &mailing(1, 2), at(9)).await.unwrap(),
        0
    );
    assert!(
        store
            .remind(&acme(), &kept, &[mailing(4, 2)], at(9))
            .await
            .unwrap()
    );
    assert_eq!(store.reminders(&acme()).await.unwrap(), kept);
    let mut sent = Vec::new();
    for day in 0..4 {
        let due = at(9) + TimeDelta::days(day);
        let mails = store.claim_mail(9, TTL, due).await.unwrap();
        sent.push(mails.len());
        for mail in mails {
            store.finish_mail(mail.position).await.unwrap();
        }
    }
    assert_eq!(sent, [2, 2, 1, 0]);
    // Those days are paid for: of the third one mail is left.
    for withheld in [2, 2, 1] {
        let later = store.enqueue_mails(&acme(), &mailing(2, 2), at(9)).await.unwrap();
        assert_eq!(later, withheld);
        engine.sql("UPDATE mail_budgets SET day = day - 1").await;
    }
}
