//! The report as data: what `report.json` holds and every other format shows.
//!
//! Shares are between 0 and 1; differences of accuracy are in points (percent of the images). Every figure is defined in
//! `docs/metrics.md`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Version of this schema; a change that breaks readers increases it.
pub const SCHEMA_VERSION: u32 = 1;

/// Everything that a comparison found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema_version: u32,
    /// What the figures were made from, for repeating them.
    pub provenance: Provenance,
    /// The INT8 model.
    pub int8: Model,
    /// What it is compared with: the float sibling, else the INT8 file's own weights in FP32.
    pub reference: Model,
    /// The images, counted.
    pub images: Images,
    /// The reference against the INT8 model.
    pub overall: PairFigures,
    /// What the weights and what the activations cost; with a float sibling only.
    pub split: Option<Split>,
    /// Layer by layer.
    pub layers: Layers,
    /// What each layer does to the answer; with a sensitivity pass only.
    pub sensitivity: Option<Sensitivity>,
    /// Accuracy of the reference under other usual preprocessings.
    pub preprocessing: Option<Preprocessing>,
    /// What follows from the figures, most important first.
    pub advice: Vec<Advice>,
    /// The gate, where one was asked for.
    pub gate: Option<Gate>,
    /// The images on which the two differ most, worst first.
    pub worst: Vec<WorstImage>,
}

impl Report {
    /// A report without any figures yet.
    pub fn new() -> Self {
        Report {
            schema_version: SCHEMA_VERSION,
            provenance: Provenance::default(),
            int8: Model::default(),
            reference: Model::default(),
            images: Images::default(),
            overall: PairFigures::default(),
            split: None,
            layers: Layers::default(),
            sensitivity: None,
            preprocessing: None,
            advice: Vec::new(),
            gate: None,
            worst: Vec::new(),
        }
    }
}

impl Default for Report {
    fn default() -> Self {
        Report::new()
    }
}

/// What the figures were made from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Version of MobilEight.
    pub version: String,
    /// The arithmetic of the INT8 path: `xnnpack` or `reference`.
    pub numerics: String,
    /// The instruction set of the INT8 kernels.
    pub instruction_set: String,
    /// Threads used.
    pub threads: usize,
    /// Seed of the resampling.
    pub seed: u64,
    /// How images became the INT8 model's input, in words.
    pub recipe: String,
    /// How images became the reference's input, in words.
    pub reference_recipe: String,
    /// Folder of the images as it was given.
    pub images: String,
    /// SHA-256 over the names and contents of all images, in order.
    pub images_sha256: String,
    /// The file of labels as it was given.
    pub labels: Option<String>,
}

/// One of the two models.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// The file as it was given.
    pub file: String,
    /// What ran: `int8`, `uint8`, `float`, `dequantized`.
    pub kind: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Bytes of the file.
    pub bytes: u64,
    /// What it takes.
    pub input: Input,
    /// Number of classes.
    pub classes: usize,
    /// Weights and biases.
    pub parameters: u64,
    /// Multiply-adds of one inference.
    pub multiply_adds: u64,
    /// Peak memory of activations.
    pub arena_bytes: u64,
    /// Median time of one inference on one thread, in milliseconds.
    pub latency_ms: Option<f64>,
}

/// What a model takes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// Its name; may be empty.
    pub name: String,
    /// `[batch, height, width, channels]`.
    pub shape: Vec<usize>,
    /// `uint8`, `int8` or `float32`.
    pub element_type: String,
    /// Real value of one quantum, for quantized inputs.
    pub scale: Option<f64>,
    /// Code of real zero, for quantized inputs.
    pub zero_point: Option<i32>,
    /// Smallest and largest real value, for quantized inputs.
    pub real_range: Option<[f64; 2]>,
    /// Bytes of the tensor.
    pub bytes: usize,
}

/// The images, counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Images {
    /// Images found.
    pub found: usize,
    /// Images that both models saw.
    pub evaluated: usize,
    /// Evaluated images with a label.
    pub labelled: usize,
    /// Images that could not be read, with the reason; at most [`LISTED`] of them.
    pub unreadable: Vec<Unreadable>,
    /// How many could not be read.
    pub unreadable_count: usize,
    /// Images without a label though there is a file of labels; at most [`LISTED`] names.
    pub unlabelled: Vec<String>,
    /// How many have no label though there is a file of labels.
    pub unlabelled_count: usize,
    /// Whether the run was interrupted before the last image.
    pub interrupted: bool,
}

/// Long lists are cut here; the counts are whole.
pub const LISTED: usize = 100;

/// An image that was skipped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unreadable {
    /// The file.
    pub file: String,
    /// What is wrong with it.
    pub reason: String,
}

/// What the right answer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Truth {
    /// The label of the image.
    Labels,
    /// No labels were given: the first class of the pair's first network.
    #[default]
    FirstNetwork,
}

