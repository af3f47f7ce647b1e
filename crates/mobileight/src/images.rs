//! The images of a folder.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Error;

/// Extensions of the image formats that can be decoded.
pub const IMAGE_EXTENSIONS: [&str; 6] = ["bmp", "gif", "jpeg", "jpg", "png", "webp"];

/// The images of a folder, in order of their names.
///
/// # Errors
///
/// [`Error::Folder`] when it cannot be read or holds no image.
pub fn image_files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let fail = |reason: String| Error::Folder { path: folder.into(), reason };
    let is_image = |path: &Path| {
        path.extension()
            .is_some_and(|e| IMAGE_EXTENSIONS.iter().any(|known| e.eq_ignore_ascii_case(known)))
    };
    let entries = fs::read_dir(folder).map_err(|e| fail(format!("cannot be read: {e}")))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| fail(format!("cannot be read: {e}")))?.path();
        if is_image(&path) && path.is_file() {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(fail(format!("holds no image ({})", IMAGE_EXTENSIONS.join(", "))));
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_folders_are_refused_by_name() {
        let folder = std::env::temp_dir().join(format!("mobileight-empty-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("a.txt"), b"x").unwrap();
        let error = image_files(&folder).unwrap_err().to_string();
        assert!(error.contains("mobileight-empty") && error.contains("webp"), "{error}");
        fs::remove_dir_all(&folder).unwrap();
        assert!(image_files(Path::new("/does/not/exist")).is_err());
    }
}
