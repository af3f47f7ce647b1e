//! The plan: everything about running a graph that can be decided once.

use alloc::format;
use alloc::string::String;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use mobileight_kernels::bytes::{AlignedBytes, flip_sign};
use mobileight_kernels::{InstructionSet, Numerics};

use crate::lower::{self, Context, Inputs, Memory, Operands, Step};
use crate::{
    ElementType, Error, Graph, Layout, Limit, Limits, Operator, OperatorKind, Quantization,
    TensorId,
};

/// How a graph is to be run.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct PlanOptions {
    /// The arithmetic.
    pub numerics: Numerics,
    /// The instruction set of the kernels; `None` for that named in the environment variable `MOBILEIGHT_ISA`, else the fastest
    /// that the CPU has. Results do not depend on it.
    pub instruction_set: Option<InstructionSet>,
    /// The shape of each input; empty for those of the file. Another batch or image size re-plans the whole graph.
    pub input_shapes: Vec<Vec<usize>>,
    /// Whether every intermediate tensor keeps its value after a run, at the price of a larger arena.
    pub keep_intermediates: bool,
    /// What the graph may cost: tensors and operators, memory, multiply-adds.
    pub limits: Limits,
}

impl PlanOptions {
    /// Chooses the arithmetic.
    pub fn numerics(mut self, numerics: Numerics) -> Self {
        self.numerics = numerics;
        self
    }

    /// Chooses the instruction set of the kernels.
    pub fn instruction_set(mut self, instruction_set: InstructionSet) -> Self {
        self.instruction_set = Some(instruction_set);
        self
    }

    /// Gives the inputs other shapes than the file's: `[batch, height, width, channels]`, one for each input.
    pub fn input_shapes(mut self, shapes: Vec<Vec<usize>>) -> Self {
        self.input_shapes = shapes;
        self
    }

    /// Keeps every intermediate tensor readable after a run.
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

/// Where a tensor's value is during a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Location {
    /// Bytes of the arena.
    Arena(Range<usize>),
    /// One of the plan's constants.
    Constant(usize),
}

impl Location {
    pub fn is_activation(&self) -> bool {
        matches!(self, Location::Arena(_))
    }
}

/// A step and where its operands are.
pub(crate) struct PlannedStep {
    pub operator: usize,
    pub step: Step,
    pub inputs: Vec<Location>,
    pub output: Range<usize>,
}

/// A graph made ready to run: shapes inferred, weights packed, activations placed in one arena.
///
/// A plan is immutable; share it between threads in an `Arc` and give each its own [`Session`](crate::Session).
pub struct Plan {
    graph: Arc<Graph>,
    options: PlanOptions,
    instruction_set: InstructionSet,
    layout: Layout,
    pub(crate) locations: Vec<Option<Location>>,
    pub(crate) constants: Vec<AlignedBytes>,
    pub(crate) steps: Vec<PlannedStep>,
    scratch_bytes: usize,
    pub(crate) input_ranges: Vec<Option<[f32; 2]>>,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("options", &self.options)
            .field("steps", &self.steps.len())
            .field("arena_bytes", &self.layout.arena_bytes())
            .finish_non_exhaustive()
    }
}

impl Plan {
    /// Plans a graph.
    ///
    /// # Errors
    ///
    /// [`Error::FloatModel`] for a graph that computes in floating point; [`Error::InvalidOperator`] for shapes, element types
    /// or quantization that do not fit together; [`Error::Unsupported`] with everything that is missing;
    /// [`Error::Limit`] before anything large is allocated.
    pub fn new(graph: Arc<Graph>, options: PlanOptions) -> Result<Self, Error> {
        graph.check_limits(&options.limits)?;
        if graph.is_float() {
            return Err(Error::FloatModel);
        }
        let instruction_set = choose(options.instruction_set)?;
        let layout = Layout::new(&graph, &options.input_shapes, options.keep_intermediates)?;
        layout.check_limits(&graph, &options.limits)?;
        let activations = layout.activation_bytes(&graph);
        let limits = options.limits;
        let check_memory =
            |packed: u64| limits.check(Limit::MemoryBytes, activations.saturating_add(packed));

        let mut constants = Vec::new();
        let mut locations: Vec<Option<Location>> = (0..graph.tensors().len())
            .map(|id| layout.arena_range(&graph, id).map(Location::Arena))
            .collect();
        let mut steps = Vec::new();
        let mut missing = Vec::new();
        // Operators may share weights, and each packs its own.
        let mut packed = 0;
        for index in 0..graph.operators().len() {
            let context = Context {
                graph: &graph,
                shapes: layout.shapes(),
                numerics: options.numerics,
                instruction_set,
                index,
            };
            check_memory(packed + lower::least_packed_bytes(context))?;
            let step = match lower::lower(context) {
                Ok(Some(step)) => step,
                Ok(None) => continue,
                Err(Error::Unsupported(more)) => {
                    missing.extend(more);
                    continue;
                }
                Err(other) => return Err(other),
            };
            packed += step.packed_bytes as u64;
            for &id in &step.operands {
                if locations[id].is_none() {
                    let root = layout.storage(id);
                    packed += constant_bytes(&graph, root);
                    check_memory(packed)?;
                    locations[id] = constant(&graph, root, &mut constants);
                }
            }
            let locate = |id: TensorId| {
                locations[id]
                    .clone()
                    .ok_or_else(|| context.invalid(format!("tensor {id} has no value")))
            };
            let inputs = step.operands.iter().map(|&id| locate(id)).collect::<Result<_, _>>()?;
            let Location::Arena(output) = locate(graph.operators()[index].output)? else {
                return Err(context.invalid("writes a constant"));
            };
            steps.push(PlannedStep { operator: index, step, inputs, output });
        }
        if !missing.is_empty() {
            return Err(Error::Unsupported(missing));
        }
        for &id in graph.outputs() {
            if locations[id].is_none() {
                let root = layout.storage(id);
                packed += constant_bytes(&graph, root);
                check_memory(packed)?;
                locations[id] = constant(&graph, root, &mut constants);
            }
        }
        let scratch_bytes = steps.iter().map(|s| s.step.scratch_bytes).max().unwrap_or(0);
        let input_ranges = quantized_ranges(&graph);
        let plan = Plan {
            graph: Arc::clone(&graph),
            options,
            instruction_set,
            layout,
            locations,
            constants,
            steps,
            scratch_bytes,
            input_ranges,
        };
        check_memory((plan.packed_bytes() + scratch_bytes) as u64)?;
        Ok(plan)
    }

