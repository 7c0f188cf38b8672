//! Nights of very many tenants over one real slapd: as a benchmark, and small as a test.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use parking_lot::Mutex;
use rollcall_proto::v1;
use rollcall_proto::v1::auth_service_client::AuthServiceClient;
use rollcall_proto::v1::authenticate_response::Outcome;
use rollcall_proto::v1::directory_service_client::DirectoryServiceClient;
use rollcall_proto::v1::tenant_service_client::TenantServiceClient;
use rollcall_proto::v1::user_sync_service_client::UserSyncServiceClient;
use rollcall_testkit::{Postgres, Proxy, Slapd, TestCa};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::bench::{Usage, descriptors, percentile};
use crate::load::Crowd;
use crate::service::Service;
use crate::system::{Backend, System, directory_of, sync_of};

/// Descriptors that each process may have.
const FILES: u32 = 1024;
const DATABASE: &str = "rollcall";
/// Databases of the server; in a single one the searches of all tenants would wait for each other.
const TREES: usize = 16;
/// Every so manyth directory is far away.
const FAR_EACH: usize = 10;
const FAR: Duration = Duration::from_millis(10);
const SLOW: Duration = Duration::from_millis(300);
/// Tenants that are created at a time.
const CREATORS: usize = 8;
/// Callers who log in at a time.
const CALLERS: usize = 4;
/// How often processes are looked at.
const LOOK: Duration = Duration::from_millis(250);
/// Longest time for one night.
const NIGHT_LIMIT: Duration = Duration::from_secs(3600);

/// Who is there.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Tenants with one user sync each.
    pub small: usize,
    /// People of each of them.
    pub people: usize,
    /// People of one tenant more.
    pub large: usize,
    /// User syncs of one tenant more, with one person each.
    pub syncs: usize,
    /// So many of the small ones have a directory that is slow.
    pub slow: usize,
    /// And so many one that never answers.
    pub dead: usize,
}

impl Sizes {
    /// User syncs of all tenants.
    pub fn user_syncs(&self) -> usize {
        self.small + self.syncs + usize::from(self.large > 0)
    }
}

/// A deployment with all of them.
pub struct Nights {
    sizes: Sizes,
    slapd: Slapd,
    ca: TestCa,
    far: Proxy,
    slow: Proxy,
    // Takes connections and says nothing.
    dead: TcpListener,
    cluster: Postgres,
    system: System,
    more_workers: Vec<Service>,
}

/// What becomes of one night.
#[derive(Clone, Debug, Default)]
pub struct Night {
    /// User syncs that were due.
    pub due: usize,
    /// Runs that were made.
    pub runs: usize,
    /// User syncs that they are of.
    pub of: usize,
    /// Runs that ended well.
    pub succeeded: usize,
    /// User syncs with a run that did not.
    pub failed: Vec<String>,
    /// From when all was due until the last run ended.
    pub wall: Duration,
    /// How late runs of small tenants began: the median, the 99th percentile and the latest.
    pub delay: [Duration; 3],
    /// The place of the latest first run of a small tenant among all runs.
    pub last_place: usize,
    /// Statements that the workers sent, those that begin and end transactions included.
    pub statements: u64,
    /// Transactions of PostgreSQL, whoever had them.
    pub transactions: u64,
    /// Rows that PostgreSQL updated, whoever did.
    pub updated_rows: u64,
    /// Bytes of its log.
    pub log: u64,
    /// CPU time of all workers, of PostgreSQL and of the gateway.
    pub cpu: [Duration; 3],
    /// The most resident bytes of a worker and of the gateway.
    pub resident: [u64; 2],
    /// The most descriptors of a worker and of the gateway.
    pub descriptors: [usize; 2],
    /// Logins meanwhile.
    pub logins: Logins,
}

/// What callers found.
#[derive(Clone, Debug, Default)]
pub struct Logins {
    /// How many were let in.
    pub passed: usize,
    /// What the others were told.
    pub failed: Vec<String>,
    /// How long they took: the median and the 99th percentile.
    pub latency: [Duration; 2],
}

/// What is done to the processes in a night.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Disturbance {
    /// Nothing.
    None,
    /// A worker is killed and comes back, one is frozen for some seconds, and the database crashes and comes back.
    Crashes,
}

