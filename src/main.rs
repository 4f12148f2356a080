//! The server's binary. The subcommand picks the role.

#[cfg(feature = "embedded")]
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use bastion::config::Config;
use bastion::{api, app, shutdown, telemetry};
use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

/// The SSH front door to GPU pods on Kubernetes
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Run everything in this process, on an embedded cluster; prints the ssh command to paste
    #[cfg(feature = "embedded")]
    Dev(Dev),
    /// Run the SSH server on a Kubernetes cluster (KUBECONFIG, or the one this runs in)
    Serve(ConfigFile),
    /// Run the operator on a Kubernetes cluster (KUBECONFIG, or the one this runs in)
    Operator(ConfigFile),
    /// Print the custom resource definitions, for kubectl apply
    Crds,
    /// Print a completion script for a shell
    Completion { shell: Shell },
}

#[derive(Args)]
struct ConfigFile {
    /// Settings that overlay the defaults (see config/default.toml)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[cfg(feature = "embedded")]
#[derive(Args)]
struct Dev {
    /// Where to accept SSH; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:2222")]
    listen: SocketAddr,
    /// Where everything is kept [default: bastion under XDG_DATA_HOME or ~/.local/share]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// A user and her public keys; may be given again [default: you, with your own keys]
    #[arg(long = "user", value_name = "NAME=PUBLIC_KEY_FILE", value_parser = parse_user)]
    users: Vec<(String, PathBuf)>,
    #[command(flatten)]
    config: ConfigFile,
}

fn main() -> ExitCode {
    match run(Arguments::parse().role) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bastion: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stdout, reason = "what these commands are for")]
fn run(role: Role) -> Result<()> {
    match role {
        #[cfg(feature = "embedded")]
        Role::Dev(dev) => {
            let data = match dev.data {
                Some(data) => std::path::absolute(data)?,
                None => default_data()?,
            };
            let options = app::DevOptions { listen: dev.listen, data, users: dev.users };
            let config = load(&[options.settings()], &dev.config)?;
            block_on(async { app::dev(options, config, shutdown::on_signal()?).await })
        }
        Role::Serve(file) => {
            let config = load(&[], &file)?;
            block_on(async { app::serve(config, shutdown::on_signal()?).await })
        }
        Role::Operator(file) => {
            let config = load(&[], &file)?;
            block_on(async { app::operate(config, shutdown::on_signal()?).await })
        }
        Role::Crds => {
            print!("{}", api::crds_yaml());
            Ok(())
        }
        Role::Completion { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "bastion", &mut std::io::stdout());
            Ok(())
        }
    }
}

fn load(layers: &[toml::Table], file: &ConfigFile) -> Result<Config> {
    let config = Config::load(layers, file.config.as_deref(), std::env::vars())?;
    telemetry::init_log(&config.log)
        .context("log.filter is not a valid filter (such as \"info\" or \"bastion=debug,warn\")")?;
    Ok(config)
}

fn block_on(role: impl Future<Output = Result<()>>) -> Result<()> {
    // Programs, an API server or other replicas share the cores, and each worker that is woken for a packet's next step
    // costs more than it brings: measured on two cores, one worker uploads a fifth more.
    let workers = std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2));
    tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()?.block_on(role)
}

#[cfg(feature = "embedded")]
fn default_data() -> Result<PathBuf> {
    let absolute = |path: &PathBuf| path.is_absolute();
    let base = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(absolute);
    let base = base.or_else(|| Some(std::env::home_dir()?.join(".local/share")));
    Ok(base.context("no home folder: give --data DIR")?.join("bastion"))
}

#[cfg(feature = "embedded")]
fn parse_user(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => Ok((name.to_owned(), file.into())),
        _ => Err("expected NAME=PUBLIC_KEY_FILE".to_owned()),
    }
}
