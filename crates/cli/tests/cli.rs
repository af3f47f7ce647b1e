//! The binary as people use it: what it prints, what it refuses, how it exits.

mod common;

use std::path::Path;
use std::process::Command;

use common::{Folder, demo, fail, json, run, shared, succeed, text};

/// One of the small models of our own.
fn operator(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/operators");
    folder.join(name).to_str().unwrap().into()
}

#[test]
fn usage_errors_exit_with_two() {
    fail(2, &[], &["Usage"]);
    fail(2, &["classify"], &["MODEL"]);
    fail(2, &["bench", "x.tflite", "--numerics", "fast"], &["xnnpack", "reference"]);
    fail(2, &["inspect", "x.tflite", "--input", "1,0,3"], &["1,224,224,3"]);
    fail(2, &["inspect", "x.tflite", "--max", "memory_bytes=lots"], &["MiB"]);
    fail(2, &["inspect", "x.tflite", "--max", "memory=1"], &["no limit `memory`", "image_pixels"]);
    fail(2, &["inspect", "x.tflite", "--max", "memory_bytes"], &["LIMIT=VALUE"]);
    fail(2, &["classify", "x.tflite", "x.png", "--crop", "round"], &["central"]);
    assert!(succeed(&["--help"]).contains("classify"));
}

#[test]
fn files_that_are_no_models_are_named_with_the_reason() {
    let folder = Folder::new("no-models");
    let good = std::fs::read(operator("conv_2d_int8.tflite")).unwrap();
    let missing = folder.path("missing.tflite");
    fail(1, &["inspect", &missing], &["missing.tflite"]);
    let empty = folder.file("empty.tflite", b"");
    fail(1, &["inspect", &empty], &["empty.tflite", "empty"]);
    let words = folder.file("words.tflite", b"this is not a model at all");
    fail(1, &["inspect", &words], &["words.tflite", "TFL3"]);
    let half = folder.file("half.tflite", &good[..good.len() / 2]);
    fail(1, &["inspect", &half], &["half.tflite"]);
    let message = fail(1, &["inspect", folder.0.to_str().unwrap()], &[]);
    assert!(message.contains("directory") || message.contains("folder"), "{message}");
}

#[test]
fn inspect_answers_what_a_model_takes() {
    let model = operator("conv_2d_int8.tflite");
    let table = succeed(&["inspect", &model]);
    for part in ["CONV_2D", "int8", "zero point", "multiply-adds", "arena"] {
        assert!(table.contains(part), "{table}");
    }
    let report = json(&succeed(&["inspect", &model, "--json"]));
    let input = &report["models"][0]["inputs"][0];
    assert_eq!(input["element_type"], "int8");
    let elements: u64 =
        input["shape"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).product();
    assert_eq!(input["bytes"].as_u64(), Some(elements));
    assert!(report["conversion"].is_null());
    let pair = json(&succeed(&["inspect", &model, &operator("conv_2d_uint8.tflite"), "--json"]));
    let sentences = pair["conversion"].to_string();
    assert!(sentences.contains("size is the same") && sentences.contains("element type differs"));
}

