//! What happens in a company from one night to the next, as a seed says.

mod kinds;
mod people;

use rollcall_testkit::{Cut, Tree, TreeEntry};

use crate::company::{ADMINS, PAGE, unit};
pub(crate) use kinds::Kind;
use people::{name_of, newcomer};

/// What is wrong for one night.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    Down,
    Breaks(usize),
    Cut(Cut),
    Hidden(&'static str),
    Invisible(String),
}

/// A generator that a seed repeats (SplitMix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((bits ^ (bits >> 31)) % bound.max(1) as u64).unwrap_or(0)
    }

    pub(crate) fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len()))
    }
}

/// Who lives in the directory, and who did.
pub(crate) struct Life {
    kinds: Vec<Kind>,
    pub(crate) dice: Dice,
    hired: usize,
    /// Entries that were deleted.
    gone: Vec<TreeEntry>,
}

impl Life {
    /// A company in which these kinds of changes happen.
    pub(crate) fn new(seed: u64, kinds: &[Kind]) -> Self {
        Self {
            kinds: kinds.to_vec(),
            dice: Dice(seed),
            hired: 0,
            gone: Vec::new(),
        }
    }

    /// Whether a kind of change happens in this company.
    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind)
    }

    /// Whether it happens now.
    pub(crate) fn now(&mut self, kind: Kind, one_in: usize) -> bool {
        self.has(kind) && self.dice.one_in(one_in)
    }

    /// What is wrong tonight, if anything.
    pub(crate) fn trouble(&mut self, tree: &Tree) -> Option<Trouble> {
        const HIDDEN: [&str; 10] = [
            "sn",
            "mail",
            "uid",
            "telephoneNumber",
            "displayName",
            "employeeType",
            "pwdAccountLockedTime",
            "pwdEndTime",
            "entryUUID",
            "objectClass",
        ];
        let sorts = [Kind::Outage, Kind::Cut, Kind::Unreadable, Kind::Invisible];
        let sort = *self.dice.pick(&sorts)?;
        if !self.now(sort, 2) {
            return None;
        }
        // Where a role has more than a page of people, not to read them is not to know the role: no matter of this model.
        let bosses = tree
            .entries()
            .iter()
            .filter(|entry| entry.text("employeeType") == Some("boss"));
        let breaks = [Kind::Outage, Kind::Cut].contains(&sort);
        if breaks && bosses.count() > PAGE {
            return None;
        }
        let page = self.dice.below(3);
        match sort {
            Kind::Outage if page == 0 => Some(Trouble::Down),
            Kind::Outage => Some(Trouble::Breaks(page)),
            Kind::Cut => {
                let code = *self.dice.pick(&[3, 4])?;
                // The first page would end the searches for roles too.
                Some(Trouble::Cut(Cut {
                    page: page.max(1),
                    code,
                }))
            }
            Kind::Unreadable => self.dice.pick(&HIDDEN).copied().map(Trouble::Hidden),
            _ => self.dice.pick(&people_of(tree)).cloned().map(Trouble::Invisible),
        }
    }

    /// The first people.
    pub(crate) fn begin(&mut self, tree: &mut Tree, people: usize) {
        for _ in 0..people {
            self.hire(tree);
        }
    }

    /// What happens today, in words.
    pub(crate) fn day(&mut self, tree: &mut Tree, changes: usize) -> Vec<String> {
        let mut story = Vec::new();
        for _ in 0..changes {
            let Some(kind) = self.dice.pick(&self.kinds).copied() else {
                break;
            };
            if let Some(told) = self.change(kind, tree) {
                story.push(format!("{kind:?}: {told}"));
            }
        }
        story
    }

    fn change(&mut self, kind: Kind, tree: &mut Tree) -> Option<String> {
        let people = people_of(tree);
        let dn = self.dice.pick(&people)?.clone();
        let entry = tree.entry(&dn)?.clone();
        let name = name_of(&entry);
        let more = self.dice.one_in(2);
        match kind {
            Kind::Hire => return Some(self.hire(tree)),
            Kind::Delete => {
                tree.delete(&dn);
                self.gone.push(entry);
            }
            Kind::Disable => toggle(tree, &dn, "pwdAccountLockedTime", "000001010000Z")?,
            Kind::Expire => toggle(tree, &dn, "pwdEndTime", "20260101000000Z")?,
            Kind::Move => {
                let here = unit_of(&dn)?;
                let to = if here == 2 { self.dice.below(2) } else { 2 };
                return move_to(tree, &dn, to);
            }
            Kind::Transfer => {
                let to = 1 - unit_of(&dn).filter(|here| *here < 2)?;
                return move_to(tree, &dn, to);
            }
            Kind::Offboard => {
                let login = entry.text("uid")?.to_owned();
                if login.starts_with("zz$") {
                    return None;
                }
                toggle(tree, &dn, "pwdAccountLockedTime", "000001010000Z")?;
                return rename(tree, &dn, &format!("zz${login}"));
            }
            Kind::EmptyLogin => {
                if dn.starts_with("uid=") {
                    return None;
                }
                toggle(tree, &dn, "uid", &name)?;
            }
            Kind::EmptyMail => toggle(tree, &dn, "mail", &format!("{name}@example.org"))?,
            Kind::Marry => {
                self.hired += 1;
                let family = format!("Wed{}", self.hired);
                let entry = tree.entry_mut(&dn)?;
                let given = entry.text("givenName").unwrap_or("X").to_owned();
                entry.set("sn", &[&family]);
                entry.set("displayName", &[format!("{given} {family}")]);
                entry.set("mail", &[format!("{given}.{family}@example.org")]);
                return Some(format!("{dn} is {given} {family}"));
            }
            Kind::Rename => {
                self.hired += 1;
                return rename(tree, &dn, &format!("{name}{}", self.hired));
            }
            Kind::SwapMails | Kind::SwapLogins => {
                let attribute = if kind == Kind::SwapMails { "mail" } else { "uid" };
                return self.circle(tree, &[unit_of(&dn)?], attribute);
            }
            Kind::Exchange => {
                let attribute = if more { "mail" } else { "uid" };
                return self.circle(tree, &[0, 1], attribute);
            }
            Kind::Restore => {
                let entry = take(&mut self.dice, &mut self.gone)?;
                let dn = entry.dn.clone();
                if tree.entry(&dn).is_some() {
                    return None;
                }
                tree.add(entry);
                return Some(dn);
            }
            Kind::Rehire => {
                let mut entry = take(&mut self.dice, &mut self.gone)?;
                if tree.entry(&entry.dn).is_some() {
                    return None;
                }
                self.hired += 1;
                entry.set("entryUUID", &[people::id(self.hired)]);
                let dn = entry.dn.clone();
                tree.add(entry);
                return Some(format!("{dn} with another id"));
            }
            Kind::SecondMail => second(tree, &dn, "mail", &format!("a.{name}@example.org"))?,
            Kind::SecondLogin => second(tree, &dn, "uid", &format!("a.{name}"))?,
            Kind::CopyMail | Kind::CopyLogin => {
                let attribute = if kind == Kind::CopyMail { "mail" } else { "uid" };
                let other = self.dice.pick(&people)?;
                let value = tree.entry(other)?.text(attribute)?.to_owned();
                if *other == dn {
                    return None;
                }
                let entry = tree.entry_mut(&dn)?;
                if more && !(attribute == "uid" && dn.starts_with("uid=")) {
                    entry.set(attribute, &[&value]);
                } else {
                    let mut values = entry.values(attribute).to_vec();
                    if values.contains(&value.clone().into_bytes()) {
                        return None;
                    }
                    values.push(value.clone().into_bytes());
                    entry.set(attribute, &values);
                }
                return Some(format!("{dn} has {other}'s {attribute} {value}"));
            }
            Kind::CopyEntry => {
                self.hired += 1;
                let login = format!("c{:03}", self.hired);
                let mut copy = entry;
                let (_, above) = dn.split_once(',')?;
                copy.dn = format!("uid={login},{above}");
                copy.set("uid", &[&login]);
                copy.set("mail", &[format!("{login}@example.org")]);
                copy.password = Some(format!("password of {login}"));
                let told = format!("{dn} to {}", copy.dn);
                tree.add(copy);
                return Some(told);
            }
            Kind::OddLock => {
                let entry = tree.entry_mut(&dn)?;
                let odd: &[&str] = match (entry.values("pwdAccountLockedTime").is_empty(), more) {
                    (false, _) => &[],
                    (true, true) => &["000001010000Z", "20260101000000Z"],
                    (true, false) => &["perhaps"],
                };
                entry.set("pwdAccountLockedTime", odd);
            }
            Kind::Group => {
                let group = tree.entry_mut(ADMINS)?;
                let mut members = group.values("member").to_vec();
                match members.iter().position(|member| member == dn.as_bytes()) {
                    Some(at) => drop(members.remove(at)),
                    None => members.push(dn.clone().into_bytes()),
                }
                group.set("member", &members);
            }
            Kind::Boss => toggle(tree, &dn, "employeeType", "boss")?,
            Kind::Phone => {
                let number = self.dice.below(1000);
                toggle(tree, &dn, "telephoneNumber", &format!("+32 2 {number:03}"))?;
            }
            Kind::BadMail => tree.entry_mut(&dn)?.set("mail", &["-"]),
            Kind::LongPhone => tree.entry_mut(&dn)?.set("telephoneNumber", &["1".repeat(65)]),
            Kind::Latin1 => {
                let mended = std::str::from_utf8(entry.values("sn").first()?).is_err();
                let value: &[u8] = if mended { b"Muller" } else { b"M\xfcller" };
                tree.entry_mut(&dn)?.set("sn", &[value]);
            }
            Kind::Mass => return Some(self.mass(tree, &people)),
            // These are no matter of an entry.
            _ => return None,
        }
        Some(format!(
            "{dn} ({})",
            if tree.entry(&dn).is_some() {
                "now so, or no longer"
            } else {
                "gone"
            }
        ))
    }

    /// Something happens to six people or more.
    fn mass(&mut self, tree: &mut Tree, people: &[String]) -> String {
        let (what, count) = (self.dice.below(4), 6 + self.dice.below(8));
        let here: Vec<&String> = people.iter().filter(|dn| unit_of(dn) == Some(0)).collect();
        for dn in here.iter().take(count) {
            match what {
                0 => drop(move_to(tree, dn, 2)),
                1 => drop(toggle(tree, dn, "telephoneNumber", "+32 1")),
                2 => drop(toggle(tree, dn, "pwdAccountLockedTime", "000001010000Z")),
                _ => drop(toggle(tree, dn, "employeeType", "boss")),
            }
        }
        let what = ["moved out", "telephone toggled", "lock toggled", "boss toggled"][what];
        format!("{what}: {count} of {}", here.len())
    }

    fn hire(&mut self, tree: &mut Tree) -> String {
        self.hired += 1;
        let place = usize::from(self.dice.one_in(4));
        let by_badge = self.dice.one_in(2);
        let entry = newcomer(self.hired, &unit(place), by_badge);
        let dn = entry.dn.clone();
        tree.add(entry);
        dn
    }

    /// Two or three people of these units hand on a value in a circle.
    fn circle(&mut self, tree: &mut Tree, units: &[usize], attribute: &str) -> Option<String> {
        let all = people_of(tree);
        let has_one = |other: &&String| {
            tree.entry(other)
                .is_some_and(|entry| entry.values(attribute).len() == 1)
        };
        let mut able: Vec<String> = all
            .iter()
            .filter(|other| unit_of(other).is_some_and(|unit| units.contains(&unit)))
            .filter(|other| attribute != "uid" || !other.starts_with("uid="))
            .filter(has_one)
            .cloned()
            .collect();
        let count = 2 + self.dice.below(2);
        let mut chosen = Vec::new();
        for _ in 0..count.min(able.len()) {
            chosen.push(able.swap_remove(self.dice.below(able.len())));
        }
        if chosen.len() < 2 {
            return None;
        }
        let values: Vec<Vec<u8>> = chosen
            .iter()
            .filter_map(|dn| tree.entry(dn)?.values(attribute).first().cloned())
            .collect();
        for (at, dn) in chosen.iter().enumerate() {
            let value = values[(at + 1) % values.len()].clone();
            tree.entry_mut(dn)?.set(attribute, &[value]);
        }
        Some(format!("{attribute} of {}", chosen.join(" and ")))
    }
}

