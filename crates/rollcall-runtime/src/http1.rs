//! As little HTTP/1.1 as a plaintext health listener needs.

use std::borrow::Cow;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use http_body_util::{Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Probes and scrapes need no more connections than this.
const MAX_CONNECTIONS: usize = 64;
const PATIENCE: Duration = Duration::from_secs(10);

/// What a path says.
pub(crate) struct Answer {
    status: u16,
    content_type: &'static str,
    text: Cow<'static, str>,
}

impl Answer {
    pub(crate) fn plain(status: u16, text: &'static str) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            text: text.into(),
        }
    }

    pub(crate) fn of_type(content_type: &'static str, text: String) -> Self {
        Self {
            status: 200,
            content_type,
            text: text.into(),
        }
    }
}

/// Answers GET and HEAD with what `answer` says about the path.
pub(crate) async fn serve<A>(listener: TcpListener, answer: A)
where
    A: Fn(&str) -> Answer + Clone + Send + Sync + 'static,
{
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(error = %error, "cannot accept a connection for health");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let answer = answer.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let response = respond(&request, &answer);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                tracing::debug!(error = %error, "health connection failed");
            }
            drop(place);
        });
    }
}

/// The status code of a GET.
pub(crate) async fn get(
    address: SocketAddr,
    path: &str,
) -> Result<u16, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let request = Request::get(path)
        .header("host", address.to_string())
        .body(Empty::<Bytes>::new())?;
    let status = sender.send_request(request).await?.status().as_u16();
    driver.abort();
    Ok(status)
}

fn respond(request: &Request<Incoming>, answer: impl Fn(&str) -> Answer) -> Response<Full<Bytes>> {
    let answer = match *request.method() {
        Method::GET | Method::HEAD => answer(request.uri().path()),
        _ => Answer::plain(405, "method not allowed\n"),
    };
    let body = match answer.text {
        Cow::Borrowed(text) => Full::from(text),
        Cow::Owned(text) => Full::from(text),
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let content_type = http::HeaderValue::from_static(answer.content_type);
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, content_type);
    response
}
