//! `mobileight compile`: a `.tflite` file as a compiled model.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use mobileight::Limits;

use crate::{Outcome, text};

#[derive(Args)]
pub struct Arguments {
    /// The .tflite file
    model: PathBuf,

    /// Where to write the compiled model
    #[arg(short, long, value_name = "FILE.mb8")]
    output: PathBuf,

    /// Text file with one label a line, in order of the class index, to keep in the model; those in its metadata without one
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,

    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub fn main(arguments: &Arguments, limits: &Limits, out: &mut impl Write) -> Result<Outcome> {
    let Arguments { model, output, labels, json } = arguments;
    let graph = mobileight::tflite::compile_within(model, labels.as_deref(), output, limits)?;
    if graph.is_float() {
        eprintln!("note: this is a float model; builds without tract run quantized ones only");
    }
    let labels = graph.metadata().labels.as_ref().map(Vec::len);
    let [before, bytes] = [fs::metadata(model)?.len(), fs::metadata(output)?.len()];
    if *json {
        let description = serde_json::json!({
            "file": output.to_string_lossy(),
            "file_bytes": bytes,
            "tflite_bytes": before,
            "labels": labels,
        });
        writeln!(out, "{description}")?;
        return Ok(Outcome::Done);
    }
    writeln!(
        out,
        "{}: {} ({} as .tflite), {}",
        output.display(),
        text::bytes(bytes),
        text::bytes(before),
        labels.map_or("no labels".into(), |count| format!("{count} labels"))
    )?;
    Ok(Outcome::Done)
}
