//! How sure a difference of accuracy is.

use crate::report::{Gate, PairedDifference, Verdict};

/// Resamples behind an interval.
const RESAMPLES: usize = 10_000;
/// Below this many images on which only one of the two is right, resampling knows too little of what it has not seen.
const FEW: u64 = 15;

/// The difference of two networks' accuracy on the same images. `counts`: both right, only the first, only the second, neither.
///
/// The interval is the 2.5th to the 97.5th percentile of the difference over seeded resamples of the images (Efron 1979); with few
/// discordant images it is widened by the exact interval of their number, so that no flips among n images do not prove that
/// there are none.
pub fn paired_difference(counts: [u64; 4], seed: u64) -> PairedDifference {
    let [both, only_first, only_second, neither] = counts;
    let images: u64 = counts.iter().sum();
    let share = |count: u64| if images == 0 { 0.0 } else { count as f64 / images as f64 };
    PairedDifference {
        images,
        both,
        only_first,
        only_second,
        neither,
        first: share(both + only_first),
        second: share(both + only_second),
        drop: 100.0 * (share(only_first) - share(only_second)),
        interval: interval(images, only_first, only_second, seed),
        p_value: mcnemar_exact(only_first, only_second),
    }
}

fn interval(images: u64, only_first: u64, only_second: u64, seed: u64) -> [f64; 2] {
    if images == 0 {
        return [-100.0, 100.0];
    }
    let discordant = only_first + only_second;
    let points = 100.0 / images as f64;
    let mut random = Random(seed);
    let share = if discordant == 0 { 0.5 } else { only_first as f64 / discordant as f64 };
    let number = Binomial::new(images, discordant as f64 / images as f64);
    let mut halves: std::collections::HashMap<u64, Binomial> = std::collections::HashMap::new();
    let mut drops: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let discordant = number.draw(random.share());
            let of_these =
                halves.entry(discordant).or_insert_with(|| Binomial::new(discordant, share));
            let lost = of_these.draw(random.share());
            points * (2.0 * lost as f64 - discordant as f64)
        })
        .collect();
    drops.sort_by(f64::total_cmp);
    let at = |quantile: f64| drops[(quantile * (RESAMPLES - 1) as f64).round() as usize];
    let mut interval = [at(0.025), at(0.975)];
    if discordant < FEW {
        // How many flips there may be in each direction, with 97.5 % each, when this many were seen (Clopper and Pearson 1934).
        let most = |seen: u64| 100.0 * upper_bound(seen, images);
        let seen = |count: u64| points * count as f64;
        interval[0] = interval[0].min(seen(only_first) - most(only_second)).max(-100.0);
        interval[1] = interval[1].max(most(only_first) - seen(only_second)).min(100.0);
    }
    interval
}

/// The largest share that still gives at most `seen` of `images` with a probability of 2.5 %.
fn upper_bound(seen: u64, images: u64) -> f64 {
    if seen >= images {
        return 1.0;
    }
    let (mut low, mut high) = (seen as f64 / images as f64, 1.0);
    for _ in 0..60 {
        let share = (low + high) / 2.0;
        let tail: f64 = (0..=seen).map(|count| binomial(images, count, share)).sum();
        match tail > 0.025 {
            true => low = share,
            false => high = share,
        }
    }
    (low + high) / 2.0
}

/// McNemar's exact test: how probable a split of the discordant images at least as uneven is, were both networks equally good;
/// two-sided (McNemar 1947).
pub fn mcnemar_exact(only_first: u64, only_second: u64) -> f64 {
    let discordant = only_first + only_second;
    let few = only_first.min(only_second);
    let tail: f64 = (0..=few).map(|count| binomial(discordant, count, 0.5)).sum();
    (2.0 * tail).min(1.0)
}

/// Probability of `count` successes in `trials`.
fn binomial(trials: u64, count: u64, share: f64) -> f64 {
    if share <= 0.0 || share >= 1.0 {
        return f64::from(u8::from(count == if share <= 0.0 { 0 } else { trials }));
    }
    let ways = ln_factorial(trials) - ln_factorial(count) - ln_factorial(trials - count);
    (ways + count as f64 * share.ln() + (trials - count) as f64 * (-share).ln_1p()).exp()
}

