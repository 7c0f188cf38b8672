//! The file that keeps how far a tail came. It is replaced as a whole, so that a stop at any moment leaves it readable.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// How far a tail came.
pub(crate) struct State {
    path: PathBuf,
    noted: Noted,
    /// The last event that may have been written before this start; `None` once it has come again.
    repeats_to: Option<String>,
    /// Held for as long as this process lives: two tails must not share a file.
    _lock: File,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Noted {
    /// Everything up to here was written.
    cursor: String,
    /// Events up to here are being written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    writing_to: Option<String>,
}

impl State {
    /// Reads the file; without one it begins anew.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let lock = lock(path)?;
        let noted: Noted = match std::fs::read_to_string(path) {
            Ok(text) => serde_json::from_str(&text)
                .map_err(|_| Failure::Local(format!("{} is no state of a tail", path.display())))?,
            Err(error) if error.kind() == ErrorKind::NotFound => Noted::default(),
            Err(error) => return Err(Failure::Local(format!("cannot read {}: {error}", path.display()))),
        };
        Ok(Self {
            path: path.to_owned(),
            repeats_to: noted.writing_to.clone(),
            noted,
            _lock: lock,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where to go on; empty at the beginning.
    pub(crate) fn cursor(&self) -> &str {
        &self.noted.cursor
    }

    /// Whether what comes next may have been written before.
    pub(crate) fn may_repeat(&self) -> bool {
        self.repeats_to.is_some()
    }

    /// The same for the event at this cursor. Call it for each event in turn.
    pub(crate) fn may_repeat_at(&mut self, cursor: &str) -> bool {
        let may = self.may_repeat();
        if self.repeats_to.as_deref() == Some(cursor) {
            self.repeats_to = None;
        }
        may
    }

    /// Notes that the events at these cursors are written next. Events that may have been written before this start
    /// still count as repeated.
    pub(crate) fn writing<'c>(&mut self, cursors: impl Iterator<Item = &'c str>) -> Result<(), Failure> {
        let mut open = self.repeats_to.as_deref();
        let mut last = None;
        for cursor in cursors {
            open = open.filter(|to| *to != cursor);
            last = Some(cursor);
        }
        self.noted.writing_to = open.or(last).map(str::to_owned);
        self.save()
    }

    /// Notes that everything up to here is written.
    pub(crate) fn written(&mut self, cursor: &str) -> Result<(), Failure> {
        cursor.clone_into(&mut self.noted.cursor);
        self.noted.writing_to = self.repeats_to.clone();
        self.save()
    }

    fn save(&self) -> Result<(), Failure> {
        let failed =
            |error: std::io::Error| Failure::Local(format!("cannot write {}: {error}", self.path.display()));
        let text = serde_json::to_string(&self.noted).map_err(|error| Failure::Local(error.to_string()))?;
        let new = beside(&self.path, ".new");
        let mut file = File::create(&new).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        std::fs::rename(&new, &self.path).map_err(failed)
    }
}

fn lock(path: &Path) -> Result<File, Failure> {
    let path = beside(path, ".lock");
    let failed = |error: std::io::Error| Failure::Local(format!("cannot open {}: {error}", path.display()));
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Failure::Local("another tail uses this state file".to_owned())),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
