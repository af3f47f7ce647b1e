//! Metrics against NumPy's values (written by `tests/python/metrics.py`), and what must hold for any numbers.

use mobileight_compare::report::{
    Decibels, Layer, MarginBin, PairFigures, Preprocessing, RecipeScore, Report, Severity, Split,
    TensorError, Truth, Verdict, Weights,
};
use mobileight_compare::{
    Answer, Error, PairAccumulator, SqnrAccumulator, TensorAccumulator, Worst, advise, describe,
    gate, image_figures, mcnemar_exact, paired_difference, weight_range_ratio,
};
use serde_json::Value;

fn recorded() -> Value {
    serde_json::from_str(include_str!("data/metrics.json")).unwrap()
}

fn floats(value: &Value) -> Vec<f32> {
    serde_json::from_value(value.clone()).unwrap()
}

fn near(found: f64, expected: &Value, tolerance: f64) {
    let expected = expected.as_f64().unwrap();
    assert!((found - expected).abs() <= tolerance * expected.abs().max(1e-3), "{found} {expected}");
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn answer(&mut self) -> Answer {
        let logits: Vec<f32> = (0..10).map(|_| 8.0 * self.share() as f32).collect();
        Answer::from_logits(&logits).unwrap()
    }
}

#[test]
fn images_equal_numpy() {
    for pair in recorded()["pairs"].as_array().unwrap() {
        let [first, second] =
            ["first", "second"].map(|key| Answer::from_logits(&floats(&pair[key])).unwrap());
        let figures = image_figures(None, &first, &second).unwrap();
        // Probabilities are f32.
        near(figures.kl, &pair["kl"], 1e-5);
        near(figures.total_variation, &pair["total_variation"], 1e-5);
        near(figures.margin, &pair["margin"], 1e-5);
        near(figures.largest_probability_error, &pair["largest"], 1e-5);
        assert_eq!(figures.flipped, pair["flipped"].as_bool().unwrap());
    }
}

#[test]
fn tensors_equal_numpy() {
    for tensor in recorded()["tensors"].as_array().unwrap() {
        let scale = tensor["scale"].as_f64().unwrap() as f32;
        let zero_point = tensor["zero_point"].as_i64().unwrap() as i32;
        let codes: Vec<i32> = serde_json::from_value(tensor["codes"].clone()).unwrap();
        let reference = floats(&tensor["reference"]);
        let mut whole = TensorAccumulator::new(scale, zero_point, [-128, 127], 5);
        let mut parts = [whole.clone(), whole.clone()];
        whole.add(&reference, &codes).unwrap();
        let cut = 50;
        parts[0].add(&reference[..cut], &codes[..cut]).unwrap();
        parts[1].add(&reference[cut..], &codes[cut..]).unwrap();
        let [mut merged, rest] = parts;
        merged.merge(&rest);
        for error in [whole.finish().unwrap(), merged.finish().unwrap()] {
            near(error.sqnr.0, &tensor["sqnr"], 1e-9);
            near(error.cosine, &tensor["cosine"], 1e-9);
            near(error.rmse_over_scale, &tensor["rmse_over_scale"], 1e-9);
            near(error.mean_error, &tensor["mean_error"], 1e-9);
            near(error.channel_mean_error, &tensor["channel_mean_error"], 1e-9);
            near(error.largest_error, &tensor["largest_error"], 1e-9);
            near(error.saturated_low, &tensor["saturated_low"], 1e-9);
            near(error.saturated_high, &tensor["saturated_high"], 1e-9);
            near(error.used_range, &tensor["used_range"], 1e-9);
        }
    }
}

#[test]
fn mcnemar_equals_exact_integers() {
    for test in recorded()["mcnemar"].as_array().unwrap() {
        let count = |key: &str| test[key].as_u64().unwrap();
        near(mcnemar_exact(count("only_first"), count("only_second")), &test["p"], 1e-9);
    }
}

