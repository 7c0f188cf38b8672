//! Every method of every service of both servers, as the servers describe them, called by whoever must not: what each is
//! told, and that it tells nothing of other tenants.

mod rows;
mod wire;

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use prost_reflect::{MethodDescriptor, Value};
use rollcall_proto::v1;
use rollcall_runtime::caller::Permission;
use rollcall_service::methods::{METHODS, Row, Whose};
use system_tests::{Backend, System};
use tonic::Code;
use tonic::metadata::AsciiMetadataValue;

use self::rows::{request, with_more_names};
use self::wire::{Outcome, Refusal, Server, short_name};

/// May do everything, for all tenants.
const OPERATOR: &str = "operator";
/// May do everything, for the tenant `walker`.
const WALKER: &str = "walker";

/// The walker's tenant, another that exists, and one that does not. As long as one another.
const OWN: &str = "walker";
const OTHER: &str = "strang";
const MISSING: &str = "nobody";

/// Answered to whoever asks, callers or not: probes have no credentials. The methods are reads of this server alone.
const OPEN: [&str; 2] = ["grpc.health.v1.Health.Check", "grpc.health.v1.Health.Watch"];
/// Answered to every caller.
const OF_EVERY_CALLER: [&str; 2] = [
    "grpc.reflection.v1.ServerReflection.ServerReflectionInfo",
    "grpc.reflection.v1alpha.ServerReflection.ServerReflectionInfo",
];

/// What a tenant has.
struct Things {
    user: String,
    run: String,
}

struct Walk {
    _system: System,
    servers: Vec<Server>,
    own: Things,
    other: Things,
}

fn without(permission: Permission) -> String {
    format!("without-{}", permission.as_str())
}

/// The configuration of all callers.
fn callers() -> String {
    let all: Vec<&str> = Permission::ALL.iter().map(|one| one.as_str()).collect();
    let entry = |name: &str, permissions: &[&str], tenants: &[&str]| {
        let hash = sha256(name);
        format!(
            "[[callers]]\nname = \"{name}\"\ntoken_sha256 = \"{hash}\"\n\
             permissions = {permissions:?}\ntenants = {tenants:?}\n"
        )
    };
    let mut entries = vec![entry(OPERATOR, &all, &["*"]), entry(WALKER, &all, &[OWN])];
    for permission in Permission::ALL {
        let others: Vec<&str> = all
            .iter()
            .copied()
            .filter(|name| *name != permission.as_str())
            .collect();
        entries.push(entry(&without(*permission), &others, &["*"]));
    }
    entries.concat()
}

fn sha256(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn operators<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    let token = AsciiMetadataValue::from_static("Bearer operator");
    request.metadata_mut().insert("authorization", token);
    request
}

impl Walk {
    async fn start() -> Result<Self> {
        let system = System::start_with(Backend::Sqlite, &[636], &callers()).await?;
        let own = furnish(&system, OWN).await?;
        let other = furnish(&system, OTHER).await?;
        let mut servers = Vec::new();
        for service in [&system.gateway, &system.worker] {
            servers.push(Server::describe(service.channel().await?, OPERATOR).await?);
        }
        Ok(Self {
            _system: system,
            servers,
            own,
            other,
        })
    }

    /// Each method with its server, but for health and reflection.
    fn methods(&self) -> impl Iterator<Item = (&Server, &MethodDescriptor, &'static Row)> {
        let all = self
            .servers
            .iter()
            .flat_map(|server| server.methods.iter().map(move |method| (server, method)));
        all.filter_map(|(server, method)| {
            let name = short_name(method);
            let row = METHODS.iter().find(|row| row.name == name)?;
            Some((server, method, row))
        })
    }

    /// The request of a method about one tenant which names things of another.
    fn fill(&self, json: &str, tenant: &str, named: &str) -> String {
        let things = match named {
            OWN => &self.own,
            _ => &self.other,
        };
        json.replace("{t}", tenant)
            .replace("{n}", named)
            .replace("{u}", &things.user)
            .replace("{r}", &things.run)
    }

