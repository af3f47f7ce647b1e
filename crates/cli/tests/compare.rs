//! `mobileight compare` with the real binary.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{demo, fails, shared, text};
use serde_json::Value;

/// A folder of its own for a test; gone when the test is over.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("mobileight-compare-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("images")).unwrap();
        Folder(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().into()
    }

    /// Small pictures of gradients, one unlike the other.
    fn pictures(&self, count: u8) -> String {
        for number in 0..count {
            let picture = image::RgbImage::from_fn(48, 40, |x, y| {
                let wave = (x * u32::from(number + 2) + y * 7) as u8;
                image::Rgb([wave, (y * 6) as u8, 200u8.wrapping_sub(number.wrapping_mul(13))])
            });
            picture.save(self.path(&format!("images/{number:03}.png"))).unwrap();
        }
        self.path("images")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn model(name: &str) -> Option<String> {
    shared(&format!("models/{name}.tflite"))
}

fn compare(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mobileight")).arg("compare").args(arguments).output().unwrap()
}

/// Expects an exit code and a message with all these parts.
fn fail(code: i32, arguments: &[&str], parts: &[&str]) {
    fails(&compare(arguments), code, parts);
}

fn report(arguments: &[&str]) -> (i32, Value) {
    let output = compare(&[arguments, &["--json"]].concat());
    let message = text(&output.stderr);
    let report =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {message}"));
    (output.status.code().unwrap(), report)
}

fn number(report: &Value, pointer: &str) -> f64 {
    report.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("{pointer}: {report}"))
}

#[test]
fn a_collapsed_model_is_found_and_fails_the_gate() {
    let (Some(int8), Some(float)) = (
        model("keras_mobilenet_v1_0.25_224_int8_pertensor"),
        model("keras_mobilenet_v1_0.25_224_float"),
    ) else {
        return;
    };
    let folder = Folder::new("collapse");
    let (images, out) = (shared("images/imagenet").unwrap(), folder.path("out"));
    let labels = shared("images/imagenet/labels.csv").unwrap();
    let common = [
        int8.as_str(),
        "--float",
        &float,
        "--images",
        &images,
        "--labels",
        &labels,
        "--out",
        &out,
        "--limit",
        "60",
        "--layer-images",
        "4",
        "--preprocessing-images",
        "0",
    ];
    let (code, found) = report(&[&common[..], &["--max-drop", "1"]].concat());
    assert_eq!(code, 3, "{found}");
    assert!(number(&found, "/overall/top1/drop") > 30.0);
    assert_eq!(found["gate"]["verdict"], "failed");
    assert_eq!(found["advice"][0]["rule"], "per_channel_weights", "{}", found["advice"]);
    assert!(number(&found, "/split/weights/top1/drop") > 30.0);
    assert_eq!(found["layers"]["baseline"], "float");
    let layers = found["layers"]["layers"].as_array().unwrap();
    assert!(
        layers.len() > 25 && layers.iter().filter(|layer| layer["local"].is_object()).count() > 25
    );
    // What is on the disk is what was printed.
    let written = fs::read(Path::new(&out).join("report.json")).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&written).unwrap(), found);
    let rows = fs::read_to_string(Path::new(&out).join("per_image.csv")).unwrap();
    assert_eq!(rows.lines().count(), 61);
    let (code, _) = report(&[&common[..], &["--max-drop", "100"]].concat());
    assert_eq!(code, 0);
}

#[test]
fn figures_repeat_for_any_number_of_threads_and_without_labels() {
    let Some(int8) = model("mobilenet_v1_0.25_128_quant") else { return };
    let folder = Folder::new("threads");
    let (images, out) = (folder.pictures(9), folder.path("out"));
    let common = [int8.as_str(), "--images", &images, "--out", &out, "--layer-images", "3"];
    let [one, two] = ["1", "2"].map(|threads| {
        let (code, mut found) =
            report(&[&common[..], &["--threads", threads, "--sensitivity", "2"]].concat());
        assert_eq!(code, 0);
        for pointer in ["/int8/latency_ms", "/reference/latency_ms", "/provenance/threads"] {
            *found.pointer_mut(pointer).unwrap() = Value::Null;
        }
        found
    });
    assert_eq!(one, two);
    assert_eq!(one["reference"]["kind"], "dequantized");
    assert_eq!(one["overall"]["truth"], "first_network");
    assert_eq!(number(&one, "/overall/top1/first"), 1.0);
    assert_eq!(number(&one, "/overall/top1/second"), number(&one, "/overall/agreement"));
    assert!(one["split"].is_null());
    let sensitivity = one["sensitivity"]["layers"].as_array().unwrap();
    assert!(sensitivity.len() > 25, "{}", sensitivity.len());
    assert!(!Path::new(&out).join("sensitivity.partial.json").exists());
    // A limit within the interval: that alone does not fail, unless it is to.
    let limit = number(&one, "/overall/top1/drop").max(0.0).to_string();
    let (code, unsure) = report(&[&common[..], &["--max-drop", &limit]].concat());
    assert_eq!((code, unsure["gate"]["verdict"].as_str()), (0, Some("inconclusive")));
    let (code, _) = report(&[&common[..], &["--max-drop", &limit, "--strict"]].concat());
    assert_eq!(code, 3);
}

