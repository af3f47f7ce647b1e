//! Figures layer by layer: each INT8 tensor against its FP32 counterpart.

use std::sync::{Arc, Mutex, PoisonError};

use mobileight_compare::report::{self, Layer};
use mobileight_compare::{SqnrAccumulator, TensorAccumulator};
use mobileight_preprocess::Preprocessor;
use mobileight_reference::{Reference, ReferenceOptions, Tensors};
use mobileight_runtime::{
    Data, DataView, Graph, OperatorKind, Plan, PlanOptions, Session, Tensor, TensorId, TensorView,
};

use super::matching::Matching;
use super::weights;
use crate::{Error, codes, real_values};

/// The float sibling, ready to give every tensor.
struct Sibling {
    reference: Reference,
    preprocessor: Preprocessor,
    matching: Matching,
}

/// An operator whose output is quantized.
struct Place {
    operator: usize,
    output: TensorId,
    scale: f32,
    zero_point: i32,
    /// The operator alone.
    plan: Arc<Plan>,
    /// The float sibling's tensor.
    counterpart: Option<TensorId>,
}

/// Measures tensors; made once, shared between threads.
pub(super) struct LayerProbe {
    graph: Arc<Graph>,
    plan: Arc<Plan>,
    preprocessor: Preprocessor,
    dequantized: Reference,
    dequantized_preprocessor: Preprocessor,
    sibling: Option<Sibling>,
    places: Vec<Place>,
    idle: Mutex<Vec<Worker>>,
}

/// One thread's sessions.
struct Worker {
    network: Session,
    layers: Vec<Session>,
}

/// What one image tells about one layer.
pub(super) struct Measured {
    local: TensorAccumulator,
    accumulated: TensorAccumulator,
    weights: SqnrAccumulator,
    activations: SqnrAccumulator,
}

impl Measured {
    fn new(place: &Place, graph: &Graph, shape: &[usize]) -> Self {
        let (low, high) =
            graph.tensors()[place.output].element_type.integer_range().unwrap_or((0, 255));
        let channels = shape.last().copied().unwrap_or(1);
        let range = [low as i32, high as i32];
        let tensor = TensorAccumulator::new(place.scale, place.zero_point, range, channels);
        Measured {
            local: tensor.clone(),
            accumulated: tensor,
            weights: SqnrAccumulator::default(),
            activations: SqnrAccumulator::default(),
        }
    }

    fn merge(&mut self, other: &Measured) {
        self.local.merge(&other.local);
        self.accumulated.merge(&other.accumulated);
        self.weights.merge(&other.weights);
        self.activations.merge(&other.activations);
    }
}

/// Figures of all layers over the images so far.
pub(super) struct Totals {
    images: u64,
    layers: Vec<Measured>,
}

impl Totals {
    pub fn add(&mut self, image: &[Measured]) {
        self.images += 1;
        self.layers.iter_mut().zip(image).for_each(|(total, one)| total.merge(one));
    }
}

impl LayerProbe {
    /// `sibling` is the float model's graph, how it takes pixels and which layer is which.
    pub fn new(
        graph: &Arc<Graph>,
        options: &PlanOptions,
        preprocessor: Preprocessor,
        dequantized_preprocessor: Preprocessor,
        sibling: Option<(&Arc<Graph>, Preprocessor, Matching)>,
    ) -> Result<Self, Error> {
        let whole = options.clone().keep_intermediates(true);
        let plan = Arc::new(Plan::new(Arc::clone(graph), whole)?);
        let keep = |shapes: Vec<Vec<usize>>| {
            ReferenceOptions::default()
                .keep_intermediates(true)
                .input_shapes(shapes)
                .limits(options.limits)
        };
        let dequantized = Reference::new(Arc::clone(graph), keep(options.input_shapes.clone()))?;
        let sibling = match sibling {
            None => None,
            Some((float, preprocessor, matching)) => Some(Sibling {
                reference: Reference::new(Arc::clone(float), keep(Vec::new()))?,
                preprocessor,
                matching,
            }),
        };
        let mut places = Vec::new();
        for (operator, node) in graph.operators().iter().enumerate() {
            let tensor = &graph.tensors()[node.output];
            let moves =
                matches!(node.kind, OperatorKind::Reshape { .. } | OperatorKind::Squeeze { .. });
            let Some((scale, zero_point)) =
                tensor.quantization.as_ref().and_then(|quantization| quantization.per_tensor())
            else {
                continue;
            };
            if moves || !tensor.element_type.is_8_bit() {
                continue;
            }
            let counterpart = sibling
                .as_ref()
                .and_then(|s| resolve(graph, &s.matching, s.reference.graph(), node.output));
            places.push(Place {
                operator,
                output: node.output,
                scale,
                zero_point,
                plan: single(graph, operator, &plan, options)?,
                counterpart,
            });
        }
        Ok(LayerProbe {
            graph: Arc::clone(graph),
            plan,
            preprocessor,
            dequantized,
            dequantized_preprocessor,
            sibling,
            places,
            idle: Mutex::default(),
        })
    }

