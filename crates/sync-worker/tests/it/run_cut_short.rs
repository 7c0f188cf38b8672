//! Directories that stop in the middle of an answer, each in its own way: nobody is removed, whatever is missing.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rollcall_proto::v1::{self, ChangeType, IssueType, SearchOutcome, SyncRunMode, SyncRunState};
use rollcall_runtime::clock::Clock;
use rollcall_testkit::{Operation, Request, ScriptedLdap, ber, wait_for};

use crate::company::{STAFF, sync_of};
use crate::harness::ok;
use crate::run_world::{World, scripted_directory};
use crate::runs::run;

const BASE: &str = "dc=scripted";
const PAGING: &str = "1.2.840.113556.1.4.319";
/// Entries of a page.
const PAGE: usize = 2;
/// Entries that a run may read.
const CEILING: &str = "1000";
const LIMIT: Duration = Duration::from_secs(30);

/// What the server does with the pages of a search.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    /// Sends all of them.
    Whole,
    /// Sends the first entry of this page and leaves.
    LeavesWithin(usize),
    /// Leaves when it is asked for this page.
    LeavesBefore(usize),
    /// Ends this page with this result, though there are more.
    Ends(usize, i64),
    /// Does not know this page's cookie any more, this time; the next time it does.
    Forgets(usize),
    /// Does not show this person in pages of the size that runs ask for, as if the entry moved past them.
    Skips(u8),
    /// The same with the first so many.
    SkipsAll(usize),
    /// Has a name for this person that is not UTF-8.
    Garbles(u8),
    /// Refuses pages of more entries than this.
    Pages(i64),
    /// Sends the first person again at the end of the pages that runs ask for, from the place that the person moved to;
    /// by then it is there only.
    Repeats,
    /// Knows no pages: refuses them, and sends so many entries without.
    Unpaged(usize),
    /// Does not show whoever comes after so many, and refuses to look for ids, for which runs ask in larger pages.
    ShowsOnly(usize),
    /// Finds nobody by the id, for which runs ask in larger pages, and names all but the last person, without their uids.
    Blind,
    /// Sends people without end, two new ones a page.
    Endless,
    /// Sends the first two people again and again, as if there were more pages without end.
    Repeating,
    /// Refuses the control for pages, be it critical or not.
    Pageless,
    /// Answers as if it did not know pages, with the first of them.
    LosesControl,
}

struct Script {
    mood: Mood,
    /// How often it refused to look for ids.
    refusals: usize,
    people: Vec<Person>,
}

#[derive(Clone)]
struct Person {
    id: u8,
    /// Where it is below the base, with a comma.
    unit: &'static str,
    uid: String,
    name: String,
}

type Shared = Arc<Mutex<Script>>;

fn person(id: u8) -> Person {
    Person {
        id,
        unit: "",
        uid: format!("person{id}"),
        name: format!("Person {id}"),
    }
}

impl Person {
    fn entry(&self, message: i64) -> Vec<u8> {
        let id = format!("00000000-0000-4000-8000-0000000000{:02x}", self.id);
        let dn = format!("uid={},{}{BASE}", self.uid, self.unit);
        let attributes: [(&str, &[&[u8]]); 3] = [
            ("entryUUID", &[id.as_bytes()]),
            ("uid", &[self.uid.as_bytes()]),
            ("cn", &[self.name.as_bytes()]),
        ];
        ber::search_entry(message, &dn, &attributes)
    }
}

/// One of people without end.
fn stranger(message: i64, number: u64) -> Vec<u8> {
    let id = format!("00000000-0000-4000-9000-{number:012x}");
    let uid = format!("stranger{number}");
    let attributes: [(&str, &[&[u8]]); 2] = [("entryUUID", &[id.as_bytes()]), ("uid", &[uid.as_bytes()])];
    ber::search_entry(message, &format!("uid={uid},{BASE}"), &attributes)
}

