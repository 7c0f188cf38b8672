//! What clients send that no client should: each is refused with a reason, and nobody else notices.

use anyhow::{Context, Result};
use prost::Message;
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};
use system_tests::{Backend, System};
use tonic::body::Body;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use tower::ServiceExt;

/// Deep enough for every field there is; messages may hold themselves.
const MAX_DEPTH: usize = 5;

struct Method {
    path: String,
    input: String,
}

struct Contract(FileDescriptorSet);

impl Contract {
    fn read() -> Result<Self> {
        Ok(Self(FileDescriptorSet::decode(
            rollcall_proto::FILE_DESCRIPTOR_SET,
        )?))
    }

    fn methods(&self) -> Vec<Method> {
        let mut methods = Vec::new();
        for file in self.0.file.iter().filter(|file| file.package() == "rollcall.v1") {
            for service in &file.service {
                methods.extend(service.method.iter().map(|method| Method {
                    path: format!("/rollcall.v1.{}/{}", service.name(), method.name()),
                    input: method.input_type().to_owned(),
                }));
            }
        }
        methods
    }

    fn message(&self, name: &str) -> Option<&DescriptorProto> {
        self.0.file.iter().find_map(|file| {
            let local = name.strip_prefix(&format!(".{}.", file.package()))?;
            let mut parts = local.split('.');
            let first = parts.next()?;
            let mut message = file.message_type.iter().find(|message| message.name() == first)?;
            for part in parts {
                message = message
                    .nested_type
                    .iter()
                    .find(|message| message.name() == part)?;
            }
            Some(message)
        })
    }

    /// Each string field within a message: its path, and a message in which it is not UTF-8.
    fn bad_texts(&self, message: &str, depth: usize) -> Vec<(String, Vec<u8>)> {
        let Some(descriptor) = self.message(message).filter(|_| depth > 0) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for field in &descriptor.field {
            let name = name_in_errors(descriptor, field);
            match field.r#type() {
                Type::String => found.push((name.to_owned(), wrapped(field, b"secret\xff"))),
                Type::Message => {
                    let inner = self.bad_texts(field.type_name(), depth - 1);
                    let is_map = self
                        .message(field.type_name())
                        .and_then(|inner| inner.options.as_ref())
                        .is_some_and(|options| options.map_entry());
                    found.extend(inner.into_iter().map(|(path, bytes)| {
                        // A map's keys have no names for clients, nor have its values; what is in a value has.
                        let path = match is_map {
                            true => path.strip_prefix("value.").map(str::to_owned),
                            false => Some(path),
                        };
                        let path = match path {
                            Some(path) => format!("{name}.{path}"),
                            None => name.to_owned(),
                        };
                        (path, wrapped(field, &bytes))
                    }));
                }
                _ => {}
            }
        }
        found
    }
}

/// What cannot be decoded is told with the oneof's name, where a field belongs to one.
fn name_in_errors<'a>(message: &'a DescriptorProto, field: &'a FieldDescriptorProto) -> &'a str {
    match field.oneof_index.and_then(|index| usize::try_from(index).ok()) {
        Some(index) if !field.proto3_optional() => message.oneof_decl[index].name(),
        _ => field.name(),
    }
}

/// A length-delimited field.
fn wrapped(field: &FieldDescriptorProto, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_key(
        field.number().unsigned_abs(),
        prost::encoding::WireType::LengthDelimited,
        &mut bytes,
    );
    prost::encoding::encode_varint(content.len() as u64, &mut bytes);
    bytes.extend(content);
    bytes
}

/// The status that a call with these bytes as its message ends with at once.
async fn status(channel: &Channel, path: &str, message: &[u8]) -> Result<Status> {
    let mut frame = vec![0];
    frame.extend(u32::try_from(message.len())?.to_be_bytes());
    frame.extend(message);
    let request = http::Request::post(format!("http://x{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::new(http_body_util::Full::from(frame)))?;
    let response = channel.clone().oneshot(request).await?;
    Status::from_header_map(response.headers()).context("the call did not end at once")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_that_is_not_utf_8_is_refused_in_every_field_there_is() -> Result<()> {
    let system = System::start(Backend::Sqlite, &[636]).await?;
    let (gateway, worker) = (system.gateway.channel().await?, system.worker.channel().await?);
    let contract = Contract::read()?;
    let mut tried = 0;
    for method in contract.methods() {
        let service = method.path.split('/').nth(1).context("no service")?;
        let channel = match rollcall_proto::server_of(service) {
            Some("auth-gateway") => &gateway,
            _ => &worker,
        };
        for (field, message) in contract.bad_texts(&method.input, MAX_DEPTH) {
            let status = status(channel, &method.path, &message).await?;
            let what = format!("{} {field}: {status:?}", method.path);
            assert_eq!(status.code(), Code::InvalidArgument, "{what}");
            let info = status.get_details_error_info().context(what.clone())?;
            assert_eq!(info.reason, "INVALID_FIELD", "{what}");
            let bad = status.get_details_bad_request().context(what.clone())?;
            let [violation] = bad.field_violations.as_slice() else {
                panic!("{what}");
            };
            assert_eq!(violation.field, field, "{what}");
            assert_eq!(violation.description, "is not valid UTF-8", "{what}");
            assert!(!what.contains("secret"), "{what}");
            tried += 1;
        }
    }
    assert!(tried > 200, "only {tried} fields were found");
    for service in [&system.gateway, &system.worker] {
        assert!(
            !service.log().contains("secret\u{fffd}"),
            "a log repeats what was sent"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_of_a_later_contract_change_nothing() -> Result<()> {
    let system = System::start(Backend::Sqlite, &[636]).await?;
    let (gateway, worker) = (system.gateway.channel().await?, system.worker.channel().await?);
    let unknown = FieldDescriptorProto {
        number: Some(12_345),
        ..FieldDescriptorProto::default()
    };
    let unknown = wrapped(&unknown, b"anything");
    let mut refused = 0;
    for method in Contract::read()?.methods() {
        let service = method.path.split('/').nth(1).context("no service")?;
        let channel = match rollcall_proto::server_of(service) {
            Some("auth-gateway") => &gateway,
            _ => &worker,
        };
        // An empty request is refused by all methods that require something; the others answer.
        let Ok(empty) = status(channel, &method.path, b"").await else {
            continue;
        };
        let later = status(channel, &method.path, &unknown).await?;
        assert_eq!(
            (later.code(), later.message(), later.details()),
            (empty.code(), empty.message(), empty.details()),
            "{}",
            method.path
        );
        refused += 1;
    }
    assert!(refused > 30, "only {refused} methods refused an empty request");
    Ok(())
}