#[test]
fn identical_networks_lose_nothing() {
    let mut random = Random(3);
    let mut pair = PairAccumulator::new(Truth::Labels);
    for image in 0..200 {
        let answer = random.answer();
        let figures = pair.add(Some(image % 10), &answer, &answer).unwrap();
        assert_eq!((figures.kl, figures.total_variation, figures.flipped), (0.0, 0.0, false));
    }
    let figures = pair.finish(1);
    assert_eq!((figures.top1.drop, figures.top1.p_value, figures.flips), (0.0, 1.0, 0));
    // No difference was seen, which does not prove that there is none.
    let [low, high] = figures.top1.interval;
    assert!(low < 0.0 && high > 0.0 && high < 3.0, "{low} {high}");
    let values = [0.5f32, -1.0, 2.0];
    let mut sqnr = SqnrAccumulator::default();
    assert_eq!((sqnr.sqnr(), sqnr.cosine()), (None, None));
    sqnr.add(&values, &values).unwrap();
    assert_eq!(sqnr.sqnr(), Some(Decibels(f64::INFINITY)));
    assert!((sqnr.cosine().unwrap() - 1.0).abs() < 1e-12);
    let mut exact = TensorAccumulator::new(0.5, 0, [-128, 127], 3);
    exact.add(&values, &[1i8, -2, 4]).unwrap();
    assert_eq!(exact.finish().unwrap().sqnr, Decibels(f64::INFINITY));
}

#[test]
fn swapping_the_networks_swaps_the_flips() {
    let mut random = Random(4);
    let [mut forth, mut back] = [0; 2].map(|_| PairAccumulator::new(Truth::Labels));
    let mut parts = [forth.clone(), forth.clone()];
    for image in 0..300 {
        let [a, b] = [random.answer(), random.answer()];
        let label = (image % 7 != 0).then_some(image % 10);
        forth.add(label, &a, &b).unwrap();
        back.add(label, &b, &a).unwrap();
        parts[image % 2].add(label, &a, &b).unwrap();
    }
    let [forth, back] = [forth.finish(5), back.finish(5)];
    assert_eq!(forth.flips, back.flips);
    assert_eq!(forth.flips_to_wrong, back.flips_to_right);
    assert_eq!(forth.flips_to_right, back.flips_to_wrong);
    assert_eq!(forth.top1.drop, -back.top1.drop);
    assert_eq!(forth.top1.p_value, back.top1.p_value);
    assert_eq!(forth.top1.images, 257);
    assert_eq!(forth.images, 300);
    let [mut merged, rest] = parts;
    merged.merge(&rest);
    let merged = merged.finish(5);
    assert_eq!(merged.top1, forth.top1);
    assert_eq!(merged.margins, forth.margins);
    assert!((merged.kl_mean - forth.kl_mean).abs() < 1e-12);
}

/// The 95 % interval holds the true drop in 93 to 97 % of simulated experiments; with few discordant images in more.
#[test]
fn intervals_cover() {
    let mut random = Random(11);
    for (images, only_first, only_second, least, most) in [
        (500, 0.08, 0.03, 0.93, 0.97),
        (500, 0.06, 0.06, 0.93, 0.97),
        (500, 0.15, 0.05, 0.93, 0.97),
        (2000, 0.02, 0.015, 0.93, 0.97),
        (200, 0.02, 0.01, 0.95, 1.0),
        (100, 0.004, 0.004, 0.95, 1.0),
    ] {
        let trials = 600;
        let mut covered = 0;
        for trial in 0..trials {
            let mut counts = [0u64; 4];
            for _ in 0..images {
                let at = random.share();
                let kind = if at < only_first {
                    1
                } else if at < only_first + only_second {
                    2
                } else {
                    0
                };
                counts[kind] += 1;
            }
            let [low, high] = paired_difference(counts, trial).interval;
            let truth = 100.0 * (only_first - only_second);
            covered += u64::from(low <= truth + 1e-9 && truth <= high + 1e-9);
        }
        let share = covered as f64 / trials as f64;
        // Three standard deviations of the simulation itself.
        let slack = 3.0 * (0.95f64 * 0.05 / trials as f64).sqrt();
        println!("n = {images}, {only_first} {only_second}: {share:.3}");
        assert!(share >= least - slack && share <= most + slack, "{images} {only_first}: {share}");
    }
}

