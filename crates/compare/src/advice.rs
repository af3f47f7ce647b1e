//! What follows from the figures. Each rule is a function from the report to its advice.

use crate::report::{Advice, Layer, PairedDifference, Report, Severity, TensorError, Truth};
use crate::statistics::round_up;

/// A ratio of channel ranges that one scale for all does not hold (Krishnamoorthi 2018; Nagel et al. 2019).
const RANGE_RATIO: f64 = 30.0;
/// Points that a network loses before it counts as collapsed.
const COLLAPSE: f64 = 5.0;
/// A share of saturated elements that calibration should not leave.
const SATURATION: f64 = 0.01;
/// A mean error, in quanta, that is no chance.
const BIAS: f64 = 0.25;
/// A share of the codes, of a tensor whose calibration left most of them unused.
const USED_RANGE: f64 = 0.25;
/// A share of a loss that makes one cause the main one.
const MAIN_PART: f64 = 0.6;
/// A share of the sensitivity that makes one layer dominant.
const DOMINANT: f64 = 0.3;
/// Divergence, in nats, below which no layer is worth naming.
const LEAST_KL: f64 = 0.01;
/// Points by which another preprocessing must surely be better.
const PREPROCESSING: f64 = 1.0;
/// A share of flips, of those at small margins.
const NEAR_TIES: f64 = 0.7;
/// A share of images on which the first two classes have the same score.
const TIES: f64 = 0.05;

/// All advice that the figures give, the most important first.
pub fn advise(report: &Report) -> Vec<Advice> {
    let rules = [
        preprocessing,
        per_channel_weights,
        saturation,
        bias,
        unused_range,
        main_cause,
        dominant_layer,
        dead_channels,
        near_ties,
        ties,
        more_images,
    ];
    let mut advice: Vec<Advice> = rules.iter().filter_map(|rule| rule(report)).collect();
    // Stable: rules of the same weight stay in the order above.
    advice.sort_by_key(|advice| std::cmp::Reverse(advice.severity));
    advice
}

fn is_surely_worse(difference: &PairedDifference) -> bool {
    difference.interval[0] > 0.0
}

/// How much advice about the quantization matters.
fn severity(report: &Report) -> Severity {
    let top1 = &report.overall.top1;
    match is_surely_worse(top1) {
        true if top1.drop > COLLAPSE => Severity::Critical,
        true => Severity::Warning,
        false => Severity::Note,
    }
}

/// A layer's name; converters join those of all that was fused, the first is enough.
fn short(name: &str) -> &str {
    name.split(';').next().unwrap_or(name)
}

/// One layer by its name, and how many others there are.
fn names(layers: &[&Layer]) -> String {
    let first = layers.first().map_or("", |layer| short(&layer.name));
    match layers.len() {
        0 | 1 => format!("`{first}`"),
        2 => format!("`{first}` and one more layer"),
        more => format!("`{first}` and {} more layers", more - 1),
    }
}

fn operators(layers: &[&Layer]) -> Vec<usize> {
    layers.iter().map(|layer| layer.operator).collect()
}

/// The layers that a figure picks, the largest figure first.
fn worst<'a>(
    report: &'a Report,
    figure: impl Fn(&'a Layer) -> Option<f64>,
) -> Vec<(f64, &'a Layer)> {
    let mut layers: Vec<(f64, &Layer)> =
        report.layers.layers.iter().filter_map(|layer| Some((figure(layer)?, layer))).collect();
    layers.sort_by(|a, b| b.0.total_cmp(&a.0));
    layers
}

fn preprocessing(report: &Report) -> Option<Advice> {
    let recipes = &report.preprocessing.as_ref()?.recipes;
    let gain = |difference: &PairedDifference| -difference.drop;
    let (best, difference) = recipes
        .iter()
        .filter_map(|recipe| Some((recipe, recipe.difference.as_ref()?)))
        .filter(|(_, difference)| -difference.interval[1] > PREPROCESSING)
        .max_by(|a, b| gain(a.1).total_cmp(&gain(b.1)))?;
    let points = gain(difference);
    Some(Advice {
        rule: "preprocessing".into(),
        severity: Severity::Critical,
        title: format!(
            "Prepare the images by the recipe `{}`: your preprocessing, not the quantization, costs {points:.0} points",
            best.name
        ),
        because: format!(
            "In FP32 the recipe used has {:.1} % right, `{}` {:.1} % ({points:+.1} points, 95 %: {:+.1} to {:+.1}, {} images).",
            100.0 * difference.first,
            best.name,
            100.0 * difference.second,
            -difference.interval[1],
            -difference.interval[0],
            difference.images,
        ),
        operators: Vec::new(),
    })
}

