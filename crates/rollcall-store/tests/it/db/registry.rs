//! The registry of tables is held against the live schema.

use std::collections::{BTreeMap, BTreeSet};

use rollcall_store::{Goes, Recorded, Sweep, TABLES, Table};
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};

use crate::engine::{Engine, on_both};
use crate::fixture::*;

on_both! {
    every_table_is_registered_as_it_is,
    a_deleted_tenant_leaves_a_row_in_no_table_but_the_record,
}

/// A column: its name, its type, and whether an insert has to give it.
type Column = (String, String, bool);

struct Schema {
    connection: DatabaseConnection,
    is_postgres: bool,
}

impl Schema {
    async fn open(engine: &Engine) -> Self {
        Self {
            connection: sea_orm::Database::connect(engine.url()).await.unwrap(),
            is_postgres: matches!(engine, Engine::Postgres(_)),
        }
    }

    /// The answer's rows; each column is a text.
    async fn ask(&self, sql: &str, columns: &[&str]) -> Vec<Vec<String>> {
        let statement = Statement::from_string(self.connection.get_database_backend(), sql);
        let rows = self.connection.query_all_raw(statement).await.unwrap();
        rows.iter()
            .map(|row| {
                columns
                    .iter()
                    .map(|column| row.try_get("", column).unwrap())
                    .collect()
            })
            .collect()
    }

    async fn tables(&self) -> BTreeSet<String> {
        let sql = match self.is_postgres {
            true => "SELECT tablename::TEXT AS name FROM pg_tables WHERE schemaname = 'public'",
            false => "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
        };
        let mut tables: BTreeSet<String> = self.ask(sql, &["name"]).await.into_iter().flatten().collect();
        assert!(tables.remove("seaql_migrations"));
        tables
    }

    async fn columns(&self, table: &str) -> Vec<Column> {
        let sql = match self.is_postgres {
            true => format!(
                "SELECT column_name::TEXT AS name, data_type::TEXT AS type,
                    (is_nullable = 'NO' AND column_default IS NULL AND is_identity = 'NO')::TEXT AS needed
                FROM information_schema.columns WHERE table_name = '{table}' AND table_schema = 'public'"
            ),
            false => format!(
                "SELECT name, type, CASE WHEN (\"notnull\" = 1 OR pk > 0) AND dflt_value IS NULL
                    THEN 'true' ELSE 'false' END AS needed FROM pragma_table_info('{table}')"
            ),
        };
        let rows = self.ask(&sql, &["name", "type", "needed"]).await;
        rows.into_iter()
            .map(|row| (row[0].clone(), row[1].to_lowercase(), row[2] == "true"))
            .collect()
    }

    /// The tables to which a table has foreign keys, and whether its rows go with theirs.
    async fn parents(&self, table: &str) -> BTreeMap<String, bool> {
        let sql = match self.is_postgres {
            true => format!(
                "SELECT confrelid::REGCLASS::TEXT AS parent, (confdeltype = 'c')::TEXT AS cascade FROM pg_constraint
                WHERE contype = 'f' AND conrelid = '{table}'::REGCLASS"
            ),
            false => format!(
                "SELECT \"table\" AS parent, CASE on_delete WHEN 'CASCADE' THEN 'true' ELSE 'false' END AS cascade
                FROM pragma_foreign_key_list('{table}')"
            ),
        };
        let rows = self.ask(&sql, &["parent", "cascade"]).await;
        rows.into_iter()
            .map(|row| (row[0].clone(), row[1] == "true"))
            .collect()
    }

    async fn count(&self, table: &Table, tenant: &str) -> String {
        let (name, column) = (table.name, table.tenant.unwrap());
        let sql = format!("SELECT CAST(COUNT(*) AS TEXT) AS rows FROM {name} WHERE {column} = '{tenant}'");
        self.ask(&sql, &["rows"]).await[0][0].clone()
    }

