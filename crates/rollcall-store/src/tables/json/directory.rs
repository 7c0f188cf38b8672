//! Settings and observations of directories.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rollcall_core::dialect::Dialect;
use rollcall_core::directory::{DirectoryObservations, DirectorySettings, HostUrl, TransportSecurity};
use rollcall_core::id::UserSyncId;
use rollcall_core::soft_lock::{SoftLock, SoftLockMode};
use serde::{Deserialize, Serialize};

use crate::db::timestamp;
use crate::tables::json::{json_column, text_of};
use crate::tables::labels;

#[derive(Serialize, Deserialize)]
#[serde(remote = "DirectorySettings")]
struct Settings {
    display_name: String,
    disabled: bool,
    #[serde(with = "hosts")]
    hosts: Vec<HostUrl>,
    port: Option<u16>,
    #[serde(with = "labels")]
    transport_security: TransportSecurity,
    allow_plaintext: bool,
    ca_certificates: String,
    tls_server_name: Option<String>,
    client_certificate: Option<String>,
    bind_dn: String,
    connect_timeout: Duration,
    operation_timeout: Duration,
    page_size: u32,
    external_id_attribute: Option<String>,
    #[serde(with = "SoftLockMirror", default)]
    soft_lock: SoftLock,
    #[serde(default)]
    bind_password_max_age: Option<Duration>,
    #[serde(default)]
    contact_addresses: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "SoftLock")]
struct SoftLockMirror {
    limit: Option<u32>,
    window: Option<Duration>,
    duration: Option<Duration>,
    #[serde(with = "labels::optional")]
    mode: Option<SoftLockMode>,
}

text_of!(
    hosts,
    Vec<HostUrl>,
    |hosts| hosts
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" "),
    |text| text
        .split_whitespace()
        .map(|host| HostUrl::parse(host).ok())
        .collect()
);

#[derive(Serialize, Deserialize)]
#[serde(remote = "DirectoryObservations")]
struct Observations {
    #[serde(with = "labels::optional")]
    dialect: Option<Dialect>,
    vendor: Option<String>,
    capabilities: Vec<String>,
    lockout_threshold: Option<u32>,
    lockout_window: Option<Duration>,
    #[serde(with = "hidden_state", default)]
    hidden_state: BTreeMap<UserSyncId, Vec<String>>,
    #[serde(with = "timestamp::optional_micros", default)]
    bind_password_expire_time: Option<DateTime<Utc>>,
    #[serde(with = "timestamp::optional_micros", default)]
    certificate_end: Option<DateTime<Utc>>,
    #[serde(with = "timestamp::optional_micros", default)]
    unreachable_since: Option<DateTime<Utc>>,
    #[serde(with = "timestamp::optional_micros")]
    observe_time: Option<DateTime<Utc>>,
}

text_of!(
    hidden_state,
    BTreeMap<UserSyncId, Vec<String>>,
    |of_syncs| of_syncs
        .iter()
        .map(|(user_sync, names)| format!("{user_sync}:{}", names.join(",")))
        .collect::<Vec<_>>()
        .join(" "),
    |text| text
        .split_whitespace()
        .map(|of_sync| {
            let (user_sync, names) = of_sync.split_once(':')?;
            Some((UserSyncId::parse(user_sync)?, names.split(',').map(str::to_owned).collect()))
        })
        .collect()
);

json_column!(DirectorySettings, Settings);
json_column!(DirectoryObservations, Observations);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::json::golden::{current, earlier};

    #[test]
    fn rows_of_each_release_are_read() {
        let directory = |end: &str| {
            r#"{"display_name":"Main","disabled":false,"hosts":"ldaps://dc1.example.com ldap://dc2.example.com:3268","port":636,"transport_security":"LDAPS","allow_plaintext":false,"ca_certificates":"","tls_server_name":null,"client_certificate":null,"bind_dn":"cn=reader","connect_timeout":{"secs":5,"nanos":0},"operation_timeout":{"secs":30,"nanos":0},"page_size":500,"external_id_attribute":null"#
                .to_owned()
                + end
        };
        let soft_lock =
            r#","soft_lock":{"limit":4,"window":{"secs":1800,"nanos":0},"duration":null,"mode":"LOG"}"#;
        current::<DirectorySettings>(&directory(&format!(
            r#"{soft_lock},"bind_password_max_age":{{"secs":86400,"nanos":0}},"contact_addresses":["it@acme.example"]}}"#
        )));
        earlier::<DirectorySettings>(&directory(&format!("{soft_lock}}}")));
        earlier::<DirectorySettings>(&directory("}"));
        current::<DirectoryObservations>(
            r#"{"dialect":"OPEN_LDAP","vendor":"OpenLDAP","capabilities":["paged results"],"lockout_threshold":5,"lockout_window":null,"hidden_state":"staff:pwdEndTime","bind_password_expire_time":1800000000000000,"certificate_end":1800000000000001,"unreachable_since":1700000000000000,"observe_time":1700000000000000}"#,
        );
        earlier::<DirectoryObservations>(
            r#"{"dialect":"OPEN_LDAP","vendor":"OpenLDAP","capabilities":["paged results"],"lockout_threshold":5,"lockout_window":null,"hidden_state":"staff:pwdEndTime","observe_time":1700000000000000}"#,
        );
        earlier::<DirectoryObservations>(
            r#"{"dialect":null,"vendor":null,"capabilities":[],"lockout_threshold":null,"lockout_window":null,"observe_time":null}"#,
        );
    }
}
