use std::time::Duration;

use rollcall_testkit::Proxy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[tokio::test]
async fn a_line_carries_both_ways_until_it_is_cut_and_anew_afterwards() {
    let server = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let proxy = Proxy::start(server.local_addr().unwrap()).await.unwrap();
    for _ in 0..2 {
        let mut caller = TcpStream::connect(proxy.address()).await.unwrap();
        caller.write_all(b"?").await.unwrap();
        let (mut called, _) = server.accept().await.unwrap();
        assert_eq!(called.read_u8().await.unwrap(), b'?');
        called.write_all(b"!").await.unwrap();
        assert_eq!(caller.read_u8().await.unwrap(), b'!');
        proxy.cut();
        assert!(caller.read_u8().await.is_err());
        assert!(called.read_u8().await.is_err());
    }
}

#[tokio::test]
async fn a_silent_line_ends_nothing_and_new_ones_are_carried() {
    let server = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let proxy = Proxy::start(server.local_addr().unwrap()).await.unwrap();
    let mut ends = Vec::new();
    for _ in 0..2 {
        let mut caller = TcpStream::connect(proxy.address()).await.unwrap();
        caller.write_all(b"?").await.unwrap();
        let (mut called, _) = server.accept().await.unwrap();
        assert_eq!(called.read_u8().await.unwrap(), b'?');
        ends.extend([caller, called]);
        proxy.silence();
    }
    for end in &mut ends {
        let waited = tokio::time::timeout(Duration::from_millis(100), end.read_u8()).await;
        assert!(waited.is_err(), "a silent line ends: {waited:?}");
    }
}
