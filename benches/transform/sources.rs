//! The sources of the jobs, as files in one directory that both sides read.
//!
//! With IMAGES a source is the first file there, in the order of their names, whose name fits; one that is not there
//! is made in code, and so is every one without IMAGES. What is made is the same on every machine.

use crate::synthetic;
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Photo12,
    /// Of an odd size, which shrinking while decoding has to round.
    Photo6,
    Photo640,
    Alpha,
    Animation,
}

pub(crate) struct Sources {
    directory: PathBuf,
    photos: Vec<(Name, PathBuf)>,
}

const ALL: [Name; 5] = [
    Name::Photo12,
    Name::Photo6,
    Name::Photo640,
    Name::Alpha,
    Name::Animation,
];

/// Makes the directory, with what `photos` lacks.
pub(crate) fn prepare(directory: &Path, photos: Option<PathBuf>) -> Sources {
    fs::create_dir_all(directory).expect("the target directory is ours");
    let found = photos.map(|photos| files_of(&photos)).unwrap_or_default();
    let sources = Sources {
        directory: directory.to_path_buf(),
        photos: ALL
            .into_iter()
            .filter_map(|name| Some((name, name.choose(&found)?)))
            .collect(),
    };
    for name in ALL.into_iter().filter(|name| sources.photo(*name).is_none()) {
        fs::write(sources.file(name), name.make()).expect("the target directory is ours");
    }
    sources
}

fn files_of(directory: &Path) -> Vec<PathBuf> {
    let listed =
        fs::read_dir(directory).unwrap_or_else(|error| panic!("IMAGES={}: {error}", directory.display()));
    let mut files: Vec<PathBuf> = listed
        .map(|item| item.expect("it can be listed").path())
        .collect();
    files.sort();
    files
}

impl Sources {
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn file(&self, name: Name) -> PathBuf {
        let made = || self.directory.join(format!("made-{}", name.pattern().join(".")));
        self.photo(name).map_or_else(made, Path::to_path_buf)
    }

    fn photo(&self, name: Name) -> Option<&Path> {
        let (_, file) = self.photos.iter().find(|(photo, _)| *photo == name)?;
        Some(file)
    }

    /// What was measured, as a sentence.
    pub(crate) fn told(&self) -> String {
        if self.photos.is_empty() {
            return "All sources were made in code.".to_owned();
        }
        let names = self
            .photos
            .iter()
            .filter_map(|(_, file)| file.file_name()?.to_str());
        let made = if self.photos.len() < ALL.len() {
            "; the others were made in code"
        } else {
            ""
        };
        format!("Sources: {}{made}.", names.collect::<Vec<_>>().join(", "))
    }
}

impl Name {
    /// Part of a file's name, and its end.
    fn pattern(self) -> [&'static str; 2] {
        match self {
            Name::Photo12 => ["12mp", "jpg"],
            Name::Photo6 => ["6mp", "jpg"],
            Name::Photo640 => ["640", "jpg"],
            Name::Alpha => ["alpha", "png"],
            Name::Animation => ["animated", "gif"],
        }
    }

    fn choose(self, files: &[PathBuf]) -> Option<PathBuf> {
        let [part, end] = self.pattern();
        let fits = |file: &&PathBuf| {
            let name = file
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            name.contains(part) && name.ends_with(end)
        };
        files.iter().find(fits).cloned()
    }

    fn make(self) -> Vec<u8> {
        match self {
            Name::Photo12 => synthetic::photo(4032, 3024),
            Name::Photo6 => synthetic::photo(2725, 2225),
            Name::Photo640 => synthetic::photo(640, 523),
            Name::Alpha => synthetic::alpha(2048, 1536),
            Name::Animation => synthetic::animation(720, 540, 40),
        }
    }
}
