//! The reference under other usual preprocessings: is it the preprocessing that costs?

use mobileight_compare::report::{Preprocessing, RecipeScore, Truth};
use mobileight_compare::{Answer, PairAccumulator};
use mobileight_preprocess::{
    ChannelOrder, Normalization, NormalizationChoice, Preprocessor, Recipe,
};

use super::network::Network;
use crate::Error;

/// Answers under each recipe; the one used is first.
pub(super) struct RecipeProbe {
    names: Vec<String>,
    others: Vec<Preprocessor>,
}

/// Sums over the images so far.
pub(super) struct RecipeTotals {
    images: u64,
    scores: Vec<Score>,
}

struct Score {
    confidence: f64,
    against_used: PairAccumulator,
}

impl RecipeProbe {
    /// The usual recipes that differ from the one used.
    pub fn new(used: &Preprocessor) -> Result<Self, Error> {
        let recipe = used.recipe();
        let normalized =
            |normalization: NormalizationChoice| Recipe { normalization, ..recipe.clone() };
        let actual = used.normalization().clone();
        // What a program does that normalizes an image which its library has normalized already.
        let twice = NormalizationChoice::Given(Normalization {
            mean: vec![127.5 + 127.5 * 127.5],
            standard_deviation: vec![127.5 * 127.5],
        });
        let mut usual = vec![
            ("[-1, 1]", normalized(NormalizationChoice::MinusOneToOne)),
            ("[0, 1]", normalized(NormalizationChoice::ZeroToOne)),
            ("raw", normalized(NormalizationChoice::Raw)),
            ("normalized twice", normalized(twice)),
        ];
        usual.retain(|(_, recipe)| recipe.normalization.values().as_ref() != Some(&actual));
        if used.contract().channels() == 3 {
            let (name, channel_order) = match recipe.channel_order {
                ChannelOrder::Rgb => ("BGR", ChannelOrder::Bgr),
                ChannelOrder::Bgr => ("RGB", ChannelOrder::Rgb),
            };
            usual.push((name, Recipe { channel_order, ..recipe.clone() }));
        }
        let mut probe = RecipeProbe { names: vec!["as used".into()], others: Vec::new() };
        for (name, recipe) in usual {
            probe.names.push(name.into());
            probe.others.push(Preprocessor::new(used.contract().clone(), recipe)?);
        }
        Ok(probe)
    }

    /// The reference's answers for an image (pixels of the input's size), in the order of the recipes.
    pub fn answers(&self, network: &Network, pixels: &[u8]) -> Result<Vec<Answer>, Error> {
        let mut answers = vec![network.answer(pixels)?];
        for preprocessor in &self.others {
            answers.push(network.answer_tensor(&preprocessor.tensor(pixels))?);
        }
        Ok(answers)
    }

    pub fn totals(&self, truth: Truth) -> RecipeTotals {
        let score =
            |_: &String| Score { confidence: 0.0, against_used: PairAccumulator::new(truth) };
        RecipeTotals { images: 0, scores: self.names.iter().map(score).collect() }
    }

    /// The table of the report. Accuracy needs labels: without them the recipe used would be its own truth.
    pub fn report(&self, totals: &RecipeTotals, truth: Truth, seed: u64) -> Preprocessing {
        let recipe = |(name, score): (&String, &Score)| {
            let difference = (truth == Truth::Labels).then(|| score.against_used.finish(seed).top1);
            RecipeScore {
                name: name.clone(),
                top1: difference.as_ref().map(|difference| difference.second),
                confidence: score.confidence / totals.images.max(1) as f64,
                difference: difference.filter(|_| name != &self.names[0]),
            }
        };
        Preprocessing {
            images: totals.images,
            recipes: self.names.iter().zip(&totals.scores).map(recipe).collect(),
        }
    }
}

impl RecipeTotals {
    pub fn add(&mut self, truth: Option<usize>, answers: &[Answer]) -> Result<(), Error> {
        self.images += 1;
        for (score, answer) in self.scores.iter_mut().zip(answers) {
            score.confidence += f64::from(answer.probabilities()[answer.first()]);
            score.against_used.add(truth, &answers[0], answer)?;
        }
        Ok(())
    }
}
