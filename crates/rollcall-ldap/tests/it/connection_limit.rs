//! The connections of a process over all directories.

use std::sync::Arc;
use std::time::Duration;

use rollcall_ldap::{ConnectionLimit, DirectoryConfig, LdapDirectory, LdapError};
use rollcall_testkit::{ScriptedLdap, ber, wait_for};
use tokio::sync::Semaphore;

use crate::setup::*;

/// A directory of a process that may hold so many connections.
fn limited(server: &ScriptedLdap, connections: &ConnectionLimit) -> LdapDirectory {
    let address = server.address();
    LdapDirectory::new(DirectoryConfig {
        connections: connections.clone(),
        ..config(settings(&[format!("ldap://{address}")]), "service password")
    })
    .unwrap()
}

/// A server that finds nothing.
async fn server() -> ScriptedLdap {
    pages(|request, _| ber::search_done(request.id, 0, "")).await
}

async fn look(directory: &LdapDirectory) -> Result<(), LdapError> {
    directory
        .read_entry(&read("dc=x", &[]), in_seconds(10))
        .await
        .map(drop)
}

async fn holds(server: &ScriptedLdap, connections: usize) {
    wait_for("the connections", Duration::from_secs(10), async || {
        server.open_connections() == connections
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn the_connection_that_is_idle_longest_closes_whatever_directory_it_is_to() {
    let limit = ConnectionLimit::new(2);
    let servers = [server().await, server().await, server().await];
    let directories = servers.each_ref().map(|server| limited(server, &limit));
    look(&directories[0]).await.unwrap();
    look(&directories[1]).await.unwrap();
    // Used again: the other one is idle longer.
    look(&directories[0]).await.unwrap();
    look(&directories[2]).await.unwrap();
    for (server, open) in servers.iter().zip([1, 0, 1]) {
        holds(server, open).await;
    }
    for (directory, server) in directories.iter().zip(&servers).cycle().take(9) {
        look(directory).await.unwrap();
        let open: usize = servers.iter().map(ScriptedLdap::open_connections).sum();
        assert!(server.open_connections() == 1 && open <= 3, "{open} are open");
    }
}

#[tokio::test]
async fn whoever_finds_all_in_use_waits_for_one_and_learns_nothing_of_the_directory() {
    let limit = ConnectionLimit::new(1);
    let answers = Arc::new(Semaphore::new(0));
    let of_server = Arc::clone(&answers);
    let slow = ScriptedLdap::plain(move |mut peer| {
        let answers = Arc::clone(&of_server);
        async move {
            let search = after_bind(&mut peer).await?;
            answers.acquire().await?.forget();
            peer.send(&ber::search_done(search.id, 0, "")).await?;
            peer.closed().await
        }
    })
    .await
    .unwrap();
    let quick = server().await;
    let (first, second) = (limited(&slow, &limit), limited(&quick, &limit));
    let busy = tokio::spawn(async move { look(&first).await });
    wait_for("the search", Duration::from_secs(10), async || {
        slow.received().len() == 2
    })
    .await
    .unwrap();
    let soon = tokio::time::Instant::now() + Duration::from_millis(100);
    let refused = second.read_entry(&read("dc=x", &[]), soon).await;
    assert_eq!(refused, Err(LdapError::Exhausted));
    assert_eq!(usable(&second), [true]);
    assert_eq!(quick.connections(), 0);
    let (waited, ()) = tokio::join!(look(&second), async { answers.add_permits(1) });
    waited.unwrap();
    busy.await.unwrap().unwrap();
    holds(&slow, 0).await;
}

#[tokio::test]
async fn a_directory_gives_back_what_it_does_not_use() {
    let limit = ConnectionLimit::new(1);
    let (one, other) = (server().await, server().await);
    let (first, second) = (limited(&one, &limit), limited(&other, &limit));
    look(&first).await.unwrap();
    first.close_idle();
    holds(&one, 0).await;
    look(&second).await.unwrap();
    drop(second);
    holds(&other, 0).await;
    look(&first).await.unwrap();
}
