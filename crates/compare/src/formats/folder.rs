//! The folder of a report.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use super::{ImageRow, html, json, markdown, per_layer_csv};
use crate::Error;
use crate::report::Report;

const IMAGES: &str = "per_image.csv";

/// Writes a report's files. Each has a temporary name until all are whole, so that a report is never half-written over an old one.
#[derive(Debug)]
pub struct ReportFolder {
    path: PathBuf,
    images: csv::Writer<BufWriter<File>>,
    /// Files that are there under their temporary names.
    written: Vec<&'static str>,
    /// The folder, when it was made for this report.
    made: bool,
}

fn part(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.part"))
}

fn refuse(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Write { path, source }
}

impl ReportFolder {
    /// Makes the folder, if need be, and begins `per_image.csv`: what cannot be written is known before the work begins.
    ///
    /// # Errors
    ///
    /// [`Error::Write`].
    pub fn create(path: &Path) -> Result<Self, Error> {
        let made = !path.exists();
        fs::create_dir_all(path).map_err(refuse(path))?;
        let temporary = part(path, IMAGES);
        let file = File::create(&temporary).map_err(refuse(&temporary))?;
        let images = csv::Writer::from_writer(BufWriter::new(file));
        Ok(ReportFolder { path: path.into(), images, written: vec![IMAGES], made })
    }

    /// Adds an image to `per_image.csv`.
    ///
    /// # Errors
    ///
    /// [`Error::Write`].
    pub fn image(&mut self, row: &ImageRow) -> Result<(), Error> {
        let written = self.images.serialize(row);
        written.map_err(|error| refuse(&self.path.join(IMAGES))(error.into()))
    }

    /// Writes the other files, gives all their names, and returns the path of the page.
    ///
    /// # Errors
    ///
    /// [`Error::Write`] and [`Error::Format`]; the report that was there before, if any, stays then.
    pub fn finish(mut self, report: &Report) -> Result<PathBuf, Error> {
        self.images.flush().map_err(refuse(&self.path.join(IMAGES)))?;
        self.made = false;
        let files = [
            ("per_layer.csv", per_layer_csv(report)?),
            ("summary.md", markdown(report)),
            ("report.json", json(report)?),
            ("report.html", html(report)?),
        ];
        for (name, text) in files {
            let temporary = part(&self.path, name);
            self.written.push(name);
            fs::write(&temporary, text).map_err(refuse(&temporary))?;
        }
        for name in std::mem::take(&mut self.written) {
            let path = self.path.join(name);
            fs::rename(part(&self.path, name), &path).map_err(refuse(&path))?;
        }
        Ok(self.path.join("report.html"))
    }
}

impl Drop for ReportFolder {
    fn drop(&mut self) {
        for name in &self.written {
            let _ = fs::remove_file(part(&self.path, name));
        }
        if self.made {
            // Only when it is empty.
            let _ = fs::remove_dir(&self.path);
        }
    }
}
