//! The last hour of a DevServer, for a person: what was seen, and when.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::activity::as_times;
use crate::agent::usage::{CPU, DISK, FORWARDED, GPU, Gpu, History, Minute, SENT, WRITTEN};
use crate::api::{DevServer, GpuUse};

/// How a DevServer is used.
#[derive(Clone, Debug)]
pub struct Usage {
    pub(super) server: Arc<DevServer>,
    /// None while it does not run.
    pub(super) history: Option<History>,
}

/// What programs take of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Percent of one core.
    pub cpu: u64,
    /// Bytes.
    pub memory: Option<u64>,
    /// Percent of the time in which the busiest worked.
    pub gpu: Option<u32>,
}

/// Minutes that are shown.
const HOUR: usize = 60;

impl Usage {
    /// In lines of 80 columns.
    pub fn explain(&self, now: Timestamp) -> String {
        let mut lines = vec![self.verdict(now)];
        if let Some(history) = &self.history {
            lines.push(String::new());
            lines.extend(table(history));
            lines.extend(["", LEGEND].map(str::to_owned));
        }
        lines.join("\n") + "\n"
    }

    /// What its programs took in the last minute that is over, and what they hold; none where its pod does not tell.
    pub fn taken(&self) -> Option<Taken> {
        let minutes = &self.history.as_ref()?.minutes;
        let now = minutes.last()?;
        let minute = minutes.iter().rev().nth(1).unwrap_or(now);
        let gpu = match minute.gpu.or(now.gpu) {
            Some(Gpu::Busy(percent)) => Some(percent),
            _ => None,
        };
        Some(Taken { cpu: minute.cpu, memory: now.memory, gpu })
    }

    fn verdict(&self, now: Timestamp) -> String {
        let name = self.server.name_any();
        let Some(history) = &self.history else {
            let status = self.server.status.clone().unwrap_or_default();
            let why = status.message.map(|message| format!(": {message}")).unwrap_or_default();
            return format!("{name} does not run ({:?}){why}", status.phase);
        };
        let activity = as_times(&history.activity, now);
        match (&activity.awake, activity.gpu, activity.last_sign()) {
            (Some(signs), ..) => format!("{name} is in use: {signs}"),
            (None, None, _) => {
                format!(
                    "{name}'s agent is old and measures sessions only, so it counts as in use; suspend and resume it for a new one"
                )
            }
            (None, Some(GpuUse::Unknown), _) => {
                format!("{name} has a GPU whose use nothing in it tells (NVML, nvidia-smi); it counts as in use")
            }
            (None, _, Some((sign, then))) => {
                let ago = now.duration_since(then);
                format!("{name} has been idle for {}; last sign of use: {sign}", length(ago))
            }
            (None, _, None) => format!("{name} is idle: no sign of use since it started"),
        }
    }
}

const LEGEND: &str = "Each column is one minute, the last one is now. ▂ is below what counts as use.";

type Line = (&'static str, fn(&Minute) -> Option<(u64, u64)>, Option<u64>);

/// A line for each sign: how much there was of it, minute by minute, and when it was last seen.
fn table(history: &History) -> Vec<String> {
    let last = &history.activity;
    // What was measured, and from how much on it counts.
    let lines: [Line; 9] = [
        ("keystrokes", |minute| Some((minute.typed, 1)), last.input_seconds),
        ("input", |minute| Some((minute.sent, SENT)), last.input_seconds),
        ("output", |minute| Some((minute.written, WRITTEN)), last.output_seconds),
        ("forwards", |minute| Some((minute.forwarded, FORWARDED)), last.forwarded_seconds),
        ("CPU", |minute| Some((minute.cpu, CPU)), last.cpu_seconds),
        ("disk", |minute| Some((minute.disk, DISK)), last.disk_seconds),
        ("GPU", gpu, last.gpu_seconds),
        ("kernels", |minute| Some((minute.kernels, 1)), last.kernel_seconds),
        ("logins", |minute| Some((minute.sessions, 1)), last.session_seconds),
    ];
    let of = |(name, measured, seconds): &Line| {
        let from = history.minutes.len().saturating_sub(HOUR);
        let bars: String = history.minutes[from..].iter().map(|minute| bar(measured(minute))).collect();
        let seen = match (*name, last.gpu) {
            ("GPU", Some(Gpu::None)) => "none".to_owned(),
            ("GPU", Some(Gpu::Unknown)) => "unknown".to_owned(),
            _ => seconds.map_or("never".to_owned(), ago),
        };
        format!("{name:<10} {bars:>HOUR$} {seen:>8}")
    };
    lines.iter().map(of).collect()
}

fn gpu(minute: &Minute) -> Option<(u64, u64)> {
    match minute.gpu? {
        Gpu::Busy(percent) => Some((percent.into(), GPU.into())),
        Gpu::None | Gpu::Unknown => None,
    }
}

/// One step for each doubling of what counts.
fn bar(measured: Option<(u64, u64)>) -> char {
    match measured {
        None => ' ',
        Some((0, _)) => '▁',
        Some((value, counts)) if value < counts => '▂',
        Some((value, counts)) => match value / counts {
            0..2 => '▄',
            2..4 => '▅',
            4..8 => '▆',
            8..16 => '▇',
            16.. => '█',
        },
    }
}

fn ago(seconds: u64) -> String {
    match seconds {
        0..60 => "now".to_owned(),
        _ => format!("{} ago", length(SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX)))),
    }
}

