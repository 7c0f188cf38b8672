//! Every way in which a search can be cut short, and what its outcome then says: only a complete one says that
//! an entry which did not come is not there.

use std::time::Duration;

use rollcall_ldap::{LdapError, PartialReason, ProtocolViolation, Pulled, ResultCode, SearchOutcome};
use rollcall_testkit::{Operation, Request, ScriptedLdap, ber};

use crate::setup::*;

fn cookie_of(request: &Request) -> Vec<u8> {
    match &request.operation {
        Operation::Search {
            page: Some((_, cookie)),
            ..
        } => cookie.clone(),
        other => panic!("{other:?}"),
    }
}

fn end_with_cookie(id: i64, code: i64, cookie: &[u8]) -> Vec<u8> {
    let done = ber::element(0x65, &ber::result_parts(code, "", ""));
    ber::message(id, done, &[ber::paging_control(0, cookie)])
}

fn reason(outcome: SearchOutcome) -> PartialReason {
    match outcome {
        SearchOutcome::Partial { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

/// Matrix case 51: the very mistake that ldap3's adapter makes.
#[tokio::test]
async fn a_limit_on_any_page_makes_the_search_partial_even_with_a_cookie() {
    for limited in 0..3 {
        for code in [3, 4, 11] {
            let server = pages(move |request, number| {
                let code = if number == limited { code } else { 0 };
                let cookie: &[u8] = if number == 2 { b"" } else { b"more" };
                [
                    entry(request.id, &format!("cn={number}")),
                    end_with_cookie(request.id, code, cookie),
                ]
                .concat()
            })
            .await;
            let (entries, outcome) = pull(&on_script(server.address()), everything("dc=x", &["uid"])).await;
            assert_eq!(
                reason(outcome),
                PartialReason::ServerLimit(ResultCode(code as u32))
            );
            assert_eq!(entries.len(), limited + 1);
        }
    }
}

/// Matrix case 52.
#[tokio::test]
async fn a_connection_that_ends_within_a_page_leaves_a_partial_search() {
    let server = pages(|request, number| match number {
        0 => [entry(request.id, "cn=1"), ber::page_done(request.id, b"more")].concat(),
        _ => Vec::new(),
    })
    .await;
    let (entries, outcome) = pull(&on_script(server.address()), everything("dc=x", &["uid"])).await;
    assert_eq!(
        reason(outcome),
        PartialReason::Interrupted(LdapError::ConnectionLost)
    );
    assert_eq!(entries.len(), 1);
    let server = ScriptedLdap::plain(|mut peer| async move {
        let search = after_bind(&mut peer).await?;
        let bytes = [entry(search.id, "cn=1"), entry(search.id, "cn=2")].concat();
        peer.send(&bytes[..bytes.len() - 3]).await
    })
    .await
    .unwrap();
    let (entries, outcome) = pull(&on_script(server.address()), everything("dc=x", &["uid"])).await;
    let truncated = LdapError::Protocol(ProtocolViolation::Truncated);
    assert_eq!(reason(outcome), PartialReason::Interrupted(truncated));
    assert_eq!(entries.len(), 1);
}

#[tokio::test]
async fn a_connection_that_ends_before_the_first_entry_is_tried_once_more() {
    let server = pages(|_, _| Vec::new()).await;
    let (_, outcome) = pull(&on_script(server.address()), everything("dc=x", &["uid"])).await;
    assert_eq!(
        outcome,
        SearchOutcome::Failed {
            error: LdapError::ConnectionLost
        }
    );
    assert_eq!(server.connections(), 2);
}

/// Matrix case 42.
#[tokio::test]
async fn a_cookie_that_never_changes_ends_the_search() {
    let server = pages(|request, _| ber::page_done(request.id, b"again")).await;
    let (_, outcome) = pull(&on_script(server.address()), everything("dc=x", &["uid"])).await;
    let error = LdapError::Protocol(ProtocolViolation::CookieLoop);
    assert_eq!(outcome, SearchOutcome::Failed { error });
}

/// Matrix case 42: with another cookie each time.
#[tokio::test]
async fn pages_without_entries_come_to_an_end() {
    let server = pages(|request, number| ber::page_done(request.id, format!("{number}").as_bytes())).await;
    let (_, outcome) = pull(&on_script(server.address()), everything("dc=x", &["uid"])).await;
    let error = LdapError::Protocol(ProtocolViolation::CookieLoop);
    assert_eq!(outcome, SearchOutcome::Failed { error });
}

/// Matrix case 42: the same entries on every page, whatever the cookie and their order.
#[tokio::test]
async fn pages_that_bring_nothing_new_end_the_search_after_a_few() {
    for same_cookie in [true, false] {
        let server = pages(move |request, number| {
            let names = match number % 2 {
                0 => ["cn=1", "cn=2"],
                _ => ["cn=2", "cn=1"],
            };
            let cookie = if same_cookie {
                vec![1]
            } else {
                number.to_be_bytes().to_vec()
            };
            let entries = names.map(|name| entry(request.id, name)).concat();
            [entries, ber::page_done(request.id, &cookie)].concat()
        })
        .await;
        let (entries, outcome) = pull(&on_script(server.address()), everything("dc=x", &["uid"])).await;
        let error = LdapError::Protocol(ProtocolViolation::EndlessPages);
        assert_eq!(reason(outcome), PartialReason::Interrupted(error));
        assert_eq!(entries.len(), 8, "the first page and three that had nothing new");
    }
}

/// Matrix case 54: a whole answer without the control may be one page of many, whose control got lost on the way.
#[tokio::test]
async fn a_page_without_the_control_is_asked_for_again_without_pages() {
    for code in [0, 4] {
        let server = pages(move |request, _| {
            let (count, code) = match &request.operation {
                Operation::Search { page: Some(_), .. } => (2, 0),
                _ => (3, code),
            };
            let entries = (0..count).map(|number| entry(request.id, &format!("cn={number}")));
            [
                entries.collect::<Vec<_>>().concat(),
                ber::search_done(request.id, code, ""),
            ]
            .concat()
        })
        .await;
        let (entries, outcome) = pull(&on_script(server.address()), everything("dc=x", &["uid"])).await;
        assert_eq!(entries.len(), 3);
        match code {
            0 => assert!(matches!(outcome, SearchOutcome::Complete(_)), "{outcome:?}"),
            _ => assert_eq!(reason(outcome), PartialReason::ServerLimit(ResultCode(4))),
        }
    }
}

/// Matrix case 54: the control is not critical in small searches, and some refuse it all the same.
#[tokio::test]
async fn a_small_search_whose_control_is_refused_is_asked_without() {
    let server = pages(|request, _| match &request.operation {
        Operation::Search { page: Some(_), .. } => ber::search_done(request.id, 12, "no paging here"),
        _ => [entry(request.id, "cn=1"), ber::search_done(request.id, 0, "")].concat(),
    })
    .await;
    let found = on_script(server.address())
        .find(
            "dc=x",
            rollcall_core::user_sync::SearchScope::Subtree,
            "(uid=x)",
            &["uid".into()],
            5,
            in_seconds(10),
        )
        .await
        .unwrap();
    assert_eq!((found.entries.len(), found.more), (1, false));
}

/// Matrix case 54.
#[tokio::test]
async fn a_server_without_paging_is_searched_without_pages() {
    let server = pages(|request, number| match (number, &request.operation) {
        (0, Operation::Search { page: Some(_), .. }) => ber::search_done(request.id, 12, "no paging here"),
        (1, Operation::Search { page: None, .. }) => [
            entry(request.id, "cn=1"),
            entry(request.id, "cn=2"),
            ber::search_done(request.id, 0, ""),
        ]
        .concat(),
        other => panic!("{other:?}"),
    })
    .await;
    let (entries, outcome) = pull(&on_script(server.address()), everything("dc=x", &["uid"])).await;
    assert!(matches!(outcome, SearchOutcome::Complete(_)), "{outcome:?}");
    assert_eq!(entries.len(), 2);
}

/// Matrix case 55: Active Directory loses cookies; the search begins anew on the same server.
#[tokio::test]
async fn a_lost_cookie_restarts_the_search_and_says_so() {
    for code in [12, 53] {
        let server = pages(move |request, number| match number {
            1 => ber::search_done(request.id, code, "cookie?"),
            _ => {
                let last = !cookie_of(request).is_empty();
                let cookie: &[u8] = if last { b"" } else { b"more" };
                [
                    entry(request.id, &format!("cn={number}")),
                    ber::page_done(request.id, cookie),
                ]
                .concat()
            }
        })
        .await;
        let directory = on_script(server.address());
        let mut search = directory.search(everything("dc=x", &["uid"])).await.unwrap();
        let mut pulled = Vec::new();
        while let Some(next) = search.next().await {
            pulled.push(match next {
                Pulled::Entry(entry) => entry.dn,
                Pulled::Restarted => "restart".into(),
            });
        }
        assert_eq!(pulled, ["cn=0", "restart", "cn=2", "cn=3"]);
        let SearchOutcome::Complete(stats) = search.finish() else {
            panic!()
        };
        assert_eq!((stats.entries, stats.restarts), (2, 1));
    }
}

/// Matrix case 55: a server that loses every cookie is left with what it sent.
#[tokio::test]
async fn a_cookie_that_is_lost_again_and_again_leaves_a_partial_search() {
    let server = pages(|request, _| match cookie_of(request).is_empty() {
        true => [entry(request.id, "cn=1"), ber::page_done(request.id, b"more")].concat(),
        false => ber::search_done(request.id, 53, "cookie?"),
    })
    .await;
    let (entries, outcome) = pull(&on_script(server.address()), everything("dc=x", &["uid"])).await;
    let refused = LdapError::SearchRefused(ResultCode::UNWILLING_TO_PERFORM);
    assert_eq!(reason(outcome), PartialReason::Interrupted(refused));
    assert_eq!(entries.len(), 1);
    let searches = server.received().len() - 1;
    assert_eq!(searches, 6, "the search and two more, of two pages each");
}

/// A server that had the control on the first page and forgets it on the second did not say that this is all.
#[tokio::test]
async fn a_page_without_the_control_leaves_a_partial_search() {
    let server = pages(|request, number| match number {
        0 => [entry(request.id, "cn=1"), ber::page_done(request.id, b"more")].concat(),
        _ => [entry(request.id, "cn=2"), ber::search_done(request.id, 0, "")].concat(),
    })
    .await;
    let (_, outcome) = pull(&on_script(server.address()), everything("dc=x", &["uid"])).await;
    let error = LdapError::Protocol(ProtocolViolation::PagedResultsControl);
    assert_eq!(reason(outcome), PartialReason::Interrupted(error));
}

/// Matrix case 52, by silence: the entries before it are true.
#[tokio::test]
async fn a_server_that_falls_silent_within_a_page_leaves_a_partial_search() {
    let server = ScriptedLdap::plain(|mut peer| async move {
        let search = after_bind(&mut peer).await?;
        peer.send(&entry(search.id, "cn=1")).await?;
        peer.closed().await
    })
    .await
    .unwrap();
    let mut settings = settings(&[format!("ldap://{}", server.address())]);
    settings.operation_timeout = Duration::from_millis(200);
    let (entries, outcome) = pull(&directory(settings, "x"), everything("dc=x", &["uid"])).await;
    assert_eq!(reason(outcome), PartialReason::Interrupted(LdapError::Timeout));
    assert_eq!(entries.len(), 1);
}

/// Matrix case 56: under a base that the service account does not see, nothing says nothing.
#[tokio::test]
async fn an_empty_result_counts_only_if_the_base_itself_can_be_seen() {
    for visible in [true, false] {
        let server = pages(move |request, number| match number {
            0 => ber::page_done(request.id, b""),
            _ if visible => [entry(request.id, "dc=x"), ber::search_done(request.id, 0, "")].concat(),
            _ => ber::search_done(request.id, 0, ""),
        })
        .await;
        let (entries, outcome) = pull(&on_script(server.address()), everything("dc=x", &["uid"])).await;
        assert!(entries.is_empty());
        match outcome {
            SearchOutcome::Complete(stats) => assert!(visible && stats.entries == 0),
            SearchOutcome::Failed { error } => {
                assert!(!visible);
                assert_eq!(error, LdapError::SearchRefused(ResultCode::NO_SUCH_OBJECT));
            }
            other => panic!("{other:?}"),
        }
        let Operation::Search { base, scope, .. } = &server.received()[2].operation else {
            panic!("{:?}", server.received())
        };
        assert_eq!((base.as_str(), *scope), ("dc=x", 0));
    }
}

/// Matrix case 57.
#[tokio::test]
async fn a_base_that_is_a_referral_is_no_empty_result() {
    let server = pages(|request, _| ber::search_done(request.id, 10, "")).await;
    let (_, outcome) = pull(&on_script(server.address()), everything("dc=x", &["uid"])).await;
    assert_eq!(
        outcome,
        SearchOutcome::Failed {
            error: LdapError::SearchRefused(ResultCode(10))
        }
    );
}

/// The connections open well, the searches end badly: the host rests all the same.
#[tokio::test]
async fn searches_that_break_off_count_against_the_host() {
    let server = pages(|request, _| [entry(request.id, "cn=1"), vec![0xff]].concat()).await;
    let directory = on_script(server.address());
    for _ in 0..3 {
        assert_eq!(usable(&directory), [true]);
        let (_, outcome) = pull(&directory, everything("dc=x", &["uid"])).await;
        assert!(matches!(outcome, SearchOutcome::Partial { .. }), "{outcome:?}");
    }
    assert_eq!(usable(&directory), [false]);
    let (_, outcome) = pull(&directory, everything("dc=x", &["uid"])).await;
    let error = LdapError::CircuitOpen;
    assert_eq!(outcome, SearchOutcome::Failed { error });
}
