//! Operators on each element or row: ADD, SUB, MUL, tables, QUANTIZE, DEQUANTIZE, SOFTMAX.

use alloc::format;

use mobileight_kernels::binary::{Addition, BinaryQuantization, Broadcast, Multiplication};
use mobileight_kernels::quantize::{dequantize as dequantize_codes, quantize as quantize_reals};
use mobileight_kernels::softmax::Softmax;
use mobileight_kernels::table::{Requantizer, Table};
use mobileight_kernels::{self as kernels, Numerics, bytes};

use super::{Context, Step};
use crate::{Activation, ElementType, Error};

pub(super) fn add(context: Context<'_>, activation: Activation) -> Result<Step, Error> {
    addition(context, activation, false)
}

pub(super) fn sub(context: Context<'_>, activation: Activation) -> Result<Step, Error> {
    addition(context, activation, true)
}

fn addition(context: Context<'_>, activation: Activation, subtract: bool) -> Result<Step, Error> {
    let (broadcast, quantization) = binary(context, activation, Addition::numerics)?;
    let kernel = Addition::new(context.numerics, broadcast, quantization, subtract)
        .map_err(|error| context.refused(error))?;
    let set = context.instruction_set;
    Ok(context.step_by(set, "addition", move |operands| {
        kernel.run(set, operands.inputs.get(0), operands.inputs.get(1), operands.output)
    }))
}

pub(super) fn mul(context: Context<'_>, activation: Activation) -> Result<Step, Error> {
    let (broadcast, quantization) = binary(context, activation, Multiplication::numerics)?;
    let kernel = Multiplication::new(context.numerics, broadcast, quantization)
        .map_err(|error| context.refused(error))?;
    let set = context.instruction_set;
    Ok(context.step_by(set, "multiplication", move |operands| {
        kernel.run(set, operands.inputs.get(0), operands.inputs.get(1), operands.output)
    }))
}

fn binary(
    context: Context<'_>,
    activation: Activation,
    numerics: fn(Numerics, [f32; 2], f32) -> Numerics,
) -> Result<(Broadcast, BinaryQuantization), Error> {
    context.check_same_element_type()?;
    let broadcast = Broadcast::new(context.input_shape(0), context.input_shape(1))
        .map_err(|error| context.refused(error))?;
    let inputs = [context.input_codes(0)?, context.input_codes(1)?];
    let output = context.output_codes()?;
    let numerics = numerics(context.numerics, inputs.map(|input| input.scale), output.scale);
    let range = context.activation_range_in(numerics, activation)?;
    let quantization = BinaryQuantization { inputs, output, range };
    Ok((broadcast, quantization))
}

pub(super) fn logistic(context: Context<'_>) -> Result<Step, Error> {
    context.check_same_element_type()?;
    let is_uint8 = context.output().element_type == ElementType::U8;
    let (input, output) = (context.input_codes(0)?, context.output_codes()?);
    let table = Table::logistic(context.numerics, input, output, is_uint8);
    Ok(by_table(context, table))
}

pub(super) fn hard_swish(context: Context<'_>) -> Result<Step, Error> {
    context.check_same_element_type()?;
    let table = Table::hard_swish(context.input_codes(0)?, context.output_codes()?)
        .map_err(|error| context.refused(error))?;
    Ok(by_table(context, table))
}

pub(super) fn relu(context: Context<'_>, activation: Activation) -> Result<Step, Error> {
    context.check_same_element_type()?;
    let range = context.activation_range_in(Numerics::Reference, activation)?;
    let table = Table::rescale(context.input_codes(0)?, context.output_codes()?, range)
        .map_err(|error| context.refused(error))?;
    Ok(by_table(context, table))
}

pub(super) fn leaky_relu(context: Context<'_>, alpha: f32) -> Result<Step, Error> {
    context.check_same_element_type()?;
    let (input, output) = (context.input_codes(0)?, context.output_codes()?);
    let table = Table::leaky_relu(context.numerics, input, output, alpha)
        .map_err(|error| context.refused(error))?;
    Ok(by_table(context, table))
}

fn by_table(context: Context<'_>, table: Table) -> Step {
    let set = context.instruction_set;
    let step = context.step_by(set, "table", move |operands| {
        table.run(set, operands.inputs.get(0), operands.output)
    });
    Step { packed_bytes: size_of::<Table>(), ..step }
}

pub(super) fn quantize(context: Context<'_>) -> Result<Step, Error> {
    let (numerics, output) = (context.numerics, context.output_codes()?);
    if context.input(0).element_type == ElementType::F32 {
        return Ok(context.step("quantization", move |operands| {
            let reals = floats(operands.inputs.get(0))?;
            quantize_reals(numerics, output, reals, operands.output)
        }));
    }
    let same_type = context.input(0).element_type == context.output().element_type;
    let kernel = Requantizer::new(numerics, context.input_codes(0)?, output, same_type)
        .map_err(|error| context.refused(error))?;
    let set = context.instruction_set;
    let step = context.step_by(set, "requantization", move |operands| {
        kernel.run(set, operands.inputs.get(0), operands.output)
    });
    Ok(Step { packed_bytes: size_of::<Requantizer>(), ..step })
}

pub(super) fn dequantize(context: Context<'_>) -> Result<Step, Error> {
    let input = context.input_codes(0)?;
    if context.output().element_type != ElementType::F32 {
        return Err(context.unsupported(format!(
            "output `{}` is {}, only float32 is computed",
            context.output().name,
            context.output().element_type
        )));
    }
    Ok(context.step("dequantization", move |operands| {
        let reals = bytes::from_bytes_mut(operands.output).ok_or_else(misaligned)?;
        dequantize_codes(input, operands.inputs.get(0), reals)
    }))
}

fn floats(memory: &[u8]) -> Result<&[f32], kernels::Error> {
    bytes::from_bytes(memory).ok_or_else(misaligned)
}

fn misaligned() -> kernels::Error {
    kernels::Error::Parameter { what: "tensor", reason: "is not aligned for float32".into() }
}

pub(super) fn softmax(context: Context<'_>, beta: f32) -> Result<Step, Error> {
    context.check_same_element_type()?;
    let depth = context.input_shape(0).last().copied().unwrap_or(0);
    let is_uint8 = context.output().element_type == ElementType::U8;
    let (input, output) = (context.input_codes(0)?, context.output_codes()?);
    let kernel = Softmax::new(context.numerics, depth, input.scale, beta, output, is_uint8)
        .map_err(|error| context.refused(error))?;
    let step = context
        .step("softmax", move |operands| kernel.run(operands.inputs.get(0), operands.output));
    Ok(Step { packed_bytes: size_of::<[f32; 256]>(), ..step })
}
