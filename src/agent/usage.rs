//! How a pod is used, in the words between the agent, which measures, and the bastion, which tells: and from when on
//! what is measured counts as use.

use serde::{Deserialize, Serialize};

/// How the pod is used: by everybody, and whatever carried it. What an agent does not tell is as if it never happened;
/// that it measures at all is seen by its telling of `gpu`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Activity {
    /// For how many seconds no session has begun; none if none ever did.
    pub session_seconds: Option<u64>,
    /// The same of what was typed on terminals, or sent to programs without one.
    pub input_seconds: Option<u64>,
    /// The same of what sessions' programs write.
    pub output_seconds: Option<u64>,
    /// The same of what goes over forwarded connections.
    pub forwarded_seconds: Option<u64>,
    /// The same of the processors.
    pub cpu_seconds: Option<u64>,
    /// The same of disks.
    pub disk_seconds: Option<u64>,
    /// The same of GPUs.
    pub gpu_seconds: Option<u64>,
    /// The same of Jupyter's kernels.
    pub kernel_seconds: Option<u64>,
    /// The most memory that was in use at once, in bytes.
    pub peak_memory: Option<u64>,
    /// For how many seconds the kernel has ended no program for want of memory; none if it never did.
    pub out_of_memory_seconds: Option<u64>,
    /// What is known of GPUs; none by an agent that measures nothing but its sessions.
    pub gpu: Option<Gpu>,
    /// Sessions' programs that run, shells that nobody looks at included.
    pub programs: u32,
    /// Connections that are forwarded.
    pub forwards: u32,
}

/// What is known of the use of GPUs.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub enum Gpu {
    /// There are none.
    None,
    /// The percentage of the time in which the busiest of them worked.
    Busy(u32),
    /// There are some, and nothing that tells.
    Unknown,
}

/// What happened in the course of a minute.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Minute {
    /// Sessions that began.
    pub sessions: u64,
    /// Bytes that were typed on terminals.
    pub typed: u64,
    /// Bytes that were sent to programs without a terminal.
    pub sent: u64,
    /// Bytes that sessions' programs wrote.
    pub written: u64,
    /// Bytes that went over forwarded connections, either way.
    pub forwarded: u64,
    /// Percent of one core.
    pub cpu: u64,
    /// Bytes a second that were read from disks and written to them.
    pub disk: u64,
    /// Bytes of memory that programs held at the end of it; none by an agent that does not tell.
    pub memory: Option<u64>,
    pub gpu: Option<Gpu>,
    /// Jupyter's kernels that were busy.
    pub kernels: u64,
}

/// The last hour, and how it is now.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct History {
    pub activity: Activity,
    /// The oldest first; the last of them is not over yet.
    pub minutes: Vec<Minute>,
}

/// What is sent to a program without a terminal, in bytes a minute: whoever types has a terminal, and editors that
/// speak to their server over stdin send signs of life all night.
pub const SENT: u64 = 64 << 10;
/// What goes over forwarded connections, in bytes a minute. An editor that nobody touches stays below a tenth of it;
/// one keystroke in it may be a tenth.
pub const FORWARDED: u64 = 64 << 10;
/// What sessions' programs write, in bytes a minute. A `top` that fills a large screen stays below it; a download does
/// not.
pub const WRITTEN: u64 = 1 << 20;
/// What processes take, in percent of one core.
pub const CPU: u64 = 10;
/// What processes read and write, in bytes a second.
pub const DISK: u64 = 1 << 20;
/// In percent. Memory of a GPU that is merely held is no use.
pub const GPU: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_of_before_is_understood() {
        let old = r#"{"input_seconds":3,"output_seconds":null,"forwarded_seconds":null,"programs":1,"forwards":0}"#;
        let activity: Activity = serde_json::from_str(old).unwrap();
        assert_eq!((activity.input_seconds, activity.programs, activity.gpu), (Some(3), 1, None));
        let younger: Minute = serde_json::from_str(r#"{"typed":1,"thoughts":7}"#).unwrap();
        assert_eq!((younger.typed, younger.cpu), (1, 0));
    }
}