#[derive(Clone, Copy, Default)]
struct Counters {
    statements: u64,
    transactions: u64,
    updated_rows: u64,
    log: u64,
    cpu: [Duration; 3],
}

impl Nights {
    /// Starts everything, creates all tenants and has so many workers. `is_durable` as in production.
    ///
    /// # Errors
    /// Something does not start, or a call fails.
    pub async fn start(sizes: Sizes, workers: usize, is_durable: bool) -> Result<Self> {
        let ca = TestCa::new()?;
        let certificate = ca.loopback_server()?;
        let (slapd, cluster) = tokio::task::spawn_blocking(move || -> Result<_> {
            let mut builder = Slapd::builder().certificate(certificate).quiet();
            for tree in 0..TREES {
                builder = builder.more_tree(&suffix(tree), &tree_ldif(&sizes, tree));
            }
            let cluster = match is_durable {
                true => Postgres::start_durable()?,
                false => Postgres::start()?,
            };
            cluster.sql("postgres", &format!("create database {DATABASE}"))?;
            Ok((builder.start()?, cluster))
        })
        .await??;
        let far = Proxy::start(slapd.tls_address()).await?;
        far.delay_answers(FAR);
        let slow = Proxy::start(slapd.tls_address()).await?;
        slow.delay_answers(SLOW);
        let dead = TcpListener::bind(("127.0.0.1", 0)).await?;
        let ports = [
            slapd.tls_address().port(),
            far.address().port(),
            slow.address().port(),
            dead.local_addr()?.port(),
        ];
        let system = System::start_within(Backend::Given(cluster.url(DATABASE)), &ports, FILES).await?;
        let mut nights = Self {
            sizes,
            slapd,
            ca,
            far,
            slow,
            dead,
            cluster,
            system,
            more_workers: Vec::new(),
        };
        nights.create_tenants().await?;
        nights.set_workers(workers)?;
        Ok(nights)
    }

    /// Has so many workers from now on, at least one.
    ///
    /// # Errors
    /// One does not start.
    pub fn set_workers(&mut self, workers: usize) -> Result<()> {
        self.more_workers.truncate(workers.saturating_sub(1));
        while self.more_workers.len() + 1 < workers {
            let worker = self.start_worker()?;
            self.more_workers.push(worker);
        }
        Ok(())
    }

    /// Statements of all workers in so long, while nothing is due.
    ///
    /// # Errors
    /// A worker does not answer.
    pub async fn idle_statements(&self, time: Duration) -> Result<u64> {
        let before = self.statements().await?;
        tokio::time::sleep(time).await;
        Ok(self.statements().await? - before)
    }

    /// Makes every user sync due at once, and waits until all of them have run.
    ///
    /// # Errors
    /// It takes too long, or a process is gone.
    pub async fn night(&mut self, disturbance: Disturbance) -> Result<Night> {
        self.sql("checkpoint")?;
        let before = self.counters().await?;
        let due: i64 = self.number("select (extract(epoch from clock_timestamp()) * 1000000)::bigint")?;
        self.sql(&format!(
            "begin; update user_syncs set next_run_time = {due}; update tenant_turns set turn = {due}; commit"
        ))?;
        let logins = LoginsUnderWay::start(&self.system.gateway, &self.sizes).await?;
        let mut night = Night {
            due: self.sizes.user_syncs(),
            ..Night::default()
        };
        let started = Instant::now();
        let mut disturbed = 0;
        let mut looks = 0_u64;
        loop {
            tokio::time::sleep(LOOK).await;
            self.look(&mut night)?;
            looks += 1;
            // The database has more to do than to tell how far it is.
            if !looks.is_multiple_of(4) {
                continue;
            }
            let left: i64 = self.number(&format!(
                "select (select count(*) from user_syncs where next_run_time <= {due})
                    + (select count(*) from sync_runs where state in ('PENDING', 'PULLING', 'APPLYING'))"
            ))?;
            if left == 0 {
                break;
            }
            ensure!(started.elapsed() < NIGHT_LIMIT, "{left} user syncs are not done");
            let done = night.due.saturating_sub(usize::try_from(left)?);
            if disturbance == Disturbance::Crashes && done * 4 > night.due * (disturbed + 1) && disturbed < 3
            {
                disturbed += 1;
                self.disturb(disturbed).await?;
            }
        }
        night.logins = logins.end().await?;
        self.read_runs(due, &mut night)?;
        // What a process that was killed has counted is lost with it.
        if disturbance == Disturbance::None {
            let after = self.counters().await?;
            night.statements = after.statements - before.statements;
            night.transactions = after.transactions - before.transactions;
            night.updated_rows = after.updated_rows - before.updated_rows;
            night.log = after.log - before.log;
            for (taken, (after, before)) in night.cpu.iter_mut().zip(after.cpu.iter().zip(before.cpu)) {
                *taken = after.saturating_sub(before);
            }
        }
        Ok(night)
    }