    /// The graph planned.
    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// The options planned with.
    pub fn options(&self) -> &PlanOptions {
        &self.options
    }

    /// Shapes, arena and work at the planned input size.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The inferred shape of a tensor; `None` for an index out of range.
    pub fn shape(&self, id: TensorId) -> Option<&[usize]> {
        self.layout.shapes().get(id).map(Vec::as_slice)
    }

    /// Bytes of the arena: the peak memory of activations.
    pub fn arena_bytes(&self) -> usize {
        self.layout.arena_bytes() as usize
    }

    /// The instruction set that the kernels were chosen for.
    pub fn instruction_set(&self) -> InstructionSet {
        self.instruction_set
    }

    /// Bytes of working memory next to the arena.
    pub fn scratch_bytes(&self) -> usize {
        self.scratch_bytes
    }

    /// Bytes of packed weights, tables and constants.
    pub fn packed_bytes(&self) -> usize {
        self.steps.iter().map(|s| s.step.packed_bytes).sum::<usize>()
            + self.constants.iter().map(|c| c.len()).sum::<usize>()
    }

    /// The kernel of each operator that does work, in order.
    pub fn kernels(&self) -> impl Iterator<Item = Kernel> + '_ {
        self.steps.iter().map(|planned| {
            let size = |id: TensorId| {
                let elements: usize = self.layout.shapes()[id].iter().product();
                (elements * self.graph.tensors()[id].element_type.size()) as u64
            };
            let read: u64 = planned.step.operands.iter().map(|&id| size(id)).sum();
            let written = size(self.graph.operators()[planned.operator].output);
            let activations = planned.step.operands.iter().zip(&planned.inputs);
            Kernel {
                operands: activations
                    .filter(|(_, location)| location.is_activation())
                    .map(|(&id, _)| id)
                    .collect(),
                operator: planned.operator,
                name: planned.step.kernel,
                instruction_set: planned.step.instruction_set,
                bytes: read + written + planned.step.packed_bytes as u64,
            }
        })
    }
}

impl Plan {
    /// Computes one operator outside of a session, for those who have memory of their own. `kernel` is a position in
    /// [`kernels`](Plan::kernels), and `operands` are its activations.
    ///
    /// 8-bit tensors are codes: the bytes of uint8 ones, the values of int8 ones plus 128. Others are in native byte order.
    /// `scratch` has [`scratch_bytes`](Plan::scratch_bytes) and is aligned for `i32`, as its tensors are for their element types.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOperator`] for a position or memory that does not fit.
    pub fn run_kernel(
        &self,
        kernel: usize,
        operands: &[&[u8]],
        output: &mut [u8],
        scratch: &mut [u8],
    ) -> Result<(), Error> {
        let Some(planned) = self.steps.get(kernel) else {
            return Err(Error::InvalidOperator {
                index: kernel,
                operator: "kernel",
                reason: format!("there are {} kernels", self.steps.len()),
            });
        };
        let lengths = operands.iter().map(|operand| operand.len());
        let expected = planned.inputs.iter().filter_map(|location| match location {
            Location::Arena(range) => Some(range.len()),
            Location::Constant(_) => None,
        });
        let scratch_bytes = planned.step.scratch_bytes;
        if !lengths.clone().eq(expected.clone())
            || output.len() != planned.output.len()
            || scratch.len() < scratch_bytes
        {
            let [lengths, expected]: [Vec<usize>; 2] = [lengths.collect(), expected.collect()];
            return Err(planned.failed(
                &self.graph,
                format!(
                    "operands of {lengths:?}, output of {} and scratch of {} bytes, expected {expected:?}, {} and {scratch_bytes}",
                    output.len(),
                    scratch.len(),
                    planned.output.len()
                ),
            ));
        }
        let inputs = Inputs {
            memory: Memory::Each(operands),
            constants: &self.constants,
            locations: &planned.inputs,
        };
        let scratch = &mut scratch[..scratch_bytes];
        (planned.step.run)(&mut Operands { inputs, start: 0, output, scratch })
            .map_err(|error| planned.failed(&self.graph, error.to_string()))
    }
}

