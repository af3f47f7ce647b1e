//! A network that can be run.

use std::fmt;
use std::sync::Arc;

use mobileight_runtime::{
    Data, DataView, ElementType, Graph, Layout, Limit, Limits, Tensor, TensorId, TensorView,
};
use rayon::prelude::*;
use tract_core::prelude as tract;
use tract_core::prelude::{IntoTValue, TypedSimplePlan};

use crate::{Error, constants, network};

/// What a reference computes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A float model's own weights: float32, float16 or of dynamic range.
    Float,
    /// A quantized model's weights and biases, dequantized, with activations that are not rounded.
    Dequantized,
}

impl Kind {
    /// `float` or `dequantized`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Float => "float",
            Kind::Dequantized => "dequantized",
        }
    }
}

/// How a [`Reference`] is built.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ReferenceOptions {
    /// Shapes of the inputs; those of the file when empty.
    pub input_shapes: Vec<Vec<usize>>,
    /// Whether [`Reference::run_all`] gives every tensor, not only the outputs.
    pub keep_intermediates: bool,
    /// What the graph may cost: memory, multiply-adds.
    pub limits: Limits,
}

impl ReferenceOptions {
    /// Shapes of the inputs; those of the file when empty.
    pub fn input_shapes(mut self, shapes: Vec<Vec<usize>>) -> Self {
        self.input_shapes = shapes;
        self
    }

    /// Whether [`Reference::run_all`] gives every tensor, not only the outputs.
    pub fn keep_intermediates(mut self, keep: bool) -> Self {
        self.keep_intermediates = keep;
        self
    }

    /// Bounds memory and time.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}

/// A graph in FP32. All methods that run take `&self`: share it between threads.
///
/// Inputs and outputs are real values, also of quantized graphs. ARG_MAX gives its own integers.
pub struct Reference {
    graph: Arc<Graph>,
    shapes: Vec<Vec<usize>>,
    plan: Arc<TypedSimplePlan>,
    /// The tensors that a run gives, the graph's outputs first.
    kept: Vec<TensorId>,
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operators = self.graph.operators().len();
        write!(f, "Reference({}, {operators} operators)", self.kind().name())
    }
}

impl Reference {
    /// Builds the network.
    ///
    /// # Errors
    ///
    /// When shapes do not fit, constants are not finite or have no real values, or a limit is too low.
    pub fn new(graph: Arc<Graph>, options: ReferenceOptions) -> Result<Self, Error> {
        graph.check_limits(&options.limits)?;
        let layout = Layout::new(&graph, &options.input_shapes, options.keep_intermediates)?;
        let shapes = layout.shapes().to_vec();
        layout.check_limits(&graph, &options.limits)?;
        let needed = memory(&graph, &layout);
        let memory = options.limits.check(Limit::MemoryBytes, needed);
        memory.map_err(mobileight_runtime::Error::from)?;
        let mut kept = graph.outputs().to_vec();
        if options.keep_intermediates {
            let computed = graph.operators().iter().map(|operator| operator.output);
            let all: Vec<TensorId> = graph.inputs().iter().copied().chain(computed).collect();
            kept.extend(all.into_iter().filter(|id| !graph.outputs().contains(id)));
        }
        let model = network::build(&graph, &shapes, &kept)?;
        let plan = TypedSimplePlan::new(model).map_err(network::tract)?;
        Ok(Reference { graph, shapes, plan, kept })
    }

    /// What the reference computes with.
    pub fn kind(&self) -> Kind {
        match self.graph.is_float() {
            true => Kind::Float,
            false => Kind::Dequantized,
        }
    }

    /// The graph.
    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// The shape of a tensor at these input sizes.
    pub fn shape(&self, id: TensorId) -> Option<&[usize]> {
        self.shapes.get(id).map(Vec::as_slice)
    }

