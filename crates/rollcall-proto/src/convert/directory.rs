//! DirectoryService. Its checks are in [`check`](super::check).

use std::time::Duration;

use rollcall_core::dialect::Dialect;
use rollcall_core::directory::{
    Directory, DirectoryObservations, DirectorySettings, HostUrl, PasswordStrength, TransportSecurity,
};
use rollcall_core::soft_lock::{SoftLock, SoftLockMode};
use rollcall_core::violation::Violations;

use crate::decode::{choice, merge, non_empty, wire_enum};
use crate::etag::etag;
use crate::time::decode_duration;
use crate::{duration, resource_name, timestamp, v1};

mod request;
mod secrets;

pub use request::{CreateDirectory, DeleteDirectory, ListDirectories, RotateBindPassword, UpdateDirectory};
pub use secrets::DirectorySecrets;

wire_enum!(
    TransportSecurity,
    TransportSecurity {
        Ldaps,
        StartTls,
        Plaintext
    }
);
wire_enum!(SoftLockMode, SoftLockMode { Enforce, Log });
wire_enum!(SecretStrength, PasswordStrength { Weak, Fair, Strong });

impl From<Dialect> for v1::DirectoryServerKind {
    fn from(dialect: Dialect) -> Self {
        let name = format!("DIRECTORY_SERVER_KIND_{}", dialect.row().contract_name);
        Self::from_str_name(&name).unwrap_or_default()
    }
}

impl From<&Directory> for v1::Directory {
    fn from(directory: &Directory) -> Self {
        let endpoint_state = match directory.endpoint_confirmed {
            true => v1::EndpointState::Confirmed,
            false => v1::EndpointState::Unconfirmed,
        };
        let strength = directory.bind_password_strength.map(v1::SecretStrength::from);
        Self {
            name: resource_name::directory(&directory.tenant, &directory.id),
            client_private_key_set: directory.settings.client_certificate.is_some(),
            bind_password_set: directory.bind_password_set,
            bind_password_update_time: directory.bind_password_update_time.map(timestamp),
            bind_password_strength: strength.unwrap_or_default().into(),
            pending_bind_password_time: directory.pending_bind_password_time.map(timestamp),
            pending_bind_password_refuse_time: directory.pending_bind_password_refuse_time.map(timestamp),
            bind_password_expire_time: directory.observed.bind_password_expire_time.map(timestamp),
            endpoint_state: endpoint_state.into(),
            server: server(&directory.observed),
            etag: etag(directory.revision),
            create_time: Some(timestamp(directory.create_time)),
            update_time: Some(timestamp(directory.update_time)),
            ..wire(&directory.settings)
        }
    }
}

fn server(observed: &DirectoryObservations) -> Option<v1::DirectoryServer> {
    let (observe_time, dialect) = (observed.observe_time?, observed.dialect?);
    Some(v1::DirectoryServer {
        kind: v1::DirectoryServerKind::from(dialect).into(),
        vendor: observed.vendor.clone().unwrap_or_default(),
        capabilities: observed.capabilities.clone(),
        lockout_threshold: observed
            .lockout_threshold
            .map(|threshold| i32::try_from(threshold).unwrap_or(i32::MAX)),
        observe_time: Some(timestamp(observe_time)),
    })
}

/// Decodes and checks the settings. Paths are those of the message's fields.
pub(super) fn settings(found: &mut Violations, wire: &v1::Directory) -> DirectorySettings {
    let settings = decode(found, wire);
    merge(found, settings.validate());
    settings
}

