//! Two networks on the same images.

use crate::report::{MarginBin, PairFigures, Truth};
use crate::statistics::paired_difference;
use crate::{Answer, Error};

/// Probabilities below this count as this much in logarithms: half a quantum of an 8-bit softmax, whose zeros are rounded, not meant.
const LEAST_PROBABILITY: f64 = 1.0 / 512.0;
/// Bins of the margins' histogram.
const BINS: usize = 10;
/// What "among the first" means for top-5.
const TOP: usize = 5;

/// How two answers to one image differ; the first is the reference.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageFigures {
    /// Kullback-Leibler divergence of the second answer from the first, in nats.
    pub kl: f64,
    /// Total variation distance.
    pub total_variation: f64,
    /// The first answer's lead of its first over its second class.
    pub margin: f64,
    /// The largest difference of a class's probability.
    pub largest_probability_error: f64,
    /// Whether the first classes differ.
    pub flipped: bool,
    /// Whether the first answer is right; with a label only.
    pub first_correct: Option<bool>,
    /// Whether the second answer is right; with a label only.
    pub second_correct: Option<bool>,
}

/// Compares two answers to one image.
///
/// # Errors
///
/// When they have different numbers of classes, or the label is none of them.
pub fn image_figures(
    label: Option<usize>,
    first: &Answer,
    second: &Answer,
) -> Result<ImageFigures, Error> {
    let [p, q] = [first.probabilities(), second.probabilities()];
    if p.len() != q.len() {
        return Err(Error::Length { what: "classes", first: p.len(), second: q.len() });
    }
    if let Some(index) = label.filter(|&label| label >= p.len()) {
        return Err(Error::Class { index, classes: p.len() });
    }
    let floor = |values: &[f32]| -> f64 {
        values.iter().map(|&value| f64::from(value).max(LEAST_PROBABILITY)).sum()
    };
    let [whole_p, whole_q] = [floor(p), floor(q)];
    let (mut kl, mut distance, mut largest) = (0.0, 0.0, 0f64);
    for (&p, &q) in p.iter().zip(q) {
        let [a, b] = [f64::from(p), f64::from(q)];
        let error = (a - b).abs();
        distance += error / 2.0;
        largest = largest.max(error);
        let share = a.max(LEAST_PROBABILITY) / whole_p;
        kl += share * (share / (b.max(LEAST_PROBABILITY) / whole_q)).ln();
    }
    Ok(ImageFigures {
        // Rounding may leave a trace below zero.
        kl: kl.max(0.0),
        total_variation: distance,
        margin: first.margin(),
        largest_probability_error: largest,
        flipped: first.first() != second.first(),
        first_correct: label.map(|label| label == first.first()),
        second_correct: label.map(|label| label == second.first()),
    })
}

/// Both right, only the first network, only the second, neither.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts([u64; 4]);

impl Counts {
    fn add(&mut self, first: bool, second: bool) {
        self.0[usize::from(!second) + 2 * usize::from(!first)] += 1;
    }

    fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(total, more)| *total += more);
    }
}

/// Figures of two networks over images; its memory does not grow with their number.
#[derive(Clone, Debug, PartialEq)]
pub struct PairAccumulator {
    truth: Truth,
    images: u64,
    top1: Counts,
    top5: Counts,
    flips: u64,
    ties: u64,
    kl: f64,
    kl_worst: f64,
    total_variation: f64,
    probability_error: f64,
    probability_error_worst: f64,
    margins: [(u64, u64); BINS],
}

impl PairAccumulator {
    /// Figures before the first image.
    pub fn new(truth: Truth) -> Self {
        PairAccumulator {
            truth,
            images: 0,
            top1: Counts::default(),
            top5: Counts::default(),
            flips: 0,
            ties: 0,
            kl: 0.0,
            kl_worst: 0.0,
            total_variation: 0.0,
            probability_error: 0.0,
            probability_error_worst: 0.0,
            margins: [(0, 0); BINS],
        }
    }