/// What the server sends, and whether it leaves then.
fn answer(script: &mut Script, request: &Request) -> (Vec<u8>, bool) {
    let id = request.id;
    let Operation::Search {
        base, page, filter, ..
    } = &request.operation
    else {
        return (ber::bind_response(id, 0, "", ""), false);
    };
    let by_id = format!("{filter:?}").to_lowercase().contains("entryuuid");
    if base.is_empty() {
        let root: [(&str, &[&[u8]]); 4] = [
            ("objectClass", &[b"top", b"OpenLDAProotDSE"]),
            ("namingContexts", &[BASE.as_bytes()]),
            ("supportedLDAPVersion", &[b"3"]),
            ("supportedControl", &[PAGING.as_bytes()]),
        ];
        return (
            [ber::search_entry(id, "", &root), ber::search_done(id, 0, "")].concat(),
            false,
        );
    }
    let entries = |people: &[Person]| {
        people
            .iter()
            .map(|person| person.entry(id))
            .collect::<Vec<_>>()
            .concat()
    };
    let (number, size) = match (page, script.mood) {
        (Some(_), Mood::Unpaged(_)) => return (ber::search_done(id, 12, "no pages here"), false),
        (None, Mood::Unpaged(limit)) => {
            let code = if limit < script.people.len() { 4 } else { 0 };
            let sent = entries(&script.people[..limit.min(script.people.len())]);
            return ([sent, ber::search_done(id, code, "")].concat(), false);
        }
        (None, _) => {
            return (
                [entries(&script.people), ber::search_done(id, 0, "")].concat(),
                false,
            );
        }
        (Some(_), Mood::ShowsOnly(_)) if by_id => {
            script.refusals += 1;
            return (ber::search_done(id, 53, "not for you"), false);
        }
        (Some((_, cookie)), Mood::Endless) => {
            let number = cookie.as_slice().try_into().map_or(0, u64::from_be_bytes);
            let sent: Vec<u8> = [2 * number, 2 * number + 1]
                .map(|number| stranger(id, number))
                .concat();
            let next = (number + 1).to_be_bytes();
            return ([sent, ber::page_done(id, &next)].concat(), false);
        }
        (Some((size, cookie)), Mood::Repeating) if usize::try_from(*size).unwrap() == PAGE => {
            let number = cookie.first().map_or(0, |number| *number);
            let sent = entries(&script.people[..PAGE]);
            return (
                [sent, ber::page_done(id, &[number.wrapping_add(1)])].concat(),
                false,
            );
        }
        (Some(_), Mood::Pageless) => return (ber::search_done(id, 12, "no pages here"), false),
        (Some((size, _)), Mood::LosesControl) if usize::try_from(*size).unwrap() == PAGE => {
            let sent = entries(&script.people[..PAGE]);
            return ([sent, ber::search_done(id, 0, "")].concat(), false);
        }
        (Some((size, _)), Mood::Pages(most)) if *size > most => {
            return (ber::search_done(id, 11, "too many"), false);
        }
        (Some((size, cookie)), _) => {
            let number = cookie.first().map_or(0, |number| usize::from(*number));
            (number, usize::try_from(*size).unwrap())
        }
    };
    let mut people = script.people.clone();
    if size != PAGE {
        // Whoever looks for ids asks for no names, which may be large.
        people.iter_mut().for_each(|person| person.name.truncate(100));
    }
    if let Mood::Skips(skipped) = script.mood
        && size == PAGE
    {
        people.retain(|person| person.id != skipped);
    }
    if let Mood::SkipsAll(skipped) = script.mood
        && size == PAGE
    {
        people.drain(..skipped);
    }
    if let Mood::ShowsOnly(shown) = script.mood {
        people.truncate(shown);
    }
    if script.mood == Mood::Blind {
        people.truncate(if size == PAGE { people.len() - 1 } else { 0 });
        people.iter_mut().for_each(|person| person.uid.clear());
    }
    if script.mood == Mood::Repeats {
        let moved = Person {
            unit: "ou=moved,",
            ..people[0].clone()
        };
        if size != PAGE {
            people.remove(0);
        }
        people.push(moved);
    }
    let first = (number * size).min(people.len());
    let after = (first + size).min(people.len());
    let sent = &people[first..after];
    match script.mood {
        Mood::LeavesBefore(page) if page == number => (Vec::new(), true),
        Mood::LeavesWithin(page) if page == number => (entries(&sent[..1]), true),
        Mood::Ends(page, code) if page == number => {
            ([entries(sent), ber::search_done(id, code, "")].concat(), false)
        }
        Mood::Forgets(page) if page == number => {
            script.mood = Mood::Whole;
            (ber::search_done(id, 53, "what cookie?"), false)
        }
        _ => {
            let next = u8::try_from(number + 1).unwrap();
            let cookie: &[u8] = if after == people.len() { &[] } else { &[next] };
            let mut bytes = entries(sent);
            if let Mood::Garbles(garbled) = script.mood {
                let name = format!("uid=person{garbled},");
                let at = bytes.windows(name.len()).position(|part| part == name.as_bytes());
                at.into_iter().for_each(|at| bytes[at + 4] = 0xe4);
            }
            ([bytes, ber::page_done(id, cookie)].concat(), false)
        }
    }
}

