//! bastion: the SSH front door, and the platform behind it, for people who do GPU work on Kubernetes.
//!
//! A login goes [`ssh`] (the protocol) → [`identity`] (who is this?) → [`workspace`] (where do they go?), which asks
//! [`provisioning`] for what is missing and waits until the [`operator`] has made the pod. `ssh` and `operator` never
//! call each other: they meet in the objects of [`api`]. In the pod an [`agent`] runs the session's program; one exec
//! stream to it carries all of a pod's sessions ([`carrier`]). What people ask of the bastion itself is answered by
//! [`devctl`]. [`app`] puts the parts together for each role of the binary.
//!
//! What the cluster says of users and DevServers is kept current in [`cache`], by [`watch`]es that one bad object
//! cannot end; who acts for a user does so through [`impersonation`]. `minik8s` is the embedded cluster, and `fuzzing`
//! feeds any bytes to what reads the words of others. [`config`], [`telemetry`] and [`shutdown`] are the process's; a
//! [`crowd`] bounds who may be at one of its doors at once, and [`plain`] is what of others' words a terminal may get.

pub mod agent;
pub mod api;
pub mod app;
pub mod cache;
pub mod carrier;
pub mod config;
pub mod crowd;
pub mod devctl;
pub mod event;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod identity;
pub mod impersonation;
#[cfg(feature = "embedded")]
pub mod minik8s;
pub mod operator;
pub mod plain;
pub mod provisioning;
pub mod shutdown;
pub mod ssh;
pub mod telemetry;
pub mod watch;
pub mod workspace;
