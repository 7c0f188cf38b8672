//! Lives a customer's years: a directory that changes as directories do, both services at the time of a clock that the
//! test moves, and after every night each user, event, issue, count and hold against what a model says.
//!
//! The model is written from DESIGN.md and the contract by somebody who has not read how Rollcall plans. Where the two
//! differ, one of them is wrong.
#![allow(clippy::unwrap_used, clippy::panic)]

mod company;
mod compare;
mod explained;
mod life;
mod model;
mod one_judgement;
mod rollcall;
mod years;

use anyhow::{Context, Result};
use system_tests::{number, variable};

use crate::rollcall::Backend;
use crate::years::Years;

/// A seed to live again, instead of the usual ones.
const SEED: &str = "ROLLCALL_MODEL_SEED";
/// How many seeds from that one on.
const RUNS: &str = "ROLLCALL_MODEL_RUNS";
/// How many nights each.
const NIGHTS: &str = "ROLLCALL_MODEL_NIGHTS";
/// Which kinds of changes happen, separated by commas; "All" is all that there are.
const CHANGES: &str = "ROLLCALL_MODEL_CHANGES";
/// Words, separated by commas: a difference that contains one of them is looked over, to see what lies behind it.
const OVERLOOK: &str = "ROLLCALL_MODEL_OVERLOOK";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn years_on_sqlite_go_as_the_model_says() -> Result<()> {
    live(Backend::Sqlite).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn years_on_postgresql_go_as_the_model_says() -> Result<()> {
    live(Backend::Postgres).await
}

async fn live(backend: Backend) -> Result<()> {
    let first = number(SEED)?.unwrap_or(1);
    let runs = number(RUNS)?.unwrap_or(3);
    let nights = number(NIGHTS)?.unwrap_or(30);
    let kinds = years::kinds(variable(CHANGES).as_deref())?;
    let overlook = variable(OVERLOOK).unwrap_or_default();
    let overlook: Vec<String> = overlook.split_terminator(',').map(str::to_owned).collect();
    for seed in first..first + runs {
        let years = Years::begin(backend, seed, &kinds, overlook.clone()).await?;
        let lived = years.live(usize::try_from(nights)?).await;
        lived.with_context(|| {
            format!("{SEED}={seed} {RUNS}=1 {NIGHTS}={nights} lives the same years again, on {backend:?}")
        })?;
    }
    Ok(())
}
