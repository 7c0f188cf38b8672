//! Reminders by mail, through a real SMTP server, with the store on either engine.

use chrono::TimeDelta;
use rollcall_proto::v1;
use rollcall_proto::v1::ReportWhen;
use rollcall_testkit::{ReceivedMail, TestDatabase};

use crate::company::DIRECTORY;
use crate::harness::{mask, ok};
use crate::reports::{ADMIN_ADDRESS, Mailed, all_gone, mails};

const CONTACT: &str = "contact@example.org";

fn subject(mail: &ReceivedMail) -> &str {
    mail.header("Subject").unwrap()
}

async fn told_once_when_it_begins_once_when_it_ends_and_each_week(url: Option<&str>) {
    let Mailed {
        company,
        sink,
        start,
        clock,
        worker,
        mut clients,
    } = Mailed::start(ReportWhen::Never, url).await;
    let update = v1::UpdateDirectoryRequest {
        directory: Some(v1::Directory {
            name: DIRECTORY.into(),
            bind_password_max_age: Some(prost_types::Duration {
                seconds: 10 * 86_400,
                nanos: 0,
            }),
            ..v1::Directory::default()
        }),
        update_mask: mask(&["bind_password_max_age"]),
        ..Default::default()
    };
    ok(clients.directories.update_directory(update)).await;
    for day in [1, 9] {
        clock.set(start + TimeDelta::days(day));
        worker.clean_up().await;
    }
    all_gone(&worker).await;
    assert!(sink.mails().unwrap().is_empty(), "nothing is due");

    let begin = start + TimeDelta::days(11);
    clock.set(begin);
    worker.clean_up().await;
    let first = mails(&sink, 1).await.remove(0);
    assert_eq!(
        subject(&first),
        "[Rollcall] Head office: The bind password is due to be changed: it was last set on 2026-03-01"
    );
    assert_eq!(first.recipients, [ADMIN_ADDRESS]);
    assert!(first.defects.is_empty(), "{first:?}");
    assert!(
        first
            .text
            .contains("What to do: Keep a new password with RotateBindPassword")
    );
    for part in [&first.text, &first.html] {
        assert!(!part.contains("://"), "no links: {part}");
        assert!(part.contains(DIRECTORY), "{part}");
    }

    for night in 1..=6 {
        clock.set(begin + TimeDelta::days(night));
        worker.clean_up().await;
    }
    clock.set(begin + TimeDelta::days(7));
    worker.clean_up().await;
    let summary = mails(&sink, 2).await.remove(1);
    assert_eq!(subject(&summary), "[Rollcall] Weekly summary: 1 thing to see to");

    let rotate = v1::RotateBindPasswordRequest {
        name: DIRECTORY.into(),
        bind_password: company.slapd.service_password().into(),
        ..Default::default()
    };
    ok(clients.directories.rotate_bind_password(rotate)).await;
    let contacts = v1::UpdateDirectoryRequest {
        directory: Some(v1::Directory {
            name: DIRECTORY.into(),
            contact_addresses: vec![CONTACT.into()],
            ..v1::Directory::default()
        }),
        update_mask: mask(&["contact_addresses"]),
        ..Default::default()
    };
    ok(clients.directories.update_directory(contacts)).await;
    clock.set(begin + TimeDelta::days(8));
    worker.clean_up().await;
    let settled = mails(&sink, 3).await.remove(2);
    assert_eq!(subject(&settled), "[Rollcall] Head office: settled");
    assert_eq!(settled.recipients, [CONTACT], "the directory's own contacts");
    for night in 9..=12 {
        clock.set(begin + TimeDelta::days(night));
        worker.clean_up().await;
    }
    all_gone(&worker).await;
    assert_eq!(
        sink.mails().unwrap().len(),
        3,
        "and nothing else in all those nights"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reminder_is_told_once_when_it_begins_once_when_it_ends_and_each_week() {
    told_once_when_it_begins_once_when_it_ends_and_each_week(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reminder_is_told_once_on_postgresql_too() {
    let database = TestDatabase::new().unwrap();
    told_once_when_it_begins_once_when_it_ends_and_each_week(Some(database.url())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_does_not_answer_is_told_of_until_it_does() {
    let Mailed {
        mut company,
        sink,
        start,
        clock,
        worker,
        mut clients,
    } = Mailed::start(ReportWhen::Never, None).await;
    company.slapd.stop();
    crate::runs::run_to_rest(&mut clients, v1::SyncRunMode::Apply).await;
    clock.set(start + TimeDelta::minutes(61));
    worker.clean_up().await;
    let first = mails(&sink, 1).await.remove(0);
    assert_eq!(
        subject(&first),
        "[Rollcall] Head office: The directory has not answered since 2026-03-01 12:00 UTC"
    );
    company.slapd.start().unwrap();
    crate::runs::run_to_rest(&mut clients, v1::SyncRunMode::Apply).await;
    clock.set(start + TimeDelta::hours(3));
    worker.clean_up().await;
    let second = mails(&sink, 2).await.remove(1);
    assert_eq!(subject(&second), "[Rollcall] Head office: settled");
}
