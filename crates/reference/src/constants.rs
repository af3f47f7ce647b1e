//! Constants as real values.

use half::f16;
use mobileight_runtime::{
    Data, ElementType, Graph, GraphTensor, OperatorKind, Quantization, TensorId,
};

use crate::Error;

/// The constant behind a tensor: float16 weights reach their operators through a DEQUANTIZE.
fn origin(graph: &Graph, mut id: TensorId) -> TensorId {
    while let Some(producer) = graph.producer(id).map(|at| &graph.operators()[at])
        && matches!(producer.kind, OperatorKind::Dequantize)
    {
        id = producer.inputs[0];
    }
    id
}

/// The real values of a constant, in row-major order.
pub fn real_values(graph: &Graph, id: TensorId) -> Result<Vec<f32>, Error> {
    let id = origin(graph, id);
    let tensor = &graph.tensors()[id];
    let refuse = |reason: String| Error::Constant { index: id, name: tensor.name.clone(), reason };
    let bytes = tensor.data.as_deref().ok_or_else(|| refuse("is no constant".into()))?;
    let values = match tensor.element_type {
        ElementType::F32 => {
            bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
        }
        ElementType::F16 => {
            bytes.as_chunks::<2>().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect()
        }
        found => {
            let codes = tensor.constant().and_then(|constant| integers(&constant.data));
            let codes = codes.ok_or_else(|| {
                refuse(format!("is {found}, expected float32, float16 or a quantized type"))
            })?;
            dequantize(tensor, &codes)
                .ok_or_else(|| refuse("has no scale and zero point for its codes".into()))?
        }
    };
    match values.iter().position(|value: &f32| !value.is_finite()) {
        None => Ok(values),
        Some(element) => Err(Error::NotFinite {
            index: id,
            name: tensor.name.clone(),
            element,
            value: values[element],
        }),
    }
}

/// The bias of a convolution or FULLY_CONNECTED. TFLite takes a quantized bias in units of input scale times weight scale, whatever
/// scale the bias itself claims.
pub fn bias(graph: &Graph, operands: &[TensorId], outputs: usize) -> Result<Vec<f32>, Error> {
    let Some(&id) = operands.get(2) else { return Ok(vec![0.0; outputs]) };
    let tensor = &graph.tensors()[id];
    let units = graph.tensors()[operands[0]]
        .quantization
        .as_ref()
        .and_then(Quantization::per_tensor)
        .zip(graph.tensors()[operands[1]].quantization.as_ref());
    let codes = tensor.constant().and_then(|constant| integers(&constant.data));
    let (Some(((input_scale, _), weights)), Some(codes)) = (units, codes) else {
        return real_values(graph, id);
    };
    let value = |(channel, &code): (usize, &i64)| {
        let (scale, _) = weights.channel(channel)?;
        Some((code as f64 * f64::from(input_scale) * f64::from(scale)) as f32)
    };
    codes.iter().enumerate().map(value).collect::<Option<Vec<f32>>>().ok_or_else(|| {
        Error::Constant {
            index: id,
            name: tensor.name.clone(),
            reason: "has more channels than the weights have scales".into(),
        }
    })
}

/// The real value with which PAD fills.
pub fn padding(graph: &Graph, input: TensorId, kind: &OperatorKind) -> f32 {
    let OperatorKind::Pad { value: Some(code), .. } = kind else { return 0.0 };
    let quantization = graph.tensors()[input].quantization.as_ref();
    match quantization.and_then(Quantization::per_tensor) {
        Some((scale, zero_point)) => scale * (*code as f32 - zero_point as f32),
        None => *code as f32,
    }
}

/// The codes of a quantized tensor as real values; `None` without scale and zero point.
pub fn dequantize(tensor: &GraphTensor, codes: &[i64]) -> Option<Vec<f32>> {
    let real =
        |code: i64, (scale, zero_point): (f32, i32)| scale * (code - i64::from(zero_point)) as f32;
    match tensor.quantization.as_ref()? {
        Quantization::PerTensor { scale, zero_point } => {
            Some(codes.iter().map(|&code| real(code, (*scale, *zero_point))).collect())
        }
        channels @ Quantization::PerChannel { axis, .. } => {
            let length = *tensor.shape.get(*axis)?;
            let inner: usize = tensor.shape[axis + 1..].iter().product();
            let value = |(at, &code): (usize, &i64)| {
                Some(real(code, channels.channel(at / inner % length)?))
            };
            codes.iter().enumerate().map(value).collect()
        }
    }
}

/// Integers of any width; `None` for floating point.
pub fn integers(data: &Data) -> Option<Vec<i64>> {
    Some(match data {
        Data::U8(codes) => codes.iter().map(|&code| code.into()).collect(),
        Data::I8(codes) => codes.iter().map(|&code| code.into()).collect(),
        Data::I32(codes) => codes.iter().map(|&code| code.into()).collect(),
        Data::I64(codes) => codes.clone(),
        _ => return None,
    })
}
