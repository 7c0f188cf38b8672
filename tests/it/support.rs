//! The transcripts in `docs/support.md`: each question of support is asked of a running Rollcall with the shipped client, and
//! answered as the page says. `ROLLCALL_REGENERATE=1` writes the page's answers anew.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rollcall_proto::v1::role_rule::Condition;
use rollcall_proto::v1::{self, SyncRunMode, SyncRunState};
use rollcall_testkit::{Tree, TreeLdap};
use system_tests::{Backend, System, binary};

const BASE: &str = "dc=example,dc=org";
const TENANT: &str = "tenants/acme";
const SYNC: &str = "tenants/acme/userSyncs/staff";
const PASSWORD: &str = "a password of some length";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_answer_on_the_page_for_support_is_what_rollcall_says() -> Result<()> {
    let server = TreeLdap::start(company()).await?;
    let system = System::start(Backend::Sqlite, &[server.address().port()]).await?;
    system
        .connect_with(TENANT, directory(&server), user_sync())
        .await?;
    let run = system.run(SYNC, SyncRunMode::Apply).await?;
    ensure!(run.state() == SyncRunState::SucceededWithIssues, "{run:#?}");
    happenings(&system, &server).await?;

    let page = page();
    let text = std::fs::read_to_string(&page)?;
    let (mut written, mut asked) = (String::new(), 0);
    let mut rest = text.as_str();
    while let Some((before, block)) = rest.split_once("```console\n") {
        let (block, after) = block.split_once("```\n").context("a block does not end")?;
        let (question, answer) = block.split_once('\n').context("a block is empty")?;
        let command = question.strip_prefix("$ rollcallctl ").context("no command")?;
        let now = ask(&system, command)?;
        if std::env::var_os("ROLLCALL_REGENERATE").is_none() {
            assert_eq!(now, answer, "{command}");
        }
        asked += 1;
        written += &format!("{before}```console\n{question}\n{now}```\n");
        rest = after;
    }
    written += rest;
    ensure!(asked >= 10, "only {asked} questions are answered");
    if std::env::var_os("ROLLCALL_REGENERATE").is_some() {
        std::fs::write(page, written)?;
    }
    Ok(())
}

fn page() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/support.md")
}

/// What the client prints.
fn ask(system: &System, command: &str) -> Result<String> {
    let mut run = Command::new(binary("rollcallctl")?);
    run.arg("--endpoint")
        .arg(format!("http://{}", system.worker.address()));
    let words = command
        .split('"')
        .enumerate()
        .flat_map(|(index, part)| match index % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect::<Vec<_>>(),
            _ => vec![part.to_owned()],
        });
    run.args(words);
    let answer = run.output()?;
    ensure!(
        answer.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&answer.stderr)
    );
    Ok(without_user_ids(&String::from_utf8(answer.stdout)?))
}

/// Users' ids are random.
fn without_user_ids(text: &str) -> String {
    let mut parts = text.split("/users/");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |shown, part| {
        format!("{shown}/users/{{user}}{}", part.get(36..).unwrap_or_default())
    })
}

/// What happened since the users were made.
async fn happenings(system: &System, server: &TreeLdap) -> Result<()> {
    let users = system.all_users(TENANT).await?;
    let by_login: BTreeMap<&str, &v1::User> = users.iter().map(|user| (user.login.as_str(), user)).collect();
    let mut client = system.users().await?;
    let request = v1::BlockUserRequest {
        name: by_login.get("brigitte").context("no brigitte")?.name.clone(),
        reason: "lost her badge".to_owned(),
        etag: String::new(),
    };
    client.block_user(request).await?;
    let request = v1::CreateUserRequest {
        parent: TENANT.to_owned(),
        user: Some(v1::User {
            login: "owner".to_owned(),
            role: "admin".to_owned(),
            owner: true,
            ..v1::User::default()
        }),
        request_id: String::new(),
    };
    client.create_user(request).await?;
    server.edit(|tree| {
        tree.delete(&dn("Staff", "gone"));
        if let Some(entry) = tree.entry_mut(&dn("Staff", "dora")) {
            entry.set("pwdEndTime", &["20250101000000Z"]);
        }
    });
    Ok(())
}

fn dn(unit: &str, uid: &str) -> String {
    format!("uid={uid},ou={unit},{BASE}")
}

fn company() -> Tree {
    let mut tree = Tree::default();
    let mut add = |dn: String, attributes: &[(&str, &str)]| tree.add_numbered(dn, attributes, PASSWORD);
    add(BASE.to_owned(), &[("objectClass", "domain")]);
    add(format!("cn=reader,{BASE}"), &[("objectClass", "device")]);
    for unit in ["Staff", "Guests"] {
        add(
            format!("ou={unit},{BASE}"),
            &[("objectClass", "organizationalUnit"), ("ou", unit)],
        );
    }
    let mut person = |unit: &str, uid: &str, more: &[(&str, &str)]| {
        let mail = format!("{uid}@example.org");
        let mut attributes = vec![
            ("objectClass", "inetOrgPerson"),
            ("uid", uid),
            ("cn", uid),
            ("sn", uid),
        ];
        if !more.iter().any(|(name, _)| *name == "mail") {
            attributes.push(("mail", &mail));
        }
        if !more.iter().any(|(name, _)| *name == "employeeType") {
            attributes.push(("employeeType", "staff"));
        }
        attributes.extend(more);
        add(dn(unit, uid), &attributes);
    };
    for uid in ["ada", "brigitte", "dora", "gone"] {
        person("Staff", uid, &[]);
    }
    person("Staff", "clara", &[("employeeType", "contractor")]);
    person("Guests", "emil", &[]);
    person(
        "Staff",
        "fritz",
        &[
            ("mail", "fritz at home"),
            ("mailAlternateAddress", "fritz@example.net"),
        ],
    );
    person("Staff", "hanna", &[("title", "engineer")]);
    person("Staff", "x", &[]);
    person("Staff", "ines", &[("mail", "shared@example.org")]);
    person("Staff", "jana", &[("mail", "shared@example.org")]);
    tree
}

fn directory(server: &TreeLdap) -> v1::Directory {
    v1::Directory {
        display_name: "Headquarters".to_owned(),
        hosts: vec![server.url()],
        transport_security: v1::TransportSecurity::Plaintext.into(),
        allow_plaintext: true,
        bind_dn: format!("cn=reader,{BASE}"),
        bind_password: PASSWORD.to_owned(),
        ..v1::Directory::default()
    }
}

fn user_sync() -> v1::UserSync {
    let mut sync = system_tests::sync_of(&format!("{TENANT}/directories/hq"), &format!("ou=Staff,{BASE}"));
    sync.searches[0].filter = "(&(objectClass=inetOrgPerson)(employeeType=staff))".to_owned();
    sync.role_rules = vec![v1::RoleRule {
        condition: Some(Condition::Filter("(|(title=manager)(title=director))".to_owned())),
        role: "manager".to_owned(),
    }];
    if let Some(mappings) = &mut sync.field_mappings {
        mappings.email = vec!["mail".to_owned(), "mailAlternateAddress".to_owned()];
    }
    sync
}
