//! The documents: their commands work, their links lead somewhere, and the book has all pages.
//!
//! Commands are those of blocks marked `console` or `sh`. The ones of `mobileight` are run, in a folder for each document that has the
//! names which the documents use; the others are in [`NOT_RUN`] with the reason.
#![cfg(unix)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Folder, shared, succeed};

/// Commands that are not run here, by how they start, and why.
const NOT_RUN: [(&str, &str); 33] = [
    ("cargo test", "runs this test"),
    ("cargo clippy", ".ci/run"),
    ("cargo fmt", ".ci/run"),
    (
        "cargo build --release -p mobileight-cli",
        ".ci/run builds the workspace, .ci/cross for targets",
    ),
    ("cargo install", "builds what is built"),
    ("cargo build --profile small --no-default-features", ".ci/run, without_tract"),
    ("target/small/mobileight", "is built by the command before it; tests/compiled.rs runs .mb8"),
    ("rustup target add", "needs a network; .ci/cross"),
    ("cargo build --release --no-default-features -p mobileight-cli --target", ".ci/cross"),
    ("cargo run --release --manifest-path examples/embedded-model", ".ci/run, examples"),
    ("cargo run --manifest-path examples/web", ".ci/run, web"),
    (
        "python3 -m http.server",
        "goes on until it is stopped; tests/browser/web.py serves the folder",
    ),
    ("CC=/nonexistent cargo run --release --manifest-path", ".ci/run, examples"),
    ("MODEL=$PWD/int8.mb8 cargo build", ".ci/cross, microcontroller"),
    ("qemu-system-arm", ".ci/cross, microcontroller"),
    ("scp ", "needs a machine to copy to"),
    ("ssh ", "needs a machine to log in"),
    ("labels=$(mobileight pull", "needs a network; tests/pull.rs has a server"),
    ("mobileight classify \"$(mobileight pull", "needs a network; tests/pull.rs has a server"),
    ("MOBILEIGHT_EXPORT=", "writes cases for LiteRT"),
    (".venv/bin/python crates/runtime/tests/operators/litert.py", "needs LiteRT"),
    (".venv/bin/python tests/python/exactness.py", ".ci/run, exactness"),
    (".venv/bin/python tests/python/record_hashes.py", "needs LiteRT"),
    (".venv/bin/pip", ".ci/run, litert"),
    ("python fuzz/seeds.py", "needs NumPy and Pillow"),
    ("cargo +nightly fuzz run", "goes on until it is stopped"),
    ("cargo build --config fuzz/stable.toml", ".ci/run, fuzz"),
    ("fuzz/target/", "goes on until it is stopped; .ci/run, fuzz"),
    ("python3 -m venv .venv", ".ci/run, litert"),
    ("python3 -m venv venv", "needs TensorFlow"),
    ("python tests/python/make_operators.py", "needs TensorFlow"),
    ("venv/bin/python models/train/train.py", "trains for half an hour"),
    ("venv/bin/python models/train/check.py", ".ci/run"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// All Markdown files of the repository, with their text.
fn documents() -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_symlink() || name.starts_with('.') || name == "target" {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if name.ends_with(".md") {
                let text = fs::read_to_string(&path).unwrap();
                found.insert(path.strip_prefix(root()).unwrap().into(), text);
            }
        }
    }
    assert!(found.len() > 20, "{:?}", found.keys());
    found
}

/// A fenced block: its language, the line it starts at, and its lines without their indentation.
struct Block<'a> {
    language: &'a str,
    line: usize,
    lines: Vec<&'a str>,
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut found: Vec<Block<'_>> = Vec::new();
    let mut is_open = false;
    for (at, line) in text.lines().enumerate() {
        match line.trim_start().strip_prefix("```") {
            Some(_) if is_open => is_open = false,
            Some(language) => {
                is_open = true;
                found.push(Block { language, line: at + 1, lines: Vec::new() });
            }
            None if is_open => found.last_mut().unwrap().lines.push(line.trim_start()),
            None => {}
        }
    }
    assert!(!is_open, "a block is not closed");
    found
}

