//! The progress of a run, as one who looks at it sees it, and as one who had to connect again.

use rollcall_proto::v1::{self, SyncRunMode, SyncRunState};
use rollcall_testkit::Ldif;

use crate::company::staff;
use crate::directory_permits::read_elsewhere;
use crate::harness::{Clients, ok};
use crate::run_world::{World, people, units};
use crate::runs::run;

async fn watch(clients: &mut Clients, run: &str) -> tonic::Streaming<v1::WatchSyncRunResponse> {
    let request = v1::WatchSyncRunRequest { name: run.into() };
    ok(clients.runs.watch_sync_run(request)).await
}

/// How far a state is on the way.
fn place(state: SyncRunState) -> usize {
    let way = [
        SyncRunState::Pending,
        SyncRunState::Pulling,
        SyncRunState::Applying,
        SyncRunState::Succeeded,
    ];
    way.iter().position(|known| *known == state).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_connects_again_goes_on_where_the_run_is() {
    let mut ldif: Ldif = units();
    people(&mut ldif, "Staff", 99);
    let mut world = World::start(rollcall_testkit::Slapd::builder().ldif(ldif.as_str()), staff()).await;
    // Somebody else reads the directory, so that the run is seen from its beginning.
    let others = [
        read_elsewhere(&world.worker, "first").await,
        read_elsewhere(&world.worker, "second").await,
    ];
    let started = ok(world.clients.user_syncs.run_user_sync(run(SyncRunMode::Apply))).await;
    let mut first = watch(&mut world.clients, &started.name).await;
    let seen = first.message().await.unwrap().unwrap();
    assert_eq!(seen.sync_run.unwrap().state(), SyncRunState::Pending);
    assert_eq!(seen.progress.unwrap().done, 0);
    drop(first);

    let mut again = watch(&mut world.clients, &started.name).await;
    let seen = again.message().await.unwrap().unwrap();
    assert_eq!(
        seen.sync_run.unwrap().state(),
        SyncRunState::Pending,
        "told at once"
    );
    for (store, lease) in &others {
        store.release_lease(lease).await.unwrap();
    }
    let mut last = SyncRunState::Pending;
    let mut done = 0;
    let mut end = None;
    while let Some(message) = again.message().await.unwrap() {
        let run = message.sync_run.unwrap();
        assert!(
            place(run.state()) >= place(last),
            "{:?} after {last:?}",
            run.state()
        );
        if run.state() != last {
            done = 0;
        }
        last = run.state();
        assert_eq!(message.progress.is_some(), last != SyncRunState::Succeeded);
        if let Some(progress) = message.progress {
            assert!((done..=99).contains(&progress.done), "{progress:?} after {done}");
            done = progress.done;
        }
        end = Some(run);
    }
    let counts = end.unwrap().counts.unwrap();
    assert_eq!(
        (last, counts.created, counts.applied),
        (SyncRunState::Succeeded, 99, 99)
    );

    // A run that rests is told once.
    let mut rested = watch(&mut world.clients, &started.name).await;
    let seen = rested.message().await.unwrap().unwrap();
    assert_eq!(seen.sync_run.unwrap().state(), SyncRunState::Succeeded);
    assert_eq!((seen.progress, rested.message().await.unwrap()), (None, None));
}