#[test]
fn what_is_over_a_limit_is_refused_with_the_figure() {
    let model = operator("conv_2d_int8.tflite");
    let shape =
        json(&succeed(&["inspect", &model, "--json"]))["models"][0]["inputs"][0]["shape"].clone();
    let channels = shape[3].as_u64().unwrap();
    let large = format!("1,40000,40000,{channels}");
    let needed = (40_000u64 * 40_000 * channels).to_string();
    let message =
        fail(1, &["inspect", &model, "--input", &large], &["limit of 1073741824", "--max"]);
    let found: u64 =
        message.split(": ").last().unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(found >= needed.parse().unwrap());
    for limit in ["model_bytes", "tensors", "operators", "memory_bytes", "multiply_adds"] {
        let lowered = format!("{limit}=0");
        let parts = [model.as_str(), "over the limit of 0", limit];
        fail(1, &["inspect", &model, "--max", &lowered], &parts);
        // A global option: before the command too.
        fail(1, &["--max", &lowered, "bench", &model], &parts);
        let raised = format!("{limit}=1G");
        succeed(&["inspect", &model, "--max", &lowered, "--max", &raised]);
    }
    let folder = Folder::new("limits");
    let picture = folder.picture("picture.png", 40, 30);
    let model = demo("int8.tflite");
    for limit in ["image_bytes", "image_pixels"] {
        let arguments = ["classify", &model, &picture, "--max", &format!("{limit}=100")];
        fail(1, &arguments, &["picture.png", "over the limit of 100", limit]);
    }
    let labels = folder.file("labels.txt", "road\n".repeat(16).as_bytes());
    let arguments = ["classify", &model, &picture, "--labels", &labels, "--max", "label_bytes=9"];
    fail(1, &arguments, &["labels.txt", "80 bytes of labels", "label_bytes"]);
    let help = succeed(&["classify", "--help"]);
    for part in ["label_bytes", "4194304", "image_pixels", "100000000"] {
        assert!(help.contains(part), "{help}");
    }
}

#[test]
fn run_writes_the_output_and_every_tensor() {
    let folder = Folder::new("run");
    let model = operator("conv_2d_int8.tflite");
    let picture = folder.picture("picture.png", 40, 30);
    let (input, output, tensors) =
        (folder.path("in.npy"), folder.path("out.npy"), folder.path("t"));
    let report = json(&succeed(&["inspect", &model, "--json"]));
    if report["models"][0]["preprocessing"].is_null() {
        // Not an image: make the input from its shape.
        let shape: Vec<usize> =
            serde_json::from_value(report["models"][0]["inputs"][0]["shape"].clone()).unwrap();
        ndarray_npy::write_npy(&input, &ndarray::ArrayD::<i8>::zeros(shape)).unwrap();
    } else {
        succeed(&["preprocess", &model, &picture, "-o", &input]);
    }
    succeed(&["run", &model, "--input", &input, "--output", &output, "--dump-tensors", &tensors]);
    let value: ndarray::ArrayD<i8> = ndarray_npy::read_npy(&output).unwrap();
    let dumped: Vec<_> = std::fs::read_dir(&tensors).unwrap().collect();
    let counts = report["models"][0]["operators"].as_object().unwrap().values();
    let operators: u64 = counts.map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(dumped.len() as u64, operators);
    let last = dumped.iter().map(|e| e.as_ref().unwrap().path()).max().unwrap();
    assert!(ndarray_npy::read_npy::<_, ndarray::ArrayD<i8>>(&last).is_ok());
    assert!(
        value.iter().any(|&v| v != value[ndarray::IxDyn(&vec![0; value.ndim()])])
            || value.len() == 1
    );

    let other = folder.path("other.npy");
    ndarray_npy::write_npy(&other, &ndarray::arr1(&[1.0f32, 2.0])).unwrap();
    fail(1, &["run", &model, "--input", &other, "--output", &output], &["int8"]);
    let doubles = folder.path("doubles.npy");
    ndarray_npy::write_npy(&doubles, &ndarray::arr1(&[1.0f64])).unwrap();
    fail(
        1,
        &["run", &model, "--input", &doubles, "--output", &output],
        &["doubles.npy", "float32"],
    );
    let noise = folder.file("noise.npy", b"\x93NUMPY\x01\x00");
    fail(1, &["run", &model, "--input", &noise, "--output", &output], &["noise.npy"]);
    fail(
        1,
        &["run", &model, "--input", &input, "--output", "/nonexistent/out.npy"],
        &["cannot write"],
    );
    fail(1, &["run", &model, "--input", &input], &["--output"]);
    fail(
        1,
        &["run", &model, "--input", &input, "--input", &input, "--output", &output],
        &["inputs"],
    );
}

