//! Wakes a DevServer that sleeps, in its owner's name: she may change it, and this server's own account need not.

use http::HeaderValue;
use kube::Resource;
use kube::api::{Patch, PatchParams};
use kube::core::Request;
use serde_json::json;
use tracing::info;

use super::Error;
use crate::api::{DevServer, names};

/// Takes back that `user`'s DevServer `name` is to sleep. Returns the generation of the spec that says so; none if it is
/// not there.
pub(super) async fn wake(client: &kube::Client, user: &str, name: &str) -> Result<Option<i64>, Error> {
    let patch = json!({ "spec": { "lifecycle": { "suspended": false } } });
    let params = PatchParams { field_manager: Some(names::FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let path = DevServer::url_path(&(), Some(&names::namespace(user)));
    let request = Request::new(path).patch(name, &params, &Patch::Merge(patch));
    let mut request = request.map_err(|error| Error::Api(kube::Error::BuildRequest(error)))?;
    let account = HeaderValue::from_str(&names::service_account_username(user));
    let account = account.map_err(|_| Error::Protocol("a user whose name is no header"))?;
    request.headers_mut().insert("Impersonate-User", account);
    match client.request::<DevServer>(request).await {
        Ok(woken) => {
            info!(user, devserver = name, "woken");
            Ok(Some(woken.metadata.generation.unwrap_or_default()))
        }
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(kube::Error::Api(status)) => {
            Err(Error::NotWoken { name: name.to_owned(), message: status.message.clone() })
        }
        Err(error) => Err(Error::Api(error)),
    }
}

/// Whether it is to sleep.
pub(super) fn sleeps(server: &DevServer) -> bool {
    server.spec.lifecycle.as_ref().is_some_and(|lifecycle| lifecycle.suspended)
}
