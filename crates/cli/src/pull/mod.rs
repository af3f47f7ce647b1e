//! `mobileight pull`: well-known published models, verified.

mod archive;
mod cache;
mod catalog;
mod digest;
mod http;
mod proxy;

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use serde::Serialize;

use crate::{Outcome, text};
use cache::{Cache, State, suffixed};
use catalog::{Catalog, Entry, Packing};
use digest::Digest;
use http::Client;

/// Most bytes of an archive: the largest published one has about 80 MB.
const ARCHIVE_LIMIT: u64 = 256 << 20;

#[derive(Args)]
pub struct Arguments {
    /// Names from --list
    #[arg(required_unless_present = "list", value_name = "NAME")]
    names: Vec<String>,

    /// Shows what can be pulled
    #[arg(long, conflicts_with = "names")]
    list: bool,

    /// One JSON object a line for each name; with --list, one array
    #[arg(long)]
    json: bool,

    /// Folder to keep files in, if not $MOBILEIGHT_CACHE or the platform's folder for caches
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,

    /// A mirror: takes the place of scheme and host in the official addresses
    #[arg(long, value_parser = base_url, value_name = "URL")]
    base_url: Option<String>,

    /// A catalog of your own, in the form that --list --json prints
    #[arg(long, value_name = "FILE")]
    catalog: Option<PathBuf>,

    /// Give up when nothing arrives for so many seconds
    #[arg(long, default_value = "30", value_parser = seconds, value_name = "SECONDS")]
    timeout: Duration,
}

/// One line of `--json`.
#[derive(Serialize)]
struct Answer<'a> {
    name: &'a str,
    #[serde(flatten)]
    outcome: AnswerOutcome,
}

#[derive(Serialize)]
#[serde(untagged)]
enum AnswerOutcome {
    Pulled(Pulled),
    Failed { error: String },
}

/// A verified file.
#[derive(Serialize)]
struct Pulled {
    path: PathBuf,
    bytes: u64,
    sha256: Digest,
    /// Whether anything was fetched from the network.
    fetched: bool,
}

pub fn main(arguments: &Arguments, out: &mut impl Write) -> Result<Outcome> {
    let catalog = match &arguments.catalog {
        Some(path) => Catalog::from_file(path)?,
        None => Catalog::built_in()?,
    };
    if arguments.list {
        list(&catalog, arguments.json, out)?;
        return Ok(Outcome::Done);
    }
    let puller = Puller {
        cache: Cache::new(arguments.cache.clone())?,
        timeout: arguments.timeout,
        base_url: arguments.base_url.clone(),
    };
    let mut failures = 0;
    for name in &arguments.names {
        let pulled = catalog.find(name).and_then(|entry| puller.pull(entry));
        failures += usize::from(pulled.is_err());
        match (pulled, arguments.json) {
            (Ok(pulled), false) => writeln!(out, "{}", pulled.path.display())?,
            (Err(error), false) => eprintln!("error: {error:#}"),
            (pulled, true) => {
                let outcome = match pulled {
                    Ok(pulled) => AnswerOutcome::Pulled(pulled),
                    Err(error) => AnswerOutcome::Failed { error: format!("{error:#}") },
                };
                serde_json::to_writer(&mut *out, &Answer { name, outcome })?;
                writeln!(out)?;
            }
        }
        out.flush()?;
    }
    if failures == 0 {
        return Ok(Outcome::Done);
    }
    if arguments.names.len() > 1 {
        eprintln!("error: {failures} of {} could not be pulled", arguments.names.len());
    }
    Ok(Outcome::Partial)
}

fn list(catalog: &Catalog, json: bool, out: &mut impl Write) -> Result<()> {
    if json {
        serde_json::to_writer_pretty(&mut *out, catalog.entries())?;
        writeln!(out)?;
        return Ok(());
    }
    let title =
        ["name", "what it is", "input", "quantization", "size, rounded", "float model", "from"];
    let mut rows = vec![title.map(String::from).to_vec()];
    for entry in catalog.entries() {
        let host = entry.url.split('/').nth(2).unwrap_or_default();
        rows.push(vec![
            entry.name.clone(),
            entry.about.clone(),
            entry.input.clone(),
            entry.quantization.clone(),
            text::bytes(entry.bytes),
            entry.float.clone().unwrap_or("-".into()),
            host.to_owned(),
        ]);
    }
    write!(out, "{}", text::table(&rows))?;
    Ok(())
}

struct Puller {
    cache: Cache,
    timeout: Duration,
    base_url: Option<String>,
}

