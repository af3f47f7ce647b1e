//! Builds the page: `cargo run --manifest-path examples/web/Cargo.toml -- FOLDER`.
//!
//! Compiles `crates/wasm` for browsers, makes its JavaScript, and puts both into the folder with the page, the models that ship and some of their images.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

use wasm_bindgen_cli_support::Bindgen;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const TARGET: &str = "wasm32-unknown-unknown";
const MODELS: [&str; 4] = ["int8.tflite", "int8_per_tensor.tflite", "float.tflite", "labels.txt"];

fn main() -> ExitCode {
    let Some(out) = env::args_os().nth(1) else {
        eprintln!("usage: web FOLDER, the folder that the page is put into");
        return ExitCode::from(2);
    };
    match build(Path::new(&out)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn build(out: &Path) -> Result<()> {
    let example = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = example.join("../..").canonicalize()?;
    // Before anything is compiled.
    create(out)?;
    let module = compile(&root)?;
    Bindgen::new()
        .input_path(module)
        .web(true)?
        .omit_default_module_path(false)
        .typescript(false)
        .remove_name_section(true)
        .remove_producers_section(true)
        .generate(out)
        .map_err(|error| format!("the JavaScript of crates/wasm could not be made: {error:#}"))?;

    let page = example.join("page");
    let entries = fs::read_dir(&page).map_err(|error| format!("{}: {error}", page.display()))?;
    for entry in entries {
        let entry = entry?;
        copy(&entry.path(), &out.join(entry.file_name()))?;
    }
    let demo = root.join("models/demo");
    create(&out.join("models"))?;
    for name in MODELS {
        copy(&demo.join(name), &out.join("models").join(name))?;
    }
    create(&out.join("images"))?;
    let html = fs::read_to_string(page.join("index.html"))?;
    for image in images(&html) {
        copy(&demo.join("images").join(image), &out.join("images").join(image))?;
    }
    println!("{}: serve it, for example: python3 -m http.server --directory {0}", out.display());
    Ok(())
}

/// Compiles crates/wasm with vectors, for which there is no check at run time.
fn compile(root: &Path) -> Result<PathBuf> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let target = std::path::absolute(target)?;
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--profile", "small", "--package", "mobileight-wasm", "--target", TARGET])
        .arg("--target-dir")
        .arg(&target)
        .current_dir(root)
        // Either would take the place of the next.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        // The bindings are made from what would be stripped.
        .env("CARGO_PROFILE_SMALL_STRIP", "none")
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", "-C target-feature=+simd128")
        .status()
        .map_err(|error| format!("cargo could not be run: {error}"))?;
    if !status.success() {
        return Err(format!(
            "crates/wasm could not be compiled; it needs: rustup target add {TARGET}"
        )
        .into());
    }
    Ok(target.join(TARGET).join("small/mobileight_wasm.wasm"))
}

/// The images that the page shows.
fn images(html: &str) -> impl Iterator<Item = &str> {
    html.split("src=\"images/").skip(1).filter_map(|rest| rest.split('"').next())
}

fn create(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()).into())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to)
        .map_err(|error| format!("{} to {}: {error}", from.display(), to.display()))?;
    Ok(())
}
