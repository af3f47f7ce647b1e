//! The file as a whole: header, buffers, tensors.

use std::cell::Cell;
use std::ops::Range;

use mobileight_runtime::{
    ConstantData, ElementType, GraphTensor, Limit, Limits, ModelBytes, Quantization, TensorId,
};
use tract_tflite::tflite::{self, TensorType};

use crate::Error;
use crate::error::{Refusal, invalid, unsupported};

/// The name of the metadata entry whose buffer holds the model's description.
const METADATA: &str = "TFLITE_METADATA";

/// A tensor that is well formed but of a kind that nothing here computes with.
#[derive(Debug)]
pub(crate) struct UnsupportedTensor {
    pub index: TensorId,
    pub name: String,
    pub reason: String,
}

impl From<UnsupportedTensor> for Error {
    fn from(UnsupportedTensor { index, name, reason }: UnsupportedTensor) -> Self {
        Error::Tensor { index, name, reason: format!("{reason}, which is not supported") }
    }
}

/// A verified file.
pub(crate) struct Source<'a> {
    bytes: &'a ModelBytes,
    model: tflite::Model<'a>,
    graph: tflite::SubGraph<'a>,
    tensor_count: usize,
    /// Bytes that may still be copied out of the file.
    budget: Cell<usize>,
}

impl<'a> Source<'a> {
    /// Verifies the bytes, finds the first subgraph and counts what is in it.
    pub fn open(bytes: &'a ModelBytes, limits: &Limits) -> Result<Self, Error> {
        if bytes.get(4..8) != Some(tflite::MODEL_IDENTIFIER.as_bytes()) {
            return Err(Error::NotTflite { found: bytes[..bytes.len().min(24)].to_vec() });
        }
        let model = tflite::root_as_model(bytes).map_err(|error| {
            // The verifier's words have a line for each level of nesting.
            let words = error.to_string();
            let lines: Vec<&str> = words.lines().map(str::trim).collect();
            Error::Malformed(lines.join(" "))
        })?;
        if model.version() != 3 {
            return Err(Error::Version { found: model.version() });
        }
        let graph = model
            .subgraphs()
            .and_then(|graphs| graphs.iter().next())
            .ok_or_else(|| Error::Malformed("there is no subgraph".into()))?;
        let tensor_count = graph.tensors().map_or(0, |tensors| tensors.len());
        limits.check(Limit::Tensors, tensor_count as u64)?;
        let operators = graph.operators().map_or(0, |operators| operators.len());
        limits.check(Limit::Operators, operators as u64)?;
        // The offsets of a flatbuffer may point to the same bytes any number of times; real files hardly share any.
        let budget = Cell::new(bytes.len().saturating_mul(4).saturating_add(16 << 20));
        Ok(Source { bytes, model, graph, tensor_count, budget })
    }

    /// Accounts for bytes copied out of the file.
    pub fn spend(&self, bytes: usize) -> Result<(), Error> {
        let left = self.budget.get().checked_sub(bytes).ok_or_else(|| {
            Error::Malformed(
                "its parts overlap so often that they exceed the file many times".into(),
            )
        })?;
        self.budget.set(left);
        Ok(())
    }

