//! Any method of a server, as the server itself describes it: a request from JSON, and what became of it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use http_body_util::BodyExt;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor};
use prost_types::FileDescriptorSet;
use tonic::body::Body;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};
use tonic_types::StatusExt;
use tower::ServiceExt;

/// A server with all methods of all services that it lists.
pub(crate) struct Server {
    pub(crate) channel: Channel,
    pub(crate) methods: Vec<MethodDescriptor>,
}

impl Server {
    /// Asks the server what it serves.
    pub(crate) async fn describe(channel: Channel, token: &str) -> Result<Self> {
        let mut files = BTreeMap::new();
        let mut names = Vec::new();
        let listed = reflect(&channel, token, MessageRequest::ListServices(String::new())).await?;
        if let Some(MessageResponse::ListServicesResponse(list)) = listed.message_response {
            names.extend(list.service.into_iter().map(|service| service.name));
        }
        for name in &names {
            let asked = MessageRequest::FileContainingSymbol(name.clone());
            let Some(MessageResponse::FileDescriptorResponse(found)) =
                reflect(&channel, token, asked).await?.message_response
            else {
                bail!("{name} is listed and not described");
            };
            for file in found.file_descriptor_proto {
                let file = prost_types::FileDescriptorProto::decode(file.as_slice())?;
                files.insert(file.name().to_owned(), file);
            }
        }
        // What a file imports is asked for by its name.
        while let Some(missing) = files
            .values()
            .flat_map(|file| &file.dependency)
            .find(|name| !files.contains_key(*name))
            .cloned()
        {
            let asked = MessageRequest::FileByFilename(missing.clone());
            let Some(MessageResponse::FileDescriptorResponse(found)) =
                reflect(&channel, token, asked).await?.message_response
            else {
                bail!("{missing} is imported and not described");
            };
            for file in found.file_descriptor_proto {
                let file = prost_types::FileDescriptorProto::decode(file.as_slice())?;
                files.insert(file.name().to_owned(), file);
            }
        }
        let set = FileDescriptorSet {
            file: files.into_values().collect(),
        };
        let pool = DescriptorPool::from_file_descriptor_set(set)?;
        let services = names.iter().map(|name| pool.get_service_by_name(name));
        let services: Option<Vec<_>> = services.collect();
        let services = services.context("a listed service is in no file")?;
        Ok(Self {
            channel,
            methods: services
                .iter()
                .flat_map(|service| service.methods().collect::<Vec<_>>())
                .collect(),
        })
    }

    /// Calls a method of one answer with a request in JSON.
    pub(crate) async fn call(
        &self,
        method: &MethodDescriptor,
        token: Option<&str>,
        json: &str,
    ) -> Result<Outcome> {
        let request = from_json(method, json)?;
        let mut frame = vec![0];
        frame.extend(u32::try_from(request.len())?.to_be_bytes());
        frame.extend(request);
        let service = method.parent_service().full_name();
        let mut call = http::Request::post(format!("http://x/{service}/{}", method.name()))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if let Some(token) = token {
            call = call.header("authorization", format!("Bearer {token}"));
        }
        let call = call.body(Body::new(http_body_util::Full::from(frame)))?;
        let response = self.channel.clone().oneshot(call).await?;
        if let Some(status) = Status::from_header_map(response.headers()) {
            return Ok(Outcome::of(&status));
        }
        if method.is_server_streaming() {
            // It goes on for as long as it likes.
            return Ok(Outcome::Answer(DynamicMessage::new(method.output())));
        }
        let body = response.into_body().collect().await?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        match Status::from_header_map(&trailers).context("no status")? {
            status if status.code() != Code::Ok => Ok(Outcome::of(&status)),
            _ => {
                let bytes = body.to_bytes();
                let message = bytes.get(5..).context("no message")?;
                Ok(Outcome::Answer(DynamicMessage::decode(method.output(), message)?))
            }
        }
    }
}

/// What became of a call.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Outcome {
    Answer(DynamicMessage),
    Refused(Refusal),
}

/// All that a client sees of a refusal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) reason: String,
    pub(crate) metadata: BTreeMap<String, String>,
    message: String,
    details: Vec<u8>,
}

impl Outcome {
    fn of(status: &Status) -> Self {
        let info = status.get_details_error_info();
        let (reason, metadata) = info.map(|info| (info.reason, info.metadata)).unwrap_or_default();
        Self::Refused(Refusal {
            code: status.code(),
            reason,
            metadata: metadata.into_iter().collect(),
            message: status.message().to_owned(),
            details: status.details().to_vec(),
        })
    }

    /// Code and reason; `OK` for an answer.
    pub(crate) fn told(&self) -> (Code, &str) {
        match self {
            Outcome::Answer(_) => (Code::Ok, ""),
            Outcome::Refused(refusal) => (refusal.code, &refusal.reason),
        }
    }

    pub(crate) fn refusal(&self) -> Result<&Refusal> {
        match self {
            Outcome::Answer(_) => bail!("it was carried out"),
            Outcome::Refused(refusal) => Ok(refusal),
        }
    }
}

impl Refusal {
    /// The same with one name in the place of another of the same length.
    pub(crate) fn renamed(&self, from: &str, to: &str) -> Self {
        assert_eq!(from.len(), to.len());
        let mut details = self.details.clone();
        for start in 0..details.len().saturating_sub(from.len()) + 1 {
            let place = start..start + from.len();
            if details.get(place.clone()) == Some(from.as_bytes()) {
                details[place].copy_from_slice(to.as_bytes());
            }
        }
        let metadata = self.metadata.iter();
        Self {
            code: self.code,
            reason: self.reason.clone(),
            metadata: metadata
                .map(|(key, value)| (key.clone(), value.replace(from, to)))
                .collect(),
            message: self.message.replace(from, to),
            details,
        }
    }
}

/// The name of a method as the audit log has it, for those of the contract.
pub(crate) fn short_name(method: &MethodDescriptor) -> String {
    let service = method.parent_service();
    let service = match service.package_name() {
        "rollcall.v1" => service.name().to_owned(),
        _ => service.full_name().to_owned(),
    };
    format!("{service}.{}", method.name())
}

fn from_json(method: &MethodDescriptor, json: &str) -> Result<Vec<u8>> {
    let mut text = serde_json::Deserializer::from_str(json);
    let message = DynamicMessage::deserialize(method.input(), &mut text)
        .with_context(|| format!("{}: {json}", method.full_name()))?;
    text.end()?;
    Ok(message.encode_to_vec())
}

async fn reflect(channel: &Channel, token: &str, asked: MessageRequest) -> Result<ServerReflectionResponse> {
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(asked),
    };
    let mut call = tonic::Request::new(tokio_stream::iter([request]));
    let bearer = format!("Bearer {token}").parse()?;
    call.metadata_mut().insert("authorization", bearer);
    let mut answers = ServerReflectionClient::new(channel.clone())
        .server_reflection_info(call)
        .await?
        .into_inner();
    answers.message().await?.context("no answer")
}