    async fn call(
        &self,
        (server, method, _): (&Server, &MethodDescriptor, &Row),
        token: Option<&str>,
        tenant: &str,
    ) -> Result<Outcome> {
        let json = request(method).with_context(|| format!("no row for {}", short_name(method)))?;
        server
            .call(method, token, &self.fill(&json, tenant, tenant))
            .await
    }
}

/// A tenant with a directory that cannot be reached, a user sync with a run of it, and two of everything that is listed.
async fn furnish(system: &System, tenant: &str) -> Result<Things> {
    let parent = format!("tenants/{tenant}");
    let create = v1::CreateTenantRequest {
        tenant_id: tenant.to_owned(),
        tenant: Some(v1::Tenant {
            display_name: tenant.to_owned(),
            user_sync_enabled: true,
            ..v1::Tenant::default()
        }),
        request_id: String::new(),
    };
    system.tenants().await?.create_tenant(operators(create)).await?;
    for id in ["hq", "branch"] {
        let create = v1::CreateDirectoryRequest {
            parent: parent.clone(),
            directory_id: id.to_owned(),
            directory: Some(v1::Directory {
                display_name: "HQ".to_owned(),
                hosts: vec!["ldaps://127.0.0.1:636".to_owned()],
                transport_security: v1::TransportSecurity::Ldaps.into(),
                bind_dn: "cn=x".to_owned(),
                bind_password: "secret".to_owned(),
                ..v1::Directory::default()
            }),
            request_id: String::new(),
        };
        let mut directories = system.directories().await?;
        directories.create_directory(operators(create)).await?;
    }
    let mut user_syncs = system.user_syncs().await?;
    for id in ["staff", "guests"] {
        let create = v1::CreateUserSyncRequest {
            parent: parent.clone(),
            user_sync_id: id.to_owned(),
            user_sync: Some(system_tests::sync_of(
                &format!("{parent}/directories/hq"),
                "dc=example",
            )),
            request_id: String::new(),
        };
        user_syncs.create_user_sync(operators(create)).await?;
    }
    let mut run = String::new();
    for _ in 0..2 {
        let start = v1::RunUserSyncRequest {
            name: format!("{parent}/userSyncs/staff"),
            mode: v1::SyncRunMode::Preview.into(),
            ..v1::RunUserSyncRequest::default()
        };
        run = user_syncs
            .run_user_sync(operators(start))
            .await?
            .into_inner()
            .name;
        let watch = v1::WatchSyncRunRequest { name: run.clone() };
        let mut runs = system.runs().await?;
        let mut states = runs.watch_sync_run(operators(watch)).await?.into_inner();
        while states.message().await?.is_some() {}
    }
    let mut user = String::new();
    for login in ["ada", "ben"] {
        let create = v1::CreateUserRequest {
            parent: parent.clone(),
            user: Some(v1::User {
                login: login.to_owned(),
                role: "user".to_owned(),
                ..v1::User::default()
            }),
            request_id: String::new(),
        };
        let mut users = system.users().await?;
        user = users.create_user(operators(create)).await?.into_inner().name;
    }
    let last = |name: &str| name.rsplit('/').next().map(str::to_owned).unwrap_or_default();
    Ok(Things {
        user: last(&user),
        run: last(&run),
    })
}

