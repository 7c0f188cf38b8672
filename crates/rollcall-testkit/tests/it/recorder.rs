use anyhow::Result;
use rollcall_testkit::{Recorder, Slapd, TestCa, ber};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn what_the_server_said_is_kept_message_by_message() -> Result<()> {
    let ca = TestCa::new()?;
    let slapd = Slapd::builder().certificate(ca.loopback_server()?).start()?;
    let recorder = Recorder::start(slapd.tls_address(), &ca).await?;
    let mut line = TcpStream::connect(recorder.address()).await?;
    let mut received = Vec::new();
    for (id, answer) in [(1, 0), (2, 49)] {
        let password = if answer == 0 {
            slapd.service_password()
        } else {
            "wrong"
        };
        line.write_all(&ber::bind_request(id, &slapd.service_dn(), password.as_bytes()))
            .await?;
        let mut bytes = vec![0; ber::bind_response(id, answer, "", "").len()];
        line.read_exact(&mut bytes).await?;
        assert_eq!(bytes, ber::bind_response(id, answer, "", ""));
        received.push(bytes);
    }
    assert_eq!(recorder.take(), received);
    assert!(recorder.take().is_empty());
    Ok(())
}
