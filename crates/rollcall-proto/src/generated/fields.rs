// Made from the .proto files; see tests/it/generated_fields.rs.

writable_fields!(Directory {
    display_name,
    disabled,
    hosts,
    port,
    transport_security,
    allow_plaintext,
    ca_certificates,
    tls_server_name,
    client_certificate,
    client_private_key,
    bind_dn,
    bind_password,
    connect_timeout,
    operation_timeout,
    page_size,
    external_id_attribute,
    soft_lock,
    bind_password_max_age,
    contact_addresses,
} parts { soft_lock });

writable_fields!(Tenant {
    display_name,
    user_sync_enabled,
    verified_domains,
} parts {  });

writable_fields!(User {
    login,
    email,
    display_name,
    given_name,
    family_name,
    phone_number,
    role,
    restrictions,
    custom,
    owner,
} parts {  });

writable_fields!(UserSync {
    display_name,
    directory,
    disabled,
    searches,
    role,
    role_rules,
    field_mappings,
    new_users,
    existing_users,
    missing_users,
    overwrite_local_users,
    login_changes,
    auto_sync,
    schedule,
    time_zone,
    restrictions,
    removal_limit,
    report,
    growth_limit,
    erase_after,
} parts { field_mappings, removal_limit, report, growth_limit });

part_fields!(SoftLock {
    limit,
    window,
    duration,
    mode,
});

part_fields!(FieldMappings {
    login,
    email,
    display_name,
    given_name,
    family_name,
    phone_number,
    custom,
});

part_fields!(RemovalLimit {
    max_count,
    max_percent,
});

part_fields!(ReportSettings {
    when,
    addresses,
});

part_fields!(GrowthLimit {
    max_count,
    max_percent,
});

texts!(User: String {
    name,
    user_sync,
    directory,
    external_id,
    external_id_attribute,
    dn,
    login,
    email,
    display_name,
    given_name,
    family_name,
    phone_number,
    role,
    etag,
});

texts!(FieldMappings: Vec<String> {
    login,
    email,
    display_name,
    given_name,
    family_name,
    phone_number,
});
