//! What each layer does to the answer: the network in FP32 with one layer in INT8, and in INT8 with one layer in FP32.
//!
//! The network is run operator by operator, so that any operator can be computed either way and everything before a change is
//! computed once.

use std::sync::{Arc, Mutex, PoisonError};

use mobileight_compare::report::{Effect, LayerSensitivity, Sensitivity};
use mobileight_compare::{Answer, image_figures};
use mobileight_preprocess::Preprocessor;
use mobileight_reference::{Reference, ReferenceOptions};
use mobileight_runtime::{
    Data, Graph, Operator, OperatorKind, Plan, PlanOptions, Session, Tensor, TensorId,
};
use serde::{Deserialize, Serialize};

use super::layers::single;
use super::matching::Matching;
use super::network::Head;
use super::weights::restored;
use crate::{Error, codes, real_values};

/// Runs mixtures of FP32 and INT8; made once, shared between threads.
pub(super) struct Mixer {
    graph: Arc<Graph>,
    plan: Arc<Plan>,
    head: Head,
    preprocessor: Preprocessor,
    float_preprocessor: Preprocessor,
    steps: Vec<Step>,
    /// The operators whose output is quantized: what is ranked.
    layers: Vec<usize>,
    idle: Mutex<Vec<Vec<Option<Session>>>>,
}

/// One operator, ready to be computed either way.
struct Step {
    /// `None` for RESHAPE and SQUEEZE, which only move.
    int8: Option<Arc<Plan>>,
    /// In FP32 with the INT8 file's weights; `None` for these and for QUANTIZE and DEQUANTIZE, which leave real values alone.
    dequantized: Option<Reference>,
    /// In FP32 with the float sibling's weights; `None` when they are the INT8 file's.
    float: Option<Reference>,
}

/// A tensor's value during a run: codes where it is in INT8, real values where it is in FP32.
type Value = Option<Arc<Tensor>>;

/// Sums over images of what one layer does; saved to resume an interrupted pass.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct LayerSums {
    only_int8: Sums,
    only_float: Sums,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Sums {
    kl: f64,
    agree: u64,
    right: u64,
}

impl Sums {
    fn of(truth: Option<usize>, base: &Answer, answer: &Answer) -> Result<Self, Error> {
        let figures = image_figures(truth, base, answer)?;
        Ok(Sums {
            kl: figures.kl,
            agree: u64::from(!figures.flipped),
            right: u64::from(figures.second_correct == Some(true)),
        })
    }

    fn add(&mut self, other: &Sums) {
        self.kl += other.kl;
        self.agree += other.agree;
        self.right += other.right;
    }

    fn effect(&self, images: u64, labelled: u64) -> Effect {
        let share = |count: u64, of: u64| count as f64 / of.max(1) as f64;
        Effect {
            kl_mean: self.kl / images.max(1) as f64,
            agreement: share(self.agree, images),
            top1: (labelled > 0).then(|| share(self.right, labelled)),
        }
    }
}

/// The pass so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// What the sums were made from: they go on only with the same.
    pub key: String,
    /// Images gone through, those that could not be read included.
    pub next: usize,
    pub images: u64,
    pub labelled: u64,
    pub layers: Vec<LayerSums>,
}

impl Progress {
    pub fn add(&mut self, truth: Option<usize>, image: &[LayerSums]) {
        self.images += 1;
        self.labelled += u64::from(truth.is_some());
        self.layers.resize(image.len(), LayerSums::default());
        for (total, one) in self.layers.iter_mut().zip(image) {
            total.only_int8.add(&one.only_int8);
            total.only_float.add(&one.only_float);
        }
    }
}

