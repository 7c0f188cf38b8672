//! Messages of the contract as JSON.

use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde_json::Value;

use crate::{FILE_DESCRIPTOR_SET, v1};

/// The contract, as far as it describes itself.
pub(crate) static CONTRACT: LazyLock<Option<DescriptorPool>> =
    LazyLock::new(|| DescriptorPool::decode(FILE_DESCRIPTOR_SET).ok());

/// An audit event in one line: the proto3 JSON mapping, with the names of the fields. `besides` is added to it, by name.
/// `None` never happens, unless the contract is damaged.
pub fn audit_event_line(event: &v1::AuditEvent, besides: &[(&str, bool)]) -> Option<String> {
    let Value::Object(mut fields) = json("rollcall.v1.AuditEvent", event)? else {
        return None;
    };
    for (name, value) in besides {
        fields.insert((*name).to_owned(), Value::Bool(*value));
    }
    serde_json::to_string(&fields).ok()
}

fn json(name: &str, message: &impl Message) -> Option<Value> {
    let described = CONTRACT.as_ref()?.get_message_by_name(name)?;
    let mut dynamic = DynamicMessage::new(described);
    dynamic.transcode_from(message).ok()?;
    let options = SerializeOptions::new().use_proto_field_name(true);
    dynamic
        .serialize_with_options(serde_json::value::Serializer, &options)
        .ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_audit_event_is_one_line() {
        let event = v1::AuditEvent {
            name: "tenants/acme/auditEvents/1".into(),
            kind: Some(v1::audit_event::Kind::Change(v1::AuditedChange {
                method: "TenantService.UpdateTenant".into(),
                resource: "two\nlines".into(),
                ..v1::AuditedChange::default()
            })),
            ..v1::AuditEvent::default()
        };
        let line = audit_event_line(&event, &[("maybe_repeated", true)]).unwrap();
        assert_eq!(
            line,
            r#"{"change":{"method":"TenantService.UpdateTenant","resource":"two\nlines"},"maybe_repeated":true,"name":"tenants/acme/auditEvents/1"}"#
        );
    }
}
