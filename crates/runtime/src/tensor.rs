//! Tensors at the border of a session: element types, owned data and views.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ElementType {
    /// Unsigned 8-bit integers, the quantized type of the first generation of TFLite models.
    U8,
    /// Signed 8-bit integers, the quantized type since TensorFlow 2.
    I8,
    /// Signed 16-bit integers.
    I16,
    /// Signed 32-bit integers: biases, shapes, indices.
    I32,
    /// Signed 64-bit integers: indices.
    I64,
    /// 16-bit floating point.
    F16,
    /// 32-bit floating point.
    F32,
    /// Truth values, one byte each.
    Bool,
}

impl ElementType {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            ElementType::U8 | ElementType::I8 | ElementType::Bool => 1,
            ElementType::I16 | ElementType::F16 => 2,
            ElementType::I32 | ElementType::F32 => 4,
            ElementType::I64 => 8,
        }
    }

    /// The name that TFLite and NumPy use: `uint8`, `int8`, `float32`...
    pub fn name(self) -> &'static str {
        match self {
            ElementType::U8 => "uint8",
            ElementType::I8 => "int8",
            ElementType::I16 => "int16",
            ElementType::I32 => "int32",
            ElementType::I64 => "int64",
            ElementType::F16 => "float16",
            ElementType::F32 => "float32",
            ElementType::Bool => "bool",
        }
    }

    /// Whether this is one of the two quantized 8-bit types.
    pub fn is_8_bit(self) -> bool {
        matches!(self, ElementType::U8 | ElementType::I8)
    }

    /// The smallest and largest value of an integer type, `None` for others.
    pub fn integer_range(self) -> Option<(i64, i64)> {
        match self {
            ElementType::U8 => Some((0, 255)),
            ElementType::I8 => Some((-128, 127)),
            ElementType::I16 => Some((i16::MIN.into(), i16::MAX.into())),
            ElementType::I32 => Some((i32::MIN.into(), i32::MAX.into())),
            ElementType::I64 => Some((i64::MIN, i64::MAX)),
            ElementType::F16 | ElementType::F32 | ElementType::Bool => None,
        }
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

macro_rules! data_kinds {
    ($($variant:ident $type:ty),*) => {
        /// The elements of a [`Tensor`], in row-major order.
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum Data {
            $(#[doc = concat!("`", stringify!($type), "` elements.")] $variant(Vec<$type>),)*
        }

        /// Borrowed elements of a [`TensorView`], in row-major order.
        #[derive(Clone, Copy, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum DataView<'a> {
            $(#[doc = concat!("`", stringify!($type), "` elements.")] $variant(&'a [$type]),)*
        }

        impl Data {
            /// Zeros of an element type; `None` for the types that never leave a session (16-bit, Bool).
            pub fn zeros(element_type: ElementType, length: usize) -> Option<Self> {
                match element_type {
                    $(ElementType::$variant => Some(Data::$variant(vec![Default::default(); length])),)*
                    _ => None,
                }
            }

            /// Elements from their bytes, little endian; `None` for the types that never leave a session, and for a length that
            /// is no whole number of elements.
            pub fn from_le_bytes(element_type: ElementType, bytes: &[u8]) -> Option<Self> {
                match element_type {
                    $(ElementType::$variant => {
                        let (elements, []) = bytes.as_chunks::<{ size_of::<$type>() }>() else {
                            return None;
                        };
                        Some(Data::$variant(elements.iter().map(|e| <$type>::from_le_bytes(*e)).collect()))
                    })*
                    _ => None,
                }
            }

            /// The elements, borrowed.
            pub fn view(&self) -> DataView<'_> {
                match self { $(Data::$variant(values) => DataView::$variant(values),)* }
            }
        }

        impl DataView<'_> {
            /// Number of elements.
            pub fn len(&self) -> usize {
                match self { $(DataView::$variant(values) => values.len(),)* }
            }

            /// Whether there are no elements.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// The type of the elements.
            pub fn element_type(&self) -> ElementType {
                match self { $(DataView::$variant(_) => ElementType::$variant,)* }
            }

            /// A copy with memory of its own.
            pub fn to_owned(&self) -> Data {
                match self { $(DataView::$variant(values) => Data::$variant(values.to_vec()),)* }
            }
        }

        $(
            impl From<Vec<$type>> for Data {
                fn from(values: Vec<$type>) -> Self {
                    Data::$variant(values)
                }
            }

            impl<'a> From<&'a [$type]> for DataView<'a> {
                fn from(values: &'a [$type]) -> Self {
                    DataView::$variant(values)
                }
            }
        )*
    };
}

data_kinds!(U8 u8, I8 i8, I32 i32, I64 i64, F32 f32);

/// A tensor with its own memory: what a session reads and gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Length of each dimension; images are `[batch, height, width, channels]`.
    pub shape: Vec<usize>,
    /// The elements, in row-major order.
    pub data: Data,
}

impl Tensor {
    /// A tensor of a shape over its elements.
    ///
    /// ```
    /// use mobileight_runtime::Tensor;
    /// let tensor = Tensor::new(vec![1, 2], vec![3u8, 4]);
    /// assert_eq!(tensor.view().data.len(), 2);
    /// ```
    pub fn new(shape: Vec<usize>, data: impl Into<Data>) -> Self {
        Tensor { shape, data: data.into() }
    }

    /// The same tensor, borrowed.
    pub fn view(&self) -> TensorView<'_> {
        TensorView { shape: &self.shape, data: self.data.view() }
    }
}

/// A borrowed tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TensorView<'a> {
    /// Length of each dimension.
    pub shape: &'a [usize],
    /// The elements, in row-major order.
    pub data: DataView<'a>,
}

impl<'a> TensorView<'a> {
    /// A view of a slice with a shape.
    pub fn new(shape: &'a [usize], data: impl Into<DataView<'a>>) -> Self {
        TensorView { shape, data: data.into() }
    }

    /// A copy with memory of its own.
    pub fn to_owned(&self) -> Tensor {
        Tensor { shape: self.shape.to_vec(), data: self.data.to_owned() }
    }
}
