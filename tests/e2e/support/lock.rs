//! Exclusive use of something by one test among many processes: a lock file, held by the open descriptor.
//!
//! Invariant: the kernel lets go of the lock when the holder dies, so nothing stale is ever left behind.

use std::{
    fs::{File, OpenOptions},
    path::Path,
};

/// Held until dropped.
pub struct Lock(#[expect(dead_code, reason = "held for its lock only")] File);

impl Lock {
    /// Waits for the lock.
    pub fn wait(path: &Path) -> Self {
        let file = open(path);
        file.lock().expect("lock files can be locked");
        Self(file)
    }

    /// The lock, unless somebody holds it.
    pub fn try_take(path: &Path) -> Option<Self> {
        let file = open(path);
        file.try_lock().ok().map(|()| Self(file))
    }
}

fn open(path: &Path) -> File {
    OpenOptions::new().create(true).truncate(false).write(true).open(path).expect("lock files can be made")
}
