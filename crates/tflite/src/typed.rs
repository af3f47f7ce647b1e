//! Quantized graphs as models of tract, computed by our kernels.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use mobileight_runtime::{AlignedBytes, ElementType, Graph, Plan, PlanOptions, TensorId};
use tract_core::internal::*;

use crate::Error;

/// Makes a quantized graph a model of tract, for programs that run models by tract: one operator of ours for each of the graph.
///
/// Inputs and outputs have the element types of the file: int8 and uint8 ones hold what their scale and zero point say. Between
/// operators, 8-bit tensors are `u8` codes: int8 values plus 128. Such a model can be cut, joined with others and run in several
/// threads as any other; its shapes are fixed.
///
/// # Errors
///
/// [`Error::Graph`] when the graph cannot be planned, [`Error::Tract`] with what tract says.
///
/// # Example
///
/// ```no_run
/// use mobileight_tflite::tract_core::prelude::*;
///
/// let graph = mobileight_tflite::read_file("mobilenet_v2_1.0_224_int8.tflite")?;
/// let model = mobileight_tflite::to_tract(&graph)?.into_optimized()?.into_runnable()?;
/// let image = Tensor::zero::<i8>(&[1, 224, 224, 3])?;
/// let scores = model.run(tvec!(image.into_tvalue()))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn to_tract(graph: &Graph) -> Result<TypedModel, Error> {
    let plan = Plan::new(Arc::new(graph.clone()), PlanOptions::default())?;
    plan_to_tract(&Arc::new(plan))
}

/// The same of a plan, which has numerics, instruction set and shapes chosen.
///
/// # Errors
///
/// [`Error::Tract`] with what tract says.
pub fn plan_to_tract(plan: &Arc<Plan>) -> Result<TypedModel, Error> {
    build(plan).map_err(|error| Error::Tract(format!("{error:#}")))
}

fn build(plan: &Arc<Plan>) -> TractResult<TypedModel> {
    let graph = plan.graph();
    let shape = |id: TensorId| plan.shape(id).unwrap_or_default();
    let mut model = TypedModel::default();
    let mut wires: HashMap<TensorId, OutletId> = HashMap::new();
    for (&id, at) in graph.inputs().iter().zip(0..) {
        let element_type = graph.tensors()[id].element_type;
        let name = unique(graph, id);
        let mut wire = model.add_source(&name, datum_type(element_type)?.fact(shape(id)))?;
        if element_type == ElementType::I8 {
            wire = model.wire_node(
                format!("{name}/codes.{at}"),
                FlipSign(u8::datum_type()),
                &[wire],
            )?[0];
        }
        wires.insert(id, wire);
    }
    let buffers = Arc::new(Buffers::default());
    let mut kernels = plan.kernels().enumerate().peekable();
    for (index, operator) in graph.operators().iter().enumerate() {
        let wire = |id: TensorId| {
            wires.get(&id).copied().with_context(|| format!("tensor {id} has no value"))
        };
        let name = unique(graph, operator.output);
        let output = shape(operator.output);
        let wire = match kernels.next_if(|(_, kernel)| kernel.operator == index) {
            Some((at, kernel)) => {
                let inputs: Vec<OutletId> =
                    kernel.operands.iter().map(|&id| wire(id)).collect::<TractResult<_>>()?;
                let fact = inner_type(graph.tensors()[operator.output].element_type)?.fact(output);
                let layer = Layer {
                    plan: Arc::clone(plan),
                    kernel: at,
                    name: kernel.name,
                    fact,
                    buffers: Arc::clone(&buffers),
                };
                model.wire_node(name, layer, &inputs)?
            }
            None => {
                let input = wire(operator.inputs[0])?;
                model.wire_node(name, Reshape(output.into()), &[input])?
            }
        };
        wires.insert(operator.output, wire[0]);
    }
    let mut outputs = Vec::new();
    for (&id, at) in graph.outputs().iter().zip(0..) {
        let mut wire = *wires.get(&id).with_context(|| format!("output {at} has no value"))?;
        if graph.tensors()[id].element_type == ElementType::I8 {
            let name = format!("{}/values.{at}", unique(graph, id));
            wire = model.wire_node(name, FlipSign(i8::datum_type()), &[wire])?[0];
        }
        outputs.push(wire);
    }
    model.select_output_outlets(&outputs)?;
    Ok(model)
}

/// Names of tensors may be empty or the same in a file.
fn unique(graph: &Graph, id: TensorId) -> String {
    format!("{}#{id}", graph.tensors()[id].name)
}

fn datum_type(element_type: ElementType) -> TractResult<DatumType> {
    Ok(match element_type {
        ElementType::U8 => u8::datum_type(),
        ElementType::I8 => i8::datum_type(),
        ElementType::I32 => i32::datum_type(),
        ElementType::I64 => i64::datum_type(),
        ElementType::F32 => f32::datum_type(),
        other => bail!("activations of {other} are not supported"),
    })
}

