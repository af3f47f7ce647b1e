//! Classifies an image with a compiled model: `no-cpp-toolchain MODEL.mb8 IMAGE`.

use mobileight::{Classifier, image};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, photo] = &arguments[..] else {
        return Err("usage: no-cpp-toolchain MODEL.mb8 IMAGE".into());
    };
    let classifier = Classifier::open(model)?.top_k(3);
    for prediction in classifier.classify(&image::open(photo)?)? {
        println!("{:.3}  {}", prediction.score, prediction.label);
    }
    Ok(())
}
