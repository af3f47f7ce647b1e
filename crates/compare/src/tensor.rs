//! How a quantized tensor differs from its reference.

use crate::Error;
use crate::answer::finite;
use crate::report::{Decibels, TensorError};

/// Figures of one tensor over images; its memory grows with the channels only.
#[derive(Clone, Debug)]
pub struct TensorAccumulator {
    scale: f64,
    zero_point: i32,
    /// Smallest and largest code of the element type.
    range: [i32; 2],
    noise: SqnrAccumulator,
    /// Sum of the errors of each channel, in quanta.
    channels: Vec<f64>,
    largest: f64,
    low: u64,
    high: u64,
    codes: Option<[i32; 2]>,
}

impl TensorAccumulator {
    /// For a tensor of a scale and zero point, of codes in `range`, whose last dimension has `channels` elements.
    pub fn new(scale: f32, zero_point: i32, range: [i32; 2], channels: usize) -> Self {
        TensorAccumulator {
            scale: scale.into(),
            zero_point,
            range,
            noise: SqnrAccumulator::default(),
            channels: vec![0.0; channels.max(1)],
            largest: 0.0,
            low: 0,
            high: 0,
            codes: None,
        }
    }

    /// Adds an image: the real values of the reference, and the codes.
    ///
    /// # Errors
    ///
    /// When lengths differ, or a value is NaN or infinite.
    pub fn add<C: Copy + Into<i32>>(
        &mut self,
        reference: &[f32],
        codes: &[C],
    ) -> Result<(), Error> {
        if reference.len() != codes.len() {
            return Err(Error::Length {
                what: "a tensor and its reference",
                first: reference.len(),
                second: codes.len(),
            });
        }
        finite("reference tensor", reference)?;
        let real = |code: i32| self.scale * f64::from(code - self.zero_point);
        // Beyond half a quantum outside, rounding alone does not explain the error.
        let low = real(self.range[0]) - self.scale / 2.0;
        let high = real(self.range[1]) + self.scale / 2.0;
        let mut seen = self.codes.unwrap_or([i32::MAX, i32::MIN]);
        let channels = self.channels.len();
        for (at, (&reference, &code)) in reference.iter().zip(codes).enumerate() {
            let (reference, code) = (f64::from(reference), code.into());
            let error = real(code) - reference;
            self.noise.signal += reference * reference;
            self.noise.noise += error * error;
            self.noise.product += reference * real(code);
            self.noise.other += real(code) * real(code);
            self.noise.count += 1;
            self.channels[at % channels] += error / self.scale;
            self.largest = self.largest.max(error.abs() / self.scale);
            self.low += u64::from(reference < low);
            self.high += u64::from(reference > high);
            seen = [seen[0].min(code), seen[1].max(code)];
        }
        self.codes = Some(seen);
        Ok(())
    }

    /// Adds the images of another accumulator of the same tensor.
    pub fn merge(&mut self, other: &Self) {
        self.noise.merge(&other.noise);
        self.channels.iter_mut().zip(&other.channels).for_each(|(total, more)| *total += more);
        self.largest = self.largest.max(other.largest);
        self.low += other.low;
        self.high += other.high;
        self.codes = match (self.codes, other.codes) {
            (Some(a), Some(b)) => Some([a[0].min(b[0]), a[1].max(b[1])]),
            (a, b) => a.or(b),
        };
    }

    /// The figures so far; `None` before the first image.
    pub fn finish(&self) -> Option<TensorError> {
        let codes = self.codes?;
        let count = self.noise.count as f64;
        let of_channel = self.channels.len() as f64 / count;
        let worst = self
            .channels
            .iter()
            .copied()
            .fold(0f64, |worst, sum| if sum.abs() > worst.abs() { sum } else { worst });
        Some(TensorError {
            sqnr: self.noise.sqnr()?,
            cosine: self.noise.cosine()?,
            rmse_over_scale: (self.noise.noise / count).sqrt() / self.scale,
            mean_error: self.channels.iter().sum::<f64>() / count,
            channel_mean_error: worst * of_channel,
            largest_error: self.largest,
            saturated_low: self.low as f64 / count,
            saturated_high: self.high as f64 / count,
            codes,
            used_range: f64::from(codes[1] - codes[0] + 1) / 256.0,
        })
    }
}

/// The ratio of signal to noise of two real tensors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SqnrAccumulator {
    signal: f64,
    noise: f64,
    product: f64,
    other: f64,
    count: u64,
}

impl SqnrAccumulator {
    /// Adds a tensor and what it became.
    ///
    /// # Errors
    ///
    /// When lengths differ, or a value is NaN or infinite.
    pub fn add(&mut self, reference: &[f32], compared: &[f32]) -> Result<(), Error> {
        if reference.len() != compared.len() {
            return Err(Error::Length {
                what: "two tensors",
                first: reference.len(),
                second: compared.len(),
            });
        }
        finite("reference tensor", reference)?;
        finite("compared tensor", compared)?;
        for (&reference, &compared) in reference.iter().zip(compared) {
            let [a, b] = [f64::from(reference), f64::from(compared)];
            self.signal += a * a;
            self.noise += (b - a) * (b - a);
            self.product += a * b;
            self.other += b * b;
        }
        self.count += reference.len() as u64;
        Ok(())
    }

    /// Adds what another accumulator has seen.
    pub fn merge(&mut self, other: &Self) {
        self.signal += other.signal;
        self.noise += other.noise;
        self.product += other.product;
        self.other += other.other;
        self.count += other.count;
    }

    /// `10 log10(signal / noise)`: infinite without noise, undefined without signal; `None` when nothing was
    /// added.
    pub fn sqnr(&self) -> Option<Decibels> {
        (self.count > 0).then(|| {
            Decibels(match (self.signal > 0.0, self.noise > 0.0) {
                (_, false) => f64::INFINITY,
                (false, true) => f64::NAN,
                (true, true) => 10.0 * (self.signal / self.noise).log10(),
            })
        })
    }

    /// The cosine of the angle between the two; 1 when both are zero, 0 when one of them is; `None` when nothing was added.
    pub fn cosine(&self) -> Option<f64> {
        (self.count > 0).then(|| match (self.signal > 0.0, self.other > 0.0) {
            (true, true) => {
                (self.product / (self.signal.sqrt() * self.other.sqrt())).clamp(-1.0, 1.0)
            }
            (false, false) => 1.0,
            _ => 0.0,
        })
    }
}

/// Largest over smallest of the channels' ranges (1 when there are not two to compare), of those that are not zero, and how many are.
pub fn weight_range_ratio(ranges: &[f32]) -> (f64, usize) {
    let alive = ranges.iter().filter(|&&range| range > 0.0).map(|&range| f64::from(range));
    let dead = ranges.len() - alive.clone().count();
    let [least, most] = alive
        .fold([f64::INFINITY, 0.0], |[least, most], range| [range.min(least), range.max(most)]);
    (if most > 0.0 { most / least } else { 1.0 }, dead)
}
