//! A session: one thread's memory for running a plan.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mobileight_kernels::bytes::{self, AlignedBytes, flip_sign};

use crate::lower::{Inputs, Operands};
use crate::plan::Location;
use crate::{Data, DataView, Error, Plan, Tensor, TensorId, TensorView};

/// Runs a [`Plan`] in an arena of its own. `run` allocates nothing.
pub struct Session {
    plan: Arc<Plan>,
    arena: AlignedBytes,
    scratch: AlignedBytes,
    outputs: Vec<Tensor>,
    has_run: bool,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl Session {
    /// A session of a plan, with all the memory that its runs will use.
    pub fn new(plan: Arc<Plan>) -> Self {
        let graph = Arc::clone(plan.graph());
        let empty = |&id: &TensorId| {
            let shape = plan.shape(id).unwrap_or_default().to_vec();
            let length = shape.iter().product();
            let zeros = Data::zeros(graph.tensors()[id].element_type, length);
            Tensor { shape, data: zeros.unwrap_or(Data::U8(Vec::new())) }
        };
        Session {
            arena: AlignedBytes::zeroed(plan.arena_bytes()),
            scratch: AlignedBytes::zeroed(plan.scratch_bytes()),
            outputs: graph.outputs().iter().map(empty).collect(),
            has_run: false,
            plan,
        }
    }

    /// The plan that this session runs.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Runs the network on its inputs and gives its outputs, each in the element type and order of the file.
    ///
    /// # Errors
    ///
    /// An input of the wrong element type, shape or range is refused, with what was expected. Quantized inputs take codes:
    /// `round(real value / scale) + zero point`, clamped to the element type; a cast or a fixed factor of 127 is not that.
    pub fn run(&mut self, inputs: &[TensorView<'_>]) -> Result<&[Tensor], Error> {
        self.run_observed(inputs, |_| ())
    }

    /// Runs, and tells for each of [`Plan::kernels`] how long it took.
    ///
    /// # Errors
    ///
    /// Those of [`run`](Session::run).
    pub fn run_timed(&mut self, inputs: &[TensorView<'_>]) -> Result<Vec<Duration>, Error> {
        let mut times = Vec::with_capacity(self.plan.steps.len());
        // The first step has the inputs' copying in its time.
        let mut last = Instant::now();
        self.run_observed(inputs, |_| {
            let now = Instant::now();
            times.push(now - last);
            last = now;
        })?;
        Ok(times)
    }

    fn run_observed(
        &mut self,
        inputs: &[TensorView<'_>],
        mut after_step: impl FnMut(usize),
    ) -> Result<&[Tensor], Error> {
        self.has_run = false;
        let plan = Arc::clone(&self.plan);
        let ids = plan.graph().inputs();
        if inputs.len() != ids.len() {
            return Err(Error::InputCount { expected: ids.len(), found: inputs.len() });
        }
        for (index, (&id, input)) in ids.iter().zip(inputs).enumerate() {
            self.write_input(index, id, *input)?;
        }
        for (at, planned) in plan.steps.iter().enumerate() {
            let (before, rest) = self.arena.split_at_mut(planned.output.start);
            let (output, after) = rest.split_at_mut(planned.output.len());
            let inputs = Inputs {
                before,
                after,
                after_start: planned.output.end,
                constants: &plan.constants,
                locations: &planned.inputs,
            };
            let scratch = &mut self.scratch[..planned.step.scratch_bytes];
            (planned.step.run)(&mut Operands { inputs, output, scratch }).map_err(|error| {
                Error::InvalidOperator {
                    index: planned.operator,
                    operator: plan.graph().operators()[planned.operator].kind.name(),
                    reason: error.to_string(),
                }
            })?;
            after_step(at);
        }
        for (at, &id) in plan.graph().outputs().iter().enumerate() {
            let source = locate(&plan, &self.arena, id).unwrap_or_default();
            read(source, &mut self.outputs[at].data);
        }
        self.has_run = true;
        Ok(&self.outputs)
    }

    /// The outputs of the last run; zeros before the first.
    pub fn outputs(&self) -> &[Tensor] {
        &self.outputs
    }

    /// The value of any tensor after a run, in the element type of the file.
    ///
    /// # Errors
    ///
    /// [`Error::NotKept`] for an intermediate unless the plan was built with
    /// [`keep_intermediates`](crate::PlanOptions::keep_intermediates), and before the first run.
    pub fn tensor(&self, id: TensorId) -> Result<Tensor, Error> {
        let graph = self.plan.graph();
        let Some(tensor) = graph.tensors().get(id) else {
            return Err(Error::NoSuchTensor(id.to_string()));
        };
        let not_kept = |reason| Error::NotKept { index: id, name: tensor.name.clone(), reason };
        let is_border = graph.outputs().contains(&id);
        if !self.has_run {
            return Err(not_kept("nothing has run yet"));
        }
        if !is_border && !self.plan.options().keep_intermediates {
            return Err(not_kept("the plan was not built to keep intermediates"));
        }
        let shape = self.plan.shape(id).unwrap_or_default().to_vec();
        let source = locate(&self.plan, &self.arena, id)
            .ok_or_else(|| not_kept("it is packed into an operator, or nothing uses it"))?;
        let mut data = Data::zeros(tensor.element_type, shape.iter().product())
            .ok_or_else(|| not_kept("its element type never leaves a session"))?;
        read(source, &mut data);
        Ok(Tensor { shape, data })
    }

    /// The value of the first tensor of a name; see [`tensor`](Session::tensor).
    pub fn tensor_by_name(&self, name: &str) -> Result<Tensor, Error> {
        let id = self.plan.graph().find(name).ok_or_else(|| Error::NoSuchTensor(name.into()))?;
        self.tensor(id)
    }

    fn write_input(
        &mut self,
        input: usize,
        id: TensorId,
        view: TensorView<'_>,
    ) -> Result<(), Error> {
        let tensor = &self.plan.graph().tensors()[id];
        let name = || tensor.name.clone();
        let (expected, found) = (tensor.element_type, view.data.element_type());
        if expected != found {
            return Err(Error::InputType { input, name: name(), expected, found });
        }
        let shape = self.plan.shape(id).unwrap_or_default();
        if shape != view.shape || view.data.len() != shape.iter().product::<usize>() {
            return Err(Error::InputShape {
                input,
                name: name(),
                expected: shape.to_vec(),
                found: view.shape.to_vec(),
                elements: view.data.len(),
            });
        }
        if let DataView::F32(values) = view.data {
            // One width of slack at either end: saturation is normal, values in other units are not.
            let [low, high] =
                self.plan.input_ranges[input].unwrap_or([f32::MIN / 4.0, f32::MAX / 4.0]);
            let slack = high - low;
            let within = |&value: &f32| value >= low - slack && value <= high + slack;
            if let Some(element) = values.iter().position(|value| !within(value)) {
                let found = values[element];
                return Err(Error::InputRange { input, name: name(), element, found, low, high });
            }
        }
        let Some(Location::Arena(range)) = &self.plan.locations[id] else {
            return Err(Error::NoSuchTensor(name()));
        };
        let memory = &mut self.arena[range.clone()];
        match view.data {
            DataView::U8(codes) => memory.copy_from_slice(codes),
            DataView::I8(values) => flip_sign(bytes::as_bytes(values), memory),
            DataView::I32(values) => memory.copy_from_slice(bytes::as_bytes(values)),
            DataView::I64(values) => memory.copy_from_slice(bytes::as_bytes(values)),
            DataView::F32(values) => memory.copy_from_slice(bytes::as_bytes(values)),
        }
        Ok(())
    }
}

fn locate<'a>(plan: &'a Plan, arena: &'a [u8], id: TensorId) -> Option<&'a [u8]> {
    match plan.locations[id].as_ref()? {
        Location::Arena(range) => Some(&arena[range.clone()]),
        Location::Constant(at) => Some(&plan.constants[*at]),
    }
}

/// Copies a tensor out of the arena, codes back to the values of its element type.
fn read(source: &[u8], data: &mut Data) {
    match data {
        Data::U8(values) => values.copy_from_slice(source),
        Data::I8(values) => flip_sign(source, bytes::as_bytes_mut(values)),
        Data::I32(values) => bytes::as_bytes_mut(values).copy_from_slice(source),
        Data::I64(values) => bytes::as_bytes_mut(values).copy_from_slice(source),
        Data::F32(values) => bytes::as_bytes_mut(values).copy_from_slice(source),
    }
}
