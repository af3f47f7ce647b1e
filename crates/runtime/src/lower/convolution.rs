//! CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use mobileight_kernels::InstructionSet;
use mobileight_kernels::convolution::{
    self as kernels, Convolution, DepthwiseConvolution, Geometry,
};
use mobileight_kernels::requantize::{ReferenceArithmetic, Requantization, Scales};

use super::{Context, Step};
use crate::shapes::{image, window};
use crate::{Activation, Conv2d, DepthwiseConv2d, ElementType, Error, Padding, Quantization};

pub(super) fn conv2d(context: Context<'_>, conv: &Conv2d) -> Result<Step, Error> {
    let windows = Windows { stride: conv.stride, dilation: conv.dilation, padding: conv.padding };
    let geometry = windows.geometry(context)?;
    dense(context, geometry, conv.activation, false)
}

pub(super) fn fully_connected(context: Context<'_>, activation: Activation) -> Result<Step, Error> {
    let weights = context.input_shape(1);
    let rows = context.output_shape().iter().product::<usize>() / weights[0];
    let geometry = Geometry::matrix(rows, weights[1], weights[0]);
    dense(context, geometry, activation, true)
}

fn dense(
    context: Context<'_>,
    geometry: Geometry,
    activation: Activation,
    is_fully_connected: bool,
) -> Result<Step, Error> {
    let channels = geometry.output_channels;
    let weights = Weights::new(context, channels, 0)?;
    let requantization = weights.requantization(context, activation, is_fully_connected)?;
    let zero_point = context.input_codes(0)?.zero_point;
    let kernel = Convolution::new(
        context.instruction_set,
        geometry,
        zero_point,
        weights.differences,
        &weights.bias,
        requantization,
    )
    .map_err(|error| context.refused(error))?;
    Ok(Step {
        operands: vec![context.operator().inputs[0]],
        packed_bytes: kernel.packed_bytes(),
        scratch_bytes: kernel.scratch_bytes(),
        unit: Some(kernel.unit()),
        ..context.step_by(kernel.instruction_set(), "convolution", move |operands| {
            let input = operands.inputs.get(0);
            kernel.run_part(input, operands.start, operands.output, operands.scratch)
        })
    })
}

pub(super) fn depthwise_conv2d(
    context: Context<'_>,
    conv: &DepthwiseConv2d,
) -> Result<Step, Error> {
    let windows = Windows { stride: conv.stride, dilation: conv.dilation, padding: conv.padding };
    let geometry = windows.geometry(context)?;
    let weights = Weights::new(context, geometry.output_channels, 3)?;
    let requantization = weights.requantization(context, conv.activation, false)?;
    let zero_point = context.input_codes(0)?.zero_point;
    let kernel = DepthwiseConvolution::new(
        context.instruction_set,
        geometry,
        zero_point,
        weights.differences,
        &weights.bias,
        requantization,
    )
    .map_err(|error| context.refused(error))?;
    Ok(Step {
        operands: vec![context.operator().inputs[0]],
        packed_bytes: kernel.packed_bytes(),
        scratch_bytes: kernel.scratch_bytes(),
        unit: Some(kernel.unit()),
        ..context.step_by(kernel.instruction_set(), "depthwise convolution", move |operands| {
            let input = operands.inputs.get(0);
            kernel.run_part(input, operands.start, operands.output, operands.scratch)
        })
    })
}

/// Weights, a bias and a factor for each channel, and how windows are read; the portable kernels pad rows and widen them.
pub(super) fn least_packed_bytes(context: Context<'_>, dilation: [usize; 2]) -> u64 {
    let size = |shape: &[usize]| shape.iter().map(|&n| n as u64).product::<u64>();
    let shape = context.input_shape(1);
    let channels = context.output_shape().last().map_or(1, |&channels| channels as u64);
    let is_portable = context.instruction_set == InstructionSet::Portable;
    let weights = match is_portable && shape[0] == channels as usize {
        true => 2 * size(&shape[1..]).next_multiple_of(16) * channels,
        false => size(shape),
    };
    // Windows with gaps are read pixel by pixel.
    let gapped = if dilation[1] > 1 && !is_portable { size(&shape[1..3]) } else { 0 };
    weights + 8 * channels + gapped * kernels::GAPPED_TAP_BYTES
}

struct Windows {
    stride: [usize; 2],
    dilation: [usize; 2],
    padding: Padding,
}

