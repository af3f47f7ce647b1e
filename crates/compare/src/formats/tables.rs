//! Tables for spreadsheets.

use serde::Serialize;

use crate::Error;
use crate::report::{Decibels, Report, TensorError};

/// One line of `per_image.csv`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ImageRow {
    /// The file.
    pub file: String,
    /// The right class, where known.
    pub label: Option<usize>,
    /// Its name.
    pub label_name: Option<String>,
    /// The reference's first class.
    pub reference: usize,
    /// Its name.
    pub reference_name: String,
    /// Its probability.
    pub reference_probability: f64,
    /// Whether it is right; with a label only.
    pub reference_correct: Option<bool>,
    /// The INT8 model's first class.
    pub int8: usize,
    /// Its name.
    pub int8_name: String,
    /// Its probability.
    pub int8_probability: f64,
    /// Whether it is right; with a label only.
    pub int8_correct: Option<bool>,
    /// Whether the first classes differ.
    pub flipped: bool,
    /// Kullback-Leibler divergence in nats.
    pub kl: f64,
    /// Total variation distance.
    pub total_variation: f64,
    /// The reference's lead of its first over its second class.
    pub margin: f64,
    /// The largest difference of a class's probability.
    pub largest_probability_error: f64,
}

/// What a cell cannot say otherwise: `inf` for no error, empty for undefined.
fn decibels(value: Decibels) -> String {
    match value.0 {
        nan if nan.is_nan() => String::new(),
        other => other.to_string(),
    }
}

const ERRORS: [&str; 11] = [
    "sqnr_db",
    "cosine",
    "rmse_over_scale",
    "mean_error",
    "channel_mean_error",
    "largest_error",
    "saturated_low",
    "saturated_high",
    "smallest_code",
    "largest_code",
    "used_range",
];

fn errors(error: Option<&TensorError>) -> Vec<String> {
    let Some(error) = error else { return vec![String::new(); ERRORS.len()] };
    vec![
        decibels(error.sqnr),
        error.cosine.to_string(),
        error.rmse_over_scale.to_string(),
        error.mean_error.to_string(),
        error.channel_mean_error.to_string(),
        error.largest_error.to_string(),
        error.saturated_low.to_string(),
        error.saturated_high.to_string(),
        error.codes[0].to_string(),
        error.codes[1].to_string(),
        error.used_range.to_string(),
    ]
}

/// The figures of each layer as CSV, one line each.
///
/// # Errors
///
/// [`Error::Format`] when memory runs out.
pub fn per_layer_csv(report: &Report) -> Result<String, Error> {
    let refuse = |reason: String| Error::Format { format: "per_layer.csv", reason };
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut head: Vec<String> =
        ["operator", "kind", "name", "shape", "scale", "zero_point", "reference"]
            .map(str::to_owned)
            .to_vec();
    for part in ["local", "accumulated"] {
        head.extend(ERRORS.iter().map(|name| format!("{part}_{name}")));
    }
    let rest = [
        "weights_sqnr_db",
        "activations_sqnr_db",
        "per_channel",
        "channels",
        "range_ratio",
        "dead_channels",
    ];
    head.extend(rest.map(str::to_owned));
    writer.write_record(&head).map_err(|error| refuse(error.to_string()))?;
    for layer in &report.layers.layers {
        let shape: Vec<String> = layer.shape.iter().map(usize::to_string).collect();
        let mut row = vec![
            layer.operator.to_string(),
            layer.kind.clone(),
            layer.name.clone(),
            shape.join("x"),
            layer.scale.to_string(),
            layer.zero_point.to_string(),
            layer.reference.clone().unwrap_or_default(),
        ];
        row.extend(errors(layer.local.as_ref()));
        row.extend(errors(layer.accumulated.as_ref()));
        row.push(layer.weights_sqnr.map_or_else(String::new, decibels));
        row.push(layer.activations_sqnr.map_or_else(String::new, decibels));
        row.extend(match &layer.weights {
            None => vec![String::new(); 4],
            Some(weights) => vec![
                weights.per_channel.to_string(),
                weights.channels.to_string(),
                weights.range_ratio.to_string(),
                weights.dead_channels.to_string(),
            ],
        });
        writer.write_record(&row).map_err(|error| refuse(error.to_string()))?;
    }
    let bytes = writer.into_inner().map_err(|error| refuse(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| refuse(error.to_string()))
}