/// Two networks on the same images: `first` is the one nearer to the truth by construction (float), `second` the other (INT8).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PairFigures {
    /// What counts as right.
    pub truth: Truth,
    /// Images that both saw.
    pub images: u64,
    /// First class right.
    pub top1: PairedDifference,
    /// Right class among the first five (or all classes, if there are fewer).
    pub top5: PairedDifference,
    /// Share of images with the same first class.
    pub agreement: f64,
    /// Images whose first class differs.
    pub flips: u64,
    /// Flips from a right to a wrong class; with labels only.
    pub flips_to_wrong: Option<u64>,
    /// Flips from a wrong to the right class; with labels only.
    pub flips_to_right: Option<u64>,
    /// Images on which the second network gives its first class and another one the same score.
    pub ties: u64,
    /// Kullback-Leibler divergence of the second from the first, in nats: mean over images.
    pub kl_mean: f64,
    /// The largest of any image.
    pub kl_worst: f64,
    /// Total variation distance: mean over images.
    pub total_variation_mean: f64,
    /// Probability error of the first network's first class: mean of the absolute values over images.
    pub probability_error_mean: f64,
    /// The largest probability error of any class and image.
    pub probability_error_worst: f64,
    /// The first network's lead of its first over its second class, and how often the second network disagrees there.
    pub margins: Vec<MarginBin>,
}

/// Images whose margin (probability of the first less that of the second class) lies in a range.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MarginBin {
    /// Least margin, included.
    pub from: f64,
    /// Largest margin, excluded but for the last bin.
    pub to: f64,
    /// Images.
    pub images: u64,
    /// Images of these with different first classes.
    pub flips: u64,
}

/// A paired difference of two shares, with how sure it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PairedDifference {
    /// Images counted: those with a label.
    pub images: u64,
    /// Both right.
    pub both: u64,
    /// Only the first network is right.
    pub only_first: u64,
    /// Only the second network is right.
    pub only_second: u64,
    /// Neither is right.
    pub neither: u64,
    /// Share that the first network has right.
    pub first: f64,
    /// Share that the second network has right.
    pub second: f64,
    /// Points lost from the first to the second: positive is a loss.
    pub drop: f64,
    /// 95 % interval of the drop, in points.
    pub interval: [f64; 2],
    /// McNemar's exact test of no difference, two-sided.
    pub p_value: f64,
}

/// Where the cost comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Split {
    /// Float model against the INT8 file's weights in FP32: what rounding the weights costs.
    pub weights: PairFigures,
    /// The INT8 file's weights in FP32 against INT8: what rounding the activations costs.
    pub activations: PairFigures,
}

/// Figures layer by layer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Layers {
    /// Images that these figures are over.
    pub images: u64,
    /// What the INT8 tensors are compared with: `float` or `dequantized`.
    pub baseline: String,
    /// The INT8 model's operators with a quantized output, in order.
    pub layers: Vec<Layer>,
    /// Operators of the INT8 model without a counterpart.
    pub unmatched_int8: Vec<String>,
    /// Operators of the reference without a counterpart.
    pub unmatched_reference: Vec<String>,
}

/// One operator of the INT8 model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// Index of the operator in the INT8 file.
    pub operator: usize,
    /// TFLite's name of the operator.
    pub kind: String,
    /// Name of the output tensor.
    pub name: String,
    /// Index of the output tensor in the INT8 file.
    pub tensor: usize,
    /// Shape of the output.
    pub shape: Vec<usize>,
    /// Real value of one quantum of the output.
    pub scale: f64,
    /// Code of real zero of the output.
    pub zero_point: i32,
    /// Name of the reference's tensor.
    pub reference: Option<String>,
    /// This layer alone: fed with the reference's input, quantized.
    pub local: Option<TensorError>,
    /// All layers up to this one in INT8.
    pub accumulated: Option<TensorError>,
    /// Accumulated SQNR of the dequantized weights against the float model: the weights' part.
    pub weights_sqnr: Option<Decibels>,
    /// Accumulated SQNR of INT8 against the dequantized weights: the activations' part.
    pub activations_sqnr: Option<Decibels>,
    /// The weights, for operators that have them.
    pub weights: Option<Weights>,
}

/// How an INT8 tensor differs from its reference.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TensorError {
    /// Signal to quantization noise ratio.
    pub sqnr: Decibels,
    /// Cosine of the angle between the two; 1 is the same direction.
    pub cosine: f64,
    /// Root mean square error in quanta; 0.289 is ideal rounding.
    pub rmse_over_scale: f64,
    /// Mean error in quanta; 0 is unbiased.
    pub mean_error: f64,
    /// The largest mean error of a channel (last dimension) by magnitude, in quanta.
    pub channel_mean_error: f64,
    /// The largest absolute error in quanta.
    pub largest_error: f64,
    /// Share of elements whose reference lies below what the codes can say.
    pub saturated_low: f64,
    /// Share of elements whose reference lies above what the codes can say.
    pub saturated_high: f64,
    /// Smallest and largest code that occurred.
    pub codes: [i32; 2],
    /// Share of the 256 codes between these two, both included.
    pub used_range: f64,
}

