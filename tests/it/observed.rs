//! What a platform team sees: metrics of both services while people log in and a run goes, and traces that go through both,
//! with no password in either.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context, Result};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use parking_lot::Mutex;
use rollcall_proto::v1;
use rollcall_testkit::wait_for;
use system_tests::{Backend, System};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::company::{company, people_dn};

const PASSWORD: &str = "canary-2b8d41-password";
/// Where metrics are.
const HEALTH: &str = "[health]\nlisten = \"127.0.0.1:0\"\n";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
/// The span of whoever calls.
const PARENT: &str = "00f067aa0ba902b7";

/// Keeps the spans that it gets, by service.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<BTreeMap<String, Vec<Span>>>>);

#[tonic::async_trait]
impl TraceService for Sink {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut kept = self.0.lock();
        for resource in request.into_inner().resource_spans {
            let attributes = resource.resource.unwrap_or_default().attributes;
            let name = attributes
                .iter()
                .find(|attribute| attribute.key == "service.name");
            let name = format!("{:?}", name.map(|name| &name.value));
            let service = ["auth-gateway", "sync-worker"]
                .into_iter()
                .find(|known| name.contains(known));
            let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            kept.entry(service.unwrap_or("unknown").to_owned())
                .or_default()
                .extend(spans);
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Sink {
    async fn start(&self, stop: CancellationToken) -> Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let server = tonic::transport::Server::builder().add_service(TraceServiceServer::new(self.clone()));
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        tokio::spawn(server.serve_with_incoming_shutdown(incoming, stop.cancelled_owned()));
        Ok(endpoint)
    }

    /// A service's spans that belong to the trace.
    fn spans(&self, service: &str) -> Vec<Span> {
        let kept = self.0.lock();
        let spans = kept.get(service).into_iter().flatten();
        spans
            .filter(|span| hex(&span.trace_id) == TRACE)
            .cloned()
            .collect()
    }

    /// Their names; steps of a login with the step.
    fn names(&self, service: &str) -> Vec<String> {
        let name = |span: &Span| {
            let attributes = span.attributes.iter();
            let step = attributes.filter(|attribute| attribute.key == "step");
            let step = step.flat_map(|attribute| attribute.value.clone()?.value);
            let mut said = step.map(|value| match value {
                Value::StringValue(step) => format!("{} {step}", span.name),
                other => format!("{other:?}"),
            });
            said.next().unwrap_or(span.name.clone())
        };
        self.spans(service).iter().map(name).collect()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_goes_through_both_services_and_holds_no_name_and_no_password() -> Result<()> {
    let (sink, stop) = (Sink::default(), CancellationToken::new());
    let endpoint = sink.start(stop.clone()).await?;
    let (ca, slapd) = company(&[("ada", "ada@example.test", PASSWORD)]).await?;
    let port = slapd.tls_address().port();
    let traced = format!("otlp_endpoint = \"{endpoint}\"\n{HEALTH}");
    let mut system = System::start_with(Backend::Sqlite, &[port], &traced).await?;
    let tenant = system.connect("acme", &slapd, &ca, &people_dn()).await?;
    let sync = format!("{tenant}/userSyncs/staff");
    system.run(&sync, v1::SyncRunMode::Apply).await?;
    // The entry differs from the user, so the gateway asks the worker.
    let ada = format!("uid=ada,{}", people_dn());
    slapd.modify(&format!(
        "dn: {ada}\nchangetype: modify\nreplace: displayName\ndisplayName: Ada the Second\n"
    ))?;

    let mut request = Request::new(v1::AuthenticateRequest {
        tenant: tenant.clone(),
        login: "ada".to_owned(),
        password: PASSWORD.to_owned(),
        ..v1::AuthenticateRequest::default()
    });
    let parent = format!("00-{TRACE}-{PARENT}-01");
    request.metadata_mut().insert("traceparent", parent.parse()?);
    let answer = system.auth().await?.authenticate(request).await?.into_inner();
    let Some(v1::authenticate_response::Outcome::Authenticated(_)) = answer.outcome else {
        anyhow::bail!("{:?}", answer.outcome)
    };
    assert!(
        system.gateway.stop()? && system.worker.stop()?,
        "both stop cleanly"
    );
    wait_for(
        "the spans of both services",
        std::time::Duration::from_secs(30),
        async || !sink.names("auth-gateway").is_empty() && !sink.names("sync-worker").is_empty(),
    )
    .await?;
    let (gateway, worker) = (sink.names("auth-gateway"), sink.names("sync-worker"));
    for name in [
        "call",
        "login.step resolve",
        "login.step reserve",
        "login.step verify",
        "login.step reconcile",
        "login.step record",
        "ldap.bind",
        "ldap.search",
        "ldap.open",
        "database",
    ] {
        assert!(
            gateway.iter().any(|span| span == name),
            "{name} is not among {gateway:?}"
        );
    }
    for name in ["call", "ldap.search", "database"] {
        assert!(
            worker.iter().any(|span| span == name),
            "{name} is not among {worker:?}"
        );
    }
    // From the caller through both services, no step hangs in the air.
    let spans = [sink.spans("auth-gateway"), sink.spans("sync-worker")].concat();
    let known: BTreeSet<String> = spans.iter().map(|span| hex(&span.span_id)).collect();
    for span in &spans {
        let parent = hex(&span.parent_span_id);
        assert!(parent == PARENT || known.contains(&parent), "{span:?}");
    }
    let tops = spans.iter().filter(|span| hex(&span.parent_span_id) == PARENT);
    assert_eq!(tops.count(), 1, "the caller made one call");
    let all = format!("{:?}", sink.0.lock());
    for secret in [
        PASSWORD,
        slapd.service_password(),
        "uid=",
        "dc=",
        "(uid",
        "SELECT",
    ] {
        assert!(!all.contains(secret), "a span holds {secret}");
    }
    for log in [system.gateway.log(), system.worker.log()] {
        let of_trace = log.lines().filter(|line| line.contains(TRACE));
        for line in of_trace.clone() {
            let line: serde_json::Value = serde_json::from_str(line)?;
            let call = line["spans"].as_array().and_then(|spans| spans.first().cloned());
            let call = call.context("no span")?;
            assert_eq!(call["trace.id"], TRACE, "{line}");
            assert!(call["request.id"].is_string(), "{line}");
        }
        assert!(of_trace.clone().count() > 0, "no line names the trace:\n{log}");
        assert!(
            of_trace.clone().any(|line| line.contains("\"tenant\":\"acme\"")),
            "no line names the tenant"
        );
    }
    assert!(
        system
            .worker
            .log()
            .lines()
            .any(|line| line.contains("run.id") && line.contains(&sync)),
        "no line of the run names it"
    );
    stop.cancel();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_tell_of_logins_binds_and_runs_and_name_nobody() -> Result<()> {
    let (ca, slapd) = company(&[("ada", "ada@example.test", PASSWORD)]).await?;
    let port = slapd.tls_address().port();
    let system = System::start_with(Backend::Sqlite, &[port], HEALTH).await?;
    let tenant = system.connect("acme", &slapd, &ca, &people_dn()).await?;
    system
        .run(&format!("{tenant}/userSyncs/staff"), v1::SyncRunMode::Apply)
        .await?;
    for password in [PASSWORD, "wrong"] {
        let request = v1::AuthenticateRequest {
            tenant: tenant.clone(),
            login: "ada".to_owned(),
            password: password.to_owned(),
            ..v1::AuthenticateRequest::default()
        };
        system.auth().await?.authenticate(request).await?;
    }
    let gateway = metrics(&system.gateway.health_address().context("no health listener")?).await?;
    let worker = metrics(&system.worker.health_address().context("no health listener")?).await?;
    for (text, line) in [
        (
            &gateway,
            "rollcall_logins_total{outcome=\"authenticated\",reason=\"AUTHENTICATED\"} 1",
        ),
        (
            &gateway,
            "rollcall_logins_total{outcome=\"denied\",reason=\"INVALID_CREDENTIALS\"} 1",
        ),
        (
            &gateway,
            "rollcall_binds_total{result=\"success\",sub_code=\"none\"} 1",
        ),
        (
            &gateway,
            "rollcall_binds_total{result=\"invalid_credentials\",sub_code=\"none\"} 1",
        ),
        (
            &gateway,
            "rollcall_rpc_calls_total{method=\"rollcall.v1.AuthService/Authenticate\",code=\"OK\"} 2",
        ),
        (&gateway, "rollcall_login_seconds_count{stage=\"verify\"} 2"),
        (&gateway, "rollcall_login_seconds_count{stage=\"record\"} 2"),
        (&gateway, "rollcall_directories_open 1"),
        (&gateway, "rollcall_ldap_hosts{breaker=\"closed\"} 1"),
        (&gateway, "rollcall_ready 1"),
        (&worker, "rollcall_runs_total{outcome=\"succeeded\"} 1"),
        (&worker, "rollcall_run_user_changes_total{change=\"created\"} 1"),
        (&worker, "rollcall_run_phase_seconds_count{phase=\"pull\"} 1"),
        (&worker, "rollcall_run_phase_seconds_count{phase=\"apply\"} 1"),
        (&worker, "rollcall_runs_held 0"),
        (&worker, "rollcall_user_syncs_enabled 0"),
        (&worker, "rollcall_bind_passwords_old 0"),
        (
            &worker,
            "rollcall_expires_in_days{kind=\"server_certificate\"} inf",
        ),
    ] {
        assert!(
            text.lines().any(|found| found.eq_ignore_ascii_case(line)),
            "no {line} in\n{text}"
        );
    }
    // The certificate of the directory was seen in the handshake.
    assert!(!gateway.contains("rollcall_expires_in_days{kind=\"directory_certificate\"} inf"));
    for text in [&gateway, &worker] {
        for name in ["acme", "ada", "127.0.0.1", "localhost", "staff", "hq\"", PASSWORD] {
            assert!(!text.contains(name), "{name} is in\n{text}");
        }
        assert!(text.lines().count() < 2_500, "{} lines", text.lines().count());
    }
    Ok(())
}

pub(crate) async fn metrics(address: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
