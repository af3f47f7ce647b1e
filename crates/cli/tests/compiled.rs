//! Compiled models with the real binary, in both of its builds: with tract and without.

mod common;

use std::fs;
use std::path::Path;

use common::{Folder, demo, fail, json, succeed};

/// A model of the demo, compiled with its labels.
fn compiled(folder: &Folder, name: &str) -> String {
    let path = folder.path(&format!("{name}.mb8"));
    let [model, labels] = [demo(&format!("{name}.tflite")), demo("labels.txt")];
    mobileight_tflite::compile(model, Some(Path::new(&labels)), &path).unwrap();
    path
}

#[test]
fn images_are_named_as_their_labels_say() {
    let folder = Folder::new("compiled-classify");
    let model = compiled(&folder, "int8");
    let labels = fs::read_to_string(demo("labels.txt")).unwrap();
    let names: Vec<&str> = labels.lines().collect();
    let lines =
        succeed(&["classify", &model, &demo("images"), "--crop", "full", "--top", "1", "--json"]);
    let answers: Vec<_> = lines.lines().map(json).collect();
    let truth = fs::read_to_string(demo("labels.csv")).unwrap();
    let right = answers.iter().filter(|answer| {
        let top = &answer["top"][0];
        assert_eq!(top["label"], names[top["index"].as_u64().unwrap() as usize]);
        let file = answer["file"].as_str().unwrap().rsplit('/').next().unwrap();
        truth.lines().any(|line| line.starts_with(&format!("{file},{}", top["index"])))
    });
    assert_eq!(answers.len(), 600);
    // 93.5 % by LiteRT, see models/README.md; decoders of JPEG differ by a few.
    assert!((540..590).contains(&right.count()));
}

#[test]
fn every_command_for_small_devices_takes_it() {
    let folder = Folder::new("compiled-commands");
    let model = compiled(&folder, "int8");
    let [input, output, tensors] = ["in.npy", "out.npy", "t"].map(|name| folder.path(name));
    succeed(&["preprocess", &model, &demo("images/0000.jpg"), "-o", &input]);
    succeed(&["run", &model, "--input", &input, "--output", &output, "--dump-tensors", &tensors]);
    assert!(fs::read_dir(&tensors).unwrap().count() > 40);
    let report = json(&succeed(&["bench", &model, "--runs", "3", "--json"]));
    assert_eq!(report["model_bytes"], fs::metadata(&model).unwrap().len());
    let report = json(&succeed(&["inspect", &model, "--json"]));
    assert_eq!(report["models"][0]["labels"], 16);
    // What a file is, its content says.
    let renamed = folder.path("renamed.tflite");
    fs::rename(&model, &renamed).unwrap();
    assert!(succeed(&["inspect", &renamed]).contains("CONV_2D"));
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let folder = Folder::new("compiled-wrong");
    let bytes = fs::read(compiled(&folder, "int8")).unwrap();
    let newer = [b"MOB8\x02\0\0\0", &bytes[8..]].concat();
    let mut changed = bytes.clone();
    changed[bytes.len() / 2] ^= 1;
    for (name, bytes, words) in [
        ("newer.mb8", &newer[..], "use a newer MobilEight"),
        ("changed.mb8", &changed, "checksum"),
        ("half.mb8", &bytes[..bytes.len() / 2], "copy the file again"),
        ("empty.mb8", b"", "is empty"),
    ] {
        let file = folder.file(name, bytes);
        fail(1, &["inspect", &file], &[name, words]);
    }
}

#[cfg(feature = "tract")]
mod with_tract {
    use super::*;
    use common::shared;

    /// The same command on a `.tflite` file and on the `.mb8` file that `compile` makes of it.
    fn both(folder: &Folder, model: &str, arguments: &[&str]) -> [String; 2] {
        let compiled = folder.path("both.mb8");
        succeed(&["compile", model, "-o", &compiled]);
        [model, &compiled].map(|model| {
            let (command, rest) = arguments.split_first().unwrap();
            succeed(&[&[command, model], rest].concat())
        })
    }

