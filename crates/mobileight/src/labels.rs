//! Names of the classes.

use std::path::Path;

use mobileight_runtime::{Limit, Limits, Metadata};

use crate::Error;

/// Names of a model's classes, in order of their index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels(Vec<String>);

impl Labels {
    /// The names given.
    pub fn new(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Labels(names.into_iter().map(Into::into).collect())
    }

    /// Plain indices as names.
    pub fn indices(classes: usize) -> Self {
        Labels((0..classes).map(|index| index.to_string()).collect())
    }

    /// Reads a text file with one label a line; blank lines at its end do not count.
    ///
    /// # Errors
    ///
    /// [`Error::LabelFile`] when it cannot be read, is not UTF-8 or is empty; [`Error::InFile`] when it is over the default limit.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        Labels::from_file_within(path, &Limits::default())
    }

    /// The same within other limits than the default ones.
    ///
    /// # Errors
    ///
    /// As [`from_file`](Labels::from_file).
    pub fn from_file_within(path: impl AsRef<Path>, limits: &Limits) -> Result<Self, Error> {
        let path = path.as_ref();
        let fail = |reason: String| Error::LabelFile { path: path.into(), reason };
        Labels::from_bytes(label_bytes(path, limits, fail)?).map_err(fail)
    }

    /// The labels of a file's bytes; what is wrong with them, in words.
    fn from_bytes(bytes: Vec<u8>) -> Result<Self, String> {
        let text = String::from_utf8(bytes).map_err(|error| {
            format!("is not UTF-8 text (byte {})", error.utf8_error().valid_up_to())
        })?;
        let labels = Metadata::parse_labels(&text);
        match labels.is_empty() {
            true => Err("is empty; one label a line is expected".into()),
            false => Ok(Labels(labels)),
        }
    }

    /// Number of labels.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The name of a class; `None` when out of range.
    pub fn get(&self, index: usize) -> Option<&str> {
        self.0.get(index).map(String::as_str)
    }

    /// The first class of a name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|label| label == name)
    }

    /// Refuses a list that is not as long as the model has classes.
    ///
    /// # Errors
    ///
    /// [`Error::LabelCount`], which explains the difference between 1000 and 1001 classes.
    pub fn check(&self, classes: usize) -> Result<(), Error> {
        match self.len() == classes {
            true => Ok(()),
            false => Err(Error::LabelCount { found: self.len(), classes }),
        }
    }
}

/// The bytes of a file of labels, whatever its form; `fail` makes the error of one that cannot be read.
pub(crate) fn label_bytes(
    path: &Path,
    limits: &Limits,
    fail: impl Fn(String) -> Error,
) -> Result<Vec<u8>, Error> {
    let bytes = mobileight_files::read(path, Limit::LabelBytes, limits, "text");
    bytes.map_err(|error| match error {
        mobileight_files::Error::TooLarge(exceeded) => Error::from(exceeded).in_file(path),
        error => fail(error.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_background_class_is_explained() {
        let labels = Labels::indices(1000);
        assert!(labels.check(1000).is_ok());
        let error = labels.check(1001).unwrap_err().to_string();
        assert!(error.contains("background") && error.contains("1000 labels"), "{error}");
        assert!(labels.check(3).unwrap_err().to_string().contains("one label a line"));
    }

    #[test]
    fn files_are_read_line_by_line() {
        let folder = std::env::temp_dir().join(format!("mobileight-labels-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("labels.txt");
        std::fs::write(&path, "\u{feff}cat\r\n\r\ndog\r\n\n").unwrap();
        assert_eq!(Labels::from_file(&path).unwrap(), Labels::new(["cat", "", "dog"]));
        for bytes in [&b""[..], b"\n\n", b"\xff\xfe"] {
            std::fs::write(&path, bytes).unwrap();
            assert!(matches!(Labels::from_file(&path), Err(Error::LabelFile { .. })));
        }
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(Labels::from_file(&path).is_err());
    }
}
