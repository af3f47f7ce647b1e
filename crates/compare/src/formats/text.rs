//! JSON, and Markdown for pull requests.

use std::fmt::Write;

use crate::report::{Decibels, PairedDifference, Report, Truth};
use crate::{Error, describe, probability};

/// The report as `report.json`.
///
/// # Errors
///
/// [`Error::Format`] when a figure has no place in JSON.
pub fn json(report: &Report) -> Result<String, Error> {
    serde_json::to_string_pretty(report)
        .map_err(|error| Error::Format { format: "report.json", reason: error.to_string() })
}

/// A ratio in dB as people read it.
pub(super) fn decibels(value: Decibels) -> String {
    match value.0 {
        nan if nan.is_nan() => "–".into(),
        infinite if infinite.is_infinite() => "∞".into(),
        finite => format!("{finite:.1}"),
    }
}

/// Text that Markdown shows as it is, also in a table.
fn plain(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' | '|' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' => {
                escaped.push('\\');
                escaped.push(character);
            }
            '\n' | '\r' => escaped.push(' '),
            _ => escaped.push(character),
        }
    }
    escaped
}

fn row(what: &str, difference: &PairedDifference) -> String {
    let [low, high] = difference.interval;
    format!(
        "| {what} | {:.1} % | {:.1} % | {:+.1} | {:+.1} to {:+.1} | {} |\n",
        100.0 * difference.first,
        100.0 * difference.second,
        -difference.drop + 0.0,
        -high + 0.0,
        -low + 0.0,
        probability(difference.p_value),
    )
}

/// The report as `summary.md`.
pub fn markdown(report: &Report) -> String {
    let overall = &report.overall;
    let mut text = format!(
        "## What INT8 cost: {}\n\n**{}**\n\n",
        plain(&report.int8.file),
        describe(&overall.top1)
    );
    if let Some(gate) = &report.gate {
        let _ = writeln!(text, "Gate: {}\n", plain(&gate.message));
    }
    text += "| | reference | INT8 | points | 95 % | McNemar's p |\n|---|---|---|---|---|---|\n";
    text += &row("top-1", &overall.top1);
    text += &row("top-5", &overall.top5);
    if let Some(split) = &report.split {
        text += &row("top-1: the weights' part", &split.weights.top1);
        text += &row("top-1: the activations' part", &split.activations.top1);
    }
    if overall.truth == Truth::FirstNetwork {
        text += "\nWithout labels the reference's own first class counts as right.\n";
    }
    let _ = writeln!(
        text,
        "\nSame first class on {} of {} images; mean KL divergence {:.4} nats, worst {:.3}.",
        overall.images - overall.flips,
        overall.images,
        overall.kl_mean,
        overall.kl_worst
    );
    if report.images.interrupted {
        let _ = writeln!(
            text,
            "\n**Interrupted**: {} of {} images.",
            report.images.evaluated, report.images.found
        );
    }
    if !report.advice.is_empty() {
        text += "\n### Advice\n\n";
        for advice in &report.advice {
            let _ = writeln!(text, "- **{}.** {}", plain(&advice.title), plain(&advice.because));
        }
    }
    let mut layers: Vec<_> = report
        .layers
        .layers
        .iter()
        .filter_map(|layer| Some((layer.accumulated.as_ref()?.sqnr, layer)))
        .filter(|(sqnr, _)| !sqnr.0.is_nan())
        .collect();
    layers.sort_by(|a, b| a.0.0.total_cmp(&b.0.0));
    if !layers.is_empty() {
        text += "\n### Layers with the lowest accumulated SQNR\n\n| layer | operator | dB | dB alone |\n|---|---|---|---|\n";
        for (sqnr, layer) in layers.iter().take(5) {
            let alone = layer.local.as_ref().map_or("–".into(), |error| decibels(error.sqnr));
            let _ = writeln!(
                text,
                "| {} | {} | {} | {alone} |",
                plain(&layer.name),
                layer.kind,
                decibels(*sqnr)
            );
        }
    }
    let provenance = &report.provenance;
    let _ = writeln!(
        text,
        "\nMobilEight {}, {} numerics, seed {}, INT8 file SHA-256 {:.12}, images SHA-256 {:.12}.",
        provenance.version,
        provenance.numerics,
        provenance.seed,
        report.int8.sha256,
        provenance.images_sha256
    );
    text
}
