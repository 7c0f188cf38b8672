//! Pages, entries and values as only a scripted server sends them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rollcall_core::user_sync::SearchScope;
use rollcall_ldap::{LdapError, PartialReason, ProtocolViolation, SearchBudget, SearchOutcome};
use rollcall_testkit::{Operation, ScriptedLdap, ber, wait_for};

use crate::setup::*;

/// Matrix case 49: the reference is counted, and nobody connects to where it leads.
#[tokio::test]
async fn references_are_counted_and_not_followed() {
    let attacker = ScriptedLdap::plain(|mut peer| async move { peer.closed().await })
        .await
        .unwrap();
    let url = format!("ldap://{}/dc=x", attacker.address());
    let server = pages(move |request, _| {
        [
            entry(request.id, "cn=1"),
            ber::search_reference(request.id, &[&url]),
            entry(request.id, "cn=2"),
            ber::search_reference(request.id, &[&url]),
            ber::page_done(request.id, b""),
        ]
        .concat()
    })
    .await;
    let (entries, outcome) = pull(&on_script(server.address()), everything("dc=x", &["uid"])).await;
    let SearchOutcome::Complete(stats) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!((entries.len(), stats.search_result_references), (2, 2));
    assert_eq!(attacker.connections(), 0);
}

/// Matrix case 45: the bad entry comes marked, the others as they are, and all that came is all there is.
#[tokio::test]
async fn an_entry_that_is_not_utf_8_comes_tainted_and_is_counted() {
    let server = pages(|request, _| {
        let mut bad = entry(request.id, "cn=bXd");
        let x = bad.iter().position(|byte| *byte == b'X').unwrap();
        bad[x] = 0xe4;
        [
            entry(request.id, "cn=1"),
            bad,
            entry(request.id, "cn=2"),
            ber::page_done(request.id, b""),
        ]
        .concat()
    })
    .await;
    let (entries, outcome) = pull(&on_script(server.address()), everything("dc=x", &["uid"])).await;
    let read: Vec<(&str, bool)> = entries
        .iter()
        .map(|entry| (entry.dn.as_str(), entry.tainted))
        .collect();
    assert_eq!(read, [("cn=1", false), ("cn=b?d", true), ("cn=2", false)]);
    let SearchOutcome::Complete(stats) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!((stats.entries, stats.tainted), (3, 1));
}

/// Matrix case 63: binary values stay binary, whatever their bytes look like.
#[tokio::test]
async fn values_keep_their_bytes_and_ranges_are_noted() {
    let server = pages(|request, _| {
        let binary: &[&[u8]] = &[b"\x01\x05\x00\xff", b"text"];
        let bytes = ber::search_entry(
            request.id,
            "cn=1",
            &[
                ("objectSid", binary),
                ("mail", &[b"a@x"]),
                ("MAIL", &[b"b@x"]),
                ("member", &[]),
                ("member;range=0-1", &[b"cn=a", b"cn=b"]),
                ("cn;lang-de", &[b"c"]),
            ],
        );
        [bytes, ber::page_done(request.id, b"")].concat()
    })
    .await;
    let (entries, outcome) = pull(&on_script(server.address()), everything("dc=x", &["*"])).await;
    let entry = &entries[0];
    assert_eq!(
        entry.values("objectSid"),
        [b"\x01\x05\x00\xff".to_vec(), b"text".to_vec()]
    );
    assert_eq!(entry.values("mail"), [b"a@x".to_vec(), b"b@x".to_vec()]);
    assert_eq!(entry.values("member;range=0-1").len(), 2);
    assert!(entry.values("member").is_empty());
    let SearchOutcome::Complete(stats) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(
        stats.ranged_attributes.into_iter().collect::<Vec<_>>(),
        ["member"]
    );
}

/// Matrix case 41.
#[tokio::test]
async fn endless_entries_stop_at_the_budget() {
    let server = ScriptedLdap::plain(|mut peer| async move {
        let search = after_bind(&mut peer).await?;
        let many = entry(search.id, "cn=x").repeat(100);
        loop {
            peer.send(&many).await?;
        }
    })
    .await
    .unwrap();
    let directory = on_script(server.address());
    for budget in [
        SearchBudget {
            entries: 5000,
            ..SearchBudget::default()
        },
        SearchBudget {
            bytes: 200_000,
            ..SearchBudget::default()
        },
    ] {
        let request = rollcall_ldap::SearchRequest {
            budget,
            ..everything("dc=x", &["uid"])
        };
        let (entries, outcome) = pull(&directory, request).await;
        let SearchOutcome::Partial { reason, .. } = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(reason, PartialReason::BudgetSpent);
        assert!(
            entries.len() <= 200_000 / 25 && entries.len() > 1000,
            "{}",
            entries.len()
        );
    }
}

