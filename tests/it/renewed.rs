//! Secrets are replaced under load, without a restart and without a lost login: the keyring, the user of the database, and what
//! the gateway and the worker show to each other. What does not fit is refused with words, and the old one stays.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use rollcall_proto::v1;
use rollcall_testkit::{SmtpSink, TestCa, wait_for};
use system_tests::{Backend, Service, binary};

use crate::balancer::{Balancer, Load};
use crate::crowd::Crowd;
use crate::observed::metrics;

const PEOPLE: usize = 20;
const PATIENCE: Duration = Duration::from_secs(60);
/// What the services say when they have taken other secrets up, and when they have not.
const TAKEN: &str = "the secrets are used as they are now";
const KEPT: &str = "the service goes on with the secrets that it has";

fn key(id: &str, byte: u8) -> String {
    format!(
        "{id} {}\n",
        base64::engine::general_purpose::STANDARD.encode([byte; 32])
    )
}

fn hang_up(service: &Service) -> Result<()> {
    let pid = service.pid().to_string();
    let sent = std::process::Command::new("kill").args(["-HUP", &pid]).status()?;
    ensure!(sent.success(), "no SIGHUP");
    Ok(())
}

/// Writes a file, has both services read it, and waits until each has said so once more.
async fn renew(crowd: &Crowd, file: &Path, text: &str, said: &str) -> Result<()> {
    std::fs::write(file, text)?;
    reread(&crowd.system.gateway, said).await?;
    reread(&crowd.system.worker, said).await
}

