//! How a DevServer is used: what its pod's agent measures, and the SSH server writes into its status.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// How a pod with bastion-agent is used. Each time is when that sign of use was last seen; none if it never was since
/// the pod began. `devctl idle` explains the last hour.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Activity {
    /// When the pod's agent was last asked; what is older than 15 minutes says nothing of now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_time: Option<Time>,
    /// The last of the times below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_use_time: Option<Time>,
    /// What keeps it awake: the signs of use that there were when it was last looked at, such as `CPU, keystrokes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awake: Option<String>,
    /// When a session last began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_session_time: Option<Time>,
    /// When somebody last typed on a terminal, or a program without one was sent 64 KiB within a minute: editors that
    /// speak to their server over stdin send less when nobody is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_input_time: Option<Time>,
    /// When sessions' programs last wrote 1 MiB within a minute. A `top` that is left open writes less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_output_time: Option<Time>,
    /// When 64 KiB last went over forwarded connections within a minute. An editor that is left open sends less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_forward_time: Option<Time>,
    /// When the pod's processes last took a tenth of a core for a minute, or as much in less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_cpu_time: Option<Time>,
    /// When the pod's processes last read from disks and wrote to them 1 MiB a second for a minute, or as much in less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_disk_time: Option<Time>,
    /// When a GPU last worked for 5 % of the time. Memory that is merely held is no use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_gpu_time: Option<Time>,
    /// When a Jupyter kernel was last busy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_kernel_time: Option<Time>,
    /// The most memory that its container had in use at once since it began, files that the kernel keeps in memory
    /// included. Absent: the pod's agent cannot tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory: Option<Quantity>,
    /// When the kernel last ended a program of the container because memory ran out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_out_of_memory_time: Option<Time>,
    /// What is known of GPUs. Absent: the agent measures nothing but sessions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<GpuUse>,
    /// Sessions' programs that run, shells that nobody looks at included.
    #[serde(default)]
    #[schemars(with = "i32", range(min = 0))]
    pub programs: u32,
    /// Connections that are forwarded.
    #[serde(default)]
    #[schemars(with = "i32", range(min = 0))]
    pub forwards: u32,
}

/// What is known of the use of GPUs: while it is `Unknown` the DevServer is not idle. Absent if the pod's agent is so
/// old that it measures nothing but sessions.
#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum GpuUse {
    /// The pod has no GPU.
    None,
    /// It is measured.
    Known,
    /// There is a GPU, and nothing in the image that tells of it.
    Unknown,
}

/// So long before it was looked at, a sign of use was there then: signs are looked for twice a minute.
const AT_ONCE: SignedDuration = SignedDuration::from_secs(90);

impl Activity {
    /// Each sign of use in words, and when it was last seen.
    pub fn signs(&self) -> [(&'static str, Option<Timestamp>); 8] {
        [
            ("GPU", &self.last_gpu_time),
            ("CPU", &self.last_cpu_time),
            ("disk", &self.last_disk_time),
            ("Jupyter kernel", &self.last_kernel_time),
            ("keystrokes", &self.last_input_time),
            ("output", &self.last_output_time),
            ("forwards", &self.last_forward_time),
            ("login", &self.last_session_time),
        ]
        .map(|(sign, time)| (sign, time.as_ref().map(|time| time.0)))
    }

    /// The sign of use that was seen last.
    pub fn last_sign(&self) -> Option<(&'static str, Timestamp)> {
        // Of several at a time, the first.
        let seen = self.signs().into_iter().rev().filter_map(|(sign, time)| Some((sign, time?)));
        seen.max_by_key(|(_, time)| *time)
    }

    /// The signs of use that there were when it was last looked at.
    pub fn signs_at_once(&self) -> impl Iterator<Item = &'static str> + use<> {
        let observed = self.observed_time.as_ref().map(|time| time.0);
        let there = move |time: Option<Timestamp>| Some(observed?.duration_since(time?) <= AT_ONCE);
        self.signs().into_iter().filter(move |(_, time)| there(*time).unwrap_or(false)).map(|(sign, _)| sign)
    }

    /// Sets what follows from the rest.
    pub fn summarize(&mut self) {
        self.last_use_time = self.last_sign().map(|(_, time)| Time(time));
        let signs: Vec<_> = self.signs_at_once().collect();
        self.awake = (!signs.is_empty()).then(|| signs.join(", "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_it_awake_is_what_was_there_at_the_last_look() {
        let at = |second: i64| Some(Time(Timestamp::from_second(1_800_000_000 + second).unwrap()));
        let mut activity = Activity {
            observed_time: at(0),
            last_cpu_time: at(-10),
            last_input_time: at(-60),
            last_disk_time: at(-91),
            ..Activity::default()
        };
        activity.summarize();
        assert_eq!(activity.awake.as_deref(), Some("CPU, keystrokes"));
        assert_eq!(activity.last_use_time, at(-10));
        assert_eq!(activity.last_sign().unwrap().0, "CPU");
        activity.observed_time = at(300);
        activity.summarize();
        assert_eq!((activity.awake, activity.last_use_time), (None, at(-10)));
    }
}
