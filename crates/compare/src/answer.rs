//! What a network says about an image.

use crate::Error;

/// A network's answer: a probability for each class.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    probabilities: Vec<f32>,
    /// Classes, the best first.
    order: Vec<u32>,
    tied: bool,
}

impl Answer {
    /// An answer of probabilities, normalized to a sum of one: 8-bit ones seldom have it. Classes of the same probability are put
    /// in the order of `logits`, and where these are equal too, in that of their index.
    ///
    /// # Errors
    ///
    /// When there are no classes, lengths differ, a value is NaN or infinite, or probabilities are negative or all zero.
    pub fn new(probabilities: Vec<f32>, logits: &[f32]) -> Result<Self, Error> {
        if probabilities.len() != logits.len() {
            return Err(Error::Length {
                what: "probabilities and logits",
                first: probabilities.len(),
                second: logits.len(),
            });
        }
        finite("logits", logits)?;
        finite("probabilities", &probabilities)?;
        let sum: f64 = probabilities.iter().map(|&p| f64::from(p)).sum();
        let negative = probabilities.iter().position(|&p| p < 0.0);
        if let Some(index) = negative.or((sum <= 0.0).then_some(0)) {
            let value = probabilities[index];
            return Err(Error::NotProbabilities { index, value, sum });
        }
        let mut order: Vec<u32> = (0..probabilities.len() as u32).collect();
        let key = |class: u32| (probabilities[class as usize], logits[class as usize]);
        // Stable: the lower index stays in front.
        order.sort_by(|&a, &b| key(b).partial_cmp(&key(a)).unwrap_or(std::cmp::Ordering::Equal));
        let tied =
            order.len() > 1 && probabilities[order[0] as usize] == probabilities[order[1] as usize];
        let probabilities =
            probabilities.into_iter().map(|p| (f64::from(p) / sum) as f32).collect();
        Ok(Answer { probabilities, order, tied })
    }

    /// The answer of a network that ends in logits: their softmax.
    ///
    /// # Errors
    ///
    /// When there are no classes, or a value is NaN or infinite.
    pub fn from_logits(logits: &[f32]) -> Result<Self, Error> {
        finite("logits", logits)?;
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let powers: Vec<f64> = logits.iter().map(|&v| f64::from(v - largest).exp()).collect();
        let sum: f64 = powers.iter().sum();
        Answer::new(powers.into_iter().map(|power| (power / sum) as f32).collect(), logits)
    }

    /// The probability of each class; their sum is one.
    pub fn probabilities(&self) -> &[f32] {
        &self.probabilities
    }

    /// The first class.
    pub fn first(&self) -> usize {
        self.order[0] as usize
    }

    /// The best classes, at most `count` of them.
    pub fn top(&self, count: usize) -> Vec<usize> {
        self.order.iter().take(count).map(|&class| class as usize).collect()
    }

    /// Whether the first two classes have the same probability.
    pub fn is_tied(&self) -> bool {
        self.tied
    }

    /// The lead of the first class over the second; 1 when there is only one.
    pub fn margin(&self) -> f64 {
        let probability = |class: &u32| f64::from(self.probabilities[*class as usize]);
        match self.order.as_slice() {
            [first, second, ..] => probability(first) - probability(second),
            _ => 1.0,
        }
    }
}

/// Refuses nothing at all, NaN and infinity.
pub(crate) fn finite(what: &'static str, values: &[f32]) -> Result<(), Error> {
    if values.is_empty() {
        return Err(Error::Empty(what));
    }
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(index) => Err(Error::NotFinite { what, index, value: values[index] }),
    }
}