/// Matrix case 43: whoever reads slowly does not make this process hold what the server sends.
#[tokio::test]
async fn a_flood_waits_in_the_server_while_the_caller_is_slow() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = sent.clone();
    let server = ScriptedLdap::plain(move |mut peer| {
        let counter = counter.clone();
        async move {
            let search = after_bind(&mut peer).await?;
            let many = ber::search_entry(search.id, "cn=x", &[("jpegPhoto", &[&[0; 4000]])]).repeat(16);
            loop {
                peer.send(&many).await?;
                counter.fetch_add(many.len(), Ordering::SeqCst);
            }
        }
    })
    .await
    .unwrap();
    let directory = on_script(server.address());
    let mut search = directory
        .search(everything("dc=x", &["jpegPhoto"]))
        .await
        .unwrap();
    assert!(search.next().await.is_some());
    let (mut last, mut unchanged) = (0, 0);
    wait_for("the server is stuck", Duration::from_secs(30), async || {
        let now = sent.load(Ordering::SeqCst);
        unchanged = if now == last && now > 0 { unchanged + 1 } else { 0 };
        last = now;
        unchanged == 30
    })
    .await
    .unwrap();
    // What the kernel's socket buffers hold, and the window of one megabyte.
    assert!(last < 16 << 20, "{last} bytes");
    for _ in 0..20_000 {
        assert!(search.next().await.is_some());
    }
    assert!(sent.load(Ordering::SeqCst) > last);
}

fn members(range: std::ops::Range<usize>) -> Vec<Vec<u8>> {
    range.map(|number| format!("cn={number}").into_bytes()).collect()
}

/// Answers each read of a group with what `range` makes of the wanted attribute.
async fn ranges(
    range: impl Fn(&str) -> Option<(String, std::ops::Range<usize>)> + Send + Sync + Clone + 'static,
) -> ScriptedLdap {
    pages(move |request, _| {
        let Operation::Search { attributes, .. } = &request.operation else {
            panic!()
        };
        let mut parts: Vec<(String, Vec<Vec<u8>>)> = vec![("member".into(), Vec::new())];
        if let Some((name, window)) = range(&attributes[0]) {
            parts.push((name, members(window)));
        }
        let borrowed: Vec<(&str, Vec<&[u8]>)> = parts
            .iter()
            .map(|(name, values)| (name.as_str(), values.iter().map(Vec::as_slice).collect()))
            .collect();
        let attributes: Vec<(&str, &[&[u8]])> = borrowed
            .iter()
            .map(|(name, values)| (*name, values.as_slice()))
            .collect();
        [
            ber::search_entry(request.id, "cn=group", &attributes),
            ber::search_done(request.id, 0, ""),
        ]
        .concat()
    })
    .await
}

/// Matrix case 63: Active Directory's windows, the last one smaller than asked for.
#[tokio::test]
async fn ranges_of_values_are_read_to_their_end() {
    let server = ranges(|wanted| match wanted {
        "member" => Some(("member;range=0-1499".into(), 0..1500)),
        "member;range=1500-*" => Some(("member;range=1500-2999".into(), 1500..3000)),
        "member;range=3000-*" => Some(("member;range=3000-*".into(), 3000..3010)),
        other => panic!("{other}"),
    })
    .await;
    let entry = on_script(server.address())
        .read_entry(&read("cn=group", &["member"]), in_seconds(10))
        .await;
    let entry = entry.unwrap().unwrap();
    assert_eq!(entry.values("member"), members(0..3010));
    assert_eq!(entry.attributes.len(), 1);
}

#[tokio::test]
async fn a_group_that_shrinks_between_ranges_ends_and_a_lying_one_is_an_error() {
    let shrinking = ranges(|wanted| match wanted {
        "member" => Some(("member;range=0-9".into(), 0..10)),
        _ => None,
    })
    .await;
    let request = read("cn=group", &["member"]);
    let entry = on_script(shrinking.address())
        .read_entry(&request, in_seconds(10))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(entry.values("member"), members(0..10));
    let lying = ranges(|_| Some(("member;range=0-9".into(), 0..10))).await;
    let error = on_script(lying.address())
        .read_entry(&request, in_seconds(10))
        .await
        .unwrap_err();
    assert_eq!(error, LdapError::Protocol(ProtocolViolation::Range));
}

/// As Samba does with the size limit, and worse ones with the page's.
#[tokio::test]
async fn a_server_that_ignores_limits_still_gets_a_small_search_answered() {
    let server = pages(|request, _| {
        [
            entry(request.id, "cn=x").repeat(100),
            ber::search_done(request.id, 0, ""),
        ]
        .concat()
    })
    .await;
    let directory = on_script(server.address());
    let attributes = ["uid".to_owned()];
    let found = directory
        .find(
            "dc=x",
            SearchScope::Subtree,
            "(uid=x)",
            &attributes,
            2,
            in_seconds(10),
        )
        .await;
    let found = found.unwrap();
    assert_eq!((found.entries.len(), found.more), (2, true));
}

/// Active Directory sends pages that are not full, or empty, while it looks through what does not match: what is
/// not on the first one may be there all the same.
#[tokio::test]
async fn a_small_search_whose_page_is_not_the_last_says_that_there_is_more() {
    let server = pages(|request, _| ber::page_done(request.id, b"more")).await;
    let found = on_script(server.address())
        .find(
            "dc=x",
            SearchScope::Subtree,
            "(uid=x)",
            &["uid".into()],
            2,
            in_seconds(10),
        )
        .await
        .unwrap();
    assert_eq!((found.entries.len(), found.more), (0, true));
}

