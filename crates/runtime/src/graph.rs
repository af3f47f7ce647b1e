//! The graph: tensors and operators as plain data, checked once at construction.

use alloc::format;
use alloc::string::String;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt;
use core::ops::{Deref, Range};

use crate::{
    Data, ElementType, Error, Limit, Limits, ModelBytes, Operator, OperatorKind, Tensor, TensorId,
};

/// The bytes of a constant tensor: a part of a shared buffer, usually the model file itself.
#[derive(Clone)]
pub struct ConstantData {
    owner: ModelBytes,
    range: Range<usize>,
}

impl ConstantData {
    /// A part of a shared buffer; `None` when the range is not within it.
    pub fn new(owner: impl Into<ModelBytes>, range: Range<usize>) -> Option<Self> {
        let owner = owner.into();
        owner.get(range.clone())?;
        Some(ConstantData { owner, range })
    }
}

impl From<Vec<u8>> for ConstantData {
    fn from(bytes: Vec<u8>) -> Self {
        let range = 0..bytes.len();
        ConstantData { owner: bytes.into(), range }
    }
}

impl Deref for ConstantData {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.owner[self.range.clone()]
    }
}

impl fmt::Debug for ConstantData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

impl PartialEq for ConstantData {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

/// What a tensor's codes mean: `real value = scale * (code - zero point)`.
#[derive(Clone, Debug, PartialEq)]
pub enum Quantization {
    /// One scale and zero point for the whole tensor.
    PerTensor {
        /// Real value of one quantum.
        scale: f32,
        /// The code of real zero, in the tensor's own element type.
        zero_point: i32,
    },
    /// A scale and zero point for each slice along an axis.
    PerChannel {
        /// Real value of one quantum, for each slice.
        scales: Vec<f32>,
        /// The code of real zero, for each slice.
        zero_points: Vec<i32>,
        /// The dimension sliced.
        axis: usize,
    },
}

impl Quantization {
    /// Scale and zero point of a slice; the same for all when per tensor. `None` when out of range.
    pub fn channel(&self, index: usize) -> Option<(f32, i32)> {
        match self {
            Quantization::PerTensor { scale, zero_point } => Some((*scale, *zero_point)),
            Quantization::PerChannel { scales, zero_points, .. } => {
                Some((*scales.get(index)?, *zero_points.get(index)?))
            }
        }
    }

    /// Scale and zero point when there is one for the whole tensor.
    pub fn per_tensor(&self) -> Option<(f32, i32)> {
        match self {
            Quantization::PerTensor { scale, zero_point } => Some((*scale, *zero_point)),
            Quantization::PerChannel { .. } => None,
        }
    }
}

/// A tensor of the graph.
#[derive(Clone, Debug, PartialEq)]
pub struct GraphTensor {
    /// The name in the file; may be empty or repeated.
    pub name: String,
    /// The element type.
    pub element_type: ElementType,
    /// The shape in the file. For activations other than inputs it is informative: a plan infers its own.
    pub shape: Vec<usize>,
    /// Scale and zero point, for quantized tensors.
    pub quantization: Option<Quantization>,
    /// The elements, little endian and in row-major order, for constants.
    pub data: Option<ConstantData>,
}

impl GraphTensor {
    /// A copy of a constant's elements; `None` for activations and for the types that never leave a session (16-bit, Bool).
    pub fn constant(&self) -> Option<Tensor> {
        let data = self.data.as_ref()?;
        let elements = Data::from_le_bytes(self.element_type, data)?;
        Some(Tensor { shape: self.shape.clone(), data: elements })
    }
}

/// What the file says about itself; all of it optional.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    /// The model's name.
    pub name: Option<String>,
    /// What the model does.
    pub description: Option<String>,
    /// Names of the classes, in order of their index.
    pub labels: Option<Vec<String>>,
    /// How real input values are made from pixels.
    pub normalization: Option<Normalization>,
}

impl Metadata {
    /// The labels of a text: one a line, without the spaces around; a byte order mark and blank lines at the end do not count.
    ///
    /// ```
    /// assert_eq!(mobileight_runtime::Metadata::parse_labels("cat \r\n\ndog\n\n"), ["cat", "", "dog"]);
    /// ```
    pub fn parse_labels(text: &str) -> Vec<String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim_end();
        text.lines().map(|line| line.trim().into()).collect()
    }
}