    /// A row of the tenant in the table, with something in each column that needs it.
    async fn insert(&self, table: &Table, tenant: &str) {
        let columns = self.columns(table.name).await;
        let needed: Vec<&Column> = columns.iter().filter(|(.., needed)| *needed).collect();
        let names: Vec<&str> = needed.iter().map(|(name, ..)| name.as_str()).collect();
        let values = needed.iter().map(|(name, kind, _)| match kind.as_str() {
            _ if Some(name.as_str()) == table.tenant => format!("'{tenant}'"),
            "text" => "'x'".to_owned(),
            "bytea" => "''::BYTEA".to_owned(),
            "blob" | "uuid_blob" => "X'00000000000000000000000000000000'".to_owned(),
            "uuid" => "'00000000-0000-0000-0000-000000000000'".to_owned(),
            "boolean" => "FALSE".to_owned(),
            "bigint" | "integer" => "0".to_owned(),
            other => panic!("{}.{name} is a {other}", table.name),
        });
        let (names, values) = (names.join(", "), values.collect::<Vec<_>>().join(", "));
        let sql = format!("INSERT INTO {} ({names}) VALUES ({values})", table.name);
        self.connection.execute_unprepared(&sql).await.unwrap();
    }
}

#[test]
fn every_sweep_is_of_a_table() {
    for sweep in Sweep::ALL {
        assert!(
            TABLES.iter().any(|table| table.swept == Some(*sweep)),
            "{sweep:?}"
        );
    }
}

async fn every_table_is_registered_as_it_is(engine: Engine) {
    let store = engine.store().await;
    let schema = Schema::open(&engine).await;
    let registered: BTreeSet<String> = TABLES.iter().map(|table| table.name.to_owned()).collect();
    assert_eq!(registered, schema.tables().await);
    assert_eq!(registered.len(), TABLES.len(), "a table is registered twice");
    for table in TABLES {
        let name = table.name;
        let columns = schema.columns(name).await;
        let column = |wanted: &str| columns.iter().any(|(name, ..)| name == wanted);
        match table.tenant {
            Some(tenant) => assert!(column(tenant), "{name}"),
            None => assert!(!column("tenant"), "{name}"),
        }
        let parents = schema.parents(name).await;
        match table.goes {
            Goes::WithRowOf(parent) => assert_eq!(parents.get(parent), Some(&true), "{name}"),
            Goes::BeforeTenant => assert_eq!(parents.get("tenants"), Some(&false), "{name}"),
            // What has a foreign key to it goes by itself, or before.
            Goes::WithTenant | Goes::WithUser | Goes::Erased => assert!(table.tenant.is_some(), "{name}"),
            Goes::Never(why) => assert!(parents.is_empty() && !why.is_empty(), "{name}"),
        }
    }
    store.close().await;
}

async fn a_deleted_tenant_leaves_a_row_in_no_table_but_the_record(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    let tenant = rollcall_core::id::TenantId::parse("gone").unwrap();
    store
        .create_tenant(&tenant, &tenant_settings(&[]), Recorded::by_nobody(at(1)))
        .await
        .unwrap();
    let schema = Schema::open(&engine).await;
    let goes = |table: &&Table| matches!(table.goes, Goes::WithTenant | Goes::WithRowOf("tenants"));
    for table in TABLES.iter().filter(goes) {
        if schema.count(table, "gone").await == "0" {
            schema.insert(table, "gone").await;
        }
        assert_ne!(schema.count(table, "gone").await, "0", "{}", table.name);
    }
    store
        .delete_tenant(&tenant, None, true, Recorded::by_nobody(at(2)))
        .await
        .unwrap();
    for table in TABLES.iter().filter(|table| table.tenant.is_some()) {
        if !matches!(table.goes, Goes::Never(_)) {
            assert_eq!(schema.count(table, "gone").await, "0", "{}", table.name);
        }
    }
    store.close().await;
}
