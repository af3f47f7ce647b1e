//! Which tensor of a float model is which tensor of its INT8 sibling.
//!
//! Converters name, fold and arrange the two differently: QUANTIZE at the ends, RESHAPE for SQUEEZE, an activation as an operator
//! of its own, a batch normalization left as MUL and ADD. Both graphs are first reduced to layers, an operator with what is
//! folded into it; layers are then matched by name where names agree, else by their place in the structure. What is in doubt
//! stays unmatched.

use std::collections::{HashMap, HashSet};

use mobileight_runtime::{Graph, Layout, OperatorKind, TensorId};

/// Two layers that compute the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The second graph's tensor.
    pub tensor: TensorId,
    /// The operators that begin the layers, which hold the weights: the first graph's and the second's.
    pub heads: [usize; 2],
}

/// The layers of two graphs, matched by the tensors that they give.
#[derive(Clone, Debug, PartialEq)]
pub struct Matching {
    pairs: HashMap<TensorId, Pair>,
    /// Names of the first graph's layers without a counterpart.
    pub unmatched_first: Vec<String>,
    /// Names of the second graph's layers without a counterpart.
    pub unmatched_second: Vec<String>,
}

impl Matching {
    /// Matches the layers of two graphs, whose layouts give the shapes.
    pub fn new(first: (&Graph, &Layout), second: (&Graph, &Layout)) -> Self {
        let [a, b] = [layers(first.0, first.1), layers(second.0, second.1)];
        let mut matched = align(&a, &b);
        drop_inconsistent(&a, &b, &mut matched);
        let unmatched = |layers: &[Layer], taken: HashSet<usize>| {
            let free = |(at, layer): (usize, &Layer)| (!taken.contains(&at)).then(|| layer.title());
            layers.iter().enumerate().filter_map(free).collect::<Vec<String>>()
        };
        Matching {
            unmatched_first: unmatched(&a, matched.iter().map(|pair| pair.0).collect()),
            unmatched_second: unmatched(&b, matched.iter().map(|pair| pair.1).collect()),
            pairs: matched
                .into_iter()
                .map(|(i, j)| {
                    let heads = [a[i].head, b[j].head];
                    (a[i].output, Pair { tensor: b[j].output, heads })
                })
                .collect(),
        }
    }

    /// The second graph's layer for a tensor of the first's.
    pub fn get(&self, id: TensorId) -> Option<Pair> {
        self.pairs.get(&id).copied()
    }

    /// All pairs, by the first graph's tensor.
    pub fn iter(&self) -> impl Iterator<Item = (TensorId, Pair)> {
        self.pairs.iter().map(|(&id, &pair)| (id, pair))
    }
}

/// An operator and what is folded into it: the part of a network that both conversions have.
#[derive(Debug)]
struct Layer {
    head: usize,
    name: String,
    kind: &'static str,
    /// The shape of its output without dimensions of one, and of the weights of a convolution.
    shapes: (Vec<usize>, Vec<usize>),
    output: TensorId,
    /// Layers of the same graph that it reads.
    reads: Vec<usize>,
}

impl Layer {
    fn title(&self) -> String {
        format!("{} {}", self.kind, self.name)
    }

    fn is_like(&self, other: &Layer) -> bool {
        self.kind == other.kind && self.shapes == other.shapes
    }
}

