//! An LDAP server over a tree that the test edits while clients are connected: OpenLDAP in small, with faults to
//! switch on.

mod dn;
mod entries;
mod ldif;
mod matching;
mod schema;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use parking_lot::Mutex;

pub use entries::{Flavour, Tree, TreeEntry};

use crate::scripted::ber::{self, PAGED_RESULTS};
use crate::scripted::request::{Operation, Request};
use crate::scripted::{Peer, ScriptedLdap};

/// What Active Directory says that it can do (MS-ADTS 3.1.1.3.4.3.1).
const ACTIVE_DIRECTORY: &[u8] = b"1.2.840.113556.1.4.800";

/// How the server fails to answer at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    /// Every connection is closed at once.
    Down,
    /// The connection breaks in the middle of this page of any search, counted from 0.
    Breaks(usize),
    /// This page of any search, counted from 0, never comes; the connection stays open.
    Hangs(usize),
}

/// How the server ends a search early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The page, counted from 0, that ends so.
    pub page: usize,
    /// The result code instead of success: 3, 4, 11 and so on.
    pub code: i64,
}

/// How a bind ends without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LostBind {
    /// None comes, for as long as the client waits.
    Silent,
    /// The connection is closed.
    Closed,
}

/// A listening server; every connection is dropped when it is dropped.
pub struct TreeLdap {
    server: ScriptedLdap,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    tree: Tree,
    outage: Option<Outage>,
    cut: Option<Cut>,
    /// The names whose binds go wrong.
    lost_binds: BTreeMap<String, LostBind>,
    refused: Option<(String, i64)>,
}

impl TreeLdap {
    /// Listens in plain text on a free port of 127.0.0.1.
    pub async fn start(tree: Tree) -> Result<Self> {
        let shared = Arc::new(Mutex::new(Shared {
            tree,
            ..Shared::default()
        }));
        let served = shared.clone();
        let server = ScriptedLdap::plain(move |peer| serve(peer, served.clone())).await?;
        Ok(Self { server, shared })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// `ldap://` and the address.
    pub fn url(&self) -> String {
        format!("ldap://{}", self.address())
    }

    /// Looks at the tree or changes it, while no request is being answered.
    pub fn edit<T>(&self, edit: impl FnOnce(&mut Tree) -> T) -> T {
        edit(&mut self.shared.lock().tree)
    }

    /// Fails so from now on, or answers again.
    pub fn fail(&self, outage: Option<Outage>) {
        self.shared.lock().outage = outage;
    }

    /// Ends paged searches early from now on, or not any more.
    pub fn cut(&self, cut: Option<Cut>) {
        self.shared.lock().cut = cut;
    }

    /// Answers no bind of this name, spelt as it will come, from now on.
    pub fn lose_binds(&self, dn: &str, how: LostBind) {
        self.shared.lock().lost_binds.insert(dn.to_owned(), how);
    }

    /// Refuses searches whose filters name this attribute with this result code from now on, or none any more.
    pub fn refuse(&self, about: Option<(&str, i64)>) {
        self.shared.lock().refused = about.map(|(name, code)| (name.to_owned(), code));
    }

    /// Every request received so far.
    pub fn received(&self) -> Vec<Request> {
        self.server.received()
    }
}

/// What a connection remembers.
#[derive(Default)]
struct Session {
    /// Somebody is bound.
    bound: bool,
    /// The rest of each paged search, and the number of its next page.
    pages: BTreeMap<u64, (Vec<TreeEntry>, usize)>,
    next_cookie: u64,
}

/// What to send, and whether to leave then.
struct Answer {
    bytes: Vec<u8>,
    leaves: bool,
}

async fn serve(mut peer: Peer, shared: Arc<Mutex<Shared>>) -> Result<()> {
    let mut session = Session::default();
    loop {
        if shared.lock().outage == Some(Outage::Down) {
            return Ok(());
        }
        let Some(request) = peer.receive().await? else {
            return Ok(());
        };
        if let Operation::Bind { dn, .. } = &request.operation {
            let lost = shared.lock().lost_binds.get(dn).copied();
            match lost {
                Some(LostBind::Silent) => return peer.closed().await,
                Some(LostBind::Closed) => return Ok(()),
                None => {}
            }
        }
        let answer = {
            let mut shared = shared.lock();
            if shared.outage == Some(Outage::Down) {
                return Ok(());
            }
            session.answer(&mut shared, &request)
        };
        peer.send(&answer.bytes).await?;
        if answer.leaves {
            return Ok(());
        }
    }
}

impl Session {
    fn answer(&mut self, shared: &mut Shared, request: &Request) -> Answer {
        let id = request.id;
        let bytes = match &request.operation {
            Operation::Bind { dn, password } => {
                let (code, text) = match (dn.is_empty(), password.is_empty()) {
                    (true, true) => (0, ""),
                    // An unauthenticated bind (RFC 4513 section 5.1.2).
                    (_, true) => (53, ""),
                    _ => shared.tree.bind(dn, password),
                };
                self.bound = code == 0 && !dn.is_empty();
                ber::bind_response(id, code, "", text)
            }
            Operation::Search { base, scope: 0, .. } if base.is_empty() => root_dse(id, &shared.tree),
            Operation::Search { .. } if !self.bound => ber::search_done(id, 50, "bind first"),
            Operation::Search {
                base,
                scope,
                size_limit,
                filter,
                attributes,
                page,
            } => {
                if let Some((name, code)) = &shared.refused
                    && filter.names(name)
                {
                    return whole(ber::search_done(id, *code, "not this one"));
                }
                let found = shared.tree.search(base, *scope, filter, attributes);
                return match (found, page) {
                    (None, _) => whole(ber::search_done(id, 32, "")),
                    (Some(found), None) => whole(unpaged(id, &found, *size_limit)),
                    (Some(found), Some((size, cookie))) => self.page(shared, id, found, *size, cookie),
                };
            }
            Operation::Unbind | Operation::Abandon(_) => {
                let leaves = request.operation == Operation::Unbind;
                return Answer {
                    bytes: Vec::new(),
                    leaves,
                };
            }
            Operation::Extended(_) | Operation::Other(_) => {
                ber::extended_response(id, 2, "this server does not do that")
            }
        };
        whole(bytes)
    }

