//! Tensors as `ndarray` arrays and as real values.

use mobileight_runtime::{Data, ElementType, Quantization, Tensor};
use ndarray::{ArrayD, IxDyn};

/// A tensor as an array of its element type.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Array {
    /// uint8 codes.
    U8(ArrayD<u8>),
    /// int8 codes.
    I8(ArrayD<i8>),
    /// int32 values.
    I32(ArrayD<i32>),
    /// int64 values.
    I64(ArrayD<i64>),
    /// float32 values.
    F32(ArrayD<f32>),
}

macro_rules! conversions {
    ($($variant:ident),*) => {
        impl From<Array> for Tensor {
            fn from(array: Array) -> Self {
                match array {
                    $(Array::$variant(array) => {
                        let shape = array.shape().to_vec();
                        // In the order of the indices, whatever the memory's.
                        let values: Vec<_> = array.iter().copied().collect();
                        Tensor::new(shape, values)
                    })*
                }
            }
        }

        impl TryFrom<Tensor> for Array {
            type Error = ndarray::ShapeError;

            /// Fails when the tensor's shape does not fit its number of elements.
            fn try_from(tensor: Tensor) -> Result<Self, ndarray::ShapeError> {
                let shape = IxDyn(&tensor.shape);
                match tensor.data {
                    $(Data::$variant(values) => Ok(Array::$variant(ArrayD::from_shape_vec(shape, values)?)),)*
                    _ => Err(ndarray::ShapeError::from_kind(ndarray::ErrorKind::Unsupported)),
                }
            }
        }
    };
}

conversions!(U8, I8, I32, I64, F32);

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
    fn arrays_round_trip_in_any_layout() {
        let array = ArrayD::from_shape_vec(IxDyn(&[2, 3]), vec![1i8, 2, 3, 4, 5, 6]).unwrap();
        let transposed = array.clone().reversed_axes();
        let tensor = Tensor::from(Array::I8(array.clone()));
        assert_eq!(tensor, Tensor::new(vec![2, 3], vec![1i8, 2, 3, 4, 5, 6]));
        assert_eq!(Array::try_from(tensor), Ok(Array::I8(array)));
        let tensor = Tensor::from(Array::I8(transposed));
        assert_eq!(tensor, Tensor::new(vec![3, 2], vec![1i8, 4, 2, 5, 3, 6]));
        assert!(Array::try_from(Tensor::new(vec![4], vec![0u8])).is_err());
    }

    #[test]
    fn sliced_arrays_keep_their_values() {
        let mut slice = ArrayD::from_shape_vec(IxDyn(&[3]), vec![1u8, 2, 3]).unwrap();
        slice.slice_axis_inplace(ndarray::Axis(0), (1..).into());
        assert_eq!(Tensor::from(Array::U8(slice)), Tensor::new(vec![2], vec![2u8, 3]));
    }

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
