//! A night on which nothing changed.

use anyhow::{Result, ensure};
use system_tests::bench::{Usage, median};
use system_tests::{Service, System};

use crate::company::Company;
use crate::run::watched;

/// Dumps and runs, in turns.
const ROUNDS: usize = 5;

pub(crate) const HEADER: [&str; 8] = [
    "store",
    "dump s",
    "run s",
    "ratio",
    "worker CPU s",
    "peak MB",
    "updates",
    "estimate off",
];

pub(crate) async fn measure(store: &str, company: &Company, system: &mut System) -> Result<Vec<String>> {
    // A fresh process: its peak of memory is that of these runs.
    system.worker.stop()?;
    system.worker = Service::start("sync-worker", &system.config("worker"))?;
    let (mut dumps, mut times, mut ratios, mut cpu, mut errors) = (vec![], vec![], vec![], vec![], vec![]);
    let mut updates = 0;
    for _ in 0..ROUNDS {
        let dump = company.dump().await?.as_secs_f64();
        let before = Usage::of(system.worker.pid())?.cpu;
        let run = watched(system, "tenants/acme").await?;
        let used = Usage::of(system.worker.pid())?.cpu - before;
        ensure!(
            usize::try_from(run.counts.unchanged)? == company.people && run.counts.applied == 0,
            "something changed"
        );
        let time = run.time.as_secs_f64();
        dumps.push(dump);
        times.push(time);
        ratios.push(time / dump);
        cpu.push(used.as_secs_f64());
        errors.extend(run.estimate_error);
        updates = run.updates;
    }
    let peak = Usage::of(system.worker.pid())?.peak_resident;
    let error = (!errors.is_empty()).then(|| median(&errors));
    Ok(vec![
        store.to_owned(),
        format!("{:.2}", median(&dumps)),
        format!("{:.2}", median(&times)),
        format!("{:.2}", median(&ratios)),
        format!("{:.2}", median(&cpu)),
        format!("{}", peak >> 20),
        updates.to_string(),
        error.map_or("-".to_owned(), |error| format!("{:.0} %", error * 100.0)),
    ])
}
