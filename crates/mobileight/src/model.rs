//! A model file, opened.

use std::path::Path;
use std::sync::Arc;

use mobileight_preprocess::InputContract;
use mobileight_runtime::{Graph, Limit, Limits, ModelBytes, Plan, PlanOptions, Session, compiled};

use crate::Error;

/// A model: its graph, from which plans for any input size and numerics are made.
#[derive(Clone, Debug)]
pub struct Model {
    graph: Arc<Graph>,
    limits: Limits,
}

impl Model {
    /// Opens a `.tflite` file (with the feature `tract`) or a compiled model, `.mb8`; the content says which it is.
    ///
    /// # Errors
    ///
    /// [`Error::Unreadable`]; [`Error::InFile`] says what is wrong with the content, down to the operator and tensor.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Model::open_within(path, Limits::default())
    }

    /// Opens a file within other limits than the default ones; what is made of the model keeps to them too.
    ///
    /// # Errors
    ///
    /// As [`open`](Model::open).
    pub fn open_within(path: impl AsRef<Path>, limits: Limits) -> Result<Self, Error> {
        let path = path.as_ref();
        let bytes = read_file(path, &limits)?;
        Model::from_bytes_within(bytes, limits).map_err(|error| error.in_file(path))
    }

    /// Reads the bytes of a `.tflite` file (with the feature `tract`) or of a compiled model: owned ones, or a part of the program by
    /// `include_bytes!`.
    ///
    /// # Errors
    ///
    /// `Load` for a `.tflite` file, [`Error::NeedsTract`] for one without the feature, [`Error::Run`] for a compiled model.
    pub fn from_bytes(bytes: impl Into<ModelBytes>) -> Result<Self, Error> {
        Model::from_bytes_within(bytes, Limits::default())
    }

    /// Reads bytes within other limits than the default ones.
    ///
    /// # Errors
    ///
    /// As [`from_bytes`](Model::from_bytes).
    pub fn from_bytes_within(bytes: impl Into<ModelBytes>, limits: Limits) -> Result<Self, Error> {
        let bytes = bytes.into();
        let graph = match compiled::is_compiled(&bytes) {
            true => compiled::read_within(bytes, &limits)?,
            false => read_tflite(bytes, &limits)?,
        };
        Ok(Model { graph: Arc::new(graph), limits })
    }

    /// A model of a graph that was made or changed in the program.
    pub fn from_graph(graph: Graph) -> Self {
        Model { graph: Arc::new(graph), limits: Limits::default() }
    }

    /// Another graph within the same limits.
    #[cfg(feature = "tract")]
    pub(crate) fn with_graph(&self, graph: Graph) -> Self {
        Model { graph: Arc::new(graph), limits: self.limits }
    }

    /// The limits that the model was opened within.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Options that keep to the model's limits, else the default ones.
    pub fn plan_options(&self) -> PlanOptions {
        PlanOptions::default().limits(self.limits)
    }

    /// The graph: tensors, operators, quantization.
    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// What the model takes: shape, element type, scale, zero point, normalization.
    ///
    /// # Errors
    ///
    /// When the first input is no image of one or three channels.
    pub fn input_contract(&self) -> Result<InputContract, Error> {
        Ok(InputContract::from_graph(&self.graph)?)
    }

    /// Packs weights and places activations.
    ///
    /// # Errors
    ///
    /// [`Error::Run`]: a float model, shapes that do not fit, something unsupported, or too much memory.
    pub fn plan(&self, options: PlanOptions) -> Result<Arc<Plan>, Error> {
        Ok(Arc::new(Plan::new(Arc::clone(&self.graph), options)?))
    }

    /// A session of a plan of its own, with default options.
    ///
    /// # Errors
    ///
    /// As [`plan`](Model::plan).
    pub fn session(&self) -> Result<Session, Error> {
        Ok(Session::new(self.plan(self.plan_options())?))
    }
}

/// The bytes of a model file.
pub(crate) fn read_file(path: &Path, limits: &Limits) -> Result<Vec<u8>, Error> {
    let bytes = mobileight_files::read(path, Limit::ModelBytes, limits, "model");
    bytes.map_err(|error| match error {
        mobileight_files::Error::TooLarge(exceeded) => Error::from(exceeded).in_file(path),
        error => Error::Unreadable { path: path.into(), reason: error.to_string() },
    })
}

#[cfg(feature = "tract")]
fn read_tflite(bytes: ModelBytes, limits: &Limits) -> Result<Graph, Error> {
    Ok(mobileight_tflite::read_within(bytes, limits)?)
}

#[cfg(not(feature = "tract"))]
fn read_tflite(bytes: ModelBytes, limits: &Limits) -> Result<Graph, Error> {
    match bytes.get(4..8) {
        Some(b"TFL3") => Err(Error::NeedsTract),
        _ => Ok(compiled::read_within(bytes, limits)?),
    }
}
