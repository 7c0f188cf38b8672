//! Ends a call when its caller has stopped waiting. The handler's future is dropped, so work that must be
//! finished once begun belongs into a task of its own.

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, Request, Response};
use rollcall_core::error::{Error, Reason};
use tokio::time::{Instant, timeout_at};
use tonic::body::Body;
use tower::{Layer, Service};

use super::{Answer, refusal};
use crate::extensions::Deadline;

const HEADER: &str = "grpc-timeout";
/// At a call's deadline the transport cuts it with CANCELLED. An answer that is to arrive must be a little earlier.
const AHEAD: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_secs(24 * 3600);

#[derive(Clone)]
pub(crate) struct DeadlineLayer {
    /// For calls that bring no deadline.
    pub(crate) default: Duration,
}

#[derive(Clone)]
pub(crate) struct WithDeadline<S> {
    default: Duration,
    inner: S,
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = WithDeadline<S>;

    fn layer(&self, inner: S) -> WithDeadline<S> {
        WithDeadline {
            default: self.default,
            inner,
        }
    }
}

impl<S> Service<Request<Body>> for WithDeadline<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Answer {
        let deadline = Instant::now() + budget(request.headers(), self.default);
        request.extensions_mut().insert(Deadline::new(deadline));
        let answer = self.inner.call(request);
        Box::pin(async move {
            timeout_at(deadline, answer).await.unwrap_or_else(|_| {
                Ok(refusal(Error::new(
                    Reason::DeadlineExceeded,
                    "the call's deadline passed",
                )))
            })
        })
    }
}

fn budget(headers: &HeaderMap, default: Duration) -> Duration {
    let given = headers.get(HEADER).and_then(|value| parse(value.as_bytes()));
    match given {
        Some(timeout) => timeout.saturating_sub(AHEAD.min(timeout / 2)).min(LONGEST),
        None => default,
    }
}

/// Reads the header of the gRPC protocol: one to eight digits and a unit.
fn parse(header: &[u8]) -> Option<Duration> {
    let (unit, digits) = header.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    match unit {
        b'H' => Some(Duration::from_secs(number * 3_600)),
        b'M' => Some(Duration::from_secs(number * 60)),
        b'S' => Some(Duration::from_secs(number)),
        b'm' => Some(Duration::from_millis(number)),
        b'u' => Some(Duration::from_micros(number)),
        b'n' => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tonic::{Code, Status};
    use tower::ServiceExt;

    #[tokio::test(start_paused = true)]
    async fn a_handler_that_never_answers_is_cut_at_the_deadline() {
        let never = tower::service_fn(|_: Request<Body>| async {
            std::future::pending::<()>().await;
            Ok::<_, Infallible>(Response::new(Body::empty()))
        });
        let layer = DeadlineLayer {
            default: Duration::from_secs(60),
        };
        for (header, expected) in [(None, 60_000), (Some("2S"), 1_995)] {
            let mut request = Request::new(Body::empty());
            if let Some(text) = header {
                request.headers_mut().insert(HEADER, text.parse().unwrap());
            }
            let began = Instant::now();
            let response = layer.layer(never).oneshot(request).await.unwrap();
            assert_eq!(
                response.extensions().get::<Status>().unwrap().code(),
                Code::DeadlineExceeded
            );
            assert_eq!(began.elapsed().as_millis(), expected);
        }
    }

    #[test]
    fn the_budget_is_the_callers_or_the_default() {
        let default = Duration::from_secs(60);
        let cases = [
            (None, default),
            (Some("1S"), Duration::from_millis(995)),
            (Some("4m"), Duration::from_millis(2)),
            (Some("100000u"), Duration::from_millis(95)),
            (Some("0n"), Duration::ZERO),
            (Some("99999999H"), LONGEST),
            (Some("2M"), Duration::from_millis(119_995)),
            (Some("S"), default),
            (Some("-1S"), default),
            (Some("123456789S"), default),
            (Some("5x"), default),
        ];
        for (header, expected) in cases {
            let mut headers = HeaderMap::new();
            if let Some(text) = header {
                headers.insert(HEADER, text.parse().unwrap());
            }
            assert_eq!(budget(&headers, default), expected, "{header:?}");
        }
    }
}
