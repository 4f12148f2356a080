//! The program with a library that stands in for NVIDIA's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const LIBRARY: &str = "libnvidia-ml.so.1";

#[test]
fn each_gpu_of_the_pod_has_a_line() {
    let folder = folder("works");
    build(&folder);
    let told = run(&folder, &[]);
    assert_eq!(words(&told.stdout), "97\n2\n42\n[N/A]\n[N/A]\n", "{}", words(&told.stderr));
    assert!(told.status.success());
}

#[test]
fn a_library_that_fails_is_no_answer() {
    let folder = folder("fails");
    build(&folder);
    const DRIVER_NOT_LOADED: &str = "9";
    let told = run(&folder, &[("FAILS", DRIVER_NOT_LOADED)]);
    assert_eq!((told.status.code(), words(&told.stdout)), (Some(1), String::new()));
    assert_eq!(words(&told.stderr), "bastion-nvml: NVIDIA driver is not loaded\n");
}

/// As where there is none; this machine may have one.
#[test]
fn a_library_that_cannot_be_loaded_is_no_answer() {
    let folder = folder("broken");
    fs::write(folder.join(LIBRARY), "no library").unwrap();
    let told = run(&folder, &[]);
    assert_eq!((told.status.code(), words(&told.stdout)), (Some(1), String::new()));
    assert!(words(&told.stderr).contains(LIBRARY), "{}", words(&told.stderr));
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).expect("cargo made the folder above");
    folder
}

fn build(folder: &Path) {
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-Wall", "-o"]).arg(folder.join(LIBRARY));
    compiler.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/library.c"));
    assert!(compiler.status().expect("Rust has a C compiler to link with").success());
}

fn run(libraries: &Path, variables: &[(&str, &str)]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_bastion-nvml"));
    program.env("LD_LIBRARY_PATH", libraries).envs(variables.iter().copied()).output().expect("it was built")
}

fn words(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
