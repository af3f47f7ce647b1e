//! The operators a graph is made of, with typed parameters.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::graph::MAXIMUM_RANK;

/// Index of a tensor in its file and in [`Graph::tensors`](crate::Graph::tensors).
pub type TensorId = usize;

/// One operator application.
///
/// Constant operands that are parameters (axes, shapes, sizes, paddings) are part of [`OperatorKind`], not of `inputs`.
#[derive(Clone, Debug, PartialEq)]
pub struct Operator {
    /// What is computed.
    pub kind: OperatorKind,
    /// The tensors read. Convolutions and FULLY_CONNECTED: `[input, weights]` or `[input, weights, bias]`.
    pub inputs: Vec<TensorId>,
    /// The tensor written.
    pub output: TensorId,
}

/// What an operator computes.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum OperatorKind {
    /// CONV_2D: input NHWC, weights `[output channels, height, width, input channels]`, bias `[output channels]`.
    Conv2d(Conv2d),
    /// DEPTHWISE_CONV_2D: weights `[1, height, width, input channels * depth multiplier]`.
    DepthwiseConv2d(DepthwiseConv2d),
    /// FULLY_CONNECTED: weights `[outputs, inputs]`.
    FullyConnected {
        /// Fused activation.
        activation: Activation,
        /// Whether the leading dimensions of the input are kept; else the output is `[batch, outputs]`.
        keep_dimensions: bool,
    },
    /// ADD with NumPy's broadcasting.
    Add(Activation),
    /// SUB with NumPy's broadcasting.
    Sub(Activation),
    /// MUL with NumPy's broadcasting.
    Mul(Activation),
    /// AVERAGE_POOL_2D.
    AveragePool2d(Pool2d),
    /// MAX_POOL_2D.
    MaxPool2d(Pool2d),
    /// MEAN over axes.
    Mean {
        /// The axes averaged over: in range, ascending, each once.
        axes: Vec<usize>,
        /// Whether the axes stay, with length one.
        keep_dimensions: bool,
    },
    /// PAD with the input's zero point, or PADV2 with a value of its own.
    Pad {
        /// Elements added before and after, for each dimension.
        paddings: Vec<[usize; 2]>,
        /// PADV2's padding value, in the element type of the input; `None` for PAD.
        value: Option<i32>,
    },
    /// RESHAPE.
    Reshape {
        /// The new shape; one entry may be -1.
        shape: Vec<i32>,
    },
    /// SQUEEZE.
    Squeeze {
        /// The dimensions removed, in range and ascending; all of length one when empty.
        axes: Vec<usize>,
    },
    /// SOFTMAX over the last dimension.
    Softmax {
        /// Factor of the exponent.
        beta: f32,
    },
    /// LOGISTIC, the sigmoid.
    Logistic,
    /// HARD_SWISH: `x * relu6(x + 3) / 6`.
    HardSwish,
    /// RELU as an operator of its own.
    Relu,
    /// RELU6 as an operator of its own.
    Relu6,
    /// LEAKY_RELU: `x` where it is not negative, else `alpha * x`.
    LeakyRelu {
        /// Slope of negative values; it may be negative or above one.
        alpha: f32,
    },
    /// QUANTIZE: float to 8-bit, or 8-bit to 8-bit of another scale, zero point or sign.
    Quantize,
    /// DEQUANTIZE: 8-bit to float.
    Dequantize,
    /// CONCATENATION.
    Concatenation {
        /// The dimension joined, in range.
        axis: usize,
        /// Fused activation.
        activation: Activation,
    },
    /// RESIZE_BILINEAR.
    ResizeBilinear {
        /// Output height and width.
        size: [usize; 2],
        /// Whether the corners' centers of input and output coincide.
        align_corners: bool,
        /// Whether pixels are sampled at their centers.
        half_pixel_centers: bool,
    },
    /// RESIZE_NEAREST_NEIGHBOR.
    ResizeNearestNeighbor {
        /// Output height and width.
        size: [usize; 2],
        /// Whether the corners' centers of input and output coincide.
        align_corners: bool,
        /// Whether pixels are sampled at their centers.
        half_pixel_centers: bool,
    },
    /// ARG_MAX; the output's element type (int32 or int64) is in its tensor.
    ArgMax {
        /// The dimension searched, in range.
        axis: usize,
    },
}