/// Six people on three pages, of whom all are users.
async fn world() -> (World<ScriptedLdap>, Shared) {
    world_of(6).await
}

/// So many people, of whom all are users.
async fn world_of(count: u8) -> (World<ScriptedLdap>, Shared) {
    let script = Arc::new(Mutex::new(Script {
        mood: Mood::Whole,
        refusals: 0,
        people: (1..=count).map(person).collect(),
    }));
    let shared = script.clone();
    let server = ScriptedLdap::plain(move |mut peer| {
        let script = shared.clone();
        async move {
            while let Some(request) = peer.receive().await? {
                let (bytes, leaves) = answer(&mut script.lock().unwrap(), &request);
                peer.send(&bytes).await?;
                if leaves {
                    break;
                }
            }
            Ok(())
        }
    })
    .await
    .unwrap();
    let directory = v1::Directory {
        page_size: i32::try_from(PAGE).unwrap(),
        ..scripted_directory(&server, BASE)
    };
    let port = server.address().port();
    let sync = v1::UserSync {
        missing_users: v1::MissingUserPolicy::Archive.into(),
        ..sync_of(BASE, "(uid=*)")
    };
    let settings = [("runs.max_entries", CEILING)];
    let mut world = World::around_with(&settings, server, port, directory, sync, Clock::System).await;
    let run = world.succeed().await;
    assert_eq!(run.counts.unwrap().created, i64::from(count));
    (world, script)
}

/// The first and the last person change, the third is not there any more, and the server is in this mood. Nobody
/// may be removed; what came before the server stopped is taken.
async fn stopped(mood: Mood) -> (World<ScriptedLdap>, v1::SyncRun) {
    let (mut world, script) = world().await;
    {
        let mut script = script.lock().unwrap();
        script.people.remove(2);
        for person in [0, 4] {
            script.people[person].name = "Renamed".into();
        }
        script.mood = mood;
    }
    let run = world.apply().await;
    assert_eq!(world.active().await, 6, "{run:#?}");
    script.lock().unwrap().mood = Mood::Whole;
    (world, run)
}

/// The run ended well as far as it came, and said that it did not come to the end.
async fn is_partial(mut world: World<ScriptedLdap>, run: &v1::SyncRun) {
    assert_eq!(run.state(), SyncRunState::SucceededWithIssues, "{run:#?}");
    assert_eq!(run.search_outcome(), SearchOutcome::Partial);
    assert_eq!(world.issue_types(run).await, [IssueType::PullIncomplete]);
    let get = v1::GetUserSyncRequest { name: STAFF.into() };
    let sync = ok(world.clients.user_syncs.get_user_sync(get)).await;
    let problems = sync.health.unwrap().problems;
    assert!(
        problems[0].message.contains("was not read completely"),
        "{problems:?}"
    );
    assert_eq!(
        world.changes(run).await,
        [("person1".to_owned(), ChangeType::Update)]
    );
    // As soon as it answers again, the rest is made up for.
    let whole = world.succeed().await;
    let expected = [
        ("person3".to_owned(), ChangeType::Archive),
        ("person6".to_owned(), ChangeType::Update),
    ];
    assert_eq!(world.changes(&whole).await, expected);
    assert_eq!(world.active().await, 5);
}

/// Matrix case 52: within a page.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_leaves_within_a_page_removes_nobody() {
    let (world, run) = stopped(Mood::LeavesWithin(1)).await;
    is_partial(world, &run).await;
}

/// Matrix case 52: between two pages.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_leaves_between_pages_removes_nobody() {
    let (world, run) = stopped(Mood::LeavesBefore(1)).await;
    is_partial(world, &run).await;
}

/// Matrix case 52: before the first entry.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_leaves_before_the_first_page_fails_the_run() {
    let (mut world, run) = stopped(Mood::LeavesBefore(0)).await;
    assert_eq!(run.state(), SyncRunState::Failed, "{run:#?}");
    world.succeed().await;
    assert_eq!(world.active().await, 5);
}