    /// The operators of the first subgraph.
    pub fn operators(&self) -> impl Iterator<Item = tflite::Operator<'a>> {
        self.graph.operators().into_iter().flatten()
    }

    /// The table of operator codes.
    pub fn operator_codes(&self) -> Vec<tflite::OperatorCode<'a>> {
        self.model.operator_codes().into_iter().flatten().collect()
    }

    /// Number of tensors of the first subgraph.
    pub fn tensor_count(&self) -> usize {
        self.tensor_count
    }

    /// The tensors that a run is given.
    pub fn inputs(&self) -> Result<Vec<TensorId>, Error> {
        self.tensor_ids("input", self.graph.inputs())
    }

    /// The tensors that a run gives.
    pub fn outputs(&self) -> Result<Vec<TensorId>, Error> {
        self.tensor_ids("output", self.graph.outputs())
    }

    fn tensor_ids(
        &self,
        what: &str,
        ids: Option<impl IntoIterator<Item = i32>>,
    ) -> Result<Vec<TensorId>, Error> {
        let count = self.tensor_count;
        ids.into_iter()
            .flatten()
            .map(|id| {
                usize::try_from(id).ok().filter(|&id| id < count).ok_or_else(|| {
                    Error::Malformed(format!(
                        "an {what} of the graph is tensor {id}, but there are {count} tensors"
                    ))
                })
            })
            .collect()
    }

    /// The line that the converter wrote about the model.
    pub fn description(&self) -> Option<&'a str> {
        self.model.description()
    }

    /// The flatbuffer that describes the model, where there is one.
    pub fn metadata(&self) -> Option<&'a [u8]> {
        let entry = self.model.metadata()?.iter().find(|entry| entry.name() == Some(METADATA))?;
        let buffers = self.model.buffers()?;
        let index = usize::try_from(entry.buffer()).ok().filter(|&i| i < buffers.len())?;
        Some(buffers.get(index).data()?.bytes())
    }

    /// The tensors of the first subgraph, in the order of the file.
    pub fn tensors(&self) -> Result<Vec<Result<GraphTensor, UnsupportedTensor>>, Error> {
        let read = |(index, tensor): (usize, tflite::Tensor<'a>)| {
            let name = tensor.name().unwrap_or_default();
            let shape = tensor.shape().map_or(0, |shape| shape.len());
            let scales = tensor.quantization().and_then(|q| q.scale()).map_or(0, |s| s.len());
            let words = 8 * shape.saturating_add(scales);
            self.spend(size_of::<GraphTensor>() + name.len() + words)?;
            match self.tensor(&tensor, name) {
                Ok(tensor) => Ok(Ok(tensor)),
                Err(Refusal::Unsupported(reason)) => {
                    Ok(Err(UnsupportedTensor { index, name: name.into(), reason }))
                }
                Err(Refusal::Invalid(reason)) => {
                    Err(Error::Tensor { index, name: name.into(), reason })
                }
            }
        };
        self.graph.tensors().into_iter().flatten().enumerate().map(read).collect()
    }

    fn tensor(&self, tensor: &tflite::Tensor<'a>, name: &str) -> Result<GraphTensor, Refusal> {
        let element_type = element_type(tensor.type_())?;
        if tensor.is_variable() {
            return unsupported("it is a variable that keeps its value between runs");
        }
        if tensor.sparsity().is_some() {
            return unsupported("its elements are stored sparsely");
        }
        let shape = shape(tensor)?;
        let quantization = match tensor.quantization() {
            Some(table) => quantization(&table, &shape, element_type)?,
            None => None,
        };
        let data = match self.buffer(tensor.buffer())? {
            Some(range) => Some(self.constant(range, &shape, element_type)?),
            None => None,
        };
        Ok(GraphTensor { name: name.into(), element_type, shape, quantization, data })
    }

    /// The part of the file that a buffer's bytes are; `None` for the buffers of activations, which are empty.
    fn buffer(&self, index: u32) -> Result<Option<Range<usize>>, Refusal> {
        let Some(buffers) = self.model.buffers() else {
            return if index == 0 { Ok(None) } else { invalid("the file has no buffers") };
        };
        let Some(at) = usize::try_from(index).ok().filter(|&at| at < buffers.len()) else {
            return invalid(format!(
                "its data is buffer {index}, but there are {} buffers",
                buffers.len()
            ));
        };
        let bytes = buffers.get(at).data().map_or(&[][..], |data| data.bytes());
        // The slice is a part of the file, so the difference of the addresses is its offset.
        let start = bytes.as_ptr().addr().wrapping_sub(self.bytes.as_ptr().addr());
        Ok((!bytes.is_empty()).then(|| start..start.saturating_add(bytes.len())))
    }

    fn constant(
        &self,
        range: Range<usize>,
        shape: &[usize],
        element_type: ElementType,
    ) -> Result<ConstantData, Refusal> {
        let found = range.len();
        let expected =
            shape.iter().try_fold(element_type.size(), |bytes, &length| bytes.checked_mul(length));
        if expected != Some(found) {
            return invalid(format!(
                "its buffer has {found} bytes, shape {shape:?} of {element_type} takes {}",
                expected.map_or("more than there can be".into(), |bytes| bytes.to_string())
            ));
        }
        match ConstantData::new(self.bytes.clone(), range) {
            Some(data) => Ok(data),
            None => invalid("its buffer is not within the file"),
        }
    }
}

