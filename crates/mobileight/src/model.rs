//! A model file, opened.

use std::path::Path;
use std::sync::Arc;

use mobileight_preprocess::InputContract;
use mobileight_runtime::{Graph, ModelBytes, Plan, PlanOptions, Session, compiled};

use crate::Error;

/// A model: its graph, from which plans for any input size and numerics are made.
#[derive(Clone, Debug)]
pub struct Model {
    graph: Arc<Graph>,
}

impl Model {
    /// Opens a `.tflite` file (with the feature `tract`) or a compiled model, `.mb8`; the content says which it is.
    ///
    /// # Errors
    ///
    /// [`Error::Unreadable`]; [`Error::InFile`] says what is wrong with the content, down to the operator and tensor.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let bytes = mobileight_files::read(path, ModelBytes::MAXIMUM_FILE, "model")
            .map_err(|error| Error::Unreadable { path: path.into(), reason: error.to_string() })?;
        Model::from_bytes(bytes)
            .map_err(|error| Error::InFile { path: path.into(), error: Box::new(error) })
    }

    /// Reads the bytes of a `.tflite` file (with the feature `tract`) or of a compiled model: owned ones, or a part of the program by
    /// `include_bytes!`.
    ///
    /// # Errors
    ///
    /// `Load` for a `.tflite` file, [`Error::NeedsTract`] for one without the feature, [`Error::Run`] for a compiled model.
    pub fn from_bytes(bytes: impl Into<ModelBytes>) -> Result<Self, Error> {
        let bytes = bytes.into();
        let graph = match compiled::is_compiled(&bytes) {
            true => compiled::read(bytes)?,
            false => read_tflite(bytes)?,
        };
        Ok(Model { graph: Arc::new(graph) })
    }

    /// A model of a graph that was made or changed in the program.
    pub fn from_graph(graph: Graph) -> Self {
        Model { graph: Arc::new(graph) }
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
        Ok(Session::new(self.plan(PlanOptions::default())?))
    }
}

#[cfg(feature = "tract")]
fn read_tflite(bytes: ModelBytes) -> Result<Graph, Error> {
    Ok(mobileight_tflite::read(bytes)?)
}

#[cfg(not(feature = "tract"))]
fn read_tflite(bytes: ModelBytes) -> Result<Graph, Error> {
    match bytes.get(4..8) {
        Some(b"TFL3") => Err(Error::NeedsTract),
        _ => Ok(compiled::read(bytes)?),
    }
}