/// The commands of a block. Where some lines have a prompt, the others are what was printed.
fn commands(block: &Block<'_>) -> Vec<String> {
    let prompted = block.lines.iter().any(|line| line.starts_with("$ "));
    let mut commands: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in &block.lines {
        let line = match line.strip_prefix("$ ") {
            Some(command) => command,
            None if prompted && !goes_on => continue,
            None => line,
        };
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (part, continues) = match line.strip_suffix('\\') {
            Some(part) => (part, true),
            None => (line, false),
        };
        match commands.last_mut().filter(|_| goes_on) {
            Some(command) => *command += part,
            None => commands.push(part.into()),
        }
        goes_on = continues;
    }
    commands
}

/// A folder with the names that the documents use.
fn setting(name: &str) -> Folder {
    let folder = Folder::new(&format!("docs-{}", name.replace('/', "-")));
    let demo = root().join("models/demo");
    let at = |path: PathBuf, name: &str| symlink(&path, folder.0.join(name)).unwrap();
    at(root().join("models"), "models");
    for name in ["int8.tflite", "model.tflite", "MODEL"] {
        at(demo.join("int8.tflite"), name);
    }
    for name in ["float.tflite", "labels.txt", "labels.csv"] {
        at(demo.join(name), name);
    }
    // Enough to have an accuracy, and few enough to be fast.
    fs::create_dir(folder.0.join("photos")).unwrap();
    for number in 0..100 {
        let name = format!("{number:04}.jpg");
        at(demo.join("images").join(&name), &format!("photos/{name}"));
    }
    at(demo.join("images/0000.jpg"), "photo.jpg");
    // Published files where they are at hand; else those that ship, under their names.
    for (name, published, own) in [
        ("mobilenet_v2_1.0_224_quant.tflite", "models", "int8.tflite"),
        ("imagenet_1001.txt", "labels", "labels.txt"),
        ("parrot.jpg", "images/photos", "images/0001.jpg"),
    ] {
        let published = shared(&format!("{published}/{name}")).map(PathBuf::from);
        at(published.map_or(demo.join(own), |path| path.canonicalize().unwrap()), name);
    }
    fs::create_dir(folder.0.join("bin")).unwrap();
    at(env!("CARGO_BIN_EXE_mobileight").into(), "bin/mobileight");
    folder
}

#[test]
fn commands_work() {
    let mut excused = BTreeSet::new();
    let mut count = 0;
    for (document, text) in documents() {
        let folder = setting(document.to_str().unwrap());
        let path = format!("{}:{}", folder.path("bin"), std::env::var("PATH").unwrap_or_default());
        for block in blocks(&text) {
            if !["console", "sh"].contains(&block.language) {
                continue;
            }
            let place = format!("{}:{}", document.display(), block.line);
            let mut script = String::from("set -euo pipefail\n");
            let mut runs = false;
            for command in commands(&block) {
                let excuse = NOT_RUN.iter().filter(|(start, _)| command.starts_with(start));
                if let Some((start, _)) = excuse.max_by_key(|(start, _)| start.len()) {
                    excused.insert(*start);
                    continue;
                }
                let command = command.replace("cargo run --release -- ", "mobileight ");
                let program = command.split(' ').find(|word| !word.contains('='));
                assert_eq!(
                    program,
                    Some("mobileight"),
                    "{place}: `{command}` is neither run nor in NOT_RUN"
                );
                script += &command;
                script.push('\n');
                runs = true;
                count += 1;
            }
            if !runs {
                continue;
            }
            let output = Command::new("bash")
                .args(["-c", &script])
                .current_dir(&folder.0)
                .env("PATH", &path)
                .env("MOBILEIGHT_CACHE", folder.path("cache"))
                .output()
                .unwrap();
            let message = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{place}: {script}{}: {message}", output.status);
            assert!(!message.contains("panicked"), "{place}: {message}");
        }
    }
    assert!(count >= 25, "only {count} commands were found");
    for (start, reason) in NOT_RUN {
        assert!(excused.contains(start), "NOT_RUN: no document has `{start}` ({reason})");
    }
}

