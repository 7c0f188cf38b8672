//! The `sync-worker` binary: serves, or does one of the smaller jobs and ends.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rollcall_runtime::config::{self, ConfigArguments, Mistakes};
use rollcall_runtime::exit::{self, Failure};
use rollcall_runtime::{machine, telemetry};
use rollcall_service::configuration::StoreSecrets;
use sync_worker::config::WorkerSettings;
use sync_worker::mail::Smtp;
use sync_worker::{command, serve, verify_audit};

/// Keeps tenants, directories and user syncs, and runs the syncs.
#[derive(Parser)]
#[command(name = "sync-worker", version)]
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
    /// Run every user sync whose time has come, then end: 0 if all went well
    RunDue,
    /// Bring the database to the schema of this release
    Migrate,
    /// Seal all secrets anew with the keyring's first key, while everything runs: 0 if the others may go
    RotateKeys,
    /// Look at the audit record
    #[command(subcommand)]
    Audit(Audit),
}

#[derive(Subcommand)]
enum Audit {
    /// Read the whole sealed record and tell what was changed, removed, moved or cut off: 0 if nothing was. Writes the newest
    /// head, which is worth keeping elsewhere
    Verify {
        /// A head that was kept elsewhere: what an earlier verification wrote, or a line of the log that tells one
        #[arg(long, value_name = "FILE")]
        head: Option<PathBuf>,
    },
}

/// Memory is taken only as far as it is used.
const STACK: usize = 8 << 20;

fn main() -> ExitCode {
    exit::run("sync-worker", run)
}

fn run() -> Result<(), Failure> {
    let arguments: Arguments = exit::parse_arguments();
    let loaded = config::from_process::<WorkerSettings>(&arguments.config)?;
    if arguments.config.print_config {
        return exit::print_configuration(&loaded);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(STACK)
        .build()
        .map_err(Failure::because)?;
    let _context = runtime.enter();
    let _telemetry = telemetry::init(&loaded.shared.telemetry, "sync-worker")?;
    if arguments.config.check_config {
        loaded.warn_of_endings();
        machine::check(&loaded.shared)?;
        let mut mistakes = Mistakes::default();
        StoreSecrets::read_noting(loaded.shared.store, loaded.shared.keyring, &mut mistakes);
        let mail = &loaded.own.mail;
        if let Some(Err(of_mail)) = mail.enabled.then(|| Smtp::open(mail)) {
            mistakes.append(of_mail);
        }
        return Ok(mistakes.into_result()?);
    }
    runtime.block_on(async {
        match arguments.command {
            None => serve::serve(loaded, &arguments.config).await,
            Some(Command::Healthcheck) => command::healthcheck(&loaded.shared).await,
            Some(Command::Migrate) => command::migrate(loaded).await,
            Some(Command::Audit(Audit::Verify { head })) => verify_audit::run(loaded, head.as_deref()).await,
            Some(Command::RotateKeys) => command::rotate_keys(loaded).await,
            Some(Command::RunDue) => command::run_due(loaded).await,
        }
    })
}