fn decode(found: &mut Violations, wire: &v1::Directory) -> DirectorySettings {
    // Every field is named here and in `wire`, so that neither compiles without one that is added. The secrets are
    // [`DirectorySecrets`]'s.
    let v1::Directory {
        display_name,
        disabled,
        hosts: host_urls,
        port,
        transport_security,
        allow_plaintext,
        ca_certificates,
        tls_server_name,
        client_certificate,
        bind_dn,
        connect_timeout,
        operation_timeout,
        page_size,
        external_id_attribute,
        soft_lock: lock,
        bind_password_max_age,
        contact_addresses,
        client_private_key: _,
        bind_password: _,
        name: _,
        client_private_key_set: _,
        bind_password_set: _,
        bind_password_update_time: _,
        bind_password_strength: _,
        pending_bind_password_time: _,
        pending_bind_password_refuse_time: _,
        bind_password_expire_time: _,
        endpoint_state: _,
        server: _,
        host_health: _,
        etag: _,
        create_time: _,
        update_time: _,
    } = wire;
    let mut hosts = Vec::new();
    for (index, host) in host_urls.iter().enumerate() {
        hosts.extend(found.take(&format!("hosts[{index}]"), HostUrl::parse(host)));
    }
    let default = DirectorySettings::with_defaults(hosts);
    let transport_security =
        choice::<v1::TransportSecurity, _>(found, "transport_security", *transport_security)
            .unwrap_or(default.transport_security);
    let port = port.and_then(|port| {
        let port = u16::try_from(port).map_err(|_| "must be from 1 to 65535");
        found.take("port", port)
    });
    let page_size = match *page_size {
        0 => Ok(default.page_size),
        size => u32::try_from(size).map_err(|_| "must not be negative"),
    };
    let mut timeout = |field: &str, wire: Option<prost_types::Duration>, default: Duration| {
        decode_duration(found, field, wire, default)
    };
    let (connect_timeout, operation_timeout) = (
        timeout("connect_timeout", *connect_timeout, default.connect_timeout),
        timeout("operation_timeout", *operation_timeout, default.operation_timeout),
    );
    DirectorySettings {
        display_name: display_name.clone(),
        disabled: *disabled,
        hosts: default.hosts,
        port,
        transport_security,
        allow_plaintext: *allow_plaintext,
        ca_certificates: ca_certificates.clone(),
        tls_server_name: non_empty(tls_server_name),
        client_certificate: non_empty(client_certificate),
        bind_dn: bind_dn.clone(),
        connect_timeout,
        operation_timeout,
        page_size: found.take("page_size", page_size).unwrap_or(default.page_size),
        external_id_attribute: non_empty(external_id_attribute),
        soft_lock: lock.map(|wire| soft_lock(found, &wire)).unwrap_or_default(),
        bind_password_max_age: bind_password_max_age
            .map(|wire| decode_duration(found, "bind_password_max_age", Some(wire), Duration::ZERO)),
        contact_addresses: contact_addresses.clone(),
    }
}

fn soft_lock(found: &mut Violations, wire: &v1::SoftLock) -> SoftLock {
    let limit = match wire.limit {
        0 => Ok(None),
        limit => u32::try_from(limit).map(Some).map_err(|_| "must not be negative"),
    };
    let mut time = |field: &str, wire: Option<prost_types::Duration>| {
        wire.map(|wire| decode_duration(found, field, Some(wire), Duration::from_secs(1)))
    };
    let (window, duration) = (
        time("soft_lock.window", wire.window),
        time("soft_lock.duration", wire.duration),
    );
    SoftLock {
        limit: found.take("soft_lock.limit", limit).flatten(),
        window,
        duration,
        mode: choice::<v1::SoftLockMode, _>(found, "soft_lock.mode", wire.mode),
    }
}

/// The settings on the wire. What the service itself says of a directory is empty.
fn wire(settings: &DirectorySettings) -> v1::Directory {
    v1::Directory {
        display_name: settings.display_name.clone(),
        disabled: settings.disabled,
        hosts: settings.hosts.iter().map(ToString::to_string).collect(),
        port: settings.port.map(i32::from),
        transport_security: v1::TransportSecurity::from(settings.transport_security).into(),
        allow_plaintext: settings.allow_plaintext,
        ca_certificates: settings.ca_certificates.clone(),
        tls_server_name: settings.tls_server_name.clone().unwrap_or_default(),
        client_certificate: settings.client_certificate.clone().unwrap_or_default(),
        bind_dn: settings.bind_dn.clone(),
        connect_timeout: Some(duration(settings.connect_timeout)),
        operation_timeout: Some(duration(settings.operation_timeout)),
        page_size: i32::try_from(settings.page_size).unwrap_or(i32::MAX),
        external_id_attribute: settings.external_id_attribute.clone().unwrap_or_default(),
        soft_lock: (settings.soft_lock != SoftLock::default()).then(|| wire_soft_lock(&settings.soft_lock)),
        bind_password_max_age: settings.bind_password_max_age.map(duration),
        contact_addresses: settings.contact_addresses.clone(),
        client_private_key: String::new(),
        bind_password: String::new(),
        name: String::new(),
        client_private_key_set: false,
        bind_password_set: false,
        bind_password_update_time: None,
        bind_password_strength: 0,
        pending_bind_password_time: None,
        pending_bind_password_refuse_time: None,
        bind_password_expire_time: None,
        endpoint_state: 0,
        server: None,
        host_health: Vec::new(),
        etag: String::new(),
        create_time: None,
        update_time: None,
    }
}

fn wire_soft_lock(lock: &SoftLock) -> v1::SoftLock {
    v1::SoftLock {
        limit: lock
            .limit
            .map_or(0, |limit| i32::try_from(limit).unwrap_or(i32::MAX)),
        window: lock.window.map(duration),
        duration: lock.duration.map(duration),
        mode: lock.mode.map(v1::SoftLockMode::from).unwrap_or_default().into(),
    }
}