    fn page(
        &mut self,
        shared: &mut Shared,
        id: i64,
        found: Vec<TreeEntry>,
        size: i64,
        cookie: &[u8],
    ) -> Answer {
        let size = usize::try_from(size).unwrap_or(0);
        let (mut rest, number) = if cookie.is_empty() {
            (found, 0)
        } else {
            let known = cookie.try_into().ok().map(u64::from_be_bytes);
            match known.and_then(|cookie| self.pages.remove(&cookie)) {
                Some(page) => page,
                None => return whole(ber::search_done(id, 53, "this cookie is not known here")),
            }
        };
        if size == 0 {
            // The client gives the search up (RFC 2696 section 3).
            return whole(ber::page_done(id, b""));
        }
        if let Some(cut) = shared.cut
            && cut.page == number
        {
            let half = entries(id, &rest[..rest.len().min(size / 2)]);
            return whole([half, ber::search_done(id, cut.code, "")].concat());
        }
        let later = rest.split_off(rest.len().min(size));
        if shared.outage == Some(Outage::Breaks(number)) {
            return Answer {
                bytes: entries(id, &rest[..rest.len() / 2]),
                leaves: true,
            };
        }
        if shared.outage == Some(Outage::Hangs(number)) {
            return whole(Vec::new());
        }
        let cookie = if later.is_empty() {
            Vec::new()
        } else {
            self.next_cookie += 1;
            self.pages.insert(self.next_cookie, (later, number + 1));
            self.next_cookie.to_be_bytes().to_vec()
        };
        whole([entries(id, &rest), ber::page_done(id, &cookie)].concat())
    }
}

fn whole(bytes: Vec<u8>) -> Answer {
    Answer { bytes, leaves: false }
}

fn unpaged(id: i64, found: &[TreeEntry], size_limit: i64) -> Vec<u8> {
    match usize::try_from(size_limit) {
        Ok(limit @ 1..) if limit < found.len() => {
            [entries(id, &found[..limit]), ber::search_done(id, 4, "")].concat()
        }
        _ => [entries(id, found), ber::search_done(id, 0, "")].concat(),
    }
}

fn entries(id: i64, entries: &[TreeEntry]) -> Vec<u8> {
    let sent = entries.iter().map(|entry| {
        let values: Vec<(&str, Vec<&[u8]>)> = entry
            .attributes
            .iter()
            .map(|(name, values)| (name.as_str(), values.iter().map(Vec::as_slice).collect()))
            .collect();
        let values: Vec<(&str, &[&[u8]])> = values
            .iter()
            .map(|(name, values)| (*name, values.as_slice()))
            .collect();
        ber::search_entry(id, &entry.dn, &values)
    });
    sent.collect::<Vec<_>>().concat()
}

fn root_dse(id: i64, tree: &Tree) -> Vec<u8> {
    let context = tree
        .entries()
        .first()
        .map_or("dc=example,dc=org", |root| root.dn.as_str());
    let kind: (&str, &[&[u8]]) = match tree.flavour() {
        Flavour::ActiveDirectory => ("supportedCapabilities", &[ACTIVE_DIRECTORY]),
        Flavour::OpenLdap => ("objectClass", &[b"top", b"OpenLDAProotDSE"]),
    };
    let attributes: [(&str, &[&[u8]]); 6] = [
        kind,
        ("namingContexts", &[context.as_bytes()]),
        ("defaultNamingContext", &[context.as_bytes()]),
        ("supportedLDAPVersion", &[b"3"]),
        ("supportedControl", &[PAGED_RESULTS.as_bytes()]),
        ("subschemaSubentry", &[schema::DN.as_bytes()]),
    ];
    let shown = attributes.len() - usize::from(!tree.publishes_schema);
    [
        ber::search_entry(id, "", &attributes[..shown]),
        ber::search_done(id, 0, ""),
    ]
    .concat()
}
