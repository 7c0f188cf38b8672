//! The gateway as a process of its own.

use std::io::{BufRead, BufReader, Read};
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use tonic::transport::Channel;

use crate::world::{KEYRING, World};

/// Ends with the test, however that ends.
pub(crate) struct Running(Child);

pub(crate) struct Gateway {
    pub(crate) child: Running,
    /// All that it logged, once it has ended.
    pub(crate) log: std::thread::JoinHandle<String>,
    pub(crate) channel: Channel,
}

/// Starts the real binary in front of this world.
pub(crate) async fn gateway(world: &World, more: &[&str]) -> Gateway {
    gateway_in(world, more, &[]).await
}

/// The same in an environment.
pub(crate) async fn gateway_in(world: &World, more: &[&str], environment: &[(&str, &Path)]) -> Gateway {
    let port = world.server.tls_address().port();
    let settings = [
        "server.listen=127.0.0.1:0".to_owned(),
        "telemetry.format=json".to_owned(),
        format!("store.url={}", world.url),
        "egress.allow_cidrs=[\"127.0.0.0/8\"]".to_owned(),
        format!("egress.allow_ports=[{port}]"),
    ];
    let mut child = Command::new(env!("CARGO_BIN_EXE_auth-gateway"))
        .args(
            settings
                .iter()
                .map(String::as_str)
                .chain(more.iter().copied())
                .flat_map(|setting| ["--set", setting]),
        )
        .env("AUTH_GATEWAY__KEYRING__KEY", KEYRING)
        .env("RUST_BACKTRACE", "1")
        .envs(environment.iter().copied())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let (found, address) = mpsc::channel();
    let log = std::thread::spawn(move || {
        let mut all = String::new();
        let mut line = String::new();
        while lines.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
            if let Some((_, rest)) = line.split_once("\"server.address\":\"") {
                _ = found.send(rest.split('"').next().unwrap_or_default().to_owned());
            }
            all.push_str(&std::mem::take(&mut line));
        }
        _ = lines.read_to_string(&mut all);
        all
    });
    let address = address.recv_timeout(Duration::from_secs(30)).unwrap();
    let channel = Channel::from_shared(format!("http://{address}"))
        .unwrap()
        .connect()
        .await
        .unwrap();
    Gateway {
        child: Running(child),
        log,
        channel,
    }
}

impl Deref for Running {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = self.0.kill();
        _ = self.0.wait();
    }
}
