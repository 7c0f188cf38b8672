//! Concurrent callers of Authenticate, for benchmarks.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rollcall_proto::v1;
use rollcall_proto::v1::auth_service_client::AuthServiceClient;
use rollcall_proto::v1::authenticate_response::Outcome;
use rollcall_testkit::{Ldif, Slapd, TestCa};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::Service;
use crate::bench::{Usage, percentile};

/// Connections that callers share, as those of a product with a few replicas do.
const MOST_CHANNELS: usize = 4;

/// A tenant of people `p00000`, `p00001` and so on, each with the password `password of p00000`.
#[derive(Clone)]
pub struct Crowd {
    /// `tenants/{tenant}`.
    pub tenant: String,
    /// How many people.
    pub people: usize,
}

/// What callers found.
pub struct Measured {
    /// Logins that succeeded.
    pub logins: usize,
    /// From the first call to the last answer.
    pub time: Duration,
    /// How long each took.
    pub latencies: Vec<Duration>,
    /// CPU time of the gateway meanwhile.
    pub cpu: Duration,
}

impl Measured {
    /// Logins in a second.
    #[expect(clippy::cast_precision_loss, reason = "a count of logins")]
    pub fn rate(&self) -> f64 {
        self.logins as f64 / self.time.as_secs_f64()
    }

    /// The gateway's CPU time for one login, in microseconds.
    #[expect(clippy::cast_precision_loss, reason = "a count of logins")]
    pub fn cpu_per_login(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.logins.max(1) as f64
    }

    /// The latency that this share of the logins does not exceed.
    pub fn latency(&mut self, share: f64) -> Duration {
        percentile(&mut self.latencies, share)
    }
}

impl Crowd {
    /// Where [`Crowd::directory`] has its people.
    pub const PEOPLE_DN: &str = "ou=People,dc=rollcall,dc=test";

    /// A directory with these people, which writes no log.
    ///
    /// # Errors
    /// It does not start.
    pub fn directory(people: usize, ca: &TestCa) -> Result<Slapd> {
        let mut ldif = Ldif::new();
        ldif.entry(Self::PEOPLE_DN)
            .attribute("objectClass", "organizationalUnit")
            .attribute("ou", "People");
        Slapd::builder()
            .base_dn("dc=rollcall,dc=test")
            .certificate(ca.loopback_server()?)
            .ldif(ldif.as_str())
            .ldif(&Self::ldif(people, Self::PEOPLE_DN))
            .quiet()
            .start()
    }

    /// These people below `parent`, as `inetOrgPerson` entries.
    pub fn ldif(people: usize, parent: &str) -> String {
        let mut ldif = Ldif::new();
        for person in 0..people {
            let uid = uid(person);
            ldif.entry(&format!("uid={uid},{parent}"))
                .attribute("objectClass", "inetOrgPerson")
                .attribute("uid", &uid)
                .attribute("cn", &uid)
                .attribute("givenName", "Ada")
                .attribute("sn", &uid)
                .attribute("displayName", format!("Ada {uid}"))
                .attribute("mail", format!("{uid}@company.test"))
                .attribute("userPassword", password(&uid));
        }
        ldif.as_str().to_owned()
    }

    /// The right login of a person, from an address of their own.
    pub fn request(&self, person: usize) -> v1::AuthenticateRequest {
        let login = uid(person);
        let [.., b, c, d] = person.to_be_bytes();
        v1::AuthenticateRequest {
            tenant: self.tenant.clone(),
            password: password(&login),
            login,
            client_address: format!("10.{b}.{c}.{d}"),
            ..v1::AuthenticateRequest::default()
        }
    }
}

/// How long callers go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Until {
    /// For this long; everybody may come up several times.
    After(Duration),
    /// For this long, or until everybody has logged in once.
    Once(Duration),
}

/// Has `callers` people at a time log in, one after the other, for so long. Tenants take turns among callers,
/// and no two callers log the same person in.
///
/// # Errors
/// A login fails.
pub async fn log_in(
    gateway: &Service,
    crowds: &[Crowd],
    callers: usize,
    duration: Duration,
) -> Result<Measured> {
    log_in_until(gateway, crowds, callers, Until::After(duration)).await
}

/// As [`log_in`], with another end.
///
/// # Errors
/// A login fails.
pub async fn log_in_until(
    gateway: &Service,
    crowds: &[Crowd],
    callers: usize,
    until: Until,
) -> Result<Measured> {
    let mut channels = Vec::new();
    for _ in 0..callers.min(MOST_CHANNELS) {
        channels.push(gateway.channel().await?);
    }
    let before = Usage::of(gateway.pid())?;
    let start = Instant::now();
    let mut calling = JoinSet::new();
    for caller in 0..callers {
        let client = AuthServiceClient::new(channels[caller % channels.len()].clone());
        let crowd = crowds[caller % crowds.len()].clone();
        calling.spawn(call(client, crowd, caller, callers, until));
    }
    let mut latencies = Vec::new();
    while let Some(taken) = calling.join_next().await {
        latencies.extend(taken??);
    }
    let time = start.elapsed();
    let cpu = Usage::of(gateway.pid())?.cpu.saturating_sub(before.cpu);
    Ok(Measured {
        logins: latencies.len(),
        time,
        latencies,
        cpu,
    })
}

/// Has `callers` people at a time try to log in, whatever the answers, until what is returned is dropped.
///
/// # Errors
/// The gateway cannot be reached.
pub async fn keep_trying(gateway: &Service, crowd: &Crowd, callers: usize) -> Result<JoinSet<()>> {
    let mut trying = JoinSet::new();
    for caller in 0..callers {
        let mut client = AuthServiceClient::new(gateway.channel().await?);
        let crowd = crowd.clone();
        trying.spawn(async move {
            for person in (caller..crowd.people).step_by(callers).cycle() {
                // What comes of it is another's matter.
                let _ = client.authenticate(crowd.request(person)).await;
            }
        });
    }
    Ok(trying)
}

async fn call(
    mut client: AuthServiceClient<Channel>,
    crowd: Crowd,
    caller: usize,
    callers: usize,
    until: Until,
) -> Result<Vec<Duration>> {
    let share = crowd.people / callers;
    let mut taken = Vec::new();
    let mut next = caller.wrapping_mul(7919) % share;
    let mut start = Instant::now();
    let (end, most) = match until {
        Until::After(duration) => (start + duration, usize::MAX),
        Until::Once(duration) => (start + duration, share),
    };
    while start < end && taken.len() < most {
        // A stride that shares no factor with the usual shares, so that nearly all people come up in turn.
        next = (next + 7919) % share;
        let request = crowd.request(caller + callers * next);
        let login = request.login.clone();
        let answer = client.authenticate(request).await?.into_inner();
        match answer.outcome.context("no outcome")? {
            Outcome::Authenticated(_) => {}
            Outcome::Denial(denial) => bail!("{login} is denied: {:?}", denial.reason()),
        }
        let done = Instant::now();
        taken.push(done - start);
        start = done;
    }
    Ok(taken)
}

fn uid(person: usize) -> String {
    format!("p{person:05}")
}

fn password(uid: &str) -> String {
    format!("password of {uid}")
}
