//! Two gateways behind lines of their own for one program, and what the program may ask to be done with them.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rollcall_testkit::{Operation, Proxy, TreeLdap, wait_for_blocking};
use serde_json::Value;
use system_tests::Service;
use system_tests::bench::Usage;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use crate::world::World;

const PROGRAM_LIMIT: Duration = Duration::from_secs(600);
/// The name under which a program's failure is told.
pub(crate) const ENDED: &str = "program";
/// The most that a gateway may have taken.
const MEMORY_MIB: u64 = 512;
const BIND_LIMIT: Duration = Duration::from_secs(30);

pub(crate) struct Gateways {
    config: std::path::PathBuf,
    held: Arc<TreeLdap>,
    a: Service,
    b: Service,
    line_a: Proxy,
    line_b: Proxy,
}

impl Gateways {
    pub(crate) async fn start(world: &World) -> Result<Self> {
        let config = world.gateway_config();
        let (a, b) = (start(&config).await?, start(&config).await?);
        Ok(Self {
            config,
            held: world.held.clone(),
            line_a: Proxy::start(a.address().parse()?).await?,
            line_b: Proxy::start(b.address().parse()?).await?,
            a,
            b,
        })
    }

    /// Where the program finds them.
    pub(crate) fn addresses(&self) -> [String; 2] {
        [&self.line_a, &self.line_b].map(|line| line.address().to_string())
    }

    /// Runs a program: gives it its task, does what it asks for, and returns what it tells.
    pub(crate) async fn serve(mut self, program: Command, task: Value) -> Result<Vec<(String, String)>> {
        let name = format!("{program:?}");
        let mut program = tokio::process::Command::from(program);
        let mut child = program
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let mut input = child.stdin.take().context("no standard input")?;
        let mut lines = BufReader::new(child.stdout.take().context("no standard output")?).lines();
        let mut told = Vec::new();
        let talk = async {
            input.write_all(format!("{task}\n").as_bytes()).await?;
            while let Some(line) = lines.next_line().await? {
                let line: Value = serde_json::from_str(&line).with_context(|| format!("{name}: {line}"))?;
                if let Some(asked) = line["ask"].as_str() {
                    let answer = self.act(asked).await.with_context(|| asked.to_owned())?;
                    input.write_all(format!("{answer}\n").as_bytes()).await?;
                    continue;
                }
                let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
                told.push((text("case"), text("result")));
            }
            anyhow::ensure!(child.wait().await?.success(), "{name} failed");
            Ok(())
        };
        let ended = tokio::time::timeout(PROGRAM_LIMIT, talk).await;
        // What it told before is worth more than that it failed.
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => told.push((ENDED.to_owned(), format!("{error:#}"))),
            Err(_) => told.push((ENDED.to_owned(), "not in time".to_owned())),
        }
        Ok(told)
    }

    async fn act(&mut self, asked: &str) -> Result<String> {
        let (what, of) = asked.split_once(' ').unwrap_or((asked, ""));
        match what {
            "kill-a" => self.a.kill()?,
            "start-a" => {
                self.a = start(&self.config).await?;
                self.line_a.lead_to(self.a.address().parse()?);
            }
            // As soon as a bind of this name is under way.
            "kill-a-at-bind" => {
                let (held, login) = (self.held.clone(), of.to_owned());
                let wait = move || wait_for_blocking("the bind", BIND_LIMIT, || binds(&held, &login) > 0);
                tokio::task::spawn_blocking(wait).await??;
                self.a.kill()?;
            }
            "binds" => return Ok(binds(&self.held, of).to_string()),
            "silence-a" => self.line_a.silence(),
            "memory-a" => {
                let peak = Usage::of(self.a.pid())?.peak_resident >> 20;
                return Ok(match peak < MEMORY_MIB {
                    true => "within its memory".to_owned(),
                    false => format!("{peak} MiB"),
                });
            }
            // How many calls of this method each gateway answered so far.
            "calls" => {
                let counts = [&self.a, &self.b].map(|gateway| {
                    let log = gateway.log();
                    log.lines()
                        .filter(|line| line.contains(of) && line.contains("\"call "))
                        .count()
                });
                return Ok(format!("{} {}", counts[0], counts[1]));
            }
            _ => bail!("nobody knows how to do this"),
        }
        Ok("done".to_owned())
    }
}

/// How often the scripted directory was sent a bind of this person.
fn binds(held: &TreeLdap, login: &str) -> usize {
    let prefix = format!("uid={login},");
    let is_theirs = |request: &&rollcall_testkit::Request| matches!(&request.operation, Operation::Bind { dn, .. } if dn.starts_with(&prefix));
    held.received().iter().filter(is_theirs).count()
}

async fn start(config: &std::path::Path) -> Result<Service> {
    let config = config.to_owned();
    tokio::task::spawn_blocking(move || Service::start("auth-gateway", &config)).await?
}
