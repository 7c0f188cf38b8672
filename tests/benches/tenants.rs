//! Nights of thousands of tenants, everything due in the same minute: see docs/capacity.md.
//!
//! `cargo bench -p system-tests --bench tenants` measures with 300, 1,000 and 3,000 tenants and one and three workers, in
//! about half an hour. `ROLLCALL_TENANTS=10000` measures with others (several with commas between),
//! `ROLLCALL_LARGE` is how many people the largest tenant has, `ROLLCALL_PEOPLE` how many each small one.
//! It writes `docs/tenants.svg`.

#![allow(clippy::print_stdout)]

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use system_tests::bench::{build_release, table};
use system_tests::nights::{Disturbance, Night, Nights, Sizes};
use system_tests::{number, variable};

const TENANTS: &str = "300,1000,3000";
const WORKERS: [usize; 2] = [1, 3];
/// How long nothing is due.
const IDLE: Duration = Duration::from_secs(30);
/// User syncs of one tenant.
const SYNCS: usize = 200;

/// One night that was measured.
struct Row {
    tenants: usize,
    workers: usize,
    what: &'static str,
    idle: u64,
    connections: i64,
    night: Night,
}

#[tokio::main]
async fn main() -> Result<()> {
    build_release()?;
    let sizes = variable("ROLLCALL_TENANTS").unwrap_or_else(|| TENANTS.to_owned());
    let mut rows = Vec::new();
    for tenants in sizes.split(',') {
        let tenants: usize = tenants
            .trim()
            .parse()
            .context("ROLLCALL_TENANTS has no numbers")?;
        measure(tenants, &mut rows).await?;
        println!("{}", told(&rows));
    }
    let picture = picture(&rows);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/tenants.svg");
    std::fs::write(&file, picture)?;
    Ok(())
}

async fn measure(tenants: usize, rows: &mut Vec<Row>) -> Result<()> {
    let sizes = Sizes {
        small: tenants,
        people: usize::try_from(number("ROLLCALL_PEOPLE")?.unwrap_or(50))?,
        large: usize::try_from(number("ROLLCALL_LARGE")?.unwrap_or(50_000))?,
        syncs: SYNCS,
        slow: 5,
        dead: 5,
    };
    let mut nights = Nights::start(sizes, 3, true).await?;
    let import = nights.night(Disturbance::None).await?;
    let mut add = |workers, what, idle, connections, night: Night| {
        println!("{tenants} tenants, {workers} workers, {what}: {night:?}");
        rows.push(Row {
            tenants,
            workers,
            what,
            idle,
            connections,
            night,
        });
    };
    add(3, "first import", 0, nights.connections()?, import);
    for workers in WORKERS {
        nights.set_workers(workers)?;
        let idle = nights.idle_statements(IDLE).await?;
        let night = nights.night(Disturbance::None).await?;
        add(workers, "nothing changed", idle, nights.connections()?, night);
    }
    let crashes = nights.night(Disturbance::Crashes).await?;
    add(3, "with crashes", 0, nights.connections()?, crashes);
    for name in [
        "users",
        "user_identifiers",
        "user_events",
        "sync_runs",
        "audit_events",
        "user_syncs",
    ] {
        println!(
            "{name}: {} rows, {} bytes",
            nights.rows_of(name)?,
            nights.bytes_of(name)?
        );
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts of runs")]
fn rate(night: &Night) -> f64 {
    night.runs as f64 / night.wall.as_secs_f64().max(0.001)
}

fn told(rows: &[Row]) -> String {
    let header = [
        "night",
        "tenants",
        "workers",
        "due",
        "runs",
        "failed",
        "wall s",
        "runs/s",
        "delay p50 s",
        "p99",
        "last",
        "of share",
        "statements/run",
        "transactions/run",
        "updates/run",
        "WAL KB/run",
        "idle/min/worker",
        "worker ms/run",
        "PostgreSQL ms/run",
        "worker MB",
        "gateway MB",
        "worker files",
        "gateway files",
        "connections",
        "logins",
        "refused",
        "p50 ms",
        "p99 ms",
    ];
    let rows: Vec<Vec<String>> = rows.iter().map(cells).collect();
    table(&header, &rows)
}

#[expect(clippy::cast_precision_loss, reason = "counts and times of a night")]
fn cells(row: &Row) -> Vec<String> {
    let night = &row.night;
    let runs = night.runs.max(1) as f64;
    let per_run = |count: u64| format!("{:.1}", count as f64 / runs);
    let seconds = |time: Duration| format!("{:.1}", time.as_secs_f64());
    let milliseconds = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1e3);
    let megabytes = |bytes: u64| (bytes >> 20).to_string();
    // A small tenant's share: as long as all tenants take for one run each.
    let share = row.tenants as f64 / rate(night);
    let idle = row.idle as f64 / row.workers as f64 * 60.0 / IDLE.as_secs_f64();
    vec![
        row.what.to_owned(),
        row.tenants.to_string(),
        row.workers.to_string(),
        night.due.to_string(),
        night.runs.to_string(),
        night.failed.len().to_string(),
        seconds(night.wall),
        format!("{:.1}", rate(night)),
        seconds(night.delay[0]),
        seconds(night.delay[1]),
        seconds(night.delay[2]),
        format!("{:.2}", night.delay[2].as_secs_f64() / share),
        per_run(night.statements),
        per_run(night.transactions),
        per_run(night.updated_rows),
        format!("{:.1}", night.log as f64 / runs / 1024.0),
        format!("{idle:.0}"),
        milliseconds(night.cpu[0].div_f64(runs)),
        milliseconds(night.cpu[1].div_f64(runs)),
        megabytes(night.resident[0]),
        megabytes(night.resident[1]),
        night.descriptors[0].to_string(),
        night.descriptors[1].to_string(),
        row.connections.to_string(),
        night.logins.passed.to_string(),
        night.logins.failed.len().to_string(),
        milliseconds(night.logins.latency[0]),
        milliseconds(night.logins.latency[1]),
    ]
}

/// Runs per second, and how late the last small tenant's run begins, against the number of tenants.
fn picture(rows: &[Row]) -> String {
    let unchanged = |workers| {
        rows.iter()
            .filter(move |row| row.workers == workers && row.what == "nothing changed")
    };
    let curves = |value: fn(&Night) -> f64| -> Vec<(usize, Vec<(usize, f64)>)> {
        WORKERS
            .iter()
            .map(|workers| {
                let points = unchanged(*workers).map(|row| (row.tenants, value(&row.night)));
                (*workers, points.collect())
            })
            .collect()
    };
    let rates = chart(0, "runs per second", &curves(rate));
    let delays = chart(
        380,
        "seconds until the last small tenant's run begins",
        &curves(|night| night.delay[2].as_secs_f64()),
    );
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 760 320\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"760\" height=\"320\" fill=\"white\"/>\n{rates}{delays}</svg>\n"
    )
}

