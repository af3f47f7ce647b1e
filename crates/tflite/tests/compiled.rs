//! From `.tflite` to `.mb8` and back: equal graphs, labels of a file, and no half-written file.

mod common;

use std::path::{Path, PathBuf};

use mobileight_runtime::compiled;
use mobileight_tflite::{Error, compile, read, read_file};

/// The model that ships: 16 classes or so, with a file of labels.
fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/demo")
}

#[test]
fn every_model_is_the_same_when_compiled() {
    let Some(folder) = common::models() else { return };
    let mut models = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let Ok(graph) = read_file(&path) else { continue };
        let bytes = compiled::write(&graph);
        let file = std::fs::metadata(&path).unwrap().len() as usize;
        let again = compiled::read(bytes.clone()).unwrap();
        assert_eq!(again, graph, "{}", path.display());
        assert!(compiled::write(&again) == bytes, "{}", path.display());
        println!("{}: {} of {file} bytes", path.display(), bytes.len());
        assert!(bytes.len() < file + 20_000, "{}", path.display());
        models += 1;
    }
    assert!(models > 20, "{models}");
}

#[test]
fn labels_are_those_given_when_they_fit() {
    let folder = std::env::temp_dir().join(format!("mobileight-compile-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let [model, labels] = ["int8.tflite", "labels.txt"].map(|name| shipped().join(name));
    let output = folder.join("int8.mb8");
    compile(&model, Some(&labels), &output).unwrap();
    let bytes = std::fs::read(&output).unwrap();
    let named = compiled::read(bytes.clone()).unwrap();
    let text = std::fs::read_to_string(&labels).unwrap();
    let expected: Vec<String> = text.lines().map(Into::into).collect();
    assert_eq!(named.metadata().labels, Some(expected));
    let plain = read_file(&model).unwrap();
    assert_eq!(named.tensors(), plain.tensors());
    assert_eq!(named.operators(), plain.operators());

    let few = folder.join("few.txt");
    let lines: Vec<&str> = text.lines().skip(1).collect();
    std::fs::write(&few, lines.join("\n")).unwrap();
    let error = compile(&model, Some(&few), &output).unwrap_err();
    assert!(matches!(error, Error::Labels { .. }), "{error}");
    assert!(error.to_string().contains("background"), "{error}");
    let error = compile(&model, Some(&folder.join("none.txt")), &output).unwrap_err();
    assert!(error.to_string().contains("none.txt"), "{error}");
    assert_eq!(std::fs::read(&output).unwrap(), bytes, "what was there stays");

    let error = compile(&model, None, folder.join("none/x.mb8")).unwrap_err();
    assert!(matches!(error, Error::Write { .. }), "{error}");
    let error = compile(&output, None, folder.join("again.mb8")).unwrap_err();
    assert!(error.to_string().contains("compiled model already"), "{error}");
    let mut names: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["few.txt", "int8.mb8"]);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn files_in_the_program_are_read_in_place() {
    let bytes: &'static [u8] = std::fs::read(shipped().join("int8.tflite")).unwrap().leak();
    let graph = read(bytes).unwrap();
    let constants = graph.tensors().iter().filter_map(|tensor| tensor.data.as_ref());
    assert!(constants.map(|data| data.as_ptr()).all(|at| bytes.as_ptr_range().contains(&at)));
}
