//! Downloads over plain HTTP that can be continued.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use ureq::http::{Response, header};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector, TcpConnector};
use ureq::{Agent, Body};

use super::cache::suffixed;
use super::proxy::{self, ProxyConnector};

/// How long to wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How many redirects to follow.
const REDIRECTS: usize = 5;
/// How often to continue by oneself after the connection broke.
const ATTEMPTS: usize = 3;

/// An HTTP client, which takes a proxy from the environment.
pub struct Client {
    agent: Agent,
    silence: Duration,
}

/// How one connection ended.
enum End {
    Complete,
    /// The connection broke: why, after how many new bytes, with how many in all.
    Broken {
        reason: String,
        new: u64,
        total: u64,
    },
}

impl Client {
    /// A client that gives up when nothing arrives for as long as `silence`.
    pub fn new(silence: Duration) -> Result<Self> {
        let config = Agent::config_builder()
            .proxy(proxy::from_environment()?)
            .http_status_as_error(false)
            // Followed here, for a clear word on redirects to https.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections(0)
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(silence))
            .timeout_per_read(Some(silence))
            .timeout_per_write(Some(silence))
            .user_agent(concat!("mobileight/", env!("CARGO_PKG_VERSION")))
            .build();
        let connector = ().chain(ProxyConnector).chain(TcpConnector::default());
        let agent = Agent::with_parts(config, connector, DefaultResolver::default());
        Ok(Client { agent, silence })
    }

    /// Fetches `url` to the file `part`, which holds at most `limit` bytes then; continues what is there already.
    ///
    /// Gives whether any of it was there before. A broken connection leaves what came, for the next time.
    pub fn download(&self, url: &str, part: &Path, limit: u64) -> Result<bool> {
        let mut continued = false;
        for attempt in 1.. {
            continued |= length(part) > 0;
            match self.attempt(url, part, limit)? {
                End::Complete => break,
                End::Broken { reason, new, .. } if new > 0 && attempt < ATTEMPTS => {
                    eprintln!("{reason}; continuing");
                }
                End::Broken { reason, total, .. } => {
                    bail!("{reason}; {total} bytes are kept: run this again to continue")
                }
            }
        }
        Ok(continued)
    }

    fn attempt(&self, url: &str, part: &Path, limit: u64) -> Result<End> {
        let mut offset = length(part);
        let validator = fs::read_to_string(suffixed(part, ".validator")).ok();
        let mut response = self.get(url, offset, validator.as_deref())?;
        let cannot_continue = match response.status().as_u16() {
            206 => range_start(&response) != Some(offset),
            416 => true,
            _ => false,
        };
        if offset > 0 && cannot_continue {
            // What is there is no beginning of what the server has.
            offset = 0;
            response = self.get(url, 0, None)?;
        }
        let file = match response.status().as_u16() {
            206 if offset > 0 => File::options().append(true).open(part),
            200 => {
                offset = 0;
                start(part, validator_of(&response))
            }
            _ => bail!("the server answered {}", response.status()),
        };
        let mut file = file.with_context(|| format!("cannot write {}", part.display()))?;
        let rest: Option<u64> =
            text(&response, header::CONTENT_LENGTH).and_then(|n| n.parse().ok());
        let total = rest.and_then(|rest| rest.checked_add(offset));
        let progress = progress(total, offset);
        let mut reader = response.into_body().into_reader();
        let mut buffer = vec![0; 64 * 1024];
        let mut have = offset;
        let end = loop {
            if have.max(total.unwrap_or(0)) > limit {
                discard(part);
                bail!("the server sends more than {limit} bytes, the limit for this");
            }
            let read = match reader.read(&mut buffer) {
                Ok(0) => None,
                Ok(read) => Some(read),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    let reason = self.explain_read(&error);
                    break End::Broken { reason, new: have - offset, total: have };
                }
            };
            let Some(read) = read else {
                break match total {
                    Some(total) if have < total => End::Broken {
                        reason: format!("the connection closed after {have} of {total} bytes"),
                        new: have - offset,
                        total: have,
                    },
                    _ => End::Complete,
                };
            };
            file.write_all(&buffer[..read])
                .with_context(|| format!("cannot write {}", part.display()))?;
            have += read as u64;
            progress.set_position(have);
        };
        progress.finish_and_clear();
        Ok(end)
    }

    /// Asks for `url` from a byte on, following redirects.
    fn get(&self, url: &str, offset: u64, validator: Option<&str>) -> Result<Response<Body>> {
        let mut url = url.to_owned();
        for _ in 0..=REDIRECTS {
            let mut request = self.agent.get(&url).header(header::ACCEPT_ENCODING, "identity");
            if offset > 0 {
                request = request.header(header::RANGE, format!("bytes={offset}-"));
                if let Some(validator) = validator {
                    request = request.header(header::IF_RANGE, validator);
                }
            }
            let response = request.call().map_err(|error| self.explain(error))?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            let target = text(&response, header::LOCATION)
                .with_context(|| format!("{url} redirects without saying where"))?;
            let to = resolve(&url, target);
            ensure!(
                to.starts_with("http://"),
                "{url} redirects to {to}, and this program speaks plain HTTP only"
            );
            url = to;
        }
        bail!("more than {REDIRECTS} redirects, the last to {url}")
    }

    fn explain(&self, error: ureq::Error) -> anyhow::Error {
        use ureq::{Error, Timeout};
        let silence = self.silence.as_secs_f32();
        match error {
            Error::Timeout(Timeout::Connect | Timeout::Resolve) => {
                anyhow!("no connection within {} seconds", CONNECT.as_secs())
            }
            Error::Timeout(_) => anyhow!("no answer within {silence} seconds"),
            Error::HostNotFound => anyhow!("the host is not known; is there a network?"),
            Error::Io(error) => error.into(),
            error => error.into(),
        }
    }

    /// Why reading a body ended.
    fn explain_read(&self, error: &io::Error) -> String {
        let is_timeout = error.kind() == io::ErrorKind::TimedOut
            || matches!(
                error.get_ref().and_then(|e| e.downcast_ref::<ureq::Error>()),
                Some(ureq::Error::Timeout(_))
            );
        match is_timeout {
            true => format!("nothing arrived for {} seconds", self.silence.as_secs_f32()),
            false => format!("the connection broke ({error})"),
        }
    }
}