/// Matrix case 50.
#[tokio::test]
async fn an_entry_far_larger_than_a_user_comes_with_its_large_values_cut() {
    let server = pages(|request, _| {
        let photo = [0xff_u8; 300_000];
        let large = ber::search_entry(request.id, "cn=1", &[("uid", &[b"u1"]), ("jpegPhoto", &[&photo])]);
        let usual = ber::search_entry(
            request.id,
            "cn=2",
            &[("uid", &[b"u2"]), ("jpegPhoto", &[&photo[..60_000]])],
        );
        [large, usual, ber::page_done(request.id, b"")].concat()
    })
    .await;
    let (entries, outcome) = pull(&on_script(server.address()), everything("dc=x", &["*"])).await;
    assert_eq!(
        (
            entries[0].tainted,
            entries[0].text("uid"),
            entries[0].values("jpegPhoto")[0].len()
        ),
        (false, Some("u1"), 5 << 10)
    );
    assert_eq!(
        (
            entries[1].tainted,
            entries[1].text("uid"),
            entries[1].values("jpegPhoto")[0].len()
        ),
        (false, Some("u2"), 60_000)
    );
    // Whoever can write one large value must not keep others from being removed.
    assert!(matches!(outcome, SearchOutcome::Complete(_)), "{outcome:?}");
}

/// Matrix case 50: a value that is larger than a message may be. It need not be the first of its entry, nor the last.
#[tokio::test]
async fn an_entry_that_is_larger_than_a_message_is_passed_over_and_named() {
    for behind in [0, 1, 100] {
        let server = pages(move |request, _| {
            let (photo, small, groups) = (
                vec![0xff_u8; 9 << 20],
                vec![b'g'; 900],
                vec![&b"group"[..]; behind],
            );
            let groups: Vec<&[u8]> = groups.into_iter().chain([&small[..]]).collect();
            let attributes: [(&str, &[&[u8]]); 4] = [
                ("uid", &[b"large"]),
                ("memberOf", &groups),
                ("jpegPhoto", &[&photo]),
                ("description", &groups[..behind]),
            ];
            let dn = "uid=large,ou=people,dc=x";
            [
                entry(request.id, "cn=1"),
                ber::search_entry(request.id, dn, &attributes),
                entry(request.id, "cn=2"),
                ber::page_done(request.id, b""),
            ]
            .concat()
        })
        .await;
        let directory = on_script(server.address());
        let (entries, outcome) = pull(&directory, everything("dc=x", &["*"])).await;
        let read: Vec<(&str, Option<&str>, usize)> = entries
            .iter()
            .map(|entry| {
                (
                    entry.dn.as_str(),
                    entry.oversized.as_deref(),
                    entry.attributes.len(),
                )
            })
            .collect();
        let large = ("uid=large,ou=people,dc=x", Some("jpegPhoto"), 0);
        assert_eq!(read, [("cn=1", None, 1), large, ("cn=2", None, 1)]);
        assert!(matches!(outcome, SearchOutcome::Complete(_)), "{outcome:?}");
        // About one person such an entry says nothing, least of all that there is none.
        let one = directory.read_entry(&read_of_large(), in_seconds(30)).await;
        let limit = 8 << 20;
        assert_eq!(
            one,
            Err(LdapError::Protocol(ProtocolViolation::MessageTooLarge { limit }))
        );
    }
}

fn read_of_large() -> rollcall_ldap::ReadRequest {
    read("uid=large,ou=people,dc=x", &["*"])
}

/// What is large and no entry, or no whole one, ends the connection as ever.
#[tokio::test]
async fn what_is_larger_than_a_message_and_no_entry_is_not_passed_over() {
    let large = vec![b'x'; 9 << 20];
    let no_entry = |id: i64| ber::search_done(id, 0, &String::from_utf8(large.clone()).unwrap());
    let long_name = |id: i64| entry(id, &String::from_utf8(large.clone()).unwrap());
    let another_s = |id: i64| ber::search_entry(id + 1, "cn=1", &[("photo", &[&large])]);
    let broken = |id: i64| {
        let mut bytes = ber::search_entry(id, "cn=1", &[("photo", &[&large])]);
        let at = bytes.windows(5).position(|part| part == b"photo").unwrap();
        bytes[at + 5] = 0x30;
        bytes
    };
    let makers: [&(dyn Fn(i64) -> Vec<u8> + Sync); 4] = [&no_entry, &long_name, &another_s, &broken];
    for (case, make) in makers.into_iter().enumerate() {
        // The search is the second message after the bind.
        let bytes = make(2);
        let server = pages(move |_, _| bytes.clone()).await;
        let (entries, outcome) = pull(&on_script(server.address()), everything("dc=x", &["*"])).await;
        assert!(entries.is_empty());
        let SearchOutcome::Failed {
            error: LdapError::Protocol(_),
        } = outcome
        else {
            panic!("{case}: {outcome:?}")
        };
    }
}