fn layers(graph: &Graph, layout: &Layout) -> Vec<Layer> {
    let mut readers = vec![0usize; graph.tensors().len()];
    for &id in graph.operators().iter().flat_map(|operator| &operator.inputs) {
        readers[id] += 1;
    }
    let is_constant = |id: TensorId| graph.tensors()[id].data.is_some();
    let mut layers: Vec<Layer> = Vec::new();
    // The layer that each tensor comes from; tensors that only move or convert come from where their input does.
    let mut origin: Vec<Option<usize>> = vec![None; graph.tensors().len()];
    for (index, operator) in graph.operators().iter().enumerate() {
        let activations: Vec<TensorId> =
            operator.inputs.iter().copied().filter(|&id| !is_constant(id)).collect();
        let Some(&input) = activations.first() else { continue };
        let output = operator.output;
        match operator.kind {
            OperatorKind::Reshape { .. } | OperatorKind::Squeeze { .. } => {
                origin[output] = origin[input];
                continue;
            }
            OperatorKind::Quantize | OperatorKind::Dequantize => {
                origin[output] = origin[input];
                // A tensor quantized again is the same layer's, in its final form.
                if let Some(layer) = origin[input].filter(|&at| layers[at].output == input)
                    && readers[input] == 1
                    && graph.tensors()[output].quantization.is_some()
                {
                    layers[layer].output = output;
                }
                continue;
            }
            _ => {}
        }
        let folds = match operator.kind {
            OperatorKind::Relu | OperatorKind::Relu6 | OperatorKind::LeakyRelu { .. } => true,
            // A batch normalization that was not folded.
            OperatorKind::Mul(_) | OperatorKind::Add(_) | OperatorKind::Sub(_) => {
                activations.len() == 1
            }
            _ => false,
        };
        let is_whole = |&at: &usize| layers[at].output == input && readers[input] == 1;
        if let Some(head) = origin[input].filter(is_whole).filter(|_| folds) {
            layers[head].output = output;
            layers[head].name.clone_from(&graph.tensors()[output].name);
            origin[output] = Some(head);
            continue;
        }
        let weights = match operator.kind {
            OperatorKind::Conv2d(_)
            | OperatorKind::DepthwiseConv2d(_)
            | OperatorKind::FullyConnected { .. } => layout.shapes()[operator.inputs[1]].clone(),
            _ => Vec::new(),
        };
        let significant = |shape: &[usize]| shape.iter().copied().filter(|&n| n != 1).collect();
        let mut reads: Vec<usize> = activations.iter().filter_map(|&id| origin[id]).collect();
        reads.dedup();
        origin[output] = Some(layers.len());
        layers.push(Layer {
            head: index,
            name: graph.tensors()[output].name.clone(),
            kind: kind(&operator.kind, &weights),
            shapes: (significant(&layout.shapes()[output]), significant(&weights)),
            output,
            reads,
        });
    }
    layers
}

/// The operator's name, one for those that compute the same: a pooling over the whole image is a MEAN, and a 1x1 convolution of
/// a 1x1 image is FULLY_CONNECTED.
fn kind(kind: &OperatorKind, weights: &[usize]) -> &'static str {
    match kind {
        OperatorKind::AveragePool2d(_) => "MEAN",
        OperatorKind::Conv2d(_) if weights.get(1..3) == Some(&[1, 1]) => "FULLY_CONNECTED",
        other => other.name(),
    }
}

/// Beyond this many layers only names are matched: the alignment takes memory with the product of both counts.
const MAXIMUM_ALIGNED: usize = 2000;

