//! A second implementation of every operator, for tests alone: the definition of each in the plainest loops, with wide
//! integers where TFLite is exact and `f32` where it is not, on the values of the file's own element types.

mod convolution;
mod elementwise;
mod fixed_point;
mod movement;
mod softmax;
mod spatial;

use mobileight_runtime::{
    Activation, Data, ElementType, Graph, GraphTensor, Numerics, Operator, OperatorKind,
    Quantization, Tensor, TensorId,
};

/// The elements of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    Integers(Vec<i64>),
    Floats(Vec<f32>),
}

/// A tensor with what its elements mean.
#[derive(Clone, Debug)]
pub struct Operand {
    pub shape: Vec<usize>,
    pub element_type: ElementType,
    pub quantization: Option<Quantization>,
    pub values: Values,
}

impl Operand {
    pub fn integers(&self) -> &[i64] {
        match &self.values {
            Values::Integers(values) => values,
            Values::Floats(_) => panic!("expected integers"),
        }
    }

    pub fn scale(&self) -> f32 {
        self.quantization.as_ref().and_then(Quantization::per_tensor).expect("per tensor").0
    }

    pub fn zero_point(&self) -> i64 {
        let quantization = self.quantization.as_ref().and_then(Quantization::per_tensor);
        quantization.expect("per tensor").1.into()
    }

    /// The element at an index of each dimension.
    pub fn at(&self, index: &[usize]) -> i64 {
        self.integers()[flat(&self.shape, index)]
    }
}

/// What an operator writes: shape, element type and quantization, and the arithmetic asked for.
#[derive(Clone, Debug)]
pub struct Target {
    pub shape: Vec<usize>,
    pub element_type: ElementType,
    pub quantization: Option<Quantization>,
    pub numerics: Numerics,
}

impl Target {
    pub fn scale(&self) -> f32 {
        self.quantization.as_ref().and_then(Quantization::per_tensor).expect("per tensor").0
    }

    pub fn zero_point(&self) -> i64 {
        let quantization = self.quantization.as_ref().and_then(Quantization::per_tensor);
        quantization.expect("per tensor").1.into()
    }

    /// The smallest and largest value under a fused activation.
    pub fn range(&self, activation: Activation) -> (i64, i64) {
        let (low, high) = self.element_type.integer_range().expect("an integer type");
        let quantize = |real: f32| {
            let quanta = real / self.scale();
            match self.numerics {
                Numerics::Reference => quanta.round() as i64 + self.zero_point(),
                Numerics::Xnnpack => (quanta + self.zero_point() as f32).round_ties_even() as i64,
            }
        };
        let (least, most) = match activation {
            Activation::None => (low, high),
            Activation::Relu => (quantize(0.0), high),
            Activation::ReluN1To1 => (quantize(-1.0), quantize(1.0)),
            Activation::Relu6 => (quantize(0.0), quantize(6.0)),
        };
        (least.clamp(low, high), most.clamp(low, high))
    }

    /// Adds the zero point and clamps.
    pub fn finish(&self, quanta: i64, activation: Activation) -> i64 {
        let (low, high) = self.range(activation);
        (quanta + self.zero_point()).clamp(low, high)
    }
}

/// Every index of a shape, in row-major order.
pub fn indices(shape: &[usize]) -> impl Iterator<Item = Vec<usize>> + '_ {
    (0..shape.iter().product()).map(move |position| {
        let mut rest: usize = position;
        let mut index = vec![0; shape.len()];
        for (at, &length) in index.iter_mut().zip(shape).rev() {
            *at = rest % length;
            rest /= length;
        }
        index
    })
}

/// The position of an index in row-major order.
pub fn flat(shape: &[usize], index: &[usize]) -> usize {
    assert_eq!(shape.len(), index.len());
    shape.iter().zip(index).fold(0, |position, (&length, &at)| {
        assert!(at < length);
        position * length + at
    })
}

