//! Compiles the model that the program carries.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let demo = Path::new("../../models/demo");
    let [model, labels] = ["int8.tflite", "labels.txt"].map(|name| demo.join(name));
    println!("cargo::rerun-if-changed={}", model.display());
    println!("cargo::rerun-if-changed={}", labels.display());
    let output = Path::new(&std::env::var("OUT_DIR")?).join("model.mb8");
    mobileight_tflite::compile(model, Some(&labels), output)?;
    Ok(())
}
