use rollcall_testkit::{Postgres, TestDatabase};

#[test]
fn every_test_database_is_fresh_and_gone_after_its_test() {
    let first = TestDatabase::new().unwrap();
    let second = TestDatabase::new().unwrap();
    assert_ne!(first.url(), second.url());
    first.sql("create table calls (id int)").unwrap();
    assert_eq!(first.sql("select count(*) from calls").unwrap().trim(), "0");
    assert!(second.sql("select count(*) from calls").is_err());

    let name = first.url().rsplit('/').next().unwrap().to_owned();
    let count = format!("select count(*) from pg_database where datname = '{name}'");
    assert_eq!(second.sql(&count).unwrap().trim(), "1");
    drop(first);
    assert_eq!(second.sql(&count).unwrap().trim(), "0");
}

#[test]
fn the_cluster_speaks_utf8_and_utc() {
    let database = TestDatabase::new().unwrap();
    assert_eq!(database.sql("show server_encoding").unwrap().trim(), "UTF8");
    assert_eq!(database.sql("show timezone").unwrap().trim(), "UTC");
}

#[test]
fn what_a_cluster_committed_survives_its_crash() {
    let mut cluster = Postgres::start().unwrap();
    cluster
        .sql("postgres", "create table kept as select 7 as id")
        .unwrap();
    cluster.stop().unwrap();
    assert!(cluster.sql("postgres", "select 1").is_err());
    cluster.restart().unwrap();
    assert_eq!(
        cluster.sql("postgres", "select id from kept").unwrap().trim(),
        "7"
    );
}
