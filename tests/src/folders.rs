//! Copies of a server's folder: what a backup is.

use std::fs;
use std::path::Path;

/// Copies a folder with all that is in it. The other one is made if it is not there.
///
/// # Panics
/// If something cannot be read or written.
pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry of a folder");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("the kind of a file").is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a copy");
        }
    }
}