/// The best alignment in order: equal names count for more than any number of layers that only look alike.
fn align(a: &[Layer], b: &[Layer]) -> Vec<(usize, usize)> {
    let count = |layers: &[Layer]| {
        let mut counts: HashMap<String, usize> = HashMap::new();
        layers.iter().for_each(|layer| *counts.entry(layer.name.clone()).or_default() += 1);
        counts
    };
    let [names_a, names_b] = [count(a), count(b)];
    let same_name = |i: usize, j: usize| {
        let name = &a[i].name;
        !name.is_empty() && *name == b[j].name && names_a[name] == 1 && names_b[name] == 1
    };
    if a.len().max(b.len()) > MAXIMUM_ALIGNED {
        let by_name: HashMap<&str, usize> =
            b.iter().enumerate().map(|(j, layer)| (layer.name.as_str(), j)).collect();
        let pair = |i: usize| {
            let j = *by_name.get(a[i].name.as_str())?;
            (a[i].is_like(&b[j]) && same_name(i, j)).then_some((i, j))
        };
        return (0..a.len()).filter_map(pair).collect();
    }
    let worth = |i: usize, j: usize| match a[i].is_like(&b[j]) {
        false => 0,
        true if same_name(i, j) => 1 + MAXIMUM_ALIGNED,
        true => 1,
    };
    // best[i][j]: of the layers from i and j on.
    let mut best = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            let both = match worth(i, j) {
                0 => 0,
                worth => worth + best[i + 1][j + 1],
            };
            best[i][j] = both.max(best[i + 1][j]).max(best[i][j + 1]);
        }
    }
    let mut pairs = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        let worth = worth(i, j);
        if worth > 0 && best[i][j] == worth + best[i + 1][j + 1] {
            pairs.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if best[i][j] == best[i + 1][j] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

/// Unmatches layers whose nearest matched sources are not each other's counterparts: they look alike, but are elsewhere.
fn drop_inconsistent(a: &[Layer], b: &[Layer], pairs: &mut Vec<(usize, usize)>) {
    loop {
        let forward: HashMap<usize, usize> = pairs.iter().copied().collect();
        let backward: HashMap<usize, usize> = pairs.iter().map(|&(i, j)| (j, i)).collect();
        let before = pairs.len();
        let consistent = |&(i, j): &(usize, usize)| {
            let sources: HashSet<usize> =
                matched_sources(a, i, &forward).into_iter().map(|at| forward[&at]).collect();
            sources == matched_sources(b, j, &backward)
        };
        // The first one only: those after it may be consistent without it.
        if let Some(at) = pairs.iter().position(|pair| !consistent(pair)) {
            pairs.remove(at);
        }
        if pairs.len() == before {
            return;
        }
    }
}

/// The nearest layers before one that are matched, through those that are not.
fn matched_sources(
    layers: &[Layer],
    layer: usize,
    matched: &HashMap<usize, usize>,
) -> HashSet<usize> {
    let mut found = HashSet::new();
    let mut seen = HashSet::new();
    let mut waiting = layers[layer].reads.clone();
    while let Some(at) = waiting.pop() {
        if !seen.insert(at) {
            continue;
        }
        match matched.contains_key(&at) {
            true => {
                found.insert(at);
            }
            false => waiting.extend(&layers[at].reads),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use mobileight_runtime::{
        Activation, ElementType, GraphTensor, Metadata, Operator, Quantization,
    };

    /// Builds graphs of tensors of one shape.
    struct Builder {
        quantized: bool,
        tensors: Vec<GraphTensor>,
        operators: Vec<Operator>,
    }

    impl Builder {
        fn new(quantized: bool) -> Self {
            let mut builder = Builder { quantized, tensors: Vec::new(), operators: Vec::new() };
            builder.tensor("input");
            builder
        }

        fn tensor(&mut self, name: &str) -> TensorId {
            let quantization = Quantization::PerTensor { scale: 0.1, zero_point: 0 };
            self.tensors.push(GraphTensor {
                name: name.into(),
                element_type: if self.quantized { ElementType::I8 } else { ElementType::F32 },
                shape: vec![1, 4, 4, 2],
                quantization: self.quantized.then_some(quantization),
                data: None,
            });
            self.tensors.len() - 1
        }

        fn add(&mut self, name: &str, kind: OperatorKind, inputs: &[TensorId]) -> TensorId {
            let output = self.tensor(name);
            self.operators.push(Operator { kind, inputs: inputs.to_vec(), output });
            output
        }

        fn build(self) -> (Graph, Layout) {
            let last = self.tensors.len() - 1;
            let metadata = Metadata::default();
            let graph =
                Graph::new(self.tensors, self.operators, vec![0], vec![last], metadata).unwrap();
            let layout = Layout::new(&graph, &[], true).unwrap();
            (graph, layout)
        }
    }

    const ADD: OperatorKind = OperatorKind::Add(Activation::None);

    fn matched(first: Builder, second: Builder) -> Matching {
        let [(a, la), (b, lb)] = [first.build(), second.build()];
        Matching::new((&a, &la), (&b, &lb))
    }

    fn tensor(matching: &Matching, id: TensorId) -> Option<TensorId> {
        Some(matching.get(id)?.tensor)
    }

    #[test]
    fn names_match_across_converters() {
        let mut int8 = Builder::new(true);
        let quantized = int8.add("q", OperatorKind::Quantize, &[0]);
        let a = int8.add("a", OperatorKind::Logistic, &[quantized]);
        let b = int8.add("b", OperatorKind::HardSwish, &[a]);
        let reshape = OperatorKind::Reshape { shape: vec![1, 4, 4, 2] };
        let c = int8.add("c", reshape, &[b]);
        let sum = int8.add("sum", ADD, &[c, a]);
        let mut float = Builder::new(false);
        let fa = float.add("a", OperatorKind::Logistic, &[0]);
        let fb = float.add("b", OperatorKind::HardSwish, &[fa]);
        let fsum = float.add("other name", ADD, &[fb, fa]);
        let matching = matched(int8, float);
        assert_eq!([a, b, sum].map(|id| tensor(&matching, id)), [fa, fb, fsum].map(Some));
        assert_eq!(matching.get(c), None);
        assert!(matching.unmatched_first.is_empty() && matching.unmatched_second.is_empty());
    }

    #[test]
    fn activations_of_their_own_are_folded() {
        let mut int8 = Builder::new(true);
        let a = int8.add("x", OperatorKind::Logistic, &[0]);
        let mut float = Builder::new(false);
        let f = float.add("conv", OperatorKind::Logistic, &[0]);
        let relu = float.add("relu", OperatorKind::Relu6, &[f]);
        let matching = matched(int8, float);
        assert_eq!(matching.get(a), Some(Pair { tensor: relu, heads: [0, 0] }));
    }

    #[test]
    fn layers_elsewhere_in_the_structure_are_listed_not_guessed() {
        // In one graph the sum is of the input's branch and HARD_SWISH, in the other of both activations.
        let mut int8 = Builder::new(true);
        let a = int8.add("", OperatorKind::Logistic, &[0]);
        let b = int8.add("", OperatorKind::HardSwish, &[a]);
        let sum = int8.add("sum8", ADD, &[b, 0]);
        let mut float = Builder::new(false);
        let fa = float.add("", OperatorKind::Logistic, &[0]);
        let fb = float.add("", OperatorKind::HardSwish, &[fa]);
        float.add("sum32", ADD, &[fb, fa]);
        let matching = matched(int8, float);
        assert_eq!([a, b].map(|id| tensor(&matching, id)), [fa, fb].map(Some));
        assert_eq!(matching.get(sum), None);
        assert_eq!(matching.unmatched_first, ["ADD sum8"]);
        assert_eq!(matching.unmatched_second, ["ADD sum32"]);
        assert_eq!(matching.iter().count(), 2);
    }

    #[test]
    fn a_layer_only_one_has_does_not_shift_the_others() {
        let mut int8 = Builder::new(true);
        let a = int8.add("", OperatorKind::Logistic, &[0]);
        let b = int8.add("", OperatorKind::Logistic, &[a]);
        let mut float = Builder::new(false);
        let fa = float.add("", OperatorKind::Logistic, &[0]);
        let extra = float.add("", OperatorKind::HardSwish, &[fa]);
        let fb = float.add("", OperatorKind::Logistic, &[extra]);
        let matching = matched(int8, float);
        assert_eq!([a, b].map(|id| tensor(&matching, id)), [fa, fb].map(Some));
        assert_eq!(matching.unmatched_second, ["HARD_SWISH "]);
    }
}