/// `real value = (pixel - mean) / standard_deviation`, one entry for all channels or one for each.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalization {
    /// Subtracted from a pixel of 0 to 255.
    pub mean: Vec<f32>,
    /// Divides the difference; never zero.
    pub standard_deviation: Vec<f32>,
}

impl Normalization {
    /// Whether there are as many deviations as means, all of them finite, and no deviation is zero.
    ///
    /// # Errors
    ///
    /// What was found, in words.
    pub fn check(&self) -> Result<(), String> {
        let (means, deviations) = (&self.mean, &self.standard_deviation);
        // One entry stands for all channels.
        let counts = [means.len(), deviations.len()];
        let is_sound = !counts.contains(&0)
            && (counts[0] == counts[1] || counts.contains(&1))
            && means.iter().all(|value| value.is_finite())
            && deviations.iter().all(|value| value.is_finite() && *value != 0.0);
        if is_sound {
            return Ok(());
        }
        Err(format!(
            "normalization by {} means and {} standard deviations: as many of both are needed, or one for all channels, finite, no deviation zero",
            means.len(),
            deviations.len()
        ))
    }
}

/// A validated network: tensors, operators in an order in which they can run, inputs and outputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    tensors: Vec<GraphTensor>,
    operators: Vec<Operator>,
    inputs: Vec<TensorId>,
    outputs: Vec<TensorId>,
    metadata: Metadata,
}

/// Tensors of more dimensions are refused: no MobileNet operator has them.
pub(crate) const MAXIMUM_RANK: usize = 8;

impl Graph {
    /// Checks the parts and puts them together.
    ///
    /// # Errors
    ///
    /// Every index must be in range; constants as long as their shape; scales finite and positive; zero points in the range of
    /// the element type; every operator must read only inputs, constants and what ran before it, and write a tensor
    /// that nothing else writes; its parameters must be possible for some shape; so must the normalization. Shapes that do not fit an operator are found by [`Plan`](crate::Plan), which infers them.
    pub fn new(
        tensors: Vec<GraphTensor>,
        operators: Vec<Operator>,
        inputs: Vec<TensorId>,
        outputs: Vec<TensorId>,
        metadata: Metadata,
    ) -> Result<Self, Error> {
        for (index, tensor) in tensors.iter().enumerate() {
            check_tensor(tensor).map_err(|reason| Error::InvalidTensor {
                index,
                name: tensor.name.clone(),
                reason,
            })?;
        }
        if let Some(Err(reason)) = metadata.normalization.as_ref().map(Normalization::check) {
            return Err(Error::InvalidGraph(reason));
        }
        let graph = Graph { tensors, operators, inputs, outputs, metadata };
        graph.check_order()?;
        Ok(graph)
    }

    /// Refuses a graph of more tensors or operators than the limits allow. Readers count before, and so does [`Plan`](crate::Plan).
    ///
    /// # Errors
    ///
    /// [`Error::Limit`].
    pub fn check_limits(&self, limits: &Limits) -> Result<(), Error> {
        for operators in [self.operators.len(), self.inputs.len(), self.outputs.len()] {
            limits.check(Limit::Operators, operators as u64)?;
        }
        Ok(limits.check(Limit::Tensors, self.tensors.len() as u64)?)
    }

    /// The tensors, in the order of the file.
    pub fn tensors(&self) -> &[GraphTensor] {
        &self.tensors
    }

    /// The operators, in an order in which they can run.
    pub fn operators(&self) -> &[Operator] {
        &self.operators
    }

    /// The tensors that a run is given.
    pub fn inputs(&self) -> &[TensorId] {
        &self.inputs
    }

    /// The tensors that a run gives.
    pub fn outputs(&self) -> &[TensorId] {
        &self.outputs
    }

    /// What the file says about itself.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The same graph that says something else about itself.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidGraph`] for a normalization that cannot be.
    pub fn with_metadata(self, metadata: Metadata) -> Result<Graph, Error> {
        Graph::new(self.tensors, self.operators, self.inputs, self.outputs, metadata)
    }

    /// The first tensor of a name.
    pub fn find(&self, name: &str) -> Option<TensorId> {
        self.tensors.iter().position(|tensor| tensor.name == name)
    }

