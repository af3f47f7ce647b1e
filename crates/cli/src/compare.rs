//! `mobileight compare`: what quantization cost, as a report.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use mobileight::compare::formats::{self, ReportFolder};
use mobileight::compare::report::{PairedDifference, Report, Truth, Verdict};
use mobileight::comparison::{Comparison, ComparisonOptions, ImageSet, ModelFile};
use mobileight::{Labels, Limits, compare};

use crate::arguments::{Computation, RecipeArguments};
use crate::progress::{Interrupt, Progress};
use crate::{Outcome, text};

#[derive(Args)]
pub struct Arguments {
    /// The quantized .tflite or .mb8 file
    pub int8: PathBuf,

    /// The float file it was converted from; its own weights in FP32 are the reference without one
    #[arg(long, value_name = "FLOAT")]
    pub float: Option<PathBuf>,

    /// Folder of images
    #[arg(long, value_name = "DIR")]
    pub images: PathBuf,

    /// CSV file with a column `file` and a column `label_index`, `index`, or `index1000` and `index1001`; FP32's answer is the
    /// truth without one
    #[arg(long, value_name = "FILE.csv")]
    pub labels: Option<PathBuf>,

    /// Names of the classes, one a line; those in the model's metadata, else indices, without one
    #[arg(long, value_name = "FILE.txt")]
    pub class_names: Option<PathBuf>,

    /// Folder for report.html, report.json, summary.md, per_image.csv and per_layer.csv
    #[arg(long, default_value = "mobileight-report", value_name = "DIR")]
    pub out: PathBuf,

    #[command(flatten)]
    pub parts: Parts,

    /// One JSON object: the report
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    pub gate: GateArguments,

    #[command(flatten)]
    pub recipe: RecipeArguments,

    #[command(flatten)]
    pub computation: Computation,
}

/// What is measured, and on how many images.
#[derive(Args)]
pub struct Parts {
    /// Uses this many images only, evenly spread over the folder
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,

    /// Images for the figures layer by layer
    #[arg(long, default_value_t = 32, value_name = "N")]
    pub layer_images: usize,

    /// Ranks the layers by what each does to the answer, on this many images; an interrupted pass goes on where it was
    #[arg(long, default_value_t = 0, default_missing_value = "16", num_args = 0..=1, value_name = "N")]
    pub sensitivity: usize,

    /// Images for comparing the usual preprocessings
    #[arg(long, default_value_t = 64, value_name = "N")]
    pub preprocessing_images: usize,

    /// Seed of the resampling behind intervals
    #[arg(long, default_value_t = 1, value_name = "SEED")]
    pub seed: u64,

    /// Threads; all cores when 0
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub threads: usize,
}

/// A condition on the loss.
#[derive(Args)]
pub struct GateArguments {
    /// Exits with 3 when more points of top-1 than this are surely lost
    #[arg(long, value_name = "POINTS", value_parser = points)]
    pub max_drop: Option<f64>,

    /// Exits with 3 also when the images are too few to tell
    #[arg(long, requires = "max_drop")]
    pub strict: bool,
}

fn points(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(points) if (0.0..=100.0).contains(&points) => Ok(points),
        _ => Err(format!("`{text}` is no number of points from 0 to 100")),
    }
}

pub fn main(arguments: &Arguments, limits: &Limits, out: &mut impl Write) -> Result<Outcome> {
    let interrupt = Interrupt::new()?;
    let (report, html) = run(arguments, limits, &interrupt)?;
    if arguments.json {
        writeln!(out, "{}", formats::json(&report)?)?;
    } else {
        write!(out, "{}", summary(&report))?;
        writeln!(out, "\nreport: {}", html.display())?;
    }
    Ok(outcome(&report, arguments.gate.strict))
}