fn element_type(found: TensorType) -> Result<ElementType, Refusal> {
    Ok(match found {
        TensorType::FLOAT32 => ElementType::F32,
        TensorType::FLOAT16 => ElementType::F16,
        TensorType::INT8 => ElementType::I8,
        TensorType::UINT8 => ElementType::U8,
        TensorType::INT16 => ElementType::I16,
        TensorType::INT32 => ElementType::I32,
        TensorType::INT64 => ElementType::I64,
        TensorType::BOOL => ElementType::Bool,
        TensorType(number) => {
            return unsupported(match found.variant_name() {
                Some(name) => format!("its elements are of type {name}"),
                None => format!("its elements are of an unknown type, number {number}"),
            });
        }
    })
}

fn shape(tensor: &tflite::Tensor<'_>) -> Result<Vec<usize>, Refusal> {
    let Some(found) = tensor.shape() else { return Ok(Vec::new()) };
    let lengths = found.iter().map(|length| usize::try_from(length).ok());
    match lengths.collect() {
        Some(shape) => Ok(shape),
        None => {
            let shape: Vec<i32> = found.iter().take(8).collect();
            invalid(format!("shape {shape:?} has a negative dimension"))
        }
    }
}

/// Checks what LiteRT checks when it loads a file, in the same way: files that it takes are taken.
fn quantization(
    table: &tflite::QuantizationParameters<'_>,
    shape: &[usize],
    element_type: ElementType,
) -> Result<Option<Quantization>, Refusal> {
    if table.details_type() != tflite::QuantizationDetails::NONE {
        return unsupported("it has a custom quantization");
    }
    let scales: Vec<f32> = table.scale().into_iter().flatten().collect();
    if scales.is_empty() {
        return Ok(None);
    }
    let axis = match usize::try_from(table.quantized_dimension()) {
        // A shape without dimensions may be one that the file leaves open.
        Ok(axis) if axis < shape.len() || (shape.is_empty() && scales.len() == 1) => axis,
        _ => {
            return invalid(format!(
                "quantized_dimension is {}, but the shape {shape:?} has {} dimensions",
                table.quantized_dimension(),
                shape.len()
            ));
        }
    };
    if scales.len() > 1 && scales.len() != shape[axis] {
        return invalid(format!(
            "has {} scales, but dimension {axis} of shape {shape:?} has length {}",
            scales.len(),
            shape[axis]
        ));
    }
    let mut zero_points = Vec::new();
    for zero_point in table.zero_point().into_iter().flatten().take(scales.len() + 1) {
        match i32::try_from(zero_point) {
            Ok(zero_point) => zero_points.push(zero_point),
            Err(_) => return invalid(format!("zero point {zero_point} is out of range")),
        }
    }
    match zero_points.len() {
        0 => zero_points.resize(scales.len(), 0),
        1 => zero_points.resize(scales.len(), zero_points[0]),
        length if length == scales.len() => {}
        _ => {
            return invalid(format!(
                "has {} scales and {} zero points",
                scales.len(),
                table.zero_point().map_or(0, |z| z.len())
            ));
        }
    }
    // Quantization-aware training leaves scales on float tensors, where they mean nothing.
    if matches!(element_type, ElementType::F32 | ElementType::F16 | ElementType::Bool) {
        return Ok(None);
    }
    Ok(Some(match scales[..] {
        [scale] => Quantization::PerTensor { scale, zero_point: zero_points[0] },
        _ => Quantization::PerChannel { scales, zero_points, axis },
    }))
}