/// Commands within a sentence: their options exist.
#[test]
fn commands_in_sentences_exist() {
    let mut help: BTreeMap<String, String> = BTreeMap::new();
    let mut count = 0;
    for (document, text) in documents() {
        // What was once true may be told there.
        if document == Path::new("CHANGELOG.md") {
            continue;
        }
        for code in prose(&text).1 {
            let Some(rest) = code.strip_prefix("mobileight ") else { continue };
            let mut words = rest.split_whitespace();
            let Some(command) = words.next().filter(|word| !word.starts_with('-')) else {
                continue;
            };
            let options =
                help.entry(command.into()).or_insert_with(|| succeed(&[command, "--help"]));
            for word in words {
                let word = word.trim_matches(['[', ']', ',']);
                if word.starts_with("--") {
                    let place = document.display();
                    assert!(options.contains(word), "{place}: `{code}`: no such option: {word}");
                }
            }
            count += 1;
        }
    }
    assert!(count >= 20, "only {count} were found");
}

/// What is outside of blocks: the text without code, and the pieces of code within it.
fn prose(text: &str) -> (String, Vec<String>) {
    let mut is_open = false;
    let mut outside = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_open = !is_open;
        } else if !is_open {
            outside += line;
            outside.push('\n');
        }
    }
    let mut prose = String::new();
    let mut codes = Vec::new();
    for (at, part) in outside.split('`').enumerate() {
        if at % 2 == 0 {
            prose += part;
        } else {
            codes.push(part.replace('\n', " "));
        }
    }
    (prose, codes)
}

/// The anchors of a document's headings, as renderers of Markdown make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut is_open = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_open = !is_open;
        }
        let title = line.trim_start_matches('#');
        if is_open || title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let anchor: String = title
            .trim()
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        let again = (1..).map(|n| format!("{anchor}-{n}"));
        let free = std::iter::once(anchor.clone()).chain(again).find(|a| !found.contains(a));
        found.extend(free);
    }
    found
}

#[test]
fn links_lead_somewhere() {
    let documents = documents();
    let mut count = 0;
    for (document, text) in &documents {
        let prose = prose(text).0;
        for target in prose.split("](").skip(1) {
            let target = target.split(')').next().unwrap();
            if target.contains("://") {
                continue;
            }
            count += 1;
            let place = format!("{}: {target}", document.display());
            let (file, anchor) = match target.split_once('#') {
                Some((file, anchor)) => (file, Some(anchor)),
                None => (target, None),
            };
            let file = match file {
                "" => root().join(document),
                file => root().join(document).parent().unwrap().join(file),
            };
            let file = file.canonicalize().unwrap_or_else(|error| panic!("{place}: {error}"));
            let file = file.strip_prefix(root()).unwrap_or_else(|_| panic!("{place}: is outside"));
            if let Some(anchor) = anchor {
                let known = anchors(&documents[file]);
                assert!(known.contains(anchor), "{place}: {known:?}");
            }
        }
    }
    assert!(count > 60, "only {count} links were found");
}

#[test]
fn the_book_has_every_page() {
    let documents = documents();
    let (listed, _) = prose(&documents[Path::new("docs/SUMMARY.md")]);
    for document in documents.keys().filter(|path| path.starts_with("docs")) {
        let name = document.strip_prefix("docs").unwrap().to_str().unwrap();
        assert!(
            name == "SUMMARY.md" || listed.contains(&format!("]({name})")),
            "docs/SUMMARY.md does not list {name}"
        );
    }
}

#[test]
fn the_means_of_this_test_work() {
    let text = "# A b: c!\n\n## `x` y\n\n```sh\n# no\n$ one \\\n  two\nprinted\n```\n\n## `x` y\n";
    let block = &blocks(text)[0];
    assert_eq!((block.language, block.line), ("sh", 5));
    assert_eq!(commands(block), ["one two"]);
    assert_eq!(anchors(text), BTreeSet::from(["a-b-c".into(), "x-y".into(), "x-y-1".into()]));
}
