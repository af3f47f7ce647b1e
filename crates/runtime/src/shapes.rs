//! Shape inference: from the shapes of an operator's operands to the shape of its output.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crate::graph::element_count;
use crate::{Operator, OperatorKind, Padding};

/// Rows of output and rows of padding before the input, along one spatial dimension, as TFLite computes them.
///
/// `None` when the window does not fit.
pub(crate) fn window(
    padding: Padding,
    input: usize,
    filter: usize,
    stride: usize,
    dilation: usize,
) -> Option<(usize, usize)> {
    let extent = filter.checked_sub(1)?.checked_mul(dilation)?.checked_add(1)?;
    match padding {
        Padding::Same => {
            let output = input.div_ceil(stride);
            let total = ((output - 1) * stride).checked_add(extent)?.saturating_sub(input);
            Some((output, total / 2))
        }
        Padding::Valid => Some((input.checked_sub(extent)? / stride + 1, 0)),
    }
}

/// The output's shape. `operands` are the shapes of `operator.inputs`; `declared` are the shapes in the file, which tell how a
/// constant RESHAPE relates to the batch. The error is the reason alone.
pub(crate) fn infer(
    operator: &Operator,
    operands: &[&[usize]],
    declared: Declared<'_>,
) -> Result<Vec<usize>, String> {
    let input = operands[0];
    let shape = match &operator.kind {
        OperatorKind::Conv2d(conv) => {
            let [batch, height, width, channels] = image(input)?;
            let [outputs, filter_height, filter_width, depth] = image(operands[1])?;
            if depth != channels {
                return Err(format!(
                    "input {input:?} has {channels} channels, weights {:?} take {depth}",
                    operands[1]
                ));
            }
            let filter = [filter_height, filter_width];
            let [rows, columns] =
                windows(conv.padding, [height, width], filter, conv.stride, conv.dilation)?;
            vec![batch, rows, columns, outputs]
        }
        OperatorKind::DepthwiseConv2d(conv) => {
            let [batch, height, width, channels] = image(input)?;
            let [one, filter_height, filter_width, outputs] = image(operands[1])?;
            if one != 1 || channels.checked_mul(conv.depth_multiplier) != Some(outputs) {
                return Err(format!(
                    "input {input:?} with depth multiplier {} takes weights [1, height, width, {}], found {:?}",
                    conv.depth_multiplier,
                    channels.saturating_mul(conv.depth_multiplier),
                    operands[1]
                ));
            }
            let filter = [filter_height, filter_width];
            let [rows, columns] =
                windows(conv.padding, [height, width], filter, conv.stride, conv.dilation)?;
            vec![batch, rows, columns, outputs]
        }
        OperatorKind::FullyConnected { keep_dimensions, .. } => {
            let &[outputs, depth] = operands[1] else {
                return Err(format!(
                    "weights have shape {:?}, expected [outputs, inputs]",
                    operands[1]
                ));
            };
            let count = element_count(input).unwrap_or(0);
            if !count.is_multiple_of(depth) {
                return Err(format!(
                    "input {input:?} is no multiple of the weights' {depth} inputs"
                ));
            }
            if *keep_dimensions {
                let Some((&last, leading)) = input.split_last() else {
                    return Err("the input has no dimensions to keep".into());
                };
                if last != depth {
                    return Err(format!("input {input:?} ends in {last}, weights take {depth}"));
                }
                [leading, &[outputs]].concat()
            } else {
                vec![count / depth, outputs]
            }
        }
        OperatorKind::Add(_) | OperatorKind::Sub(_) | OperatorKind::Mul(_) => {
            broadcast(input, operands[1])?
        }
        OperatorKind::AveragePool2d(pool) | OperatorKind::MaxPool2d(pool) => {
            let [batch, height, width, channels] = image(input)?;
            let [rows, columns] =
                windows(pool.padding, [height, width], pool.filter, pool.stride, [1, 1])?;
            vec![batch, rows, columns, channels]
        }
        OperatorKind::Mean { axes, keep_dimensions } => {
            check_axes(axes, input)?;
            reduce(input, axes, *keep_dimensions)
        }
        OperatorKind::Pad { paddings, .. } => {
            if paddings.len() != input.len() {
                return Err(format!("has {} paddings for input {input:?}", paddings.len()));
            }
            let padded = input
                .iter()
                .zip(paddings)
                .map(|(&length, &[before, after])| length.checked_add(before)?.checked_add(after));
            padded.collect::<Option<_>>().ok_or("the padded shape is too large")?
        }
        OperatorKind::Reshape { shape } => reshape(input, shape, declared)?,
        OperatorKind::Squeeze { axes } => {
            check_axes(axes, input)?;
            if let Some(&axis) = axes.iter().find(|&&axis| input[axis] != 1) {
                return Err(format!("dimension {axis} of input {input:?} is not of length one"));
            }
            let keep = |&(axis, &length): &(usize, &usize)| {
                if axes.is_empty() { length != 1 } else { !axes.contains(&axis) }
            };
            input.iter().enumerate().filter(keep).map(|(_, &length)| length).collect()
        }
        OperatorKind::Concatenation { axis, .. } => {
            check_axes(&[*axis], input)?;
            let mut shape = input.to_vec();
            shape[*axis] = 0;
            for operand in operands {
                let fits = operand.len() == input.len()
                    && (0..input.len()).all(|d| d == *axis || operand[d] == input[d]);
                if !fits {
                    return Err(format!(
                        "cannot join {operand:?} to {input:?} along dimension {axis}"
                    ));
                }
                shape[*axis] = shape[*axis].saturating_add(operand[*axis]);
            }
            shape
        }
        OperatorKind::ResizeBilinear { size, .. }
        | OperatorKind::ResizeNearestNeighbor { size, .. } => {
            let [batch, _, _, channels] = image(input)?;
            vec![batch, size[0], size[1], channels]
        }
        OperatorKind::ArgMax { axis } => {
            check_axes(&[*axis], input)?;
            reduce(input, &[*axis], false)
        }
        OperatorKind::Softmax { .. } if input.is_empty() => {
            return Err("the input has no dimension to normalize over".into());
        }
        OperatorKind::Softmax { .. }
        | OperatorKind::Logistic
        | OperatorKind::HardSwish
        | OperatorKind::Relu
        | OperatorKind::Relu6
        | OperatorKind::LeakyRelu { .. }
        | OperatorKind::Quantize
        | OperatorKind::Dequantize => input.to_vec(),
    };
    match element_count(&shape) {
        Some(_) => Ok(shape),
        None => Err(format!("the output's shape {shape:?} is empty or too large")),
    }
}

