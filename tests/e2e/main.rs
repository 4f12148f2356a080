//! The product driven from outside, with real clients: on the embedded cluster, or, with
//! `BASTION_TEST_CLUSTER=real` and KUBECONFIG, on a real one. `scripts/test` runs it.

// A test that cannot go on panics; that is how it fails.
#![allow(clippy::unwrap_used)]

mod harness;

mod activity;
mod admission;
mod api_calls;
mod bad_weather;
mod beyond_a_jump;
mod carrier;
mod certificates;
mod clients;
mod cluster_rights;
mod code_hosts;
mod command_line;
mod deploy;
mod dev;
mod devctl;
mod devctl_laptop;
mod devservers;
mod ends;
mod events;
mod exec;
mod explanations;
mod files;
mod first_login;
mod first_process;
mod flavors;
mod forward_wakes;
mod forwards;
mod host_keys;
mod ides;
mod idle;
mod interactive;
mod jump;
mod key_files;
mod lifecycle;
mod limits;
mod logins;
mod long_sessions;
mod memory;
mod narrow_pods;
mod neighbours;
mod no_agent;
mod no_terminal;
mod operators;
mod outages;
mod permits;
mod pod_security;
mod policy;
mod provisioning;
mod readme;
mod replaced_pods;
mod replicas;
mod resilience;
mod revocation;
mod scp;
mod screens;
mod security_keys;
mod sftp;
mod sharing;
mod shells;
mod signs_of_life;
mod sources;
mod startup;
mod team_volume;
mod teams;
mod telemetry;
mod tenancy;
mod unreadable;
mod upgrade;
mod uploads;
mod users;
mod x11;
