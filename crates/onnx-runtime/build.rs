//! Fetches ONNX Runtime's shared library, which `src/library.rs` embeds.
//!
//! The official library is part of the wheel `onnxruntime` on the Python package index, which pip
//! or uv can reach from nearly every network. Wheel and library are pinned here by SHA-256. Nothing
//! that was fetched is run. `ORT_DYLIB_PATH` names another library to embed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;
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
    /// Digest of the wheel, checked before it is unpacked.
    wheel_sha256: &'static str,
}

const WHEELS: [Wheel; 4] = [
    Wheel {
        os: "linux",
        arch: "x86_64",
        pip_platforms: &["manylinux_2_28_x86_64", "manylinux_2_27_x86_64"],
        uv_platform: "x86_64-manylinux_2_28",
        library: "libonnxruntime.so.1.31.1",
        sha256: "fc44112fbe06d7d689c57e11d3862031f64711007e4ee020f8eed5185fd2c1d3",
        wheel_sha256: "5752bd508126ae7c49894d3b9d2e83f0c3d487319246d04c444b393308d7ad7f",
    },
    Wheel {
        os: "linux",
        arch: "aarch64",
        pip_platforms: &["manylinux_2_28_aarch64", "manylinux_2_27_aarch64"],
        uv_platform: "aarch64-manylinux_2_28",
        library: "libonnxruntime.so.1.31.1",
        sha256: "8aa3b76b28c778a2b1dd660d34161adb1d508c9ccd04ff9dc80e26eca5df8467",
        wheel_sha256: "da05378364c44d4407e463982d2bf8d5e4cfea873283757e48beeb41df97b7f3",
    },
    Wheel {
        os: "macos",
        arch: "aarch64",
        pip_platforms: &["macosx_14_0_arm64"],
        uv_platform: "aarch64-apple-darwin",
        library: "libonnxruntime.1.31.1.dylib",
        sha256: "f8b06155feece624e55e49124340eea279da812529ae6fbc46a9f2be9c9cad2e",
        wheel_sha256: "60b6b69bfe580eab576cacc5d132a0e9cf2a37fcfd18d46dd191042b1d1ed0d7",
    },
    Wheel {
        os: "windows",
        arch: "x86_64",
        pip_platforms: &["win_amd64"],
        uv_platform: "x86_64-pc-windows-msvc",
        library: "onnxruntime.dll",
        sha256: "8482d2ee174e28504f99730fb01d6861575870283de4ed3a897ad39170d9a9b9",
        wheel_sha256: "c3d91b5de31e2fc82d71bd65b2b22bddee8b49057a3a36338e9a868e0ea90c05",
    },
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=ORT_DYLIB_PATH");
    println!("cargo::rerun-if-env-changed=DOCS_RS");
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
    let target = |name: &str| env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    let (os, arch, libc) = (target("OS"), target("ARCH"), target("ENV"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts"));
    if let Some(path) = env::var_os("ORT_DYLIB_PATH") {
        return named(Path::new(&path), &os, &arch);
    }
    // docs.rs builds without a network and never runs the result.
    if env::var_os("DOCS_RS").is_some() {
        let path = out.join("no-library");
        return fs::write(&path, "").map(|()| path).map_err(|error| error.to_string());
    }
    // The wheels for Linux need glibc.
    let fits = |wheel: &&Wheel| wheel.os == os && wheel.arch == arch && libc != "musl";
    let wheel = WHEELS.iter().find(fits).ok_or_else(|| {
        format!(
            "no onnxruntime wheel is pinned for {os} on {arch} {libc}; set ORT_DYLIB_PATH to an ONNX Runtime {VERSION} \
             library for this platform"
        )
    })?;
    let folder = out.join("onnxruntime");
    let path = folder.join("onnxruntime").join("capi").join(wheel.library);
    if !path.exists() || sha256(&path) != wheel.sha256 {
        fetch(wheel, &out)?;
        // To Cargo, a file newer than the start of this script is a change: it would build this crate
        // and all that use it a second time.
        if let Ok(file) = fs::File::options().write(true).open(&path) {
            file.set_modified(SystemTime::UNIX_EPOCH).map_err(|error| error.to_string())?;
        }
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

/// Returns the library of `ORT_DYLIB_PATH`. A variable left over from a shell must not change a
/// release unnoticed, so there is a warning, and a library for another platform is an error.
fn named(path: &Path, os: &str, arch: &str) -> Result<PathBuf, String> {
    let failed = |problem: String| format!("ORT_DYLIB_PATH is `{}`: {problem}", path.display());
    let path = fs::canonicalize(path).map_err(|error| failed(error.to_string()))?;
    let content = fs::read(&path).map_err(|error| failed(error.to_string()))?;
    let starts_with = |start: &[u8]| content.starts_with(start);
    let fits = match (os, arch) {
        // ELF has the processor at byte 18.
        ("linux", "x86_64") => starts_with(b"\x7fELF") && content.get(18) == Some(&62),
        ("linux", "aarch64") => starts_with(b"\x7fELF") && content.get(18) == Some(&183),
        // One architecture, or several in one file.
        ("macos", _) => starts_with(&[0xcf, 0xfa, 0xed, 0xfe]) || starts_with(&[0xca, 0xfe, 0xba, 0xbe]),
        ("windows", _) => starts_with(b"MZ"),
        _ => true,
    };
    if !fits {
        return Err(failed(format!("it is not a library for {os} on {arch}; unset it to embed the official one")));
    }
    println!("cargo::warning=embedding `{}` (ORT_DYLIB_PATH), not the official library", path.display());
    Ok(path)
}

/// Unpacks the wheel into the folder `onnxruntime` of `out`, with pip or uv.
fn fetch(wheel: &Wheel, out: &Path) -> Result<(), String> {
    let requirements = out.join("requirements.txt");
    fs::write(&requirements, format!("onnxruntime=={VERSION} --hash=sha256:{}\n", wheel.wheel_sha256))
        .map_err(|error| format!("`{}`: {error}", requirements.display()))?;
    let requirements = requirements.display().to_string();
    let target = out.join("onnxruntime").display().to_string();
    let mut pip: Vec<&str> = vec!["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-compile"];
    pip.extend(["--upgrade", "--only-binary=:all:", "--implementation=cp", "--python-version=3.11"]);
    for platform in wheel.pip_platforms {
        pip.extend(["--platform", platform]);
    }
    pip.extend(["--target", &target, "--require-hashes", "--requirement", &requirements]);
    let mut uv: Vec<&str> = vec!["pip", "install", "--quiet", "--no-deps", "--only-binary=:all:"];
    uv.extend(["--python-version=3.11", "--python-platform", wheel.uv_platform]);
    uv.extend(["--target", &target, "--require-hashes", "--requirement", &requirements]);

    let module: Vec<&str> = ["-m", "pip"].into_iter().chain(pip.iter().copied()).collect();
    let tools: [(&str, &[&str]); 4] = [("python3", &module), ("python", &module), ("pip3", &pip), ("uv", &uv)];
    let mut tried = String::new();
    for (program, arguments) in tools {
        match Command::new(program).args(arguments).output() {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => {
                let stderr = String::from_utf8_lossy(&output.stderr);
                let words: Vec<&str> = stderr.split_whitespace().collect();
                tried.push_str(&format!("\n  {program}: {}", words.join(" ")));
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
