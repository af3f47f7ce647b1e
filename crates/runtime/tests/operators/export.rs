//! Writes every random configuration and the twin's result as JSON, for `litert.py`, which asks LiteRT.
//!
//! ```text
//! MOBILEIGHT_EXPORT=/tmp/cases cargo test -p mobileight-runtime --test operators -- --ignored
//! python crates/runtime/tests/operators/litert.py /tmp/cases
//! ```

use std::fmt::Write as _;
use std::path::PathBuf;

use mobileight_runtime::{Activation, GraphTensor, Numerics, OperatorKind, Padding, Quantization};

use crate::check::{Family, cases, expected};
use crate::naive::{self, Values};
use crate::random::Case;
use crate::{convolution, elementwise, movement, spatial};

const FAMILIES: [(&str, Family); 24] = [
    ("conv_2d", convolution::conv2d),
    ("depthwise_conv_2d", convolution::depthwise_conv2d),
    ("fully_connected", convolution::fully_connected),
    ("add", elementwise::add),
    ("sub", elementwise::sub),
    ("mul", elementwise::mul),
    ("logistic", elementwise::logistic),
    ("hard_swish", elementwise::hard_swish),
    ("relu", elementwise::relu),
    ("leaky_relu", elementwise::leaky_relu),
    ("softmax", elementwise::softmax),
    ("quantize", elementwise::quantize),
    ("requantize", elementwise::requantize),
    ("dequantize", elementwise::dequantize),
    ("average_pool_2d", spatial::average_pool),
    ("max_pool_2d", spatial::max_pool),
    ("mean", spatial::mean),
    ("resize_bilinear", spatial::resize_bilinear),
    ("resize_nearest_neighbor", spatial::resize_nearest_neighbor),
    ("pad", movement::pad),
    ("reshape", movement::reshape),
    ("squeeze", movement::squeeze),
    ("concatenation", movement::concatenation),
    ("arg_max", movement::arg_max),
];

#[test]
#[ignore = "writes files for a comparison with LiteRT"]
fn export() {
    let folder = PathBuf::from(std::env::var("MOBILEIGHT_EXPORT").expect("MOBILEIGHT_EXPORT"));
    std::fs::create_dir_all(&folder).unwrap();
    for (name, family) in FAMILIES {
        for numerics in Numerics::ALL {
            let mut lines = String::new();
            for (seed, case) in cases(family, numerics) {
                let expected = json_values(&expected(&case, numerics));
                writeln!(lines, "{}", json(seed, &case, &expected)).unwrap();
            }
            std::fs::write(folder.join(format!("{name}.{numerics}.jsonl")), lines).unwrap();
        }
    }
}

fn json_values(values: &Values) -> String {
    match values {
        Values::Integers(values) => format!("{values:?}"),
        Values::Floats(values) => format!("{values:?}"),
    }
}

fn json_tensor(tensor: &GraphTensor, values: Option<String>) -> String {
    let (scales, zero_points, axis) = match &tensor.quantization {
        None => (vec![], vec![], 0),
        Some(Quantization::PerTensor { scale, zero_point }) => (vec![*scale], vec![*zero_point], 0),
        Some(Quantization::PerChannel { scales, zero_points, axis }) => {
            (scales.clone(), zero_points.clone(), *axis)
        }
    };
    format!(
        r#"{{"shape":{:?},"type":"{}","scales":{scales:?},"zero_points":{zero_points:?},"axis":{axis},"constant":{},"values":{}}}"#,
        tensor.shape,
        tensor.element_type,
        tensor.data.is_some(),
        values.unwrap_or("null".into())
    )
}

fn json(seed: u64, case: &Case, expected: &str) -> String {
    let operator = &case.graph.operators()[0];
    // The twin's view of the operands, constants included.
    let evaluated = naive::evaluate(&case.graph, &case.inputs, Numerics::Reference);
    let operands: Vec<String> = operator
        .inputs
        .iter()
        .map(|&id| {
            let values = evaluated[id].as_ref().map(|operand| json_values(&operand.values));
            json_tensor(&case.graph.tensors()[id], values)
        })
        .collect();
    format!(
        r#"{{"seed":{seed},"operator":"{}","options":{},"inputs":[{}],"output":{},"expected":{expected}}}"#,
        operator.kind,
        json_options(&operator.kind),
        operands.join(","),
        json_tensor(case.output(), None)
    )
}

fn json_options(kind: &OperatorKind) -> String {
    let same = |padding: Padding| padding == Padding::Same;
    let code = |activation: Activation| match activation {
        Activation::None => 0,
        Activation::Relu => 1,
        Activation::ReluN1To1 => 2,
        Activation::Relu6 => 3,
    };
    match kind {
        OperatorKind::Conv2d(p) => format!(
            r#"{{"stride":{:?},"dilation":{:?},"same":{},"activation":{}}}"#,
            p.stride,
            p.dilation,
            same(p.padding),
            code(p.activation)
        ),
        OperatorKind::DepthwiseConv2d(p) => format!(
            r#"{{"stride":{:?},"dilation":{:?},"same":{},"activation":{},"depth_multiplier":{}}}"#,
            p.stride,
            p.dilation,
            same(p.padding),
            code(p.activation),
            p.depth_multiplier
        ),
        OperatorKind::FullyConnected { activation, keep_dimensions } => {
            format!(r#"{{"activation":{},"keep":{keep_dimensions}}}"#, code(*activation))
        }
        OperatorKind::Add(a) | OperatorKind::Sub(a) | OperatorKind::Mul(a) => {
            format!(r#"{{"activation":{}}}"#, code(*a))
        }
        OperatorKind::AveragePool2d(p) | OperatorKind::MaxPool2d(p) => format!(
            r#"{{"stride":{:?},"filter":{:?},"same":{},"activation":{}}}"#,
            p.stride,
            p.filter,
            same(p.padding),
            code(p.activation)
        ),
        OperatorKind::Mean { axes, keep_dimensions } => {
            format!(r#"{{"axes":{axes:?},"keep":{keep_dimensions}}}"#)
        }
        OperatorKind::Pad { paddings, value } => {
            let value = value.map_or("null".into(), |value| value.to_string());
            format!(r#"{{"paddings":{paddings:?},"value":{value}}}"#)
        }
        OperatorKind::Reshape { shape } => format!(r#"{{"shape":{shape:?}}}"#),
        OperatorKind::Squeeze { axes } => format!(r#"{{"axes":{axes:?}}}"#),
        OperatorKind::LeakyRelu { alpha } => format!(r#"{{"alpha":{alpha:?}}}"#),
        OperatorKind::Softmax { beta } => format!(r#"{{"beta":{beta:?}}}"#),
        OperatorKind::Concatenation { axis, activation } => {
            format!(r#"{{"axis":{axis},"activation":{}}}"#, code(*activation))
        }
        OperatorKind::ResizeBilinear { size, align_corners, half_pixel_centers }
        | OperatorKind::ResizeNearestNeighbor { size, align_corners, half_pixel_centers } => {
            format!(r#"{{"size":{size:?},"align":{align_corners},"half":{half_pixel_centers}}}"#)
        }
        OperatorKind::ArgMax { axis } => format!(r#"{{"axis":{axis}}}"#),
        _ => "{}".into(),
    }
}
