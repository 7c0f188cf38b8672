//! Callers and certificates are taken up anew at SIGHUP, and no call is lost.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rollcall_runtime::config::{ConfigArguments, from_process};
use rollcall_runtime::reload::Reload;
use tonic::transport::Channel;

use crate::callers::caller_with_token;
use crate::certificates::Authority;
use crate::probe_service::call;
use crate::running::{NoSections, PATIENCE, Running};

fn arguments(file: &Path) -> ConfigArguments {
    ConfigArguments {
        config: Some(file.to_owned()),
        ..ConfigArguments::default()
    }
}

fn hang_up() {
    let own = std::process::id().to_string();
    let sent = std::process::Command::new("kill").args(["-HUP", &own]).status();
    assert!(sent.unwrap().success());
}

async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let holding = async {
        while !holds().await {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, holding).await.unwrap();
}

/// Calls without a pause until it is told to stop; every call must succeed.
async fn load(channel: Channel, stop: Arc<AtomicBool>, calls: Arc<AtomicU64>) {
    while !stop.load(Ordering::Relaxed) {
        assert_eq!(
            call(&channel, "WhoAmI", Some("lasting")).await.unwrap(),
            "lasting"
        );
        calls.fetch_add(1, Ordering::Relaxed);
    }
}

/// One test, since SIGHUP is the whole process's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hang_up_replaces_callers_and_certificates_under_load() {
    let (first, second) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("service.toml");
    let write = |callers: &[&str], authority: &Authority| {
        let callers: String = callers
            .iter()
            .map(|name| caller_with_token(name, name, ""))
            .collect();
        std::fs::write(&file, callers + &authority.server_section()).unwrap();
    };
    write(&["lasting", "old"], &first);
    let loaded = from_process::<NoSections>(&arguments(&file)).unwrap_or_else(|m| panic!("{m}"));
    let reload = Reload::prepare(&loaded, &arguments(&file)).unwrap();
    let server = Running::with(&loaded.shared, |server| {
        reload.follow(server, |_| async { Ok(()) })
    })
    .await;
    let connect = async |authority: &Authority| {
        let endpoint = server.endpoint("https").tls_config(authority.client()).unwrap();
        endpoint.connect().await
    };
    let channel = connect(&first).await.unwrap();
    assert_eq!(call(&channel, "WhoAmI", Some("old")).await.unwrap(), "old");

    let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let loads: Vec<_> = (0..4)
        .map(|_| tokio::spawn(load(channel.clone(), stop.clone(), calls.clone())))
        .collect();

    write(&["lasting", "new"], &second);
    hang_up();
    until(async || call(&channel, "WhoAmI", Some("new")).await.is_ok()).await;
    assert!(call(&channel, "WhoAmI", Some("old")).await.is_err());
    assert!(
        connect(&first).await.is_err(),
        "the old certificate is shown still"
    );
    let anew = connect(&second).await.unwrap();
    assert_eq!(call(&anew, "WhoAmI", Some("lasting")).await.unwrap(), "lasting");

    // Mistakes, a file cut short, and one that would let anybody in: everything stays as it was, and the next good file
    // is taken up.
    let bad = [
        "[[callers]]\nname = \"x\"\n",
        "][",
        "",
        "[server]\ntls_key_file = \"none\"\n",
    ];
    for (round, text) in bad.iter().enumerate() {
        std::fs::write(&file, text).unwrap();
        hang_up();
        let before = calls.load(Ordering::Relaxed);
        until(async || calls.load(Ordering::Relaxed) > before + 100).await;
        let newest = if round == 0 {
            "new".to_owned()
        } else {
            format!("round{}", round - 1)
        };
        assert_eq!(call(&anew, "WhoAmI", Some(&newest)).await.unwrap(), newest);
        let next = format!("round{round}");
        write(&["lasting", &next], &second);
        hang_up();
        until(async || call(&anew, "WhoAmI", Some(&next)).await.is_ok()).await;
    }
    stop.store(true, Ordering::Relaxed);
    for load in loads {
        load.await.unwrap();
    }
}
