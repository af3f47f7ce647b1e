//! Takes one file out of an archive.
//!
//! Nothing of an archive is believed: no path in it is written to, sizes are bounded while bytes flow, and of all
//! members only the one asked for is read.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use flate2::read::GzDecoder;

use super::catalog::Packing;
use super::digest::{self, Copied};

/// Most bytes that unpacking may produce before the member is found: the published archives have under 200 MB.
const UNPACKED_LIMIT: u64 = 1 << 30;

/// Copies `member`, of at most `limit` bytes, from the archive to `out`.
///
/// `member` is the end of a path in the archive: `model.tflite` is found as `./model.tflite` and
/// `folder/model.tflite` too.
pub fn extract(
    archive: &Path,
    packing: Packing,
    member: &str,
    limit: u64,
    out: &mut impl Write,
) -> Result<Copied> {
    let file = File::open(archive)?;
    match packing {
        Packing::Plain => {
            let bytes = file.metadata()?.len();
            copy(&mut BufReader::new(file), bytes, member, limit, out)
        }
        Packing::TarGzip => extract_tar(file, member, limit, out),
        Packing::Zip => extract_zip(file, member, limit, out),
    }
}

fn extract_tar(file: File, member: &str, limit: u64, out: &mut impl Write) -> Result<Copied> {
    const DAMAGED: &str = "the archive is damaged or cut short";
    let unpacked = GzDecoder::new(BufReader::new(file)).take(UNPACKED_LIMIT);
    let mut archive = tar::Archive::new(unpacked);
    // Raw: extensions for long names are held in memory whole, and the names here are short.
    for entry in archive.entries().context(DAMAGED)?.raw(true) {
        let mut entry = entry.context(DAMAGED)?;
        let is_file = entry.header().entry_type().is_file();
        if is_file && is_named(&entry.header().path_bytes(), member) {
            let bytes = entry.header().size().context(DAMAGED)?;
            return copy(&mut entry, bytes, member, limit, out).context(DAMAGED);
        }
    }
    bail!("the archive has no `{member}`")
}

fn extract_zip(file: File, member: &str, limit: u64, out: &mut impl Write) -> Result<Copied> {
    const DAMAGED: &str = "the archive is damaged or cut short";
    let mut archive = zip::ZipArchive::new(BufReader::new(file)).context(DAMAGED)?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).context(DAMAGED)?;
        if entry.is_file() && is_named(entry.name_raw(), member) {
            let bytes = entry.size();
            return copy(&mut entry, bytes, member, limit, out).context(DAMAGED);
        }
    }
    bail!("the archive has no `{member}`")
}

fn is_named(path: &[u8], member: &str) -> bool {
    match path.strip_suffix(member.as_bytes()) {
        Some(folder) => folder.is_empty() || folder.ends_with(b"/"),
        None => false,
    }
}

/// Copies a member that says it has so many bytes.
fn copy(
    from: &mut impl Read,
    bytes: u64,
    member: &str,
    limit: u64,
    out: &mut impl Write,
) -> Result<Copied> {
    ensure!(
        bytes <= limit,
        "`{member}` has {bytes} bytes in the archive, over the limit of {limit} bytes for it"
    );
    let copied = digest::copy(&mut from.take(limit + 1), out)?;
    ensure!(copied.bytes <= limit, "`{member}` unpacks to more than its limit of {limit} bytes");
    if copied.bytes < bytes {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(copied)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_by_the_end_of_their_path() {
        for path in ["a.tflite", "./a.tflite", "folder/a.tflite", "/a.tflite"] {
            assert!(is_named(path.as_bytes(), "a.tflite"), "{path}");
        }
        for path in ["ba.tflite", "a.tflite/b", "", "b", "a.tflit"] {
            assert!(!is_named(path.as_bytes(), "a.tflite"), "{path}");
        }
    }
}
