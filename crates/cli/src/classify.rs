//! `mobileight classify`: what is in photos.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use mobileight::{Classifier, Labels, Limits, Prediction, image_files};
use rayon::prelude::*;
use serde::Serialize;

use crate::Outcome;
use crate::arguments::{self, Computation, RecipeArguments};

#[derive(Args)]
pub struct Arguments {
    /// The model: a .tflite or .mb8 file
    model: PathBuf,

    /// Photos, or folders of photos; `-` for one on standard input
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,

    /// Text file with one label a line, in order of the class index
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,

    /// How many classes to give for each photo
    #[arg(long, default_value_t = 5, value_name = "K")]
    top: usize,

    /// Leave out classes that score below
    #[arg(long, value_name = "SCORE")]
    threshold: Option<f32>,

    /// Give only these classes (label or index; repeat for more)
    #[arg(long, value_name = "CLASS")]
    allow: Vec<String>,

    /// Never give these classes (label or index; repeat for more)
    #[arg(long, value_name = "CLASS")]
    deny: Vec<String>,

    /// Photos classified at the same time; 0 for one on each core
    #[arg(long, default_value_t = 0, value_name = "N")]
    threads: usize,

    /// One JSON object a line for each photo
    #[arg(long)]
    json: bool,

    /// Computes in FP32, with a quantized model's own weights dequantized. Float models always run so
    #[cfg(feature = "tract")]
    #[arg(long)]
    fp32: bool,

    #[command(flatten)]
    recipe: RecipeArguments,

    #[command(flatten)]
    computation: Computation,
}

#[derive(Serialize)]
struct Answer<'a> {
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    top: Option<Vec<Class<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Serialize)]
struct Class<'a> {
    index: usize,
    label: &'a str,
    score: f32,
}

pub fn main(arguments: &Arguments, limits: &Limits, out: &mut impl Write) -> Result<Outcome> {
    let classifier = build(arguments, limits)?;
    let images = expand(&arguments.images)?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(arguments.threads).build()?;
    // Answers come in the order given, and soon; but where one lot ends, threads wait for the last of them.
    let mut failures = 0;
    for some in images.chunks(64 * pool.current_num_threads()) {
        let answer = |path| Ok(classifier.classify(&arguments::photo(path, limits)?)?);
        let answers: Vec<Result<Vec<Prediction>>> =
            pool.install(|| some.par_iter().map(|path| answer(path)).collect());
        for (path, answer) in some.iter().zip(answers) {
            failures += usize::from(answer.is_err());
            match arguments.json {
                true => print_json(out, path, &answer)?,
                false => print(out, path, answer)?,
            }
        }
        out.flush()?;
    }
    if failures == 0 {
        return Ok(Outcome::Done);
    }
    eprintln!("error: {failures} of {} images could not be classified", images.len());
    Ok(Outcome::Partial)
}

fn build(arguments: &Arguments, limits: &Limits) -> Result<Classifier> {
    let model = arguments::open(&arguments.model, limits)?;
    let prepare = || -> Result<Classifier> {
        let mut classifier = Classifier::new(model)?
            .plan_options(arguments.computation.options(limits))?
            .recipe(arguments.recipe.recipe())?
            .top_k(arguments.top);
        #[cfg(feature = "tract")]
        if arguments.fp32 {
            classifier = classifier.fp32()?;
        }
        if let Some(path) = &arguments.labels {
            classifier = classifier.labels(Labels::from_file_within(path, limits)?)?;
        }
        if let Some(threshold) = arguments.threshold {
            classifier = classifier.score_threshold(threshold);
        }
        if !arguments.allow.is_empty() {
            classifier = classifier.allow(&arguments.allow)?;
        }
        if !arguments.deny.is_empty() {
            classifier = classifier.deny(&arguments.deny)?;
        }
        Ok(classifier)
    };
    prepare().with_context(|| format!("model {}", arguments.model.display()))
}

/// The files named, and the images in the folders named, in order of their names.
fn expand(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        match path.is_dir() {
            true => files.extend(image_files(path)?),
            false => files.push(path.clone()),
        }
    }
    Ok(files)
}

fn print(out: &mut impl Write, path: &Path, answer: Result<Vec<Prediction>>) -> Result<()> {
    match answer {
        Ok(predictions) => {
            writeln!(out, "{}", path.display())?;
            if predictions.is_empty() {
                writeln!(out, "          (no class within the threshold and lists given)")?;
            }
            for Prediction { index, label, score } in predictions {
                writeln!(out, "  {score:8.4}  {label} ({index})")?;
            }
        }
        Err(error) => {
            out.flush()?;
            eprintln!("error: {error:#}");
        }
    }
    Ok(())
}

fn print_json<'a>(
    out: &mut impl Write,
    path: &Path,
    answer: &'a Result<Vec<Prediction>>,
) -> Result<()> {
    let file = path.to_string_lossy().into_owned();
    let answer = match answer {
        Ok(predictions) => {
            let class =
                |p: &'a Prediction| Class { index: p.index, label: &p.label, score: p.score };
            let top = predictions.iter().map(class).collect();
            Answer { file, top: Some(top), error: None }
        }
        Err(error) => Answer { file, top: None, error: Some(format!("{error:#}")) },
    };
    serde_json::to_writer(&mut *out, &answer)?;
    writeln!(out)?;
    Ok(())
}