fn per_channel_weights(report: &Report) -> Option<Advice> {
    let found = worst(report, |layer| {
        let weights = layer.weights.as_ref()?;
        (!weights.per_channel && weights.range_ratio > RANGE_RATIO).then_some(weights.range_ratio)
    });
    let (ratio, layer) = *found.first()?;
    let layers: Vec<&Layer> = found.iter().map(|(_, layer)| *layer).collect();
    Some(Advice {
        rule: "per_channel_weights".into(),
        severity: severity(report),
        title: "Requantize the weights per channel".into(),
        because: format!(
            "The weights of {} have one scale for all output channels, while their ranges differ by a factor of up to {ratio:.0} \
             (more than {RANGE_RATIO:.0}): the channels of small weights in `{}` ({}) keep about {:.1} of 8 bits.",
            names(&layers),
            short(&layer.name),
            layer.kind,
            (8.0 - ratio.log2()).max(0.0),
        ),
        operators: operators(&layers),
    })
}

/// The rounding of this layer alone, where it was measured.
fn own(layer: &Layer) -> Option<&TensorError> {
    layer.local.as_ref().or(layer.accumulated.as_ref())
}

fn saturation(report: &Report) -> Option<Advice> {
    let found = worst(report, |layer| {
        // TFLite fixes the range of these whatever the calibration, and the largest probabilities lie just above it.
        if matches!(layer.kind.as_str(), "SOFTMAX" | "LOGISTIC") {
            return None;
        }
        let error = own(layer)?;
        let share = error.saturated_low.max(error.saturated_high);
        let one_sided = error.saturated_low.min(error.saturated_high) < share / 2.0;
        (share > SATURATION && one_sided).then_some(share)
    });
    let (share, layer) = *found.first()?;
    let layers: Vec<&Layer> = found.iter().map(|(_, layer)| *layer).collect();
    let side = match own(layer)? {
        error if error.saturated_low > error.saturated_high => "below",
        _ => "above",
    };
    Some(Advice {
        rule: "saturation".into(),
        severity: severity(report).min(Severity::Warning),
        title: "Calibrate with images more like these: activations are clipped".into(),
        because: format!(
            "{:.1} % of the values of `{}` lie {side} what its codes can say (more than {:.0} %); concerned: {}.",
            100.0 * share,
            short(&layer.name),
            100.0 * SATURATION,
            names(&layers),
        ),
        operators: operators(&layers),
    })
}

fn bias(report: &Report) -> Option<Advice> {
    let found = worst(report, |layer| {
        let error = layer.local.as_ref()?.mean_error.abs();
        (error > BIAS).then_some(error)
    });
    let (_, layer) = *found.first()?;
    let layers: Vec<&Layer> = found.iter().map(|(_, layer)| *layer).collect();
    Some(Advice {
        rule: "bias_correction".into(),
        severity: severity(report).min(Severity::Warning),
        title: "Correct the biases: some layers err in one direction".into(),
        because: format!(
            "The mean error of `{}` alone is {:+.2} quanta, where rounding gives 0 (limit {BIAS}); concerned: {}. \
             Bias correction (Nagel et al. 2019) removes it.",
            short(&layer.name),
            layer.local.as_ref()?.mean_error,
            names(&layers),
        ),
        operators: operators(&layers),
    })
}

fn unused_range(report: &Report) -> Option<Advice> {
    let found = worst(report, |layer| {
        let error = layer.accumulated.as_ref()?;
        let is_head = matches!(layer.kind.as_str(), "SOFTMAX" | "LOGISTIC");
        (!is_head && error.used_range < USED_RANGE).then_some(1.0 - error.used_range)
    });
    let (unused, layer) = *found.first()?;
    let layers: Vec<&Layer> = found.iter().map(|(_, layer)| *layer).collect();
    Some(Advice {
        rule: "unused_range".into(),
        severity: severity(report).min(Severity::Warning),
        title: "Calibrate with images more like these: most codes of some layers are never used"
            .into(),
        because: format!(
            "`{}` uses {:.0} % of the 256 codes (less than {:.0} %); concerned: {}. An outlier in calibration stretches the scale.",
            short(&layer.name),
            100.0 * (1.0 - unused),
            100.0 * USED_RANGE,
            names(&layers),
        ),
        operators: operators(&layers),
    })
}

