//! Runs a target over mutations of what is really said. Needs no more than stable Rust, and knows nothing of coverage.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::mutation::{Random, mutate};

/// Inputs of a run whose length nobody gave.
const INPUTS: u64 = 1_000;
/// No input is worth more than this.
const SLOW: Duration = Duration::from_secs(10);

/// Runs `target`. `scripts/fuzz` says in the environment how:
/// - `FUZZ_SECONDS`: for how long, rather than a fixed number of inputs
/// - `FUZZ_SEED`: what the inputs are derived from; the same seed makes the same inputs
/// - `FUZZ_INPUT`: a file with the only input
/// - `FUZZ_CORPUS`: a folder into which to write `seeds`, rather than to run
pub(super) fn run(name: &str, target: fn(&[u8]), seeds: &[Vec<u8>]) {
    if let Some(file) = std::env::var_os("FUZZ_INPUT") {
        return target(&fs::read(file).unwrap());
    }
    if let Some(folder) = std::env::var_os("FUZZ_CORPUS") {
        return write(seeds, Path::new(&folder));
    }
    let number = |name| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let seconds = number("FUZZ_SECONDS").map(Duration::from_secs);
    let seed = number("FUZZ_SEED").unwrap_or(1);
    let mut random = Random(seed);
    let mut last = Last::new(name);
    let begun = Instant::now();
    let mut inputs = 0;
    while seconds.map_or(inputs < INPUTS, |seconds| begun.elapsed() < seconds) {
        last.input = mutate(&mut random, seeds);
        if seconds.is_some() {
            last.write(); // Before it runs: what ends the process leaves it too.
        }
        let begun = Instant::now();
        target(&last.input);
        assert!(begun.elapsed() < SLOW, "it took {:?}", begun.elapsed());
        inputs += 1;
    }
    println!("{name}: {inputs} inputs of seed {seed} in {:.1} s", begun.elapsed().as_secs_f32());
}

fn write(seeds: &[Vec<u8>], folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for (number, seed) in seeds.iter().enumerate() {
        fs::write(folder.join(format!("seed-{number:02}")), seed).unwrap();
    }
}

/// The input that runs, which is left in a file if it fails.
struct Last {
    path: PathBuf,
    input: Vec<u8>,
}

impl Last {
    fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/fuzz/failed");
        fs::create_dir_all(&folder).unwrap();
        Self { path: folder.join(format!("{name}-{}", std::process::id())), input: Vec::new() }
    }

    fn write(&self) {
        fs::write(&self.path, &self.input).unwrap();
    }
}

impl Drop for Last {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.write();
            println!("the input that failed: {}", self.path.display());
        } else {
            let _ = fs::remove_file(&self.path);
        }
    }
}
