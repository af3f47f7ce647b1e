//! The parts of a comparison, each a pass over images.

use std::fs;
use std::path::Path;

use mobileight_compare::formats::ImageRow;
use mobileight_compare::report::{self, Class, Images, LISTED, Truth, Unreadable, WorstImage};
use mobileight_compare::{Answer, ImageFigures, PairAccumulator, Worst};
use mobileight_preprocess::{decode, read_bytes};
use mobileight_runtime::Layout;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::describe::hex;
use super::images::{ImageSet, spread};
use super::layers::LayerProbe;
use super::matching::Matching;
use super::network::Network;
use super::recipes::RecipeProbe;
use super::sensitivity::{Mixer, Progress};
use super::{Comparison, ModelFile, Observer, Phase};
use crate::Error;

/// An image that was read.
pub(super) struct Photo {
    /// Pixels of the input's size.
    pub pixels: Vec<u8>,
    sha256: [u8; 32],
}

/// The answers of all networks to one image.
struct Answers {
    int8: Answer,
    dequantized: Answer,
    float: Option<Answer>,
}

/// All pairs, summed over images.
pub(super) struct Sums {
    pub overall: PairAccumulator,
    pub weights: PairAccumulator,
    pub activations: PairAccumulator,
    pub worst: Worst<WorstImage>,
    pub images: Images,
    /// Over the names and contents of all images.
    pub hash: Sha256,
}

impl Comparison {
    pub(super) fn read(&self, path: &Path) -> Result<Photo, Error> {
        let limits = &self.options.plan.limits;
        let bytes = read_bytes(path, limits)?;
        let image = decode(&bytes, limits)?;
        Ok(Photo {
            pixels: self.int8.preprocessor().resized(&image)?,
            sha256: Sha256::digest(&bytes).into(),
        })
    }

    /// Both models, and the INT8 file's weights in FP32, over all images.
    pub(super) fn evaluate(
        &self,
        set: &ImageSet,
        truth: Truth,
        observer: &dyn Observer,
        row: &mut dyn FnMut(&ImageRow) -> Result<(), mobileight_compare::Error>,
    ) -> Result<Sums, Error> {
        let pair = PairAccumulator::new(truth);
        let mut sums = Sums {
            overall: pair.clone(),
            weights: pair.clone(),
            activations: pair,
            worst: Worst::new(self.options.worst_images),
            images: Images { found: set.files.len(), ..Images::default() },
            hash: Sha256::new(),
        };
        observer.begin(Phase::Images, set.files.len() as u64);
        // Decoded photos are large: a few for each thread at a time, figures in the order of the images.
        let some = 4 * rayon::current_num_threads();
        let numbered: Vec<(usize, &std::path::PathBuf)> = set.files.iter().enumerate().collect();
        for chunk in numbered.chunks(some) {
            if observer.stop() {
                break;
            }
            let seen: Vec<Result<(Photo, Answers), Error>> = chunk
                .par_iter()
                .map(|(_, path)| {
                    let photo = self.read(path)?;
                    let answers = self.answers(&photo.pixels)?;
                    observer.advance(1);
                    Ok((photo, answers))
                })
                .collect();
            for ((at, path), seen) in chunk.iter().zip(seen) {
                self.add(&mut sums, set, *at, path, seen, row)?;
            }
        }
        if sums.images.evaluated == 0 {
            let first = sums.images.unreadable.first();
            return Err(Error::NothingEvaluated {
                count: set.files.len(),
                file: first.map_or_else(String::new, |u| u.file.clone()),
                reason: first.map_or_else(|| "interrupted".into(), |u| u.reason.clone()),
            });
        }
        Ok(sums)
    }

    fn answers(&self, pixels: &[u8]) -> Result<Answers, Error> {
        let answer = |file: &ModelFile, network: &Network| {
            network.answer(pixels).map_err(|error| file.blame(error))
        };
        let float = self.float_file.as_ref().zip(self.float.as_ref());
        Ok(Answers {
            int8: answer(&self.int8_file, &self.int8)?,
            dequantized: answer(&self.int8_file, &self.dequantized)?,
            float: float.map(|(file, network)| answer(file, network)).transpose()?,
        })
    }

