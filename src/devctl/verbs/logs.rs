//! `devctl logs`.

use bytes::Bytes;
use futures::{AsyncReadExt, TryFutureExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;

use super::list::phase;
use crate::api::{DevServer, Phase, names};
use crate::devctl::{Caller, Error};
use crate::plain::plain;

#[derive(clap::Args)]
pub struct Args {
    /// The DevServer [default: the one you logged in to]
    name: Option<String>,
    /// Go on with what is written, until Ctrl-C
    #[arg(long, short)]
    follow: bool,
    /// Show the container before this one, such as one that ran out of memory
    #[arg(long, short)]
    previous: bool,
    /// Only so many of the last lines
    #[arg(long, value_name = "LINES")]
    tail: Option<u32>,
}

impl Args {
    pub(super) async fn run(self, caller: &mut Caller) -> Result<(), Error> {
        let name = caller.name(self.name)?;
        let server = caller.devserver(&name).await?;
        let parameters = LogParams {
            container: Some(names::CONTAINER.to_owned()),
            follow: self.follow,
            previous: self.previous,
            tail_lines: self.tail.map(i64::from),
            ..LogParams::default()
        };
        // A pod has the name of its DevServer, also before its status says so.
        let pods = caller.api::<Pod>();
        let opened = pods.log_stream(&name, &parameters).map_err(|error| explain(&name, &server, self.previous, error));
        let interrupted = caller.streams.interrupted.clone();
        let mut log = tokio::select! {
            biased;
            () = interrupted.cancelled() => return Err(Error::stopped()),
            log = opened => log?,
        };
        let mut buffer = vec![0; 32 * 1024];
        loop {
            let read = tokio::select! {
                biased;
                () = interrupted.cancelled() => return Err(Error::stopped()),
                read = log.read(&mut buffer) => read,
            };
            match read {
                Ok(0) => return Ok(()),
                Ok(count) => caller.print_bytes(Bytes::copy_from_slice(&buffer[..count])).await,
                Err(error) => return Err(Error::failed(format!("the log broke off ({error}); run the command again"))),
            }
        }
    }
}

fn explain(name: &str, server: &DevServer, previous: bool, error: kube::Error) -> Error {
    match error {
        kube::Error::Api(status) if status.code == 404 && phase(server) == Phase::Suspended => {
            Error::not_found(format!("`{name}` is suspended and has no pod; `devctl resume {name}` resumes it"))
        }
        kube::Error::Api(status) if status.code == 404 => {
            Error::not_found(format!("`{name}` has no pod yet; `devctl why {name}` tells what it waits for"))
        }
        kube::Error::Api(status) if status.code == 400 && previous => {
            Error::not_found(format!("`{name}` has had no container before this one"))
        }
        kube::Error::Api(status) if status.code == 400 => Error::failed(format!(
            "`{name}` has written nothing yet ({}); `devctl why {name}` tells what it waits for",
            plain(&status.message)
        )),
        error => Error::of_api(error),
    }
}
