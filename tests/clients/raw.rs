//! Messages that no generated code would make: they are sent as bytes.

use anyhow::{Context, Result};
use prost::Message;
use rollcall_proto::v1::AuthenticateRequest;
use system_tests::{Contract, length_delimited};

use crate::feature::Feature;
use crate::language::Language;
use crate::world::{login, password};

/// The bytes of a request, and what they are answered.
pub(crate) struct Raw {
    pub(crate) feature: Feature,
    pub(crate) name: String,
    pub(crate) path: String,
    pub(crate) message: Vec<u8>,
    pub(crate) expected: String,
}

/// A login with fields of a later contract, and every request of the gateway with each of its texts broken.
pub(crate) fn messages(language: Language) -> Result<Vec<Raw>> {
    let mut later = request(language, "right").encode_to_vec();
    later.extend(length_delimited(12_345, b"of a later contract"));
    let mut all = vec![Raw {
        feature: Feature::UnknownFields,
        name: "unknown fields".to_owned(),
        path: "/rollcall.v1.AuthService/Authenticate".to_owned(),
        message: later,
        expected: format!("AUTHENTICATED {}", login(language, "right")),
    }];
    let contract = Contract::read()?;
    for method in contract.methods() {
        let service = method.path.split('/').nth(1).context("no service")?;
        if rollcall_proto::server_of(service) != Some("auth-gateway") {
            continue;
        }
        for (field, message) in contract.bad_texts(&method.input) {
            all.push(Raw {
                feature: Feature::BadText,
                name: format!("{} {field}", method.path),
                path: method.path.clone(),
                message,
                expected: format!("INVALID_ARGUMENT INVALID_FIELD fields={field}"),
            });
        }
    }
    Ok(all)
}

/// A login as it is framed for gRPC and for gRPC-Web.
pub(crate) fn framed_login(language: Language) -> Vec<u8> {
    let message = request(language, "framed").encode_to_vec();
    let mut frame = vec![0];
    frame.extend(u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    frame.extend(message);
    frame
}

fn request(language: Language, who: &str) -> AuthenticateRequest {
    let login = login(language, who);
    AuthenticateRequest {
        tenant: "tenants/acme".to_owned(),
        password: password(&login),
        login,
        ..AuthenticateRequest::default()
    }
}