/// Has a service read its files, and waits until it has said this once more.
async fn reread(service: &Service, said: &str) -> Result<()> {
    let count = || service.log().matches(said).count();
    let before = count();
    hang_up(service)?;
    wait_for(said, PATIENCE, async || count() > before)
        .await
        .with_context(|| service.log())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keyring_and_credentials_are_replaced_under_load() -> Result<()> {
    let mut crowd = Crowd::start(Backend::Postgres, PEOPLE).await?;
    crowd.system.run(&crowd.sync(), v1::SyncRunMode::Apply).await?;
    let (keys, url_file) = (
        crowd.system.files.path().join("keys"),
        crowd.system.files.path().join("url"),
    );
    let first = crowd
        .system
        .database
        .as_ref()
        .context("no database")?
        .url()
        .to_owned();
    std::fs::write(&url_file, &first)?;
    for name in ["worker", "gateway"] {
        let config = crowd.system.config(name);
        let text = std::fs::read_to_string(&config)?;
        let named = format!("url_file = \"{}\"", url_file.display());
        std::fs::write(&config, text.replace(&format!("url = \"{first}\""), &named))?;
    }
    crowd.replace_worker()?;
    crowd.system.gateway.kill()?;
    // The worker has another port now.
    let config = crowd.system.config("gateway");
    let text = std::fs::read_to_string(&config)?;
    let (head, _) = text.split_once("[worker]").context("no worker")?;
    let endpoint = format!(
        "{head}[worker]\nendpoint = \"http://{}\"\n",
        crowd.system.worker.address()
    );
    std::fs::write(&config, endpoint)?;
    crowd.system.gateway = Service::start("auth-gateway", &config)?;

    let balancer = Balancer::default();
    balancer.add(&crowd.system.gateway).await?;
    let load = Load::start(&balancer, crowd.login_of(PEOPLE));

    let (old, new) = (key("test", 7), key("new", 8));
    renew(&crowd, &keys, &format!("{old}{new}"), TAKEN).await?;
    renew(&crowd, &keys, &format!("{new}{old}"), TAKEN).await?;
    let mut rotate = tokio::process::Command::new(binary("sync-worker")?);
    rotate
        .arg("--config")
        .arg(crowd.system.config("worker"))
        .arg("rotate-keys");
    let rotated = rotate.output().await?;
    ensure!(
        rotated.status.success(),
        "{}",
        String::from_utf8_lossy(&rotated.stderr)
    );
    renew(&crowd, &keys, &new, TAKEN).await?;
    // A key by an id that is known, and none that opens what is sealed.
    renew(&crowd, &keys, &key("new", 9), KEPT).await?;
    renew(&crowd, &keys, &old, KEPT).await?;
    renew(&crowd, &keys, &new, TAKEN).await?;

    let database = crowd.system.database.as_ref().context("no database")?;
    let role = format!("second_{}", std::process::id());
    database.sql(&format!("create role {role} superuser login"))?;
    let (_, place) = first.split_once('@').context("no user")?;
    let second = format!("postgres://{role}@{place}");
    renew(
        &crowd,
        &url_file,
        "postgres://nobody_at_all@127.0.0.1:1/nothing",
        KEPT,
    )
    .await?;
    renew(&crowd, &url_file, &second, TAKEN).await?;
    load.goes_on(PEOPLE).await?;
    load.end().await?;

    // Connections of the first user end; new ones are the second's.
    database.sql(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity
         where datname = current_database() and pid <> pg_backend_pid() and application_name = 'rollcall'",
    )?;
    // Each connection of the pool that has gone is found out by a call that fails.
    wait_for("a run over new connections", PATIENCE, async || {
        let run = crowd.system.run(&crowd.sync(), v1::SyncRunMode::Apply).await;
        run.is_ok_and(|run| run.state() == v1::SyncRunState::Succeeded)
    })
    .await?;
    let connected = format!("select count(*) from pg_stat_activity where usename = '{role}'");
    ensure!(
        database.sql(&connected)?.trim() != "0",
        "nobody connects as the second"
    );
    drop(crowd);
    Ok(())
}

/// The files by which gateway and worker know each other.
struct Acquaintance {
    crowd: Crowd,
    worker: String,
    gateway: String,
}

impl Acquaintance {
    fn file(&self, name: &str) -> PathBuf {
        self.crowd.system.files.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        Ok(std::fs::write(self.file(name), text)?)
    }

    /// Who may call the worker from now on.
    async fn know(&self, callers: &[String]) -> Result<()> {
        let config = self.crowd.system.config("worker");
        std::fs::write(&config, callers.concat() + &self.worker)?;
        reread(&self.crowd.system.worker, TAKEN).await
    }

    /// With what the gateway goes to the worker from now on.
    async fn go_with(&self, keys: &str, said: &str) -> Result<()> {
        let config = self.crowd.system.config("gateway");
        std::fs::write(&config, format!("{}{keys}", self.gateway))?;
        reread(&self.crowd.system.gateway, said).await
    }

    /// A login whose entry has changed shows the change, so the worker was asked and has answered.
    async fn a_user_is_renewed(&self, name: &str) -> Result<()> {
        self.crowd.rename_all(name).await?;
        let request = v1::AuthenticateRequest {
            tenant: self.crowd.tenant.clone(),
            login: "p0000".to_owned(),
            password: "secret".to_owned(),
            ..v1::AuthenticateRequest::default()
        };
        let answer = self.crowd.system.auth().await?.authenticate(request).await?;
        let answer = format!("{:?}", answer.into_inner());
        ensure!(answer.contains(&format!("p0000 {name}")), "{name}: {answer}");
        Ok(())
    }
}

/// A caller of the worker that may renew users.
fn caller(name: &str, shows: &str) -> String {
    format!("[[callers]]\nname = \"{name}\"\n{shows}\npermissions = [\"runs\"]\ntenants = [\"*\"]\n")
}

fn token(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    caller(text, &format!("token_sha256 = \"{hex}\""))
}

fn certificate(name: &str) -> String {
    caller(name, &format!("certificate_name = \"{name}\""))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_gateway_and_worker_show_each_other_is_replaced_under_load() -> Result<()> {
    let crowd = Crowd::start(Backend::Sqlite, PEOPLE).await?;
    crowd.system.run(&crowd.sync(), v1::SyncRunMode::Apply).await?;
    let (worker, gateway) = (crowd.system.config("worker"), crowd.system.config("gateway"));
    let mut it = Acquaintance {
        worker: std::fs::read_to_string(worker)?,
        gateway: std::fs::read_to_string(gateway)?,
        crowd,
    };
    let (first, second) = (TestCa::new()?, TestCa::new()?);
    let show = |it: &Acquaintance, ca: &TestCa| -> Result<()> {
        let certificate = ca.loopback_server()?;
        it.write("worker.key", &certificate.key_pem)?;
        it.write("worker.pem", &certificate.certificate_pem)
    };
    show(&it, &first)?;
    it.write("callers.pem", &first.pem())?;
    it.write("ca.pem", &first.pem())?;
    it.write("token", "one")?;
    it.worker = it.worker.replace(
        "[server]\n",
        &format!(
            "[server]\ntls_certificate_file = {:?}\ntls_key_file = {:?}\nclient_ca_file = {:?}\n",
            it.file("worker.pem"),
            it.file("worker.key"),
            it.file("callers.pem")
        ),
    );
    std::fs::write(it.crowd.system.config("worker"), token("one") + &it.worker)?;
    it.crowd.replace_worker()?;
    let (head, _) = it.gateway.split_once("[worker]").context("no worker")?;
    it.gateway = format!(
        "{head}[health]\nlisten = \"127.0.0.1:0\"\n[worker]\nendpoint = \"https://{}\"\nca_file = {:?}\n",
        it.crowd.system.worker.address(),
        it.file("ca.pem")
    );
    let by_token = format!("token_file = {:?}\n", it.file("token"));
    let config = it.crowd.system.config("gateway");
    std::fs::write(&config, format!("{}{by_token}", it.gateway))?;
    it.crowd.system.gateway.kill()?;
    it.crowd.system.gateway = Service::start("auth-gateway", &config)?;
    it.a_user_is_renewed("by the first token").await?;

    let balancer = Balancer::default();
    balancer.add(&it.crowd.system.gateway).await?;
    let load = Load::start(&balancer, it.crowd.login_of(PEOPLE));
    it.know(&[token("one"), token("two")]).await?;
    it.write("token", "two")?;
    reread(&it.crowd.system.gateway, TAKEN).await?;
    it.know(&[token("two")]).await?;
    it.a_user_is_renewed("by the second token").await?;

    // The worker's certificate is another authority's.
    it.write("ca.pem", &(first.pem() + &second.pem()))?;
    reread(&it.crowd.system.gateway, TAKEN).await?;
    show(&it, &second)?;
    reread(&it.crowd.system.worker, TAKEN).await?;
    it.write("ca.pem", &second.pem())?;
    reread(&it.crowd.system.gateway, TAKEN).await?;
    it.a_user_is_renewed("by the second authority").await?;

    // Certificates in place of the token, and then another certificate.
    it.know(&[
        token("two"),
        certificate("gateway.one"),
        certificate("gateway.two"),
    ])
    .await?;
    let by_certificate = format!(
        "certificate_file = {:?}\nkey_file = {:?}\n",
        it.file("gateway.pem"),
        it.file("gateway.key")
    );
    for name in ["gateway.one", "gateway.two"] {
        let own = first.client(name)?;
        it.write("gateway.pem", &own.certificate_pem)?;
        it.write("gateway.key", &own.key_pem)?;
        it.go_with(&by_certificate, TAKEN).await?;
        it.a_user_is_renewed(name).await?;
    }

    it.know(&[certificate("gateway.two")]).await?;
    it.a_user_is_renewed("and the first is a stranger").await?;

    // What is no certificate, and what is not there, is refused, and all goes on.
    it.write("ca.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n")?;
    reread(&it.crowd.system.gateway, KEPT).await?;
    it.write("ca.pem", &second.pem())?;
    it.go_with("token_file = \"/does/not/exist\"\n", KEPT).await?;
    it.a_user_is_renewed("in spite of mistakes").await?;
    load.goes_on(PEOPLE).await?;
    load.end().await?;
    let health = it
        .crowd
        .system
        .gateway
        .health_address()
        .context("no health listener")?;
    let metrics = metrics(&health).await?;
    ensure!(
        metrics.contains("\nrollcall_refreshes_failed_total 0\n"),
        "{metrics}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_account_at_the_mail_server_is_replaced_and_no_mail_is_lost() -> Result<()> {
    let mut crowd = Crowd::start(Backend::Sqlite, 1).await?;
    let ca = TestCa::new()?;
    let sink = SmtpSink::starttls(&ca.loopback_server()?)?;
    let password = crowd.system.files.path().join("mail-password");
    std::fs::write(&password, "the password before this one")?;
    let config = crowd.system.config("worker");
    let mail = format!(
        "[mail]\nenabled = true\nhost = \"localhost\"\nport = {}\nca_file = {:?}\nusername = {:?}\n\
         password_file = {password:?}\nfrom = \"rollcall@example.net\"\npoll_interval = \"1s\"\nretry_interval = \"1s\"\n",
        sink.port(),
        ca.file(),
        sink.username(),
    );
    std::fs::write(&config, std::fs::read_to_string(&config)? + &mail)?;
    crowd.replace_worker()?;
    let request = v1::UpdateUserSyncRequest {
        user_sync: Some(v1::UserSync {
            name: crowd.sync(),
            report: Some(v1::ReportSettings {
                when: v1::ReportWhen::Always.into(),
                addresses: vec!["admin@example.org".to_owned()],
            }),
            ..v1::UserSync::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["report".to_owned()],
        }),
    };
    crowd.system.user_syncs().await?.update_user_sync(request).await?;
    crowd.system.run(&crowd.sync(), v1::SyncRunMode::Apply).await?;
    wait_for("the server to refuse the account", PATIENCE, async || {
        crowd.system.worker.log().contains("a mail could not be sent")
    })
    .await?;
    ensure!(sink.mails()?.is_empty(), "it takes any password");

    std::fs::remove_file(&password)?;
    reread(&crowd.system.worker, KEPT).await?;
    std::fs::write(&password, sink.password())?;
    reread(&crowd.system.worker, TAKEN).await?;
    wait_for("the mail", PATIENCE, async || {
        sink.mails().is_ok_and(|mails| mails.len() == 1)
    })
    .await
}
