//! Lowering: from one operator of the graph, with its inferred shapes, to a prepared kernel call.
//!
//! One file per operator family. Each function here checks everything that [`Graph::new`](crate::Graph::new) and shape
//! inference left open: element types, quantization, shapes of constants.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

mod convolution;
mod elementwise;
mod shape;
mod spatial;

use mobileight_kernels::bytes::AlignedBytes;
use mobileight_kernels::{self as kernels, CodeQuantization, InstructionSet, Numerics};

use crate::plan::Location;
use crate::{
    Activation, ElementType, Error, Graph, GraphTensor, Missing, Operator, OperatorKind,
    Quantization, TensorId,
};
#[cfg(not(feature = "std"))]
use mobileight_kernels::math::Math;

/// A prepared kernel call.
pub(crate) struct Step {
    /// Which kernel, for people.
    pub kernel: &'static str,
    /// What its vector code is written for.
    pub instruction_set: InstructionSet,
    /// The tensors that the call reads when it runs; packed weights are not among them.
    pub operands: Vec<TensorId>,
    /// Bytes of packed weights and tables.
    pub packed_bytes: usize,
    /// Bytes of working memory.
    pub scratch_bytes: usize,
    /// Bytes of the smallest part of the output that a call can compute by itself; all of it for most kernels.
    pub unit: Option<usize>,
    /// The call.
    pub run: Call,
}

type Call = Box<dyn Fn(&mut Operands<'_>) -> Result<(), kernels::Error> + Send + Sync>;

/// The memory of one call: 8-bit tensors as codes (see [`mobileight_kernels`]), others in native byte order.
pub(crate) struct Operands<'a> {
    pub inputs: Inputs<'a>,
    /// Where in the whole output this part starts.
    pub start: usize,
    pub output: &'a mut [u8],
    pub scratch: &'a mut [u8],
}

/// The tensors read by a call, in the order of [`Step::operands`].
#[derive(Clone, Copy)]
pub(crate) struct Inputs<'a> {
    pub memory: Memory<'a>,
    pub constants: &'a [AlignedBytes],
    pub locations: &'a [Location],
}

/// Where activations are.
#[derive(Clone, Copy)]
pub(crate) enum Memory<'a> {
    /// In the arena: before the output, and from the output's end, which is at `after_start`.
    Around { before: &'a [u8], after: &'a [u8], after_start: usize },
    /// Each by itself.
    Each(&'a [&'a [u8]]),
}

impl<'a> Inputs<'a> {
    /// The bytes of an operand.
    pub fn get(&self, index: usize) -> &'a [u8] {
        match (&self.locations[index], self.memory) {
            (Location::Constant(at), _) => &self.constants[*at],
            (Location::Arena(range), Memory::Around { before, .. })
                if range.end <= before.len() =>
            {
                &before[range.clone()]
            }
            (Location::Arena(range), Memory::Around { after, after_start, .. }) => {
                &after[range.start - after_start..range.end - after_start]
            }
            (Location::Arena(_), Memory::Each(operands)) => {
                let before = &self.locations[..index];
                operands[before.iter().filter(|location| location.is_activation()).count()]
            }
        }
    }
}

/// One operator with all that is known about it.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub graph: &'a Graph,
    /// The inferred shape of every tensor.
    pub shapes: &'a [Vec<usize>],
    pub numerics: Numerics,
    pub instruction_set: InstructionSet,
    /// The operator's position.
    pub index: usize,
}