#[test]
fn intervals_repeat_and_large_counts_are_quick() {
    let counts = [40_000, 3_000, 2_500, 4_500];
    let start = std::time::Instant::now();
    assert_eq!(paired_difference(counts, 9), paired_difference(counts, 9));
    let difference = paired_difference(counts, 9);
    assert!((difference.drop - 1.0).abs() < 1e-12);
    // 1.96 standard errors.
    let expected = 1.96 * 100.0 / 50_000.0 * (5_500f64 - 500.0 * 500.0 / 50_000.0).sqrt();
    let [low, high] = difference.interval;
    assert!(((high - low) / 2.0 - expected).abs() < 0.02, "{low} {high} {expected}");
    assert!(start.elapsed().as_secs() < 10);
    assert_eq!(paired_difference([0; 4], 1).interval, [-100.0, 100.0]);
}

#[test]
fn gates_pass_fail_or_say_how_many_images_are_needed() {
    let loss = paired_difference([400, 50, 10, 40], 1);
    assert!(describe(&loss).starts_with("A loss of 8.0 points"), "{}", describe(&loss));
    assert_eq!(gate(&loss, 1.0).verdict, Verdict::Failed);
    assert_eq!(gate(&loss, 20.0).verdict, Verdict::Passed);
    let small = paired_difference([430, 12, 10, 48], 1);
    assert!(describe(&small).contains("No loss that 500 images can show"), "{}", describe(&small));
    let unsure = gate(&small, 1.0);
    assert_eq!(unsure.verdict, Verdict::Inconclusive);
    assert!(unsure.images_needed.unwrap() > 500);
    assert!(
        unsure.message.starts_with("inconclusive at n = 500, needs about "),
        "{}",
        unsure.message
    );
    let gain = paired_difference([400, 10, 50, 40], 1);
    assert!(describe(&gain).starts_with("A gain of 8.0 points"), "{}", describe(&gain));
}

#[test]
fn answers_are_ordered_and_bad_ones_refused() {
    let answer = Answer::new(vec![0.25, 0.5, 0.25, 0.0], &[1.0, 3.0, 2.0, -4.0]).unwrap();
    assert_eq!(answer.top(9), [1, 2, 0, 3]);
    let tied = Answer::new(vec![1.0, 1.0], &[0.0, 0.0]).unwrap();
    assert_eq!((tied.first(), tied.is_tied(), tied.probabilities()), (0, true, &[0.5, 0.5][..]));
    assert!(matches!(Answer::from_logits(&[]), Err(Error::Empty(_))));
    assert!(matches!(
        Answer::from_logits(&[0.0, f32::NAN]),
        Err(Error::NotFinite { index: 1, .. })
    ));
    assert!(matches!(Answer::new(vec![1.0], &[1.0, 2.0]), Err(Error::Length { .. })));
    assert!(matches!(
        Answer::new(vec![0.0, 0.0], &[1.0, 2.0]),
        Err(Error::NotProbabilities { .. })
    ));
    assert!(matches!(
        Answer::new(vec![0.5, -0.1], &[1.0, 2.0]),
        Err(Error::NotProbabilities { index: 1, .. })
    ));
    let more = Answer::from_logits(&[0.0; 3]).unwrap();
    assert!(matches!(image_figures(None, &tied, &more), Err(Error::Length { .. })));
    assert!(matches!(
        image_figures(Some(2), &tied, &tied),
        Err(Error::Class { index: 2, classes: 2 })
    ));
}

#[test]
fn the_worst_are_kept_in_order() {
    let mut worst = Worst::new(3);
    let figures = |flipped, kl| {
        let answer = Answer::from_logits(&[0.0, 1.0]).unwrap();
        let mut figures = image_figures(None, &answer, &answer).unwrap();
        (figures.flipped, figures.kl) = (flipped, kl);
        figures
    };
    for (name, flipped, kl) in
        [("a", false, 0.9), ("b", true, 0.1), ("c", false, 0.2), ("d", true, 0.5), ("e", true, 0.1)]
    {
        worst.add(&figures(flipped, kl), || name);
    }
    worst.add(&figures(false, 0.0), || panic!("described in vain"));
    let names: Vec<&str> = worst.into_sorted().into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["d", "b", "e"]);
}

