//! What the tests work with: folders, models, archives, catalogs, and the binary.

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::slice;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::common::{fails, text};

/// A folder of its own for each test, removed at the end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mobileight-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The file of an entry in the cache.
    pub fn model(&self, name: &str) -> PathBuf {
        self.path("cache/models").join(name)
    }

    /// A file that waits in the cache.
    pub fn download(&self, name: &str) -> PathBuf {
        self.path("cache/downloads").join(name)
    }

    /// Puts a file there before anything runs.
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Writes a catalog and starts a command that uses it, this folder's cache, and this server.
    pub fn pull(&self, catalog: &[Value], server: &str, arguments: &[&str]) -> Command {
        let file = self.path("catalog.json");
        fs::write(&file, Value::from(catalog).to_string()).unwrap();
        let mut command = mobileight();
        command.arg("pull").args(arguments).args(["--base-url", server]);
        command.arg("--cache").arg(self.path("cache")).arg("--catalog").arg(file);
        command
    }

    /// Pulls `model`, expects that to work, gives what was printed.
    pub fn succeed(&self, entry: &Value, server: &str) -> (String, String) {
        let output = self.pull(slice::from_ref(entry), server, &["model"]).output().unwrap();
        let (out, message) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{message}");
        (out, message)
    }

    /// Pulls `model`, expects that to fail with a message that has these parts.
    pub fn fail(&self, entry: &Value, server: &str, parts: &[&str]) -> String {
        let output = self.pull(slice::from_ref(entry), server, &["model"]).output().unwrap();
        assert_eq!(text(&output.stdout), "");
        fails(&output, 1, parts)
    }

    /// Nothing is left but what was asked for.
    pub fn is_tidy(&self) -> bool {
        let downloads = fs::read_dir(self.path("cache/downloads")).unwrap();
        let names: Vec<_> = downloads.map(|entry| entry.unwrap().file_name()).collect();
        names.iter().all(|name| name.to_str().unwrap().ends_with(".lock"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The binary, without this machine's own settings.
pub fn mobileight() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mobileight"));
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command.env_remove("MOBILEIGHT_CACHE").env_remove("XDG_CACHE_HOME");
    command
}

/// One of the small models of our own.
pub fn model() -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/operators");
    fs::read(folder.join("conv_2d_int8.tflite")).unwrap()
}

pub fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A .tgz with these members.
pub fn tgz(members: &[(&str, &[u8])]) -> Vec<u8> {
    let level = flate2::Compression::default();
    let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), level));
    for (name, bytes) in members {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        // Written by hand: the library would refuse the names that a hostile archive has.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        archive.append(&header, *bytes).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}

pub fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        archive.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// An archive with other things around the model, as the published ones have, and its entry with the hashes
/// that `pins` names.
pub fn archived(pins: &[&str]) -> (Vec<u8>, Value) {
    let members: [(&str, &[u8]); 4] = [
        ("./model.ckpt", &[7; 5000]),
        ("../../escape.tflite", b"out of the folder"),
        ("./model.tflite", &model()),
        ("./model.pbtxt", b"after"),
    ];
    let archive = tgz(&members);
    let mut entry = json!({
        "name": "model",
        "url": "http://models.example/some/path/model.tgz",
        "member": "model.tflite",
        "bytes": model().len(),
    });
    for pin in pins {
        let bytes = if *pin == "sha256" { model() } else { archive.clone() };
        entry[*pin] = hash(&bytes).into();
    }
    (archive, entry)
}

/// A plain file and its entry: large, so that it takes many packets.
pub fn plain() -> (Vec<u8>, Value) {
    let body: Vec<u8> = (0..300_000u32).flat_map(|n| n.to_le_bytes()).collect();
    let entry = json!({
        "name": "model",
        "url": "http://models.example/plain.tflite?generation=1",
        "sha256": hash(&body),
        "bytes": body.len(),
    });
    (body, entry)
}

/// An address where nobody listens.
pub const NOBODY: &str = "http://127.0.0.1:1";

/// A beginning left by a process that was cut off, with what it was the beginning of.
pub fn cut_off(folder: &Folder, body: &[u8]) {
    folder.put(&folder.download("model.tflite.part"), &body[..400_000]);
    folder.put(&folder.download("model.tflite.part.validator"), b"\"one\"");
}
