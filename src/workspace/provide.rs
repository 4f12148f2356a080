//! Makes what a user has before she has a pod: her object, her namespace and rights, her default DevServer.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use tokio::time::Instant;
use tracing::info;

use super::{Error, Progress, Workspaces};
use crate::api::user::UserPhase;
use crate::api::{DevServerUser, DevServerUserSpec, names};
use crate::identity::Identity;
use crate::provisioning::{self, Quotas};

impl Workspaces {
    /// Makes her account and all that is around it, if she has none yet. Returns whether it did.
    pub async fn provide(&self, identity: &Identity) -> Result<bool, Error> {
        let user = identity.user();
        let is_ready =
            |object: &DevServerUser| object.status.as_ref().is_some_and(|status| status.phase == UserPhase::Ready);
        let provisioning = self.provisioning_of.entry(user.to_owned()).or_default().clone();
        let _one_at_a_time = provisioning.lock().await;
        match self.cache.user(user) {
            Some(object) if is_ready(&object) => Ok(false),
            _ => self.provision_user(user, &|_| {}).await.map(|_| true),
        }
    }

    /// Makes all that a first login needs, the default DevServer `name` last.
    pub(super) async fn provision(&self, user: &str, name: &str, progress: Progress<'_>) -> Result<(), Error> {
        let began = Instant::now();
        let provisioning = self.provisioning_of.entry(user.to_owned()).or_default().clone();
        let _one_at_a_time = provisioning.lock().await;
        if self.cache.devserver(user, name).is_some() {
            return Ok(());
        }
        let object = self.provision_user(user, progress).await?;
        let server = provisioning::default_devserver(&object, name);
        // Create, never overwrite: another replica may have made it, and its owner changed it.
        match self.devservers(user).create(&PostParams::default(), &server).await {
            Ok(_) => info!(user, devserver = name, elapsed = ?began.elapsed(), "provisioned"),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(Error::of_making("DevServer", error)),
        }
        Ok(())
    }

    /// Makes her namespace and her rights.
    pub(super) async fn provision_user(&self, user: &str, progress: Progress<'_>) -> Result<DevServerUser, Error> {
        progress("setting up your namespace");
        let object = match self.cache.user(user) {
            Some(object) => object,
            None => Arc::new(self.create_user(user).await?),
        };
        let object = self.cache.with_teams(&object);
        // It might be her team that says what hers are.
        let quotas = if self.cache.has_unreadable_team() { Quotas::Kept } else { Quotas::Known };
        provisioning::ensure_user(&self.client, &object, quotas, &self.provisioning, progress).await?;
        Ok(object)
    }

    /// A user known only by a key file gets an object, so that the operator and administrators see her.
    async fn create_user(&self, user: &str) -> Result<DevServerUser, Error> {
        let object = DevServerUser {
            metadata: ObjectMeta { name: Some(user.to_owned()), ..ObjectMeta::default() },
            spec: DevServerUserSpec::default(),
            status: None,
        };
        // An empty spec of our own: applying it takes nothing away from whoever fills it in meanwhile.
        let users: Api<DevServerUser> = Api::all(self.client.clone());
        let made = users.patch(user, &PatchParams::apply(names::FIELD_MANAGER), &Patch::Apply(&object)).await;
        made.map_err(|error| Error::of_making("account", error))
    }
}
