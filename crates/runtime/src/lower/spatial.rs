//! Operators on neighbourhoods: pooling, MEAN, resizing.

use mobileight_kernels::Numerics;
use mobileight_kernels::mean::Mean;
use mobileight_kernels::pooling::{Pool, PoolGeometry, Pooling};
use mobileight_kernels::resize::{ResizeBilinear, ResizeGeometry, ResizeNearestNeighbor};

use super::{Context, Step, code};
use crate::shapes::{image, window};
use crate::{ElementType, Error, Pool2d};

pub(super) fn average_pool(context: Context<'_>, pool: &Pool2d) -> Result<Step, Error> {
    let zero = code(context.output().element_type, 0);
    let kernel = prepare_pool(context, pool, Pooling::Average { zero })?;
    let set = context.instruction_set;
    Ok(context.step_by(set, "average pooling", move |operands| {
        kernel.run(set, operands.inputs.get(0), operands.output)
    }))
}

pub(super) fn max_pool(context: Context<'_>, pool: &Pool2d) -> Result<Step, Error> {
    let kernel = prepare_pool(context, pool, Pooling::Maximum)?;
    let set = context.instruction_set;
    Ok(context.step_by(set, "max pooling", move |operands| {
        kernel.run(set, operands.inputs.get(0), operands.output)
    }))
}

fn prepare_pool(context: Context<'_>, pool: &Pool2d, pooling: Pooling) -> Result<Pool, Error> {
    context.check_same_quantization()?;
    let shape = |shape| image(shape).map_err(|reason| context.invalid(reason));
    let [batch, height, width, channels] = shape(context.input_shape(0))?;
    let [_, output_height, output_width, _] = shape(context.output_shape())?;
    let input = [height, width];
    let before = |d: usize| {
        window(pool.padding, input[d], pool.filter[d], pool.stride[d], 1)
            .map(|(_, before)| before)
            .ok_or_else(|| context.invalid("the window does not fit into the input"))
    };
    let geometry = PoolGeometry {
        batch,
        input,
        output: [output_height, output_width],
        channels,
        filter: pool.filter,
        stride: pool.stride,
        padding: [before(0)?, before(1)?],
    };
    // XNNPACK does not take quantized average pooling, nor windows that skip elements: TFLite's own kernels run in its place.
    let is_delegated =
        matches!(pooling, Pooling::Maximum) && (0..2).all(|d| pool.stride[d] <= pool.filter[d]);
    let numerics = if is_delegated { context.numerics } else { Numerics::Reference };
    let range = Context { numerics, ..context }.activation_range(pool.activation)?;
    Pool::new(geometry, pooling, range).map_err(|error| context.refused(error))
}

pub(super) fn mean(context: Context<'_>, axes: &[usize]) -> Result<Step, Error> {
    context.check_same_element_type()?;
    let (input, output) = (context.input_codes(0)?, context.output_codes()?);
    let zero = code(context.output().element_type, 0);
    let kernel = Mean::new(context.numerics, context.input_shape(0), axes, input, output, zero)
        .map_err(|error| context.refused(error))?;
    let scratch_bytes = kernel.scratch_bytes();
    let set = context.instruction_set;
    let step = context.step_by(set, "mean", move |operands| {
        kernel.run(set, operands.inputs.get(0), operands.output, operands.scratch)
    });
    Ok(Step { scratch_bytes, ..step })
}

pub(super) fn resize_bilinear(
    context: Context<'_>,
    align_corners: bool,
    half_pixel_centers: bool,
) -> Result<Step, Error> {
    let geometry = resize_geometry(context, align_corners, half_pixel_centers)?;
    let is_uint8 = context.output().element_type == ElementType::U8;
    let kernel = ResizeBilinear::new(context.numerics, geometry, is_uint8)
        .map_err(|error| context.refused(error))?;
    let packed_bytes = kernel.packed_bytes();
    let step = context.step("bilinear resize", move |operands| {
        kernel.run(operands.inputs.get(0), operands.output)
    });
    Ok(Step { packed_bytes, ..step })
}

pub(super) fn resize_nearest_neighbor(
    context: Context<'_>,
    align_corners: bool,
    half_pixel_centers: bool,
) -> Result<Step, Error> {
    let geometry = resize_geometry(context, align_corners, half_pixel_centers)?;
    let kernel = ResizeNearestNeighbor::new(context.numerics, geometry)
        .map_err(|error| context.refused(error))?;
    let packed_bytes = kernel.packed_bytes();
    let step = context.step("nearest neighbor resize", move |operands| {
        kernel.run(operands.inputs.get(0), operands.output)
    });
    Ok(Step { packed_bytes, ..step })
}

fn resize_geometry(
    context: Context<'_>,
    align_corners: bool,
    half_pixel_centers: bool,
) -> Result<ResizeGeometry, Error> {
    context.check_same_quantization()?;
    if align_corners && half_pixel_centers {
        return Err(context.invalid("align_corners and half_pixel_centers exclude each other"));
    }
    let shape = |shape| image(shape).map_err(|reason| context.invalid(reason));
    let [batch, height, width, channels] = shape(context.input_shape(0))?;
    let [_, output_height, output_width, _] = shape(context.output_shape())?;
    Ok(ResizeGeometry {
        batch,
        input: [height, width],
        output: [output_height, output_width],
        channels,
        align_corners,
        half_pixel_centers,
    })
}