#[test]
fn bad_input_is_explained_and_leaves_the_old_report() {
    let (Some(int8), Some(float)) =
        (model("keras_mobilenet_v1_0.25_224_int8"), model("keras_mobilenet_v1_0.25_224_float"))
    else {
        return;
    };
    let folder = Folder::new("bad");
    fs::create_dir(folder.path("empty")).unwrap();
    let (images, out) = (folder.pictures(3), folder.path("out"));
    let empty = folder.path("empty");
    fs::create_dir(&out).unwrap();
    fs::write(folder.path("out/report.html"), "the old one").unwrap();
    let to = ["--images", images.as_str(), "--out", &out];
    let with = |first: &str, more: &[&str], parts: &[&str]| {
        fail(1, &[&[first][..], &to, more].concat(), parts);
    };
    with(&float, &[], &["float model", "--float"]);
    with(&int8, &["--float", &int8], &["quantized"]);
    with(&int8, &["--float", &model("vww_96_float").unwrap()], &["224", "96"]);
    let other = model("mobilenet_v1_0.25_224_float_metadata").unwrap();
    with(&int8, &["--float", &other], &["1000 classes", "1001", "background"]);
    fail(1, &[&int8, "--images", &empty, "--out", &out], &["no image", "empty"]);
    fail(1, &[&int8, "--images", &images, "--out", &folder.path("images/000.png")], &["000.png"]);
    let labels = |name: &str, lines: &str| {
        fs::write(folder.path(name), format!("file,label_index\n{lines}")).unwrap();
        folder.path(name)
    };
    with(&int8, &["--labels", &labels("twice.csv", "000.png,1\n000.png,2\n")], &["000.png"]);
    with(&int8, &["--labels", &labels("range.csv", "000.png,1000\n")], &["1000"]);
    with(&int8, &["--labels", &labels("none.csv", "elsewhere.png,1\n")], &["none.csv"]);
    assert_eq!(fs::read_to_string(folder.path("out/report.html")).unwrap(), "the old one");
    assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
    // One image that cannot be read, and labels for files that are not there, are no reason to stop.
    fs::write(folder.path("images/broken.jpg"), "no image").unwrap();
    let some = labels("some.csv", "000.png,1\n001.png,2\nmissing.png,3\n");
    let arguments =
        [&[int8.as_str()][..], &to, &["--labels", &some, "--layer-images", "1"]].concat();
    let output = compare(&arguments);
    let message = text(&output.stderr);
    assert!(output.status.success(), "{message}");
    for part in ["missing.png", "broken.jpg", "002.png"] {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
    let written = fs::read(folder.path("out/report.json")).unwrap();
    let found: Value = serde_json::from_slice(&written).unwrap();
    assert_eq!(found["images"]["evaluated"], 3);
    assert_eq!(found["images"]["labelled"], 2);
    assert_eq!(found["images"]["unreadable_count"], 1);
    assert_eq!(found["images"]["unlabelled_count"], 1);
}

#[test]
fn a_wrong_recipe_is_told_from_quantization() {
    let (Some(int8), Some(float)) =
        (model("keras_mobilenet_v1_0.25_224_int8"), model("keras_mobilenet_v1_0.25_224_float"))
    else {
        return;
    };
    let folder = Folder::new("recipe");
    let (images, out) = (shared("images/imagenet").unwrap(), folder.path("out"));
    let labels = shared("images/imagenet/labels.csv").unwrap();
    let common = ["--float", &float, "--images", &images, "--labels", &labels, "--out", &out];
    let common =
        [&[int8.as_str()][..], &common, &["--limit", "128", "--layer-images", "1"]].concat();
    let rules = |found: &Value| -> Vec<String> {
        let advice = found["advice"].as_array().unwrap();
        advice.iter().map(|advice| advice["rule"].as_str().unwrap().into()).collect()
    };
    let (_, right) = report(&common);
    assert!(!rules(&right).contains(&"preprocessing".into()), "{}", right["advice"]);
    // Pixels from 0 to 255 for a model that wants [-1, 1].
    let (_, wrong) = report(&[&common[..], &["--normalize", "raw"]].concat());
    assert_eq!(rules(&wrong)[0], "preprocessing", "{}", wrong["advice"]);
    let title = wrong["advice"][0]["title"].as_str().unwrap();
    assert!(title.contains("[-1, 1]") && title.contains("not the quantization"), "{title}");
    let recipes = wrong["preprocessing"]["recipes"].as_array().unwrap();
    let best = recipes.iter().find(|recipe| recipe["name"] == "[-1, 1]").unwrap();
    let gain = -number(best, "/difference/drop");
    assert!(gain > 30.0, "{gain}");
    assert!(title.ends_with(&format!("costs {gain:.0} points")), "{title}");
}

#[test]
fn a_float_model_with_a_broken_weight_is_named() {
    let folder = Folder::new("nan");
    let int8 = demo("int8.tflite");
    let mut bytes = fs::read(demo("float.tflite")).unwrap();
    // Nearly all of the file is weights.
    let middle = bytes.len() / 2 / 4 * 4;
    bytes[middle..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(folder.path("broken.tflite"), bytes).unwrap();
    let (images, out) = (folder.pictures(2), folder.path("out"));
    let arguments = [int8.as_str(), "--float", &folder.path("broken.tflite"), "--images", &images];
    fail(1, &[&arguments[..], &["--out", &out]].concat(), &["broken.tflite", "NaN"]);
    assert!(!Path::new(&out).exists());
}

/// Runs `compare`, presses Ctrl-C as soon as a file is there, and gives what came of it.
#[cfg(unix)]
fn interrupted(arguments: &[&str], seen: &Path) -> Output {
    let mut process = Command::new(env!("CARGO_BIN_EXE_mobileight"))
        .arg("compare")
        .args(arguments)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    while !seen.exists() {
        assert!(process.try_wait().unwrap().is_none(), "it was done before");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let id = process.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    process.wait_with_output().unwrap()
}

#[test]
#[cfg(unix)]
fn an_interrupted_run_reports_what_there_is_and_goes_on() {
    let Some(int8) = model("mobilenet_v1_0.25_128_quant") else { return };
    let folder = Folder::new("interrupted");
    let (images, out) = (folder.pictures(16), folder.path("out"));
    // One that cannot be read, in the middle of those that are ranked on.
    fs::write(folder.path("images/000a.png"), "no image").unwrap();
    let arguments = ["--images", &images, "--out", &out, "--layer-images", "1"];
    let arguments =
        [&[int8.as_str()][..], &arguments, &["--preprocessing-images", "0", "--sensitivity", "17"]]
            .concat();
    let state = Path::new(&out).join("sensitivity.partial.json");
    let stopped = interrupted(&arguments, &state);
    let message = text(&stopped.stderr);
    assert_eq!(stopped.status.code(), Some(1), "{message}");
    for part in ["stopping", "16 of 17 images", "goes on"] {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
    let read = || -> Value {
        let mut report: Value =
            serde_json::from_slice(&fs::read(folder.path("out/report.json")).unwrap()).unwrap();
        for pointer in ["/int8/latency_ms", "/reference/latency_ms"] {
            *report.pointer_mut(pointer).unwrap() = Value::Null;
        }
        report
    };
    let partial = read();
    assert_eq!(partial["images"]["interrupted"], true);
    let ranked = partial["sensitivity"]["images"].as_u64().unwrap();
    assert!((1..16).contains(&ranked), "{ranked}");
    assert!(fs::read_to_string(folder.path("out/report.html")).unwrap().contains("Interrupted"));
    // The same command goes on, and ends where one that was not interrupted does.
    assert!(state.exists());
    assert_eq!(compare(&arguments).status.code(), Some(0));
    let resumed = read();
    assert!(!state.exists());
    assert_eq!(compare(&arguments).status.code(), Some(0));
    assert!(resumed == read(), "resumed: {resumed}");
    assert_eq!(resumed["sensitivity"]["images"], 16);
}

/// The most memory that a process has had so far, in bytes.
#[cfg(target_os = "linux")]
fn peak_memory(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

#[test]
#[cfg(target_os = "linux")]
fn memory_does_not_grow_with_the_images() {
    let Some(int8) = model("mobilenet_v1_0.25_128_quant") else { return };
    let folder = Folder::new("many");
    for number in 0..10_000u32 {
        let picture = image::RgbImage::from_fn(8, 8, |x, y| {
            let mixed = (number * 64 + y * 8 + x).wrapping_mul(2_654_435_761);
            image::Rgb([(mixed >> 24) as u8, (mixed >> 16) as u8, (mixed >> 8) as u8])
        });
        picture.save(folder.path(&format!("images/{number:05}.bmp"))).unwrap();
    }
    let (images, out) = (folder.path("images"), folder.path("out"));
    let mut process = Command::new(env!("CARGO_BIN_EXE_mobileight"))
        .args(["compare", &int8, "--images", &images, "--out", &out])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut peak = 0;
    let status = loop {
        peak = peak.max(peak_memory(process.id()).unwrap_or(0));
        if let Some(status) = process.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    };
    assert!(status.success(), "{status}");
    let rows = fs::read_to_string(Path::new(&out).join("per_image.csv")).unwrap();
    assert_eq!(rows.lines().count(), 10_001);
    println!("peak {} MB", peak / 1_000_000);
    assert!(peak > 0 && peak < 300_000_000, "{peak} bytes");
}
