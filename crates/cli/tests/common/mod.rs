//! What tests of the binary share.
#![allow(dead_code, reason = "no test uses all of it")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

use image::{DynamicImage, RgbImage};

/// A folder of its own for each test, removed at the end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mobileight-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().into()
    }

    /// Writes a picture of a smooth gradient.
    pub fn picture(&self, name: &str, width: u32, height: u32) -> String {
        let color = |x, y| image::Rgb([(x * 255 / width) as u8, (y * 255 / height) as u8, 90]);
        let path = self.path(name);
        DynamicImage::ImageRgb8(RgbImage::from_fn(width, height, color)).save(&path).unwrap();
        path
    }

    pub fn file(&self, name: &str, bytes: &[u8]) -> String {
        std::fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mobileight")).args(arguments).output().unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs, expects success, gives what was printed.
pub fn succeed(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Runs, expects an exit code and a message with all these parts.
pub fn fail(code: i32, arguments: &[&str], parts: &[&str]) -> String {
    fails(&run(arguments), code, parts)
}

/// Expects an exit code and a message with all these parts and no trace of a panic; gives the message.
pub fn fails(output: &Output, code: i32, parts: &[&str]) -> String {
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{message}");
    assert!(!message.contains("panicked"), "{message}");
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
    message
}

/// Kills a command once `seen` holds; gives false when it was faster.
pub fn kill(mut child: Child, seen: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while !seen() {
        assert!(start.elapsed() < Duration::from_secs(60), "nothing happened");
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    // SIGKILL, where there are signals: nothing can be tidied up.
    let was_running = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    was_running
}

pub fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A file of the demo that ships.
pub fn demo(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/demo");
    folder.join(name).to_str().unwrap().into()
}

/// A file of the shared test data; `None`, said aloud, where there is none.
pub fn shared(name: &str) -> Option<String> {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let root = std::env::var_os("MOBILEIGHT_TEST_DATA").map_or_else(default, PathBuf::from);
    let path = root.join(name);
    if path.exists() {
        return Some(path.to_str().unwrap().into());
    }
    let is_required = std::env::var_os("MOBILEIGHT_REQUIRE_TEST_DATA").is_some();
    assert!(!is_required, "{} is required and not there", path.display());
    println!(
        "skipped: {} is not there; name the test data in MOBILEIGHT_TEST_DATA",
        path.display()
    );
    None
}