/// The type between operators.
fn inner_type(element_type: ElementType) -> TractResult<DatumType> {
    match element_type {
        ElementType::I8 => Ok(u8::datum_type()),
        other => datum_type(other),
    }
}

/// Tensors of the same type and number of elements.
type Kind = (DatumType, usize);

/// What the layers of a model share.
#[derive(Default)]
struct Buffers {
    /// Tensors that were handed out, to be used again when nobody else has them any more.
    tensors: Mutex<HashMap<Kind, Vec<Arc<Tensor>>>>,
    /// Working memory of layers that are not being computed.
    scratch: Mutex<Vec<AlignedBytes>>,
}

impl Buffers {
    fn take_scratch(&self, bytes: usize) -> AlignedBytes {
        let free = self.scratch.lock().unwrap_or_else(PoisonError::into_inner).pop();
        free.unwrap_or_else(|| AlignedBytes::zeroed(bytes))
    }

    fn give_scratch(&self, scratch: AlignedBytes) {
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
    }

    /// A tensor of any content. Give it back to have it used again.
    fn take(&self, fact: &TypedFact) -> TractResult<Tensor> {
        let shape = fact.shape.as_concrete().context("shapes are fixed")?;
        let key = (fact.datum_type, shape.iter().product());
        let mut all = self.tensors.lock().unwrap_or_else(PoisonError::into_inner);
        let own = all.entry(key).or_default();
        if let Some(free) = own.iter().rposition(|tensor| Arc::strong_count(tensor) == 1)
            && let Ok(mut tensor) = Arc::try_unwrap(own.remove(free))
        {
            drop(all);
            tensor.set_shape(shape)?;
            return Ok(tensor);
        }
        drop(all);
        Tensor::zero_dt(fact.datum_type, shape)
    }

    /// Hands out a tensor, and remembers it.
    fn give(&self, tensor: Tensor) -> TValue {
        let key = (tensor.datum_type(), tensor.len());
        let tensor = Arc::new(tensor);
        let mut all = self.tensors.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(key).or_default().push(Arc::clone(&tensor));
        TValue::from_const(tensor)
    }
}

/// An operator of the graph.
#[derive(Clone)]
struct Layer {
    plan: Arc<Plan>,
    kernel: usize,
    name: &'static str,
    fact: TypedFact,
    buffers: Arc<Buffers>,
}

impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layer").field("kernel", &self.kernel).field("name", &self.name).finish()
    }
}

impl PartialEq for Layer {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.plan, &other.plan) && self.kernel == other.kernel
    }
}

impl Eq for Layer {}

impl Op for Layer {
    fn name(&self) -> StaticName {
        format!("Mobileight {}", self.name).into()
    }

    op_as_typed_op!();
}

impl TypedOp for Layer {
    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(self.fact.clone()))
    }

    as_op!();
}

impl EvalOp for Layer {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let views: TVec<_> =
            inputs.iter().map(|input| input.try_as_plain_ram()).collect::<TractResult<_>>()?;
        let operands: TVec<&[u8]> = views.iter().map(|view| view.as_bytes()).collect();
        let mut output = self.buffers.take(&self.fact)?;
        let mut scratch = self.buffers.take_scratch(self.plan.scratch_bytes());
        let mut view = output.try_as_plain_ram_mut()?;
        self.plan.run_kernel(self.kernel, &operands, view.as_bytes_mut(), &mut scratch)?;
        self.buffers.give_scratch(scratch);
        Ok(tvec!(self.buffers.give(output)))
    }
}

/// RESHAPE and SQUEEZE.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reshape(TVec<usize>);

impl Op for Reshape {
    fn name(&self) -> StaticName {
        "Mobileight reshape".into()
    }

    op_as_typed_op!();
}

impl TypedOp for Reshape {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(inputs[0].datum_type.fact(&self.0)))
    }

    as_op!();
}

impl EvalOp for Reshape {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let mut tensor = args_1!(inputs).into_tensor();
        tensor.set_shape(&self.0)?;
        Ok(tvec!(tensor.into_tvalue()))
    }
}

/// From int8 values to codes, or back; the type is the output's.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FlipSign(DatumType);

impl Op for FlipSign {
    fn name(&self) -> StaticName {
        "Mobileight codes".into()
    }

    op_as_typed_op!();
}

impl TypedOp for FlipSign {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(self.0.fact(inputs[0].shape.clone())))
    }

    as_op!();
}

impl EvalOp for FlipSign {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = args_1!(inputs);
        let mut output = Tensor::zero_dt(self.0, input.shape())?;
        let view = input.try_as_plain_ram()?;
        let bytes = view.as_bytes().iter();
        for (to, from) in output.try_as_plain_ram_mut()?.as_bytes_mut().iter_mut().zip(bytes) {
            *to = from ^ 0x80;
        }
        Ok(tvec!(output.into_tvalue()))
    }
}