/// Natural logarithm of `n!`: the sum for small n, else Stirling's series, whose error is below 1e-14 there.
fn ln_factorial(n: u64) -> f64 {
    if n < 64 {
        return (2..=n).map(|factor| (factor as f64).ln()).sum();
    }
    let n = n as f64;
    let series = 1.0 / (12.0 * n) - 1.0 / (360.0 * n.powi(3)) + 1.0 / (1260.0 * n.powi(5));
    n * n.ln() - n + 0.5 * (std::f64::consts::TAU * n).ln() + series
}

/// A binomial distribution to draw from, as its cumulative probabilities around the mean.
struct Binomial {
    first: u64,
    cumulative: Vec<f64>,
}

impl Binomial {
    fn new(trials: u64, share: f64) -> Self {
        let mean = trials as f64 * share;
        // Nine standard deviations and some more hold all but 1e-15.
        let reach = 9.0 * (mean * (1.0 - share)).sqrt() + 20.0;
        let first = (mean - reach).max(0.0) as u64;
        let last = ((mean + reach).ceil() as u64).min(trials);
        let mut sum = 0.0;
        let cumulative = (first..=last)
            .map(|count| {
                sum += binomial(trials, count, share);
                sum
            })
            .collect();
        Binomial { first, cumulative }
    }

    /// The number at a share of the cumulative probability.
    fn draw(&self, share: f64) -> u64 {
        let at = self.cumulative.partition_point(|&cumulative| cumulative <= share);
        self.first + at.min(self.cumulative.len() - 1) as u64
    }
}

/// splitmix64 (Steele, Lea and Flood 2014).
struct Random(u64);

impl Random {
    /// A number from 0 to 1, 1 excluded.
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Whether a loss of top-1 is within what is allowed: passed when the whole interval is, failed when none of it is.
pub fn gate(difference: &PairedDifference, max_drop: f64) -> Gate {
    let [low, high] = difference.interval;
    let range = format!("{:.1} points (95 %: {low:.1} to {high:.1})", difference.drop);
    let (verdict, images_needed, message) = if high <= max_drop {
        (Verdict::Passed, None, format!("passed: a loss of {range}, at most {max_drop} allowed"))
    } else if low > max_drop {
        (Verdict::Failed, None, format!("failed: a loss of {range}, at most {max_drop} allowed"))
    } else {
        let images = difference.images;
        let half =
            if difference.drop < max_drop { high - difference.drop } else { difference.drop - low };
        let distance = (max_drop - difference.drop).abs();
        // The interval narrows with the square root of the number of images.
        let needed = (distance > 0.0).then(|| images as f64 * (half / distance).powi(2));
        let needed = needed.filter(|&n| n < 1e9).map(|n| round_up(n.max(images as f64 + 1.0)));
        let words = match needed {
            Some(needed) => format!("needs about {needed} images"),
            None => "the loss is so near the limit that no number of images will tell".into(),
        };
        (
            Verdict::Inconclusive,
            needed,
            format!(
                "inconclusive at n = {images}, {words}: a loss of {range}, at most {max_drop} allowed"
            ),
        )
    };
    Gate { max_drop, verdict, images_needed, message }
}

/// Two digits are all that such an estimate has.
pub(crate) fn round_up(number: f64) -> u64 {
    let unit = 10f64.powf((number.log10() - 1.0).floor().max(0.0));
    ((number / unit).ceil() * unit) as u64
}

/// A p value as people read it: four digits, and never zero.
pub fn probability(p: f64) -> String {
    if p < 1e-4 { "< 0.0001".into() } else { format!("{p:.4}") }
}

/// A difference in one sentence.
pub fn describe(difference: &PairedDifference) -> String {
    let [low, high] = difference.interval;
    let PairedDifference { images, drop, p_value, .. } = difference;
    let p = probability(*p_value);
    let p = if p.starts_with('<') { format!("p {p}") } else { format!("p = {p}") };
    if low > 0.0 {
        format!("A loss of {drop:.1} points (95 %: {low:.1} to {high:.1}) on {images} images, {p}.")
    } else if high < 0.0 {
        format!(
            "A gain of {:.1} points (95 %: {:.1} to {:.1}) on {images} images, {p}.",
            -drop, -high, -low
        )
    } else {
        // No "-0.0".
        let measured = -drop + 0.0;
        format!(
            "No loss that {images} images can show: {measured:+.1} points (95 %: {:+.1} to {:+.1}), {p}.",
            -high + 0.0,
            -low + 0.0
        )
    }
}