impl Mixer {
    pub fn new(
        graph: &Arc<Graph>,
        options: &PlanOptions,
        preprocessor: Preprocessor,
        float_preprocessor: Preprocessor,
        sibling: Option<(&Graph, &Matching)>,
    ) -> Result<Self, Error> {
        let plan = Arc::new(Plan::new(Arc::clone(graph), options.clone())?);
        let dequantized = restored(graph, None)?;
        let float = sibling.map(|sibling| restored(graph, Some(sibling))).transpose()?;
        let reference = |network: &Graph, operator: usize| -> Result<Reference, Error> {
            let part = network.slice(operator..operator + 1)?;
            let shape = |&id: &TensorId| plan.shape(id).unwrap_or_default().to_vec();
            let options = ReferenceOptions::default()
                .input_shapes(part.inputs().iter().map(shape).collect())
                .limits(options.limits);
            Ok(Reference::new(Arc::new(part), options)?)
        };
        let mut steps = Vec::new();
        let mut layers = Vec::new();
        for (index, operator) in graph.operators().iter().enumerate() {
            let output = &graph.tensors()[operator.output];
            if output.element_type.is_8_bit() && !is_move(operator) {
                layers.push(index);
            }
            let converts =
                matches!(operator.kind, OperatorKind::Quantize | OperatorKind::Dequantize);
            let computes = !is_move(operator) && !converts;
            let has_own_weights = |network: &Graph| {
                operator.inputs.iter().any(|&id| network.tensors()[id] != dequantized.tensors()[id])
            };
            steps.push(Step {
                int8: match is_move(operator) {
                    true => None,
                    false => Some(single(graph, index, &plan, options)?),
                },
                dequantized: match computes {
                    true => Some(reference(&dequantized, index)?),
                    false => None,
                },
                float: float
                    .as_ref()
                    .filter(|network| computes && has_own_weights(network))
                    .map(|network| reference(network, index))
                    .transpose()?,
            });
        }
        Ok(Mixer {
            graph: Arc::clone(graph),
            head: Head::of(graph),
            plan,
            preprocessor,
            float_preprocessor,
            steps,
            layers,
            idle: Mutex::default(),
        })
    }

    /// Number of layers that are ranked.
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// What each layer does on an image (pixels of the input's size). `tick` is called after each layer.
    pub fn measure(
        &self,
        pixels: &[u8],
        truth: Option<usize>,
        tick: impl Fn(),
    ) -> Result<Vec<LayerSums>, Error> {
        let taken = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut sessions = taken.unwrap_or_else(|| {
            let session = |step: &Step| step.int8.as_ref().map(|p| Session::new(Arc::clone(p)));
            self.steps.iter().map(session).collect()
        });
        let measured = self.measure_with(pixels, truth, tick, &mut sessions);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(sessions);
        measured
    }

    fn measure_with(
        &self,
        pixels: &[u8],
        truth: Option<usize>,
        tick: impl Fn(),
        sessions: &mut [Option<Session>],
    ) -> Result<Vec<LayerSums>, Error> {
        let input = self.graph.inputs()[0];
        let mut float: Vec<Value> = vec![None; self.graph.tensors().len()];
        let mut int8 = float.clone();
        float[input] = Some(Arc::new(self.float_preprocessor.tensor(pixels)));
        int8[input] = Some(Arc::new(self.preprocessor.tensor(pixels)));
        for (step, session) in sessions.iter_mut().enumerate() {
            self.in_float(step, &mut float, true)?;
            self.in_int8(step, &mut int8, session)?;
        }
        let base = self.answer(&float)?;
        let mut sums = Vec::with_capacity(self.layers.len());
        for &layer in &self.layers {
            let mut mixed = float.clone();
            self.in_int8(layer, &mut mixed, &mut sessions[layer])?;
            let output = self.graph.operators()[layer].output;
            mixed[output] = mixed[output].take().map(|value| self.to_real(output, &value));
            let mut changed = vec![output];
            for step in layer + 1..self.steps.len() {
                if self.reads(step, &mut changed) {
                    self.in_float(step, &mut mixed, true)?;
                }
            }
            let only_int8 = Sums::of(truth, &base, &self.answer(&mixed)?)?;

            let mut mixed = int8.clone();
            self.in_float(layer, &mut mixed, true)?;
            let mut changed = vec![output];
            for (step, session) in sessions.iter_mut().enumerate().skip(layer + 1) {
                if !self.reads(step, &mut changed) {
                    continue;
                }
                let operator = &self.graph.operators()[step];
                let is_real = |id: &TensorId| self.is_unrounded(*id, &mixed);
                if !operator.inputs.iter().any(is_real) {
                    self.in_int8(step, &mut mixed, session)?;
                    continue;
                }
                // It reads what was not rounded, and rounds its own output if it computes one.
                self.in_float(step, &mut mixed, false)?;
                if self.steps[step].dequantized.is_some() {
                    let output = operator.output;
                    let rounded = mixed[output].take().map(|value| self.to_codes(output, &value));
                    mixed[output] = rounded;
                }
            }
            let only_float = Sums::of(truth, &base, &self.answer(&mixed)?)?;
            sums.push(LayerSums { only_int8, only_float });
            tick();
        }
        Ok(sums)
    }

    /// Whether a step reads a changed tensor; its output then is one.
    fn reads(&self, step: usize, changed: &mut Vec<TensorId>) -> bool {
        let operator = &self.graph.operators()[step];
        let reads = operator.inputs.iter().any(|id| changed.contains(id));
        if reads {
            changed.push(operator.output);
        }
        reads
    }

    /// Whether a tensor that is quantized in the INT8 network has real values.
    fn is_unrounded(&self, id: TensorId, values: &[Value]) -> bool {
        self.graph.tensors()[id].element_type.is_8_bit()
            && values[id].as_ref().is_some_and(|value| matches!(value.data, Data::F32(_)))
    }

