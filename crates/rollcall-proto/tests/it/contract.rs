//! What the `.proto` files say agrees with the domain and with itself.

use std::collections::BTreeSet;

use prost::Message;
use prost_types::FileDescriptorSet;
use rollcall_core::error::{ErrorKind, Reason};

fn descriptors() -> FileDescriptorSet {
    FileDescriptorSet::decode(rollcall_proto::FILE_DESCRIPTOR_SET).unwrap()
}

#[test]
fn every_error_reason_is_documented_with_its_code_and_nothing_else_is() {
    let descriptors = descriptors();
    let file = descriptors
        .file
        .iter()
        .find(|file| file.name() == "rollcall/v1/error_reason.proto")
        .unwrap();
    let comments = &file.source_code_info.as_ref().unwrap().location;
    let mut documented = BTreeSet::new();
    for (index, value) in file.enum_type[0].value.iter().enumerate().skip(1) {
        let wire = value.name().strip_prefix("ERROR_REASON_").unwrap();
        let reason = Reason::ALL
            .iter()
            .find(|reason| reason.as_str() == wire)
            .unwrap_or_else(|| panic!("{wire} is in the contract and not in the domain"));
        let path = [5, 0, 2, i32::try_from(index).unwrap()];
        let comment = comments.iter().find(|location| location.path == path).unwrap();
        let first = comment
            .leading_comments()
            .split(['.', ' '])
            .find(|word| !word.is_empty());
        assert_eq!(first, Some(code_name(reason.kind())), "{wire}");
        assert!(
            comment.leading_comments().contains("Metadata:"),
            "{wire} does not name its metadata"
        );
        documented.insert(wire.to_owned());
    }
    let all: BTreeSet<_> = Reason::ALL
        .iter()
        .map(|reason| reason.as_str().to_owned())
        .collect();
    assert_eq!(documented, all);
}

fn code_name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidArgument => "INVALID_ARGUMENT",
        ErrorKind::Unauthenticated => "UNAUTHENTICATED",
        ErrorKind::PermissionDenied => "PERMISSION_DENIED",
        ErrorKind::NotFound => "NOT_FOUND",
        ErrorKind::AlreadyExists => "ALREADY_EXISTS",
        ErrorKind::FailedPrecondition => "FAILED_PRECONDITION",
        ErrorKind::Aborted => "ABORTED",
        ErrorKind::ResourceExhausted => "RESOURCE_EXHAUSTED",
        ErrorKind::Unavailable => "UNAVAILABLE",
        ErrorKind::DeadlineExceeded => "DEADLINE_EXCEEDED",
        ErrorKind::Cancelled => "CANCELLED",
        ErrorKind::Unimplemented => "UNIMPLEMENTED",
        ErrorKind::Internal => "INTERNAL",
    }
}

#[test]
fn the_errors_that_a_method_names_exist() {
    let known: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    let mut named = 0;
    for file in descriptors()
        .file
        .iter()
        .filter(|file| file.package() == "rollcall.v1")
    {
        for location in &file.source_code_info.as_ref().unwrap().location {
            let Some((_, errors)) = location.leading_comments().split_once("Errors:") else {
                continue;
            };
            for word in errors
                .split(|c: char| !c.is_ascii_uppercase() && c != '_')
                .filter(|word| word.contains('_'))
            {
                assert!(known.contains(word), "{}: {word}", file.name());
                named += 1;
            }
        }
    }
    assert!(named > 50, "only {named} errors were found in the comments");
}

#[test]
fn every_method_of_a_service_says_which_permission_it_needs() {
    for file in descriptors()
        .file
        .iter()
        .filter(|file| file.package() == "rollcall.v1")
    {
        let comments = &file.source_code_info.as_ref().unwrap().location;
        for (service, descriptor) in file.service.iter().enumerate() {
            for (method, descriptor) in descriptor.method.iter().enumerate() {
                let path = [
                    6,
                    i32::try_from(service).unwrap(),
                    2,
                    i32::try_from(method).unwrap(),
                ];
                let comment = comments.iter().find(|location| location.path == path).unwrap();
                let text = comment.leading_comments().replace("\n", "");
                assert!(text.contains("Needs the permission \""), "{}", descriptor.name());
            }
        }
    }
}

#[test]
fn every_service_is_some_servers() {
    let descriptors = descriptors();
    let ours = descriptors
        .file
        .iter()
        .filter(|file| file.package() == "rollcall.v1");
    let services: Vec<_> = ours.flat_map(|file| &file.service).collect();
    assert_eq!(services.len(), 7);
    for service in services {
        let name = format!("rollcall.v1.{}", service.name());
        assert!(rollcall_proto::server_of(&name).is_some(), "{name}");
    }
    assert_eq!(rollcall_proto::server_of("rollcall.v1.NoService"), None);
}
