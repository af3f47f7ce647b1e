//! A graph as a network of tract's operators, all in FP32.
//!
//! Both kinds of graph take the same way: a quantized graph's constants are dequantized and its QUANTIZE and DEQUANTIZE do nothing, so
//! that what remains is the float network that its own weights describe.

use mobileight_runtime::{Activation, Graph, Operator, OperatorKind, Padding, TensorId};
use tract_core::internal::*;
use tract_core::ops::array::{Pad, PadMode, TypedConcat};
use tract_core::ops::cast::cast;
use tract_core::ops::cnn::{Conv, KernelFormat, MaxPool, PaddingSpec, PoolSpec, SumPool};
use tract_core::ops::einsum::EinSum;
use tract_core::ops::math;
use tract_core::ops::nn::resize::{CoordTransformer, Interpolator, Nearest, Resize};
use tract_core::ops::nn::{
    DataFormat, Reduce, Reducer, Softmax, SoftmaxKind, hard_swish, leaky_relu, sigmoid,
};

use crate::{Error, constants};

/// Builds the network; its outputs are `outputs`, in order.
pub fn build(
    graph: &Graph,
    shapes: &[Vec<usize>],
    outputs: &[TensorId],
) -> Result<TypedModel, Error> {
    let mut network = Network {
        graph,
        shapes,
        model: TypedModel::default(),
        wires: vec![None; graph.tensors().len()],
    };
    for &id in graph.inputs() {
        let fact = f32::fact(&shapes[id]);
        let name = format!("{id}");
        network.wires[id] = Some(network.model.add_source(name, fact).map_err(tract)?);
    }
    for (index, operator) in graph.operators().iter().enumerate() {
        let wire = network.wire(index, operator)?;
        network.wires[operator.output] = Some(wire);
    }
    let wires = outputs.iter().map(|&id| network.operand(id)).collect::<Result<Vec<_>, _>>()?;
    network.model.select_output_outlets(&wires).map_err(tract)?;
    network.model.into_optimized().map_err(tract)
}

/// tract's error with its causes.
pub fn tract(error: TractError) -> Error {
    Error::Tract(format!("{error:#}"))
}

struct Network<'a> {
    graph: &'a Graph,
    shapes: &'a [Vec<usize>],
    model: TypedModel,
    /// Where each tensor is computed.
    wires: Vec<Option<OutletId>>,
}