/// Shapes in the file of an operator's first operand and of its output.
#[derive(Clone, Copy)]
pub(crate) struct Declared<'a> {
    pub input: &'a [usize],
    pub output: &'a [usize],
}

/// A shape as `[batch, height, width, channels]`.
pub(crate) fn image(shape: &[usize]) -> Result<[usize; 4], String> {
    shape.try_into().map_err(|_| format!("shape {shape:?} has not four dimensions"))
}

fn windows(
    padding: Padding,
    input: [usize; 2],
    filter: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
) -> Result<[usize; 2], String> {
    if [filter, stride, dilation].iter().flatten().any(|&value| value == 0) {
        return Err(format!(
            "filter {filter:?}, stride {stride:?} or dilation {dilation:?} is zero"
        ));
    }
    let along = |d: usize| {
        window(padding, input[d], filter[d], stride[d], dilation[d])
            .map(|(output, _)| output)
            .ok_or_else(|| {
                format!(
                    "a window of {filter:?} with dilation {dilation:?} does not fit into {input:?}"
                )
            })
    };
    Ok([along(0)?, along(1)?])
}

fn check_axes(axes: &[usize], input: &[usize]) -> Result<(), String> {
    match axes.iter().find(|&&axis| axis >= input.len()) {
        Some(axis) => Err(format!("dimension {axis} is not one of input {input:?}")),
        None => Ok(()),
    }
}

fn reduce(input: &[usize], axes: &[usize], keep_dimensions: bool) -> Vec<usize> {
    let length = |(axis, &length): (usize, &usize)| match axes.contains(&axis) {
        false => Some(length),
        true => keep_dimensions.then_some(1),
    };
    input.iter().enumerate().filter_map(length).collect()
}

/// NumPy's rule: dimensions are aligned at the end; lengths are equal or one of them is one.
pub(crate) fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    let rank = a.len().max(b.len());
    let length =
        |shape: &[usize], d: usize| (d + shape.len()).checked_sub(rank).map_or(1, |at| shape[at]);
    (0..rank)
        .map(|d| match (length(a, d), length(b, d)) {
            (x, y) if x == y || y == 1 => Ok(x),
            (1, y) => Ok(y),
            _ => Err(format!("shapes {a:?} and {b:?} cannot be broadcast together")),
        })
        .collect()
}

fn reshape(input: &[usize], target: &[i32], declared: Declared<'_>) -> Result<Vec<usize>, String> {
    let count = element_count(input).ok_or_else(|| format!("input {input:?} is too large"))?;
    let free = target.iter().filter(|&&length| length == -1).count();
    if free > 1 || target.iter().any(|&length| length < -1 || length == 0) {
        return Err(format!("cannot reshape to {target:?}"));
    }
    let mut fixed = target.iter().filter(|&&length| length > 0).map(|&length| length as usize);
    let product = fixed
        .try_fold(1usize, |product, length| product.checked_mul(length))
        .ok_or_else(|| format!("cannot reshape to {target:?}: too large"))?;
    let mut shape: Vec<usize> = target.iter().map(|&length| length.max(0) as usize).collect();
    if free == 1 && count.is_multiple_of(product) {
        let at = target.iter().position(|&length| length == -1).unwrap_or(0);
        shape[at] = count / product;
        return Ok(shape);
    }
    if free == 0 && count == product {
        return Ok(shape);
    }
    // A constant shape made for one batch size, asked for another: scale its first dimension, when that is the batch.
    let batch = |shape: &[usize]| shape.first().copied().unwrap_or(1);
    let is_batch = free == 0
        && input.len() == declared.input.len()
        && input.get(1..) == declared.input.get(1..)
        && !shape.is_empty()
        && batch(declared.input) == batch(declared.output)
        && batch(declared.input) == shape[0];
    if is_batch {
        shape[0] = batch(input);
        if element_count(&shape) == Some(count) {
            return Ok(shape);
        }
    }
    Err(format!(
        "cannot reshape {input:?} ({count} elements) to {target:?}{}",
        if input != declared.input { "; the file was made for another input size" } else { "" }
    ))
}
