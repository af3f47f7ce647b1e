//! The layout: what a graph needs at a given input size, before any kernel is chosen.

use alloc::format;
use alloc::vec::Vec;
use core::ops::Range;

use crate::arena::{self, Block};
use crate::graph::element_count;
use crate::lower::is_alias;
use crate::shapes::{self, Declared};
use crate::{ElementType, Error, Graph, Limit, Limits, OperatorKind, TensorId};

/// Inferred shapes, the placement of activations in one arena, and the work of each operator.
///
/// Unlike a [`Plan`](crate::Plan), float graphs have one too, and nothing large is allocated: this is how to ask what an input
/// size would need.
#[derive(Clone, Debug)]
pub struct Layout {
    shapes: Vec<Vec<usize>>,
    storage: Vec<TensorId>,
    blocks: Vec<Option<Block>>,
    arena_bytes: u64,
}

impl Layout {
    /// Infers all shapes from those of the inputs (the file's when `input_shapes` is empty) and places the activations.
    ///
    /// With `keep_intermediates` no two tensors share memory.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOperator`] names the first operator that the shapes do not fit.
    pub fn new(
        graph: &Graph,
        input_shapes: &[Vec<usize>],
        keep_intermediates: bool,
    ) -> Result<Self, Error> {
        let shapes = infer_shapes(graph, input_shapes)?;
        let storage = alias_roots(graph);
        let mut blocks = live_blocks(graph, &shapes, &storage, keep_intermediates)?;
        let arena_bytes = arena::place(blocks.iter_mut().flatten());
        Ok(Layout { shapes, storage, blocks, arena_bytes })
    }

    /// The inferred shape of every tensor.
    pub fn shapes(&self) -> &[Vec<usize>] {
        &self.shapes
    }

    /// Bytes of the arena: the peak memory of activations.
    pub fn arena_bytes(&self) -> u64 {
        self.arena_bytes
    }

    /// Bytes of the outputs, which a session keeps beside the arena.
    pub fn output_bytes(&self, graph: &Graph) -> u64 {
        let bytes = |&id: &TensorId| {
            let size = graph.tensors()[id].element_type.size() as u64;
            element_count(&self.shapes[id]).unwrap_or(0) as u64 * size
        };
        graph.outputs().iter().map(bytes).fold(0, u64::saturating_add)
    }

    /// Multiply-adds of an operator: of convolutions and FULLY_CONNECTED, zero for all others.
    pub fn multiply_adds(&self, graph: &Graph, operator: usize) -> u64 {
        let Some(operator) = graph.operators().get(operator) else { return 0 };
        let weights = || &self.shapes[operator.inputs[1]];
        let taps = match operator.kind {
            OperatorKind::Conv2d(_) => weights()[1..].iter().product::<usize>(),
            OperatorKind::DepthwiseConv2d(_) => weights()[1] * weights()[2],
            OperatorKind::FullyConnected { .. } => weights()[1],
            _ => 0,
        };
        let outputs = element_count(&self.shapes[operator.output]).unwrap_or(0);
        (outputs as u64).saturating_mul(taps as u64)
    }

    /// Multiply-adds of the whole graph.
    pub fn total_multiply_adds(&self, graph: &Graph) -> u64 {
        let each = (0..graph.operators().len()).map(|at| self.multiply_adds(graph, at));
        each.fold(0, u64::saturating_add)
    }

    /// The time of a run, in multiply-adds: those of convolutions and FULLY_CONNECTED, taps of poolings, and the elements that every
    /// operator reads and writes, each of which counts as 16.
    pub fn work(&self, graph: &Graph) -> u64 {
        // Short rows that are broadcast take nanoseconds an element.
        const ELEMENT: u64 = 16;
        let elements = |id: TensorId| element_count(&self.shapes[id]).unwrap_or(0) as u64;
        let each = graph.operators().iter().enumerate().map(|(at, operator)| {
            let operands = operator.inputs.iter().map(|&id| elements(id));
            let moved = operands.fold(elements(operator.output), u64::saturating_add);
            let taps = match &operator.kind {
                OperatorKind::AveragePool2d(pool) | OperatorKind::MaxPool2d(pool) => {
                    // Windows end where the input does.
                    let input = &self.shapes[operator.inputs[0]];
                    (0..2).fold(1, |taps, d| taps * pool.filter[d].min(input[d + 1]) as u64)
                }
                _ => 0,
            };
            let computed = elements(operator.output).saturating_mul(taps);
            moved
                .saturating_mul(ELEMENT)
                .saturating_add(computed)
                .saturating_add(self.multiply_adds(graph, at))
        });
        each.fold(0, u64::saturating_add)
    }

    /// Bytes of the arena and of the outputs.
    pub(crate) fn activation_bytes(&self, graph: &Graph) -> u64 {
        self.arena_bytes.saturating_add(self.output_bytes(graph))
    }

