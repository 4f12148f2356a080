//! How busy NVIDIA's GPUs are, by NVML: a line for each, as of `nvidia-smi`, in percent; `[N/A]` if it does not tell.
//!
//! A program of its own beside `bastion-agent`, which is static and so can load no library.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nvml_wrapper::enum_wrappers::device::Sampling;
use nvml_wrapper::enums::device::SampleValue;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};

/// Of what NVML keeps, some seconds as a rule, this much counts: a GPU that sleeps may keep what it has for ever.
const RECENT: Duration = Duration::from_mins(1);

fn main() -> ExitCode {
    match tell() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bastion-nvml: {error}");
            ExitCode::FAILURE
        }
    }
}

fn tell() -> Result<(), Box<dyn Error>> {
    let nvml = Nvml::init()?;
    let mut lines = String::new();
    for index in 0..nvml.device_count()? {
        let busy = match nvml.device_by_index(index) {
            // A GPU of the node that is none of the pod's.
            Err(NvmlError::NoPermission) => continue,
            device => device.and_then(|device| busy(&device)),
        };
        lines += &busy.map_or("[N/A]\n".to_owned(), |percent| format!("{percent}\n"));
    }
    Ok(std::io::stdout().write_all(lines.as_bytes())?)
}

/// How busy it was when it was busiest. What has no utilisation now, as a part of a GPU (MIG), has none.
fn busy(device: &Device<'_>) -> Result<u32, NvmlError> {
    let now = device.utilization_rates()?.gpu;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(RECENT);
    let since = u64::try_from(since.as_micros()).unwrap_or_default();
    let samples = device.samples(Sampling::GpuUtilization, since).unwrap_or_default();
    let percents = samples.into_iter().filter_map(|sample| match sample.value {
        SampleValue::U32(percent) => Some(percent),
        _ => None,
    });
    Ok(percents.fold(now, u32::max))
}