/// Begins a download, remembering what it is a download of.
fn start(part: &Path, validator: Option<&str>) -> io::Result<File> {
    // First emptied: the remembered validator must never be that of other bytes.
    let file = File::create(part)?;
    match validator {
        Some(validator) => fs::write(suffixed(part, ".validator"), validator)?,
        None => forget(part, ".validator"),
    }
    Ok(file)
}

/// Removes an unfinished download.
pub fn discard(part: &Path) {
    forget(part, "");
    forget(part, ".validator");
}

fn forget(part: &Path, suffix: &str) {
    // Not there is as good as removed.
    let _ = fs::remove_file(suffixed(part, suffix));
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

fn text(response: &Response<Body>, name: header::HeaderName) -> Option<&str> {
    response.headers().get(name)?.to_str().ok()
}

/// What `If-Range` may say later: a strong entity tag, or else the date.
fn validator_of(response: &Response<Body>) -> Option<&str> {
    let tag = text(response, header::ETAG).filter(|tag| tag.starts_with('"'));
    tag.or_else(|| text(response, header::LAST_MODIFIED))
}

/// The first byte of `Content-Range: bytes 5-9/10`.
fn range_start(response: &Response<Body>) -> Option<u64> {
    let range = text(response, header::CONTENT_RANGE)?.strip_prefix("bytes ")?;
    range.split_once('-')?.0.trim().parse().ok()
}

/// The address that a `Location` means, seen from `url`.
fn resolve(url: &str, location: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let rest = rest.split(['?', '#']).next().unwrap_or(rest);
    let host = rest.split('/').next().unwrap_or(rest);
    let before_path = location.split(['/', '?', '#']).next().unwrap_or_default();
    if before_path.contains(':') {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{host}{location}")
    } else if location.starts_with('?') {
        format!("{scheme}://{rest}{location}")
    } else {
        let folder = rest.rsplit_once('/').map_or(host, |(folder, _)| folder);
        format!("{scheme}://{folder}/{location}")
    }
}

/// A bar on stderr; none where that is no terminal.
fn progress(total: Option<u64>, position: u64) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => {
            (ProgressBar::new(total), "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec}")
        }
        None => (ProgressBar::no_length(), "{spinner} {bytes} {bytes_per_sec}"),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.with_position(position)
}

#[cfg(test)]
mod tests {
    use super::resolve;

    #[test]
    fn redirects_are_resolved() {
        let from = "http://host:80/a/b.tgz?x=/y";
        for (location, expected) in [
            ("http://other/c", "http://other/c"),
            ("https://other/c", "https://other/c"),
            ("//other/c", "http://other/c"),
            ("/c/d", "http://host:80/c/d"),
            ("c.tgz", "http://host:80/a/c.tgz"),
            ("?z", "http://host:80/a/b.tgz?z"),
            ("c:d", "c:d"),
            ("./c:d", "http://host:80/a/./c:d"),
        ] {
            assert_eq!(resolve(from, location), expected);
        }
        assert_eq!(resolve("http://host", "c"), "http://host/c");
    }
}