fn main_cause(report: &Report) -> Option<Advice> {
    let split = report.split.as_ref()?;
    let total = &report.overall.top1;
    if !is_surely_worse(total) {
        return None;
    }
    let part = |difference: &PairedDifference| difference.drop / total.drop;
    let [weights, activations] = [&split.weights.top1, &split.activations.top1];
    let (title, rule) = if part(weights) >= MAIN_PART && is_surely_worse(weights) {
        ("Look at the weights: rounding them costs most of the accuracy", "weights_cost")
    } else if part(activations) >= MAIN_PART && is_surely_worse(activations) {
        ("Look at the activations: rounding them costs most of the accuracy", "activations_cost")
    } else {
        return None;
    };
    Some(Advice {
        rule: rule.into(),
        severity: Severity::Warning,
        title: title.into(),
        because: format!(
            "Of {:.1} points lost, {:.1} go with the weights alone and {:.1} with the activations.",
            total.drop, weights.drop, activations.drop,
        ),
        operators: Vec::new(),
    })
}

fn dominant_layer(report: &Report) -> Option<Advice> {
    let layers = &report.sensitivity.as_ref()?.layers;
    let sum: f64 = layers.iter().map(|layer| layer.only_int8.kl_mean).sum();
    let worst = layers.first()?;
    let kl = worst.only_int8.kl_mean;
    if layers.len() < 2 || kl < LEAST_KL || kl < DOMINANT * sum {
        return None;
    }
    Some(Advice {
        rule: "dominant_layer".into(),
        severity: severity(report).min(Severity::Warning),
        title: format!(
            "Keep `{}` in higher precision, or quantize it with more care",
            short(&worst.name)
        ),
        because: format!(
            "Alone in INT8 it moves the answers by {kl:.3} nats, {:.0} % of the sum over all layers.",
            100.0 * kl / sum
        ),
        operators: vec![worst.operator],
    })
}

fn dead_channels(report: &Report) -> Option<Advice> {
    let found = worst(report, |layer| {
        let dead = layer.weights.as_ref()?.dead_channels;
        (dead > 0).then_some(dead as f64)
    });
    let layers: Vec<&Layer> = found.iter().map(|(_, layer)| *layer).collect();
    let (dead, layer) = *found.first()?;
    Some(Advice {
        rule: "dead_channels".into(),
        severity: Severity::Note,
        title: "Some output channels have only zero weights: prune them".into(),
        because: format!(
            "{dead:.0} {} of `{}`; concerned: {}.",
            if dead > 1.0 { "channels" } else { "channel" },
            short(&layer.name),
            names(&layers)
        ),
        operators: operators(&layers),
    })
}

fn near_ties(report: &Report) -> Option<Advice> {
    let overall = &report.overall;
    let small: u64 = overall.margins.iter().take(2).map(|bin| bin.flips).sum();
    let share = small as f64 / overall.flips as f64;
    if overall.flips < 5 || share < NEAR_TIES || is_surely_worse(&overall.top1) {
        return None;
    }
    Some(Advice {
        rule: "near_ties".into(),
        severity: Severity::Note,
        title: "The flips are near-ties: noise rather than damage".into(),
        because: format!(
            "{small} of {} flips ({:.0} %) are on images where FP32 itself has its first class less than 0.2 ahead.",
            overall.flips,
            100.0 * share
        ),
        operators: Vec::new(),
    })
}

fn ties(report: &Report) -> Option<Advice> {
    let overall = &report.overall;
    let share = overall.ties as f64 / overall.images as f64;
    (overall.images > 0 && share > TIES).then(|| Advice {
        rule: "ties".into(),
        severity: Severity::Note,
        title: "Read the logits, not the 8-bit softmax: its steps hide which class is first".into(),
        because: format!(
            "On {} of {} images ({:.0} %) the INT8 model gives its first two classes the same probability.",
            overall.ties,
            overall.images,
            100.0 * share
        ),
        operators: Vec::new(),
    })
}

fn more_images(report: &Report) -> Option<Advice> {
    let top1 = &report.overall.top1;
    let [low, high] = top1.interval;
    let half = (high - low) / 2.0;
    if top1.images == 0 || half <= 1.0 {
        return None;
    }
    let needed = round_up(top1.images as f64 * half * half);
    let what = match report.overall.truth {
        Truth::Labels => "labelled images",
        Truth::FirstNetwork => "images",
    };
    Some(Advice {
        rule: "more_images".into(),
        severity: Severity::Note,
        title: format!("For a loss known to one point, use about {needed} {what}"),
        because: format!(
            "With {} the 95 % interval is {half:.1} points to either side.",
            top1.images
        ),
        operators: Vec::new(),
    })
}
