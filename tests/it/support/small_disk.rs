//! Small disks in memory, which tests can fill. Only root can mount them.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

/// Mounts an empty disk of this size at a new directory. `false` if that is not allowed.
pub fn mount(directory: &Path, megabytes: usize) -> bool {
    fs::create_dir_all(directory).expect("a directory");
    let options = format!("size={megabytes}m,mode=0700");
    let mut mount = Command::new("mount");
    mount
        .args(["-t", "tmpfs", "-o", &options, "orders-test"])
        .arg(directory)
        .stderr(Stdio::null());
    mount.status().is_ok_and(|status| status.success())
}

/// Unmounts all disks below a directory, also those that an earlier process has left.
pub fn unmount_below(directory: &Path) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    for point in points.filter(|point| Path::new(point).starts_with(directory)) {
        // Lazily: a server may not have ended yet. If it fails, the directory stays.
        let mut unmount = Command::new("umount");
        let _ = unmount
            .arg("--lazy")
            .arg(point)
            .stderr(Stdio::null())
            .status();
    }
}
