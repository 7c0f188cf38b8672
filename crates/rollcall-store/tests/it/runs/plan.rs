//! Plans: their chunks, what is listed of them, and what is taken out.

use rollcall_core::issue::{Issue, IssueKind};
use rollcall_core::plan::{Change, ChangeKind};
use rollcall_core::run::{PlanOutcome, PlanResult, RunCounts};
use rollcall_store::{Mailing, Page, PageRequest, StoreError};

use crate::engine::{Engine, on_both};
use crate::fixture::*;

on_both! {
    chunks_of_removals_come_first,
    changes_are_taken_out_of_a_plan,
    changes_and_issues_are_listed_in_pages,
}

pub(crate) fn plan(outcome: PlanOutcome) -> PlanResult {
    PlanResult {
        outcome,
        counts: RunCounts {
            entries: 10,
            ..RunCounts::default()
        },
        complete: true,
    }
}

async fn chunks_of_removals_come_first(engine: Engine) {
    let (store, token) = ready(&engine).await;
    let (key, id) = (staff(), run_id(1));
    store
        .create_run(&token, &key, new_run(1), None, at(1))
        .await
        .unwrap();
    store.begin_pull(&handle(&token, &key, id), 9).await.unwrap();
    let archive = |number| Change {
        kind: ChangeKind::Archive,
        changes: Vec::new(),
        ..creation(number, &format!("user{number}"))
    };
    let chunks = [
        vec![creation(1, "ada")],
        vec![archive(2), creation(3, "eve")],
        vec![archive(4)],
        vec![archive(5)],
    ];
    for (index, chunk) in (0..).zip(&chunks) {
        store
            .append_chunk(&handle(&token, &key, id), index, chunk)
            .await
            .unwrap();
    }
    let mut read = Vec::new();
    for index in 0..4 {
        read.push(store.read_chunk(&key, id, index).await.unwrap());
    }
    let [first, second, third, fourth] = chunks;
    let order = [third, fourth, first, second];
    assert_eq!(read, order);
    let listed = store.list_changes(&key, id, None, &all()).await.unwrap().items;
    assert_eq!(listed, order.concat());
}

async fn changes_are_taken_out_of_a_plan(engine: Engine) {
    let (store, token) = ready(&engine).await;
    let (key, id) = (staff(), run_id(1));
    store
        .create_run(&token, &key, new_run(1), None, at(1))
        .await
        .unwrap();
    store.begin_pull(&handle(&token, &key, id), 9).await.unwrap();
    let created = |number| creation(number, &format!("user{number}"));
    for (index, chunk) in (0..).zip([vec![created(1), created(2)], vec![created(3)], vec![created(4)]]) {
        store
            .append_chunk(&handle(&token, &key, id), index, &chunk)
            .await
            .unwrap();
    }
    let ids = [created(1), created(3), created(9)].map(|change| change.origin.external_id);
    let withdrawn = store
        .withdraw_changes(&handle(&token, &key, id), |change| {
            ids.contains(&change.origin.external_id)
        })
        .await
        .unwrap();
    assert_eq!(withdrawn, [created(1), created(3)]);
    let left = [vec![created(2)], vec![], vec![created(4)]];
    for (index, chunk) in (0..).zip(&left) {
        assert_eq!(&store.read_chunk(&key, id, index).await.unwrap(), chunk);
    }
    let kind = Some(ChangeKind::Create);
    let listed = store.list_changes(&key, id, kind, &all()).await.unwrap().items;
    assert_eq!(listed, left.concat());
    store
        .finish_plan(
            &handle(&token, &key, id),
            plan(PlanOutcome::Apply),
            &Mailing::default(),
            at(2),
        )
        .await
        .unwrap();
    let late = store.withdraw_changes(&handle(&token, &key, id), |_| false).await;
    assert!(matches!(late, Err(StoreError::NotInState)), "{late:?}");
    for (index, chunk) in (0..).zip(&left) {
        let outcome = store
            .apply_chunk(&handle(&token, &key, id), index, chunk, at(3))
            .await
            .unwrap();
        assert_eq!(outcome.applied, chunk.len() as u64);
    }
}

/// Everything that a list has, page by page.
async fn pages<T>(limit: u32, list: impl AsyncFn(&PageRequest) -> Result<Page<T>, StoreError>) -> Vec<T> {
    let mut items = Vec::new();
    let mut page = PageRequest::first(limit);
    loop {
        let part = list(&page).await.unwrap();
        items.extend(part.items);
        page.after = part.next;
        if page.after.is_none() {
            return items;
        }
    }
}

async fn changes_and_issues_are_listed_in_pages(engine: Engine) {
    let (store, token) = ready(&engine).await;
    let (key, id) = (staff(), run_id(1));
    store
        .create_run(&token, &key, new_run(1), None, at(1))
        .await
        .unwrap();
    store.begin_pull(&handle(&token, &key, id), 9).await.unwrap();
    let mut changes: Vec<_> = (1..=9)
        .map(|number| creation(number, &format!("user{number}")))
        .collect();
    changes[2].kind = ChangeKind::Archive;
    changes[8].kind = ChangeKind::Archive;
    for (index, chunk) in (0..).zip(changes.chunks(3)) {
        store
            .append_chunk(&handle(&token, &key, id), index, chunk)
            .await
            .unwrap();
    }
    let issues: Vec<Issue> = (0..5)
        .map(|number| {
            let kind = if number % 2 == 0 {
                IssueKind::LoginTaken
            } else {
                IssueKind::Overlap
            };
            let mut issue = Issue::new(kind, &format!("cn=\0{number}"), "message").about("uid", "value");
            issue.other_user_sync = (number == 1).then(|| sync_id("other"));
            issue
        })
        .collect();
    store
        .append_issues(&handle(&token, &key, id), &issues[..2])
        .await
        .unwrap();
    store
        .append_issues(&handle(&token, &key, id), &issues[2..])
        .await
        .unwrap();
    assert_eq!(
        store.run(&key, id).await.unwrap().issue_counts[&IssueKind::LoginTaken],
        3
    );
    let more = [(IssueKind::LoginTaken, 7), (IssueKind::RoleRuleFailed, 1)].into();
    store
        .count_issues(&handle(&token, &key, id), &more)
        .await
        .unwrap();
    let counts = store.run(&key, id).await.unwrap().issue_counts;
    assert_eq!(
        (counts[&IssueKind::LoginTaken], counts[&IssueKind::RoleRuleFailed]),
        (10, 1)
    );
    for limit in [1, 2, 4, 100] {
        let found = pages(limit, async |page| store.list_changes(&key, id, None, page).await).await;
        let archive = Some(ChangeKind::Archive);
        let archives = pages(limit, async |page| {
            store.list_changes(&key, id, archive, page).await
        })
        .await;
        let listed = pages(limit, async |page| store.list_issues(&key, id, None, page).await).await;
        let overlap = Some(IssueKind::Overlap);
        let overlaps = pages(limit, async |page| {
            store.list_issues(&key, id, overlap, page).await
        })
        .await;
        assert_eq!(found, changes, "{limit}");
        assert_eq!(archives, [changes[2].clone(), changes[8].clone()], "{limit}");
        assert_eq!(listed, issues, "{limit}");
        assert_eq!(overlaps, [issues[1].clone(), issues[3].clone()], "{limit}");
    }
}