    /// Refuses what would take too much time or memory, before anything large is allocated.
    ///
    /// # Errors
    ///
    /// [`Error::Limit`].
    pub fn check_limits(&self, graph: &Graph, limits: &Limits) -> Result<(), Error> {
        limits.check(Limit::MemoryBytes, self.activation_bytes(graph))?;
        Ok(limits.check(Limit::MultiplyAdds, self.work(graph))?)
    }

    /// The tensor whose memory a tensor is: itself, or what RESHAPE and SQUEEZE were given.
    pub(crate) fn storage(&self, id: TensorId) -> TensorId {
        self.storage[id]
    }

    /// Where a tensor is in the arena; `None` for constants.
    pub(crate) fn arena_range(&self, graph: &Graph, id: TensorId) -> Option<Range<usize>> {
        let start = self.blocks[self.storage[id]].as_ref()?.offset as usize;
        let size = graph.tensors()[id].element_type.size();
        Some(start..start + element_count(&self.shapes[id])? * size)
    }
}

fn infer_shapes(graph: &Graph, given: &[Vec<usize>]) -> Result<Vec<Vec<usize>>, Error> {
    let mut shapes: Vec<Vec<usize>> = graph.tensors().iter().map(|t| t.shape.clone()).collect();
    if !given.is_empty() {
        if given.len() != graph.inputs().len() {
            return Err(Error::InputCount { expected: graph.inputs().len(), found: given.len() });
        }
        for (&id, shape) in graph.inputs().iter().zip(given) {
            shapes[id].clone_from(shape);
        }
    }
    for &id in graph.inputs() {
        let tensor = &graph.tensors()[id];
        if shapes[id].len() != tensor.shape.len() || element_count(&shapes[id]).is_none() {
            return Err(Error::InvalidTensor {
                index: id,
                name: tensor.name.clone(),
                reason: format!(
                    "input shape {:?} is empty, too large or not of the model's {} dimensions",
                    shapes[id],
                    tensor.shape.len()
                ),
            });
        }
    }
    for (index, operator) in graph.operators().iter().enumerate() {
        let operands: Vec<&[usize]> =
            operator.inputs.iter().map(|&id| shapes[id].as_slice()).collect();
        let declared = Declared {
            input: &graph.tensors()[operator.inputs[0]].shape,
            output: &graph.tensors()[operator.output].shape,
        };
        let shape = shapes::infer(operator, &operands, declared).map_err(|reason| {
            Error::InvalidOperator { index, operator: operator.kind.name(), reason }
        })?;
        shapes[operator.output] = shape;
    }
    Ok(shapes)
}

/// For each tensor, the tensor whose memory it is: itself, or what RESHAPE and SQUEEZE were given.
fn alias_roots(graph: &Graph) -> Vec<TensorId> {
    let mut roots: Vec<TensorId> = (0..graph.tensors().len()).collect();
    for operator in graph.operators().iter().filter(|o| is_alias(&o.kind)) {
        roots[operator.output] = roots[operator.inputs[0]];
    }
    roots
}

/// For each tensor that has memory of its own in the arena: its size and the steps during which it is needed.
fn live_blocks(
    graph: &Graph,
    shapes: &[Vec<usize>],
    storage: &[TensorId],
    keep: bool,
) -> Result<Vec<Option<Block>>, Error> {
    let end = graph.operators().len();
    let mut blocks: Vec<Option<Block>> = (0..shapes.len()).map(|_| None).collect();
    let mut define = |id: TensorId, at: usize| -> Result<(), Error> {
        let tensor = &graph.tensors()[id];
        let size = match tensor.element_type {
            ElementType::I16 | ElementType::F16 | ElementType::Bool => {
                return Err(Error::InvalidTensor {
                    index: id,
                    name: tensor.name.clone(),
                    reason: format!("activations of {} are not supported", tensor.element_type),
                });
            }
            other => other.size(),
        };
        let bytes = element_count(&shapes[id]).unwrap_or(0) as u64 * size as u64;
        let last = if keep { end } else { at };
        blocks[id] = Some(Block { bytes, first: if keep { 0 } else { at }, last, offset: 0 });
        Ok(())
    };
    for &id in graph.inputs() {
        define(id, 0)?;
    }
    for (at, operator) in graph.operators().iter().enumerate() {
        if storage[operator.output] == operator.output {
            define(operator.output, at)?;
        }
    }
    let mut use_at = |id: TensorId, at: usize| {
        if let Some(block) = &mut blocks[storage[id]] {
            block.last = block.last.max(at);
        }
    };
    for (at, operator) in graph.operators().iter().enumerate() {
        operator.inputs.iter().for_each(|&id| use_at(id, at));
    }
    graph.outputs().iter().for_each(|&id| use_at(id, end));
    Ok(blocks)
}
