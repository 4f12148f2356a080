//! A display in the pod that stands for the user's (RFC 4254 §6.3), as sshd makes one: X clients find it by `DISPLAY`,
//! and by `XAUTHORITY` what they have to show there. No program of the image's is needed for it.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::task::AbortOnDropHandle;

use super::listen::{Listener, PrivateFolder, accept, bind};
use crate::agent::request::X11;
use crate::carrier::Carrier;

/// As sshd: the first ten are left to X servers of the pod's own.
const FIRST: u16 = 10;
const LAST: u16 = 999;
/// Where display 0 listens.
const PORT: u16 = 6000;
/// Families of addresses in an authority file (Xauth(3)): a host by its name, and any.
const LOCAL: u16 = 256;
const WILD: u16 = 65535;

pub(in crate::agent) struct Display {
    number: u16,
    folder: PrivateFolder,
    lead: Arc<Mutex<Option<Arc<Lead>>>>,
    _accepting: Vec<AbortOnDropHandle<()>>,
}

/// Who gets what connects.
struct Lead {
    listener: u64,
    carrier: Carrier,
    once: bool,
}

/// A display leads to somebody until this is dropped.
pub(in crate::agent) struct Leading {
    display: Arc<Mutex<Option<Arc<Lead>>>>,
    own: Arc<Lead>,
}

impl Display {
    /// Takes the first number that is free.
    pub(in crate::agent) fn open() -> io::Result<Self> {
        let (number, listeners) = (FIRST..=LAST)
            .find_map(|number| Some((number, listen(number)?)))
            .ok_or_else(|| io::Error::from(io::ErrorKind::AddrInUse))?;
        let (folder, lead) = (PrivateFolder::new()?, Arc::new(Mutex::new(None::<Arc<Lead>>)));
        let accepting = listeners.into_iter().map(|listener| {
            let lead = lead.clone();
            let next = move || {
                let mut lead = lock(&lead);
                let taken = if lead.as_ref()?.once { lead.take() } else { lead.clone() }?;
                Some((taken.listener, taken.carrier.clone()))
            };
            AbortOnDropHandle::new(tokio::spawn(accept(listener, next)))
        });
        let accepting = accepting.collect();
        Ok(Self { number, folder, lead, _accepting: accepting })
    }

    /// What X clients look for in their environment.
    pub(in crate::agent) fn variables(&self, screen: u32) -> [(String, String); 2] {
        let display = format!("localhost:{}.{screen}", self.number);
        let authority = self.authority().to_string_lossy().into_owned();
        [("DISPLAY".to_owned(), display), ("XAUTHORITY".to_owned(), authority)]
    }

    /// Hands who connects, and shows what `x11` says, to `listener`.
    pub(in crate::agent) fn lead(&self, x11: &X11, listener: u64, carrier: &Carrier) -> io::Result<Leading> {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        // Some clients look for the one, some for the other.
        let entries = [entry(LOCAL, host.trim(), self.number, x11)?, entry(WILD, "", self.number, x11)?];
        fs::write(self.authority(), entries.concat())?;
        let own = Arc::new(Lead { listener, carrier: carrier.clone(), once: x11.single_connection });
        *lock(&self.lead) = Some(own.clone());
        Ok(Leading { display: self.lead.clone(), own })
    }

    fn authority(&self) -> PathBuf {
        self.folder.path().join("Xauthority")
    }
}

impl Drop for Leading {
    fn drop(&mut self) {
        // Unless it leads to somebody else by now.
        lock(&self.display).take_if(|lead| Arc::ptr_eq(lead, &self.own));
    }
}

/// None if the number is taken.
fn listen(number: u16) -> Option<Vec<Listener>> {
    let port = PORT + number;
    let first = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let second = bind(SocketAddr::from((Ipv6Addr::LOCALHOST, port)));
    let taken = |bound: &io::Result<_>| bound.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse);
    if taken(&first) || taken(&second) {
        return None;
    }
    // A pod may lack either family.
    let listeners: Vec<Listener> = first.into_iter().chain(second).map(Listener::Tcp).collect();
    (!listeners.is_empty()).then_some(listeners)
}