    fn add(
        &self,
        sums: &mut Sums,
        set: &ImageSet,
        at: usize,
        path: &Path,
        seen: Result<(Photo, Answers), Error>,
        row: &mut dyn FnMut(&ImageRow) -> Result<(), mobileight_compare::Error>,
    ) -> Result<(), Error> {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let images = &mut sums.images;
        let (photo, answers) = match seen {
            Ok(seen) => seen,
            // The image's fault; everything else is a fault of a model.
            Err(Error::Image(error)) => {
                images.unreadable_count += 1;
                if images.unreadable.len() < LISTED {
                    images.unreadable.push(Unreadable { file, reason: error.to_string() });
                }
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        sums.hash.update(file.as_bytes());
        sums.hash.update([0]);
        sums.hash.update(photo.sha256);
        images.evaluated += 1;
        let label = set.labels[at];
        match label {
            Some(_) => images.labelled += 1,
            None if set.labels_file.is_some() => {
                images.unlabelled_count += 1;
                if images.unlabelled.len() < LISTED {
                    images.unlabelled.push(file.clone());
                }
            }
            None => {}
        }
        let Answers { int8, dequantized, float } = &answers;
        let reference = float.as_ref().unwrap_or(dequantized);
        let figures = sums.overall.add(label, reference, int8)?;
        if let Some(float) = float {
            sums.weights.add(label, float, dequantized)?;
            sums.activations.add(label, dequantized, int8)?;
        }
        row(&self.row(&file, label, reference, int8, &figures))?;
        sums.worst.add(&figures, || WorstImage {
            file,
            label: label.map(|index| self.class(index, 0.0)),
            reference: self.best(reference),
            int8: self.best(int8),
            kl: figures.kl,
            flipped: figures.flipped,
            thumbnail: None,
        });
        Ok(())
    }

    fn class(&self, index: usize, probability: f64) -> Class {
        Class { index, name: self.names.get(index).unwrap_or_default().into(), probability }
    }

    fn best(&self, answer: &Answer) -> Vec<Class> {
        let class = |index| self.class(index, answer.probabilities()[index].into());
        answer.top(3).into_iter().map(class).collect()
    }

    fn row(
        &self,
        file: &str,
        label: Option<usize>,
        reference: &Answer,
        int8: &Answer,
        figures: &ImageFigures,
    ) -> ImageRow {
        let name = |index| self.names.get(index).unwrap_or_default().to_owned();
        let [a, b] = [reference.first(), int8.first()];
        ImageRow {
            file: file.into(),
            label,
            label_name: label.map(name),
            reference: a,
            reference_name: name(a),
            reference_probability: reference.probabilities()[a].into(),
            reference_correct: label.map(|label| label == a),
            int8: b,
            int8_name: name(b),
            int8_probability: int8.probabilities()[b].into(),
            int8_correct: label.map(|label| label == b),
            flipped: figures.flipped,
            kl: figures.kl,
            total_variation: figures.total_variation,
            margin: figures.margin,
            largest_probability_error: figures.largest_probability_error,
        }
    }

    /// Which layer is which, with a float sibling.
    pub(super) fn matching(&self) -> Result<Option<Matching>, Error> {
        let Some(file) = &self.float_file else { return Ok(None) };
        let [ours, theirs] = [self.int8_file.model.graph(), file.model.graph()];
        let shape = self.int8.preprocessor().contract().shape.to_vec();
        let layouts = [
            Layout::new(ours, std::slice::from_ref(&shape), true)?,
            Layout::new(theirs, std::slice::from_ref(&shape), true)?,
        ];
        Ok(Some(Matching::new((ours, &layouts[0]), (theirs, &layouts[1]))))
    }

    /// Some images of the set, evenly spread, worked on in parallel and given to `sum` in order, with their position in
    /// `places`. Images that cannot be read are left out: the first pass has listed them.
    fn sample<T: Send>(
        &self,
        set: &ImageSet,
        places: &[usize],
        observer: &dyn Observer,
        work: impl Fn(&[u8], Option<usize>) -> Result<T, Error> + Sync,
        mut sum: impl FnMut(usize, Option<usize>, T) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let numbered: Vec<(usize, usize)> = places.iter().copied().enumerate().collect();
        for chunk in numbered.chunks(rayon::current_num_threads()) {
            if observer.stop() {
                break;
            }
            let done: Vec<Option<Result<T, Error>>> = chunk
                .par_iter()
                .map(|&(_, at)| {
                    let photo = self.read(&set.files[at]).ok()?;
                    Some(work(&photo.pixels, set.labels[at]))
                })
                .collect();
            for (&(position, at), done) in chunk.iter().zip(done) {
                if let Some(done) = done {
                    sum(position, set.labels[at], done?)?;
                }
            }
        }
        Ok(())
    }

    /// Figures layer by layer.
    pub(super) fn layers(
        &self,
        set: &ImageSet,
        matching: Option<&Matching>,
        observer: &dyn Observer,
    ) -> Result<report::Layers, Error> {
        let places = spread(set.files.len(), self.options.layer_images);
        let sibling = match (&self.float_file, &self.float, matching) {
            (Some(file), Some(network), Some(matching)) => {
                Some((file.model.graph(), network.preprocessor().clone(), matching.clone()))
            }
            _ => None,
        };
        observer.begin(Phase::Layers, places.len() as u64);
        let probe = LayerProbe::new(
            self.int8_file.model.graph(),
            &self.options.plan,
            self.int8.preprocessor().clone(),
            self.dequantized.preprocessor().clone(),
            sibling,
        )?;
        let mut totals = probe.totals();
        let work = |pixels: &[u8], _| {
            let measured = probe.measure(pixels)?;
            observer.advance(1);
            Ok(measured)
        };
        self.sample(set, &places, observer, work, |_, _, measured| {
            totals.add(&measured);
            Ok(())
        })?;
        Ok(probe.report(&totals))
    }

    /// The reference under other usual preprocessings.
    pub(super) fn preprocessing(
        &self,
        set: &ImageSet,
        truth: Truth,
        observer: &dyn Observer,
    ) -> Result<Option<report::Preprocessing>, Error> {
        let places = spread(set.files.len(), self.options.preprocessing_images);
        if places.is_empty() || observer.stop() {
            return Ok(None);
        }
        observer.begin(Phase::Preprocessing, places.len() as u64);
        let probe = RecipeProbe::new(self.reference().preprocessor())?;
        let mut totals = probe.totals(truth);
        let work = |pixels: &[u8], _| {
            let answers = probe.answers(self.reference(), pixels)?;
            observer.advance(1);
            Ok(answers)
        };
        self.sample(set, &places, observer, work, |_, label, answers| totals.add(label, &answers))?;
        Ok(Some(probe.report(&totals, truth, self.options.seed)))
    }

    /// What each layer does to the answer. An interrupted pass is saved, and goes on where it was.
    pub(super) fn sensitivity(
        &self,
        set: &ImageSet,
        matching: Option<&Matching>,
        observer: &dyn Observer,
    ) -> Result<Option<report::Sensitivity>, Error> {
        let places = spread(set.files.len(), self.options.sensitivity_images);
        if places.is_empty() || observer.stop() {
            return Ok(None);
        }
        let sibling = self.float_file.as_ref().map(|file| file.model.graph().as_ref());
        let mixer = Mixer::new(
            self.int8_file.model.graph(),
            &self.options.plan,
            self.int8.preprocessor().clone(),
            self.reference().preprocessor().clone(),
            sibling.zip(matching),
        )?;
        let state = self.options.sensitivity_state.as_deref();
        let key = self.sensitivity_key(set, &places);
        let mut progress = state
            .and_then(|path| serde_json::from_slice::<Progress>(&fs::read(path).ok()?).ok())
            .filter(|progress| progress.key == key && progress.next <= places.len())
            .unwrap_or_else(|| Progress { key, ..Progress::default() });
        let layers = mixer.layers() as u64;
        observer.begin(Phase::Sensitivity, places.len() as u64 * layers);
        observer.advance(progress.next as u64 * layers);
        let work = |pixels: &[u8], truth| mixer.measure(pixels, truth, || observer.advance(1));
        let done = progress.next;
        self.sample(set, &places[done..], observer, work, |position, truth, sums| {
            progress.add(truth, &sums);
            progress.next = done + position + 1;
            match state {
                Some(path) => save(path, &progress),
                None => Ok(()),
            }
        })?;
        if let Some(path) = state
            && !observer.stop()
        {
            let _ = fs::remove_file(path);
        }
        Ok((progress.images > 0).then(|| mixer.report(&progress)))
    }

    fn sensitivity_key(&self, set: &ImageSet, places: &[usize]) -> String {
        let mut hash = Sha256::new();
        hash.update(&self.int8_file.sha256);
        hash.update(self.float_file.as_ref().map_or("", |file| &file.sha256));
        hash.update(self.options.plan.numerics.name());
        hash.update(self.int8.preprocessor().to_string());
        hash.update(self.reference().preprocessor().to_string());
        for &at in places {
            hash.update(set.files[at].as_os_str().as_encoded_bytes());
            hash.update(format!(" {:?}\n", set.labels[at]));
        }
        hex(&hash.finalize())
    }
}

/// Writes the state of a pass; the file is whole at any time.
fn save(path: &Path, progress: &Progress) -> Result<(), Error> {
    let attempt = || mobileight_files::write(path, &serde_json::to_vec(progress)?);
    attempt().map_err(|error| Error::Folder {
        path: path.into(),
        reason: format!("cannot be written: {error}"),
    })
}
