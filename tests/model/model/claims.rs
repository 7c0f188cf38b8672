//! Who gets which login and e-mail address: DESIGN.md 2.1, "Claims", rule by rule.

use std::collections::BTreeMap;

use super::judgement::{Judged, Standing};
use super::{Granted, Issue, Missing, State, Sync, User, Why};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Login,
    Email,
}

/// What one entry asks for.
#[derive(Debug, Clone, Default)]
pub(super) struct Ask {
    /// The user whose entry it is.
    known: Option<usize>,
    enabled: bool,
    /// What the user has and holds now; nothing if that is released.
    has: String,
    /// Everything that the entry offers, in lower case.
    offers: Vec<String>,
    unreadable: bool,
    /// What it should become; equal to `has` if it stays.
    target: String,
    /// What the entry would have, whatever the user sync thinks of new logins.
    raw: String,
    issue: Option<Issue>,
    dn: String,
    /// What it asked for at first.
    wanted: String,
    /// It asks and is given nothing: left alone, waiting, or another user sync's.
    stands_by: bool,
    /// The user sync of the entry if it is another one, and the entry's id.
    of_other: Option<usize>,
    id: String,
}

/// What all entries of a run ask for.
pub(super) struct Wishes<'a> {
    users: &'a [User],
    number: usize,
    renames: bool,
    archives: bool,
    logins: Vec<Ask>,
    emails: Vec<Ask>,
    /// Users of other user syncs who do not offer the login that they have: which, and where they ask.
    pub(super) neighbours: Vec<(usize, usize)>,
    /// One entry alone is read anew. Reading: whether another gives up an e-mail address is for a run to find out, so that
    /// the user's own stays until then.
    alone: bool,
    /// Users who are missing, and leave in this run.
    leaving: BTreeMap<usize, Why>,
    /// Users whose ids several entries have: nobody knows what they offer, so what they hold stays theirs.
    several: Vec<usize>,
}

/// What becomes of them, in the order in which they were added.
pub(super) struct Settled {
    pub(super) logins: Vec<Granted>,
    pub(super) emails: Vec<Granted>,
    /// Users without access who lose something to an enabled entry, whether the login and whether the e-mail address.
    pub(super) gives_way: BTreeMap<usize, (bool, bool)>,
    /// Users who keep a login that their entry does not offer any more, and the enabled entries that ask for it.
    pub(super) ambiguous: BTreeMap<usize, Rivals>,
    /// Users whose entries offer the login that they have.
    offered: Vec<usize>,
}

/// Entries that ask for a login, by their names: which user sync they are of if it is another one, and their ids.
#[derive(Debug, Default)]
pub(super) struct Rivals(BTreeMap<String, (Option<usize>, String)>);

impl Rivals {
    /// The issue that names one of them. Reading: one of another user sync that cannot be asked is not named, nor are the
    /// others then.
    pub(super) fn issue(&self, dn: &str) -> Issue {
        let is_named = !self.0.contains_key("");
        let named = self.0.iter().filter(|_| is_named);
        Issue {
            others: named.clone().map(|(dn, _)| dn.clone()).collect(),
            sync: named.clone().next().and_then(|(_, (sync, _))| *sync),
            ..Issue::of("LOGIN_AMBIGUOUS", "login", "").at(dn)
        }
    }

    /// What a user of this sync is remembered to be asked by: nobody whom its own runs meet.
    pub(super) fn asker(&self, number: usize, of: Option<usize>) -> Option<(usize, String)> {
        let (sync, id) = self.0.values().next()?;
        let sync = sync.unwrap_or(number);
        (Some(sync) != of).then(|| (sync, id.clone()))
    }
}

impl Settled {
    /// Whether a known user's login is ambiguous after this. Where not everybody was read, what was known stays for as long
    /// as the user has that login.
    pub(super) fn is_ambiguous(&self, at: usize, user: &User, login: &str, whole: bool) -> bool {
        let found = self.ambiguous.contains_key(&at);
        found || (!whole && user.ambiguous && user.login == login && !self.offered.contains(&at))
    }
}

