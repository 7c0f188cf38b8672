use std::fs::File;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use tempfile::TempDir;

use crate::process::run;

/// A disk with little room, in memory; gone when dropped. Needs root.
pub struct SmallDisk {
    dir: TempDir,
}

impl SmallDisk {
    /// Mounts one of so many megabytes.
    pub fn mount(megabytes: u32) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("rollcall-disk-").tempdir()?;
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"])
            .arg(dir.path()))?;
        let disk = Self { dir };
        // Servers that root starts run as other accounts.
        std::fs::set_permissions(disk.path(), std::fs::Permissions::from_mode(0o755))?;
        Ok(disk)
    }

    /// Fills all of it but so many bytes.
    pub fn leave(&self, bytes: u64) -> Result<()> {
        let mut ballast = File::create(self.ballast())?;
        while ballast.write_all(&[1; 4096]).is_ok() {}
        let filled = ballast.metadata()?.len();
        Ok(ballast.set_len(filled.saturating_sub(bytes))?)
    }

    /// Gives the room back.
    pub fn clear(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.ballast())?)
    }

    fn ballast(&self) -> PathBuf {
        self.dir.path().join("ballast")
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server that uses it may end a moment later.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