    /// Users that are stored.
    ///
    /// # Errors
    /// The database does not answer.
    pub fn users(&self) -> Result<i64> {
        self.number("select count(*) from users")
    }

    /// Bytes of a table with its indexes.
    ///
    /// # Errors
    /// There is no such table.
    pub fn bytes_of(&self, table: &str) -> Result<i64> {
        self.number(&format!("select pg_total_relation_size('{table}')"))
    }

    /// Rows of a table.
    ///
    /// # Errors
    /// There is no such table.
    pub fn rows_of(&self, table: &str) -> Result<i64> {
        self.number(&format!("select count(*) from {table}"))
    }

    /// Connections that PostgreSQL has from Rollcall.
    ///
    /// # Errors
    /// The database does not answer.
    pub fn connections(&self) -> Result<i64> {
        self.number("select count(*) from pg_stat_activity where application_name = 'rollcall'")
    }

    fn workers(&self) -> impl Iterator<Item = &Service> {
        std::iter::once(&self.system.worker).chain(&self.more_workers)
    }

    fn start_worker(&self) -> Result<Service> {
        Service::start_within("sync-worker", &self.system.config("worker"), Some(FILES))
    }

    async fn disturb(&mut self, number: usize) -> Result<()> {
        match number {
            1 => {
                self.system.worker.kill()?;
                self.system.worker = self.start_worker()?;
            }
            2 => {
                let last = self.workers().last().context("no worker")?;
                last.pause()?;
                tokio::time::sleep(Duration::from_secs(5)).await;
                last.resume()?;
            }
            _ => {
                self.cluster.stop()?;
                self.cluster.restart()?;
            }
        }
        Ok(())
    }

    fn look(&self, night: &mut Night) -> Result<()> {
        for (kind, service) in self
            .workers()
            .map(|worker| (0, worker))
            .chain([(1, &self.system.gateway)])
        {
            let resident = Usage::of(service.pid())?.peak_resident;
            night.resident[kind] = night.resident[kind].max(resident);
            night.descriptors[kind] = night.descriptors[kind].max(descriptors(service.pid())?);
        }
        Ok(())
    }

    fn read_runs(&self, due: i64, night: &mut Night) -> Result<()> {
        let rows = self.sql(&format!(
            "select tenant, user_sync, state, create_time - {due}, coalesce(end_time, 0) - {due}
            from sync_runs where create_time >= {due} order by create_time, id"
        ))?;
        let mut of = HashSet::new();
        let mut delays = Vec::new();
        for (place, row) in rows.lines().enumerate() {
            let columns: Vec<&str> = row.split('|').collect();
            let [tenant, user_sync, state, start, end] = columns.as_slice() else {
                bail!("{row} is no run");
            };
            night.runs += 1;
            let is_first = of.insert((tenant.to_string(), user_sync.to_string()));
            match *state {
                "SUCCEEDED" => night.succeeded += 1,
                _ => night.failed.push(format!("{tenant}/{user_sync} {state}")),
            }
            night.wall = night.wall.max(Duration::from_micros(end.parse().unwrap_or(0)));
            if is_first && tenant.starts_with('t') {
                delays.push(Duration::from_micros(start.parse()?));
                night.last_place = place + 1;
            }
        }
        night.of = of.len();
        night.delay = [0.5, 0.99, 1.0].map(|share| percentile(&mut delays, share));
        Ok(())
    }

    async fn statements(&self) -> Result<u64> {
        let mut sum = 0;
        for worker in self.workers() {
            sum += worker.metric("rollcall_database_statement_seconds_count").await?;
        }
        Ok(sum)
    }

