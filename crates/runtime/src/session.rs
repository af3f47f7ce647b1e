//! A session: the memory for running a plan once at a time.

use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
#[cfg(feature = "std")]
use std::time::{Duration, Instant};

use mobileight_kernels::bytes::{self, AlignedBytes, flip_sign};
use mobileight_kernels::crew::{Crew, Part, Shares, Split};

use crate::lower::{Inputs, Memory, Operands};
use crate::plan::{Location, PlannedStep};
use crate::{Data, DataView, Error, Plan, Tensor, TensorId, TensorView};

/// Runs a [`Plan`] in an arena of its own. `run` allocates nothing.
pub struct Session {
    plan: Arc<Plan>,
    arena: AlignedBytes,
    /// Working memory of each thread.
    scratch: Vec<AlignedBytes>,
    /// How each step is shared between the threads.
    splits: Vec<Split>,
    shares: Shares,
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
            scratch: vec![AlignedBytes::zeroed(plan.scratch_bytes())],
            splits: split(&plan, 1),
            shares: Shares::new(1),
            outputs: graph.outputs().iter().map(empty).collect(),
            has_run: false,
            plan,
        }
    }

    /// Shares each run between this many threads: the one that calls [`run`](Session::run), and helpers from the rayon pool it runs in,
    /// the global one outside of any. Results are the same for any number. Networks of less than 30 million multiply-adds stay on one.
    ///
    /// Helpers spin between operators, which take microseconds: give a session no more threads than there are idle cores, and to many
    /// inferences at once a session of one thread each. A run never waits for helpers to start, but before it returns for
    /// those tasks of its own that a busy pool has not come to yet.
    #[cfg(feature = "rayon")]
    pub fn threads(mut self, threads: core::num::NonZero<usize>) -> Self {
        // To wake a helper takes tens of microseconds, in which small networks are done.
        const WORTH_SHARING: u64 = 30_000_000;
        let work = self.plan.layout().total_multiply_adds(self.plan.graph());
        let threads = if work < WORTH_SHARING { 1 } else { threads.get() };
        let scratch = || AlignedBytes::zeroed(self.plan.scratch_bytes());
        self.scratch = (0..threads).map(|_| scratch()).collect();
        self.splits = split(&self.plan, threads);
        self.shares = Shares::new(threads);
        self
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
        let plan = Arc::clone(&self.plan);
        self.write_inputs(inputs)?;
        let work = |part: Part<'_>, scratch: &mut [u8]| run_part(&plan, part, scratch);
        let crew = Crew::new(&mut self.arena, &self.splits, &mut self.shares, work);
        help(&crew, &mut self.scratch);
        crew.finish()?;
        Ok(self.read_outputs())
    }

    /// Runs on the calling thread alone, and tells for each of [`Plan::kernels`] how long it took.
    ///
    /// # Errors
    ///
    /// Those of [`run`](Session::run).
    #[cfg(feature = "std")]
    pub fn run_timed(&mut self, inputs: &[TensorView<'_>]) -> Result<Vec<Duration>, Error> {
        let plan = Arc::clone(&self.plan);
        self.write_inputs(inputs)?;
        let mut times = Vec::with_capacity(plan.steps.len());
        let mut last = Instant::now();
        for (step, planned) in plan.steps.iter().enumerate() {
            let (before, rest) = self.arena.split_at_mut(planned.output.start);
            let (output, after) = rest.split_at_mut(planned.output.len());
            let part = Part { step, before, after, start: 0, output };
            run_part(&plan, part, &mut self.scratch[0])?;
            let now = Instant::now();
            times.push(now - last);
            last = now;
        }
        self.read_outputs();
        Ok(times)
    }

    fn write_inputs(&mut self, inputs: &[TensorView<'_>]) -> Result<(), Error> {
        self.has_run = false;
        let plan = Arc::clone(&self.plan);
        let ids = plan.graph().inputs();
        if inputs.len() != ids.len() {
            return Err(Error::InputCount { expected: ids.len(), found: inputs.len() });
        }
        for (index, (&id, input)) in ids.iter().zip(inputs).enumerate() {
            self.write_input(index, id, *input)?;
        }
        Ok(())
    }

    fn read_outputs(&mut self) -> &[Tensor] {
        for (at, &id) in self.plan.graph().outputs().iter().enumerate() {
            let source = locate(&self.plan, &self.arena, id).unwrap_or_default();
            read(source, &mut self.outputs[at].data);
        }
        self.has_run = true;
        &self.outputs
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

/// How each step is shared between threads. Where there are many units, into more parts than threads: then none waits long.
fn split(plan: &Plan, threads: usize) -> Vec<Split> {
    let split = |planned: &PlannedStep| {
        let output = planned.output.clone();
        let Some(unit) = planned.step.unit else { return Split::new(output, 1, 1) };
        const FEW: usize = 16;
        let units = output.len().div_ceil(unit.max(1));
        let parts = match units / threads {
            _ if threads == 1 => 1,
            0..FEW => threads,
            _ => 4 * threads,
        };
        Split::new(output, unit, parts)
    };
    plan.steps.iter().map(split).collect()
}

/// All threads to work, the calling one with the first scratch.
fn help<E: Send, W>(crew: &Crew<'_, E, W>, scratch: &mut [AlignedBytes])
where
    W: Fn(Part<'_>, &mut [u8]) -> Result<(), E> + Sync,
{
    let Some((own, others)) = scratch.split_first_mut() else { return };
    #[cfg(feature = "rayon")]
    if !others.is_empty() {
        rayon::in_place_scope(|scope| {
            for (thread, scratch) in (1..).zip(others) {
                scope.spawn(move |_| crew.help(thread, scratch));
            }
            crew.help(0, own);
        });
        return;
    }
    #[cfg(not(feature = "rayon"))]
    let _ = others;
    crew.help(0, own);
}

/// One part of one step.
fn run_part(plan: &Plan, part: Part<'_>, scratch: &mut [u8]) -> Result<(), Error> {
    let planned = &plan.steps[part.step];
    let inputs = Inputs {
        memory: Memory::Around {
            before: part.before,
            after: part.after,
            after_start: planned.output.end,
        },
        constants: &plan.constants,
        locations: &planned.inputs,
    };
    let scratch = &mut scratch[..planned.step.scratch_bytes];
    let mut operands = Operands { inputs, start: part.start, output: part.output, scratch };
    (planned.step.run)(&mut operands)
        .map_err(|error| planned.failed(plan.graph(), error.to_string()))
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
