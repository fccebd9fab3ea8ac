//! Fetches ONNX Runtime's shared library, which `src/library.rs` embeds.
//!
//! The official library is part of the wheel `onnxruntime` on the Python package index, which pip
//! or uv can reach from nearly every network. It is pinned here by version and SHA-256.
//! `ORT_DYLIB_PATH` names another library to embed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use sha2::{Digest, Sha256};

const VERSION: &str = "1.31.1";

/// A supported target: its names for pip and uv, and the library in its wheel.
struct Wheel {
    os: &'static str,
    arch: &'static str,
    pip_platforms: &'static [&'static str],
    uv_platform: &'static str,
    library: &'static str,
    /// Digest of the library itself, whichever tool unpacked it.
    sha256: &'static str,
}

const WHEELS: [Wheel; 4] = [
    Wheel {
        os: "linux",
        arch: "x86_64",
        pip_platforms: &["manylinux_2_28_x86_64", "manylinux_2_27_x86_64"],
        uv_platform: "x86_64-manylinux_2_28",
        library: "libonnxruntime.so.1.31.1",
        sha256: "fc44112fbe06d7d689c57e11d3862031f64711007e4ee020f8eed5185fd2c1d3",
    },
    Wheel {
        os: "linux",
        arch: "aarch64",
        pip_platforms: &["manylinux_2_28_aarch64", "manylinux_2_27_aarch64"],
        uv_platform: "aarch64-manylinux_2_28",
        library: "libonnxruntime.so.1.31.1",
        sha256: "8aa3b76b28c778a2b1dd660d34161adb1d508c9ccd04ff9dc80e26eca5df8467",
    },
    Wheel {
        os: "macos",
        arch: "aarch64",
        pip_platforms: &["macosx_14_0_arm64"],
        uv_platform: "aarch64-apple-darwin",
        library: "libonnxruntime.1.31.1.dylib",
        sha256: "f8b06155feece624e55e49124340eea279da812529ae6fbc46a9f2be9c9cad2e",
    },
    Wheel {
        os: "windows",
        arch: "x86_64",
        pip_platforms: &["win_amd64"],
        uv_platform: "x86_64-pc-windows-msvc",
        library: "onnxruntime.dll",
        sha256: "8482d2ee174e28504f99730fb01d6861575870283de4ed3a897ad39170d9a9b9",
    },
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=ORT_DYLIB_PATH");
    match library() {
        Ok(path) => {
            println!("cargo::rerun-if-changed={}", path.display());
            println!("cargo::rustc-env=ONNXRUNTIME_LIBRARY={}", path.display());
            println!("cargo::rustc-env=ONNXRUNTIME_SHA256={}", sha256(&path));
        }
        Err(reason) => {
            for line in reason.lines() {
                println!("cargo::error={line}");
            }
        }
    }
}

fn library() -> Result<PathBuf, String> {
    if let Some(path) = env::var_os("ORT_DYLIB_PATH") {
        let path = fs::canonicalize(&path)
            .map_err(|error| format!("ORT_DYLIB_PATH is `{}`: {error}", Path::new(&path).display()))?;
        return Ok(path);
    }
    let os = env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let wheel = WHEELS.iter().find(|wheel| wheel.os == os && wheel.arch == arch).ok_or_else(|| {
        format!(
            "no onnxruntime wheel is pinned for {os} on {arch}; set ORT_DYLIB_PATH to an ONNX Runtime {VERSION} library for this platform"
        )
    })?;
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts"));
    let folder = out.join("onnxruntime");
    let path = folder.join("onnxruntime").join("capi").join(wheel.library);
    if !path.exists() || sha256(&path) != wheel.sha256 {
        fetch(wheel, &folder)?;
    }
    let found = sha256(&path);
    if found != wheel.sha256 {
        return Err(format!(
            "`{}` of onnxruntime {VERSION} has SHA-256 {found}, expected {}; the package index served another file",
            wheel.library, wheel.sha256
        ));
    }
    Ok(path)
}

/// Unpacks the wheel into `folder`, with pip or uv.
fn fetch(wheel: &Wheel, folder: &Path) -> Result<(), String> {
    let requirement = format!("onnxruntime=={VERSION}");
    let target = folder.display().to_string();
    let mut pip: Vec<&str> = vec!["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-compile"];
    pip.extend(["--upgrade", "--only-binary=:all:", "--implementation=cp", "--python-version=3.11"]);
    for platform in wheel.pip_platforms {
        pip.extend(["--platform", platform]);
    }
    pip.extend(["--target", &target, &requirement]);
    let mut uv: Vec<&str> = vec!["pip", "install", "--quiet", "--no-deps", "--only-binary=:all:"];
    uv.extend(["--python-version=3.11", "--python-platform", wheel.uv_platform]);
    uv.extend(["--target", &target, &requirement]);

    let module: Vec<&str> = ["-m", "pip"].into_iter().chain(pip.iter().copied()).collect();
    let tools: [(&str, &[&str]); 4] = [("python3", &module), ("python", &module), ("pip3", &pip), ("uv", &uv)];
    let mut tried = String::new();
    for (program, arguments) in tools {
        match Command::new(program).args(arguments).output() {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => {
                let stderr = String::from_utf8_lossy(&output.stderr);
                let last = stderr.trim().lines().last().unwrap_or("no message").to_owned();
                tried.push_str(&format!("\n  {program}: {last}"));
            }
            Err(error) => tried.push_str(&format!("\n  {program}: {error}")),
        }
    }
    Err(format!(
        "ONNX Runtime {VERSION} could not be fetched from the Python package index; install pip or uv and try again, \
         or set ORT_DYLIB_PATH to a local library. Tried:{tried}"
    ))
}

fn sha256(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
