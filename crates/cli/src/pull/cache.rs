//! Where pulled files are kept, and how they are known to be what they should be.
//!
//! ```text
//! models/NAME.tflite           what is asked for, verified whenever it is given out
//! models/NAME.tflite.sha256    its SHA-256, where the catalog knows only that of the archive
//! downloads/NAME.tgz           an archive that waits to be unpacked: fetched, or put there by hand
//! downloads/NAME.tgz.part      the beginning of one; with .part.validator, what it is the beginning of
//! downloads/NAME.lock          held by the process that pulls NAME
//! ```

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};

use super::archive;
use super::catalog::{Entry, Packing};
use super::digest::Digest;

/// A cache folder.
pub struct Cache {
    folder: PathBuf,
}

/// What is known of a file in the cache.
pub enum State {
    Verified(Digest),
    Absent,
    /// It is there but cannot be given out; says why.
    Refused(String),
}

/// The right to change one entry's files, given up when dropped or when the process ends, however it ends.
pub struct Lock(#[expect(dead_code, reason = "the lock is the open file")] File);

impl Cache {
    /// The cache in `folder`, or else in the place that the environment and the platform name.
    pub fn new(folder: Option<PathBuf>) -> Result<Self> {
        let folder = folder.or_else(|| usual_folder(|name| std::env::var_os(name))).context(
            "no place for the cache: the environment names no home folder; give --cache DIR or set MOBILEIGHT_CACHE",
        )?;
        let folder = std::path::absolute(&folder)
            .with_context(|| format!("cache folder {}", folder.display()))?;
        Ok(Cache { folder })
    }

    /// Where the entry's file is kept.
    pub fn file(&self, entry: &Entry) -> PathBuf {
        self.folder.join("models").join(entry.file_name())
    }

    /// Where what the entry's address gives is put, by this program or by hand.
    pub fn download(&self, entry: &Entry) -> Result<PathBuf> {
        Ok(self.folder.join("downloads").join(entry.download_name()?))
    }

    /// Waits for the right to change the entry's files.
    pub fn lock(&self, entry: &Entry) -> Result<Lock> {
        let path = self.folder.join("downloads").join(format!("{}.lock", entry.name));
        let lock = || -> io::Result<File> {
            for folder in ["models", "downloads"] {
                fs::create_dir_all(self.folder.join(folder))?;
            }
            let file = File::options().create(true).append(true).open(&path)?;
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
            eprintln!("waiting for another process that pulls {}", entry.name);
            file.lock()?;
            Ok(file)
        };
        lock().map(Lock).with_context(|| {
            format!(
                "cannot use the cache folder {}; name another one with --cache or MOBILEIGHT_CACHE",
                self.folder.display()
            )
        })
    }

    /// Looks at the entry's file. Reads all of it: a few milliseconds.
    pub fn state(&self, entry: &Entry) -> Result<State> {
        let path = self.file(entry);
        let found = match Digest::of_file(&path) {
            Ok(found) => found,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(State::Absent);
            }
            Err(error) => return Err(error).context(format!("cannot read {}", path.display())),
        };
        let recorded = || fs::read_to_string(record(&path)).ok()?.get(..64)?.parse().ok();
        Ok(match entry.sha256.or_else(recorded) {
            Some(expected) if expected == found => State::Verified(found),
            Some(expected) => State::Refused(mismatch(found, expected)),
            None => State::Refused(
                "only the SHA-256 of the archive it comes from is known, so it cannot be verified"
                    .into(),
            ),
        })
    }

    /// Verifies a complete download, takes the entry's file out of it, and removes it.
    ///
    /// What is wrong stays where it is; the entry's file appears whole and verified, or not at all.
    pub fn install(&self, entry: &Entry, download: &Path) -> Result<Digest> {
        let path = self.file(entry);
        if let Some(expected) = entry.download_digest() {
            let found = Digest::of_file(download)?;
            if found != expected {
                bail!(mismatch(found, expected));
            }
            if entry.packing()? == Packing::Plain {
                fs::rename(download, &path)
                    .with_context(|| format!("cannot write {}", path.display()))?;
                return Ok(found);
            }
        }
        let member = entry.member.as_deref().context("an entry without hash")?;
        let unpacked = suffixed(download, ".unpacked");
        let unpack = || -> Result<Digest> {
            let mut out = File::create(&unpacked)
                .with_context(|| format!("cannot write {}", unpacked.display()))?;
            let limit = entry.file_limit();
            let found = archive::extract(download, entry.packing()?, member, limit, &mut out)?;
            if let Some(expected) = entry.sha256.filter(|expected| *expected != found.digest) {
                return Err(anyhow!(mismatch(found.digest, expected)).context(member.to_owned()));
            }
            Ok(found.digest)
        };
        let keep = |digest: Digest| -> io::Result<Digest> {
            if entry.sha256.is_none() {
                // In the form of sha256sum, whose --check reads it.
                fs::write(record(&path), format!("{digest}  {}\n", entry.file_name()))?;
            }
            fs::rename(&unpacked, &path)?;
            Ok(digest)
        };
        let installed = unpack().and_then(|digest| {
            keep(digest).with_context(|| format!("cannot write {}", path.display()))
        });
        if installed.is_err() {
            let _ = fs::remove_file(&unpacked);
        } else {
            let _ = fs::remove_file(download);
        }
        installed
    }
}

/// What a wrong hash is called.
pub fn mismatch(found: Digest, expected: Digest) -> String {
    format!("it has SHA-256 {found}, expected was {expected}")
}

/// `path` with something after its name.
pub fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn record(path: &Path) -> PathBuf {
    suffixed(path, ".sha256")
}

/// `$MOBILEIGHT_CACHE`, else `mobileight` in `$XDG_CACHE_HOME`, else in the platform's folder for caches.
fn usual_folder(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = set("MOBILEIGHT_CACHE") {
        return Some(folder);
    }
    // The XDG specification has relative paths ignored.
    let caches = set("XDG_CACHE_HOME").filter(|folder| folder.is_absolute()).or_else(|| {
        if cfg!(windows) {
            set("LOCALAPPDATA")
        } else if cfg!(target_os = "macos") {
            set("HOME").map(|home| home.join("Library/Caches"))
        } else {
            set("HOME").map(|home| home.join(".cache"))
        }
    });
    caches.map(|folder| folder.join("mobileight"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_names_the_folder() {
        let folder = |variables: &[(&str, &str)]| {
            usual_folder(|name| {
                let found = variables.iter().find(|(variable, _)| *variable == name);
                found.map(|(_, value)| OsString::from(value))
            })
        };
        let home = [("HOME", "/home/u"), ("LOCALAPPDATA", "/home/u")];
        let caches = match () {
            () if cfg!(windows) => "/home/u/mobileight",
            () if cfg!(target_os = "macos") => "/home/u/Library/Caches/mobileight",
            () => "/home/u/.cache/mobileight",
        };
        assert_eq!(folder(&home), Some(caches.into()));
        assert_eq!(folder(&[]), None);
        assert_eq!(folder(&[("HOME", "")]), None);
        let xdg = ("XDG_CACHE_HOME", if cfg!(windows) { "C:\\x" } else { "/x" });
        let expected = Path::new(xdg.1).join("mobileight");
        assert_eq!(folder(&[xdg, home[0], home[1]]), Some(expected));
        let relative = ("XDG_CACHE_HOME", "x");
        assert_eq!(folder(&[relative, home[0], home[1]]), Some(caches.into()));
        assert_eq!(folder(&[("MOBILEIGHT_CACHE", "m"), xdg, home[0]]), Some("m".into()));
    }
}