    /// The outputs for inputs of real values, or of a quantized input's own codes.
    ///
    /// # Errors
    ///
    /// When an input does not fit, or a result is NaN or infinite.
    pub fn run(&self, inputs: &[TensorView<'_>]) -> Result<Vec<Tensor>, Error> {
        let mut tensors = self.run_all(inputs)?.tensors;
        tensors.truncate(self.graph.outputs().len());
        Ok(tensors)
    }

    /// The outputs of many runs, in order, computed in parallel on the caller's rayon pool.
    ///
    /// # Errors
    ///
    /// As [`run`](Reference::run), for the first run that fails.
    pub fn run_batch(&self, batch: &[Vec<TensorView<'_>>]) -> Result<Vec<Vec<Tensor>>, Error> {
        batch.par_iter().map(|inputs| self.run(inputs)).collect()
    }

    /// The outputs and, when built to keep them, the inputs and every other tensor that an operator computes.
    ///
    /// # Errors
    ///
    /// As [`run`](Reference::run); with intermediates the first tensor that is not finite is named.
    pub fn run_all(&self, inputs: &[TensorView<'_>]) -> Result<Tensors<'_>, Error> {
        let expected = self.graph.inputs().len();
        if inputs.len() != expected {
            return Err(Error::InputCount { expected, found: inputs.len() });
        }
        let given = self.graph.inputs().iter().enumerate().zip(inputs);
        let given = given
            .map(|((at, &id), view)| Ok(self.input(at, id, view)?.into_tvalue()))
            .collect::<Result<tract::TVec<_>, Error>>()?;
        let results = self.plan.run(given).map_err(network::tract)?;
        let mut tensors = Vec::with_capacity(results.len());
        for (&id, value) in self.kept.iter().zip(results) {
            tensors.push(self.output(id, &value)?);
        }
        self.check(&tensors)?;
        Ok(Tensors { reference: self, tensors })
    }

    fn input(
        &self,
        at: usize,
        id: TensorId,
        view: &TensorView<'_>,
    ) -> Result<tract::Tensor, Error> {
        let tensor = &self.graph.tensors()[id];
        let refuse = || Error::Input {
            input: at,
            name: tensor.name.clone(),
            expected: self.shapes[id].clone(),
            element_type: view.data.element_type().name(),
            found: view.shape.to_vec(),
        };
        let count = self.shapes[id].iter().product::<usize>();
        if view.shape != self.shapes[id] || view.data.len() != count {
            return Err(refuse());
        }
        let values = match view.data {
            DataView::F32(values) => std::borrow::Cow::Borrowed(values),
            codes if codes.element_type() == tensor.element_type => {
                let codes = constants::integers(&codes.to_owned());
                codes
                    .and_then(|codes| constants::dequantize(tensor, &codes))
                    .ok_or_else(refuse)?
                    .into()
            }
            _ => return Err(refuse()),
        };
        finite(id, &tensor.name, &values)?;
        tract::Tensor::from_shape(view.shape, &values).map_err(network::tract)
    }

    fn output(&self, id: TensorId, value: &tract::Tensor) -> Result<Tensor, Error> {
        let shape = value.shape().to_vec();
        if let Ok(view) = value.to_plain_array_view::<f32>() {
            return Ok(Tensor::new(shape, view.iter().copied().collect::<Vec<f32>>()));
        }
        let view = value.to_plain_array_view::<i64>().map_err(network::tract)?;
        // ARG_MAX is the only operator with integers as its result.
        let indices: Data = match self.graph.tensors()[id].element_type {
            ElementType::I32 => view.iter().map(|&index| index as i32).collect::<Vec<_>>().into(),
            _ => view.iter().copied().collect::<Vec<i64>>().into(),
        };
        Ok(Tensor::new(shape, indices))
    }

    /// Finds the first tensor, in the order of computation, that is not finite.
    fn check(&self, tensors: &[Tensor]) -> Result<(), Error> {
        let order = self.graph.operators().iter().filter_map(|operator| {
            let at = self.kept.iter().position(|&id| id == operator.output)?;
            Some((operator.output, &tensors[at]))
        });
        for (id, tensor) in order {
            if let Data::F32(values) = &tensor.data {
                finite(id, &self.graph.tensors()[id].name, values)?;
            }
        }
        Ok(())
    }
}

fn finite(index: TensorId, name: &str, values: &[f32]) -> Result<(), Error> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(element) => {
            Err(Error::NotFinite { index, name: name.into(), element, value: values[element] })
        }
    }
}

/// Bytes of weights and activations, each element as FP32.
fn memory(graph: &Graph, layout: &Layout) -> u64 {
    let weights = graph.tensors().iter().filter_map(|tensor| {
        let bytes = tensor.data.as_ref()?.len() as u64;
        Some(bytes / tensor.element_type.size() as u64 * 4)
    });
    // The arena of a quantized graph counts one byte an element.
    let activations = layout.arena_bytes().saturating_mul(if graph.is_float() { 1 } else { 4 });
    weights.fold(activations, u64::saturating_add)
}

/// What a run gave.
#[derive(Debug)]
pub struct Tensors<'a> {
    reference: &'a Reference,
    tensors: Vec<Tensor>,
}

impl Tensors<'_> {
    /// A tensor by its index in the file; `None` when it was not kept.
    pub fn get(&self, id: TensorId) -> Option<TensorView<'_>> {
        let at = self.reference.kept.iter().position(|&kept| kept == id)?;
        Some(self.tensors[at].view())
    }

    /// The first kept tensor of a name.
    pub fn by_name(&self, name: &str) -> Option<TensorView<'_>> {
        self.get(self.reference.graph.find(name)?)
    }

    /// The graph's outputs, in order.
    pub fn outputs(&self) -> &[Tensor] {
        &self.tensors[..self.reference.graph.outputs().len()]
    }
}
