//! rollcallctl: a client of the sync worker for people and CronJobs, and for erasures a client of the auth gateway.
//!
//! It must never know a rule: it calls, shows what came back, and turns that into an exit code.
//!
//! Read first: [`Command`] (what it can do), then `connect.rs` (how it reaches the worker) and
//! `trigger_due.rs` (what the CronJob runs).
//!
//! Exit codes: 0 all is well; 1 something failed; 2 something waits for a person (a held run, a check with
//! warnings); 64 the command line is wrong.

mod check;
mod connect;
mod erase;
mod explain;
mod failure;
mod resource;
mod run;
mod show;
mod tail;
mod trigger_due;
mod verdict;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use connect::Connection;
use failure::Failure;
use verdict::Verdict;

/// EX_USAGE of sysexits.h.
const USAGE: i32 = 64;

/// Calls a Rollcall sync worker.
#[derive(Parser)]
#[command(name = "rollcallctl", version, after_help = EXIT_CODES)]
struct Arguments {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 all is well; 1 something failed; 2 something waits for a person (a held \
run, a check with warnings); 64 the command line is wrong.";

#[derive(Subcommand)]
enum Command {
    /// Run every user sync that is due, and wait for them; what a CronJob calls
    TriggerDue {
        /// Only this tenant's, for example tenants/acme
        #[arg(default_value = "tenants/-")]
        tenant: String,
    },
    /// Check whether a directory can be reached and read
    CheckConnection {
        /// tenants/{tenant}/directories/{directory}
        directory: String,
    },
    /// Check what a user sync would find, with a sample of its users
    CheckUserSync {
        /// tenants/{tenant}/userSyncs/{user_sync}
        user_sync: String,
        /// How many entries to show
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(i32).range(1..=100))]
        sample: i32,
    },
    /// Explain why somebody is, or is not, a user, and what a login would answer
    Explain {
        /// tenants/{tenant}, for all of its user syncs, or tenants/{tenant}/userSyncs/{user_sync}
        scope: String,
        #[command(flatten)]
        whom: explain::Whom,
    },
    /// Run a user sync now, and wait for it
    RunSync {
        /// tenants/{tenant}/userSyncs/{user_sync}
        user_sync: String,
        /// Only plan; nothing is changed
        #[arg(long)]
        preview: bool,
        /// Only plan, and find users by login whose entries have other identifiers than before
        #[arg(long, conflicts_with = "preview")]
        relink: bool,
    },
    /// List the newest runs of a user sync
    Runs {
        /// tenants/{tenant}/userSyncs/{user_sync}
        user_sync: String,
        /// How many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(i32).range(1..=1000))]
        limit: i32,
    },
    /// Show what a run changes or would change, and its issues
    ShowRun {
        /// tenants/{tenant}/userSyncs/{user_sync}/runs/{run}
        run: String,
    },
    /// Release a planned or held run as shown, and wait for it
    Apply {
        /// tenants/{tenant}/userSyncs/{user_sync}/runs/{run}
        run: String,
    },
    /// Tell the release of this program
    Version,
    /// Cancel a run
    Cancel {
        /// tenants/{tenant}/userSyncs/{user_sync}/runs/{run}
        run: String,
    },
    /// Erase what is personal of one person, everywhere; it cannot be taken back, and takes a --reason
    EraseUser {
        /// tenants/{tenant}/users/{user}
        user: String,
        /// Never take this person from the directory again; without it, whom the directory still offers is not erased
        #[arg(long)]
        exclude: bool,
        /// The auth gateway, which keeps the users
        #[arg(
            long,
            env = "ROLLCALL_GATEWAY_ENDPOINT",
            default_value = "http://127.0.0.1:50051",
            value_name = "URL"
        )]
        gateway: String,
    },
    /// Read the audit record
    #[command(subcommand)]
    Audit(Audit),
}

#[derive(Subcommand)]
enum Audit {
    /// Write each audit event as a line of JSON, from the oldest that is kept on, and go on until stopped; started anew, go on
    /// where it was. Killed while it wrote, it begins with an empty line, since the last may be cut off, and what may come
    /// twice, with the same name, has "maybe_repeated"
    Tail {
        /// Only this tenant's, for example tenants/acme
        #[arg(default_value = "tenants/-")]
        tenant: String,
        /// File that keeps how far it came; of this tail alone
        #[arg(long, value_name = "FILE")]
        state: PathBuf,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::try_parse().unwrap_or_else(|error| {
        // Nothing is left to do if standard error is closed.
        let _ = error.print();
        std::process::exit(if error.use_stderr() { USAGE } else { 0 })
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(carry_out(arguments)),
        Err(error) => Err(Failure::Local(error.to_string())),
    };
    match result {
        Ok(verdict) => verdict.into(),
        Err(failure) => {
            eprintln!("rollcallctl: {failure}");
            ExitCode::from(1)
        }
    }
}

async fn carry_out(arguments: Arguments) -> Result<Verdict, Failure> {
    if matches!(arguments.command, Command::Version) {
        writeln!(
            std::io::stdout().lock(),
            "rollcallctl {}",
            env!("CARGO_PKG_VERSION")
        )?;
        return Ok(Verdict::Well);
    }
    let client = if let Command::EraseUser { gateway, .. } = &arguments.command {
        arguments.connection.open_at(gateway).await?
    } else {
        arguments.connection.open().await?
    };
    match arguments.command {
        // It was told above: no worker is needed for it.
        Command::Version => Ok(Verdict::Well),
        Command::TriggerDue { tenant } => trigger_due::run(&client, tenant).await,
        Command::CheckConnection { directory } => check::connection(&client, directory).await,
        Command::CheckUserSync { user_sync, sample } => check::user_sync(&client, user_sync, sample).await,
        Command::Explain { scope, whom } => explain::run(&client, scope, whom).await,
        Command::RunSync {
            user_sync,
            preview,
            relink,
        } => run::start(&client, user_sync, run::mode(preview, relink)).await,
        Command::Runs { user_sync, limit } => run::list(&client, user_sync, limit).await,
        Command::ShowRun { run } => run::show(&client, run).await,
        Command::Apply { run } => run::apply(&client, run).await,
        Command::Cancel { run } => run::cancel(&client, run).await,
        Command::EraseUser { user, exclude, .. } => erase::run(&client, user, exclude).await,
        Command::Audit(Audit::Tail { tenant, state }) => tail::run(&client, tenant, &state).await,
    }
}
