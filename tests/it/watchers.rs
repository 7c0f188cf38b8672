//! Callers who take what they can get of the gateway: streams without end, and users as large as there are.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rollcall_proto::v1;
use rollcall_proto::v1::user_service_client::UserServiceClient;
use system_tests::bench::Usage;
use system_tests::{Backend, System};
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_types::StatusExt;

const TENANT: &str = "tenants/acme";
const WATCHERS: usize = 1000;
/// What the settings allow one caller; see `server.max_streams_per_caller`.
const ALLOWED: usize = 100;
const PATIENCE: Duration = Duration::from_secs(60);

fn callers() -> String {
    let entry = |name: &str| {
        let digest = ring::digest::digest(&ring::digest::SHA256, name.as_bytes());
        let hash: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!(
            "[[callers]]\nname = \"{name}\"\ntoken_sha256 = \"{hash}\"\ntenants = [\"*\"]\n\
             permissions = [\"users.read\", \"users.write\", \"tenants.write\", \"authenticate\"]\n"
        )
    };
    ["greedy", "modest"].map(entry).concat()
}

fn by<T>(caller: &'static str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let token = match caller {
        "greedy" => AsciiMetadataValue::from_static("Bearer greedy"),
        _ => AsciiMetadataValue::from_static("Bearer modest"),
    };
    request.metadata_mut().insert("authorization", token);
    request
}

async fn start() -> Result<(System, UserServiceClient<Channel>)> {
    let system = System::start_with(Backend::Sqlite, &[636], &callers()).await?;
    let tenant = v1::CreateTenantRequest {
        tenant_id: "acme".to_owned(),
        tenant: Some(v1::Tenant {
            display_name: "Acme".to_owned(),
            ..v1::Tenant::default()
        }),
        request_id: String::new(),
    };
    system
        .tenants()
        .await?
        .create_tenant(by("modest", tenant))
        .await?;
    let users = system.users().await?;
    Ok((system, users))
}

fn watch(after: &str) -> v1::WatchUserEventsRequest {
    v1::WatchUserEventsRequest {
        parent: TENANT.to_owned(),
        after: after.to_owned(),
        types: Vec::new(),
    }
}

fn user(number: usize) -> v1::User {
    v1::User {
        login: format!("user{number}"),
        role: "user".to_owned(),
        ..v1::User::default()
    }
}

/// A user of every size that the contract allows: 50 custom fields and 100 restrictions of characters of four bytes.
fn largest(number: usize) -> v1::User {
    let custom = (0..50).map(|field| (format!("field{field:02}"), "\u{1F600}".repeat(1024)));
    v1::User {
        custom: custom.collect(),
        restrictions: (0..100)
            .map(|index| format!("{index:03}{}", "\u{1F600}".repeat(251)))
            .collect(),
        ..user(number)
    }
}