    /// Figures before the first image.
    pub fn totals(&self) -> Totals {
        let layers = self
            .places
            .iter()
            .map(|place| Measured::new(place, &self.graph, self.shape(place.output)))
            .collect();
        Totals { images: 0, layers }
    }

    /// What an image (pixels of the input's size) tells about each layer.
    pub fn measure(&self, pixels: &[u8]) -> Result<Vec<Measured>, Error> {
        let taken = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut worker = taken.unwrap_or_else(|| Worker {
            network: Session::new(Arc::clone(&self.plan)),
            layers: self.places.iter().map(|p| Session::new(Arc::clone(&p.plan))).collect(),
        });
        let measured = self.measure_with(pixels, &mut worker);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
        measured
    }

    fn measure_with(&self, pixels: &[u8], worker: &mut Worker) -> Result<Vec<Measured>, Error> {
        worker.network.run(&[self.preprocessor.tensor(pixels).view()])?;
        let input = self.dequantized_preprocessor.tensor(pixels);
        let dequantized = self.dequantized.run_all(&[input.view()])?;
        let float = match &self.sibling {
            None => None,
            Some(sibling) => {
                let input = sibling.preprocessor.tensor(pixels);
                Some(sibling.reference.run_all(&[input.view()])?)
            }
        };
        let mut all = Vec::with_capacity(self.places.len());
        for (place, session) in self.places.iter().zip(&mut worker.layers) {
            let mut measured = Measured::new(place, &self.graph, self.shape(place.output));
            let own = real(&dequantized, place.output);
            let theirs = match (&float, place.counterpart) {
                (Some(tensors), Some(id)) => real(tensors, id),
                _ => None,
            };
            let output = worker.network.tensor(place.output)?;
            let rounded =
                real_values(&output, self.graph.tensors()[place.output].quantization.as_ref());
            if let Some(own) = own {
                measured.activations.add(own, &rounded)?;
                if let Some(theirs) = theirs {
                    measured.weights.add(theirs, own)?;
                }
            }
            let baseline = if float.is_some() { theirs } else { own };
            if let Some(baseline) = baseline {
                add(&mut measured.accumulated, baseline, &output)?;
                if let Some(alone) = self.alone(place, session, &dequantized, float.as_ref())? {
                    add(&mut measured.local, baseline, &alone)?;
                }
            }
            all.push(measured);
        }
        Ok(all)
    }

    /// The output of one operator that is fed with the baseline's tensors, quantized; `None` where one of them has no
    /// counterpart.
    fn alone(
        &self,
        place: &Place,
        session: &mut Session,
        dequantized: &Tensors<'_>,
        float: Option<&Tensors<'_>>,
    ) -> Result<Option<Tensor>, Error> {
        let ids = place.plan.graph().inputs().to_vec();
        let mut inputs = Vec::with_capacity(ids.len());
        for id in ids {
            let values = match (float, &self.sibling) {
                (Some(tensors), Some(sibling)) => {
                    let other = sibling.reference.graph();
                    resolve(&self.graph, &sibling.matching, other, id)
                        .and_then(|id| real(tensors, id))
                }
                _ => real(dequantized, id),
            };
            let Some(values) = values else { return Ok(None) };
            let tensor = &self.graph.tensors()[id];
            let data = tensor
                .quantization
                .as_ref()
                .and_then(|quantization| quantization.per_tensor())
                .and_then(|(scale, zero)| codes(values, tensor.element_type, scale, zero))
                .unwrap_or_else(|| Data::F32(values.to_vec()));
            inputs.push(Tensor { shape: self.shape(id).to_vec(), data });
        }
        let views: Vec<TensorView<'_>> = inputs.iter().map(Tensor::view).collect();
        Ok(Some(session.run(&views)?[0].clone()))
    }

