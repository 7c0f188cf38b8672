//! Directories that are open: shared, and kept for as long as somebody uses them.

use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use rollcall_core::dialect::Dialect;
use rollcall_core::directory::Directory;
use rollcall_core::id::{DirectoryId, TenantId};
use rollcall_core::secret::Password;
use rollcall_core::tenant::TenantSettings;
use rollcall_ldap::EgressPolicy;
use rollcall_runtime::clock::Clock;
use rollcall_service::directories::Directories;
use rollcall_service::failure;
use rollcall_store::{Keyring, NewSecrets, Recorded, Store, StoreOptions};
use rollcall_testkit::Slapd;
use tempfile::TempDir;
use tokio::time::{Instant, advance, pause, resume};

use crate::agreement::Access;

const KEYRING: &str = "k1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

struct World {
    slapd: Slapd,
    directories: Directories,
    directory: Directory,
    _files: TempDir,
}

async fn world() -> World {
    let slapd = Slapd::builder().start().unwrap();
    let access = Access::of_slapd(&slapd);
    let files = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", files.path().join("rollcall.db").display());
    let keyring = Keyring::parse(KEYRING).unwrap();
    let store = Store::connect(&url, keyring, StoreOptions::default())
        .await
        .unwrap();
    store.migrate().await.unwrap();
    let (tenant, id) = (
        TenantId::parse("acme").unwrap(),
        DirectoryId::parse("hq").unwrap(),
    );
    let of_tenant = TenantSettings {
        display_name: "Acme".into(),
        user_sync_enabled: true,
        verified_domains: Vec::new(),
    };
    let now = DateTime::UNIX_EPOCH;
    store
        .create_tenant(&tenant, &of_tenant, Recorded::by_nobody(now))
        .await
        .unwrap();
    let password = Password::new(access.bind_password.clone()).ok().unwrap();
    let secrets = NewSecrets {
        bind_password: Some(&password),
        client_key: None,
    };
    let settings = access.settings();
    let directory = store.create_directory(&tenant, &id, &settings, secrets, Recorded::by_nobody(now));
    let directory = directory.await.unwrap();
    let loopback = vec!["127.0.0.0/8".parse().unwrap()];
    let ports = vec![settings.hosts[0].effective_port(None)];
    let egress = EgressPolicy::new(loopback, ports);
    World {
        slapd,
        directories: Directories::new(store, Clock::System, egress, failure::for_login),
        directory,
        _files: files,
    }
}

/// The time goes on while nothing else does: the store has timers too.
async fn later(time: Duration) {
    pause();
    advance(time).await;
    resume();
}

#[tokio::test]
async fn whoever_asks_for_any_revision_uses_it_too() {
    let World {
        directories,
        directory,
        slapd: _slapd,
        ..
    } = &world().await;
    let opened = directories.open(directory).await.unwrap();
    for _ in 0..3 {
        later(Duration::from_secs(10 * 60)).await;
        directories.sweep();
        let again = directories.open_any(directory).await.unwrap();
        assert!(Arc::ptr_eq(&opened, &again));
    }
    later(Duration::from_secs(16 * 60)).await;
    directories.sweep();
    let anew = directories.open_any(directory).await.unwrap();
    assert!(!Arc::ptr_eq(&opened, &anew), "nobody has used it");
}

#[tokio::test]
async fn a_reader_of_an_old_revision_does_not_push_out_a_newer_one() {
    let World {
        directories,
        directory,
        slapd: _slapd,
        ..
    } = &world().await;
    let newer = Directory {
        revision: directory.revision.next(),
        ..directory.clone()
    };
    let opened = directories.open(&newer).await.unwrap();
    let old = directories.open(directory).await.unwrap();
    assert!(!Arc::ptr_eq(&opened, &old));
    assert!(Arc::ptr_eq(
        &opened,
        &directories.open_any(directory).await.unwrap()
    ));
    assert!(directories.host_status(&newer).is_some());
    assert!(directories.host_status(directory).is_none());
}

#[tokio::test]
async fn what_a_server_is_is_asked_once_a_minute_unless_a_check_has_seen_it() {
    let World {
        slapd,
        directories,
        directory,
        ..
    } = &world().await;
    let in_time = || Instant::now() + Duration::from_secs(20);
    let opened = directories.open(directory).await.unwrap();
    assert_eq!(opened.dialect(in_time()).await, Ok(Dialect::OpenLdap));
    assert_eq!(
        *opened.naming_contexts(in_time()).await.unwrap(),
        [slapd.base_dn()]
    );
    // Whoever knows it does not ask.
    slapd.pause().unwrap();
    let soon = || Instant::now() + Duration::from_millis(300);
    assert_eq!(opened.dialect(soon()).await, Ok(Dialect::OpenLdap));
    later(Duration::from_secs(61)).await;
    assert!(opened.dialect(soon()).await.is_err());
    let mut checked = directory.clone();
    checked.observed.dialect = Some(Dialect::Generic);
    let checked = directories.open(&checked).await.unwrap();
    assert_eq!(checked.dialect(soon()).await, Ok(Dialect::Generic));
    slapd.resume().unwrap();
    assert_eq!(opened.dialect(in_time()).await, Ok(Dialect::OpenLdap));
}
