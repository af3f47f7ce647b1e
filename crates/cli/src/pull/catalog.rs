//! What can be pulled: names, addresses, hashes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::digest::Digest;

/// The catalog that ships; `docs/pull.md` says how each entry was verified.
const BUILT_IN: &str = include_str!("catalog.json");

/// Largest file that a catalog may declare.
const MOST_BYTES: u64 = 1 << 30;

/// Something that can be pulled.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    pub name: String,
    /// What it is, in words.
    #[serde(default)]
    pub about: String,
    /// Shape and element type of the input.
    #[serde(default)]
    pub input: String,
    /// Element type and kind of quantization; `none` for a float model.
    #[serde(default)]
    pub quantization: String,
    /// Name of the float model of the same architecture and size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub float: Option<String>,
    /// The official address.
    pub url: String,
    /// SHA-256 of what the address gives, where that is an archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive_sha256: Option<Digest>,
    /// The file to take out of the archive; absent when the address gives the file itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// SHA-256 of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    /// Size of the file; published sizes are rounded, so this is a bound and no identity.
    pub bytes: u64,
    /// Where the hashes were published.
    #[serde(default)]
    pub verified_by: String,
}

/// How the address packs the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// In a tar archive compressed with gzip.
    TarGzip,
    Zip,
}

impl Entry {
    /// How the address packs the file.
    pub fn packing(&self) -> Result<Packing> {
        let path = self.url.split(['?', '#']).next().unwrap_or_default();
        match self.member {
            None => Ok(Packing::Plain),
            Some(_) if path.ends_with(".tgz") || path.ends_with(".tar.gz") => Ok(Packing::TarGzip),
            Some(_) if path.ends_with(".zip") => Ok(Packing::Zip),
            Some(_) => bail!("{path} is no archive this program unpacks (.tgz, .tar.gz, .zip)"),
        }
    }

    /// Name of the file in the cache.
    pub fn file_name(&self) -> String {
        let published = match &self.member {
            Some(member) => member,
            None => self.url.split(['?', '#']).next().unwrap_or_default(),
        };
        let extension = published.rsplit('/').next().and_then(|name| name.rsplit_once('.'));
        let extension = extension.map_or("tflite", |(_, extension)| extension);
        // The name has dots of its own: `mobilenet_v1_0.25_224`.
        format!("{}.{extension}", self.name)
    }

    /// Name in the cache of what the address gives.
    pub fn download_name(&self) -> Result<String> {
        Ok(match self.packing()? {
            Packing::Plain => self.file_name(),
            Packing::TarGzip => format!("{}.tgz", self.name),
            Packing::Zip => format!("{}.zip", self.name),
        })
    }

    /// Most bytes of the file: what is declared and a quarter, because published sizes are rounded.
    pub fn file_limit(&self) -> u64 {
        self.bytes + self.bytes / 4
    }

    /// SHA-256 of what the address gives, where that is known.
    pub fn download_digest(&self) -> Option<Digest> {
        if self.member.is_some() { self.archive_sha256 } else { self.sha256 }
    }

    fn validate(&self) -> Result<()> {
        // Names become file names.
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        ensure!(!self.name.is_empty() && self.name.len() <= 100, "a name has 1 to 100 characters");
        ensure!(
            self.name.bytes().all(is_plain) && !self.name.starts_with(['.', '-']),
            "a name has letters, digits, `.`, `_` and `-` only and starts with a letter or digit"
        );
        ensure!(
            self.file_name().bytes().all(is_plain),
            "`{}` is no file name for the cache: its extension has other than letters and digits",
            self.file_name()
        );
        ensure!(
            self.url.starts_with("http://"),
            "address `{}` does not start with http:// (there is no TLS here; the SHA-256 protects)",
            self.url
        );
        ensure!((1..=MOST_BYTES).contains(&self.bytes), "`bytes` is not from 1 to {MOST_BYTES}");
        if self.packing()? == Packing::Plain {
            ensure!(self.archive_sha256.is_none(), "`archive_sha256` without `member`");
            ensure!(self.sha256.is_some(), "`sha256` is missing");
        } else {
            let is_pinned = self.archive_sha256.is_some() || self.sha256.is_some();
            ensure!(is_pinned, "`sha256` and `archive_sha256` are missing: one is needed");
        }
        Ok(())
    }
}

/// A list of entries with distinct names.
pub struct Catalog(Vec<Entry>);

impl Catalog {
    /// The catalog that ships.
    pub fn built_in() -> Result<Self> {
        Self::parse(BUILT_IN).context("built-in catalog")
    }

    /// A catalog of one's own: a JSON array, such as `--list --json` prints.
    pub fn from_file(path: &Path) -> Result<Self> {
        let read = || Self::parse(&fs::read_to_string(path)?);
        read().with_context(|| format!("catalog {}", path.display()))
    }

    fn parse(json: &str) -> Result<Self> {
        let entries: Vec<Entry> = serde_json::from_str(json)?;
        let mut names = BTreeSet::new();
        for entry in &entries {
            entry.validate().with_context(|| format!("entry `{}`", entry.name))?;
            // Some file systems do not tell `A` from `a`.
            ensure!(
                names.insert(entry.name.to_ascii_lowercase()),
                "entry `{}` is there twice",
                entry.name
            );
        }
        Ok(Catalog(entries))
    }