    async fn counters(&self) -> Result<Counters> {
        // PostgreSQL's backends tell what they did a moment later.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let of_database = |column: &str| -> Result<u64> {
            self.number(&format!(
                "select {column} from pg_stat_database where datname = '{DATABASE}'"
            ))
        };
        let mut cpu = [Duration::ZERO; 3];
        for worker in self.workers() {
            cpu[0] += Usage::of(worker.pid())?.cpu;
        }
        let postmaster: u32 =
            self.number("select split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::bigint")?;
        cpu[1] = Usage::of_family(postmaster)?;
        cpu[2] = Usage::of(self.system.gateway.pid())?.cpu;
        Ok(Counters {
            statements: self.statements().await?,
            transactions: of_database("xact_commit + xact_rollback")?,
            updated_rows: of_database("tup_updated")?,
            log: self.number("select (pg_current_wal_lsn() - '0/0')::bigint")?,
            cpu,
        })
    }

    fn sql(&self, sql: &str) -> Result<String> {
        self.cluster.sql(DATABASE, sql)
    }

    fn number<T: std::str::FromStr>(&self, sql: &str) -> Result<T>
    where
        T::Err: std::error::Error + Send + Sync + 'static,
    {
        Ok(self.sql(sql)?.trim().parse()?)
    }

    async fn create_tenants(&self) -> Result<()> {
        // Half a day from now, so that nothing becomes due by itself.
        let hour: i64 =
            self.number("select (extract(hour from now() at time zone 'utc')::bigint + 12) % 24")?;
        let creator = Arc::new(Creator {
            sizes: self.sizes,
            schedule: format!("0 {hour} * * *"),
            channel: self.system.worker.channel().await?,
            directory: directory_of(&self.slapd, &self.ca),
            port: self.slapd.tls_address().port(),
            far: self.far.address().port(),
            slow: self.slow.address().port(),
            dead: self.dead.local_addr()?.port(),
            next: AtomicUsize::new(0),
        });
        let mut creators = JoinSet::new();
        for _ in 0..CREATORS {
            creators.spawn(Arc::clone(&creator).create_all());
        }
        while let Some(created) = creators.join_next().await {
            created??;
        }
        self.sql("analyze")?;
        Ok(())
    }
}

/// Creates tenants, several at a time.
struct Creator {
    sizes: Sizes,
    schedule: String,
    channel: Channel,
    directory: v1::Directory,
    port: u16,
    far: u16,
    slow: u16,
    dead: u16,
    next: AtomicUsize,
}

impl Creator {
    async fn create_all(self: Arc<Self>) -> Result<()> {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let (id, base, syncs) = match number.checked_sub(self.sizes.small) {
                None => (tenant_id(number), unit(number), 1),
                Some(0) if self.sizes.large == 0 => continue,
                Some(0) => ("large".to_owned(), format!("ou=large,{}", suffix(0)), 1),
                Some(1) => (
                    "many".to_owned(),
                    format!("ou=many,{}", suffix(0)),
                    self.sizes.syncs,
                ),
                Some(_) => return Ok(()),
            };
            let port = match number {
                _ if number >= self.sizes.small => self.port,
                _ if number < self.sizes.dead => self.dead,
                _ if number < self.sizes.dead + self.sizes.slow => self.slow,
                _ if number.is_multiple_of(FAR_EACH) => self.far,
                _ => self.port,
            };
            self.create(&id, port, &base, syncs)
                .await
                .with_context(|| format!("tenant {id} cannot be created"))?;
        }
    }

    async fn create(&self, id: &str, port: u16, base: &str, syncs: usize) -> Result<()> {
        let name = format!("tenants/{id}");
        let tenant = v1::CreateTenantRequest {
            tenant_id: id.to_owned(),
            tenant: Some(v1::Tenant {
                display_name: id.to_owned(),
                user_sync_enabled: true,
                ..v1::Tenant::default()
            }),
            request_id: String::new(),
        };
        TenantServiceClient::new(self.channel.clone())
            .create_tenant(tenant)
            .await?;
        let directory = v1::CreateDirectoryRequest {
            parent: name.clone(),
            directory_id: "hq".to_owned(),
            directory: Some(v1::Directory {
                hosts: vec![format!("ldaps://127.0.0.1:{port}")],
                ..self.directory.clone()
            }),
            request_id: String::new(),
        };
        DirectoryServiceClient::new(self.channel.clone())
            .create_directory(directory)
            .await?;
        for sync in 0..syncs {
            let mut user_sync = sync_of(&format!("{name}/directories/hq"), base);
            if syncs > 1
                && let Some(search) = user_sync.searches.first_mut()
            {
                search.filter = format!("(uid=p{sync:05})");
            }
            let request = v1::CreateUserSyncRequest {
                parent: name.clone(),
                user_sync_id: format!("staff{sync}"),
                user_sync: Some(v1::UserSync {
                    auto_sync: true,
                    schedule: self.schedule.clone(),
                    ..user_sync
                }),
                request_id: String::new(),
            };
            UserSyncServiceClient::new(self.channel.clone())
                .create_user_sync(request)
                .await?;
        }
        Ok(())
    }
}