    /// Whether any operator computes in floating point: such a graph is read and inspected, but has no INT8 plan.
    pub fn is_float(&self) -> bool {
        self.operators.iter().any(|operator| {
            let float = |id: TensorId| {
                matches!(self.tensors[id].element_type, ElementType::F32 | ElementType::F16)
            };
            !matches!(operator.kind, OperatorKind::Quantize | OperatorKind::Dequantize)
                && (float(operator.output) || operator.inputs.iter().any(|&id| float(id)))
        })
    }

    fn check_order(&self) -> Result<(), Error> {
        let mut ready: Vec<bool> = self.tensors.iter().map(|t| t.data.is_some()).collect();
        let count = self.tensors.len();
        let in_range = |what: &str, id: TensorId| {
            if id < count {
                return Ok(());
            }
            Err(Error::InvalidGraph(format!(
                "{what} is tensor {id}, but there are {count} tensors"
            )))
        };
        if self.inputs.is_empty() || self.outputs.is_empty() {
            return Err(Error::InvalidGraph(format!(
                "a graph needs inputs and outputs, this one has {} and {}",
                self.inputs.len(),
                self.outputs.len()
            )));
        }
        for &id in &self.inputs {
            in_range("an input", id)?;
            if ready[id] {
                return Err(Error::InvalidGraph(format!(
                    "input tensor {id} `{}` is a constant or listed twice",
                    self.tensors[id].name
                )));
            }
            ready[id] = true;
        }
        for (index, operator) in self.operators.iter().enumerate() {
            let invalid =
                |reason| Error::InvalidOperator { index, operator: operator.kind.name(), reason };
            operator.kind.check().map_err(invalid)?;
            let (least, most) = operand_count(&operator.kind);
            let found = operator.inputs.len();
            if !(least..=most).contains(&found) {
                return Err(invalid(format!("has {found} operands, expected {least} to {most}")));
            }
            for &id in &operator.inputs {
                in_range("an operand", id).map_err(|e| invalid(e.to_string()))?;
                if !ready[id] {
                    let name = &self.tensors[id].name;
                    return Err(invalid(format!(
                        "reads tensor {id} `{name}`, which nothing before it computes"
                    )));
                }
            }
            in_range("the output", operator.output).map_err(|e| invalid(e.to_string()))?;
            if ready[operator.output] {
                let (id, name) = (operator.output, &self.tensors[operator.output].name);
                return Err(invalid(format!(
                    "writes tensor {id} `{name}`, which is an input, a constant or already written"
                )));
            }
            ready[operator.output] = true;
        }
        for &id in &self.outputs {
            in_range("an output", id)?;
            if !ready[id] {
                return Err(Error::InvalidGraph(format!(
                    "nothing computes output tensor {id} `{}`",
                    self.tensors[id].name
                )));
            }
        }
        Ok(())
    }
}

/// The number of elements of a shape, when every dimension is positive and their product is below 2^40: more than any memory limit,
/// and no sum or product of such sizes overflows 64 bits.
pub(crate) fn element_count(shape: &[usize]) -> Option<usize> {
    let count = shape.iter().try_fold(1u64, |count, &n| count.checked_mul(n as u64))?;
    if count == 0 || count >= 1 << 40 {
        return None;
    }
    usize::try_from(count).ok()
}

fn check_tensor(tensor: &GraphTensor) -> Result<(), String> {
    if tensor.shape.len() > MAXIMUM_RANK {
        return Err(format!(
            "has {} dimensions, at most {MAXIMUM_RANK} are supported",
            tensor.shape.len()
        ));
    }
    if let Some(data) = &tensor.data {
        let expected = element_count(&tensor.shape)
            .and_then(|count| count.checked_mul(tensor.element_type.size()))
            .ok_or_else(|| format!("shape {:?} is empty or too large", tensor.shape))?;
        if data.len() != expected {
            return Err(format!(
                "holds {} bytes, shape {:?} of {} takes {expected}",
                data.len(),
                tensor.shape,
                tensor.element_type
            ));
        }
    }
    match &tensor.quantization {
        None => Ok(()),
        Some(Quantization::PerTensor { scale, zero_point }) => {
            check_scale(tensor.element_type, *scale, *zero_point)
        }
        Some(Quantization::PerChannel { scales, zero_points, axis }) => {
            let Some(&channels) = tensor.shape.get(*axis) else {
                return Err(format!(
                    "is quantized along dimension {axis}, but its shape is {:?}",
                    tensor.shape
                ));
            };
            if scales.len() != channels || zero_points.len() != channels {
                return Err(format!(
                    "has {} scales and {} zero points for {channels} channels",
                    scales.len(),
                    zero_points.len()
                ));
            }
            scales
                .iter()
                .zip(zero_points)
                .try_for_each(|(&scale, &zero)| check_scale(tensor.element_type, scale, zero))
        }
    }
}

