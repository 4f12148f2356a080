//! Names → addresses, as the pod's resolv.conf and hosts tell. The static libc's own look-up would load libraries of
//! the image, which may be any other's.

use std::io;
use std::net::IpAddr;

use hickory_resolver::TokioResolver;

/// The addresses of `host`, which may be one itself.
pub(super) async fn addresses(host: &str) -> io::Result<Vec<IpAddr>> {
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = literal.parse() {
        return Ok(vec![address]);
    }
    if host.eq_ignore_ascii_case("localhost") {
        return Ok(vec![std::net::Ipv4Addr::LOCALHOST.into(), std::net::Ipv6Addr::LOCALHOST.into()]);
    }
    // Read anew each time: kubelets change both files, and a connection costs more.
    let resolver = TokioResolver::builder_tokio().and_then(|builder| builder.build()).map_err(io::Error::other)?;
    let found = resolver.lookup_ip(host).await.map_err(io::Error::other)?;
    Ok(found.iter().collect())
}