/// The weights of a layer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Weights {
    /// Whether each output channel has its own scale.
    pub per_channel: bool,
    /// Output channels.
    pub channels: usize,
    /// Largest over smallest range (largest absolute real value) of the output channels, of those that are not all zero.
    pub range_ratio: f64,
    /// Output channels whose weights are all zero after quantization.
    pub dead_channels: usize,
    /// SQNR of the dequantized weights against the float model's, where they have the same shape.
    pub sqnr: Option<Decibels>,
}

/// A ratio of powers in dB; infinite when there is no error, undefined (NaN) when there is no signal.
///
/// In JSON a number, `"infinity"` or `"undefined"`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Decibels(pub f64);

impl Default for Decibels {
    fn default() -> Self {
        Decibels(f64::INFINITY)
    }
}

impl Serialize for Decibels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            finite if finite.is_finite() => serializer.serialize_f64(finite),
            nan if nan.is_nan() => serializer.serialize_str("undefined"),
            infinite if infinite > 0.0 => serializer.serialize_str("infinity"),
            _ => serializer.serialize_str("-infinity"),
        }
    }
}

impl<'de> Deserialize<'de> for Decibels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Number(f64),
            Word(String),
        }
        match Form::deserialize(deserializer)? {
            Form::Number(value) => Ok(Decibels(value)),
            Form::Word(word) => match word.as_str() {
                "infinity" => Ok(Decibels(f64::INFINITY)),
                "-infinity" => Ok(Decibels(f64::NEG_INFINITY)),
                "undefined" => Ok(Decibels(f64::NAN)),
                _ => Err(serde::de::Error::custom(format!("{word:?} is no ratio in dB"))),
            },
        }
    }
}

/// What each layer does to the answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sensitivity {
    /// Images that these figures are over.
    pub images: u64,
    /// The layers, the most harmful (largest `only_int8.kl_mean`) first.
    pub layers: Vec<LayerSensitivity>,
}

/// What one layer does to the answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LayerSensitivity {
    /// Index of the operator in the INT8 file.
    pub operator: usize,
    /// TFLite's name of the operator.
    pub kind: String,
    /// Name of the output tensor.
    pub name: String,
    /// The network in FP32 with only this layer in INT8, against FP32.
    pub only_int8: Effect,
    /// The network in INT8 with only this layer in FP32, against FP32.
    pub only_float: Effect,
}

/// How far a network's answers are from FP32's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// Mean Kullback-Leibler divergence in nats.
    pub kl_mean: f64,
    /// Share of images with the same first class.
    pub agreement: f64,
    /// Share of images with the right first class; with labels only.
    pub top1: Option<f64>,
}

/// The reference under other usual preprocessings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// Images that these figures are over.
    pub images: u64,
    /// The one used comes first.
    pub recipes: Vec<RecipeScore>,
}

/// One usual preprocessing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RecipeScore {
    /// In words: `as used`, `[-1, 1]`, `[0, 1]`, `raw`, `BGR`, `normalized twice`.
    pub name: String,
    /// Share of images with the right first class; with labels only.
    pub top1: Option<f64>,
    /// Mean probability of the first class.
    pub confidence: f64,
    /// The recipe used (first) against this one, with labels only: a negative drop means that this one is better.
    pub difference: Option<PairedDifference>,
}

/// One piece of advice and the figure that led to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Advice {
    /// Which rule gave it, such as `per_channel_weights`.
    pub rule: String,
    /// How much it matters.
    pub severity: Severity,
    /// What to do, in one sentence.
    pub title: String,
    /// The figure that triggered it, and why it follows.
    pub because: String,
    /// Operators concerned (index in the INT8 file).
    pub operators: Vec<usize>,
}

/// How much a piece of advice matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Note,
    /// Probably costs accuracy.
    Warning,
    /// The result is of no use before this is done.
    Critical,
}

/// Whether the loss is within what was allowed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// Points of top-1 that may be lost.
    pub max_drop: f64,
    /// The answer.
    pub verdict: Verdict,
    /// Images that an answer would need, about, when there is none.
    pub images_needed: Option<u64>,
    /// The answer in words.
    pub message: String,
}

/// The answer of a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The whole interval of the drop lies at or below the limit.
    Passed,
    /// The whole interval lies above the limit.
    Failed,
    /// The limit is within the interval.
    Inconclusive,
}

/// An image on which the two differ.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorstImage {
    /// The file.
    pub file: String,
    /// The right class, where known.
    pub label: Option<Class>,
    /// The reference's best classes.
    pub reference: Vec<Class>,
    /// The INT8 model's best classes.
    pub int8: Vec<Class>,
    /// Kullback-Leibler divergence in nats.
    pub kl: f64,
    /// Whether the first classes differ.
    pub flipped: bool,
    /// A small picture as a `data:` URL; not in JSON.
    #[serde(skip)]
    pub thumbnail: Option<String>,
}

/// A class and its probability.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Class {
    /// Index of the class.
    pub index: usize,
    /// Its name.
    pub name: String,
    /// Its probability; 0 where it is only named.
    pub probability: f64,
}