fn check_scale(element_type: ElementType, scale: f32, zero_point: i32) -> Result<(), String> {
    if !(scale.is_finite() && scale > 0.0) {
        return Err(format!("has scale {scale}, expected a finite number above zero"));
    }
    match element_type.integer_range() {
        Some((low, high)) if !(low..=high).contains(&zero_point.into()) => Err(format!(
            "has zero point {zero_point}, outside of {element_type}'s range {low} to {high}"
        )),
        _ => Ok(()),
    }
}

fn operand_count(kind: &OperatorKind) -> (usize, usize) {
    match kind {
        OperatorKind::Conv2d(_)
        | OperatorKind::DepthwiseConv2d(_)
        | OperatorKind::FullyConnected { .. } => (2, 3),
        OperatorKind::Add(_) | OperatorKind::Sub(_) | OperatorKind::Mul(_) => (2, 2),
        OperatorKind::Concatenation { .. } => (1, usize::MAX),
        _ => (1, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(shape: &[usize]) -> GraphTensor {
        GraphTensor {
            name: "t".into(),
            element_type: ElementType::I8,
            shape: shape.to_vec(),
            quantization: Some(Quantization::PerTensor { scale: 0.5, zero_point: 0 }),
            data: None,
        }
    }

    fn relu(input: TensorId, output: TensorId) -> Operator {
        Operator { kind: OperatorKind::Relu, inputs: vec![input], output }
    }

    fn build(tensors: Vec<GraphTensor>, operators: Vec<Operator>) -> Result<Graph, Error> {
        Graph::new(tensors, operators, vec![0], vec![1], Metadata::default())
    }

    #[test]
    fn a_sound_graph_is_taken() {
        let graph = build(vec![tensor(&[1, 2]), tensor(&[1, 2])], vec![relu(0, 1)]).unwrap();
        assert_eq!(graph.find("t"), Some(0));
        assert!(!graph.is_float());
    }

    #[test]
    fn orders_that_cannot_run_are_refused() {
        let two = || vec![tensor(&[1, 2]), tensor(&[1, 2])];
        for operators in [vec![relu(1, 1)], vec![relu(0, 0)], vec![relu(0, 1), relu(0, 1)], vec![]]
        {
            assert!(build(two(), operators).is_err());
        }
        assert!(build(two(), vec![relu(9, 1)]).is_err());
        assert!(build(two(), vec![relu(0, 9)]).is_err());
    }

    #[test]
    fn graphs_out_of_all_proportion_are_refused() {
        let tensors: Vec<_> = (0..=1 << 16).map(|_| tensor(&[1, 2])).collect();
        let graph = build(tensors, vec![relu(0, 1)]).unwrap();
        let error = graph.check_limits(&Limits::default()).unwrap_err();
        assert!(error.to_string().contains("65537 tensors"), "{error}");
        let more = Limits::default().with(Limit::Tensors, 65537);
        assert_eq!(graph.check_limits(&more), Ok(()));
        let none = more.with(Limit::Operators, 0);
        assert!(matches!(graph.check_limits(&none), Err(Error::Limit(e)) if e.found == 1));
    }

    #[test]
    fn bad_tensors_are_refused_by_name() {
        let bad = |change: fn(&mut GraphTensor)| {
            let mut changed = tensor(&[1, 2]);
            change(&mut changed);
            let error = build(vec![changed, tensor(&[1, 2])], vec![relu(0, 1)]).unwrap_err();
            assert!(matches!(error, Error::InvalidTensor { index: 0, .. }), "{error}");
        };
        for scale in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let mut changed = tensor(&[1, 2]);
            changed.quantization = Some(Quantization::PerTensor { scale, zero_point: 0 });
            assert!(build(vec![changed, tensor(&[1, 2])], vec![relu(0, 1)]).is_err());
        }
        bad(|t| t.quantization = Some(Quantization::PerTensor { scale: 1.0, zero_point: 128 }));
        bad(|t| t.data = Some(vec![0; 3].into()));
        bad(|t| {
            t.quantization =
                Some(Quantization::PerChannel { scales: vec![1.0], zero_points: vec![0], axis: 3 })
        });
    }
}
