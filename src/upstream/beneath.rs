//! Which file a URL's path names, and that it lies beneath the root.
//!
//! Invariant: nothing outside the root is ever opened, whatever a path says: not by `..`, encoded or not, and not by a
//! symbolic link. Links that stay beneath the root are followed; the root itself may be one, and is looked up anew
//! each time, so that it can be swapped as a whole. It does not look at what it opens.

use percent_encoding::percent_decode_str;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The file path that a URL's path names, relative to the root; none for a path that can name no file beneath it.
///
/// Segments are decoded one by one: an encoded slash is part of a name, and no file's name holds one.
pub(super) fn path_of(path_and_query: &str) -> Option<PathBuf> {
    let path = path_and_query.split('?').next()?.strip_prefix('/')?;
    path.split('/').map(segment).collect()
}

/// Hidden files are left out: where images lie, `.git` and `.env` lie too.
fn segment(encoded: &str) -> Option<OsString> {
    let name: Vec<u8> = percent_decode_str(encoded).collect();
    let hidden = name.starts_with(b".") && &name[..] != b".well-known";
    let nameable = !name.is_empty() && !hidden && !name.contains(&0) && !name.contains(&b'/');
    nameable.then(|| OsString::from_vec(name))
}

/// Not blocking: opening a pipe that nobody writes to would wait for ever.
const OPEN: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOCTTY)
    .union(OFlags::NONBLOCK);

/// Errors that say no more than that there is no such file here.
pub(super) fn names_no_file(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::NOENT | Errno::NOTDIR | Errno::XDEV | Errno::LOOP | Errno::NAMETOOLONG | Errno::NXIO
    )
}

pub(super) fn open(root: &Path, path: &Path) -> rustix::io::Result<File> {
    match open_resolving_beneath(root, path) {
        // Kernels before 5.6 do not have the call, and older container sandboxes forbid what they do not know.
        Err(Errno::NOSYS | Errno::PERM) => open_comparing(root, path),
        opened => opened,
    }
}

/// The kernel refuses with EXDEV as soon as a step of the path, a link's target included, would leave the root.
#[cfg(target_os = "linux")]
fn open_resolving_beneath(root: &Path, path: &Path) -> rustix::io::Result<File> {
    use rustix::fs::ResolveFlags;
    /// Somebody may be renaming directories just then; it is not a reason to fail.
    const RACES_MAX: usize = 8;
    let root = rustix::fs::open(
        root,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let mut opened = Err(Errno::AGAIN);
    for _ in 0..RACES_MAX {
        opened = rustix::fs::openat2(&root, path, OPEN, Mode::empty(), resolve);
        if !matches!(opened, Err(Errno::AGAIN | Errno::INTR)) {
            break;
        }
    }
    opened.map(File::from)
}

#[cfg(not(target_os = "linux"))]
fn open_resolving_beneath(_: &Path, _: &Path) -> rustix::io::Result<File> {
    Err(Errno::NOSYS)
}

/// Without the kernel's help: resolves every link first and opens what came out, if it lies beneath the root.
///
/// Whoever may write to the directory can win the race between the two steps; nobody else can.
fn open_comparing(root: &Path, path: &Path) -> rustix::io::Result<File> {
    let errno = |error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let root = root.canonicalize().map_err(errno)?;
    let resolved = root.join(path).canonicalize().map_err(errno)?;
    if !resolved.starts_with(&root) {
        return Err(Errno::XDEV);
    }
    rustix::fs::open(&resolved, OPEN | OFlags::NOFOLLOW, Mode::empty()).map(File::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::symlink;
    use std::path::Component;

    proptest! {
        #[test]
        fn a_path_is_made_of_plain_names_only(path in "/([a./%]|%2e|%2f|%00|\\PC){0,12}") {
            if let Some(path) = path_of(&path) {
                let plain = |component| matches!(component, Component::Normal(_));
                prop_assert!(path.components().all(plain) && path.components().count() > 0, "{path:?}");
            }
        }
    }

    #[test]
    fn without_the_kernels_help_no_path_leaves_the_root_either() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("site");
        std::fs::create_dir(&root).unwrap();
        std::fs::write(directory.path().join("secret.txt"), "secret").unwrap();
        std::fs::write(root.join("a.jpg"), "").unwrap();
        symlink("../secret.txt", root.join("outside.txt")).unwrap();
        symlink(directory.path(), root.join("up")).unwrap();
        symlink("a.jpg", root.join("inside.jpg")).unwrap();
        for path in ["a.jpg", "inside.jpg"] {
            assert!(open_comparing(&root, Path::new(path)).is_ok(), "{path}");
        }
        for path in ["outside.txt", "up/secret.txt", "../secret.txt"] {
            assert_eq!(
                open_comparing(&root, Path::new(path)).unwrap_err(),
                Errno::XDEV,
                "{path}"
            );
        }
        assert_eq!(
            open_comparing(&root, Path::new("none")).unwrap_err(),
            Errno::NOENT
        );
    }
}