/// Matrix case 51: each of the limits, on a page that is not the last.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_in_the_middle_removes_nobody() {
    for code in [3, 4, 11] {
        let (world, run) = stopped(Mood::Ends(1, code)).await;
        is_partial(world, &run).await;
    }
}

/// Matrix case 54: all of them in one answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_without_pages_is_read_at_once() {
    let (mut world, script) = world().await;
    script.lock().unwrap().mood = Mood::Unpaged(100);
    let run = world.succeed().await;
    assert_eq!(run.search_outcome(), SearchOutcome::Complete);
    assert_eq!(run.counts.unwrap().unchanged, 6);
}

/// Matrix case 54: as many as the server's limit allows.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_without_pages_and_with_a_limit_removes_nobody() {
    let (world, run) = stopped(Mood::Unpaged(3)).await;
    is_partial(world, &run).await;
}

/// Matrix case 54: whatever base and filter are, it is asked without pages, and so are the absences.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_refuses_the_control_for_pages_gets_its_removals_confirmed() {
    let (mut world, script) = world().await;
    {
        let mut script = script.lock().unwrap();
        script.mood = Mood::Pageless;
        script.people.pop();
    }
    let run = world.succeed().await;
    assert_eq!(
        world.changes(&run).await,
        [("person6".to_owned(), ChangeType::Archive)]
    );
}

/// Matrix case 54: a proxy that drops the control of the answer shows the first page as if it were all.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_whose_control_got_lost_does_not_pass_for_all_there_is() {
    let (mut world, script) = world().await;
    script.lock().unwrap().mood = Mood::LosesControl;
    let run = world.succeed().await;
    assert_eq!(run.search_outcome(), SearchOutcome::Complete);
    assert_eq!((run.counts.unwrap().unchanged, world.active().await), (6, 6));
}

/// Matrix case 42: no run holds its place for hours, and nobody is removed.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_never_ends_ends_the_pull_and_removes_nobody() {
    for (mood, why, entries) in [
        (Mood::Repeating, "the same entries page after page", 2..20),
        (
            Mood::Endless,
            "more entries or bytes than a run may read",
            1000..1010,
        ),
    ] {
        let (mut world, script) = world().await;
        let before = world.users().await;
        script.lock().unwrap().mood = mood;
        let run = world.apply().await;
        assert_eq!(run.state(), SyncRunState::SucceededWithIssues, "{run:#?}");
        assert_eq!(run.search_outcome(), SearchOutcome::Partial);
        let issues = world.issues(&run).await;
        let told = |issue: &v1::SyncIssue| {
            issue.r#type() == IssueType::PullIncomplete && issue.message.contains(why)
        };
        assert!(issues.iter().any(told), "{issues:#?}");
        let read = run.counts.unwrap().entries;
        assert!(entries.contains(&read), "{read}");
        let after = world.users().await;
        assert!(before.iter().all(|(login, user)| after[login] == *user));
    }
}

/// Matrix case 55: the search begins anew, and whoever came twice is one user.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_forgets_a_cookie_is_read_once_more() {
    let (mut world, script) = world().await;
    script.lock().unwrap().mood = Mood::Forgets(2);
    let run = world.succeed().await;
    assert_eq!(run.search_outcome(), SearchOutcome::Complete);
    assert_eq!((run.counts.unwrap().unchanged, world.active().await), (6, 6));
}

/// Matrix case 58: an entry that moved while the pages went by was seen by none of them, and is asked for by its
/// id before anybody takes it for gone.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_slips_through_the_pages_is_found_by_the_id() {
    let (mut world, script) = world().await;
    script.lock().unwrap().mood = Mood::Skips(3);
    // Somebody else did leave, who is not kept by it.
    script.lock().unwrap().people.remove(5);
    let run = world.succeed().await;
    assert_eq!(run.search_outcome(), SearchOutcome::Complete);
    assert_eq!(
        world.changes(&run).await,
        [("person6".to_owned(), ChangeType::Archive)]
    );
    assert_eq!(world.active().await, 5);
}