impl Puller {
    /// The entry's file, from the cache or else from the network.
    fn pull(&self, entry: &Entry) -> Result<Pulled> {
        let is_fetched = false;
        // Without a lock first: a cache that cannot be written serves too.
        if let State::Verified(digest) = self.cache.state(entry)? {
            return self.pulled(entry, digest, is_fetched);
        }
        let _lock = self.cache.lock(entry)?;
        match self.cache.state(entry)? {
            State::Verified(digest) => return self.pulled(entry, digest, is_fetched),
            State::Absent => {}
            State::Refused(reason) => self.warn(&self.cache.file(entry), &reason),
        }
        let download = self.cache.download(entry)?;
        if download.exists() {
            match self.cache.install(entry, &download) {
                Ok(digest) => return self.pulled(entry, digest, is_fetched),
                Err(error) => self.warn(&download, &format!("{error:#}")),
            }
        }
        let digest = self.fetch(entry, &download).map_err(|error| {
            let context = format!("cannot pull {} from {}", entry.name, self.url(entry));
            anyhow!("{context}: {error:#}\n{}", self.by_hand(entry, &download))
        })?;
        self.pulled(entry, digest, true)
    }

    fn pulled(&self, entry: &Entry, sha256: Digest, fetched: bool) -> Result<Pulled> {
        let path = self.cache.file(entry);
        let bytes = fs::metadata(&path).with_context(|| path.display().to_string())?.len();
        Ok(Pulled { path, bytes, sha256, fetched })
    }

    /// Fetches what the address gives and installs the file that is in it.
    fn fetch(&self, entry: &Entry, download: &Path) -> Result<Digest> {
        let part = suffixed(download, ".part");
        // Complete, if the last process ended at the wrong moment.
        if part.exists()
            && let Some(expected) = entry.download_digest()
            && Digest::of_file(&part).is_ok_and(|found| found == expected)
        {
            return self.finish(entry, &part);
        }
        let url = self.url(entry);
        let limit = match entry.packing()? {
            Packing::Plain => entry.file_limit(),
            Packing::TarGzip | Packing::Zip => ARCHIVE_LIMIT,
        };
        let client = Client::new(self.timeout)?;
        eprintln!("fetching {url}");
        let continued = client.download(&url, &part, limit)?;
        match self.finish(entry, &part) {
            Err(error) if continued && !part.exists() => {
                // Two halves of different files fit no hash: once more from the beginning.
                eprintln!("what was continued is not right ({error:#}); fetching all of it");
                client.download(&url, &part, limit)?;
                self.finish(entry, &part)
            }
            result => result,
        }
    }

    /// Installs a complete download; a wrong one is removed.
    fn finish(&self, entry: &Entry, part: &Path) -> Result<Digest> {
        let installed = self.cache.install(entry, part);
        // A full disk is not the download's fault: the next run goes on from here.
        if !installed.as_ref().is_err_and(is_from_the_system) {
            http::discard(part);
        }
        installed
    }

    /// The entry's address at the mirror, if there is one.
    fn url(&self, entry: &Entry) -> String {
        match &self.base_url {
            None => entry.url.clone(),
            Some(base) => {
                let path = entry.url.splitn(4, '/').nth(3).unwrap_or_default();
                format!("{base}/{path}")
            }
        }
    }

    /// How to do without the network.
    fn by_hand(&self, entry: &Entry, download: &Path) -> String {
        let file = self.cache.file(entry);
        let (what, place, digest) = match (&entry.member, entry.archive_sha256, entry.sha256) {
            (Some(_), Some(digest), _) => ("put that archive at", download, digest),
            (Some(_), None, Some(digest)) => ("unpack its model to", file.as_path(), digest),
            (_, _, Some(digest)) => ("put that file at", file.as_path(), digest),
            (_, _, None) => return String::new(),
        };
        format!(
            "To do it by hand: get {}, {what} {} (SHA-256 {digest}) and run this again.",
            entry.url,
            place.display()
        )
    }

    fn warn(&self, path: &Path, reason: &str) {
        eprintln!("warning: {} is not used: {reason}", path.display());
    }
}

/// Whether the operating system refused something, which says nothing of what was fetched.
fn is_from_the_system(error: &anyhow::Error) -> bool {
    let code = |cause: &(dyn Error + 'static)| cause.downcast_ref::<io::Error>()?.raw_os_error();
    error.chain().any(|cause| code(cause).is_some())
}

/// A mirror's address: scheme, host, and perhaps the beginning of a path.
fn base_url(text: &str) -> Result<String, String> {
    let url = text.trim_end_matches('/');
    let host = url.strip_prefix("http://").ok_or("it does not start with http:// (no TLS here)")?;
    if host.is_empty() || host.starts_with('/') || url.contains(['?', '#', ' ']) {
        return Err("it is no address such as http://mirror.example:8080/path".into());
    }
    Ok(url.to_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("`{text}` is no number of seconds"))?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("it is not above 0".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_addresses_without_the_end() {
        assert_eq!(base_url("http://h:1/"), Ok("http://h:1".into()));
        assert_eq!(base_url("http://h/a/b/"), Ok("http://h/a/b".into()));
        for bad in ["", "h", "https://h", "http://", "http:///a", "http://h?a", "ftp://h"] {
            assert!(base_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_seconds_above_zero() {
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        for bad in ["", "0", "-1", "nan", "inf", "1e99", "x"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