    #[test]
    fn results_are_those_of_the_tflite_file() {
        let folder = Folder::new("compiled-same");
        let (model, image) = (demo("int8.tflite"), demo("images/0001.jpg"));
        let compiled = folder.path("same.mb8");
        succeed(&["compile", &model, "-o", &compiled]);
        let results = [&model, &compiled].map(|model| {
            let [input, output, tensors] = ["in.npy", "out.npy", "t"].map(|name| folder.path(name));
            succeed(&["preprocess", model, &image, "-o", &input]);
            let run = ["run", model, "--input", &input, "--output", &output];
            succeed(&[&run[..], &["--dump-tensors", &tensors]].concat());
            let mut files: Vec<_> =
                fs::read_dir(&tensors).unwrap().map(|entry| entry.unwrap().path()).collect();
            files.sort();
            files.extend([input.into(), output.into()]);
            let contents: Vec<_> = files.iter().map(|file| fs::read(file).unwrap()).collect();
            fs::remove_dir_all(&tensors).unwrap();
            contents
        });
        assert!(results[0].len() > 40 && results[0] == results[1]);

        let [first, second] = both(&folder, &model, &["inspect", "--json"]).map(|text| {
            let mut report = json(&text)["models"][0].clone();
            report["file"] = "".into();
            report["file_bytes"] = 0.into();
            report
        });
        assert_eq!(first, second);
        let [first, second] = both(&folder, &model, &["classify", &image, "--fp32", "--json"]);
        assert_eq!(first, second);
        let [first, second] = both(&folder, &demo("float.tflite"), &["classify", &image, "--json"]);
        assert_eq!(first, second);
    }

    #[test]
    fn published_models_give_the_same_answers() {
        let Some(photos) = shared("images/photos") else { return };
        let folder = Folder::new("compiled-published");
        for name in [
            "mobilenet_v2_1.0_224_quant",
            "mobilenet_v3_small_1.0_224.uint8",
            "mobilenet_v1_0.25_224_float_metadata",
        ] {
            let Some(model) = shared(&format!("models/{name}.tflite")) else { return };
            let [first, second] = both(&folder, &model, &["classify", &photos, "--json"]);
            assert!(first.lines().count() > 5);
            assert_eq!(first, second, "{name}");
        }
    }

    #[test]
    fn pairs_are_compared() {
        let folder = Folder::new("compiled-compare");
        let kinds = ["tflite", "mb8"].map(|kind| {
            let [int8, float] = match kind {
                "mb8" => ["int8", "float"].map(|name| compiled(&folder, name)),
                _ => ["int8.tflite", "float.tflite"].map(demo),
            };
            let (images, out) = (demo("images"), folder.path(kind));
            let report = succeed(&[
                "compare",
                &int8,
                "--float",
                &float,
                "--images",
                &images,
                "--limit",
                "30",
                "--crop",
                "full",
                "--layer-images",
                "2",
                "--preprocessing-images",
                "0",
                "--json",
                "--out",
                &out,
            ]);
            let report = json(&report);
            assert_eq!(report["images"]["evaluated"], 30);
            (report["overall"].clone(), report["layers"].clone())
        });
        assert_eq!(kinds[0], kinds[1]);
    }

    #[test]
    fn compile_says_what_it_did_or_why_not() {
        let folder = Folder::new("compile");
        let (model, labels) = (demo("int8.tflite"), demo("labels.txt"));
        let output = folder.path("out.mb8");
        let compile = ["compile", &model, "-o", &output];
        assert!(succeed(&compile).contains("no labels"));
        let named = [&compile[..], &["--labels", &labels, "--json"]].concat();
        let report = json(&succeed(&named));
        assert_eq!(report["labels"], 16);
        assert_eq!(report["file_bytes"], fs::metadata(&output).unwrap().len());
        assert_eq!(report["tflite_bytes"], fs::metadata(&model).unwrap().len());

        fail(2, &["compile", &model], &["--output"]);
        fail(1, &["compile", &output, "-o", &folder.path("x.mb8")], &["compiled model already"]);
        let few = folder.file("few.txt", b"one\ntwo\n");
        let wrong = [&compile[..], &["--labels", &few]].concat();
        fail(1, &wrong, &["few.txt", "2 labels", "16 classes"]);
        fail(1, &["compile", &model, "-o", &folder.path("no/x.mb8")], &["cannot write", "x.mb8"]);
        let mut names: Vec<_> =
            fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["few.txt", "out.mb8"]);
    }
}

#[cfg(not(feature = "tract"))]
mod without_tract {
    use super::*;

    #[test]
    fn tflite_files_are_refused_with_what_to_do() {
        let (model, image) = (demo("int8.tflite"), demo("images/0000.jpg"));
        fail(1, &["classify", &model, &image], &["int8.tflite", "mobileight compile", ".mb8"]);
        let folder = Folder::new("small-float");
        fail(1, &["classify", &compiled(&folder, "float"), &image], &["float model"]);
        let words = folder.file("words.mb8", b"this is not a model at all");
        fail(1, &["inspect", &words], &["words.mb8", "MOB8", "this is"]);
    }

    #[test]
    fn help_tells_what_there_is() {
        let help = succeed(&["--help"]);
        assert!(help.contains("small build") && help.contains("classify"), "{help}");
        for absent in ["compare", "demo", "pull", "compile"] {
            assert!(!help.contains(&format!("  {absent} ")), "{help}");
            fail(2, &[absent], &["unrecognized subcommand"]);
        }
        assert!(!succeed(&["classify", "--help"]).contains("fp32"));
    }
}
