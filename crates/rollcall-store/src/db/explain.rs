//! Plans of statements, for tests: as PostgreSQL makes them for any values of the parameters, which is how this crate's
//! connections run them.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::atomic::{AtomicUsize, Ordering};

use sea_orm::{ConnectionTrait, FromQueryResult, Value};

use crate::db::engine::Engine;
use crate::db::query::{Statement, column, rows};

/// The plan of a statement, executed on PostgreSQL.
pub(crate) async fn plan(connection: &impl ConnectionTrait, (sql, values): Statement) -> String {
    match Engine::of(connection) {
        Engine::Postgres => {
            static NAMES: AtomicUsize = AtomicUsize::new(0);
            let name = format!("explained{}", NAMES.fetch_add(1, Ordering::Relaxed));
            connection
                .execute_unprepared(&format!("PREPARE {name} AS {sql}"))
                .await
                .unwrap();
            let literals: Vec<String> = values.iter().map(literal).collect();
            let values = match literals.is_empty() {
                true => String::new(),
                false => format!("({})", literals.join(", ")),
            };
            let explained = format!("EXPLAIN ANALYZE EXECUTE {name}{values}");
            let lines: Vec<String> = column(connection, &explained, Vec::new()).await.unwrap();
            lines.join("\n")
        }
        Engine::Sqlite => {
            #[derive(FromQueryResult)]
            struct Step {
                detail: String,
            }
            let steps: Vec<Step> = rows(connection, &format!("EXPLAIN QUERY PLAN {sql}"), values)
                .await
                .unwrap();
            let steps: Vec<String> = steps.into_iter().map(|step| step.detail).collect();
            steps.join("\n")
        }
    }
}

/// Asserts that a plan reads in order by this index, and that none of its steps has more rows than this.
pub(crate) fn assert_by_index(engine: Engine, plan: &str, indexes: &[&str], most_rows: f64, what: &str) {
    let by_index = |index: &&str| plan.split_whitespace().any(|word| word == *index);
    assert!(indexes.iter().any(by_index), "{what}\n{plan}");
    match engine {
        Engine::Sqlite => {
            let whole = |step: &str| step.starts_with("SCAN") && !step.contains("USING INDEX");
            assert!(!plan.lines().any(whole), "{what}\n{plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{what}\n{plan}");
        }
        Engine::Postgres => {
            assert!(
                plan.lines().all(|step| rows_of(step) <= most_rows),
                "{what}\n{plan}"
            );
        }
    }
}

/// Rows that a step of PostgreSQL's plan gave, or read for nothing.
fn rows_of(step: &str) -> f64 {
    let number = |after: &str| {
        let (_, rest) = step.split_once(after)?;
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
        rest[..end.unwrap_or(rest.len())].parse::<f64>().ok()
    };
    let actual = step.contains("(actual").then(|| {
        let (_, actual) = step.split_once("(actual")?;
        let (_, rest) = actual.split_once("rows=")?;
        let rows: f64 = rest.split_whitespace().next()?.parse().ok()?;
        Some(rows * number("loops=").unwrap_or(1.0))
    });
    actual.flatten().or(number("Removed by Filter: ")).unwrap_or(0.0)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "of sea-orm: lists take these")]
fn literal(value: &Value) -> String {
    match value {
        Value::String(Some(text)) => format!("'{}'", text.replace('\'', "''")),
        Value::BigInt(Some(number)) => number.to_string(),
        Value::Bool(Some(flag)) => flag.to_string(),
        Value::Uuid(Some(id)) => format!("'{id}'"),
        other => panic!("{other:?} is none of the values that lists take"),
    }
}