    fn in_float(&self, step: usize, values: &mut [Value], own_weights: bool) -> Result<(), Error> {
        let operator = &self.graph.operators()[step];
        let step = &self.steps[step];
        let float = step.float.as_ref().filter(|_| own_weights);
        let Some(reference) = float.or(step.dequantized.as_ref()) else {
            self.pass_on(operator, values);
            return Ok(());
        };
        let inputs: Vec<Arc<Tensor>> = self
            .operands(reference.graph(), values)
            .map(|(id, value)| self.to_real(id, value))
            .collect();
        let views: Vec<_> = inputs.iter().map(|tensor| tensor.view()).collect();
        values[operator.output] = reference.run(&views)?.pop().map(Arc::new);
        Ok(())
    }

    fn in_int8(
        &self,
        step: usize,
        values: &mut [Value],
        session: &mut Option<Session>,
    ) -> Result<(), Error> {
        let operator = &self.graph.operators()[step];
        let Some(session) = session else {
            self.pass_on(operator, values);
            return Ok(());
        };
        let plan = Arc::clone(session.plan());
        let inputs: Vec<Arc<Tensor>> = self
            .operands(plan.graph(), values)
            .map(|(id, value)| self.to_codes(id, value))
            .collect();
        let views: Vec<_> = inputs.iter().map(|tensor| tensor.view()).collect();
        values[operator.output] = Some(Arc::new(session.run(&views)?[0].clone()));
        Ok(())
    }

    /// What a part of the graph takes.
    fn operands<'a>(
        &self,
        part: &'a Graph,
        values: &'a [Value],
    ) -> impl Iterator<Item = (TensorId, &'a Arc<Tensor>)> {
        part.inputs().iter().filter_map(|&id| Some((id, values[id].as_ref()?)))
    }

    /// The value as it is, in the shape of the output.
    fn pass_on(&self, operator: &Operator, values: &mut [Value]) {
        let (input, output) = (operator.inputs[0], operator.output);
        let shape = self.plan.shape(output).unwrap_or_default();
        let moved = |value: &Arc<Tensor>| {
            Arc::new(Tensor { shape: shape.to_vec(), data: value.data.clone() })
        };
        values[output] = values[input].as_ref().map(moved);
    }

    fn to_real(&self, id: TensorId, value: &Arc<Tensor>) -> Arc<Tensor> {
        match &value.data {
            Data::F32(_) => Arc::clone(value),
            _ => {
                let quantization = self.graph.tensors()[id].quantization.as_ref();
                Arc::new(Tensor::new(value.shape.clone(), real_values(value, quantization)))
            }
        }
    }

    fn to_codes(&self, id: TensorId, value: &Arc<Tensor>) -> Arc<Tensor> {
        let tensor = &self.graph.tensors()[id];
        let per_tensor = tensor.quantization.as_ref().and_then(|q| q.per_tensor());
        match (&value.data, per_tensor) {
            (Data::F32(values), Some((scale, zero_point))) => {
                match codes(values, tensor.element_type, scale, zero_point) {
                    Some(data) => Arc::new(Tensor { shape: value.shape.clone(), data }),
                    None => Arc::clone(value),
                }
            }
            _ => Arc::clone(value),
        }
    }

    fn answer(&self, values: &[Value]) -> Result<Answer, Error> {
        self.head.answer(|id| {
            let value = values[id].as_ref().map(|value| self.to_real(id, value));
            match value.as_deref() {
                Some(Tensor { data: Data::F32(real), .. }) => real.clone(),
                _ => Vec::new(),
            }
        })
    }

    /// The ranking of the report.
    pub fn report(&self, progress: &Progress) -> Sensitivity {
        let layer = |(&operator, sums): (&usize, &LayerSums)| {
            let node = &self.graph.operators()[operator];
            LayerSensitivity {
                operator,
                kind: node.kind.name().into(),
                name: self.graph.tensors()[node.output].name.clone(),
                only_int8: sums.only_int8.effect(progress.images, progress.labelled),
                only_float: sums.only_float.effect(progress.images, progress.labelled),
            }
        };
        let mut layers: Vec<LayerSensitivity> =
            self.layers.iter().zip(&progress.layers).map(layer).collect();
        layers.sort_by(|a, b| b.only_int8.kl_mean.total_cmp(&a.only_int8.kl_mean));
        Sensitivity { images: progress.images, layers }
    }
}

fn is_move(operator: &Operator) -> bool {
    matches!(operator.kind, OperatorKind::Reshape { .. } | OperatorKind::Squeeze { .. })
}
