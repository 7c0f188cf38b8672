//! The contract as its descriptors tell it, and messages that break it.

use anyhow::Result;
use prost::Message;
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};

/// Deep enough for every field there is; messages may hold themselves.
const MAX_DEPTH: usize = 5;

/// A method of the contract.
pub struct Method {
    /// `/rollcall.v1.Service/Method`.
    pub path: String,
    /// The full name of its request, with a dot before it.
    pub input: String,
}

/// Every service, method and message.
pub struct Contract(FileDescriptorSet);

impl Contract {
    /// What the binaries are built with.
    ///
    /// # Errors
    /// The descriptors do not decode.
    pub fn read() -> Result<Self> {
        Ok(Self(FileDescriptorSet::decode(
            rollcall_proto::FILE_DESCRIPTOR_SET,
        )?))
    }

    /// The methods of all our services.
    pub fn methods(&self) -> Vec<Method> {
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
    pub fn bad_texts(&self, message: &str) -> Vec<(String, Vec<u8>)> {
        self.bad_texts_within(message, MAX_DEPTH)
    }

    fn bad_texts_within(&self, message: &str, depth: usize) -> Vec<(String, Vec<u8>)> {
        let Some(descriptor) = self.message(message).filter(|_| depth > 0) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for field in &descriptor.field {
            let name = name_in_errors(descriptor, field);
            match field.r#type() {
                Type::String => found.push((name.to_owned(), wrapped(field, b"secret\xff"))),
                Type::Message => {
                    let inner = self.bad_texts_within(field.type_name(), depth - 1);
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

fn wrapped(field: &FieldDescriptorProto, content: &[u8]) -> Vec<u8> {
    length_delimited(field.number().unsigned_abs(), content)
}

/// A field of this number as it is sent, whose content is this.
pub fn length_delimited(number: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, &mut bytes);
    prost::encoding::encode_varint(content.len() as u64, &mut bytes);
    bytes.extend(content);
    bytes
}
