//! The parts of a graph in the format. Codes are TFLite's own: of its operators, element types, activations and paddings.

use super::fields::{Field, Input, Output, Refusal, choice, record};
use crate::graph::element_count;
use crate::{
    Activation, Conv2d, DepthwiseConv2d, ElementType, Error, Graph, GraphTensor, Limit, Metadata,
    Normalization, Operator, OperatorKind, Padding, Pool2d, Quantization, TensorId,
};
use alloc::format;
use alloc::vec::Vec;

/// The parts that [`Graph::new`] checks and puts together.
pub(super) struct Parts {
    metadata: Metadata,
    tensors: Vec<GraphTensor>,
    operators: Vec<Operator>,
    inputs: Vec<TensorId>,
    outputs: Vec<TensorId>,
}

impl Parts {
    pub fn graph(self) -> Result<Graph, Error> {
        Graph::new(self.tensors, self.operators, self.inputs, self.outputs, self.metadata)
    }
}

impl From<&Graph> for Parts {
    fn from(graph: &Graph) -> Self {
        Parts {
            metadata: graph.metadata().clone(),
            tensors: graph.tensors().to_vec(),
            operators: graph.operators().to_vec(),
            inputs: graph.inputs().to_vec(),
            outputs: graph.outputs().to_vec(),
        }
    }
}

record!(Parts { metadata, tensors, operators, inputs, outputs });
record!(Metadata { name, description, labels, normalization });
record!(Normalization { mean, standard_deviation });

impl Field for GraphTensor {
    const LEAST: usize = 5;
    const LIMIT: Option<Limit> = Some(Limit::Tensors);

    fn write(&self, out: &mut Output) {
        self.name.write(out);
        self.element_type.write(out);
        self.shape.write(out);
        self.quantization.write(out);
        self.data.is_some().write(out);
        if let Some(data) = &self.data {
            out.constant(data);
        }
    }

    fn read(input: &mut Input<'_>) -> Result<Self, Refusal> {
        let within = |name: &'static str| move |error: Refusal| error.within(name);
        let name = Field::read(input).map_err(within("name"))?;
        let element_type = ElementType::read(input).map_err(within("element_type"))?;
        let shape = Vec::read(input).map_err(within("shape"))?;
        let quantization = Field::read(input).map_err(within("quantization"))?;
        let mut constant = || -> Result<_, Refusal> {
            if !bool::read(input)? {
                return Ok(None);
            }
            // The length follows from the shape: `Graph::new` has nothing left to compare.
            let bytes = element_count(&shape).map(|count| count.checked_mul(element_type.size()));
            let Some(length) = bytes.flatten() else {
                let reason = format!("shape {shape:?} is empty or too large");
                return Err(Refusal::new(input.position(), reason));
            };
            input.constant(length).map(Some)
        };
        let data = constant().map_err(within("constant"))?;
        Ok(GraphTensor { name, element_type, shape, quantization, data })
    }
}

choice!(ElementType {
    0 => F32 {},
    1 => F16 {},
    2 => I32 {},
    3 => U8 {},
    4 => I64 {},
    6 => Bool {},
    7 => I16 {},
    9 => I8 {},
});

choice!(Quantization {
    0 => PerTensor { scale: scale, zero_point: zero_point },
    1 => PerChannel { scales: scales, zero_points: zero_points, axis: axis },
});

record!(Operator { kind, inputs, output }, limit Limit::Operators);

choice!(OperatorKind {
    0 => Add { 0: activation },
    1 => AveragePool2d { 0: pool },
    2 => Concatenation { axis: axis, activation: activation },
    3 => Conv2d { 0: convolution },
    4 => DepthwiseConv2d { 0: convolution },
    6 => Dequantize {},
    9 => FullyConnected { activation: activation, keep_dimensions: keep_dimensions },
    14 => Logistic {},
    17 => MaxPool2d { 0: pool },
    18 => Mul { 0: activation },
    19 => Relu {},
    21 => Relu6 {},
    22 => Reshape { shape: shape },
    23 => ResizeBilinear {
        size: size,
        align_corners: align_corners,
        half_pixel_centers: half_pixel_centers
    },
    25 => Softmax { beta: beta },
    34 => Pad { paddings: paddings, value: value },
    40 => Mean { axes: axes, keep_dimensions: keep_dimensions },
    41 => Sub { 0: activation },
    43 => Squeeze { axes: axes },
    56 => ArgMax { axis: axis },
    97 => ResizeNearestNeighbor {
        size: size,
        align_corners: align_corners,
        half_pixel_centers: half_pixel_centers
    },
    98 => LeakyRelu { alpha: alpha },
    114 => Quantize {},
    117 => HardSwish {},
});

record!(Conv2d { stride, dilation, padding, activation });
record!(DepthwiseConv2d { stride, dilation, padding, depth_multiplier, activation });
record!(Pool2d { filter, stride, padding, activation });

choice!(Padding {
    0 => Same {},
    1 => Valid {},
});

choice!(Activation {
    0 => None {},
    1 => Relu {},
    2 => ReluN1To1 {},
    3 => Relu6 {},
});
