//! Tensors as `ndarray` arrays.

use mobileight_runtime::{Data, Tensor};
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
}
