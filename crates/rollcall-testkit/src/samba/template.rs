//! The domain's data, made once and copied for every server: making it takes ten seconds.

use parking_lot::Mutex;

use super::{ADMIN, BASE_DN, PACKAGES};
use crate::account::Account;
use crate::process::{feed, find_program, run, unique};
use anyhow::{Context, Result};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The lines of smb.conf that belong to the data.
pub(super) const IDENTITY: &str = "netbios name = DC1\nrealm = LAB.TEST\nworkgroup = LAB\n\
    server role = active directory domain controller\n";
const POPULATE: &str = include_str!("populate.py");
const PEOPLE: [&str; 10] = [
    "normal",
    "disabled",
    "expired",
    "aged",
    "mustchange",
    "locked",
    "offhours",
    "offsite",
    "reader",
    "powerful",
];

/// The data of a domain that no server runs on.
pub(super) struct Template {
    pub(super) path: PathBuf,
    pub(super) accounts: Vec<Account>,
}

/// The template beside the test programs, so that it goes when they are cleaned away. One for each version of
/// Samba and of what it is filled with.
pub(super) fn find_or_make(samba: &Path) -> Result<Template> {
    static MAKING: Mutex<()> = Mutex::new(());
    let _making = MAKING.lock();
    let mut key = DefaultHasher::new();
    (
        run(Command::new(samba).arg("--version"))?,
        IDENTITY,
        POPULATE,
        PEOPLE,
    )
        .hash(&mut key);
    let program = std::env::current_exe()?;
    let parent = program.parent().context("this program has no directory")?;
    let path = parent.join(format!("rollcall-samba-{:016x}", key.finish()));
    if !path.exists() {
        // Closed to other users of the machine, as it holds passwords.
        let half_made = tempfile::Builder::new()
            .prefix("rollcall-samba-")
            .tempdir_in(parent)?;
        make(half_made.path())?;
        // This fails where another process was faster; its template serves as well.
        let _ = fs::rename(half_made.path(), &path);
    }
    let accounts = fs::read_to_string(path.join("accounts")).context("the domain's template is broken")?;
    let accounts = accounts.lines().filter_map(|line| line.split_once('\t'));
    Ok(Template {
        path,
        accounts: accounts
            .map(|(login, password)| account(login, password))
            .collect(),
    })
}

fn make(dir: &Path) -> Result<()> {
    let empty = dir.join("empty.conf");
    fs::write(&empty, "")?;
    run(Command::new(find_program("samba-tool", PACKAGES)?)
        .args([
            "domain",
            "provision",
            "--realm=LAB.TEST",
            "--domain=LAB",
            "--server-role=dc",
        ])
        .args([
            "--dns-backend=NONE",
            "--use-rfc2307",
            "--host-name=dc1",
            "--host-ip=127.0.0.1",
        ])
        .arg("-s")
        .arg(&empty)
        .arg(format!("--targetdir={}", dir.display())))
    .with_context(|| format!("cannot make a domain; is something missing? apt-get install {PACKAGES}"))?;
    let script = dir.join("populate.py");
    fs::write(&script, POPULATE)?;
    let passwords: String = std::iter::once(ADMIN)
        .chain(PEOPLE)
        // Upper case and punctuation, since the domain asks for three kinds of characters.
        .map(|login| format!("{login}\tPw-{}\n", unique()))
        .collect();
    // Debian's own Python: another one first in PATH has no Samba.
    let mut populate = Command::new("/usr/bin/python3");
    populate.arg(&script).arg(dir.join("etc/smb.conf")).arg(BASE_DN);
    feed(populate, &passwords)?;
    fs::write(dir.join("accounts"), passwords)?;
    Ok(())
}

fn account(login: &str, password: &str) -> Account {
    let dn = match login {
        ADMIN => format!("CN={login},CN=Users,{BASE_DN}"),
        _ => format!("CN={}\\, Sam,OU=People,{BASE_DN}", capitalized(login)),
    };
    Account {
        dn,
        login: login.to_owned(),
        password: password.to_owned(),
    }
}

fn capitalized(word: &str) -> String {
    let (first, rest) = word.split_at(1);
    first.to_uppercase() + rest
}