impl OperatorKind {
    /// TFLite's name of the operator.
    pub fn name(&self) -> &'static str {
        match self {
            OperatorKind::Conv2d(_) => "CONV_2D",
            OperatorKind::DepthwiseConv2d(_) => "DEPTHWISE_CONV_2D",
            OperatorKind::FullyConnected { .. } => "FULLY_CONNECTED",
            OperatorKind::Add(_) => "ADD",
            OperatorKind::Sub(_) => "SUB",
            OperatorKind::Mul(_) => "MUL",
            OperatorKind::AveragePool2d(_) => "AVERAGE_POOL_2D",
            OperatorKind::MaxPool2d(_) => "MAX_POOL_2D",
            OperatorKind::Mean { .. } => "MEAN",
            OperatorKind::Pad { value: None, .. } => "PAD",
            OperatorKind::Pad { value: Some(_), .. } => "PADV2",
            OperatorKind::Reshape { .. } => "RESHAPE",
            OperatorKind::Squeeze { .. } => "SQUEEZE",
            OperatorKind::Softmax { .. } => "SOFTMAX",
            OperatorKind::Logistic => "LOGISTIC",
            OperatorKind::HardSwish => "HARD_SWISH",
            OperatorKind::Relu => "RELU",
            OperatorKind::Relu6 => "RELU6",
            OperatorKind::LeakyRelu { .. } => "LEAKY_RELU",
            OperatorKind::Quantize => "QUANTIZE",
            OperatorKind::Dequantize => "DEQUANTIZE",
            OperatorKind::Concatenation { .. } => "CONCATENATION",
            OperatorKind::ResizeBilinear { .. } => "RESIZE_BILINEAR",
            OperatorKind::ResizeNearestNeighbor { .. } => "RESIZE_NEAREST_NEIGHBOR",
            OperatorKind::ArgMax { .. } => "ARG_MAX",
        }
    }

    /// Refuses parameters that fit no shape; the error is the reason alone. What depends on shapes, a plan checks.
    pub(crate) fn check(&self) -> Result<(), String> {
        // TFLite's numbers are of 32 bits; with larger ones products could overflow.
        let positive = |what: &str, values: &[usize]| {
            let possible = 1..=i32::MAX as usize;
            match values.iter().all(|value| possible.contains(value)) {
                true => Ok(()),
                false => Err(format!("{what} is {values:?}, expected 1 to {}", i32::MAX)),
            }
        };
        let ranked = |what: &str, length: usize| match length <= MAXIMUM_RANK {
            true => Ok(()),
            false => {
                Err(format!("has {length} {what}, a shape has at most {MAXIMUM_RANK} dimensions"))
            }
        };
        match self {
            OperatorKind::Conv2d(conv) => {
                positive("stride", &conv.stride)?;
                positive("dilation", &conv.dilation)
            }
            OperatorKind::DepthwiseConv2d(conv) => {
                positive("stride", &conv.stride)?;
                positive("dilation", &conv.dilation)?;
                positive("depth_multiplier", &[conv.depth_multiplier])
            }
            OperatorKind::AveragePool2d(pool) | OperatorKind::MaxPool2d(pool) => {
                positive("filter", &pool.filter)?;
                positive("stride", &pool.stride)
            }
            OperatorKind::Mean { axes, .. } | OperatorKind::Squeeze { axes } => {
                match axes.is_sorted_by(|a, b| a < b) {
                    true => ranked("axes", axes.len()),
                    false => Err(format!("axes {axes:?} are not ascending, each once")),
                }
            }
            OperatorKind::Pad { paddings, .. } => ranked("paddings", paddings.len()),
            OperatorKind::Reshape { shape } => ranked("new dimensions", shape.len()),
            OperatorKind::ResizeBilinear { size, align_corners, half_pixel_centers }
            | OperatorKind::ResizeNearestNeighbor { size, align_corners, half_pixel_centers } => {
                if *align_corners && *half_pixel_centers {
                    return Err("align_corners and half_pixel_centers exclude each other".into());
                }
                positive("size", size)
            }
            OperatorKind::Softmax { beta } if !beta.is_finite() => {
                Err(format!("beta is {beta}, expected a finite number"))
            }
            OperatorKind::LeakyRelu { alpha } if !alpha.is_finite() => {
                Err(format!("alpha is {alpha}, expected a finite number"))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for OperatorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Parameters of a convolution. Pairs are `[height, width]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv2d {
    /// Distance between neighbouring windows, at least one.
    pub stride: [usize; 2],
    /// Distance between neighbouring taps of a window, at least one.
    pub dilation: [usize; 2],
    /// How the borders are filled.
    pub padding: Padding,
    /// Fused activation.
    pub activation: Activation,
}

/// Parameters of a depthwise convolution. Pairs are `[height, width]`.
#[derive(Clone, Debug, PartialEq)]
pub struct DepthwiseConv2d {
    /// Distance between neighbouring windows, at least one.
    pub stride: [usize; 2],
    /// Distance between neighbouring taps of a window, at least one.
    pub dilation: [usize; 2],
    /// How the borders are filled.
    pub padding: Padding,
    /// Output channels for each input channel, at least one.
    pub depth_multiplier: usize,
    /// Fused activation.
    pub activation: Activation,
}

/// Parameters of a pooling. Pairs are `[height, width]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool2d {
    /// Size of a window, at least one.
    pub filter: [usize; 2],
    /// Distance between neighbouring windows, at least one.
    pub stride: [usize; 2],
    /// How the borders are filled.
    pub padding: Padding,
    /// Fused activation.
    pub activation: Activation,
}

/// TFLite's two paddings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Padding {
    /// The output has `ceil(input / stride)` rows; what is missing is added at both ends, the odd one at the end.
    Same,
    /// Windows stay within the input.
    Valid,
}

/// An activation fused into an operator, as bounds on the real values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Activation {
    /// None: the range of the output's element type.
    #[default]
    None,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, -1), 1)`, TFLite's RELU_N1_TO_1.
    ReluN1To1,
    /// `min(max(x, 0), 6)`.
    Relu6,
}
