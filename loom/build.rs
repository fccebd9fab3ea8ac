//! Has the files of `src` take loom's threads and atomics, without setting the flag for loom itself.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(loom)");
    println!("cargo::rustc-cfg=loom");
}