impl Network<'_> {
    fn constant(&mut self, name: String, shape: &[usize], values: &[f32]) -> TractResult<OutletId> {
        self.model.add_const(name, Tensor::from_shape(shape, values)?.into_arc_tensor())
    }

    /// The wire of a tensor; constants get theirs when first read.
    fn operand(&mut self, id: TensorId) -> Result<OutletId, Error> {
        if let Some(wire) = self.wires[id] {
            return Ok(wire);
        }
        let values = constants::real_values(self.graph, id)?;
        let shape = self.graph.tensors()[id].shape.clone();
        let wire = self.constant(format!("{id}"), &shape, &values).map_err(tract)?;
        self.wires[id] = Some(wire);
        Ok(wire)
    }

    fn wire(&mut self, index: usize, operator: &Operator) -> Result<OutletId, Error> {
        let operands = &operator.inputs;
        // Parameters of convolutions are not operands: they are laid out for tract where they are used.
        let count = match operator.kind {
            OperatorKind::Conv2d(_)
            | OperatorKind::DepthwiseConv2d(_)
            | OperatorKind::FullyConnected { .. } => 1,
            _ => operands.len(),
        };
        let inputs =
            operands[..count].iter().map(|&id| self.operand(id)).collect::<Result<Vec<_>, _>>()?;
        let parameters = match count < operands.len() {
            true => {
                let weights = constants::real_values(self.graph, operands[1])?;
                let channels = self.shapes[operator.output].last().copied().unwrap_or(1);
                Some((weights, constants::bias(self.graph, operands, channels)?))
            }
            false => None,
        };
        self.apply(index, operator, &inputs, parameters).map_err(|error| Error::Operator {
            index,
            operator: operator.kind.name(),
            reason: format!("{error:#}"),
        })
    }

    fn apply(
        &mut self,
        index: usize,
        operator: &Operator,
        inputs: &[OutletId],
        parameters: Option<(Vec<f32>, Vec<f32>)>,
    ) -> TractResult<OutletId> {
        let name = &format!("{index}.{}", operator.kind.name());
        let input = inputs[0];
        let from = self.shapes[operator.inputs[0]].clone();
        let to = self.shapes[operator.output].clone();
        let parameters = || parameters.context("has no weights");
        Ok(match &operator.kind {
            OperatorKind::Conv2d(conv) => {
                let shape = self.shapes[operator.inputs[1]].clone();
                let spec = PoolSpec {
                    data_format: DataFormat::NHWC,
                    kernel_shape: tvec!(shape[1], shape[2]),
                    padding: padding(
                        conv.padding,
                        &from,
                        &to,
                        &shape[1..3],
                        conv.stride,
                        conv.dilation,
                    ),
                    dilations: Some(conv.dilation.as_slice().into()),
                    strides: Some(conv.stride.as_slice().into()),
                    input_channels: shape[3],
                    output_channels: shape[0],
                };
                let (weights, bias) = parameters()?;
                let weights = self.constant(format!("{name}.weights"), &shape, &weights)?;
                let wire =
                    self.convolution(name, spec, (KernelFormat::OHWI, 1), [input, weights], &bias)?;
                self.activation(name, conv.activation, wire)?
            }
            OperatorKind::DepthwiseConv2d(conv) => {
                let shape = self.shapes[operator.inputs[1]].clone();
                let [height, width, channels] = [shape[1], shape[2], shape[3]];
                let group = from[3];
                let spec = PoolSpec {
                    data_format: DataFormat::NHWC,
                    kernel_shape: tvec!(height, width),
                    padding: padding(
                        conv.padding,
                        &from,
                        &to,
                        &shape[1..3],
                        conv.stride,
                        conv.dilation,
                    ),
                    dilations: Some(conv.dilation.as_slice().into()),
                    strides: Some(conv.stride.as_slice().into()),
                    input_channels: group,
                    output_channels: channels,
                };
                let (weights, bias) = parameters()?;
                // `[1, height, width, output]` to tract's `[output, 1, height, width]`.
                let taps = height * width;
                let turned: Vec<f32> = (0..channels * taps)
                    .map(|at| weights[at % taps * channels + at / taps])
                    .collect();
                let shape = [channels, 1, height, width];
                let weights = self.constant(format!("{name}.weights"), &shape, &turned)?;
                let wire = self.convolution(
                    name,
                    spec,
                    (KernelFormat::OIHW, group),
                    [input, weights],
                    &bias,
                )?;
                self.activation(name, conv.activation, wire)?
            }
            OperatorKind::FullyConnected { activation, .. } => {
                let shape = self.shapes[operator.inputs[1]].clone();
                let rows = from.iter().product::<usize>() / shape[1];
                let flat =
                    self.reshape(&format!("{name}.flat"), input, &from, &[rows, shape[1]])?;
                let (weights, bias) = parameters()?;
                let weights = self.constant(format!("{name}.weights"), &shape, &weights)?;
                let product = EinSum::new("mk,nk->mn".parse()?, f32::datum_type());
                let wire = self.one(format!("{name}.product"), product, &[flat, weights])?;
                let bias = self.constant(format!("{name}.bias"), &[1, shape[0]], &bias)?;
                let wire = self.one(format!("{name}.sum"), math::add(), &[wire, bias])?;
                let wire = self.activation(name, *activation, wire)?;
                self.reshape(name, wire, &[rows, shape[0]], &to)?
            }
            OperatorKind::Add(activation) => {
                let wire = self.binary(name, math::add(), inputs)?;
                self.activation(name, *activation, wire)?
            }
            OperatorKind::Sub(activation) => {
                let wire = self.binary(name, math::sub(), inputs)?;
                self.activation(name, *activation, wire)?
            }
            OperatorKind::Mul(activation) => {
                let wire = self.binary(name, math::mul(), inputs)?;
                self.activation(name, *activation, wire)?
            }
            OperatorKind::AveragePool2d(pool) | OperatorKind::MaxPool2d(pool) => {
                let pool_spec = PoolSpec {
                    data_format: DataFormat::NHWC,
                    kernel_shape: pool.filter.as_slice().into(),
                    padding: padding(pool.padding, &from, &to, &pool.filter, pool.stride, [1, 1]),
                    dilations: None,
                    strides: Some(pool.stride.as_slice().into()),
                    input_channels: from[3],
                    output_channels: from[3],
                };
                let op: Box<dyn TypedOp> = match operator.kind {
                    OperatorKind::MaxPool2d(_) => {
                        Box::new(MaxPool { pool_spec, with_index_outputs: None })
                    }
                    _ => Box::new(SumPool { pool_spec, count_include_pad: false, normalize: true }),
                };
                let wire = self.one(format!("{name}.pool"), op, &[input])?;
                self.activation(name, pool.activation, wire)?
            }
            OperatorKind::Mean { axes, .. } => {
                let count: usize = axes.iter().map(|&axis| from[axis]).product();
                let mut kept = from.clone();
                axes.iter().for_each(|&axis| kept[axis] = 1);
                let reduce = Reduce { axes: axes.as_slice().into(), reducer: Reducer::Sum };
                let sum = self.one(format!("{name}.sum"), reduce, &[input])?;
                let share = self.scalar(format!("{name}.count"), 1.0 / count as f32, kept.len())?;
                let mean = self.one(format!("{name}.mean"), math::mul(), &[sum, share])?;
                self.reshape(name, mean, &kept, &to)?
            }
            OperatorKind::Pad { paddings, .. } => {
                let value = constants::padding(self.graph, operator.inputs[0], &operator.kind);
                let pads = paddings.iter().map(|&[before, after]| (before, after)).collect();
                let mode = PadMode::Constant(Arc::new(value.into()));
                self.one(name.clone(), Pad { pads, mode }, &[input])?
            }
            OperatorKind::Reshape { .. } | OperatorKind::Squeeze { .. } => {
                self.reshape(name, input, &from, &to)?
            }
            OperatorKind::Softmax { beta } => {
                let beta = self.scalar(format!("{name}.beta"), *beta, from.len())?;
                let scaled = self.one(format!("{name}.scaled"), math::mul(), &[input, beta])?;
                let softmax = Softmax {
                    axes: tvec!(from.len() - 1),
                    quant_output_dt: None,
                    kind: SoftmaxKind::Softmax,
                };
                self.one(name.clone(), softmax, &[scaled])?
            }
            OperatorKind::Logistic => self.one(name.clone(), sigmoid(), &[input])?,
            OperatorKind::HardSwish => self.one(name.clone(), hard_swish(), &[input])?,
            OperatorKind::Relu => self.activation(name, Activation::Relu, input)?,
            OperatorKind::Relu6 => self.activation(name, Activation::Relu6, input)?,
            OperatorKind::LeakyRelu { alpha } => {
                self.one(name.clone(), leaky_relu(*alpha), &[input])?
            }
            OperatorKind::Quantize | OperatorKind::Dequantize => input,
            OperatorKind::Concatenation { axis, activation } => {
                let wire =
                    self.one(format!("{name}.joined"), TypedConcat { axis: *axis }, inputs)?;
                self.activation(name, *activation, wire)?
            }
            OperatorKind::ResizeBilinear { align_corners, half_pixel_centers, .. } => {
                let places = match (align_corners, half_pixel_centers) {
                    (true, _) => CoordTransformer::AlignCorners,
                    (_, true) => CoordTransformer::HalfPixel,
                    _ => CoordTransformer::Asymmetric,
                };
                self.resize(name, input, &to, places, Interpolator::Linear, Nearest::Floor)?
            }
            OperatorKind::ResizeNearestNeighbor { align_corners, half_pixel_centers, .. } => {
                let (places, nearest) = match (align_corners, half_pixel_centers) {
                    (true, _) => (CoordTransformer::AlignCorners, Nearest::RoundPreferCeil),
                    (_, true) => (CoordTransformer::TfHalfPixelForNn, Nearest::Floor),
                    _ => (CoordTransformer::Asymmetric, Nearest::Floor),
                };
                self.resize(name, input, &to, places, Interpolator::Nearest, nearest)?
            }
            OperatorKind::ArgMax { axis } => {
                let reduce = Reduce { axes: tvec!(*axis), reducer: Reducer::ArgMax(false) };
                let wire = self.one(format!("{name}.index"), reduce, &[input])?;
                let wire = self.one(format!("{name}.axis"), AxisOp::Rm(*axis), &[wire])?;
                self.one(name.clone(), cast(i64::datum_type()), &[wire])?
            }
            other => bail!("{other} is not known to the FP32 reference"),
        })
    }

    fn one(
        &mut self,
        name: String,
        op: impl Into<Box<dyn TypedOp>>,
        inputs: &[OutletId],
    ) -> TractResult<OutletId> {
        Ok(self.model.wire_node(name, op, inputs)?[0])
    }

    fn scalar(&mut self, name: String, value: f32, rank: usize) -> TractResult<OutletId> {
        self.constant(name, &vec![1; rank], &[value])
    }

    fn binary(
        &mut self,
        name: &str,
        op: impl Into<Box<dyn TypedOp>>,
        inputs: &[OutletId],
    ) -> TractResult<OutletId> {
        let inputs = wire_rank_broadcast(name, &mut self.model, inputs)?;
        self.one(format!("{name}.exact"), op, &inputs)
    }

    fn convolution(
        &mut self,
        name: &str,
        pool_spec: PoolSpec,
        (kernel_fmt, group): (KernelFormat, usize),
        [input, weights]: [OutletId; 2],
        bias: &[f32],
    ) -> TractResult<OutletId> {
        let bias = self.constant(format!("{name}.bias"), &[bias.len()], bias)?;
        let conv = Conv { pool_spec, kernel_fmt, group, q_params: None };
        self.one(format!("{name}.sum"), conv, &[input, weights, bias])
    }

    fn activation(
        &mut self,
        name: &str,
        activation: Activation,
        wire: OutletId,
    ) -> TractResult<OutletId> {
        let (low, high) = match activation {
            Activation::None => return Ok(wire),
            Activation::Relu => (0.0, None),
            Activation::ReluN1To1 => (-1.0, Some(1.0)),
            Activation::Relu6 => (0.0, Some(6.0)),
        };
        let rank = self.model.outlet_fact(wire)?.rank();
        let low = self.scalar(format!("{name}.low"), low, rank)?;
        let wire = self.one(format!("{name}.at_least"), math::max(), &[wire, low])?;
        let Some(high) = high else { return Ok(wire) };
        let high = self.scalar(format!("{name}.high"), high, rank)?;
        self.one(format!("{name}.at_most"), math::min(), &[wire, high])
    }

    fn reshape(
        &mut self,
        name: &str,
        wire: OutletId,
        from: &[usize],
        to: &[usize],
    ) -> TractResult<OutletId> {
        if from == to {
            return Ok(wire);
        }
        let dims = |shape: &[usize]| shape.iter().map(|&length| length.to_dim()).collect();
        self.one(format!("{name}.shape"), AxisOp::Reshape(0, dims(from), dims(to)), &[wire])
    }

    fn resize(
        &mut self,
        name: &str,
        input: OutletId,
        to: &[usize],
        coord_transformer: CoordTransformer,
        interpolator: Interpolator,
        nearest: Nearest,
    ) -> TractResult<OutletId> {
        let sizes: Vec<i64> = to.iter().map(|&length| length as i64).collect();
        let sizes = self.model.add_const(format!("{name}.sizes"), tensor1(&sizes))?;
        let resize = Resize {
            coord_transformer,
            interpolator,
            nearest,
            optional_scales_input: None,
            optional_sizes_input: Some(1),
        };
        self.one(name.into(), resize, &[input, sizes])
    }
}

/// TFLite's SAME puts the odd row or column at the end.
fn padding(
    padding: Padding,
    from: &[usize],
    to: &[usize],
    filter: &[usize],
    stride: [usize; 2],
    dilation: [usize; 2],
) -> PaddingSpec {
    let missing = |axis: usize| {
        let window = (filter[axis] - 1) * dilation[axis] + 1;
        ((to[axis + 1] - 1) * stride[axis] + window).saturating_sub(from[axis + 1])
    };
    match [missing(0), missing(1)] {
        _ if padding == Padding::Valid => PaddingSpec::Valid,
        [0, 0] => PaddingSpec::Valid,
        [rows, columns] => PaddingSpec::Explicit(
            tvec!(rows / 2, columns / 2),
            tvec!(rows - rows / 2, columns - columns / 2),
        ),
    }
}
