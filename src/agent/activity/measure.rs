//! From what is seen at each look to signs of use, and to an hour of minutes. Pure: the time is passed in.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::counts::Counts;
use super::kernels::Kernels;
use super::last::Lasts;
use super::processes::Taken;
use super::window::Window;
use crate::agent::usage::{Activity, CPU, DISK, FORWARDED, GPU, Gpu, Minute, SENT, WRITTEN};

/// What all that only grows has come to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sample {
    sessions: u64,
    typed: u64,
    sent: u64,
    written: u64,
    forwarded: u64,
    taken: Taken,
}

impl Sample {
    pub(super) fn of(counts: &Counts, taken: Taken) -> Self {
        Self {
            sessions: counts.sessions.get(),
            typed: counts.typed.get(),
            sent: counts.sent.get(),
            written: counts.written.get(),
            forwarded: counts.forwarded.get(),
            taken,
        }
    }
}

pub(super) struct Measured {
    began: Instant,
    pub(super) last: Lasts,
    gpu: Option<Gpu>,
    sessions: Window,
    typed: Window,
    sent: Window,
    written: Window,
    forwarded: Window,
    cpu: Window,
    disk: Window,
    /// Those that are over, of the last hour.
    minutes: VecDeque<Minute>,
    /// The one that is not: processors in hundredths of a second, disks in bytes.
    current: Minute,
    looks: usize,
    /// Looks in a minute.
    ticks: usize,
}

const HOUR: usize = 60;
/// A minute, in seconds.
const MINUTE: u64 = 60;

impl Measured {
    /// For one look in each `tick`.
    pub(super) fn new(began: Instant, tick: Duration) -> Self {
        let ticks = usize::try_from(MINUTE / tick.as_secs().clamp(1, MINUTE)).unwrap_or(1);
        let window = || Window::new(ticks);
        Self {
            began,
            last: Lasts::default(),
            gpu: None,
            sessions: window(),
            typed: window(),
            sent: window(),
            written: window(),
            forwarded: window(),
            cpu: window(),
            disk: window(),
            minutes: VecDeque::with_capacity(HOUR),
            current: Minute::default(),
            looks: 0,
            ticks,
        }
    }

    /// The look of each tick.
    pub(super) fn take(&mut self, sample: &Sample, now: Instant) {
        if self.looks == self.ticks {
            if self.minutes.len() == HOUR {
                self.minutes.pop_front();
            }
            self.minutes.push_back(told(std::mem::take(&mut self.current)));
            self.looks = 0;
        }
        self.looks += 1;
        let minute = &mut self.current;
        minute.sessions += self.sessions.take(sample.sessions);
        minute.typed += self.typed.take(sample.typed);
        minute.sent += self.sent.take(sample.sent);
        minute.written += self.written.take(sample.written);
        minute.forwarded += self.forwarded.take(sample.forwarded);
        minute.cpu += self.cpu.take(sample.taken.cpu);
        minute.disk += self.disk.take(sample.taken.disk);
        minute.memory = Some(sample.taken.memory);
        let last = &mut self.last;
        last.input.set_if(self.sent.in_a_minute() >= SENT, now);
        last.output.set_if(self.written.in_a_minute() >= WRITTEN, now);
        last.forwarded.set_if(self.forwarded.in_a_minute() >= FORWARDED, now);
        last.cpu.set_if(self.cpu.in_a_minute() >= CPU * MINUTE, now);
        last.disk.set_if(self.disk.in_a_minute() >= DISK * MINUTE, now);
    }

    /// The look of some ticks, after that.
    pub(super) fn take_far(&mut self, gpu: Gpu, kernels: Kernels, now: Instant) {
        self.gpu = Some(gpu);
        let busier = match (self.current.gpu, gpu) {
            (Some(Gpu::Busy(one)), Gpu::Busy(other)) => Gpu::Busy(one.max(other)),
            (_, gpu) => gpu,
        };
        self.current.gpu = Some(busier);
        self.last.gpu.set_if(matches!(gpu, Gpu::Busy(percent) if percent >= GPU), now);
        self.current.kernels = self.current.kernels.max(kernels.busy);
        self.last.kernel.set_if(kernels.busy > 0, now);
        if let Some(ago) = kernels.active_ago {
            self.last.kernel.set_ago(ago, self.began, now);
        }
    }

    pub(super) fn activity(&self, counts: &Counts, now: Instant) -> Activity {
        let last = &self.last;
        Activity {
            session_seconds: last.session.seconds(now),
            input_seconds: last.input.seconds(now),
            output_seconds: last.output.seconds(now),
            forwarded_seconds: last.forwarded.seconds(now),
            cpu_seconds: last.cpu.seconds(now),
            disk_seconds: last.disk.seconds(now),
            gpu_seconds: last.gpu.seconds(now),
            kernel_seconds: last.kernel.seconds(now),
            gpu: self.gpu,
            programs: counts.programs.load(Ordering::Relaxed),
            forwards: counts.forwards.load(Ordering::Relaxed),
            ..Activity::default()
        }
    }

    pub(super) fn minutes(&self) -> Vec<Minute> {
        self.minutes.iter().cloned().chain([told(self.current.clone())]).collect()
    }
}