#[test]
fn bench_reports_times_and_memory() {
    let report =
        json(&succeed(&["bench", &operator("conv_2d_int8.tflite"), "--runs", "5", "--json"]));
    let figure = |name: &str| report[name].as_f64().unwrap_or_else(|| panic!("{name}"));
    assert!(figure("min_ms") <= figure("median_ms") && figure("median_ms") <= figure("p95_ms"));
    assert!(
        figure("weights_bytes") > 0.0 && figure("arena_bytes") > 0.0 && figure("model_bytes") > 0.0
    );
    assert_eq!(report["numerics"], "xnnpack");
    assert_eq!(report["runs"], 5);
}

#[test]
fn an_instruction_set_can_be_forced() {
    let model = operator("conv_2d_int8.tflite");
    let bench = |set: &str| {
        Command::new(env!("CARGO_BIN_EXE_mobileight"))
            .args(["bench", &model, "--runs", "1", "--json"])
            .env("MOBILEIGHT_ISA", set)
            .output()
            .unwrap()
    };
    let portable = bench("portable");
    assert_eq!(json(&text(&portable.stdout))["isa"], "portable");
    for set in ["avx2", "avxvnni", "avx512vnni"] {
        let output = bench(set);
        if output.status.success() {
            assert_eq!(json(&text(&output.stdout))["isa"], set);
        } else {
            assert!(text(&output.stderr).contains("this CPU lacks it"), "{}", text(&output.stderr));
        }
    }
    let unknown = bench("sse9");
    assert_eq!(unknown.status.code(), Some(1));
    let message = text(&unknown.stderr);
    for part in ["sse9", "MOBILEIGHT_ISA", "portable", "avx512vnni"] {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

#[test]
fn photos_get_their_names() {
    let (Some(model), Some(labels), Some(photos)) = (
        shared("models/mobilenet_v2_1.0_224_quant.tflite"),
        shared("labels/imagenet_1001.txt"),
        shared("images/photos"),
    ) else {
        return;
    };
    let lines =
        succeed(&["classify", &model, &photos, "--labels", &labels, "--json", "--top", "1"]);
    let answers: Vec<_> = lines.lines().map(json).collect();
    for (photo, label) in [
        ("parrot.jpg", "macaw"),
        ("cat.bmp", "Egyptian cat"),
        ("grace_hopper.bmp", "military uniform"),
        ("dragonfly.bmp", "dragonfly"),
        ("hot_dog.jpg", "hotdog"),
    ] {
        let answer = answers.iter().find(|a| a["file"].as_str().unwrap().ends_with(photo)).unwrap();
        assert_eq!(answer["top"][0]["label"], label, "{photo}");
    }
}

#[test]
fn one_bad_photo_does_not_stop_the_others() {
    let Some(model) = shared("models/mobilenet_v1_0.25_128_quant.tflite") else { return };
    let folder = Folder::new("photos");
    let good = folder.picture("good.png", 200, 150);
    let tiny = folder.picture("tiny.bmp", 1, 1);
    let empty = folder.file("empty.png", b"");
    let bytes = std::fs::read(&good).unwrap();
    let half = folder.file("half.png", &bytes[..bytes.len() / 2]);
    let output =
        run(&["classify", &model, &empty, &good, &half, &tiny, "--json", "--threads", "2"]);
    assert_eq!(output.status.code(), Some(1));
    let answers: Vec<_> = text(&output.stdout).lines().map(json).collect();
    let failed: Vec<bool> = answers.iter().map(|answer| answer["error"].is_string()).collect();
    assert_eq!(failed, [true, false, true, false]);
    assert!(answers[0]["error"].as_str().unwrap().contains("empty"));
    assert_eq!(answers[1]["top"].as_array().unwrap().len(), 5);
    assert!(text(&output.stderr).contains("2 of 4"));
}

#[test]
fn labels_classes_and_models_that_do_not_fit_are_explained() {
    let (Some(model), Some(labels)) =
        (shared("models/mobilenet_v2_1.0_224_quant.tflite"), shared("labels/imagenet_1000.txt"))
    else {
        return;
    };
    let folder = Folder::new("labels");
    let picture = folder.picture("picture.png", 64, 64);
    fail(1, &["classify", &model, &picture, "--labels", &labels], &["1000", "1001", "background"]);
    fail(1, &["classify", &model, &picture, "--allow", "unicorn"], &["unicorn"]);
    fail(1, &["classify", &model, &picture, "--labels", &folder.path("none.txt")], &["none.txt"]);
    let allowed = succeed(&["classify", &model, &picture, "--allow", "89", "--json"]);
    assert_eq!(json(&allowed)["top"].as_array().unwrap().len(), 1);
    let float = shared("models/vww_96_float.tflite").unwrap();
    fail(1, &["bench", &float], &["float model"]);
    let detector = shared("models/coco_ssd_mobilenet_v1_1.0_quant_2018_06_29.tflite").unwrap();
    fail(1, &["inspect", &detector], &["TFLite_Detection_PostProcess"]);
    let invalid = shared("models/person_detect.tflite").unwrap();
    fail(1, &["inspect", &invalid], &["Conv2d_0", "quantized"]);
    let segmenter = shared("models/deeplabv3_mnv2_pascal_quant.tflite").unwrap();
    fail(1, &["classify", &segmenter, &picture], &["ArgMax", "classes"]);
}

#[test]
fn float_models_and_quantized_ones_in_fp32_give_the_same_answer() {
    let (Some(int8), Some(float)) = (
        shared("models/keras_mobilenet_v1_0.75_224_int8.tflite"),
        shared("models/keras_mobilenet_v1_0.75_224_float.tflite"),
    ) else {
        return;
    };
    let parrot = shared("images/photos/parrot.jpg").unwrap();
    let best = |arguments: &[&str]| {
        let found = json(&succeed(&[arguments, &[parrot.as_str(), "--json"]].concat()));
        let best = &found["top"][0];
        (best["index"].as_u64().unwrap(), best["score"].as_f64().unwrap())
    };
    let answers = [
        best(&["classify", &int8]),
        best(&["classify", &int8, "--fp32"]),
        best(&["classify", &float]),
    ];
    let [quantized, restored, original] = answers;
    assert!(quantized.0 == original.0 && restored.0 == original.0, "{answers:?}");
    // Not one and the same computation, but near.
    assert!(quantized.1 != restored.1 && restored.1 != original.1, "{answers:?}");
    assert!(answers.iter().all(|answer| (answer.1 - original.1).abs() < 0.1), "{answers:?}");
}

#[test]
fn run_gives_real_values_in_fp32() {
    let folder = Folder::new("fp32");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/models");
    let model = path.join("small_float32.tflite").to_str().unwrap().to_owned();
    let input = folder.path("input.npy");
    let values = ndarray::Array4::from_shape_fn([1, 19, 21, 3], |at| (at.1 + at.2) as f32 / 40.0);
    ndarray_npy::write_npy(&input, &values).unwrap();
    let [output, dump] = [folder.path("output.npy"), folder.path("dump")];
    succeed(&["run", &model, "--input", &input, "--output", &output, "--dump-tensors", &dump]);
    let scores: ndarray::ArrayD<f32> = ndarray_npy::read_npy(&output).unwrap();
    assert!((scores.sum() - 1.0).abs() < 1e-5, "{scores}");
    assert!(std::fs::read_dir(&dump).unwrap().count() > 20);
    let int8 = operator("conv_2d_int8.tflite");
    fail(
        1,
        &["run", &int8, "--fp32", "--input", &input, "--output", &output],
        &["float32", "shape"],
    );
}
