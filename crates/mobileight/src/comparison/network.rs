//! A network that answers what is on an image.

use mobileight_compare::Answer;
use mobileight_preprocess::{Preprocessor, Recipe};
use mobileight_runtime::{Graph, OperatorKind, PlanOptions, Tensor, TensorId};

use crate::classifier::class_count;
use crate::{Error, Model, Pipeline, real_values};

/// The tensors of a classifier's answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    /// What the network gives.
    pub scores: TensorId,
    /// What goes into the SOFTMAX at its end, where there is one, and the factor of the exponent.
    pub logits: Option<(TensorId, f32)>,
}

impl Head {
    pub fn of(graph: &Graph) -> Self {
        let scores = graph.outputs()[0];
        let mut id = scores;
        let logits = loop {
            let Some(operator) = graph.producer(id).map(|at| &graph.operators()[at]) else {
                break None;
            };
            match operator.kind {
                OperatorKind::Softmax { beta } => break Some((operator.inputs[0], beta)),
                OperatorKind::Quantize
                | OperatorKind::Dequantize
                | OperatorKind::Reshape { .. }
                | OperatorKind::Squeeze { .. } => id = operator.inputs[0],
                _ => break None,
            }
        };
        Head { scores, logits }
    }

    /// The answer, when `real` gives the real values of a tensor.
    pub fn answer(&self, real: impl Fn(TensorId) -> Vec<f32>) -> Result<Answer, Error> {
        let scores = real(self.scores);
        Ok(match self.logits {
            None => Answer::from_logits(&scores)?,
            Some((id, beta)) => {
                let logits: Vec<f32> = real(id).into_iter().map(|value| beta * value).collect();
                Answer::new(scores, &logits)?
            }
        })
    }
}

/// A pipeline whose scores and logits can both be read.
#[derive(Debug)]
pub(super) struct Network {
    pipeline: Pipeline,
    head: Head,
}

impl Network {
    pub fn new(
        model: &Model,
        fp32: bool,
        options: &PlanOptions,
        recipe: &Recipe,
    ) -> Result<Self, Error> {
        let head = Head::of(model.graph());
        let outputs = [Some(head.scores), head.logits.map(|(id, _)| id)];
        let graph = model.graph().with_outputs(outputs.into_iter().flatten().collect())?;
        let mut pipeline = Pipeline::new(model.with_graph(graph))?;
        if fp32 {
            pipeline = pipeline.fp32()?;
        }
        let pipeline = pipeline.plan_options(options.clone())?.recipe(recipe.clone())?;
        class_count(&pipeline)?;
        Ok(Network { pipeline, head })
    }

    /// The same network with its input read by another contract or recipe.
    pub fn with_preprocessor(mut self, preprocessor: Preprocessor) -> Self {
        self.pipeline = self.pipeline.with_preprocessor(preprocessor);
        self
    }

    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    pub fn preprocessor(&self) -> &Preprocessor {
        self.pipeline.preprocessor()
    }

    pub fn classes(&self) -> usize {
        class_count(&self.pipeline).unwrap_or(0)
    }

    /// The answer for pixels of the input's size.
    pub fn answer(&self, pixels: &[u8]) -> Result<Answer, Error> {
        self.answer_tensor(&self.preprocessor().tensor(pixels))
    }

    /// The answer for a prepared input.
    pub fn answer_tensor(&self, input: &Tensor) -> Result<Answer, Error> {
        let outputs = self.pipeline.run_tensor(input)?;
        let graph = self.pipeline.model().graph();
        self.head.answer(|id| {
            let at = usize::from(id != self.head.scores);
            real_values(&outputs[at], graph.tensors()[id].quantization.as_ref())
        })
    }
}
