//! The images of a comparison and their right classes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use mobileight_runtime::Limits;

use crate::Error;
use crate::images::image_files;
use crate::labels::label_bytes;

/// Images and what is on them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImageSet {
    /// The folder, as it was given.
    pub folder: PathBuf,
    /// The images, in order of their names.
    pub files: Vec<PathBuf>,
    /// The right class of each; `None` without a label.
    pub labels: Vec<Option<usize>>,
    /// The file of labels, as it was given.
    pub labels_file: Option<PathBuf>,
    /// What was odd about the labels, in words, and did not stop anything.
    pub remarks: Vec<String>,
}

impl ImageSet {
    /// The images of a folder, without labels.
    ///
    /// # Errors
    ///
    /// As [`image_files`].
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let files = image_files(folder)?;
        let labels = vec![None; files.len()];
        Ok(ImageSet { folder: folder.into(), files, labels, ..ImageSet::default() })
    }

    /// Reads the right classes from a CSV file within the default limits; see [`with_labels_within`](ImageSet::with_labels_within).
    ///
    /// # Errors
    ///
    /// Those of [`with_labels_within`](ImageSet::with_labels_within).
    pub fn with_labels(self, path: &Path, classes: usize) -> Result<Self, Error> {
        self.with_labels_within(path, classes, &Limits::default())
    }

    /// Reads the right classes from a CSV file for a model of `classes` classes.
    ///
    /// The file has a column `file` with names within the folder, and a column `label_index` or `index`, or `index1000` and
    /// `index1001`, of which the one that fits the model counts.
    ///
    /// # Errors
    ///
    /// [`Error::InFile`] for a file over the limit; [`Error::LabelTable`]: no such columns, a class that the model does not
    /// have, one image with two different classes, or no image of the folder. Single files that do not exist and lines that are there twice are remarks.
    pub fn with_labels_within(
        mut self,
        path: &Path,
        classes: usize,
        limits: &Limits,
    ) -> Result<Self, Error> {
        let fail = |reason: String| Error::LabelTable { path: path.into(), reason };
        let bytes = label_bytes(path, limits, fail)?;
        let mut reader = csv::ReaderBuilder::new()
            .flexible(true)
            .trim(csv::Trim::All)
            .from_reader(bytes.as_slice());
        let header = reader.headers().map_err(|e| fail(e.to_string()))?.clone();
        let find = |name: &str| header.iter().position(|column| column == name);
        let fitting = format!("index{classes}");
        let candidates = ["label_index", "index", fitting.as_str()];
        let columns = find("file").zip(candidates.into_iter().find_map(find));
        let Some((file_column, class_column)) = columns else {
            let found: Vec<&str> = header.iter().collect();
            return Err(fail(format!(
                "needs a column `file` and one of `{}`, the first line has: {}",
                candidates.join("`, `"),
                found.join(", ")
            )));
        };
        let places: HashMap<&Path, usize> = self
            .files
            .iter()
            .enumerate()
            .filter_map(|(at, file)| Some((Path::new(file.file_name()?), at)))
            .collect();
        let mut missing: Vec<String> = Vec::new();
        let mut repeated: Vec<String> = Vec::new();
        let mut labels = vec![None; self.files.len()];
        for (line, record) in reader.records().enumerate() {
            let record = record.map_err(|e| fail(e.to_string()))?;
            let line = record.position().map_or(line as u64 + 2, csv::Position::line);
            let [file, class] = [file_column, class_column].map(|at| record.get(at).unwrap_or(""));
            let class = match class.parse::<usize>() {
                Ok(class) if class < classes => class,
                _ => {
                    return Err(fail(format!(
                        "line {line}: class {class:?} of {file:?} is no number from 0 to {} (column `{}`)",
                        classes.saturating_sub(1),
                        &header[class_column]
                    )));
                }
            };
            match places.get(Path::new(file)).map(|&at| &mut labels[at]) {
                None => missing.push(file.to_owned()),
                Some(label @ None) => *label = Some(class),
                Some(Some(before)) if *before == class => repeated.push(file.to_owned()),
                Some(Some(before)) => {
                    return Err(fail(format!(
                        "line {line}: {file:?} is class {class} here and was class {before} before"
                    )));
                }
            }
        }
        drop(places);
        if labels.iter().all(Option::is_none) {
            return Err(fail(format!(
                "names none of the {} images in {}",
                self.files.len(),
                self.folder.display()
            )));
        }
        for (what, names) in [("names files that are not there", missing), ("repeats", repeated)] {
            if let Some(first) = names.first() {
                let count = names.len();
                self.remarks.push(format!("{} {what}: {first} ({count} in all)", path.display()));
            }
        }
        self.labels = labels;
        self.labels_file = Some(path.into());
        Ok(self)
    }

    /// The first images only, evenly spread over the folder so that all classes have a chance.
    pub fn limit(mut self, count: usize) -> Self {
        let kept = spread(self.files.len(), count);
        self.files = kept.iter().map(|&at| self.files[at].clone()).collect();
        self.labels = kept.iter().map(|&at| self.labels[at]).collect();
        self
    }
}

/// At most `count` of `length` places, evenly spread.
pub(crate) fn spread(length: usize, count: usize) -> Vec<usize> {
    let count = count.min(length);
    (0..count).map(|at| at * length / count).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str, files: &[&str], labels: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("mobileight-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            files.iter().for_each(|file| fs::write(path.join(file), b"x").unwrap());
            fs::write(path.join("labels.csv"), labels).unwrap();
            Folder(path)
        }

        fn labels(&self, classes: usize) -> Result<ImageSet, Error> {
            ImageSet::open(&self.0)?.with_labels(&self.0.join("labels.csv"), classes)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_column_that_fits_the_model_counts() {
        let labels = "file,index1000,index1001,label\nb.JPEG,7,8,\"a, b\"\na.png,0,1,x\n";
        let folder = Folder::new("columns", &["a.png", "b.JPEG", "c.bmp", "no.txt"], labels);
        let set = folder.labels(1000).unwrap();
        assert_eq!(set.files.len(), 3);
        assert_eq!(set.labels, [Some(0), Some(7), None]);
        assert_eq!(folder.labels(1001).unwrap().labels, [Some(1), Some(8), None]);
        assert!(set.remarks.is_empty());
        let error = folder.labels(5).unwrap_err().to_string();
        assert!(error.contains("index1000") && error.contains("label_index"), "{error}");
    }

    #[test]
    fn odd_labels_are_remarked_and_wrong_ones_refused() {
        let open = |labels: &str| {
            static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
            let at = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Folder::new(&format!("odd{at}"), &["a.png", "b.png"], labels).labels(3)
        };
        let set = open("file,index\na.png,1\na.png,1\nz.png,2\n").unwrap();
        assert_eq!(set.labels, [Some(1), None]);
        assert!(set.remarks[0].contains("z.png") && set.remarks[1].contains("a.png"));
        for (labels, word) in [
            ("file,index\na.png,3\n", "0 to 2"),
            ("file,index\na.png,-1\n", "line 2"),
            ("file,index\na.png\n", "line 2"),
            ("file,index\na.png,1\na.png,2\n", "was class 1"),
            ("file,index\nz.png,1\n", "none of the 2"),
            ("name,index\na.png,1\n", "`file`"),
            ("", "is empty"),
        ] {
            let error = open(labels).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn samples_are_spread() {
        assert_eq!(spread(10, 4), [0, 2, 5, 7]);
        assert_eq!(spread(3, 9), [0, 1, 2]);
        assert_eq!(spread(0, 9), [0usize; 0]);
    }
}