/// People who log in until it is ended.
struct LoginsUnderWay {
    callers: JoinSet<Result<()>>,
    over: Arc<AtomicBool>,
    found: Arc<Mutex<(Vec<Duration>, Vec<String>)>>,
}

impl LoginsUnderWay {
    async fn start(gateway: &Service, sizes: &Sizes) -> Result<Self> {
        let mut logins = Self {
            callers: JoinSet::new(),
            over: Arc::default(),
            found: Arc::default(),
        };
        // Whose directory answers. Each tenant in turn, and another person in each round.
        let tenants = sizes.dead..sizes.small;
        for caller in 0..CALLERS {
            let client = AuthServiceClient::new(gateway.channel().await?);
            let (over, found) = (logins.over.clone(), logins.found.clone());
            let (tenants, people) = (tenants.clone(), sizes.people);
            logins.callers.spawn(async move {
                let mut client = client;
                for round in 0.. {
                    for number in tenants.clone().skip(caller).step_by(CALLERS) {
                        if over.load(Ordering::Relaxed) {
                            return Ok(());
                        }
                        let crowd = Crowd {
                            tenant: format!("tenants/{}", tenant_id(number)),
                            people,
                        };
                        let began = Instant::now();
                        let answer = client.authenticate(crowd.request(round % people)).await;
                        let told = match answer.map(|answer| answer.into_inner().outcome) {
                            Ok(Some(Outcome::Authenticated(_))) => None,
                            Ok(outcome) => Some(format!("{}: {outcome:?}", crowd.tenant)),
                            Err(status) => Some(format!("{}: {}", crowd.tenant, status.message())),
                        };
                        let mut found = found.lock();
                        match told {
                            None => found.0.push(began.elapsed()),
                            Some(told) => found.1.push(told),
                        }
                    }
                }
                Ok(())
            });
        }
        Ok(logins)
    }

    async fn end(mut self) -> Result<Logins> {
        self.over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.callers.join_next().await {
            ended??;
        }
        let (mut took, failed) = std::mem::take(&mut *self.found.lock());
        Ok(Logins {
            passed: took.len(),
            failed,
            latency: [0.5, 0.99].map(|share| percentile(&mut took, share)),
        })
    }
}

fn tenant_id(number: usize) -> String {
    format!("t{number:05}")
}

fn suffix(tree: usize) -> String {
    format!("dc=tree{tree}")
}

fn unit(number: usize) -> String {
    format!("ou={},{}", tenant_id(number), suffix(number % TREES))
}

fn tree_ldif(sizes: &Sizes, tree: usize) -> String {
    let mut ldif = String::new();
    let mut add = |unit: &str, people: usize| {
        let label = unit.split([',', '=']).nth(1).unwrap_or_default();
        ldif += &format!("dn: {unit}\nobjectClass: organizationalUnit\nou: {label}\n\n");
        ldif += &Crowd::ldif(people, unit);
        ldif.push('\n');
    };
    for number in (tree..sizes.small).step_by(TREES) {
        add(&unit(number), sizes.people);
    }
    if tree == 0 {
        add(&format!("ou=large,{}", suffix(0)), sizes.large);
        add(&format!("ou=many,{}", suffix(0)), sizes.syncs);
    }
    ldif
}