/// In the two largest units that matter to a person.
fn length(duration: SignedDuration) -> String {
    let minutes = duration.as_secs() / 60;
    match (minutes / 1_440, minutes / 60, minutes) {
        (0, 0, 0) => "less than 1m".to_owned(),
        (0, 0, minutes) => format!("{minutes}m"),
        (0, hours, minutes) => format!("{hours}h{:02}m", minutes % 60),
        (days, hours, _) => format!("{days}d{}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::usage::Activity;
    use crate::api::{DevServerSpec, DevServerStatus, Phase};

    fn now() -> Timestamp {
        "2027-01-15T08:00:00Z".parse().unwrap()
    }

    fn usage(activity: Activity, minutes: Vec<Minute>) -> Usage {
        let mut server = DevServer::new("dev", DevServerSpec::default());
        server.status = Some(DevServerStatus { phase: Phase::Running, ..DevServerStatus::default() });
        Usage { server: Arc::new(server), history: Some(History { activity, minutes }) }
    }

    fn with(mut usage: Usage, change: impl FnOnce(&mut DevServer)) -> Usage {
        change(Arc::make_mut(&mut usage.server));
        usage
    }

    fn idle() -> Usage {
        let activity = Activity { cpu_seconds: Some(2_520), gpu: Some(Gpu::None), programs: 1, ..Activity::default() };
        usage(activity, vec![Minute::default(); 3])
    }

    #[test]
    fn an_hour_is_a_line_for_each_sign() {
        let gpu = |percent| Some(Gpu::Busy(percent));
        let minutes = vec![
            Minute { cpu: 9, gpu: gpu(0), ..Minute::default() },
            Minute { cpu: 10, gpu: gpu(100), ..Minute::default() },
            Minute { cpu: 160, typed: 3, ..Minute::default() },
        ];
        let activity = Activity {
            cpu_seconds: Some(0),
            input_seconds: Some(59),
            gpu_seconds: Some(120),
            gpu: gpu(0),
            ..Activity::default()
        };
        let text = usage(activity, minutes).explain(now());
        let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        assert_eq!(text.lines().next(), Some("dev is in use: CPU, keystrokes"));
        assert_eq!(line("CPU"), format!("CPU        {}▂▄█      now", " ".repeat(57)));
        assert_eq!(line("GPU"), format!("GPU        {}▁█    2m ago", " ".repeat(57)));
        assert!(line("keystrokes").ends_with("▁▁▅      now") && line("disk").ends_with("▁▁▁    never"), "{text}");
        let width = text.lines().map(|line| line.chars().count()).max();
        assert!(width.unwrap() <= 80, "{text}");
    }

    #[test]
    fn what_is_taken_is_of_the_last_whole_minute() {
        let gpu = |percent| Some(Gpu::Busy(percent));
        let whole = Minute { cpu: 150, memory: Some(1), gpu: gpu(97), ..Minute::default() };
        let begun = Minute { cpu: 20, memory: Some(1 << 30), ..Minute::default() };
        let taken = |minutes| usage(Activity::default(), minutes).taken();
        let all = Some(Taken { cpu: 150, memory: Some(1 << 30), gpu: Some(97) });
        assert_eq!(taken(vec![Minute::default(), whole.clone(), begun]), all);
        assert_eq!(
            taken(vec![Minute { memory: None, ..whole }]),
            Some(Taken { cpu: 150, memory: None, gpu: Some(97) })
        );
        assert_eq!(taken(Vec::new()), None);
    }

    #[test]
    fn the_verdict_says_what_is_known() {
        let first = |usage: &Usage| usage.explain(now()).lines().take(2).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(first(&idle()), ["dev has been idle for 42m; last sign of use: CPU", ""]);
        let unknown = usage(Activity { gpu: Some(Gpu::Unknown), ..Activity::default() }, Vec::new());
        assert!(first(&unknown)[0].contains("counts as in use") && unknown.explain(now()).contains(" unknown\n"));
        let old = usage(Activity::default(), Vec::new());
        assert!(first(&old)[0].contains("measures sessions only"));
        let asleep = with(Usage { history: None, ..idle() }, |server| {
            let status = server.status.as_mut().unwrap();
            (status.phase, status.message) = (Phase::Suspended, Some("nobody used it".to_owned()));
        });
        assert_eq!(asleep.explain(now()), "dev does not run (Suspended): nobody used it\n");
    }

    #[test]
    fn times_are_short() {
        let of = |seconds| length(SignedDuration::from_secs(seconds));
        assert_eq!([of(59), of(60), of(3_900), of(90_000)], ["less than 1m", "1m", "1h05m", "1d1h"]);
        assert_eq!([ago(59), ago(60)], ["now", "1m ago"]);
    }
}
