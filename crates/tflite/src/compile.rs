//! From a `.tflite` file to a compiled model.

use std::path::Path;

use mobileight_runtime::{Graph, Layout, Limit, Limits, Metadata, compiled};

use crate::{Error, read_file_within};

/// Compiles a `.tflite` file to an `.mb8` file, which programs without tract read too: see [`compiled`].
///
/// Labels are those of the text file, one a line in order of the class index; the model's own where none is given. The result appears
/// whole or not at all. Gives the graph that is in it.
///
/// In a `build.rs`, for `include_bytes!(concat!(env!("OUT_DIR"), "/model.mb8"))`:
///
/// ```no_run
/// println!("cargo::rerun-if-changed=model.tflite");
/// let output = std::path::Path::new(&std::env::var("OUT_DIR").unwrap()).join("model.mb8");
/// mobileight_tflite::compile("model.tflite", None, output).unwrap();
/// ```
///
/// # Errors
///
/// Those of [`compile_within`].
pub fn compile(
    model: impl AsRef<Path>,
    labels: Option<&Path>,
    output: impl AsRef<Path>,
) -> Result<Graph, Error> {
    compile_within(model, labels, output, &Limits::default())
}

/// The same within other limits than the default ones.
///
/// # Errors
///
/// As [`read_file_within`]; [`Error::Labels`] when there are not as many as classes, and [`Error::Write`].
pub fn compile_within(
    model: impl AsRef<Path>,
    labels: Option<&Path>,
    output: impl AsRef<Path>,
    limits: &Limits,
) -> Result<Graph, Error> {
    let mut graph = read_file_within(model, limits)?;
    if let Some(path) = labels {
        let labels = read_labels(path, &graph, limits)?;
        let metadata = Metadata { labels: Some(labels), ..graph.metadata().clone() };
        graph = graph.with_metadata(metadata)?;
    }
    let output = output.as_ref();
    mobileight_files::write(output, &compiled::write(&graph))
        .map_err(|error| Error::Write { path: output.into(), reason: error.to_string() })?;
    Ok(graph)
}

fn read_labels(path: &Path, graph: &Graph, limits: &Limits) -> Result<Vec<String>, Error> {
    let bytes = mobileight_files::read(path, Limit::LabelBytes, limits, "text");
    let bytes = bytes.map_err(|error| match error {
        mobileight_files::Error::TooLarge(exceeded) => Error::from(exceeded).in_file(path),
        error => Error::Labels { path: path.into(), reason: error.to_string() },
    })?;
    parse_labels(bytes, graph).map_err(|reason| Error::Labels { path: path.into(), reason })
}

fn parse_labels(bytes: Vec<u8>, graph: &Graph) -> Result<Vec<String>, String> {
    let text = String::from_utf8(bytes).map_err(|error| format!("is not text: {error}"))?;
    let labels = Metadata::parse_labels(&text);
    let layout = Layout::new(graph, &[], false).map_err(|error| error.to_string())?;
    let shape = &layout.shapes()[graph.outputs()[0]];
    let classes = shape.last().copied().unwrap_or(1);
    if labels.len() != classes {
        let background = match labels.len().abs_diff(classes) {
            1 => "; only one of them may count \"background\" as class 0",
            _ => "",
        };
        return Err(format!(
            "has {} labels, but the model's output is {shape:?}: {classes} classes{background}",
            labels.len()
        ));
    }
    Ok(labels)
}
