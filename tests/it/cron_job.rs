//! What a CronJob runs, against a real worker: one line a sync, and an exit code that tells the worst.

use std::process::{Command, Output};

use anyhow::{Context, Result};
use rollcall_proto::v1;
use rollcall_testkit::{Ldif, Slapd, TestCa};
use system_tests::{Backend, System, binary, directory_of, sync_of};

use crate::company::{BASE, people_dn, person};

const TENANT: &str = "tenants/acme";
const DIRECTORY: &str = "tenants/acme/directories/hq";
const SYNC: &str = "tenants/acme/userSyncs/staff";
const PEOPLE: usize = 30;

async fn company() -> Result<(TestCa, Slapd)> {
    let (ca, mut ldif) = (TestCa::new()?, Ldif::new());
    ldif.entry(&people_dn())
        .attribute("objectClass", "organizationalUnit")
        .attribute("ou", "People");
    for number in 0..PEOPLE {
        let uid = format!("person{number}");
        person(&mut ldif, &uid, &format!("{uid}@example.test"), "x");
    }
    let builder = Slapd::builder()
        .base_dn(BASE)
        .certificate(ca.loopback_server()?)
        .ldif(ldif.as_str());
    let slapd = tokio::task::spawn_blocking(move || builder.start()).await??;
    Ok((ca, slapd))
}

/// Makes the sync due, runs what is due, and says how that ended.
async fn night(system: &System) -> Result<(i32, String)> {
    let database = system.database.as_ref().context("no database")?;
    database.sql("UPDATE user_syncs SET next_run_time = 1")?;
    let mut command = Command::new(binary("rollcallctl")?);
    let endpoint = format!("http://{}", system.worker.address());
    command.args(["--endpoint", &endpoint, "trigger-due"]);
    let ended = tokio::task::spawn_blocking(move || command.output()).await?;
    let Output { status, stdout, .. } = ended?;
    let code = status.code().context("no exit code")?;
    Ok((code, String::from_utf8(stdout)?))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cron_job_tells_what_came_of_the_night() -> Result<()> {
    let (ca, mut slapd) = company().await?;
    // Else the scheduler may be faster than the job.
    let system = System::start_without_scheduler(Backend::Postgres, &[slapd.tls_address().port()]).await?;
    let nightly = v1::UserSync {
        auto_sync: true,
        ..sync_of(DIRECTORY, &people_dn())
    };
    system
        .connect_with(TENANT, directory_of(&slapd, &ca), nightly)
        .await?;

    let (code, told) = night(&system).await?;
    assert_eq!(code, 0, "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(told.starts_with(&format!("{SYNC}/runs/")), "{told}");
    let ends = format!("SUCCEEDED  entries={PEOPLE}  created={PEOPLE}");
    assert!(told.contains(&ends), "{told}");

    // Half of the company is gone: somebody has to look.
    for number in 0..PEOPLE / 2 {
        slapd.delete(&format!("uid=person{number},{}", people_dn()))?;
    }
    let (code, told) = night(&system).await?;
    assert_eq!(code, 2, "{told}");
    assert!(told.contains("HELD"), "{told}");

    slapd.stop();
    let (code, told) = night(&system).await?;
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("FAILED"), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    Ok(())
}
