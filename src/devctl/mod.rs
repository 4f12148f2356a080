//! `devctl`: DevServers from the command line.

pub mod laptop;