impl<'a> Wishes<'a> {
    pub(super) fn new(users: &'a [User], number: usize, sync: &Sync, alone: bool) -> Self {
        Self {
            alone,
            users,
            number,
            neighbours: Vec::new(),
            renames: sync.renames,
            archives: sync.missing == Missing::Archive,
            logins: Vec::new(),
            emails: Vec::new(),
            leaving: BTreeMap::new(),
            several: Vec::new(),
        }
    }

    /// Somebody whom the user sync leaves alone asks too: the person is there, and types that login. `person` is who it is
    /// already, whose own things are no question.
    pub(super) fn stands_by(&mut self, judged: &Judged, person: Option<usize>) {
        let ask = |offer: &super::judgement::Offer| {
            let value = offer.values.first().cloned().unwrap_or_default();
            let own = self
                .holder(&value)
                .is_some_and(|(holder, _)| Some(holder) == person);
            let target = if own { String::new() } else { value };
            Ask {
                enabled: judged.standing == Standing::Enabled,
                offers: [target.to_lowercase()].into(),
                raw: target.clone(),
                target,
                dn: judged.dn().to_owned(),
                stands_by: true,
                id: judged.id.clone(),
                ..Ask::default()
            }
        };
        let (login, email) = (ask(&judged.login), ask(&judged.email));
        self.logins.push(login);
        self.emails.push(email);
    }

    /// An entry of another user sync asks for this login, as it did when that one ran. Its name is empty if it cannot be
    /// asked.
    pub(super) fn asks_elsewhere(&mut self, login: &str, dn: &str, (sync, id): (usize, String)) {
        self.logins.push(Ask {
            enabled: true,
            offers: [login.to_lowercase()].into(),
            raw: login.to_owned(),
            target: login.to_owned(),
            dn: dn.to_owned(),
            stands_by: true,
            of_other: Some(sync),
            id,
            ..Ask::default()
        });
        self.emails.push(Ask::default());
    }

    /// A user of another user sync whose entry does not offer its login any more moves to this one, or stays.
    pub(super) fn neighbour(&mut self, at: usize, target: Option<&str>) {
        let user = &self.users[at];
        let target = target.unwrap_or_default();
        let moving = |ask: &Ask| {
            ask.stands_by && !target.is_empty() && (ask.of_other, &ask.id) == (user.sync, &user.id)
        };
        // One and the same entry asks once.
        for asks in self.logins.iter_mut().filter(|ask| moving(ask)) {
            *asks = Ask::default();
        }
        self.neighbours.push((at, self.logins.len()));
        let stays = target.is_empty();
        self.logins.push(Ask {
            known: Some(at),
            enabled: true,
            has: user.login.clone(),
            offers: if stays {
                Vec::new()
            } else {
                vec![target.to_lowercase()]
            },
            target: if stays {
                user.login.clone()
            } else {
                target.to_owned()
            },
            raw: target.to_owned(),
            dn: user.dn.clone(),
            of_other: user.sync,
            id: user.id.clone(),
            ..Ask::default()
        });
        self.emails.push(Ask::default());
    }

    /// The logins that somebody asks for, whether or not it is given.
    pub(super) fn asked(&self) -> Vec<String> {
        let asked = self.logins.iter().map(|ask| ask.raw.clone());
        asked.filter(|login| !login.is_empty()).collect()
    }

    /// Whether this user of the sync takes part: its entry was met, or it has no access, or loses it.
    pub(super) fn takes_part(&self, at: usize) -> bool {
        let met = self.logins.iter().any(|ask| ask.known == Some(at));
        self.is_own(at) && (met || self.leaving.contains_key(&at) || self.users[at].state != State::Active)
    }

    pub(super) fn leaves(&mut self, user: usize, why: Why) {
        self.leaving.insert(user, why);
    }