/// In the units that are told.
fn told(minute: Minute) -> Minute {
    Minute { cpu: minute.cpu / MINUTE, disk: minute.disk / MINUTE, ..minute }
}

#[cfg(test)]
mod tests {
    use super::super::TICK;
    use super::*;

    struct Pod {
        measured: Measured,
        sample: Sample,
        now: Instant,
    }

    impl Pod {
        fn new() -> Self {
            let now = Instant::now();
            let mut pod = Self { measured: Measured::new(now, TICK), sample: Sample::default(), now };
            pod.goes_on(1, |_| {});
            pod
        }

        fn goes_on(&mut self, ticks: usize, mut work: impl FnMut(&mut Sample)) {
            for _ in 0..ticks {
                self.now += TICK;
                work(&mut self.sample);
                self.measured.take(&self.sample, self.now);
            }
        }

        fn activity(&self) -> Activity {
            self.measured.activity(&Counts::default(), self.now)
        }
    }

    /// What an editor that nobody touches, a prompt with a clock and a `top` do in a quarter of a minute.
    fn hums(sample: &mut Sample) {
        sample.sent += 2_000;
        sample.forwarded += 3_000;
        sample.written += 50_000;
        sample.taken.cpu += 60;
        sample.taken.disk += 3 << 20;
    }

    #[test]
    fn a_hum_is_no_use_for_however_long() {
        let mut pod = Pod::new();
        pod.goes_on(4 * 60 * 10, hums);
        let nothing = Activity::default();
        assert_eq!(pod.activity(), nothing);
    }

    #[test]
    fn each_sign_counts_alone_and_tells_when_it_was_last_seen() {
        type Case = (fn(&mut Sample), fn(&Activity) -> Option<u64>);
        let cases: [Case; 5] = [
            (|sample| sample.sent += 17_000, |activity| activity.input_seconds),
            (|sample| sample.written += 300_000, |activity| activity.output_seconds),
            (|sample| sample.forwarded += 17_000, |activity| activity.forwarded_seconds),
            (|sample| sample.taken.cpu += 160, |activity| activity.cpu_seconds),
            (|sample| sample.taken.disk += 16 << 20, |activity| activity.disk_seconds),
        ];
        for (number, (work, seconds)) in cases.into_iter().enumerate() {
            let mut pod = Pod::new();
            pod.goes_on(3, work);
            assert_eq!(seconds(&pod.activity()), None, "{number}: not yet");
            pod.goes_on(8, work);
            assert_eq!(seconds(&pod.activity()), Some(0), "{number}");
            pod.goes_on(40, |_| {});
            assert_eq!(seconds(&pod.activity()), Some(40 * 15), "{number}");
        }
    }

    #[test]
    fn one_burst_in_a_quarter_of_a_minute_is_enough() {
        let mut pod = Pod::new();
        pod.goes_on(1, |sample| sample.taken.cpu += 1_500);
        assert_eq!(pod.activity().cpu_seconds, Some(0));
    }

    #[test]
    fn gpus_and_kernels_count_while_busy() {
        let mut pod = Pod::new();
        let busy = Kernels { busy: 1, active_ago: None };
        pod.measured.take_far(Gpu::Busy(4), Kernels::default(), pod.now);
        assert_eq!((pod.activity().gpu_seconds, pod.activity().kernel_seconds), (None, None));
        pod.measured.take_far(Gpu::Busy(97), busy, pod.now);
        assert_eq!((pod.activity().gpu_seconds, pod.activity().kernel_seconds), (Some(0), Some(0)));
        pod.goes_on(8, |_| {});
        pod.measured.take_far(Gpu::Unknown, Kernels { busy: 0, active_ago: Some(Duration::from_secs(30)) }, pod.now);
        let activity = pod.activity();
        assert_eq!((activity.gpu, activity.gpu_seconds), (Some(Gpu::Unknown), Some(120)));
        assert_eq!(activity.kernel_seconds, Some(30), "what a kernel did since the last look");
        let before = Kernels { busy: 0, active_ago: Some(Duration::from_hours(1)) };
        let mut pod = Pod::new();
        pod.measured.take_far(Gpu::None, before, pod.now);
        assert_eq!(pod.activity().kernel_seconds, None, "before this pod began");
    }

    #[test]
    fn a_minute_is_one_however_often_it_is_looked() {
        let mut pod = Pod::new();
        pod.measured = Measured::new(pod.now, Duration::from_secs(1));
        pod.goes_on(300, |sample| sample.taken.cpu += 9);
        assert_eq!((pod.activity().cpu_seconds, pod.measured.minutes()[1].cpu), (None, 9));
        pod.goes_on(60, |sample| sample.taken.cpu += 11);
        assert_eq!(pod.activity().cpu_seconds, Some(0));
    }

    #[test]
    fn an_hour_is_kept_minute_by_minute() {
        let mut pod = Pod::new();
        pod.goes_on(4 * 90, |sample| sample.taken.cpu += 1_500);
        pod.goes_on(4, |sample| sample.typed += 1);
        let minutes = pod.measured.minutes();
        assert_eq!(minutes.len(), HOUR + 1);
        assert_eq!((minutes[10].cpu, minutes[10].typed), (100, 0));
        assert_eq!(minutes[HOUR - 1..].iter().map(|minute| minute.typed).sum::<u64>(), 4);
    }
}