fn create(user: v1::User) -> v1::CreateUserRequest {
    v1::CreateUserRequest {
        parent: TENANT.to_owned(),
        user: Some(user),
        request_id: String::new(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_watchers_of_one_caller_stop_nobody_else() -> Result<()> {
    let (system, mut users) = start().await?;
    let greedy = system.users().await?;
    let before = Usage::of(system.gateway.pid())?.resident;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..WATCHERS {
        let mut client = greedy.clone();
        tasks.spawn(async move { client.watch_user_events(by("greedy", watch(""))).await });
    }
    let (mut streams, mut refused) = (Vec::new(), 0);
    while let Some(answer) = tasks.join_next().await {
        match answer? {
            Ok(stream) => streams.push(stream.into_inner()),
            Err(status) => {
                assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
                let info = status.get_details_error_info().context("no reason")?;
                assert_eq!(info.reason, "TOO_MANY_STREAMS");
                refused += 1;
            }
        }
    }
    assert_eq!((streams.len(), refused), (ALLOWED, WATCHERS - ALLOWED));

    // Somebody else follows, changes and logs in as ever.
    let mut modest = users
        .watch_user_events(by("modest", watch("")))
        .await?
        .into_inner();
    modest
        .message()
        .await?
        .context("the stream begins with a cursor")?;
    let mut slowest = Duration::ZERO;
    for number in 0..50 {
        let began = Instant::now();
        users.create_user(by("modest", create(user(number)))).await?;
        let login = v1::AuthenticateRequest {
            tenant: TENANT.to_owned(),
            login: format!("user{number}"),
            password: "secret".to_owned(),
            ..v1::AuthenticateRequest::default()
        };
        let answer = system.auth().await?.authenticate(by("modest", login)).await?;
        ensure!(answer.into_inner().outcome.is_some(), "a login is answered");
        slowest = slowest.max(began.elapsed());
    }
    for number in 0..50 {
        let told = tokio::time::timeout(PATIENCE, modest.message()).await??;
        let event = told.and_then(|message| message.event).context("no event")?;
        assert_eq!(event.user.context("no user")?.login, format!("user{number}"));
    }
    let grown = Usage::of(system.gateway.pid())?.resident.saturating_sub(before);
    eprintln!(
        "slowest change and login: {slowest:?}; memory: {} MiB more",
        grown >> 20
    );
    assert!(slowest < PATIENCE, "{slowest:?}");
    assert!(grown < 100 << 20, "{grown} bytes");
    // Each of the others is served too, and one that ends leaves its place.
    for stream in &mut streams {
        let first = tokio::time::timeout(PATIENCE, stream.message()).await??;
        assert!(first.is_some());
    }
    drop(streams);
    let again = async {
        let mut client = greedy.clone();
        while client.watch_user_events(by("greedy", watch(""))).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_with_its_own_limit_reads_everything_of_the_largest_users() -> Result<()> {
    const USERS: usize = 60;
    let (system, mut users) = start().await?;
    for number in 0..USERS {
        users.create_user(by("modest", create(largest(number)))).await?;
    }
    let before = Usage::of(system.gateway.pid())?.resident;
    let (mut seen, mut pages, mut page_token) = (0, 0, String::new());
    let cursor = loop {
        let request = v1::ListUsersRequest {
            parent: TENANT.to_owned(),
            page_size: 1000,
            page_token: page_token.clone(),
            filter: None,
        };
        let page = users.list_users(by("modest", request)).await?.into_inner();
        for found in &page.users {
            let number = found.login.trim_start_matches("user").parse()?;
            let made = largest(number);
            assert!(found.custom == made.custom && found.restrictions == made.restrictions);
        }
        (seen, pages) = (seen + page.users.len(), pages + 1);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break page.event_cursor;
        }
    };
    assert_eq!((seen, cursor.as_str()), (USERS, ""));
    assert!(pages > USERS / 12, "{pages} pages");
    // All events, in pages and as they come.
    let (mut seen, mut after) = (0, String::new());
    loop {
        let request = v1::ListUserEventsRequest {
            parent: TENANT.to_owned(),
            page_size: 1000,
            after: after.clone(),
            types: Vec::new(),
        };
        let page = users.list_user_events(by("modest", request)).await?.into_inner();
        seen += page.events.len();
        if after.is_empty() {
            let first = page.events.first().context("no event")?;
            let mut stream = users
                .watch_user_events(by("modest", watch(&first.cursor)))
                .await?
                .into_inner();
            stream.message().await?.context("no beginning")?;
            for _ in 1..USERS {
                let told = tokio::time::timeout(PATIENCE, stream.message()).await??;
                ensure!(
                    told.context("the stream ended")?.event.is_some(),
                    "an event is missing"
                );
            }
        }
        after = page.next_cursor;
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, USERS);
    let grown = Usage::of(system.gateway.pid())?
        .peak_resident
        .saturating_sub(before);
    eprintln!("{pages} pages; at most {} MiB more", grown >> 20);
    assert!(grown < 100 << 20, "{grown} bytes");
    Ok(())
}
