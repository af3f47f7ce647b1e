//! Parts of a graph as graphs of their own: one layer alone, the rest of a network, an intermediate as an output.

use alloc::format;
use alloc::vec::Vec;
use core::ops::Range;

use crate::{Error, Graph, TensorId};

impl Graph {
    /// The operators of a range as a graph of their own. Tensors keep their indices.
    ///
    /// Its inputs are the activations that the operators read and do not compute, its outputs those that they compute and that
    /// a later operator reads or the whole graph gives.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidGraph`] for a range that is empty, out of bounds, or that nothing needs the results of.
    pub fn slice(&self, range: Range<usize>) -> Result<Graph, Error> {
        let count = self.operators().len();
        let operators = self.operators().get(range.clone()).ok_or_else(|| {
            Error::InvalidGraph(format!("has {count} operators, {range:?} is out of bounds"))
        })?;
        let computed: Vec<TensorId> = operators.iter().map(|operator| operator.output).collect();
        let mut inputs: Vec<TensorId> = Vec::new();
        for &id in operators.iter().flat_map(|operator| &operator.inputs) {
            let outside = self.tensors()[id].data.is_none() && !computed.contains(&id);
            if outside && !inputs.contains(&id) {
                inputs.push(id);
            }
        }
        let later = &self.operators()[range.end..];
        let needed = |&id: &TensorId| {
            self.outputs().contains(&id) || later.iter().any(|o| o.inputs.contains(&id))
        };
        let outputs = computed.iter().copied().filter(needed).collect();
        Graph::new(
            self.tensors().to_vec(),
            operators.to_vec(),
            inputs,
            outputs,
            self.metadata().clone(),
        )
    }

    /// The same graph giving other tensors.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidGraph`] for a tensor that nothing computes.
    pub fn with_outputs(&self, outputs: Vec<TensorId>) -> Result<Graph, Error> {
        Graph::new(
            self.tensors().to_vec(),
            self.operators().to_vec(),
            self.inputs().to_vec(),
            outputs,
            self.metadata().clone(),
        )
    }

    /// Index of the operator that computes a tensor; `None` for inputs and constants.
    pub fn producer(&self, id: TensorId) -> Option<usize> {
        self.operators().iter().position(|operator| operator.output == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Activation, ElementType, GraphTensor, Metadata, Operator, OperatorKind};

    /// 0 -> RELU -> 1 -> RELU6 -> 2, then 1 + 2 -> 3.
    fn residual() -> Graph {
        let tensor = |index: usize| GraphTensor {
            name: index.to_string(),
            element_type: ElementType::F32,
            shape: vec![1, 4],
            quantization: None,
            data: None,
        };
        let operators = vec![
            Operator { kind: OperatorKind::Relu, inputs: vec![0], output: 1 },
            Operator { kind: OperatorKind::Relu6, inputs: vec![1], output: 2 },
            Operator { kind: OperatorKind::Add(Activation::None), inputs: vec![1, 2], output: 3 },
        ];
        let tensors = (0..4).map(tensor).collect();
        Graph::new(tensors, operators, vec![0], vec![3], Metadata::default()).unwrap()
    }

    #[test]
    fn slices_take_and_give_what_crosses_their_borders() {
        let graph = residual();
        let borders = |range| {
            let slice = graph.slice(range).unwrap();
            (slice.inputs().to_vec(), slice.outputs().to_vec())
        };
        assert_eq!(borders(0..1), (vec![0], vec![1]));
        assert_eq!(borders(1..2), (vec![1], vec![2]));
        assert_eq!(borders(0..2), (vec![0], vec![1, 2]));
        assert_eq!(borders(1..3), (vec![1], vec![3]));
        assert_eq!(borders(2..3), (vec![1, 2], vec![3]));
        assert!(graph.slice(0..0).is_err());
        assert!(graph.slice(2..4).is_err());
        #[expect(clippy::reversed_empty_ranges)]
        let reversed = graph.slice(2..1);
        assert!(reversed.is_err());
    }

    #[test]
    fn any_tensor_can_be_an_output() {
        let graph = residual().with_outputs(vec![3, 2, 0]).unwrap();
        assert_eq!(graph.outputs(), [3, 2, 0]);
        assert_eq!(graph.producer(2), Some(1));
        assert_eq!(graph.producer(0), None);
        assert!(residual().with_outputs(vec![9]).is_err());
    }
}