/// One entry of an authority file.
fn entry(family: u16, address: &str, number: u16, x11: &X11) -> io::Result<Vec<u8>> {
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    let byte = |digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
    let cookie: Vec<u8> = x11.cookie.as_bytes().chunks(2).map(byte).collect::<Option<_>>().ok_or_else(malformed)?;
    let number = number.to_string();
    let mut entry = family.to_be_bytes().to_vec();
    for field in [address.as_bytes(), number.as_bytes(), x11.protocol.as_bytes(), &cookie] {
        let size = u16::try_from(field.len()).map_err(|_| malformed())?;
        entry.extend(size.to_be_bytes());
        entry.extend(field);
    }
    Ok(entry)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;
    use crate::carrier::Side;

    fn x11(single_connection: bool) -> X11 {
        let (protocol, cookie) = ("MIT-MAGIC-COOKIE-1".to_owned(), "00fF10".to_owned());
        X11 { single_connection, protocol, cookie, screen: 1 }
    }

    /// Whether somebody takes a connection, which is seen by its not being closed.
    async fn is_taken(display: &Display, carrier: &Carrier) -> bool {
        let streams = carrier.streams();
        let client = TcpStream::connect(("127.0.0.1", PORT + display.number)).await.unwrap();
        while carrier.streams() == streams {
            match client.try_read(&mut [0]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ => return false,
            }
            tokio::task::yield_now().await;
        }
        true
    }

    #[tokio::test]
    async fn a_display_leads_somewhere_while_somebody_has_it() {
        let (display, other) = (Display::open().unwrap(), Display::open().unwrap());
        assert_ne!(display.number, other.number);
        let (carrier, _incoming) = Carrier::new(Side::Agent, "one".into());
        assert!(!is_taken(&display, &carrier).await);
        let leading = display.lead(&x11(false), 1, &carrier).unwrap();
        assert!(is_taken(&display, &carrier).await && is_taken(&display, &carrier).await);
        let next = display.lead(&x11(false), 2, &carrier).unwrap();
        drop(leading);
        assert!(is_taken(&display, &carrier).await, "it leads to the next by now");
        drop(next);
        assert!(!is_taken(&display, &carrier).await);
    }

    #[tokio::test]
    async fn a_single_connection_is_the_last() {
        let display = Display::open().unwrap();
        let (carrier, _incoming) = Carrier::new(Side::Agent, "one".into());
        let _leading = display.lead(&x11(true), 1, &carrier).unwrap();
        assert!(is_taken(&display, &carrier).await);
        assert!(!is_taken(&display, &carrier).await);
    }

    #[tokio::test]
    async fn nothing_is_left_of_it() {
        let display = Display::open().unwrap();
        let (carrier, _incoming) = Carrier::new(Side::Agent, "one".into());
        let _leading = display.lead(&x11(false), 1, &carrier).unwrap();
        let [(_, name), (_, authority)] = display.variables(1);
        assert_eq!(name, format!("localhost:{}.1", display.number));
        let bytes = fs::read(&authority).unwrap();
        let end = format!("\0\x02{}\0\x12MIT-MAGIC-COOKIE-1\0\x03", display.number);
        let wild = [&[255, 255, 0, 0], end.as_bytes(), &[0, 255, 16]].concat();
        assert!(bytes.starts_with(&[1, 0]) && bytes.ends_with(&wild), "{bytes:?}");
        drop(display);
        assert!(!std::path::Path::new(&authority).parent().unwrap().exists());
    }

    #[test]
    fn what_is_no_cookie_is_refused() {
        for cookie in ["0g", "ä", &"00".repeat(70_000)] {
            let x11 = X11 { cookie: cookie.to_owned(), ..x11(false) };
            assert!(entry(WILD, "", 10, &x11).is_err());
        }
    }
}
