//! Says which road sign is on an image, with a model that is part of the program: `embedded-model IMAGE`.

use mobileight::{Classifier, image};

static MODEL: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/model.mb8"));

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let photo = std::env::args().nth(1).ok_or("usage: embedded-model IMAGE")?;
    let classifier = Classifier::from_bytes(MODEL)?.top_k(3);
    for prediction in classifier.classify(&image::open(photo)?)? {
        println!("{:.3}  {}", prediction.score, prediction.label);
    }
    Ok(())
}
