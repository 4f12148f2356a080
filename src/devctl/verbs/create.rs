//! `devctl create`.

use kube::ResourceExt;
use kube::api::PostParams;

use super::spec::Settings;
use super::{extend, flavors, home, resume};
use crate::api::{DevServer, DevServerSpec, names};
use crate::devctl::output::{self, OutputArgs};
use crate::devctl::{Caller, Error, time, wait};

#[derive(clap::Args)]
pub struct Args {
    /// What it is called: lower-case letters, digits and inner hyphens
    name: Option<String>,
    /// Wait until it runs, and show what it waits for
    #[arg(long, short)]
    wait: bool,
    #[command(flatten)]
    waiting: resume::Waiting,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    home: home::Kind,
}

impl Args {
    pub(super) async fn run(mut self, caller: &mut Caller) -> Result<(), Error> {
        let name = match self.name.take().or_else(|| caller.devserver.clone().filter(|_| caller.chosen)) {
            Some(name) => name,
            None if caller.is_on_terminal() => {
                let name = self.ask(caller).await?;
                self.wait = true;
                name
            }
            None => {
                return Err(Error::usage("name it: devctl create NAME; `devctl help create` tells what else it takes"));
            }
        };
        if !names::is_devserver_name(&name) {
            return Err(Error::usage(format!(
                "a name has 1 to {} lower-case letters, digits and inner hyphens",
                names::MAX_DEVSERVER_LENGTH
            )));
        }
        self.settings.read(caller).await?;
        let is_timed = self.settings.time.is_some();
        let mut spec = self.settings.applied_to(DevServerSpec::default());
        self.home.apply_to(&mut spec);
        let parameters = PostParams { field_manager: Some(crate::devctl::NAME.to_owned()), ..PostParams::default() };
        let created = caller.api().create(&parameters, &DevServer::new(&name, spec)).await;
        let server = match created {
            Ok(server) => server,
            Err(kube::Error::Api(status)) if status.code == 409 => {
                return Err(Error::failed(format!(
                    "you already have a DevServer `{name}`; `devctl update {name}` changes it, `devctl describe {name}` tells about it"
                )));
            }
            Err(error) => return Err(Error::of_api(error)),
        };
        if self.output.format.is_table() {
            caller.say(&format!("`{name}` was created.")).await;
        }
        if !self.wait {
            output::changed(caller, self.output.format, &server).await?;
            if self.output.format.is_table() {
                caller.say(&format!("It starts; `devctl ssh {name}` waits for it and enters it.")).await;
            }
            return Ok(());
        }
        let generation = server.metadata.generation.unwrap_or_default();
        let runs = wait::until_running(caller, &name, generation, self.waiting.limit()).await;
        // As it is now.
        let server = caller.devserver(&name).await.unwrap_or(server);
        output::changed(caller, self.output.format, &server).await?;
        runs?;
        caller.say(&format!("`{name}` runs; `devctl ssh {name}` enters it.")).await;
        if let Some(less) = extend::cut_short(&server, caller.now()).filter(|_| is_timed) {
            caller.say(&less).await;
        }
        Ok(())
    }

    /// Asks for what was not said.
    async fn ask(&mut self, caller: &mut Caller) -> Result<String, Error> {
        let name = loop {
            match caller.ask("Name: ").await? {
                Some(name) if names::is_devserver_name(&name) => break name,
                Some(_) => caller.say("A name has lower-case letters, digits and inner hyphens.").await,
                None => return Err(Error::failed("nothing was created")),
            }
        };
        if self.settings.flavor.is_none() {
            self.settings.flavor = ask_flavor(caller).await?;
        }
        if self.settings.image.is_none() {
            let image = answer(caller, "Image [the default]: ").await?;
            self.settings.image = image;
        }
        while self.settings.time.is_none() {
            let Some(time) = answer(caller, "For how long, such as 4h [the default]: ").await? else {
                break;
            };
            match time::parse(&time) {
                Ok(time) => self.settings.time = Some(time),
                Err(why) => caller.say(&why).await,
            }
        }
        Ok(name)
    }
}

async fn ask_flavor(caller: &mut Caller) -> Result<Option<String>, Error> {
    let flavors = flavors::fetch(caller).await?;
    if flavors.is_empty() {
        return Ok(None);
    }
    let table = flavors::table(&flavors, false).render(caller.columns(), caller.streams.colour);
    caller.err(&table).await;
    loop {
        match answer(caller, "Flavor [the default]: ").await? {
            Some(name) if flavors.iter().any(|flavor| flavor.name_any() == name) => return Ok(Some(name)),
            Some(_) => caller.say("There is no such flavor.").await,
            None => return Ok(None),
        }
    }
}

/// What is answered; none for the default.
async fn answer(caller: &mut Caller, question: &str) -> Result<Option<String>, Error> {
    match caller.ask(question).await? {
        Some(text) if text.is_empty() => Ok(None),
        Some(text) => Ok(Some(text)),
        None => Err(Error::failed("nothing was created")),
    }
}