/// Evaluates a graph; the value of every tensor that has one.
pub fn evaluate(graph: &Graph, inputs: &[Tensor], numerics: Numerics) -> Vec<Option<Operand>> {
    let operand = |tensor: &GraphTensor, shape: &[usize], values| Operand {
        shape: shape.to_vec(),
        element_type: tensor.element_type,
        quantization: tensor.quantization.clone(),
        values,
    };
    let constant = |tensor: &GraphTensor| {
        let values = decode(tensor.element_type, tensor.data.as_ref()?);
        Some(operand(tensor, &tensor.shape, values))
    };
    let mut tensors: Vec<Option<Operand>> = graph.tensors().iter().map(constant).collect();
    for (&id, input) in graph.inputs().iter().zip(inputs) {
        let values = values(&input.data);
        tensors[id] = Some(operand(&graph.tensors()[id], &input.shape, values));
    }
    for operator in graph.operators() {
        let get = |&id: &TensorId| tensors[id].clone().expect("computed before");
        let operands: Vec<Operand> = operator.inputs.iter().map(get).collect();
        let output = &graph.tensors()[operator.output];
        let target = Target {
            shape: output.shape.clone(),
            element_type: output.element_type,
            quantization: output.quantization.clone(),
            numerics,
        };
        let values = apply(operator, &operands, &target);
        tensors[operator.output] = Some(operand(output, &output.shape, values));
    }
    tensors
}

/// A tensor's elements, widened.
pub fn values(data: &Data) -> Values {
    match data {
        Data::U8(values) => Values::Integers(values.iter().map(|&v| v.into()).collect()),
        Data::I8(values) => Values::Integers(values.iter().map(|&v| v.into()).collect()),
        Data::I32(values) => Values::Integers(values.iter().map(|&v| v.into()).collect()),
        Data::I64(values) => Values::Integers(values.clone()),
        Data::F32(values) => Values::Floats(values.clone()),
        _ => panic!("no such element type in a session"),
    }
}

fn decode(element_type: ElementType, bytes: &[u8]) -> Values {
    let integers = match element_type {
        ElementType::U8 => bytes.iter().map(|&b| b.into()).collect(),
        ElementType::I8 => bytes.iter().map(|&b| (b as i8).into()).collect(),
        ElementType::I32 => {
            let words = bytes.chunks_exact(4);
            words.map(|w| i32::from_le_bytes(w.try_into().unwrap()).into()).collect()
        }
        other => panic!("constants of {other} are not operands here"),
    };
    Values::Integers(integers)
}

fn apply(operator: &Operator, inputs: &[Operand], target: &Target) -> Values {
    let input = &inputs[0];
    let integers = match &operator.kind {
        OperatorKind::Conv2d(parameters) => convolution::conv2d(inputs, parameters, target),
        OperatorKind::DepthwiseConv2d(parameters) => {
            convolution::depthwise_conv2d(inputs, parameters, target)
        }
        OperatorKind::FullyConnected { activation, .. } => {
            convolution::fully_connected(inputs, *activation, target)
        }
        OperatorKind::Add(activation) => elementwise::add(inputs, 1, *activation, target),
        OperatorKind::Sub(activation) => elementwise::add(inputs, -1, *activation, target),
        OperatorKind::Mul(activation) => elementwise::mul(inputs, *activation, target),
        OperatorKind::AveragePool2d(pool) => spatial::pool(input, pool, true, target),
        OperatorKind::MaxPool2d(pool) => spatial::pool(input, pool, false, target),
        OperatorKind::Mean { axes, .. } => spatial::mean(input, axes, target),
        OperatorKind::ResizeBilinear { align_corners, half_pixel_centers, .. } => {
            spatial::resize_bilinear(input, *align_corners, *half_pixel_centers, target)
        }
        OperatorKind::ResizeNearestNeighbor { align_corners, half_pixel_centers, .. } => {
            spatial::resize_nearest_neighbor(input, *align_corners, *half_pixel_centers, target)
        }
        OperatorKind::Pad { paddings, value } => {
            let value = value.map_or(input.zero_point(), i64::from);
            movement::pad(input, paddings, value, target)
        }
        OperatorKind::Reshape { .. } | OperatorKind::Squeeze { .. } => input.integers().to_vec(),
        OperatorKind::Concatenation { axis, activation } => {
            movement::concatenation(inputs, *axis, *activation, target)
        }
        OperatorKind::ArgMax { axis } => movement::arg_max(input, *axis, target),
        OperatorKind::Softmax { beta } => softmax::softmax(input, *beta, target),
        OperatorKind::Logistic => elementwise::logistic(input, target),
        OperatorKind::HardSwish => elementwise::hard_swish(input, target),
        OperatorKind::Relu => elementwise::relu(input, Activation::Relu, target),
        OperatorKind::LeakyRelu { alpha } => elementwise::leaky_relu(input, *alpha, target),
        OperatorKind::Relu6 => elementwise::relu(input, Activation::Relu6, target),
        OperatorKind::Quantize => elementwise::quantize(input, target),
        OperatorKind::Dequantize => return elementwise::dequantize(input),
        other => panic!("{other} has no naive twin"),
    };
    Values::Integers(integers)
}
