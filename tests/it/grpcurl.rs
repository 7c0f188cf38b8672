//! What a person with grpcurl sees: reflection, health, and errors that name every bad field.

use std::process::Command;

use anyhow::Result;
use system_tests::{Backend, System};

/// Runs grpcurl; `None` where there is none, which is an error in CI.
fn grpcurl(arguments: &[&str]) -> Option<(bool, String)> {
    let output = match Command::new("grpcurl").arg("-plaintext").args(arguments).output() {
        Ok(output) => output,
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "grpcurl is missing: {error}");
            eprintln!("SKIPPED: grpcurl is missing");
            return None;
        }
    };
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Some((output.status.success(), text))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_services_describe_themselves_and_tell_their_health() -> Result<()> {
    let system = System::start(Backend::Sqlite, &[636]).await?;
    for (address, services) in [
        (
            system.gateway.address(),
            ["rollcall.v1.AuthService", "rollcall.v1.UserService"].as_slice(),
        ),
        (
            system.worker.address(),
            &[
                "rollcall.v1.AuditService",
                "rollcall.v1.DirectoryService",
                "rollcall.v1.SyncRunService",
                "rollcall.v1.TenantService",
                "rollcall.v1.UserSyncService",
            ],
        ),
    ] {
        let Some((ok, listed)) = grpcurl(&[address, "list"]) else {
            return Ok(());
        };
        assert!(ok, "{listed}");
        for service in services {
            assert!(listed.contains(service), "{service} is not in:\n{listed}");
            let request = format!("{{\"service\": \"{service}\"}}");
            let (ok, health) = grpcurl(&["-d", &request, address, "grpc.health.v1.Health/Check"]).unwrap();
            assert!(ok && health.contains("\"SERVING\""), "{health}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_request_names_every_bad_field() -> Result<()> {
    let system = System::start(Backend::Sqlite, &[636]).await?;
    let directory = r#"{"parent": "tenants/acme", "directory_id": "Not An Id", "directory": {
        "display_name": "", "hosts": ["https://example.com"], "page_size": -1,
        "connect_timeout": "0s", "tls_server_name": "not a name"}}"#;
    let address = system.worker.address();
    let Some((ok, text)) = grpcurl(&[
        "-d",
        directory,
        address,
        "rollcall.v1.DirectoryService/CreateDirectory",
    ]) else {
        return Ok(());
    };
    assert!(!ok && text.contains("InvalidArgument"), "{text}");
    for field in [
        "directory_id",
        "display_name",
        "hosts[0]",
        "page_size",
        "connect_timeout",
        "tls_server_name",
        "bind_dn",
    ] {
        assert!(text.contains(field), "{field} is not named in:\n{text}");
    }
    Ok(())
}