/// A few who slip through may be chance; six are a directory that does not show what it has.
#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_misses_too_many_who_are_there_removes_nobody() {
    for (missed, outcome, active) in [(5, SearchOutcome::Complete, 19), (6, SearchOutcome::Partial, 20)] {
        let (mut world, script) = world_of(20).await;
        {
            let mut script = script.lock().unwrap();
            script.people.pop();
            script.mood = Mood::SkipsAll(missed);
        }
        let run = world.apply().await;
        assert_eq!(run.search_outcome(), outcome, "{run:#?}");
        assert_eq!(world.active().await, active);
    }
}

/// None of those who are there can be taken, but they have ids, which must be found as well before anybody is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_finds_no_ids_removes_nobody() {
    let (mut world, script) = world().await;
    script.lock().unwrap().mood = Mood::Blind;
    let run = world.apply().await;
    assert!(
        world
            .issue_types(&run)
            .await
            .contains(&IssueType::AbsenceUnconfirmed),
        "{run:#?}"
    );
    assert_eq!(world.active().await, 6);
}

/// More are missing than are asked for at once. The first refusal leaves nobody to be removed, so nothing more is
/// asked.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_does_not_look_for_ids_is_asked_once() {
    let (mut world, script) = world_of(120).await;
    script.lock().unwrap().mood = Mood::ShowsOnly(60);
    let run = world.apply().await;
    assert_eq!(run.state(), SyncRunState::SucceededWithIssues, "{run:#?}");
    let issues = world.issues(&run).await;
    assert_eq!(issues.len(), 1, "{issues:#?}");
    assert_eq!(issues[0].r#type(), IssueType::AbsenceUnconfirmed);
    assert!(issues[0].message.starts_with("60 users "), "{issues:#?}");
    assert_eq!(world.active().await, 120);
    assert_eq!(script.lock().unwrap().refusals, 1);
}

/// More than half are missing: that holds the run, whatever can be said of each of them.
#[tokio::test(flavor = "multi_thread")]
async fn too_many_absences_hold_a_run_before_they_are_confirmed() {
    let (mut world, script) = world().await;
    script.lock().unwrap().mood = Mood::ShowsOnly(2);
    let held = world.apply().await;
    assert_eq!(held.state(), SyncRunState::Held, "{held:#?}");
    assert_eq!(held.hold_reasons.len(), 1, "{held:#?}");
    assert_eq!(held.hold_reasons[0].rule(), v1::HoldRule::MostUsers);
    assert_eq!(world.issue_types(&held).await, [IssueType::AbsenceUnconfirmed]);
    // Releasing it removes nobody whose absence is not confirmed.
    assert!(world.changes(&held).await.is_empty());
    world.release(&held).await;
    assert_eq!(world.active().await, 6);
}

/// Matrix case 45: the entry is an issue, its user stays, and everybody else is taken.
#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_is_not_utf_8_is_an_issue_and_the_rest_is_imported() {
    let (mut world, script) = world().await;
    {
        let mut script = script.lock().unwrap();
        script.mood = Mood::Garbles(3);
        script.people.remove(5);
        script.people.push(person(7));
    }
    let run = world.apply().await;
    assert_eq!(run.state(), SyncRunState::SucceededWithIssues, "{run:#?}");
    assert_eq!(run.search_outcome(), SearchOutcome::Complete);
    assert_eq!(world.issue_types(&run).await, [IssueType::UndecodableEntry]);
    // Whoever did leave is removed: the entry excuses its own person and nobody else.
    let expected = [
        ("person6".to_owned(), ChangeType::Archive),
        ("person7".to_owned(), ChangeType::Create),
    ];
    assert_eq!(world.changes(&run).await, expected);
    assert_eq!(world.active().await, 6);
}

