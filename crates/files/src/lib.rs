//! Whole files: read within a limit, written completely or not at all.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;

use mobileight_runtime::{Exceeded, Limit, Limits};

/// Why a file could not be read.
#[derive(Debug)]
pub enum Error {
    /// What the system says, or why this is no file that could be meant.
    Io(io::Error),
    /// It is longer than allowed; where it grew while it was read, what was found is one byte more.
    TooLarge(Exceeded),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io(error) => error.fmt(f),
            Error::TooLarge(Exceeded { found, most, .. }) => {
                write!(f, "has {found} bytes, at most {most} are read")
            }
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Error::Io(error)
    }
}

impl From<Exceeded> for Error {
    fn from(exceeded: Exceeded) -> Self {
        Error::TooLarge(exceeded)
    }
}

/// Reads a file that must be a regular one, not empty, of at most the limit's bytes. `what` is the kind of file that is expected, as
/// messages call it.
///
/// # Errors
///
/// What the system says, or what is wrong with the file; without its path.
///
/// ```
/// use mobileight_runtime::{Limit, Limits};
/// let folder = std::env::temp_dir();
/// let error = mobileight_files::read(folder, Limit::ModelBytes, &Limits::default(), "model").unwrap_err();
/// assert_eq!(error.to_string(), "is a directory; give the model file in it");
/// ```
pub fn read(
    path: impl AsRef<Path>,
    limit: Limit,
    limits: &Limits,
    what: &str,
) -> Result<Vec<u8>, Error> {
    let path = path.as_ref();
    let refuse = |reason: String| Err(io::Error::new(ErrorKind::InvalidInput, reason).into());
    // Asked before opening: opening a pipe would wait for its writer.
    let found = fs::metadata(path)?;
    if found.is_dir() {
        return refuse(format!("is a directory; give the {what} file in it"));
    }
    if !found.is_file() {
        return refuse("is not a regular file".into());
    }
    limits.check(limit, found.len())?;
    let mut bytes = Vec::with_capacity(found.len() as usize);
    // The file may grow while it is read.
    File::open(path)?.take(limits.get(limit).saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.is_empty() {
        return refuse("is empty".into());
    }
    limits.check(limit, bytes.len() as u64)?;
    Ok(bytes)
}

/// Writes a file under a temporary name (`.part` is added) and gives it the final one when it is whole.
///
/// # Errors
///
/// What the system says; what was there before stays then.
pub fn write(path: impl AsRef<Path>, bytes: &[u8]) -> io::Result<()> {
    let path = path.as_ref();
    let name = path.file_name();
    let name = name.ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "is no file name"))?;
    let mut temporary = name.to_os_string();
    temporary.push(".part");
    let part = path.with_file_name(temporary);
    let mut file = File::create(&part)?;
    let written = file.write_all(bytes).and_then(|()| {
        drop(file);
        fs::rename(&part, path)
    });
    if written.is_err() {
        let _ = fs::remove_file(&part);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_files_are_refused_before_they_are_read() {
        let path = std::env::temp_dir().join(format!("mobileight-large-{}", std::process::id()));
        write(&path, &[0; 9]).unwrap();
        let limit = Limit::ModelBytes;
        let within = |most| read(&path, limit, &Limits::default().with(limit, most), "model");
        assert_eq!(within(9).unwrap().len(), 9);
        let error = within(8).unwrap_err().to_string();
        assert!(error.contains("9 bytes, at most 8"), "{error}");
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing_behind() {
        let folder = std::env::temp_dir().join(format!("mobileight-whole-{}", std::process::id()));
        let occupied = folder.join("occupied");
        fs::create_dir_all(&occupied).unwrap();
        assert!(write(&occupied, b"x").is_err());
        assert!(write(folder.join("none/file"), b"x").is_err());
        assert!(write(Path::new("/"), b"x").is_err());
        let good = folder.join("good");
        write(&good, b"one").unwrap();
        write(&good, b"two").unwrap();
        assert_eq!(fs::read(&good).unwrap(), b"two");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
        fs::remove_dir_all(&folder).unwrap();
    }
}
