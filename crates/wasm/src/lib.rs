//! MobilEight for JavaScript.
//!
//! ```js
//! import init, { Network, Photo } from "./mobileight_wasm.js";
//! await init();
//! const network = new Network(modelBytes, labelsText);
//! const input = network.prepare(new Photo(photoBytes));
//! const scores = network.run(input); // Float32Array, one for each of network.labels
//! ```
//!
//! Objects hold memory of the module: `free()` gives it back at once, the browser's garbage collector some time. Whatever is refused is thrown as
//! an `Error` with the library's text. Calls take as long as they take, so a page makes them in a worker.

use mobileight::preprocess::{Limits, decode};
use mobileight::runtime::Metadata;
use mobileight::{Classifier, Error, Labels, Tensor, image::DynamicImage};
use wasm_bindgen::prelude::*;

/// A decoded photo.
#[wasm_bindgen]
pub struct Photo(DynamicImage);

#[wasm_bindgen]
impl Photo {
    /// Decodes the bytes of a JPEG, PNG, WebP, GIF or BMP file; the content says which. EXIF orientation is applied, of an animation the first
    /// frame is taken.
    ///
    /// # Errors
    ///
    /// Bytes that are no such file, or a damaged or huge one.
    #[wasm_bindgen(constructor)]
    pub fn new(bytes: &[u8]) -> Result<Photo, JsError> {
        Ok(Photo(decode(bytes, &Limits::default())?))
    }

    /// Pixels in a row.
    #[wasm_bindgen(getter)]
    pub fn width(&self) -> u32 {
        self.0.width()
    }

    /// Rows of pixels.
    #[wasm_bindgen(getter)]
    pub fn height(&self) -> u32 {
        self.0.height()
    }
}

/// A photo as a network takes it: the tensor of its element type, size, scale and zero point.
#[wasm_bindgen]
pub struct Input(Tensor);

/// A classification network: a quantized one on the INT8 kernels, a float one in FP32.
#[wasm_bindgen]
pub struct Network(Classifier);

#[wasm_bindgen]
impl Network {
    /// Reads the bytes of a `.tflite` or `.mb8` file. Labels are text with one a line, in order of the class index; without them they are the
    /// model's own, or else the indices.
    ///
    /// # Errors
    ///
    /// Bytes that are no network from one photo to scores that can be run, or another number of labels than classes.
    #[wasm_bindgen(constructor)]
    pub fn new(model: Vec<u8>, labels: Option<String>) -> Result<Network, JsError> {
        Ok(Network::build(model, labels)?)
    }

    /// The same network computed in FP32: the weights of a quantized one dequantized, activations not rounded.
    ///
    /// # Errors
    ///
    /// A network that cannot be computed so.
    pub fn fp32(&self) -> Result<Network, JsError> {
        Ok(self.dequantized()?)
    }

    /// Whether it is computed in FP32.
    #[wasm_bindgen(getter, js_name = isFp32)]
    pub fn is_fp32(&self) -> bool {
        self.0.pipeline().is_fp32()
    }

    /// What the kernels are compiled for: `simd128` or `portable`; `undefined` in FP32.
    #[wasm_bindgen(getter, js_name = instructionSet)]
    pub fn instruction_set(&self) -> Option<String> {
        Some(self.0.pipeline().plan()?.instruction_set().to_string())
    }

    /// Columns of its input.
    #[wasm_bindgen(getter)]
    pub fn width(&self) -> usize {
        self.0.pipeline().input_contract().width()
    }

    /// Rows of its input.
    #[wasm_bindgen(getter)]
    pub fn height(&self) -> usize {
        self.0.pipeline().input_contract().height()
    }

    /// Names of the classes, in order of their index.
    #[wasm_bindgen(getter)]
    pub fn labels(&self) -> Vec<String> {
        let names = self.0.names();
        (0..names.len()).filter_map(|class| names.get(class)).map(Into::into).collect()
    }

    /// Crops, resizes and quantizes a photo as the input asks.
    ///
    /// # Errors
    ///
    /// A photo that cannot be prepared.
    pub fn prepare(&self, photo: &Photo) -> Result<Input, JsError> {
        Ok(Input(self.tensor(photo)?))
    }

    /// The score of each class: a probability where the network ends in SOFTMAX, else what it gives.
    ///
    /// # Errors
    ///
    /// An input that another network prepared and that is none for this one; in FP32 a result that is not finite.
    pub fn run(&self, input: &Input) -> Result<Vec<f32>, JsError> {
        Ok(self.0.pipeline().values(&input.0)?)
    }
}

// `JsError` exists in JavaScript alone; this can be tested without.
impl Network {
    fn build(model: Vec<u8>, labels: Option<String>) -> Result<Self, Error> {
        let classifier = Classifier::from_bytes(model)?;
        Ok(Network(match labels {
            Some(text) => classifier.labels(Labels::new(Metadata::parse_labels(&text)))?,
            None => classifier,
        }))
    }

    fn dequantized(&self) -> Result<Self, Error> {
        let classifier = Classifier::new(self.0.pipeline().model().clone())?;
        Ok(Network(classifier.labels(self.0.names().clone())?.fp32()?))
    }

    fn tensor(&self, photo: &Photo) -> Result<Tensor, Error> {
        Ok(self.0.pipeline().preprocessor().prepare(&photo.0)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str) -> Vec<u8> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/demo/");
        std::fs::read(format!("{folder}{name}")).unwrap()
    }

    fn labels() -> Option<String> {
        Some(String::from_utf8(read("labels.txt")).unwrap())
    }

    /// The best class by name, and its score.
    fn best(network: &Network, photo: &Photo) -> (String, f32) {
        let input = network.tensor(photo).unwrap();
        let scores = network.0.pipeline().values(&input).unwrap();
        assert_eq!(scores.len(), network.labels().len());
        let prediction = &network.0.classify(&photo.0).unwrap()[0];
        assert_eq!(scores[prediction.index], prediction.score);
        (network.labels().swap_remove(prediction.index), prediction.score)
    }

    #[test]
    fn networks_answer_as_classifiers_do() {
        let photo = Photo(decode(&read("images/0000.jpg"), &Limits::default()).unwrap());
        let int8 = Network::build(read("int8.tflite"), labels()).unwrap();
        assert!(!int8.is_fp32() && int8.instruction_set().is_some());
        let (class, score) = best(&int8, &photo);
        assert_eq!(class, "parking");
        let fp32 = int8.dequantized().unwrap();
        assert!(fp32.is_fp32() && fp32.instruction_set().is_none());
        assert_eq!(fp32.labels(), int8.labels());
        for network in [fp32, Network::build(read("float.tflite"), labels()).unwrap()] {
            let (class, other) = best(&network, &photo);
            assert_eq!(class, "parking");
            assert!(other != score && (other - score).abs() < 0.1, "{other} beside {score}");
        }
    }

    #[test]
    fn labels_must_fit_and_are_indices_without() {
        let unnamed = Network::build(read("int8.tflite"), None).unwrap();
        assert_eq!(unnamed.labels()[15], "15");
        let refused = |model, labels| Network::build(model, labels).err().unwrap().to_string();
        assert!(refused(read("int8.tflite"), Some("a\nb".into())).contains("2 labels"));
        assert!(refused(read("images/0000.jpg"), None).contains("tflite"));
    }
}