    pub(super) fn several<'i>(&mut self, ids: impl Iterator<Item = &'i String>) {
        let user = |id: &String| self.users.iter().position(|user| user.id == *id);
        self.several = ids.filter_map(user).collect();
    }

    /// Where it asks.
    pub(super) fn add(&mut self, known: Option<usize>, judged: &Judged) -> usize {
        let user = known.map(|at| &self.users[at]);
        let holds = user.filter(|user| !matches!(user.state, State::Archived(_)));
        let enabled = match judged.standing {
            Standing::Enabled => true,
            Standing::Disabled | Standing::Expired => false,
            Standing::Unreadable => user.is_none_or(|user| user.state == State::Active),
        };
        let ask = |has: &str, offer: &super::judgement::Offer| Ask {
            known,
            enabled,
            has: has.to_owned(),
            offers: offer.values.iter().map(|value| value.to_lowercase()).collect(),
            unreadable: offer.unreadable,
            target: has.to_owned(),
            raw: offer.values.first().cloned().unwrap_or_default(),
            issue: offer.problem.clone(),
            dn: judged.dn().to_owned(),
            id: judged.id.clone(),
            ..Ask::default()
        };
        let mut login = ask(holds.map_or("", |user| &user.login), &judged.login);
        match judged.login.values.first() {
            // Unreadable values are not absent: what is in use stays.
            _ if login.unreadable && !login.has.is_empty() => {}
            Some(wanted) if login.has.is_empty() || self.renames => login.target = wanted.clone(),
            Some(_) if !login.offers.contains(&login.has.to_lowercase()) => {
                login.issue = Some(Issue::of("LOGIN_CHANGE_REJECTED", "login", ""));
            }
            _ => {}
        }
        let mut email = ask(holds.map_or("", |user| &user.email), &judged.email);
        match judged.email.values.first() {
            _ if email.unreadable && !email.has.is_empty() => {}
            Some(wanted) => email.target = wanted.clone(),
            None => email.target = String::new(),
        }
        for ask in [&mut login, &mut email] {
            ask.wanted.clone_from(&ask.target);
        }
        self.logins.push(login);
        self.emails.push(email);
        self.logins.len() - 1
    }

    /// Whether this user may not log in once the run is applied.
    fn is_off(&self, at: usize) -> bool {
        if self.leaving.contains_key(&at) {
            return true;
        }
        match self.logins.iter().find(|ask| ask.known == Some(at)) {
            Some(ask) => !ask.enabled,
            // Reading: nobody gives way to people of another user sync, where the first one holds; nor to one entry that is
            // read anew, since only a run changes others.
            None => !self.alone && self.is_own(at) && self.users[at].state != State::Active,
        }
    }

    /// Whether it is a user of the sync, or is taken over by this run.
    fn is_own(&self, at: usize) -> bool {
        let comes = |ask: &Ask| ask.known == Some(at) && !ask.stands_by && ask.of_other.is_none();
        let sync = self.users[at].sync;
        sync == Some(self.number) || (sync.is_some() && self.logins.iter().any(comes))
    }

    /// Whether the run may change what this user has: its own users, and the logins of neighbours.
    fn is_ours(&self, at: usize, held_as: Kind) -> bool {
        let neighbour = || self.neighbours.iter().any(|(neighbour, _)| *neighbour == at);
        self.is_own(at) || (held_as == Kind::Login && neighbour())
    }

    /// Whether it is known what this user's entry offers, or that there is none. Reading: of somebody who is missing and
    /// left alone nothing is known.
    fn is_read(&self, at: usize) -> bool {
        self.leaving.contains_key(&at) || self.logins.iter().any(|ask| ask.known == Some(at))
    }

    /// Who holds this now, as login or as e-mail address.
    pub(super) fn holder(&self, value: &str) -> Option<(usize, Kind)> {
        let same = |held: &str| !held.is_empty() && held.to_lowercase() == value.to_lowercase();
        self.users.iter().enumerate().find_map(|(at, user)| {
            let gone =
                matches!(user.state, State::Archived(_)) || (self.archives && self.leaving.contains_key(&at));
            match () {
                () if gone => None,
                () if same(&user.login) => Some((at, Kind::Login)),
                () if same(&user.email) => Some((at, Kind::Email)),
                () => None,
            }
        })
    }
}

