//! What manifests, units and the operators' page say of the machine's limits is what the programs take.

use std::path::Path;

use rollcall_runtime::config::{Mistakes, Settings, Shared, Sources, load};
use rollcall_runtime::{descriptors, memory};
use rollcall_store::LoginStore;
use serde::Deserialize;

/// Of its 100, PostgreSQL keeps three for superusers.
const OF_POSTGRESQL: u32 = 97;

#[derive(Deserialize)]
struct Nothing {}

impl Settings for Nothing {
    const ENVIRONMENT_PREFIX: &'static str = "NOTHING";
    const DEFAULTS: &'static str = "";
    const SECRETS: &'static [&'static str] = &[];

    fn validate(&self, _: &Shared, _: &mut Mistakes) {}
}

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What stands behind this word, wherever a line begins with it.
fn values(text: &str, word: &str) -> Vec<String> {
    let of_line = |line: &str| Some(line.trim_start().strip_prefix(word)?.trim().to_owned());
    text.lines().filter_map(of_line).collect()
}

fn number(text: &str, word: &str) -> u32 {
    let found = values(text, word);
    found
        .first()
        .and_then(|value| value.parse().ok())
        .unwrap_or_else(|| panic!("no {word}"))
}

/// Bytes of "512M", "512m" and "512Mi", which all mean the same there.
fn bytes(text: &str) -> u64 {
    let text = text.trim_end_matches('i').to_ascii_uppercase();
    let (digits, unit) = text.split_at(text.len() - 1);
    let unit = match unit {
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => panic!("{text} is no amount of memory"),
    };
    digits.parse::<u64>().unwrap() * unit
}

/// The limits of memory in a text, in the order in which they stand there.
fn memory_limits(text: &str, word: &str) -> Vec<u64> {
    let found = values(text, word);
    found
        .iter()
        .map(|value| bytes(value.trim_end_matches('}')))
        .collect()
}

/// The part of a text from one line on up to another.
fn part<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let (_, rest) = text.split_once(from).unwrap_or_else(|| panic!("no {from}"));
    rest.split_once(to).map_or(rest, |(part, _)| part)
}

#[test]
fn units_and_compose_give_as_many_descriptors_as_a_process_takes() {
    for unit in ["auth-gateway", "sync-worker", "run-due"] {
        let given = number(
            &read(&format!("deploy/systemd/rollcall-{unit}.service")),
            "LimitNOFILE=",
        );
        assert_eq!(u64::from(given), descriptors::MOST, "{unit}");
    }
    let compose = read("deploy/compose/compose.yaml");
    let given = values(&compose, "ulimits:");
    assert_eq!(given, vec![format!("{{nofile: {}}}", descriptors::MOST); 2]);
    assert!(read("docs/operations.md").contains("units and compose set 65,536."));
    assert_eq!(descriptors::MOST, 65_536);
}

#[test]
fn chart_units_and_compose_give_the_same_memory() {
    let chart = read("deploy/helm/rollcall/values.yaml");
    let gateway = memory_limits(part(&chart, "\ngateway:", "\nworker:"), "limits: {memory:");
    let worker = memory_limits(part(&chart, "\nworker:", "\ncronJob:"), "limits: {memory:");
    let migration = memory_limits(
        part(
            &read("deploy/helm/rollcall/templates/jobs.yaml"),
            "[migrate]",
            "\nkind:",
        ),
        "limits: {memory:",
    );
    let unit = |name: &str| {
        let unit = read(&format!("deploy/systemd/rollcall-{name}.service"));
        memory_limits(&unit, "MemoryMax=")
    };
    assert_eq!(unit("auth-gateway"), gateway);
    assert_eq!(unit("sync-worker"), worker);
    assert_eq!(unit("run-due"), worker);
    assert_eq!(unit("migrate"), migration);
    // In the order of the file: the migration, the worker, the gateway.
    let compose = memory_limits(&read("deploy/compose/compose.yaml"), "mem_limit:");
    assert_eq!(compose, [&migration[..], &worker, &gateway].concat());
    for limit in [&gateway, &worker, &migration] {
        assert!(limit.len() == 1 && limit[0] >= memory::LEAST, "{limit:?}");
    }
    let operations = read("docs/operations.md");
    let said = part(&operations, "| memory |", "\n");
    let [gateway, worker] = [gateway[0] >> 20, worker[0] >> 30];
    assert!(said.contains(&format!("allow {gateway} MiB |")), "{said}");
    assert!(said.contains(&format!("allow {worker} GiB |")), "{said}");
    assert!(operations.contains(&format!("less memory than {} MiB", memory::LEAST >> 20)));
}

#[test]
fn what_the_chart_starts_fits_a_postgresql_as_it_comes() {
    let loaded = load::<Nothing>(&Sources::default());
    let of_worker = loaded
        .map_err(|mistakes| mistakes.to_string())
        .unwrap()
        .shared
        .store
        .max_connections;
    let of_gateway = of_worker + LoginStore::MOST_CONNECTIONS;
    let chart = read("deploy/helm/rollcall/values.yaml");
    let gateways = number(part(&chart, "\ngateway:", "\nworker:"), "maxReplicas:");
    let workers = number(part(&chart, "\nworker:", "\ncronJob:"), "replicas:");
    // One more of either while they are replaced, one kind after the other.
    let at_most = (gateways * of_gateway + workers * of_worker) + of_gateway.max(of_worker);
    assert!(at_most <= OF_POSTGRESQL, "{at_most}");
    for (file, said) in [
        (
            "deploy/helm/rollcall/values.yaml",
            format!("at most {of_gateway} connections to PostgreSQL, and a worker {of_worker}"),
        ),
        (
            "deploy/helm/rollcall/values.yaml",
            format!("= {at_most} of the {OF_POSTGRESQL}"),
        ),
        ("docs/operations.md", format!("at most {of_gateway} a replica")),
        ("docs/operations.md", format!("have {at_most} then")),
    ] {
        let text = read(file).replace("\n  # ", " ").replace('\n', " ");
        assert!(text.contains(&said), "{file} does not say: {said}");
    }
}