    fn shape(&self, id: TensorId) -> &[usize] {
        self.plan.shape(id).unwrap_or_default()
    }

    /// The table of the report.
    pub fn report(&self, totals: &Totals) -> report::Layers {
        let graph = &self.graph;
        let sibling = self.sibling.as_ref();
        let layer = |(place, measured): (&Place, &Measured)| {
            let matched = sibling.and_then(|s| {
                Some((s.reference.graph().as_ref(), s.matching.get(place.output)?.heads[1]))
            });
            let reference = match sibling {
                Some(s) => place.counterpart.map(|id| &s.reference.graph().tensors()[id].name),
                None => Some(&graph.tensors()[place.output].name),
            };
            Layer {
                operator: place.operator,
                kind: graph.operators()[place.operator].kind.name().into(),
                name: graph.tensors()[place.output].name.clone(),
                tensor: place.output,
                shape: self.shape(place.output).to_vec(),
                scale: place.scale.into(),
                zero_point: place.zero_point,
                reference: reference.cloned(),
                local: measured.local.finish(),
                accumulated: measured.accumulated.finish(),
                weights_sqnr: measured.weights.sqnr(),
                activations_sqnr: sibling.and_then(|_| measured.activations.sqnr()),
                weights: weights::figures(graph, place.operator, matched),
            }
        };
        let layers: Vec<Layer> = self.places.iter().zip(&totals.layers).map(layer).collect();
        let unmatched = layers.iter().filter(|layer| layer.reference.is_none());
        report::Layers {
            images: totals.images,
            baseline: if sibling.is_some() { "float" } else { "dequantized" }.into(),
            unmatched_int8: unmatched.map(|l| format!("{} {}", l.kind, l.name)).collect(),
            unmatched_reference: sibling
                .map(|s| s.matching.unmatched_second.clone())
                .unwrap_or_default(),
            layers,
        }
    }
}

/// One operator of a graph as a plan of its own.
pub(super) fn single(
    graph: &Graph,
    operator: usize,
    whole: &Plan,
    options: &PlanOptions,
) -> Result<Arc<Plan>, Error> {
    let part = graph.slice(operator..operator + 1)?;
    let shapes =
        part.inputs().iter().map(|&id| whole.shape(id).unwrap_or_default().to_vec()).collect();
    let options = options.clone().keep_intermediates(false).input_shapes(shapes);
    Ok(Arc::new(Plan::new(Arc::new(part), options)?))
}

/// The other graph's tensor of the same values: matched, or what a tensor that was only moved or converted comes from.
fn resolve(graph: &Graph, matching: &Matching, other: &Graph, id: TensorId) -> Option<TensorId> {
    if let Some(pair) = matching.get(id) {
        return Some(pair.tensor);
    }
    if let Some(at) = graph.inputs().iter().position(|&input| input == id) {
        return other.inputs().get(at).copied();
    }
    let operator = &graph.operators()[graph.producer(id)?];
    match operator.kind {
        OperatorKind::Reshape { .. }
        | OperatorKind::Squeeze { .. }
        | OperatorKind::Quantize
        | OperatorKind::Dequantize => resolve(graph, matching, other, operator.inputs[0]),
        _ => None,
    }
}

fn real<'a>(tensors: &'a Tensors<'_>, id: TensorId) -> Option<&'a [f32]> {
    match tensors.get(id)?.data {
        DataView::F32(values) => Some(values),
        _ => None,
    }
}

fn add(
    accumulator: &mut TensorAccumulator,
    reference: &[f32],
    output: &Tensor,
) -> Result<(), Error> {
    match &output.data {
        Data::U8(codes) => accumulator.add(reference, codes)?,
        Data::I8(codes) => accumulator.add(reference, codes)?,
        _ => {}
    }
    Ok(())
}
