//! What surrounds the command: pipes, disks, names, signals, terminals.
#![cfg(unix)]

mod common;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{Folder, demo, fail, fails, json, kill, run, succeed, text};

fn model() -> String {
    demo("int8.tflite")
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mobileight"));
    command.args(arguments);
    command
}

/// Runs with bytes on standard input.
fn fed(arguments: &[&str], bytes: &[u8]) -> Output {
    let mut child = command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        // What is refused is not read to its end.
        scope.spawn(move || stdin.write_all(bytes));
        child.wait_with_output().unwrap()
    })
}

#[test]
fn standard_input_is_a_file_named_minus() {
    let folder = Folder::new("stdin");
    let picture = folder.picture("picture.png", 120, 90);
    let bytes = fs::read(&picture).unwrap();
    let classes = |output: &str| json(output)["top"].clone();

    let named = succeed(&["classify", &model(), &picture, "--json"]);
    let output = fed(&["classify", &model(), "-", "--json"], &bytes);
    assert_eq!(classes(&text(&output.stdout)), classes(&named));
    let output = fed(&["classify", "-", &picture, "--json"], &fs::read(model()).unwrap());
    assert_eq!(classes(&text(&output.stdout)), classes(&named));

    let (one, other) = (folder.path("one.npy"), folder.path("other.npy"));
    succeed(&["preprocess", &model(), &picture, "-o", &one]);
    assert!(fed(&["preprocess", &model(), "-", "-o", &other], &bytes).status.success());
    let tensor = fs::read(&one).unwrap();
    assert!(tensor == fs::read(&other).unwrap());
    let (one_out, other_out) = (folder.path("one-out.npy"), folder.path("other-out.npy"));
    succeed(&["run", &model(), "--input", &one, "--output", &one_out]);
    let output = fed(&["run", &model(), "--input", "-", "--output", &other_out], &tensor);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(fs::read(&one_out).unwrap() == fs::read(&other_out).unwrap());

    let twice = fed(&["classify", "-", "-"], &fs::read(model()).unwrap());
    fails(&twice, 1, &["standard input (`-`) is one file"]);
    let small = ["classify", &model(), "-", "--max", "image_bytes=100"];
    fails(&fed(&small, &bytes), 1, &["standard input", "image_bytes"]);
    fails(&fed(&["inspect", "-"], b"no model"), 1, &["standard input"]);
    fails(&fed(&["inspect", "-"], b""), 1, &["standard input"]);
}

#[test]
fn names_may_have_spaces_and_need_not_be_text() {
    let folder = Folder::new("names");
    let picture = folder.picture("picture.png", 60, 60);
    // Not every file system takes such names.
    let mut named = vec![folder.0.join("a b  c.png"), folder.0.join("-x.png")];
    let odd = folder.0.join(OsStr::from_bytes(b"\xff\xfe photo.png"));
    if fs::copy(&picture, &odd).is_ok() {
        named.push(odd);
    }
    let expected = succeed(&["classify", &model(), &picture, "--json"]);
    for name in &named {
        fs::copy(&picture, name).unwrap();
        let output = command(&["classify", &model(), "--json"]).arg(name).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(json(&text(&output.stdout))["top"], json(&expected)["top"]);
    }
    // A model, and what is written.
    let own = folder.0.join(OsStr::from_bytes(b"my \xff model.tflite"));
    if fs::copy(model(), &own).is_ok() {
        let tensor = folder.0.join(OsStr::from_bytes(b"out \xff.npy"));
        let mut preprocess = command(&["preprocess"]);
        preprocess.arg(&own).arg(&picture).arg("-o").arg(&tensor);
        let output = preprocess.output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(tensor.exists());
        let missing = folder.0.join(OsStr::from_bytes(b"no \xff.tflite"));
        fails(&command(&["inspect"]).arg(missing).output().unwrap(), 1, &["no \u{fffd}.tflite"]);
    }
}

#[test]
fn readers_may_leave() {
    for arguments in [&["inspect", &model()][..], &["bench", &model(), "--runs", "3", "--profile"]]
    {
        let mut child =
            command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        fails(&output, 0, &[]);
        assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
    }
}