pub(super) fn settle(wishes: &Wishes) -> Settled {
    let mut logins = wishes.logins.clone();
    let mut emails = wishes.emails.clone();
    for kind in [Kind::Login, Kind::Email] {
        one_each(wishes, &mut logins, &mut emails, kind);
    }
    // An e-mail address never stands against a login.
    for (at, email) in emails.iter_mut().enumerate() {
        let target = email.target.to_lowercase();
        let mut others = logins.iter().enumerate().filter(|(other, _)| *other != at);
        let against = !target.is_empty() && others.any(|(_, login)| login.target.to_lowercase() == target);
        if against && email.target != email.has {
            refuse(email, Kind::Email, "EMAIL_TAKEN", wishes.alone);
        }
    }
    // Who gets no login is not created, or stays archived, and so has no use for an e-mail address.
    while drop_moves(wishes, &mut logins, &mut emails) || drop_useless(&logins, &mut emails) {}
    // Reading: what an entry asks for counts, though the user sync may keep its user's login, or leave a new one alone.
    let asked = wishes.logins.iter().filter(|ask| ask.enabled);
    let found = asked.filter_map(|ask| {
        let (known, login) = (ask.known, &ask.raw);
        let (holder, held_as) = wishes.holder(login)?;
        let same = |value: &str| value.to_lowercase() == login.to_lowercase();
        let mut keepers = wishes.logins.iter();
        let keeper = keepers.position(|keeper| keeper.known == Some(holder));
        let offered = keeper
            .is_some_and(|at| logins[at].unreadable || logins[at].offers.contains(&login.to_lowercase()));
        let keeps = keeper.is_none_or(|at| same(&logins[at].target));
        let other = known != Some(holder) && held_as == Kind::Login;
        let ours = wishes.is_ours(holder, held_as) && wishes.is_read(holder) && !wishes.is_off(holder);
        let ours = ours && !wishes.several.contains(&holder);
        (other && keeps && !offered && ours).then_some((holder, ask))
    });
    let mut ambiguous = BTreeMap::<usize, Rivals>::new();
    for (holder, ask) in found {
        let rivals = ambiguous.entry(holder).or_default();
        rivals.0.insert(ask.dn.clone(), (ask.of_other, ask.id.clone()));
    }
    let offers = |ask: &&Ask| ask.unreadable || ask.offers.contains(&ask.has.to_lowercase());
    let offered = logins.iter().filter(offers).filter_map(|ask| ask.known).collect();
    // Reading: who loses the login is archived, and shows all of it still; an e-mail address that goes alone is empty.
    let mut gives_way = BTreeMap::<usize, (bool, bool)>::new();
    for asks in [&logins, &emails] {
        let new = asks
            .iter()
            .filter(|ask| !ask.stands_by && ask.target.to_lowercase() != ask.has.to_lowercase());
        for ask in new {
            if let Some((at, held_as)) = wishes.holder(&ask.target)
                && Some(at) != ask.known
                && !moves_away(&logins, &emails, at, held_as, &ask.target)
            {
                let (login, email) = gives_way.entry(at).or_default();
                *login |= held_as == Kind::Login;
                *email |= held_as == Kind::Email;
            }
        }
    }
    for (at, (login, email)) in &gives_way {
        if let Some(position) = logins.iter().position(|ask| ask.known == Some(*at))
            && *email
            && !login
        {
            emails[position].target.clear();
        }
    }
    name_others(wishes, &mut logins, &mut emails);
    let granted = |asks: Vec<Ask>| {
        let granted = asks.into_iter().map(|ask| Granted {
            value: ask.target,
            issue: ask.issue.map(|issue| issue.at(&ask.dn)),
        });
        granted.collect()
    };
    Settled {
        ambiguous,
        offered,
        logins: granted(logins),
        emails: granted(emails),
        gives_way,
    }
}

