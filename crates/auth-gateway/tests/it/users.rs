//! UserService.

use rollcall_proto::v1::*;
use rollcall_testkit::Slapd;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use crate::world::World;

fn reason(status: &Status) -> &'static str {
    rollcall_proto::status::reason(status).map_or("-", |reason| reason.as_str())
}

fn local(login: &str) -> CreateUserRequest {
    CreateUserRequest {
        parent: "tenants/acme".into(),
        user: Some(User {
            login: login.into(),
            role: "admin".into(),
            ..User::default()
        }),
        request_id: String::new(),
    }
}

fn list(filter: UserFilter) -> ListUsersRequest {
    ListUsersRequest {
        parent: "tenants/acme".into(),
        filter: Some(filter),
        ..ListUsersRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_found_listed_and_paged() {
    let world = World::new().await;
    let mut users = world.users();
    let lookup = |identifier: &str| LookupUserRequest {
        parent: "tenants/acme".into(),
        identifier: identifier.into(),
    };
    let ada = users
        .lookup_user(lookup("ADA@ACME.example"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (ada.login.as_str(), ada.source(), ada.state()),
        ("ada", UserSource::Synced, UserState::Active)
    );
    assert_eq!(ada.user_sync, "tenants/acme/userSyncs/staff");
    let same = users
        .get_user(GetUserRequest {
            name: ada.name.clone(),
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(same, ada);
    assert_eq!(
        reason(&users.lookup_user(lookup("nobody")).await.unwrap_err()),
        "USER_NOT_FOUND"
    );

    let bob = users.lookup_user(lookup("bob")).await.unwrap().into_inner();
    let batch = |names: &[&String]| BatchGetUsersRequest {
        parent: "tenants/acme".into(),
        names: names.iter().map(|name| (*name).clone()).collect(),
    };
    let both = users
        .batch_get_users(batch(&[&bob.name, &ada.name, &bob.name]))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(both.users, [bob.clone(), ada.clone(), bob.clone()]);
    let ghost = "tenants/acme/users/00000000-0000-4000-8000-000000000000".to_owned();
    let some = users
        .batch_get_users(batch(&[&ghost, &bob.name, &ghost]))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (some.users, some.missing),
        (vec![bob.clone()], vec![ghost.clone(), ghost])
    );

    let mut seen = Vec::new();
    let mut page = ListUsersRequest {
        page_size: 2,
        ..list(UserFilter::default())
    };
    loop {
        let answer = users.list_users(page.clone()).await.unwrap().into_inner();
        assert_eq!(answer.event_cursor.is_empty(), !page.page_token.is_empty());
        seen.extend(answer.users.into_iter().map(|user| user.login));
        page.page_token = answer.next_page_token;
        if page.page_token.is_empty() {
            break;
        }
    }
    seen.sort();
    assert_eq!(seen, ["ada", "bob", "eve"]);
    let found = |filter| {
        let mut users = users.clone();
        async move {
            let answer = users.list_users(list(filter)).await.unwrap().into_inner();
            answer
                .users
                .into_iter()
                .map(|user| user.login)
                .collect::<Vec<_>>()
        }
    };
    let directory = "tenants/acme/directories/hq".to_owned();
    let by_id = UserFilter {
        directory: directory.clone(),
        external_id: ada.external_id.clone(),
        ..Default::default()
    };
    assert_eq!(found(by_id).await, ["ada"]);
    assert_eq!(
        found(UserFilter {
            prefix: "EV".into(),
            ..Default::default()
        })
        .await,
        ["eve"]
    );
    assert_eq!(
        found(UserFilter {
            source: UserSource::Local.into(),
            ..Default::default()
        })
        .await,
        [""; 0]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_no_client_takes_is_refused_and_a_smaller_one_is_answered() {
    let world = World::new().await;
    let mut users = world.users();
    let mut names = Vec::new();
    for number in 0..100 {
        let mut request = local(&format!("large{number}"));
        let user = request.user.as_mut().unwrap();
        user.custom = (0..50)
            .map(|field| (format!("field{field}"), "x".repeat(1000)))
            .collect();
        names.push(users.create_user(request).await.unwrap().into_inner().name);
    }
    let batch = |names: &[String]| BatchGetUsersRequest {
        parent: "tenants/acme".into(),
        names: names.to_vec(),
    };
    // The client of this test takes no more than 4 MiB either.
    let refused = users.batch_get_users(batch(&names)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    assert_eq!(reason(&refused), "INVALID_FIELD");
    let fields = refused.get_details_bad_request().unwrap().field_violations;
    assert_eq!(fields.len(), 1);
    assert_eq!(fields[0].field, "names");
    assert!(fields[0].description.contains("fewer"), "{fields:?}");
    let half = users.batch_get_users(batch(&names[..50])).await.unwrap();
    let found: Vec<String> = half
        .into_inner()
        .users
        .into_iter()
        .map(|user| user.name)
        .collect();
    assert_eq!(found, names[..50]);
}

#[tokio::test(flavor = "multi_thread")]
async fn local_users_are_kept_and_synced_ones_left_alone() {
    let world = World::new().await;
    let mut users = world.users();
    let refused = users.create_user(local("a b")).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused)),
        (Code::InvalidArgument, "INVALID_FIELD")
    );
    assert_eq!(
        reason(&users.create_user(local("ADA")).await.unwrap_err()),
        "IDENTIFIER_TAKEN"
    );
    let owner = users.create_user(local("owner")).await.unwrap().into_inner();
    assert_eq!(owner.source(), UserSource::Local);
    let update = |user: &User, paths: &[&str]| UpdateUserRequest {
        user: Some(user.clone()),
        update_mask: Some(prost_types::FieldMask {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        }),
    };
    let wanted = User {
        owner: true,
        email: "owner@acme.example".into(),
        ..owner.clone()
    };
    let updated = users
        .update_user(update(&wanted, &["owner", "email"]))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (updated.owner, updated.email.as_str(), updated.revision),
        (true, "owner@acme.example", 2)
    );
    assert_eq!(
        reason(&users.update_user(update(&wanted, &["role"])).await.unwrap_err()),
        "ETAG_MISMATCH"
    );
    let delete = |name: &str| DeleteUserRequest {
        name: name.into(),
        etag: String::new(),
    };
    assert_eq!(
        reason(&users.delete_user(delete(&owner.name)).await.unwrap_err()),
        "OWNER_PROTECTED"
    );

    let ada = format!("tenants/acme/users/{}", world.user("ada").await.id);
    assert_eq!(
        reason(&users.delete_user(delete(&ada)).await.unwrap_err()),
        "USER_NOT_LOCAL"
    );
    let synced = User {
        name: ada.clone(),
        role: "boss".into(),
        ..User::default()
    };
    assert_eq!(
        reason(&users.update_user(update(&synced, &["role"])).await.unwrap_err()),
        "USER_NOT_LOCAL"
    );

    let other = users.create_user(local("other")).await.unwrap().into_inner();
    users.delete_user(delete(&other.name)).await.unwrap();
    assert_eq!(
        reason(&users.delete_user(delete(&other.name)).await.unwrap_err()),
        "USER_NOT_FOUND"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_in_the_feed_for_readers_and_followers() {
    let world = World::new().await;
    let mut users = world.users();
    let ada = format!("tenants/acme/users/{}", world.user("ada").await.id);
    let read = |after: &str| ListUserEventsRequest {
        parent: "tenants/acme".into(),
        after: after.into(),
        ..ListUserEventsRequest::default()
    };
    let first = users.list_user_events(read("")).await.unwrap().into_inner();
    assert_eq!(first.events.len(), 3);
    let mut stream = users
        .watch_user_events(WatchUserEventsRequest {
            parent: "tenants/acme".into(),
            after: first.next_cursor.clone(),
            types: vec![UserEventType::Blocked.into()],
        })
        .await
        .unwrap()
        .into_inner();
    let confirmed = stream.message().await.unwrap().unwrap();
    assert_eq!(
        (confirmed.event, confirmed.cursor),
        (None, first.next_cursor.clone())
    );

    users.create_user(local("local")).await.unwrap();
    let block = BlockUserRequest {
        name: ada.clone(),
        reason: "left".into(),
        etag: String::new(),
    };
    let blocked = users.block_user(block).await.unwrap().into_inner();
    assert_eq!(blocked.block.unwrap().reason, "left");
    let told = stream.message().await.unwrap().unwrap();
    let event = told.event.unwrap();
    assert_eq!(
        (event.r#type(), event.user.unwrap().name),
        (UserEventType::Blocked, ada.clone())
    );

    let stale = UnblockUserRequest {
        name: ada.clone(),
        etag: "r1".into(),
    };
    assert_eq!(
        reason(&users.unblock_user(stale).await.unwrap_err()),
        "ETAG_MISMATCH"
    );
    let unblocked = users
        .unblock_user(UnblockUserRequest {
            name: ada,
            etag: blocked.etag,
        })
        .await
        .unwrap();
    assert_eq!(unblocked.into_inner().block, None);
    let rest = users
        .list_user_events(read(&first.next_cursor))
        .await
        .unwrap()
        .into_inner();
    let types: Vec<_> = rest.events.iter().map(|event| event.r#type()).collect();
    assert_eq!(
        types,
        [
            UserEventType::Created,
            UserEventType::Blocked,
            UserEventType::Unblocked
        ]
    );
    let foreign = ListUserEventsRequest {
        parent: "tenants/-".into(),
        ..read(&first.next_cursor)
    };
    assert_eq!(
        users.list_user_events(foreign).await.unwrap_err().code(),
        Code::InvalidArgument
    );
    let all = ListUserEventsRequest {
        parent: "tenants/-".into(),
        ..read("")
    };
    assert_eq!(
        users
            .list_user_events(all)
            .await
            .unwrap()
            .into_inner()
            .events
            .len(),
        6
    );
}

/// Users whom a filter leaves out do not make pages short: the list reads on until the page is full.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_rare_match_is_filled() {
    let world = World::new().await;
    let mut users = world.users();
    for number in 0..40 {
        let login = match number % 10 {
            0 => format!("wanted-{number}"),
            _ => format!("other-{number}"),
        };
        users.create_user(local(&login)).await.unwrap();
    }
    let wanted = UserFilter {
        prefix: "wanted-".into(),
        ..UserFilter::default()
    };
    let page = ListUsersRequest {
        page_size: 4,
        ..list(wanted)
    };
    let answer = users.list_users(page).await.unwrap().into_inner();
    assert_eq!(answer.users.len(), 4);
}

/// Whoever follows all tenants and lost the place lists everybody, and goes on where the list began.
#[tokio::test(flavor = "multi_thread")]
async fn the_feed_of_all_tenants_begins_with_a_list_of_all_users() {
    let world = World::new().await;
    let mut users = world.users();
    world.another_tenant("aaa").await;
    let elsewhere = CreateUserRequest {
        parent: "tenants/aaa".into(),
        ..local("zoe")
    };
    users.create_user(elsewhere).await.unwrap();

    let mut page = ListUsersRequest {
        parent: "tenants/-".into(),
        page_size: 2,
        ..ListUsersRequest::default()
    };
    let first = users.list_users(page.clone()).await.unwrap().into_inner();
    let cursor = first.event_cursor;
    let mut seen: Vec<_> = first.users.into_iter().map(|user| user.login).collect();
    page.page_token = first.next_page_token;
    users.create_user(local("late")).await.unwrap();
    while !page.page_token.is_empty() {
        let answer = users.list_users(page.clone()).await.unwrap().into_inner();
        assert_eq!(answer.event_cursor, "");
        seen.extend(answer.users.into_iter().map(|user| user.login));
        page.page_token = answer.next_page_token;
    }
    assert_eq!(seen.remove(0), "zoe");
    seen.retain(|login| login != "late");
    seen.sort();
    assert_eq!(seen, ["ada", "bob", "eve"]);
    let follow = ListUserEventsRequest {
        parent: "tenants/-".into(),
        after: cursor.clone(),
        ..ListUserEventsRequest::default()
    };
    let events = users
        .list_user_events(follow.clone())
        .await
        .unwrap()
        .into_inner()
        .events;
    let logins: Vec<_> = events
        .into_iter()
        .map(|event| event.user.unwrap().login)
        .collect();
    assert_eq!(logins, ["late"]);

    // What belongs to one tenant chooses nothing among all of them.
    let by_sync = ListUsersRequest {
        parent: "tenants/-".into(),
        ..list(UserFilter {
            user_sync: "tenants/acme/userSyncs/staff".into(),
            ..UserFilter::default()
        })
    };
    let refused = users.list_users(by_sync).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_politely_when_the_server_stops() {
    let mut world = World::new().await;
    let request = WatchUserEventsRequest {
        parent: "tenants/acme".into(),
        ..Default::default()
    };
    let mut stream = world
        .users()
        .watch_user_events(request)
        .await
        .unwrap()
        .into_inner();
    stream.message().await.unwrap().unwrap();
    let (ended, ()) = tokio::join!(stream.message(), world.stop_gateway(0));
    assert_eq!(reason(&ended.unwrap_err()), "SHUTTING_DOWN");
}

/// The tokens are "reader" and "stranger".
const CALLERS: &str = r#"
[[callers]]
name = "reader"
token_sha256 = "3d0941964aa3ebdcb00ccef58b1bb399f9f898465e9886d5aec7f31090a0fb30"
permissions = ["users.read"]
tenants = ["acme"]

[[callers]]
name = "stranger"
token_sha256 = "8aca4f36774f82a67c507cb9c96679482e2cc767f2d38502269557a566b092fb"
permissions = ["users.read", "users.write", "authenticate"]
tenants = ["other"]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_s_permissions_and_tenants_come_before_everything_else() {
    let mut world = World::without_gateway(Slapd::builder()).await;
    world.config = Some(CALLERS.into());
    world.start_gateway(&[]).await;
    let ada = format!("tenants/acme/users/{}", world.user("ada").await.id);
    let ghost = "tenants/ghost/users/00000000-0000-4000-8000-000000000000".to_owned();
    let by = |token: &'static str, name: &str| {
        let mut request = Request::new(GetUserRequest {
            name: name.to_owned(),
        });
        request
            .metadata_mut()
            .insert("authorization", format!("Bearer {token}").parse().unwrap());
        let mut users = world.users();
        async move { users.get_user(request).await.map_err(|status| reason(&status)) }
    };
    assert_eq!(by("reader", &ada).await.unwrap().into_inner().login, "ada");
    assert_eq!(by("wrong", &ada).await.unwrap_err(), "CALLER_UNAUTHENTICATED");
    assert_eq!(by("stranger", &ada).await.unwrap_err(), "TENANT_ACCESS_DENIED");
    assert_eq!(by("reader", &ghost).await.unwrap_err(), "TENANT_ACCESS_DENIED");
    let mut block = Request::new(BlockUserRequest {
        name: ada,
        ..Default::default()
    });
    block
        .metadata_mut()
        .insert("authorization", "Bearer reader".parse().unwrap());
    assert_eq!(
        reason(&world.users().block_user(block).await.unwrap_err()),
        "PERMISSION_MISSING"
    );
    // A stranger who knows a verified domain learns nothing, and gets nobody's password checked.
    let mut login = Request::new(AuthenticateRequest {
        login: "ada@acme.example".into(),
        password: "x".into(),
        ..Default::default()
    });
    login
        .metadata_mut()
        .insert("authorization", "Bearer stranger".parse().unwrap());
    let mut auth = auth_service_client::AuthServiceClient::new(world.channel(0));
    assert_eq!(
        reason(&auth.authenticate(login).await.unwrap_err()),
        "TENANT_REQUIRED"
    );
    assert_eq!(world.audit().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_of_one_s_own_success_creates_nobody_twice() {
    let world = World::new().await;
    let mut users = world.users();
    let request = |login: &str| CreateUserRequest {
        request_id: "one".into(),
        ..local(login)
    };
    let twice = tokio::join!(async { world.users().create_user(request("zoe")).await }, async {
        world.users().create_user(request("zoe")).await
    },);
    let first = twice.0.unwrap().into_inner();
    assert_eq!(twice.1.unwrap().into_inner(), first);
    let other = users.create_user(request("eve")).await.unwrap_err();
    assert_eq!(
        (other.code(), reason(&other)),
        (Code::InvalidArgument, "REQUEST_ID_REUSED")
    );

    // A repeat tells how the user is by now, and does not bring back who was deleted.
    let block = BlockUserRequest {
        name: first.name.clone(),
        reason: "left".into(),
        etag: String::new(),
    };
    let blocked = users.block_user(block).await.unwrap().into_inner();
    let again = users.create_user(request("zoe")).await.unwrap().into_inner();
    assert_eq!(again, blocked);
    let delete = DeleteUserRequest {
        name: first.name.clone(),
        etag: String::new(),
    };
    users.delete_user(delete).await.unwrap();
    let gone = users.create_user(request("zoe")).await.unwrap_err();
    assert_eq!((gone.code(), reason(&gone)), (Code::NotFound, "USER_NOT_FOUND"));
}

/// The connection ended politely before this call was taken up: it still waited here, or it crossed the server's GOAWAY
/// (RFC 9113 section 6.8). This client does not repeat such calls by itself.
fn was_not_taken_up(status: &tonic::Status) -> bool {
    let crossed = || {
        let source = std::error::Error::source(status).map(|source| format!("{source:?}"));
        source.is_some_and(|source| source.contains("GoAway(b\"\", NO_ERROR, Remote)"))
    };
    match status.code() {
        Code::Cancelled => status.message() == "operation was canceled",
        Code::Internal => crossed(),
        _ => false,
    }
}

/// Streams move to other replicas with the age of their connections; whoever goes on from the last cursor loses nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_whose_streams_end_with_their_connections_sees_every_event_once() {
    let world = World::with(Slapd::builder(), &[("server.max_connection_age", "1s")]).await;
    let (ends, mut ended) = tokio::sync::watch::channel(0);
    let mut client = world.users();
    let (seen, mut logins) = tokio::sync::mpsc::unbounded_channel();
    let begin = ListUserEventsRequest {
        parent: "tenants/acme".into(),
        page_size: 1000,
        ..Default::default()
    };
    let mut cursor = client
        .list_user_events(begin)
        .await
        .unwrap()
        .into_inner()
        .next_cursor;
    let consumer = tokio::spawn(async move {
        loop {
            let request = WatchUserEventsRequest {
                parent: "tenants/acme".into(),
                after: cursor.clone(),
                ..Default::default()
            };
            let mut stream = loop {
                match client.watch_user_events(request.clone()).await {
                    Ok(stream) => break stream.into_inner(),
                    Err(status) => assert!(was_not_taken_up(&status), "{status:?}"),
                }
            };
            let why = loop {
                match stream.message().await {
                    Ok(message) => {
                        let message = message.unwrap();
                        cursor = message.cursor;
                        if let Some(event) = message.event {
                            seen.send(event.user.unwrap().login).unwrap();
                        }
                    }
                    Err(status) => break status,
                }
            };
            assert_eq!(
                (why.code(), reason(&why)),
                (Code::Unavailable, "CONNECTION_TOO_OLD")
            );
            ends.send_modify(|ends| *ends += 1);
        }
    });
    let mut created = Vec::new();
    let mut users = world.users();
    while *ended.borrow_and_update() < 3 {
        let login = format!("user{}", created.len());
        let request = CreateUserRequest {
            request_id: login.clone(),
            ..local(&login)
        };
        while let Err(status) = users.create_user(request.clone()).await {
            assert!(was_not_taken_up(&status), "{status:?}");
        }
        created.push(login);
    }
    let mut told = Vec::new();
    while told.len() < created.len() {
        told.push(logins.recv().await.unwrap());
    }
    assert_eq!(told, created);
    consumer.abort();
}
