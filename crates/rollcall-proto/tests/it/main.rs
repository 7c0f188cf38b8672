//! Tests of the contract: the generated code, the conversions and the error mapping.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod aip;
mod annotations;
mod auth;
mod contract;
mod directory;
mod generated_fields;
mod generated_is_current;
mod generated_kinds;
mod generated_pages;
mod pages;
mod resource_names;
mod status;
mod sync_run;
mod tenant;
mod user;
mod user_sync;

use rollcall_core::error::{Error, Reason};

/// The fields that the error complains of, in order. Panics unless it is INVALID_FIELD.
fn bad_fields<T>(result: Result<T, Error>) -> Vec<String> {
    let error = result.err().expect("the request must be refused");
    assert_eq!(error.reason, Reason::InvalidField, "{error}");
    let fields: Vec<_> = error
        .violations
        .iter()
        .map(|violation| violation.field.clone())
        .collect();
    assert!(!fields.is_empty());
    fields
}

fn mask(paths: &[&str]) -> Option<prost_types::FieldMask> {
    Some(prost_types::FieldMask {
        paths: paths.iter().map(ToString::to_string).collect(),
    })
}
