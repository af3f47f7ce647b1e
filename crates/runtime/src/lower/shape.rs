//! Operators that move or search elements: PAD, CONCATENATION, ARG_MAX.

use alloc::format;
use alloc::vec::Vec;

use mobileight_kernels::bytes;
use mobileight_kernels::concatenation::{Part, concatenate};
use mobileight_kernels::pad::Pad;
use mobileight_kernels::search::arg_max as search;
use mobileight_kernels::{CodeQuantization, Error as KernelError};

use super::{Context, Step, code};
use crate::{Activation, ElementType, Error};

pub(super) fn pad(
    context: Context<'_>,
    paddings: &[[usize; 2]],
    value: Option<i32>,
) -> Result<Step, Error> {
    context.check_same_quantization()?;
    let CodeQuantization { zero_point, .. } = context.output_codes()?;
    let value = value.map_or(zero_point, |value| code(context.output().element_type, value.into()));
    let kernel = Pad::new(context.input_shape(0), paddings, value)
        .map_err(|error| context.refused(error))?;
    Ok(context.step("padding", move |operands| kernel.run(operands.inputs.get(0), operands.output)))
}

pub(super) fn concatenation(
    context: Context<'_>,
    axis: usize,
    activation: Activation,
) -> Result<Step, Error> {
    context.check_same_element_type()?;
    if activation != Activation::None {
        // TFLite's kernel refuses it; the XNNPACK delegate takes the operator and leaves the activation out.
        return Err(context.unsupported(format!(
            "a fused activation ({activation:?}), which LiteRT does not compute either; make it an operator of its own"
        )));
    }
    if context.output().element_type == ElementType::I8 {
        // TFLite's int8 kernel copies; only that of uint8 rescales.
        context.check_same_quantization()?;
    }
    let output = context.output_codes()?;
    let part = |operand: usize| -> Result<Part, Error> {
        let length = context.input_shape(operand)[axis..].iter().product();
        Ok(Part::new(length, context.input_codes(operand)?, output))
    };
    let count = context.operator().inputs.len();
    let parts = (0..count).map(part).collect::<Result<Vec<_>, _>>()?;
    let step = context.step("concatenation", move |operands| {
        let inputs = operands.inputs;
        concatenate(&parts, |at| inputs.get(at), operands.output)
    });
    Ok(Step { packed_bytes: parts_bytes(context), ..step })
}

/// Bytes of what is known about the operands, whose number no shape bounds.
pub(super) fn parts_bytes(context: Context<'_>) -> usize {
    context.operator().inputs.len() * size_of::<Part>()
}

pub(super) fn arg_max(context: Context<'_>, axis: usize) -> Result<Step, Error> {
    let shape = context.input_shape(0);
    let (length, inner) = (shape[axis], shape[axis + 1..].iter().product());
    if context.input(0).element_type != ElementType::F32 {
        context.input_codes(0)?;
    }
    let is_float = context.input(0).element_type == ElementType::F32;
    let index = context.output().element_type;
    if !matches!(index, ElementType::I32 | ElementType::I64) {
        return Err(
            context.unsupported(format!("indices of {index}, only int32 and int64 are computed"))
        );
    }
    let misaligned = || KernelError::Parameter { what: "tensor", reason: "is not aligned".into() };
    Ok(context.step("arg max", move |operands| {
        let codes = operands.inputs.get(0);
        let reals = if is_float { bytes::from_bytes::<f32>(codes) } else { None };
        match index {
            ElementType::I32 => {
                let output =
                    bytes::from_bytes_mut::<i32>(operands.output).ok_or_else(misaligned)?;
                match reals {
                    Some(reals) => search(length, inner, reals, output),
                    None => search(length, inner, codes, output),
                }
            }
            _ => {
                let output =
                    bytes::from_bytes_mut::<i64>(operands.output).ok_or_else(misaligned)?;
                match reals {
                    Some(reals) => search(length, inner, reals, output),
                    None => search(length, inner, codes, output),
                }
            }
        }
    }))
}