impl PlannedStep {
    /// The error of a call.
    pub fn failed(&self, graph: &Graph, reason: String) -> Error {
        let operator = graph.operators()[self.operator].kind.name();
        Error::InvalidOperator { index: self.operator, operator, reason }
    }
}

/// What computes an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Kernel {
    /// The operator's position in the graph.
    pub operator: usize,
    /// The kernel's family.
    pub name: &'static str,
    /// The activations that it reads, for [`Plan::run_kernel`].
    pub operands: Vec<TensorId>,
    /// What its vector code is written for.
    pub instruction_set: InstructionSet,
    /// Bytes read and written: operands, output, and packed weights.
    pub bytes: u64,
}

/// The instruction set asked for, or the fastest; refused when the CPU lacks it.
fn choose(asked: Option<InstructionSet>) -> Result<InstructionSet, Error> {
    let Some(set) = asked.map_or_else(named_in_environment, |set| Ok(Some(set)))? else {
        return Ok(InstructionSet::best());
    };
    if set.is_available() {
        return Ok(set);
    }
    let available = InstructionSet::ALL.into_iter().filter(|set| set.is_available());
    let available: Vec<&str> = available.map(InstructionSet::name).collect();
    Err(Error::InstructionSet {
        name: set.name().into(),
        reason: format!("this CPU lacks it; it has {}", available.join(", ")),
    })
}

/// The instruction set that is named when the options name none.
#[cfg(feature = "std")]
fn named_in_environment() -> Result<Option<InstructionSet>, Error> {
    const VARIABLE: &str = "MOBILEIGHT_ISA";
    let Some(name) = std::env::var_os(VARIABLE).filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    let name = name.to_string_lossy();
    name.parse().map(Some).map_err(|reason| Error::InstructionSet {
        name: name.clone().into_owned(),
        reason: format!("{VARIABLE}: {reason}"),
    })
}

#[cfg(not(feature = "std"))]
fn named_in_environment() -> Result<Option<InstructionSet>, Error> {
    Ok(None)
}

/// Bytes that a constant takes in the plan.
fn constant_bytes(graph: &Graph, id: TensorId) -> u64 {
    graph.tensors()[id].data.as_ref().map_or(0, |data| data.len() as u64)
}

/// Adds the value of a constant tensor to the plan's constants, as codes when it has 8 bits.
fn constant(graph: &Graph, id: TensorId, constants: &mut Vec<AlignedBytes>) -> Option<Location> {
    let tensor = &graph.tensors()[id];
    let data = tensor.data.as_ref()?;
    let mut bytes = AlignedBytes::zeroed(data.len());
    match tensor.element_type {
        ElementType::I8 => flip_sign(data, &mut bytes),
        _ => bytes.copy_from_slice(data),
    }
    constants.push(bytes);
    Some(Location::Constant(constants.len() - 1))
}

/// For each input the real range of the codes that a float one is quantized to, when QUANTIZE is all that reads it.
fn quantized_ranges(graph: &Graph) -> Vec<Option<[f32; 2]>> {
    // In one pass: hostile graphs have many inputs, and operators of many operands.
    let mut readers: Vec<Option<&Operator>> = graph.tensors().iter().map(|_| None).collect();
    let mut is_shared = vec![false; readers.len()];
    for operator in graph.operators() {
        for &id in &operator.inputs {
            is_shared[id] |= readers[id].replace(operator).is_some();
        }
    }
    let range = |&id: &TensorId| {
        let reader = readers[id].filter(|_| !is_shared[id])?;
        let output = &graph.tensors()[reader.output];
        if reader.kind != OperatorKind::Quantize {
            return None;
        }
        let Some(Quantization::PerTensor { scale, zero_point }) = output.quantization else {
            return None;
        };
        let (low, high) = output.element_type.integer_range()?;
        let real = |code: i64| (code - i64::from(zero_point)) as f32 * scale;
        Some([real(low), real(high)])
    };
    graph.inputs().iter().map(range).collect()
}
