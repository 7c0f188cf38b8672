//! Clients in other languages, as their teams would write them: generated from the contract by the ordinary generator,
//! against the built gateways over TLS with a token. Each program does what `cases.rs` lists and says what it was
//! answered; the answers make the table of docs/clients.md.
//!
//!   ROLLCALL_CLIENTS=go,java     only these languages
//!   ROLLCALL_CLIENTS_TABLE=write writes the table of docs/clients.md anew
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stdout
)]

mod attempts;
mod cases;
mod document;
mod feature;
mod gateways;
mod language;
mod raw;
mod world;

use anyhow::{Result, ensure};
use feature::Feature;
use gateways::Gateways;
use language::Language;
use world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_client_library_gets_what_the_contract_says() -> Result<()> {
    let languages = Language::here()?;
    let building: Vec<_> = languages
        .iter()
        .map(|language| {
            let language = *language;
            tokio::task::spawn_blocking(move || language.build())
        })
        .collect();
    let world = World::start().await?;
    let mut programs = Vec::new();
    for (language, building) in languages.iter().zip(building) {
        programs.push((*language, building.await??));
    }
    let told = run_all(&world, programs).await?;
    let mut faults = Vec::new();
    let mut rows = Vec::new();
    for (language, answers) in &told {
        let mut row = Vec::new();
        for (_, failure) in answers.iter().filter(|(name, _)| name == gateways::ENDED) {
            faults.push(format!("{}: {failure}", language.name()));
        }
        for feature in Feature::ALL {
            if !feature.is_tried_in(*language) {
                row.push(None);
                continue;
            }
            let wrong = cases::faults(&world, *language, feature, answers)?;
            row.push(Some(wrong.is_empty()));
            faults.extend(
                wrong
                    .into_iter()
                    .map(|fault| format!("{}: {fault}", language.name())),
            );
        }
        rows.push((*language, row));
    }
    println!("{}", document::table(&rows));
    ensure!(faults.is_empty(), "\n{}", faults.join("\n"));
    document::holds_the_table(&rows)
}

type Answers = Vec<(String, String)>;

/// Runs all programs at the same time.
async fn run_all(
    world: &World,
    programs: Vec<(Language, std::process::Command)>,
) -> Result<Vec<(Language, Answers)>> {
    let mut running = Vec::new();
    for (language, program) in programs {
        let gateways = Gateways::start(world).await?;
        let task = cases::task(world, language, &gateways)?;
        running.push((language, tokio::spawn(gateways.serve(program, task))));
    }
    let mut told = Vec::new();
    for (language, running) in running {
        told.push((language, running.await??));
    }
    Ok(told)
}
