//! Whoever does not speak gRPC is told so, and nothing of what they sent is carried out.

use std::convert::Infallible;
use std::sync::Arc;

use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tonic::Status;
use tonic::transport::Channel;

use crate::certificates::Authority;
use crate::probe_service::SERVICE;
use crate::running::{PATIENCE, Running};

/// The answer to a request whose body has one whole message and never ends.
async fn send(server: &Running, method: Method, content_type: Option<&str>) -> (StatusCode, String) {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    let driver = tokio::spawn(connection);
    let message = futures::stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[0; 5])))]);
    let endless = futures::StreamExt::chain(message, futures::stream::pending());
    let mut request = Request::builder()
        .method(method)
        .uri(format!("http://{}/{SERVICE}/Wait", server.address));
    if let Some(text) = content_type {
        request = request.header("content-type", text);
    }
    let request = request.body(StreamBody::new(endless)).unwrap();
    let answer = async {
        let response = sender.send_request(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    };
    let answer = tokio::time::timeout(PATIENCE, answer).await.unwrap();
    driver.abort();
    answer
}

/// The status of a call with these bytes as its body.
pub(crate) async fn send_frame(channel: &Channel, encoding: &str, frame: &'static [u8]) -> Status {
    let request = Request::post(format!("http://x/{SERVICE}/RequestId"))
        .header("content-type", "application/grpc")
        .header("grpc-encoding", encoding)
        .body(tonic::body::Body::new(Full::new(Bytes::from_static(frame))))
        .unwrap();
    let response = tower::ServiceExt::oneshot(channel.clone(), request)
        .await
        .unwrap();
    Status::from_header_map(response.headers()).unwrap()
}

#[tokio::test]
async fn only_a_post_of_grpc_reaches_a_handler() {
    let server = Running::start("").await;
    for (method, content_type, expected) in [
        (Method::GET, Some("application/grpc"), 405),
        (Method::PUT, Some("application/grpc"), 405),
        (Method::POST, None, 415),
        (Method::POST, Some("text/plain"), 415),
        (Method::POST, Some("application/json"), 415),
        (Method::POST, Some("application/grpc-web"), 415),
        (Method::POST, Some("application/grpc-web+proto"), 415),
        (Method::POST, Some("application/grpc+json"), 415),
    ] {
        let (status, body) = send(&server, method.clone(), content_type).await;
        assert_eq!(status.as_u16(), expected, "{method} {content_type:?}");
        assert!(body.contains("gRPC endpoint"), "{body}");
    }
    assert_eq!(server.handlers.arrived.available_permits(), 0);
    server.handlers.released.add_permits(3);
    for content_type in [
        "application/grpc",
        "application/grpc+proto",
        "Application/gRPC; charset=utf-8",
    ] {
        let stream = TcpStream::connect(server.address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .unwrap();
        let driver = tokio::spawn(connection);
        let request = Request::post(format!("http://{}/{SERVICE}/Wait", server.address))
            .header("content-type", content_type)
            .body(Full::new(Bytes::from_static(&[0; 5])))
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{content_type}");
        driver.abort();
    }
    assert_eq!(server.handlers.arrived.available_permits(), 3);
}

#[tokio::test]
async fn http_1_is_told_in_plain_text() {
    let server = Running::start("").await;
    for request in [
        "GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        "POST /rollcall.v1.AuthService/Authenticate HTTP/1.1\r\nhost: x\r\n\
         content-type: application/grpc\r\ncontent-length: 5\r\n\r\n\0\0\0\0\0",
        "PUT / HTTP/1.0\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer))
            .await
            .unwrap()
            .unwrap();
        assert!(answer.starts_with("HTTP/1.1 505 "), "{answer}");
        assert!(answer.contains("content-type: text/plain"), "{answer}");
        assert!(answer.contains("gRPC endpoint"), "{answer}");
    }
}

#[tokio::test]
async fn http_1_is_told_in_plain_text_over_tls_too() {
    let authority = Authority::new();
    let server = Running::start(&authority.server_section()).await;
    // Many libraries name no protocol when they speak HTTP/1.
    for protocols in [&[b"http/1.1".as_slice()][..], &[]] {
        let tls = authority.rustls_client(protocols);
        let stream = TcpStream::connect(server.address).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let mut stream = TlsConnector::from(Arc::new(tls))
            .connect(name, stream)
            .await
            .unwrap();
        stream
            .write_all(b"POST /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        let reading = stream.read_to_string(&mut answer);
        tokio::time::timeout(PATIENCE, reading).await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 505 "), "{answer}");
        assert!(answer.contains("content-type: text/plain"), "{answer}");
        assert!(answer.contains("gRPC endpoint"), "{answer}");
    }
}