/// Whoever does not get what it asked for is told who stands against it: who has it, or whose entries offer it.
fn name_others(wishes: &Wishes, logins: &mut [Ask], emails: &mut [Ask]) {
    let mut offers: Vec<(String, String, Option<usize>)> = Vec::new();
    for ask in wishes.logins.iter().chain(&wishes.emails) {
        let of_ask = ask.offers.iter();
        offers.extend(of_ask.map(|offer| (offer.clone(), ask.dn.clone(), ask.of_other)));
    }
    offers.sort_by(|(_, one, _), (_, other, _)| one.cmp(other));
    for ask in logins.iter_mut().chain(emails) {
        let Some(issue) = &mut ask.issue else { continue };
        if ![
            "DUPLICATE_IN_DIRECTORY",
            "LOGIN_TAKEN",
            "EMAIL_TAKEN",
            "LOGIN_AMBIGUOUS",
        ]
        .contains(&issue.kind)
        {
            continue;
        }
        // An entry that was met is named as it is called now; one that comes over from another user sync is of this one.
        let named_as = |at: usize| {
            let user = &wishes.users[at];
            match wishes.logins.iter().find(|met| met.known == Some(at)) {
                Some(met) => (met.dn.clone(), met.of_other),
                None => (user.dn.clone(), user.sync),
            }
        };
        let holder = wishes.holder(&ask.wanted).map(|(at, _)| named_as(at));
        let same = |(offer, dn, _): &&(String, String, Option<usize>)| {
            *offer == ask.wanted.to_lowercase() && *dn != ask.dn
        };
        let rival = offers.iter().find(same).and_then(|(.., sync)| *sync);
        let named = offers.iter().filter(same).map(|(_, dn, _)| dn.clone());
        // Reading: of what is taken the one who has it is named.
        issue.others = match &holder {
            Some((dn, _)) if issue.kind != "DUPLICATE_IN_DIRECTORY" => [dn.clone()].into(),
            _ => named.chain(holder.iter().map(|(dn, _)| dn.clone())).collect(),
        };
        issue.others.retain(|dn| !dn.is_empty() && *dn != ask.dn);
        issue.sync = match issue.kind {
            "DUPLICATE_IN_DIRECTORY" => rival,
            _ => holder.and_then(|(_, sync)| sync),
        };
        issue.sync = issue.sync.filter(|sync| *sync != wishes.number);
    }
}

/// Rules 1 to 4: what one entry alone asks for, and nobody keeps, is its.
fn one_each(wishes: &Wishes, logins: &mut [Ask], emails: &mut [Ask], kind: Kind) {
    let raw = match kind {
        Kind::Login => logins.to_vec(),
        Kind::Email => emails.to_vec(),
    };
    let same = |a: &str, b: &str| a.to_lowercase() == b.to_lowercase();
    let asks = |ask: &Ask| !ask.target.is_empty() && !same(&ask.target, &ask.has);
    for at in 0..raw.len() {
        if !asks(&raw[at]) {
            continue;
        }
        let wanted = &raw[at].target;
        let mut others = raw.iter().enumerate().filter(|(other, _)| *other != at);
        let rival = others.any(|(_, other)| {
            asks(other) && same(&other.target, wanted) && (other.enabled || !raw[at].enabled)
        });
        let holder = wishes
            .holder(wanted)
            .filter(|(holder, _)| Some(*holder) != raw[at].known);
        let keeper = holder.and_then(|(holder, _)| raw.iter().find(|ask| ask.known == Some(holder)));
        // Who holds it and whose entry offers it keeps it, unless that entry is off and this one is not.
        let kept = keeper.is_some_and(|keeper| {
            let offers = keeper.offers.contains(&wanted.to_lowercase()) || keeper.unreadable;
            offers && same(&keeper.target, wanted) && (keeper.enabled || !raw[at].enabled)
        });
        let kept = kept
            || holder.is_some_and(|(holder, _)| {
                wishes.several.contains(&holder)
                    && wishes.is_own(holder)
                    && !(wishes.is_off(holder) && raw[at].enabled)
            });
        // Reading: what is another user sync's, or a LOCAL user's, is taken, however many ask for it.
        let outside = holder.is_some_and(|(at, held_as)| !wishes.is_ours(at, held_as) && !wishes.is_off(at));
        if (rival && !outside) || kept {
            let ask = match kind {
                Kind::Login => &mut logins[at],
                Kind::Email => &mut emails[at],
            };
            // Reading: two entries of one run that want the same are DUPLICATE_IN_DIRECTORY on every night.
            refuse(ask, kind, "DUPLICATE_IN_DIRECTORY", wishes.alone);
        }
    }
}