/// Everybody, in every unit.
pub(crate) fn people_of(tree: &Tree) -> Vec<String> {
    let people = tree.entries().iter();
    let people = people.filter(|entry| entry.text("objectClass") == Some("inetOrgPerson"));
    people.map(|entry| entry.dn.clone()).collect()
}

fn unit_of(dn: &str) -> Option<usize> {
    (0..3).find(|number| dn.ends_with(&format!(",{}", unit(*number))))
}

fn move_to(tree: &mut Tree, dn: &str, to: usize) -> Option<String> {
    let (rdn, _) = dn.split_once(',')?;
    let new = format!("{rdn},{}", unit(to));
    if tree.entry(&new).is_some() {
        return None;
    }
    tree.rename(dn, &new);
    Some(format!("{dn} moves to {}", unit(to)))
}

/// Another login, in the name too if it is there.
fn rename(tree: &mut Tree, dn: &str, login: &str) -> Option<String> {
    let (rdn, above) = dn.split_once(',')?;
    if rdn.starts_with("uid=") {
        let new = format!("uid={login},{above}");
        if tree.entry(&new).is_some() {
            return None;
        }
        tree.rename(dn, &new);
    } else {
        tree.entry_mut(dn)?.set("uid", &[login]);
    }
    Some(format!("{dn} has the login {login}"))
}

fn toggle(tree: &mut Tree, dn: &str, attribute: &str, value: &str) -> Option<()> {
    let entry = tree.entry_mut(dn)?;
    if entry.values(attribute).is_empty() {
        entry.set(attribute, &[value]);
    } else {
        entry.set::<&str>(attribute, &[]);
    }
    Some(())
}

/// Adds this value, or takes it away.
fn second(tree: &mut Tree, dn: &str, attribute: &str, value: &str) -> Option<()> {
    let entry = tree.entry_mut(dn)?;
    let mut values = entry.values(attribute).to_vec();
    match values.iter().position(|held| held == value.as_bytes()) {
        Some(at) if values.len() > 1 => drop(values.remove(at)),
        Some(_) => return None,
        None => values.push(value.as_bytes().to_vec()),
    }
    entry.set(attribute, &values);
    Some(())
}

fn take(dice: &mut Dice, from: &mut Vec<TreeEntry>) -> Option<TreeEntry> {
    if from.is_empty() {
        return None;
    }
    let at = dice.below(from.len());
    Some(from.swap_remove(at))
}