/// Compares and writes the report's files; gives the report and the path of its page.
pub fn run(
    arguments: &Arguments,
    limits: &Limits,
    interrupt: &Interrupt,
) -> Result<(Report, PathBuf)> {
    let open = |path| ModelFile::open_within(path, *limits);
    let int8 = open(&arguments.int8).context("cannot open model")?;
    let float = arguments.float.as_ref().map(open).transpose();
    let float = float.context("cannot open float model")?;
    let mut options = ComparisonOptions::default();
    options.plan = arguments.computation.options(limits);
    options.recipe = arguments.recipe.recipe();
    options.layer_images = arguments.parts.layer_images;
    options.sensitivity_images = arguments.parts.sensitivity;
    options.sensitivity_state = Some(arguments.out.join("sensitivity.partial.json"));
    options.preprocessing_images = arguments.parts.preprocessing_images;
    options.seed = arguments.parts.seed;
    options.max_drop = arguments.gate.max_drop;
    let names = arguments.class_names.as_ref();
    options.class_names = names.map(|path| Labels::from_file_within(path, limits)).transpose()?;
    let comparison = Comparison::new(int8, float, options)?;
    let mut set = ImageSet::open(&arguments.images)?;
    if let Some(path) = &arguments.labels {
        set = set.with_labels_within(path, comparison.classes(), limits)?;
    }
    for remark in &set.remarks {
        eprintln!("note: {remark}");
    }
    if let Some(limit) = arguments.parts.limit {
        set = set.limit(limit as usize);
    }
    let mut folder = ReportFolder::create(&arguments.out)?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(arguments.parts.threads).build()?;
    let progress = Progress::new(interrupt);
    let report = pool.install(|| comparison.run(&set, &progress, &mut |row| folder.image(row)));
    progress.finish();
    let report = report?;
    remark(&report, &set);
    Ok((report.clone(), folder.finish(&report)?))
}

/// What people should know besides the figures.
fn remark(report: &Report, set: &ImageSet) {
    let images = &report.images;
    if let Some(first) = images.unreadable.first() {
        let count = images.unreadable_count;
        eprintln!(
            "note: {count} images could not be read and were left out: {}: {}",
            first.file, first.reason
        );
    }
    if let Some(first) = images.unlabelled.first() {
        let count = images.unlabelled_count;
        eprintln!("note: {count} images have no label and count for agreement only: {first}");
    }
    if images.interrupted {
        let sensitivity = report.sensitivity.as_ref().map_or(0, |part| part.images);
        eprintln!(
            "interrupted: the report is over {} of {} images, its layers over {}, its sensitivity over {sensitivity}",
            images.evaluated,
            set.files.len(),
            report.layers.images,
        );
        if sensitivity > 0 {
            eprintln!("the same command goes on with the sensitivity");
        }
    }
}

/// What the exit code says.
pub fn outcome(report: &Report, strict: bool) -> Outcome {
    match report.gate.as_ref().map(|gate| gate.verdict) {
        Some(Verdict::Failed) => Outcome::GateFailed,
        Some(Verdict::Inconclusive) if strict => Outcome::GateFailed,
        _ if report.images.interrupted => Outcome::Partial,
        _ => Outcome::Done,
    }
}

/// The report in a few lines.
pub fn summary(report: &Report) -> String {
    let overall = &report.overall;
    let name = |file: &str| {
        Path::new(file).file_stem().map_or(file.into(), |stem| stem.to_string_lossy().into_owned())
    };
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let reference = match report.reference.kind.as_str() {
        "dequantized" => "its weights in FP32".into(),
        _ => name(&report.reference.file),
    };
    let row = |what: &str, difference: &PairedDifference| {
        let [low, high] = difference.interval;
        vec![
            what.to_owned(),
            percent(difference.first),
            percent(difference.second),
            // Adding zero leaves no "-0.0".
            format!("{:+.1} ({:+.1} to {:+.1})", -difference.drop + 0.0, -high + 0.0, -low + 0.0),
            compare::probability(difference.p_value),
        ]
    };
    let head = ["", &reference, &name(&report.int8.file), "points (95 %)", "p"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.push(row("top-1", &overall.top1));
    rows.push(row("top-5", &overall.top5));
    if let Some(split) = &report.split {
        rows.push(row("  weights' part", &split.weights.top1));
        rows.push(row("  activations' part", &split.activations.top1));
    }
    let mut text = text::table(&rows);
    if overall.truth == Truth::FirstNetwork {
        text.push_str("(no labels: FP32's answer counts as the truth)\n");
    }
    text.push_str(&format!(
        "\n{}\nsame first class on {} of {} images; mean KL divergence {:.4} nats\n",
        compare::describe(&overall.top1),
        overall.images - overall.flips,
        overall.images,
        overall.kl_mean
    ));
    if let Some(gate) = &report.gate {
        text.push_str(&format!("gate: {}\n", gate.message));
    }
    for advice in &report.advice {
        text.push_str(&format!("\n* {}\n  {}\n", advice.title, advice.because));
    }
    text
}
