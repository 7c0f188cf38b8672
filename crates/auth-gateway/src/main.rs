//! The `auth-gateway` binary: serves, or answers a question about its configuration and ends.

use std::process::ExitCode;

use auth_gateway::config::GatewaySettings;
use auth_gateway::secrets::Secrets;
use auth_gateway::serve;
use clap::{Parser, Subcommand};
use rollcall_runtime::config::{self, ConfigArguments};
use rollcall_runtime::exit::{self, Failure};
use rollcall_runtime::{health, machine, telemetry};
use tokio::runtime::{Builder, Runtime};

/// A login makes and drops hundreds of small values on several threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Checks end users' passwords against their directories, and keeps the users.
#[derive(Parser)]
#[command(name = "auth-gateway", version)]
struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Ask the server that runs with this configuration on this machine whether it is ready
    Healthcheck,
}

/// Memory is taken only as far as it is used.
const STACK: usize = 8 << 20;

fn main() -> ExitCode {
    exit::run("auth-gateway", run)
}

fn run() -> Result<(), Failure> {
    let arguments: Arguments = exit::parse_arguments();
    let loaded = config::from_process::<GatewaySettings>(&arguments.config)?;
    if arguments.config.print_config {
        return exit::print_configuration(&loaded);
    }
    let runtime = runtime(loaded.own.runtime.threads()).map_err(Failure::because)?;
    let _context = runtime.enter();
    let telemetry = telemetry::init(&loaded.shared.telemetry, "auth-gateway")?;
    if arguments.config.check_config {
        loaded.warn_of_endings();
        machine::check(&loaded.shared)?;
        Secrets::read(loaded.shared.store, loaded.shared.keyring, &loaded.own.worker)?;
        return Ok(());
    }
    runtime.block_on(async {
        let done = match arguments.command {
            None => serve::serve(loaded, &arguments.config).await,
            Some(Command::Healthcheck) => health::check(&loaded.shared).await.map_err(Failure::because),
        };
        // Dropping it waits for the last spans. If there is no other thread, this thread has to send them.
        let _ = tokio::task::spawn_blocking(|| drop(telemetry)).await;
        done
    })
}

/// With one thread, the runtime does without the means to share work, and a login wakes no other thread.
fn runtime(threads: usize) -> std::io::Result<Runtime> {
    let mut builder = match threads {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder
        .worker_threads(threads)
        .enable_all()
        .thread_stack_size(STACK)
        .build()
}