impl Windows {
    fn geometry(&self, context: Context<'_>) -> Result<Geometry, Error> {
        let shape = |shape| image(shape).map_err(|reason| context.invalid(reason));
        let [batch, input_height, input_width, input_channels] = shape(context.input_shape(0))?;
        let [_, output_height, output_width, output_channels] = shape(context.output_shape())?;
        let [_, filter_height, filter_width, _] = shape(context.input_shape(1))?;
        let (input, filter) = ([input_height, input_width], [filter_height, filter_width]);
        let before = |d: usize| {
            window(self.padding, input[d], filter[d], self.stride[d], self.dilation[d])
                .map(|(_, before)| before)
                .ok_or_else(|| context.invalid("the window does not fit into the input"))
        };
        Ok(Geometry {
            batch,
            input,
            input_channels,
            output: [output_height, output_width],
            output_channels,
            filter,
            stride: self.stride,
            dilation: self.dilation,
            padding: [before(0)?, before(1)?],
        })
    }
}

/// The constant operands of a convolution, decoded and checked.
struct Weights<'a> {
    /// In the order of the file.
    differences: kernels::Weights<'a>,
    /// A scale for each output channel.
    scales: Vec<f32>,
    bias: Vec<i32>,
}

impl<'a> Weights<'a> {
    /// `axis` is the dimension of the weights that output channels are along.
    fn new(context: Context<'a>, channels: usize, axis: usize) -> Result<Self, Error> {
        let weights = context.input(1);
        let name = &weights.name;
        let Some(data) = &weights.data else {
            return Err(context.unsupported(format!("weights `{name}` are not constant")));
        };
        if !context.input(0).element_type.is_8_bit()
            || weights.element_type != context.input(0).element_type
            || context.output().element_type != weights.element_type
        {
            return Err(context.unsupported(format!(
                "input {}, weights `{name}` {} and output {}: only all uint8 or all int8 is computed",
                context.input(0).element_type,
                weights.element_type,
                context.output().element_type
            )));
        }
        let (scales, zero_point) = match &weights.quantization {
            Some(Quantization::PerTensor { scale, zero_point }) => {
                (vec![*scale; channels], *zero_point)
            }
            Some(Quantization::PerChannel { scales, zero_points, axis: found }) => {
                if *found != axis || weights.element_type != ElementType::I8 {
                    return Err(context.invalid(format!(
                        "weights `{name}` are {} quantized along dimension {found}, expected int8 along dimension {axis}",
                        weights.element_type
                    )));
                }
                if let Some(zero_point) = zero_points.iter().find(|&&zero| zero != 0) {
                    return Err(context.invalid(format!(
                        "weights `{name}` per channel have zero point {zero_point}, expected 0"
                    )));
                }
                (scales.clone(), 0)
            }
            None => {
                return Err(
                    context.invalid(format!("weights `{name}` have no scale and zero point"))
                );
            }
        };
        if weights.element_type == ElementType::I8 && zero_point != 0 {
            return Err(context.invalid(format!(
                "int8 weights `{name}` have zero point {zero_point}, expected 0: TFLite's int8 weights are symmetric"
            )));
        }
        let differences = match weights.element_type {
            ElementType::I8 => kernels::Weights::int8(data),
            // A zero point is within its 8-bit type: `Graph::new` checked.
            _ => kernels::Weights::uint8(data, zero_point as u8),
        };
        let bias = bias(context, channels)?;
        Ok(Weights { differences, scales, bias })
    }

    fn requantization(
        &self,
        context: Context<'_>,
        activation: Activation,
        is_fully_connected: bool,
    ) -> Result<Requantization, Error> {
        let (input, output) = (context.input_codes(0)?, context.output_codes()?);
        let scales = Scales {
            input: input.scale,
            weights: &self.scales,
            output: output.scale,
            reference: match context.input(0).element_type {
                _ if is_fully_connected => ReferenceArithmetic::Double,
                ElementType::U8 => ReferenceArithmetic::FixedPointOfF32Product,
                _ => ReferenceArithmetic::FixedPoint,
            },
        };
        let range = context.activation_range(activation)?;
        Requantization::new(context.numerics, &scales, output.zero_point, range)
            .map_err(|error| context.refused(error))
    }
}

/// The bias of each output channel; zeros when there is none.
fn bias(context: Context<'_>, channels: usize) -> Result<Vec<i32>, Error> {
    if context.operator().inputs.len() < 3 {
        return Ok(vec![0; channels]);
    }
    let bias = context.input(2);
    let Some(data) = &bias.data else {
        return Err(context.unsupported(format!("bias `{}` is not constant", bias.name)));
    };
    if bias.element_type != ElementType::I32 {
        return Err(context.unsupported(format!(
            "bias `{}` is {}, only int32 is computed",
            bias.name, bias.element_type
        )));
    }
    if bias.shape.iter().product::<usize>() != channels {
        return Err(context.invalid(format!(
            "bias `{}` has shape {:?}, expected one value for each of {channels} output channels",
            bias.name, bias.shape
        )));
    }
    Ok(data.as_chunks().0.iter().map(|bytes| i32::from_le_bytes(*bytes)).collect())
}