impl<'a> Context<'a> {
    pub fn operator(&self) -> &'a Operator {
        &self.graph.operators()[self.index]
    }

    pub fn input(&self, operand: usize) -> &'a GraphTensor {
        &self.graph.tensors()[self.operator().inputs[operand]]
    }

    pub fn output(&self) -> &'a GraphTensor {
        &self.graph.tensors()[self.operator().output]
    }

    pub fn input_shape(&self, operand: usize) -> &'a [usize] {
        &self.shapes[self.operator().inputs[operand]]
    }

    pub fn output_shape(&self) -> &'a [usize] {
        &self.shapes[self.operator().output]
    }

    /// The operator is not well formed.
    pub fn invalid(&self, reason: impl Into<String>) -> Error {
        Error::InvalidOperator {
            index: self.index,
            operator: self.operator().kind.name(),
            reason: reason.into(),
        }
    }

    /// The operator is well formed, but beyond this version.
    pub fn unsupported(&self, reason: impl Into<String>) -> Error {
        Error::Unsupported(vec![Missing {
            operator_index: self.index,
            operator: self.operator().kind.name().into(),
            reason: reason.into(),
        }])
    }

    /// A kernel refused its parameters.
    pub fn refused(&self, error: kernels::Error) -> Error {
        self.invalid(error.to_string())
    }

    /// The quantization of an 8-bit operand.
    pub fn input_codes(&self, operand: usize) -> Result<CodeQuantization, Error> {
        self.codes(self.input(operand))
    }

    /// The quantization of the 8-bit output.
    pub fn output_codes(&self) -> Result<CodeQuantization, Error> {
        self.codes(self.output())
    }

    fn codes(&self, tensor: &GraphTensor) -> Result<CodeQuantization, Error> {
        if !tensor.element_type.is_8_bit() {
            return Err(self.unsupported(format!(
                "tensor `{}` is {}, only uint8 and int8 are computed",
                tensor.name, tensor.element_type
            )));
        }
        match &tensor.quantization {
            Some(Quantization::PerTensor { scale, zero_point }) => Ok(CodeQuantization {
                scale: *scale,
                zero_point: code(tensor.element_type, (*zero_point).into()),
            }),
            Some(Quantization::PerChannel { .. }) => Err(self.invalid(format!(
                "activation `{}` is quantized per channel, expected one scale and zero point",
                tensor.name
            ))),
            None => Err(self.invalid(format!(
                "tensor `{}` is {} without scale and zero point",
                tensor.name, tensor.element_type
            ))),
        }
    }

    /// Refuses operands whose element type differs from the output's.
    pub fn check_same_element_type(&self) -> Result<(), Error> {
        let expected = self.output().element_type;
        for &id in &self.operator().inputs {
            let tensor = &self.graph.tensors()[id];
            if tensor.element_type != expected {
                return Err(self.invalid(format!(
                    "operand `{}` is {}, the output is {expected}",
                    tensor.name, tensor.element_type
                )));
            }
        }
        Ok(())
    }

    /// Refuses operands whose scale or zero point differs from the output's: TFLite's kernels would copy the codes all the same,
    /// and so change the values.
    pub fn check_same_quantization(&self) -> Result<(), Error> {
        self.check_same_element_type()?;
        let output = self.output_codes()?;
        for operand in 0..self.operator().inputs.len() {
            let input = self.input_codes(operand)?;
            if input.zero_point != output.zero_point
                || (input.scale / output.scale - 1.0).abs() > 1e-5
            {
                return Err(self.invalid(format!(
                    "operand `{}` has scale {} and zero code {}, the output {} and {}: both must be the same",
                    self.input(operand).name,
                    input.scale,
                    input.zero_point,
                    output.scale,
                    output.zero_point
                )));
            }
        }
        Ok(())
    }

    /// The smallest and largest code of the output under a fused activation.
    ///
    /// TFLite: `CalculateActivationRangeQuantized`, which rounds half away from zero. XNNPACK rounds to nearest even, after it
    /// added the zero point of the file's own element type in `f32`.
    pub fn activation_range(&self, activation: Activation) -> Result<[u8; 2], Error> {
        self.activation_range_in(self.numerics, activation)
    }

    /// The same in a numerics of choice, for operators that XNNPACK leaves to TFLite.
    pub fn activation_range_in(
        &self,
        numerics: Numerics,
        activation: Activation,
    ) -> Result<[u8; 2], Error> {
        let CodeQuantization { scale, zero_point } = self.output_codes()?;
        let code_of_zero = f32::from(code(self.output().element_type, 0));
        let quantize = |real: f32| -> u8 {
            let zero_point = f32::from(zero_point) - code_of_zero;
            let value = match numerics {
                Numerics::Reference => zero_point + (real / scale).round(),
                Numerics::Xnnpack => (real / scale + zero_point).round_ties_even(),
            };
            let code = value + code_of_zero;
            code.clamp(0.0, 255.0) as u8
        };
        Ok(match activation {
            Activation::None => [0, 255],
            Activation::Relu => [quantize(0.0), 255],
            Activation::ReluN1To1 => [quantize(-1.0), quantize(1.0)],
            Activation::Relu6 => [quantize(0.0), quantize(6.0)],
        })
    }

    /// A step of a portable kernel without packed memory.
    pub fn step(
        &self,
        kernel: &'static str,
        run: impl Fn(&mut Operands<'_>) -> Result<(), kernels::Error> + Send + Sync + 'static,
    ) -> Step {
        self.step_by(InstructionSet::Portable, kernel, run)
    }

    /// A step of a kernel for an instruction set, without packed memory.
    pub fn step_by(
        &self,
        instruction_set: InstructionSet,
        kernel: &'static str,
        run: impl Fn(&mut Operands<'_>) -> Result<(), kernels::Error> + Send + Sync + 'static,
    ) -> Step {
        Step {
            kernel,
            instruction_set,
            operands: self.operator().inputs.clone(),
            packed_bytes: 0,
            scratch_bytes: 0,
            unit: None,
            run: Box::new(run),
        }
    }
}

/// A value in an 8-bit element type as a code.
pub(crate) fn code(element_type: ElementType, value: i64) -> u8 {
    let offset = if element_type == ElementType::I8 { 128 } else { 0 };
    (value + offset).clamp(0, 255) as u8
}

/// Whether the operator only gives its input another shape; its output then is its input's memory.
pub(crate) fn is_alias(kind: &OperatorKind) -> bool {
    matches!(kind, OperatorKind::Reshape { .. } | OperatorKind::Squeeze { .. })
}

/// What [`Step::packed_bytes`] will be at least, for refusing what would not fit before it is packed.
pub(crate) fn least_packed_bytes(context: Context<'_>) -> u64 {
    match &context.operator().kind {
        OperatorKind::Conv2d(conv) => convolution::least_packed_bytes(context, conv.dilation),
        OperatorKind::DepthwiseConv2d(conv) => {
            convolution::least_packed_bytes(context, conv.dilation)
        }
        OperatorKind::FullyConnected { .. } => convolution::least_packed_bytes(context, [1, 1]),
        OperatorKind::ResizeBilinear { size, .. }
        | OperatorKind::ResizeNearestNeighbor { size, .. } => {
            (size[0] as u64 + size[1] as u64) * size_of::<usize>() as u64
        }
        OperatorKind::Concatenation { .. } => shape::parts_bytes(context) as u64,
        _ => 0,
    }
}

/// Prepares the kernel call of an operator; `None` when [`is_alias`].
pub(crate) fn lower(context: Context<'_>) -> Result<Option<Step>, Error> {
    let step = match &context.operator().kind {
        OperatorKind::Conv2d(conv) => convolution::conv2d(context, conv)?,
        OperatorKind::DepthwiseConv2d(conv) => convolution::depthwise_conv2d(context, conv)?,
        OperatorKind::FullyConnected { activation, .. } => {
            convolution::fully_connected(context, *activation)?
        }
        OperatorKind::Add(activation) => elementwise::add(context, *activation)?,
        OperatorKind::Sub(activation) => elementwise::sub(context, *activation)?,
        OperatorKind::Mul(activation) => elementwise::mul(context, *activation)?,
        OperatorKind::Logistic => elementwise::logistic(context)?,
        OperatorKind::HardSwish => elementwise::hard_swish(context)?,
        OperatorKind::Relu => elementwise::relu(context, Activation::Relu)?,
        OperatorKind::Relu6 => elementwise::relu(context, Activation::Relu6)?,
        OperatorKind::LeakyRelu { alpha } => elementwise::leaky_relu(context, *alpha)?,
        OperatorKind::Quantize => elementwise::quantize(context)?,
        OperatorKind::Dequantize => elementwise::dequantize(context)?,
        OperatorKind::Softmax { beta } => elementwise::softmax(context, *beta)?,
        OperatorKind::AveragePool2d(pool) => spatial::average_pool(context, pool)?,
        OperatorKind::MaxPool2d(pool) => spatial::max_pool(context, pool)?,
        OperatorKind::Mean { axes, .. } => spatial::mean(context, axes)?,
        OperatorKind::ResizeBilinear { align_corners, half_pixel_centers, .. } => {
            spatial::resize_bilinear(context, *align_corners, *half_pixel_centers)?
        }
        OperatorKind::ResizeNearestNeighbor { align_corners, half_pixel_centers, .. } => {
            spatial::resize_nearest_neighbor(context, *align_corners, *half_pixel_centers)?
        }
        OperatorKind::Pad { paddings, value } => shape::pad(context, paddings, *value)?,
        OperatorKind::Concatenation { axis, activation } => {
            shape::concatenation(context, *axis, *activation)?
        }
        OperatorKind::ArgMax { axis } => shape::arg_max(context, *axis)?,
        OperatorKind::Reshape { .. } | OperatorKind::Squeeze { .. } => {
            context.check_same_element_type()?;
            return Ok(None);
        }
    };
    Ok(Some(step))
}