#[test]
#[cfg(target_os = "linux")]
fn full_disks_are_named() {
    let folder = Folder::new("full");
    let picture = folder.picture("picture.png", 60, 60);
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    for arguments in
        [&["inspect", &model()][..], &["classify", &model(), &picture], &["pull", "--list"]]
    {
        let output = command(arguments).stdout(full()).output().unwrap();
        fails(&output, 1, &["No space left on device"]);
    }
    // Files that may not grow beyond a block, as on a disk that has no more.
    let compiled = folder.path("model.mb8");
    let limited = |arguments: &str| {
        let script = format!("trap '' XFSZ; ulimit -f 1; exec \"$0\" {arguments}");
        let program = env!("CARGO_BIN_EXE_mobileight");
        let mut shell = Command::new("sh");
        shell.args(["-c", &script, program, &model(), &compiled, &picture]).output().unwrap()
    };
    fails(&limited("compile \"$1\" -o \"$2\""), 1, &["model.mb8", "File too large"]);
    fails(&limited("preprocess \"$1\" \"$3\" -o \"$2\""), 1, &["model.mb8", "File too large"]);
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1, "something is left behind");
}

#[test]
#[cfg(target_os = "linux")]
fn folders_that_cannot_be_written_are_named() {
    let folder = Folder::new("read-only");
    let picture = folder.picture("picture.png", 60, 60);
    // Nobody, not even root, makes files there.
    let there = "/proc/mobileight.file";
    fail(1, &["compile", &model(), "-o", there], &[there]);
    fail(1, &["preprocess", &model(), &picture, "-o", there], &[there]);
    let folders = ["compare", &model(), "--images", &folder.path(""), "--out", "/proc/mobileight"];
    fail(1, &folders, &["/proc/mobileight"]);
}

#[test]
fn what_is_no_terminal_gets_plain_lines() {
    let folder = Folder::new("plain");
    (0..3).for_each(|i| drop(folder.picture(&format!("{i}.png"), 60, 60)));
    let report = folder.path("report");
    let images = folder.0.to_str().unwrap();
    for arguments in [
        &["compare", &model(), "--images", images, "--out", &report][..],
        &["--help"],
        &["inspect", &model()],
    ] {
        let output = run(arguments);
        assert!(output.status.success(), "{}", text(&output.stderr));
        for stream in [&output.stdout, &output.stderr] {
            assert!(!stream.contains(&b'\x1b') && !stream.contains(&b'\r'), "{}", text(stream));
        }
    }
}

#[test]
fn killed_writers_leave_no_half_file_under_its_name() {
    let folder = Folder::new("kill-compile");
    let compiled = folder.path("model.mb8");
    succeed(&["compile", &model(), "-o", &compiled]);
    let whole = fs::read(&compiled).unwrap();
    // At any moment: before, while and after it is written, first with nothing there, then over an older file.
    for delay in (0..40).map(|step| Duration::from_micros(step * 500)) {
        if delay.as_millis() % 2 == 0 {
            fs::remove_file(&compiled).ok();
        }
        let child =
            command(&["compile", &model(), "-o", &compiled]).stdout(Stdio::null()).spawn().unwrap();
        let start = Instant::now();
        kill(child, || start.elapsed() >= delay);
        if let Ok(bytes) = fs::read(&compiled) {
            assert!(bytes == whole, "half a file of {} bytes after {delay:?}", bytes.len());
        }
    }
}

#[test]
fn killed_comparisons_go_on() {
    let folder = Folder::new("kill-compare");
    fs::create_dir(folder.0.join("images")).unwrap();
    (0..30).for_each(|i| drop(folder.picture(&format!("images/{i}.png"), 60 + i, 60)));
    let (images, float) = (folder.path("images"), folder.path("float.tflite"));
    fs::copy(demo("float.tflite"), &float).unwrap();
    let arguments = |out: &str| {
        let text = format!(
            "compare|{}|--float|{float}|--images|{images}|--out|{out}|--layer-images|2",
            model()
        );
        let text = text + "|--preprocessing-images|0|--sensitivity|30";
        text.split('|').map(String::from).collect::<Vec<_>>()
    };
    let start = |out: &str| {
        let mut command = command(&[]);
        command.args(arguments(out)).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let finish = |out: &str| {
        let output = start(out).wait_with_output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let report = fs::read_to_string(Path::new(out).join("report.json")).unwrap();
        let mut report = json(&report);
        for pointer in ["/int8/latency_ms", "/reference/latency_ms"] {
            *report.pointer_mut(pointer).unwrap() = serde_json::Value::Null;
        }
        report
    };
    let (out, other) = (folder.path("report"), folder.path("other"));
    let state = Path::new(&out).join("sensitivity.partial.json");
    // What the ranking of layers has come to is kept.
    assert!(kill(start(&out), || state.exists()), "it was done before");
    let names = |folder: &str| -> Vec<_> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert!(!names(&out).contains(&"report.json".into()), "half a report under its final name");
    let resumed = finish(&out);
    assert!(!state.exists());
    let whole = finish(&other);
    assert!(resumed == whole, "resumed: {resumed}");
    assert_eq!(names(&out), names(&other));
}