/// Rule 5: drops a move whose target is not released; says whether it dropped one.
fn drop_moves(wishes: &Wishes, logins: &mut [Ask], emails: &mut [Ask]) -> bool {
    for kind in [Kind::Login, Kind::Email] {
        let count = logins.len();
        for at in 0..count {
            let ask = match kind {
                Kind::Login => &logins[at],
                Kind::Email => &emails[at],
            };
            if ask.target.is_empty() || ask.target.to_lowercase() == ask.has.to_lowercase() {
                continue;
            }
            let Some((holder, held_as)) = wishes.holder(&ask.target) else {
                continue;
            };
            if Some(holder) == ask.known
                || moves_away(logins, emails, holder, held_as, &ask.target)
                || (wishes.is_off(holder) && ask.enabled)
            {
                continue;
            }
            let ask_is_enabled = ask.enabled;
            match kind {
                // Both are named: who keeps it without having it, and who has it without getting it.
                Kind::Login
                    if ask_is_enabled
                        && wishes.is_ours(holder, held_as)
                        && wishes.is_read(holder)
                        && held_as == Kind::Login =>
                {
                    refuse(&mut logins[at], kind, "LOGIN_AMBIGUOUS", wishes.alone);
                }
                Kind::Login => refuse(&mut logins[at], kind, "LOGIN_TAKEN", wishes.alone),
                Kind::Email => refuse(&mut emails[at], kind, "EMAIL_TAKEN", wishes.alone),
            }
            return true;
        }
    }
    false
}

fn drop_useless(logins: &[Ask], emails: &mut [Ask]) -> bool {
    let useless = logins
        .iter()
        .zip(emails)
        .filter(|(login, email)| login.target.is_empty() && email.has.is_empty() && !email.target.is_empty());
    let mut dropped = false;
    for (_, email) in useless {
        email.target.clear();
        dropped = true;
    }
    dropped
}

/// Whether the holder has something else, or nothing, once the run is applied.
fn moves_away(logins: &[Ask], emails: &[Ask], holder: usize, held_as: Kind, value: &str) -> bool {
    let asks = match held_as {
        Kind::Login => logins,
        Kind::Email => emails,
    };
    let mut asks = asks.iter().filter(|ask| ask.known == Some(holder));
    asks.any(|ask| ask.target.to_lowercase() != value.to_lowercase())
}

/// What is asked for is not given. A login stays; so does an e-mail address that the entry still offers.
fn refuse(ask: &mut Ask, kind: Kind, issue: &'static str, alone: bool) {
    let still_offered = ask.offers.contains(&ask.has.to_lowercase());
    ask.target = match kind {
        Kind::Email if !still_offered && !alone => String::new(),
        _ => ask.has.clone(),
    };
    let field = match kind {
        Kind::Login => "login",
        Kind::Email => "email",
    };
    ask.issue = Some(Issue::of(issue, field, ""));
}