/// Matrix case 50: the entry is an issue that says what is large, its user stays, and everybody else is seen to.
#[tokio::test(flavor = "multi_thread")]
async fn an_entry_larger_than_a_message_is_an_issue_and_excuses_its_own_person() {
    let (mut world, script) = world().await;
    {
        let mut script = script.lock().unwrap();
        script.people[2].name = "x".repeat(9 << 20);
        script.people.remove(5);
        script.people.push(person(7));
    }
    let run = world.apply().await;
    assert_eq!(run.state(), SyncRunState::SucceededWithIssues, "{run:#?}");
    assert_eq!(run.search_outcome(), SearchOutcome::Complete);
    let issues = world.issues(&run).await;
    let told: Vec<_> = issues
        .iter()
        .map(|issue| (issue.r#type(), issue.dn.as_str(), issue.attribute.as_str()))
        .collect();
    let dn = format!("uid=person3,{BASE}");
    assert_eq!(told, [(IssueType::EntryTooLarge, dn.as_str(), "cn")]);
    let expected = [
        ("person6".to_owned(), ChangeType::Archive),
        ("person7".to_owned(), ChangeType::Create),
    ];
    assert_eq!(world.changes(&run).await, expected);
    assert_eq!(world.active().await, 6);
}

/// Whoever has a role may be as many as there are people, and a person need not wait for that.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_cancelled_while_it_evaluates_a_role_rule() {
    let (mut world, script) = world().await;
    let rule = v1::RoleRule {
        condition: Some(v1::role_rule::Condition::Filter("(cn=Person*)".into())),
        role: "admin".into(),
    };
    let ruled = v1::UserSync {
        role_rules: vec![rule],
        ..v1::UserSync::default()
    };
    world.update(ruled, &["role_rules"]).await;
    script.lock().unwrap().mood = Mood::Endless;
    let started = ok(world.clients.user_syncs.run_user_sync(run(SyncRunMode::Apply))).await;
    let get = v1::GetSyncRunRequest {
        name: started.name.clone(),
    };
    let mut runs = world.clients.runs.clone();
    let mut is = async |state: SyncRunState| {
        let wanted = async || ok(runs.get_sync_run(get.clone())).await.state() == state;
        wait_for("the run is in this state", LIMIT, wanted).await.unwrap();
    };
    is(SyncRunState::Pulling).await;
    let cancel = v1::CancelSyncRunRequest { name: started.name };
    ok(world.clients.runs.cancel_sync_run(cancel)).await;
    is(SyncRunState::Cancelled).await;
}

/// Matrix case 53: with half of the page that was refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_refuses_the_page_size_gets_smaller_pages() {
    let (mut world, script) = world().await;
    script.lock().unwrap().mood = Mood::Pages(1);
    let run = world.succeed().await;
    assert_eq!(run.search_outcome(), SearchOutcome::Complete);
    assert_eq!(run.counts.unwrap().unchanged, 6);
}

/// Matrix case 58: the pages bring somebody twice who moves meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_moves_between_the_pages_and_comes_twice_is_one_user() {
    let (mut world, script) = world().await;
    script.lock().unwrap().mood = Mood::Repeats;
    let run = world.succeed().await;
    assert!(world.changes(&run).await.is_empty(), "{run:#?}");
    assert_eq!(world.active().await, 6);
}

/// Bad input: entries of a directory claim to be the same person. Which of them comes first must not matter.
#[tokio::test(flavor = "multi_thread")]
async fn two_entries_with_one_external_id_are_nobody_and_whoever_has_it_stays_night_after_night() {
    let (mut world, script) = world().await;
    let before = world.users().await;
    let twin = |id, name| Person { id, ..person(name) };
    let mut found: Vec<Person> = script.lock().unwrap().people.clone();
    found.insert(0, twin(1, 9));
    found.push(twin(2, 10));
    found.extend([twin(20, 20), twin(20, 21)]);
    found.push(person(30));
    script.lock().unwrap().people.clone_from(&found);
    for night in 0..2 {
        let run = world.apply().await;
        assert_eq!(run.state(), SyncRunState::SucceededWithIssues, "{run:#?}");
        let counts = run.counts.unwrap();
        assert_eq!(
            (counts.created, counts.updated, counts.applied),
            (1 - night, 0, 1 - night)
        );
        let mut issues = world.issues(&run).await;
        issues.retain(|issue| {
            issue.r#type() == IssueType::DuplicateInDirectory && issue.attribute == "entryUUID"
        });
        let dns: BTreeSet<String> = issues.into_iter().map(|issue| issue.dn).collect();
        let twins = [
            "person1", "person10", "person2", "person20", "person21", "person9",
        ];
        let twins = twins.map(|uid| format!("uid={uid},{BASE}"));
        assert_eq!(dns, BTreeSet::from(twins));
        let mut users = world.users().await;
        assert!(users.remove("person30").is_some());
        assert_eq!(users, before);
    }
    // As soon as one of them is the person alone, it is taken.
    script
        .lock()
        .unwrap()
        .people
        .retain(|person| person.uid != "person20");
    let run = world.apply().await;
    assert_eq!(
        world.changes(&run).await,
        [("person21".to_owned(), ChangeType::Create)]
    );
}