    /// Adds an image and gives its own figures. Without a label an image counts for all but accuracy, unless the first network is
    /// the truth.
    ///
    /// # Errors
    ///
    /// As [`image_figures`].
    pub fn add(
        &mut self,
        label: Option<usize>,
        first: &Answer,
        second: &Answer,
    ) -> Result<ImageFigures, Error> {
        let figures = image_figures(label, first, second)?;
        let truth = match self.truth {
            Truth::Labels => label,
            Truth::FirstNetwork => Some(first.first()),
        };
        self.images += 1;
        if let Some(truth) = truth {
            self.top1.add(first.first() == truth, second.first() == truth);
            self.top5.add(first.top(TOP).contains(&truth), second.top(TOP).contains(&truth));
        }
        self.flips += u64::from(figures.flipped);
        self.ties += u64::from(second.is_tied());
        self.kl += figures.kl;
        self.kl_worst = self.kl_worst.max(figures.kl);
        self.total_variation += figures.total_variation;
        let class = first.first();
        let error = f64::from(first.probabilities()[class] - second.probabilities()[class]).abs();
        self.probability_error += error;
        self.probability_error_worst =
            self.probability_error_worst.max(figures.largest_probability_error);
        let bin = &mut self.margins[((figures.margin * BINS as f64) as usize).min(BINS - 1)];
        bin.0 += 1;
        bin.1 += u64::from(figures.flipped);
        Ok(figures)
    }

    /// Adds the images of another accumulator of the same truth.
    pub fn merge(&mut self, other: &Self) {
        self.images += other.images;
        self.top1.merge(&other.top1);
        self.top5.merge(&other.top5);
        self.flips += other.flips;
        self.ties += other.ties;
        self.kl += other.kl;
        self.kl_worst = self.kl_worst.max(other.kl_worst);
        self.total_variation += other.total_variation;
        self.probability_error += other.probability_error;
        self.probability_error_worst =
            self.probability_error_worst.max(other.probability_error_worst);
        for (bin, more) in self.margins.iter_mut().zip(other.margins) {
            bin.0 += more.0;
            bin.1 += more.1;
        }
    }

    /// The figures so far; `seed` is that of the resampling behind the intervals.
    pub fn finish(&self, seed: u64) -> PairFigures {
        let mean = |sum: f64| if self.images == 0 { 0.0 } else { sum / self.images as f64 };
        let labels = self.truth == Truth::Labels;
        let edge = |bin: usize| bin as f64 / BINS as f64;
        let bin =
            |(at, &(images, flips))| MarginBin { from: edge(at), to: edge(at + 1), images, flips };
        PairFigures {
            truth: self.truth,
            images: self.images,
            top1: paired_difference(self.top1.0, seed),
            top5: paired_difference(self.top5.0, seed),
            agreement: mean((self.images - self.flips) as f64),
            flips: self.flips,
            flips_to_wrong: labels.then_some(self.top1.0[1]),
            flips_to_right: labels.then_some(self.top1.0[2]),
            ties: self.ties,
            kl_mean: mean(self.kl),
            kl_worst: self.kl_worst,
            total_variation_mean: mean(self.total_variation),
            probability_error_mean: mean(self.probability_error),
            probability_error_worst: self.probability_error_worst,
            margins: self.margins.iter().enumerate().map(bin).collect(),
        }
    }
}

/// The images with the worst figures: flipped ones first, then by divergence.
#[derive(Clone, Debug)]
pub struct Worst<T> {
    limit: usize,
    /// The worst first.
    kept: Vec<(ImageFigures, T)>,
}

impl<T> Worst<T> {
    /// Keeps at most `limit` images.
    pub fn new(limit: usize) -> Self {
        Worst { limit, kept: Vec::new() }
    }

    /// Offers an image; `describe` is only called when it is kept.
    pub fn add(&mut self, figures: &ImageFigures, describe: impl FnOnce() -> T) {
        let key = |figures: &ImageFigures| (figures.flipped, figures.kl);
        let at = self.kept.partition_point(|(kept, _)| key(kept) >= key(figures));
        if at < self.limit {
            self.kept.insert(at, (figures.clone(), describe()));
            self.kept.truncate(self.limit);
        }
    }

    /// What was kept, the worst first.
    pub fn into_sorted(self) -> Vec<(ImageFigures, T)> {
        self.kept
    }
}