    pub fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// The entry of that name; the error lists names like it.
    pub fn find(&self, name: &str) -> Result<&Entry> {
        if let Some(entry) = self.0.iter().find(|entry| entry.name == name) {
            return Ok(entry);
        }
        match self.near(name).as_slice() {
            [] => bail!("there is no `{name}`: `mobileight pull --list` shows what there is"),
            near => bail!(
                "there is no `{name}`; did you mean {}? (`mobileight pull --list` shows all)",
                near.join(", ")
            ),
        }
    }

    /// Up to five names that contain `name` or are spelled much like it, likest first.
    fn near(&self, name: &str) -> Vec<&str> {
        const ALIKE: f64 = 0.85;
        let name = name.to_ascii_lowercase();
        let name = name.strip_suffix(".tflite").or(name.strip_suffix(".tgz")).unwrap_or(&name);
        let likeness = |entry: &Entry| {
            let other = entry.name.to_ascii_lowercase();
            let likeness = strsim::normalized_damerau_levenshtein(name, &other);
            let is_part = !name.is_empty() && other.contains(name);
            (is_part || likeness >= ALIKE).then_some(likeness)
        };
        let mut near: Vec<(f64, &str)> = self
            .0
            .iter()
            .filter_map(|entry| Some((likeness(entry)?, entry.name.as_str())))
            .collect();
        near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
        near.into_iter().take(5).map(|(_, name)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalog_that_ships_is_sound() {
        let catalog = Catalog::built_in().unwrap();
        assert!(catalog.entries().len() >= 30);
        for entry in catalog.entries() {
            let name = &entry.name;
            for text in [&entry.about, &entry.input, &entry.quantization, &entry.verified_by] {
                assert!(!text.is_empty(), "{name}");
            }
            if let Some(float) = &entry.float {
                let float = catalog.find(float).unwrap();
                assert_eq!(float.quantization, "none", "{name}");
                assert!(entry.quantization.starts_with("uint8"), "{name}");
                assert!(float.bytes > entry.bytes, "{name}");
            }
            // An archive's hash given to the member, or to two entries, is a slip of the pen.
            let same = |other: &&Entry| {
                other.name != *name && other.download_digest() == entry.download_digest()
            };
            assert!(catalog.entries().iter().find(same).is_none(), "{name}");
            assert_ne!(entry.sha256, entry.archive_sha256, "{name}");
        }
    }

    #[test]
    fn files_are_named_after_the_entry() {
        let catalog = Catalog::built_in().unwrap();
        let entry = catalog.find("mobilenet_v1_0.25_128_quant").unwrap();
        assert_eq!(entry.file_name(), "mobilenet_v1_0.25_128_quant.tflite");
        assert_eq!(entry.download_name().unwrap(), "mobilenet_v1_0.25_128_quant.tgz");
        let labels = catalog.find("imagenet_labels_1001").unwrap();
        assert_eq!(labels.file_name(), "imagenet_labels_1001.txt");
        assert_eq!(labels.download_name().unwrap(), labels.file_name());
    }

    #[test]
    fn near_names_are_offered() {
        let catalog = Catalog::built_in().unwrap();
        let near = |name: &str| catalog.find(name).unwrap_err().to_string();
        assert!(near("mobilenet_v2_1.0_224_qaunt").contains(" mobilenet_v2_1.0_224_quant"));
        assert!(near("MobileNet_V2_1.0_224_quant").contains(" mobilenet_v2_1.0_224_quant"));
        assert!(near("mobilenet_v2_1.0_224.tflite").contains("mean mobilenet_v2_1.0_224,"));
        assert!(near("0.25_160").contains("mobilenet_v1_0.25_160"));
        assert!(near("resnet50").contains("--list"));
        assert!(!near("resnet50").contains("mean"));
        assert!(!near("").contains("mean"));
    }

    #[test]
    fn entries_that_could_do_harm_are_refused() {
        let hash = "a".repeat(64);
        let entry = |name: &str, url: &str, rest: &str| {
            format!(r#"[{{"name": "{name}", "url": "{url}", "bytes": 10{rest}}}]"#)
        };
        let pinned = format!(r#", "sha256": "{hash}""#);
        let refused = |json: &str| format!("{:#}", Catalog::parse(json).err().expect(json));
        assert!(Catalog::parse(&entry("a", "http://h/a.tflite", &pinned)).is_ok());
        for name in ["", "..", "../a", "a/b", "-a", "a b", "é"] {
            assert!(refused(&entry(name, "http://h/a.tflite", &pinned)).contains("a name"));
        }
        assert!(refused(&entry("a", "https://h/a.tflite", &pinned)).contains("TLS"));
        assert!(refused(&entry("a", "http://h/a.tflite", "")).contains("`sha256`"));
        assert!(refused(&entry("a", "http://h/a.b:c", &pinned)).contains("file name"));
        let member = format!(r#"{pinned}, "member": "a.tflite""#);
        assert!(refused(&entry("a", "http://h/a.rar", &member)).contains("no archive"));
        assert!(refused(&entry("a", "http://h/a.tgz", r#", "member": "a""#)).contains("one is"));
        let twice = entry("a", "http://h/a.tflite", &pinned);
        let twice =
            format!("{},{}", twice.trim_end_matches(']'), &twice[1..].replace("\"a\"", "\"A\""));
        assert!(refused(&twice).contains("twice"));
        assert!(refused(&entry("a", "http://h/a", r#", "sha256": "12""#)).contains("SHA-256"));
    }
}