#[test]
fn weight_ranges_leave_dead_channels_out() {
    assert_eq!(weight_range_ratio(&[0.5, 0.0, 2.0, 1.0]), (4.0, 1));
    assert_eq!(weight_range_ratio(&[0.0, 0.0]), (1.0, 2));
    assert_eq!(weight_range_ratio(&[]), (1.0, 0));
}

fn layer(name: &str) -> Layer {
    let error = TensorError { used_range: 0.9, rmse_over_scale: 0.29, ..TensorError::default() };
    Layer {
        kind: "DEPTHWISE_CONV_2D".into(),
        name: name.into(),
        local: Some(error.clone()),
        accumulated: Some(error),
        weights: Some(Weights { channels: 8, range_ratio: 100.0, ..Weights::default() }),
        ..Layer::default()
    }
}

fn report(counts: [u64; 4]) -> Report {
    let top1 = paired_difference(counts, 1);
    let images = top1.images;
    let bin = MarginBin { from: 0.0, to: 0.1, images: 20, flips: 10 };
    Report {
        overall: PairFigures {
            truth: Truth::Labels,
            images,
            top1,
            flips: 10,
            margins: vec![bin],
            ..PairFigures::default()
        },
        ..Report::new()
    }
}

fn rules(report: &Report) -> Vec<String> {
    advise(report).into_iter().map(|advice| advice.rule).collect()
}

#[test]
fn advice_follows_from_figures() {
    let mut collapsed = report([100, 300, 10, 90]);
    assert_eq!(rules(&collapsed), ["more_images"]);
    collapsed.layers.layers = vec![layer("depthwise")];
    assert_eq!(rules(&collapsed)[0], "per_channel_weights");
    assert_eq!(advise(&collapsed)[0].severity, Severity::Critical);
    assert!(advise(&collapsed)[0].because.contains("100"), "{:?}", advise(&collapsed)[0]);
    let local = |error: &mut TensorError| error.saturated_high = 0.05;
    local(collapsed.layers.layers[0].local.as_mut().unwrap());
    collapsed.layers.layers[0].local.as_mut().unwrap().mean_error = -0.4;
    collapsed.layers.layers[0].accumulated.as_mut().unwrap().used_range = 0.1;
    collapsed.layers.layers[0].weights.as_mut().unwrap().dead_channels = 2;
    collapsed.split = Some(Split { weights: collapsed.overall.clone(), ..Split::default() });
    let expected = [
        "per_channel_weights",
        "saturation",
        "bias_correction",
        "unused_range",
        "weights_cost",
        "dead_channels",
        "more_images",
    ];
    assert_eq!(rules(&collapsed), expected);
    let weights = collapsed.layers.layers[0].weights.as_mut().unwrap();
    (weights.per_channel, weights.dead_channels) = (true, 0);
    assert!(!rules(&collapsed).contains(&"per_channel_weights".to_owned()));

    let mut fine = report([440, 5, 5, 50]);
    assert_eq!(rules(&fine), ["near_ties", "more_images"]);
    fine.overall.ties = 100;
    assert!(rules(&fine).contains(&"ties".to_owned()));
    let better = paired_difference([10, 2, 30, 22], 1);
    let score = |name: &str, difference| RecipeScore {
        name: name.into(),
        difference,
        ..RecipeScore::default()
    };
    let recipes = vec![
        score("as used", None),
        score("[0, 1]", Some(better)),
        score("raw", Some(paired_difference([10, 20, 2, 32], 1))),
    ];
    fine.preprocessing = Some(Preprocessing { images: 64, recipes });
    assert_eq!(rules(&fine)[0], "preprocessing");
    assert!(
        advise(&fine)[0]
            .title
            .contains("your preprocessing, not the quantization, costs 44 points"),
        "{:?}",
        advise(&fine)[0]
    );
    let large = report([90_000, 5, 5, 10_000]);
    assert!(!rules(&large).contains(&"more_images".to_owned()));
}
