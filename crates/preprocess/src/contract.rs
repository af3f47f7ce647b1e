//! What a model takes.

use alloc::borrow::ToOwned;
use alloc::string::String;

use mobileight_runtime::{ElementType, Graph, GraphTensor, Normalization, OperatorKind};

use crate::Error;

/// What program and network agree on at an image input: layout, element type, the meaning of codes.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct InputContract {
    /// The input's name; may be empty.
    pub name: String,
    /// `[batch, height, width, channels]`.
    pub shape: [usize; 4],
    /// uint8, int8 or float32.
    pub element_type: ElementType,
    /// Scale and zero point, for 8-bit inputs.
    pub quantization: Option<(f32, i32)>,
    /// Element type, scale and zero point of what a float input is quantized to at once; they tell its range.
    pub quantized_as: Option<(ElementType, f32, i32)>,
    /// The file's metadata on how real values are made from pixels.
    pub metadata: Option<Normalization>,
}

impl InputContract {
    /// The contract of a graph's first input.
    ///
    /// # Errors
    ///
    /// [`Error::NotAnImage`], [`Error::ElementType`] or [`Error::NotQuantized`], naming the input.
    pub fn from_graph(graph: &Graph) -> Result<Self, Error> {
        let id = graph.inputs()[0];
        let tensor = &graph.tensors()[id];
        let (name, element_type) = (tensor.name.clone(), tensor.element_type);
        let quantization = per_tensor(tensor);
        match element_type {
            ElementType::U8 | ElementType::I8 if quantization.is_none() => {
                return Err(Error::NotQuantized { name, element_type });
            }
            ElementType::U8 | ElementType::I8 | ElementType::F32 => {}
            _ => return Err(Error::ElementType { name, element_type }),
        }
        let quantized_as = graph
            .operators()
            .iter()
            .find(|o| matches!(o.kind, OperatorKind::Quantize) && o.inputs.contains(&id))
            .map(|operator| &graph.tensors()[operator.output])
            .filter(|output| element_type == ElementType::F32 && output.element_type.is_8_bit())
            .and_then(|output| {
                let (scale, zero_point) = per_tensor(output)?;
                Some((output.element_type, scale, zero_point))
            });
        Ok(InputContract {
            shape: image_shape(&name, &tensor.shape)?,
            name,
            element_type,
            quantization: quantization.filter(|_| element_type.is_8_bit()),
            quantized_as,
            metadata: graph.metadata().normalization.clone(),
        })
    }

    /// The same contract for another batch, height and width.
    ///
    /// # Errors
    ///
    /// [`Error::NotAnImage`] when the shape is no image's, or has another number of channels.
    pub fn with_shape(mut self, shape: &[usize]) -> Result<Self, Error> {
        let new = image_shape(&self.name, shape)?;
        if new[3] != self.channels() {
            return Err(Error::NotAnImage { name: self.name, shape: shape.to_vec() });
        }
        self.shape = new;
        Ok(self)
    }

    /// The same contract in real values instead of codes: what an FP32 twin of a quantized model takes.
    pub fn in_real_values(mut self) -> Self {
        if let Some((scale, zero_point)) = self.quantization.take() {
            self.quantized_as = Some((self.element_type, scale, zero_point));
        }
        self.element_type = ElementType::F32;
        self
    }

    /// Images at once.
    pub fn batch(&self) -> usize {
        self.shape[0]
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.shape[1]
    }

    /// Pixels in a row.
    pub fn width(&self) -> usize {
        self.shape[2]
    }

    /// 1 (grey) or 3 (red, green, blue).
    pub fn channels(&self) -> usize {
        self.shape[3]
    }

    /// Bytes of the input tensor.
    pub fn bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.element_type.size()
    }

    /// Smallest and largest real value that the codes can say; `None` for float inputs.
    pub fn real_range(&self) -> Option<(f32, f32)> {
        let (scale, zero_point) = self.quantization?;
        let (low, high) = self.element_type.integer_range()?;
        let real = |code: i64| scale * (code - i64::from(zero_point)) as f32;
        Some((real(low), real(high)))
    }
}

fn per_tensor(tensor: &GraphTensor) -> Option<(f32, i32)> {
    tensor.quantization.as_ref().and_then(|quantization| quantization.per_tensor())
}

fn image_shape(name: &str, shape: &[usize]) -> Result<[usize; 4], Error> {
    // Far above any network's input; products with the element size then cannot overflow.
    const MAXIMUM_ELEMENTS: usize = 1 << 28;
    let elements = shape.iter().try_fold(1usize, |product, &length| product.checked_mul(length));
    match <[usize; 4]>::try_from(shape) {
        Ok(image)
            if matches!(image[3], 1 | 3)
                && elements.is_some_and(|count| count > 0 && count <= MAXIMUM_ELEMENTS) =>
        {
            Ok(image)
        }
        _ => Err(Error::NotAnImage { name: name.to_owned(), shape: shape.to_vec() }),
    }
}
