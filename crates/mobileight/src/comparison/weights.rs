//! Weights as real values: their figures, and an INT8 network with its float sibling's weights.

use mobileight_compare::report::Weights;
use mobileight_compare::{SqnrAccumulator, weight_range_ratio};
use mobileight_runtime::{
    ElementType, Graph, GraphTensor, Operator, OperatorKind, Quantization, TensorId,
};

use super::matching::Matching;
use crate::{Error, real_values};

/// The real values of a constant, also of one that the network dequantizes first.
fn constant(graph: &Graph, id: TensorId) -> Option<Vec<f32>> {
    let tensor = &graph.tensors()[id];
    if let Some(elements) = tensor.constant() {
        return Some(real_values(&elements, tensor.quantization.as_ref()));
    }
    let operator = &graph.operators()[graph.producer(id)?];
    match operator.kind {
        OperatorKind::Dequantize => constant(graph, operator.inputs[0]),
        _ => None,
    }
}

/// The weights operand of an operator that has one.
fn operand(operator: &Operator) -> Option<TensorId> {
    match operator.kind {
        OperatorKind::Conv2d(_)
        | OperatorKind::DepthwiseConv2d(_)
        | OperatorKind::FullyConnected { .. } => operator.inputs.get(1).copied(),
        _ => None,
    }
}

/// Figures of an operator's weights, and their SQNR where the float sibling has the same.
pub(super) fn figures(
    graph: &Graph,
    operator: usize,
    sibling: Option<(&Graph, usize)>,
) -> Option<Weights> {
    let operator = &graph.operators()[operator];
    let id = operand(operator)?;
    let tensor = &graph.tensors()[id];
    let values = constant(graph, id)?;
    let last = matches!(operator.kind, OperatorKind::DepthwiseConv2d(_));
    let axis = if last { tensor.shape.len().checked_sub(1)? } else { 0 };
    let channels = *tensor.shape.get(axis)?;
    let stride: usize = tensor.shape[axis + 1..].iter().product();
    let mut ranges = vec![0f32; channels];
    for (at, value) in values.iter().enumerate() {
        let range = &mut ranges[at / stride % channels];
        *range = range.max(value.abs());
    }
    let (range_ratio, dead_channels) = weight_range_ratio(&ranges);
    let sqnr = sibling.and_then(|(float, operator)| {
        let other = constant(float, operand(&float.operators()[operator])?)?;
        comparable(&other, &values)?.sqnr()
    });
    Some(Weights {
        per_channel: matches!(tensor.quantization, Some(Quantization::PerChannel { .. })),
        channels,
        range_ratio,
        dead_channels,
        sqnr,
    })
}

/// Compares two weight tensors that are the same but for rounding: of the same length and nearly the same direction.
///
/// Others come from a batch normalization that was folded differently, and their difference would mean nothing.
fn comparable(float: &[f32], rounded: &[f32]) -> Option<SqnrAccumulator> {
    const LEAST_COSINE: f64 = 0.9;
    let mut accumulator = SqnrAccumulator::default();
    accumulator.add(float, rounded).ok()?;
    (accumulator.cosine()? > LEAST_COSINE).then_some(accumulator)
}

/// The INT8 network's structure in FP32, with the float sibling's weights and biases where they are the same but for rounding.
pub(super) fn restored(
    graph: &Graph,
    sibling: Option<(&Graph, &Matching)>,
) -> Result<Graph, Error> {
    let mut tensors: Vec<GraphTensor> = graph.tensors().to_vec();
    for tensor in tensors.iter_mut().filter(|t| t.data.is_none() && t.element_type.is_8_bit()) {
        tensor.element_type = ElementType::F32;
        tensor.quantization = None;
    }
    let mut set = |id: TensorId, values: Vec<f32>| {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        tensors[id].element_type = ElementType::F32;
        tensors[id].quantization = None;
        tensors[id].data = Some(bytes.into());
    };
    // Every constant that is quantized, dequantized.
    for (id, tensor) in graph.tensors().iter().enumerate() {
        if tensor.quantization.is_some()
            && tensor.data.is_some()
            && let Some(values) = constant(graph, id)
        {
            set(id, values);
        }
    }
    for (_, pair) in sibling.iter().flat_map(|(_, matching)| matching.iter()) {
        let Some((float, _)) = sibling else { break };
        let [ours, theirs] = [&graph.operators()[pair.heads[0]], &float.operators()[pair.heads[1]]];
        let weights = || {
            let (id, other) = (operand(ours)?, operand(theirs)?);
            let values = constant(float, other)?;
            comparable(&values, &constant(graph, id)?)?;
            Some((id, values))
        };
        let Some((id, values)) = weights() else { continue };
        set(id, values);
        if let (Some(&id), Some(&other)) = (ours.inputs.get(2), theirs.inputs.get(2))
            && let Some(values) = constant(float, other)
            && graph.tensors()[id].shape.iter().product::<usize>() == values.len()
        {
            set(id, values);
        }
    }
    Ok(Graph::new(
        tensors,
        graph.operators().to_vec(),
        graph.inputs().to_vec(),
        graph.outputs().to_vec(),
        graph.metadata().clone(),
    )?)
}