/// Whether the row's data are of one tenant that the request names.
fn of_one_tenant(row: &Row) -> bool {
    !matches!(row.whose, Whose::ForAll | Whose::Own)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_method_refuses_whoever_must_not_call_it_and_tells_nothing_of_other_tenants() -> Result<()> {
    let walk = Walk::start().await?;
    let walked = walk.methods().map(|(_, method, _)| short_name(method));
    let mut seen: Vec<String> = walked.collect();
    for server in &walk.servers {
        for method in &server.methods {
            let name = short_name(method);
            if !OPEN.contains(&name.as_str()) && !OF_EVERY_CALLER.contains(&name.as_str()) {
                assert!(seen.contains(&name), "{name} has no row");
            }
        }
    }
    seen.sort();
    let mut rows: Vec<&str> = METHODS.iter().map(|row| row.name).collect();
    rows.sort_unstable();
    assert_eq!(seen, rows, "a row is of no method that is served");

    for each in walk.methods() {
        let (_, method, row) = each;
        let name = row.name;
        no_credentials(&walk, each).await?;
        let without = without(row.permission);
        let refused = walk.call(each, Some(&without), OWN).await?;
        assert_eq!(
            refused.told(),
            (Code::PermissionDenied, "PERMISSION_MISSING"),
            "{name}"
        );
        let metadata = &refused.refusal()?.metadata;
        assert_eq!(metadata["permission"], row.permission.as_str(), "{name}");
        // The same of what does not exist, so that nobody learns what does.
        let about_nobody = walk.call(each, Some(&without), MISSING).await?;
        assert_eq!(about_nobody, refused, "{name}");
        if of_one_tenant(row) {
            foreign_tenant(&walk, each).await?;
        }
        if matches!(row.whose, Whose::ForAll | Whose::TenantForAll) {
            let refused = walk.call(each, Some(WALKER), OWN).await?;
            assert_eq!(
                refused.told(),
                (Code::PermissionDenied, "TENANT_ACCESS_DENIED"),
                "{name}"
            );
        }
        if row.whose == Whose::TenantOrAll {
            let (server, method, _) = each;
            let all = r#"{"parent": "tenants/-"}"#;
            let refused = server.call(method, Some(WALKER), all).await?;
            assert_eq!(
                refused.told(),
                (Code::PermissionDenied, "TENANT_ACCESS_DENIED"),
                "{name}"
            );
        }
        for json in request(method)
            .iter()
            .map(String::as_str)
            .chain(with_more_names(method).iter().copied())
        {
            if json.contains("{n}") {
                foreign_names(&walk, each, json).await?;
            }
        }
    }
    Ok(())
}

/// Nobody, and somebody with a wrong token: the same of both, whatever tenant it is about.
async fn no_credentials(walk: &Walk, each: (&Server, &MethodDescriptor, &Row)) -> Result<()> {
    let nobody = walk.call(each, None, OWN).await?;
    assert_eq!(
        nobody.told(),
        (Code::Unauthenticated, "CALLER_UNAUTHENTICATED"),
        "{}",
        each.2.name
    );
    for (token, tenant) in [
        (None, OTHER),
        (None, MISSING),
        (Some("wrong"), OWN),
        (Some(""), OWN),
    ] {
        let other = walk.call(each, token, tenant).await?;
        assert_eq!(other, nobody, "{} {token:?} {tenant}", each.2.name);
    }
    Ok(())
}

/// A caller of one tenant asks for another's data, and for a missing tenant's; and a caller of all tenants for the latter.
async fn foreign_tenant(walk: &Walk, each: (&Server, &MethodDescriptor, &Row)) -> Result<()> {
    let name = each.2.name;
    let other = walk.call(each, Some(WALKER), OTHER).await?;
    assert_eq!(
        other.told(),
        (Code::PermissionDenied, "TENANT_ACCESS_DENIED"),
        "{name}"
    );
    let missing = walk.call(each, Some(WALKER), MISSING).await?;
    assert_eq!(
        missing.refusal()?,
        &other.refusal()?.renamed(OTHER, MISSING),
        "{name} tells whether a tenant exists"
    );
    let missing = walk.call(each, Some(OPERATOR), MISSING).await?;
    assert_eq!(missing.told(), (Code::NotFound, "TENANT_NOT_FOUND"), "{name}");
    let resource = &missing.refusal()?.metadata["resource"];
    assert_eq!(resource, &format!("tenants/{MISSING}"), "{name}");
    Ok(())
}

/// A request about one's own tenant that names something of another: whether that exists is not told.
async fn foreign_names(
    walk: &Walk,
    (server, method, row): (&Server, &MethodDescriptor, &Row),
    json: &str,
) -> Result<()> {
    let call = async |named| {
        let json = walk.fill(json, OWN, named);
        server.call(method, Some(WALKER), &json).await
    };
    let (other, missing) = (call(OTHER).await?, call(MISSING).await?);
    match (&other, &missing) {
        (Outcome::Answer(other), Outcome::Answer(missing)) => {
            // A filter that matches nothing of one's own.
            assert_eq!(other, missing, "{} {json}", row.name);
            let filtered =
                ["AuditService.ListAuditEvents", "AuditService.WatchAuditEvents"].contains(&row.name);
            assert!(
                filtered && other.fields().count() == 0,
                "{} {json} {other}",
                row.name
            );
        }
        _ => {
            let other = other.refusal()?;
            assert_eq!(
                (other.code, &*other.reason),
                (Code::InvalidArgument, "INVALID_FIELD"),
                "{} {json}",
                row.name
            );
            assert_eq!(
                missing.refusal()?,
                &other.renamed(OTHER, MISSING),
                "{} {json}",
                row.name
            );
        }
    }
    Ok(())
}

/// The token of a page's answer.
fn token_of(outcome: &Outcome) -> Option<String> {
    let Outcome::Answer(message) = outcome else {
        return None;
    };
    let token = message.get_field_by_name("next_page_token")?;
    Some(token.as_str()?.to_owned()).filter(|token| !token.is_empty())
}

/// The request of a list with further fields.
fn with(json: &str, fields: &str) -> String {
    let rest = json.trim_start().strip_prefix('{').unwrap_or(json);
    let comma = if rest.trim() == "}" { "" } else { ", " };
    format!("{{{fields}{comma}{rest}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_list_refuses_tokens_of_other_lists_tenants_and_callers_alike() -> Result<()> {
    let walk = Walk::start().await?;
    let lists: Vec<_> = walk
        .methods()
        .filter(|(_, method, _)| method.input().get_field_by_name("page_token").is_some())
        .collect();
    assert!(lists.len() >= 8, "{} lists", lists.len());
    // Tokens by the method, the caller and the tenant that they were given out for.
    let mut tokens: BTreeMap<(&str, &str, &str), String> = BTreeMap::new();
    for (server, method, row) in &lists {
        let json = request(method).context("no row")?;
        for (caller, tenant) in [(WALKER, OWN), (OPERATOR, OWN), (OPERATOR, OTHER)] {
            let json = with(&walk.fill(&json, tenant, tenant), "\"pageSize\": 1");
            let page = server.call(method, Some(caller), &json).await?;
            if let Some(token) = token_of(&page) {
                tokens.insert((row.name, caller, tenant), token);
            }
        }
    }
    // Lists of what a run found have nothing in them here, and users are asked for by a user sync that has none.
    let giving: std::collections::BTreeSet<&str> = tokens.keys().map(|(name, ..)| *name).collect();
    assert!(giving.len() >= 4, "{giving:?}");
    for (server, method, row) in &lists {
        let json = request(method).context("no row")?;
        let mut told: Vec<Refusal> = Vec::new();
        let mut refused = async |token: &str, what: &str| -> Result<()> {
            let page = format!("\"pageToken\": \"{token}\", \"pageSize\": 2");
            let json = with(&walk.fill(&json, OWN, OWN), &page);
            let outcome = server.call(method, Some(WALKER), &json).await?;
            let expected = (Code::InvalidArgument, "INVALID_PAGE_TOKEN");
            assert_eq!(outcome.told(), expected, "{} {what}", row.name);
            told.push(outcome.refusal()?.clone());
            Ok(())
        };
        for ((name, caller, tenant), token) in &tokens {
            if (*name, *caller, *tenant) == (row.name, WALKER, OWN) {
                refused(&token[..token.len() - 1], "cut").await?;
                refused(&format!("{token}AAAA"), "longer").await?;
                refused(&token.replacen(&token[..1], "B", 1), "changed").await?;
                let next = with(
                    &walk.fill(&json, OWN, OWN),
                    &format!("\"pageToken\": \"{token}\""),
                );
                let next = server.call(method, Some(WALKER), &next).await?;
                assert_eq!(next.told().0, Code::Ok, "{}: its own token", row.name);
            } else {
                refused(token, &format!("of {name} for {caller} and {tenant}")).await?;
            }
        }
        for token in ["x", "====", "AAAA", &"A".repeat(3000)] {
            refused(token, "made up").await?;
        }
        assert!(
            told.windows(2).all(|two| two[0] == two[1]),
            "{}: {told:?}",
            row.name
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_feed_refuses_cursors_of_other_feeds_and_takes_those_of_other_callers() -> Result<()> {
    let walk = Walk::start().await?;
    let find = |name: &str| walk.methods().find(|(_, _, row)| row.name == name);
    let (server, list, _) = find("UserService.ListUserEvents").context("no feed")?;
    let cursor = async |caller: &str, tenant: &str| -> Result<String> {
        let json = format!("{{\"parent\": \"tenants/{tenant}\"}}");
        let Outcome::Answer(page) = server.call(list, Some(caller), &json).await? else {
            anyhow::bail!("{caller} may not read {tenant}");
        };
        let next = page.get_field_by_name("next_cursor").context("no cursor")?;
        Ok(next.as_str().context("no text")?.to_owned())
    };
    let own = cursor(OPERATOR, OWN).await?;
    let mut wrong = vec![
        cursor(OPERATOR, OTHER).await?,
        cursor(OPERATOR, "-").await?,
        "x".to_owned(),
        own[1..].to_owned(),
    ];
    wrong.extend((1..own.len()).map(|end| own[..end].to_owned()));
    let feeds: Vec<_> = walk
        .methods()
        .filter(|(_, method, _)| method.input().get_field_by_name("after").is_some())
        .filter(|(_, _, row)| row.name.contains("UserEvents"))
        .collect();
    assert_eq!(feeds.len(), 2);
    for (server, method, row) in feeds {
        let mut told: Vec<Refusal> = Vec::new();
        for cursor in &wrong {
            let json = format!("{{\"parent\": \"tenants/{OWN}\", \"after\": \"{cursor}\"}}");
            let outcome = server.call(method, Some(WALKER), &json).await?;
            let expected = (Code::InvalidArgument, "INVALID_CURSOR");
            assert_eq!(outcome.told(), expected, "{} {cursor}", row.name);
            told.push(outcome.refusal()?.clone());
        }
        assert!(told.windows(2).all(|two| two[0] == two[1]), "{told:?}");
        // Whoever may read the feed may go on where another did, with another filter too.
        let types = "\"types\": [\"USER_EVENT_TYPE_CREATED\"]";
        let json = format!("{{\"parent\": \"tenants/{OWN}\", \"after\": \"{own}\", {types}}}");
        let outcome = server.call(method, Some(WALKER), &json).await?;
        assert_eq!(outcome.told().0, Code::Ok, "{}", row.name);
        // And it grants nothing.
        let theirs = format!("{{\"parent\": \"tenants/{OTHER}\", \"after\": \"{}\"}}", wrong[0]);
        let outcome = server.call(method, Some(WALKER), &theirs).await?;
        let expected = (Code::PermissionDenied, "TENANT_ACCESS_DENIED");
        assert_eq!(outcome.told(), expected, "{}", row.name);
    }
    Ok(())
}

/// What one caller made with a request id is not what another gets by it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_id_is_each_callers_and_each_tenants_own() -> Result<()> {
    let walk = Walk::start().await?;
    let creating = [
        "UserService.CreateUser",
        "DirectoryService.CreateDirectory",
        "UserSyncService.CreateUserSync",
    ];
    for each in walk.methods().filter(|(_, _, row)| creating.contains(&row.name)) {
        let name = |outcome: &Outcome| match outcome {
            Outcome::Answer(message) => match message.get_field_by_name("name").as_deref() {
                Some(Value::String(name)) => Ok(name.clone()),
                _ => anyhow::bail!("no name"),
            },
            Outcome::Refused(refusal) => anyhow::bail!("{}: {refusal:?}", each.2.name),
        };
        let theirs = name(&walk.call(each, Some(OPERATOR), OTHER).await?)?;
        let mine = name(&walk.call(each, Some(WALKER), OWN).await?)?;
        assert!(theirs.starts_with(&format!("tenants/{OTHER}/")), "{theirs}");
        assert!(mine.starts_with(&format!("tenants/{OWN}/")), "{mine}");
        let again = name(&walk.call(each, Some(WALKER), OWN).await?)?;
        assert_eq!(again, mine);
    }
    Ok(())
}
