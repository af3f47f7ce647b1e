//! Codes and the real values that they stand for.

use mobileight_runtime::{Data, ElementType, Quantization, Tensor};

/// The real values that a tensor stands for: `scale * (code - zero point)`; values as they are without a quantization.
///
/// A quantization per channel is applied along its axis.
pub fn real_values(tensor: &Tensor, quantization: Option<&Quantization>) -> Vec<f32> {
    let codes: Vec<f64> = match &tensor.data {
        Data::U8(values) => values.iter().map(|&v| v.into()).collect(),
        Data::I8(values) => values.iter().map(|&v| v.into()).collect(),
        Data::I32(values) => values.iter().map(|&v| v.into()).collect(),
        Data::I64(values) => values.iter().map(|&v| v as f64).collect(),
        Data::F32(values) => return values.clone(),
        _ => Vec::new(),
    };
    let Some(quantization) = quantization else {
        return codes.into_iter().map(|code| code as f32).collect();
    };
    let (axis, stride) = match quantization {
        Quantization::PerChannel { axis, .. } => {
            (*axis, tensor.shape.iter().skip(axis + 1).product::<usize>())
        }
        Quantization::PerTensor { .. } => (0, 1),
    };
    let channels = tensor.shape.get(axis).copied().unwrap_or(1);
    let real = |(at, code): (usize, f64)| {
        let (scale, zero_point) = quantization.channel(at / stride % channels).unwrap_or((1.0, 0));
        (f64::from(scale) * (code - f64::from(zero_point))) as f32
    };
    codes.into_iter().enumerate().map(real).collect()
}

/// The codes of real values, rounded half away from zero and clamped as TFLite's QUANTIZE does; `None` for element types that
/// are not 8-bit.
pub fn codes(
    values: &[f32],
    element_type: ElementType,
    scale: f32,
    zero_point: i32,
) -> Option<Data> {
    // The cast saturates, and so does the addition.
    let code = |value: &f32| ((value / scale).round() as i32).saturating_add(zero_point);
    match element_type {
        ElementType::U8 => {
            Some(values.iter().map(|v| code(v).clamp(0, 255) as u8).collect::<Vec<_>>().into())
        }
        ElementType::I8 => {
            Some(values.iter().map(|v| code(v).clamp(-128, 127) as i8).collect::<Vec<_>>().into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_values_follow_the_channels() {
        let tensor = Tensor::new(vec![2, 2], vec![0i8, 1, 2, 3]);
        let per_tensor = Quantization::PerTensor { scale: 0.5, zero_point: 1 };
        assert_eq!(real_values(&tensor, Some(&per_tensor)), [-0.5, 0.0, 0.5, 1.0]);
        let channels = |axis| Quantization::PerChannel {
            scales: vec![1.0, 10.0],
            zero_points: vec![0, 0],
            axis,
        };
        assert_eq!(real_values(&tensor, Some(&channels(1))), [0.0, 10.0, 2.0, 30.0]);
        assert_eq!(real_values(&tensor, Some(&channels(0))), [0.0, 1.0, 20.0, 30.0]);
        assert_eq!(real_values(&tensor, None), [0.0, 1.0, 2.0, 3.0]);
    }

    #[test]
    fn codes_round_and_saturate() {
        let values = [-1e30, -0.26, -0.25, 0.0, 0.25, 0.74, 63.4, f32::INFINITY];
        let signed = codes(&values, ElementType::I8, 0.5, -1).unwrap();
        assert_eq!(signed, Data::I8(vec![-128, -2, -2, -1, 0, 0, 126, 127]));
        let unsigned = codes(&values, ElementType::U8, 0.5, 128).unwrap();
        assert_eq!(unsigned, Data::U8(vec![0, 127, 127, 128, 129, 129, 255, 255]));
        assert_eq!(codes(&values, ElementType::F32, 0.5, 0), None);
    }
}