#[expect(clippy::cast_precision_loss, reason = "numbers of tenants")]
fn chart(left: i32, title: &str, curves: &[(usize, Vec<(usize, f64)>)]) -> String {
    const COLOURS: [&str; 2] = ["#1f6fb4", "#c2571a"];
    let (width, height, bottom) = (280.0, 210.0, 270.0);
    let left = f64::from(left) + 60.0;
    let points = || curves.iter().flat_map(|(_, points)| points);
    let most_tenants = points().map(|(tenants, _)| *tenants).max().unwrap_or(1).max(1) as f64;
    let most = points().map(|(_, value)| *value).fold(1.0, f64::max);
    let x = |tenants: usize| left + width * tenants as f64 / most_tenants;
    let y = |value: f64| bottom - height * value / most;
    let mut svg = format!("<text x=\"{left}\" y=\"24\" font-weight=\"bold\">{title}</text>\n");
    for part in 0..=4 {
        let value = most * f64::from(part) / 4.0;
        svg += &format!(
            "<line x1=\"{left}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{value:.0}</text>\n",
            left + width,
            left - 8.0,
            y(value) + 4.0,
            y = y(value),
        );
    }
    let mut tenants: Vec<usize> = points().map(|(tenants, _)| *tenants).collect();
    tenants.sort_unstable();
    tenants.dedup();
    for tenants in tenants {
        svg += &format!(
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{tenants}</text>\n",
            x(tenants),
            bottom + 18.0
        );
    }
    svg += &format!(
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">tenants</text>\n",
        left + width / 2.0,
        bottom + 38.0
    );
    for ((workers, points), colour) in curves.iter().zip(COLOURS) {
        let line: Vec<String> = points
            .iter()
            .map(|(tenants, value)| format!("{:.1},{:.1}", x(*tenants), y(*value)))
            .collect();
        svg += &format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n",
            line.join(" ")
        );
        if let Some((tenants, value)) = points.last() {
            svg += &format!(
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"{colour}\">{workers} worker{}</text>\n",
                x(*tenants),
                y(*value) - 8.0,
                if *workers == 1 { "" } else { "s" }
            );
        }
    }
    svg
}
