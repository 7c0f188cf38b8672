use rollcall_testkit::{Slapd, TestDatabase, wait_for_blocking};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

#[test]
fn servers_end_with_a_test_process_that_is_killed() {
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "left_behind::hold_servers", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let addresses: Vec<SocketAddr> = BufReader::new(holder.stderr.take().unwrap())
        .lines()
        .filter_map(|line| line.unwrap().parse().ok())
        .take(2)
        .collect();
    for address in &addresses {
        TcpStream::connect(address).unwrap();
    }
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_eq!(addresses.len(), 2);
    for address in &addresses {
        wait_for_blocking("the server's end", Duration::from_secs(30), || {
            TcpStream::connect(address).is_err()
        })
        .unwrap();
    }
}

#[test]
#[ignore = "the process that the test above starts and kills"]
fn hold_servers() {
    let slapd = Slapd::builder().start().unwrap();
    let database = TestDatabase::new().unwrap();
    eprintln!("{}", slapd.address());
    eprintln!(
        "{}",
        database
            .url()
            .split(['@', '/'])
            .find(|part| part.starts_with("127."))
            .unwrap()
    );
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
}
