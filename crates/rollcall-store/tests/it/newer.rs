//! Rows of the next release, whose words this one does not know: while a deployment rolls on or back, both read them.

use std::time::Duration;

use rollcall_core::check::{CheckReport, Stage, StageKind, StageResult};
use rollcall_core::feed::Mark;
use rollcall_core::guard::Watched;
use rollcall_core::issue::{Issue, IssueKind};
use rollcall_store::{CheckSubject, Mailing, Recorded, UserFilter};

use crate::engine::{Engine, on_both};
use crate::fixture::*;

on_both! {
    words_of_the_next_release_are_read_and_stay_as_they_are,
}

async fn words_of_the_next_release_are_read_and_stay_as_they_are(engine: Engine) {
    let (store, token) = ready(&engine).await;
    let id = planned(&store, &token, 1, &[&[creation(1, "ada")]]).await;
    let run = handle(&token, &staff(), id);
    let issue = [Issue::new(IssueKind::Overlap, "cn=x", "x")];
    store.append_issues(&run, &issue).await.unwrap();
    store
        .apply_chunk(&run, 0, &[creation(1, "ada")], at(3))
        .await
        .unwrap();
    let report = CheckReport {
        stages: vec![Stage {
            kind: StageKind::Dns,
            subject: String::new(),
            result: StageResult::Pass,
            duration: Duration::ZERO,
            message: String::new(),
            hint: String::new(),
        }],
    };
    let subject = CheckSubject::UserSync(sync_id("staff"));
    store.save_check(&acme(), &subject, &report, at(4)).await.unwrap();
    for sql in [
        "UPDATE users SET state = 'DEACTIVATED', state_reason = 'ON_LEAVE'",
        "UPDATE user_events SET event_type = 'PROMOTED'",
        "UPDATE sync_runs SET initiator = 'WEBHOOK', issue_counts = '{\"FULL_MOON\":2}',
            hold_reasons = '[{\"rule\":\"SALARIES\",\"message\":\"too high\"}]'",
        "UPDATE sync_run_issues SET kind = 'FULL_MOON'",
        "UPDATE guard_counts SET watched = 'SALARY' WHERE watched = 'GROWTH'",
        "INSERT INTO guard_counts (tenant, user_sync, minute, watched, count)
            VALUES ('acme', 'staff', 28333334, 'SALARY', 5)",
        "UPDATE check_results SET report = REPLACE(report, 'DNS', 'DOWSING')",
    ] {
        engine.sql(sql).await;
    }
    let word = |user: &rollcall_core::user::User| user.state_reason.unwrap().word();
    let users = store
        .list_users(&acme(), &UserFilter::default(), &all())
        .await
        .unwrap();
    assert_eq!(word(&users.items[0]), "ON_LEAVE");
    let events = store.list_events(Some(&acme()), Mark::START, 10).await.unwrap();
    assert_eq!(events[0].event_type.word(), "PROMOTED");
    let runs = store.list_runs(&staff(), &all()).await.unwrap().items;
    assert_eq!(runs[0].trigger.word(), "WEBHOOK");
    assert_eq!(runs[0].hold_reasons[0].rule.unwrap().word(), "SALARIES");
    let counts: Vec<_> = runs[0]
        .issue_counts
        .iter()
        .map(|(kind, count)| (kind.word(), *count))
        .collect();
    assert_eq!(counts, [("FULL_MOON", 2)]);
    let issues = store.list_issues(&staff(), id, None, &all()).await.unwrap().items;
    assert_eq!(issues[0].kind.word(), "FULL_MOON");
    let recent = store
        .recent_changes(&acme(), &sync_id("staff"), at(0))
        .await
        .unwrap();
    assert_eq!(recent.of(&Watched::Growth), 0);
    let (_, check) = store.last_check(&acme(), &subject).await.unwrap().unwrap();
    assert_eq!(check.stages[0].kind.word(), "DOWSING");
    // What writes the rest of a row leaves such a word as it is.
    store
        .block_user(&acme(), user_id(1), None, "keys lost", Recorded::by_nobody(at(9)))
        .await
        .unwrap();
    let user = store.user(&acme(), user_id(1)).await.unwrap();
    assert_eq!(word(&user), "ON_LEAVE");
    let events = store
        .list_events(Some(&acme()), events[0].mark(), 10)
        .await
        .unwrap();
    assert_eq!(word(events[0].after.as_ref().unwrap()), "ON_LEAVE");
    store
        .end_run(
            &run,
            ended(rollcall_core::run::RunState::Succeeded),
            &Mailing::default(),
            at(10),
        )
        .await
        .unwrap();
    let run = store.run(&staff(), id).await.unwrap();
    assert_eq!(run.trigger.word(), "WEBHOOK");
    assert_eq!(run.issue_counts.keys().next().unwrap().word(), "FULL_MOON");
}
