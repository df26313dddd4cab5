//! From a connected socket to an authenticated session: algorithms, host key, login.

use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use socket2::Socket;
use ssh2::{BlockDirections, ErrorCode, MethodType, Session};

use super::Settings;
use super::dial::{Failure, wait_for};
use super::keys::{self, HostKey, HostKeyPolicy};
use crate::monitor::Monitor;
use crate::shutdown::{LOOK, Shutdown};

/// libssh2's error codes that mean something to us (libssh2.h).
pub(super) mod code {
    pub(in crate::ssh) const KEX_FAILURE: i32 = -5;
    pub(in crate::ssh) const KEY_EXCHANGE_FAILURE: i32 = -8;
    pub(in crate::ssh) const METHOD_NONE: i32 = -17;
    pub(in crate::ssh) const AUTHENTICATION_FAILED: i32 = -18;
    pub(in crate::ssh) const PUBLICKEY_UNVERIFIED: i32 = -19;
    pub(in crate::ssh) const CHANNEL_FAILURE: i32 = -21;
    pub(in crate::ssh) const CHANNEL_REQUEST_DENIED: i32 = -22;
    pub(in crate::ssh) const SOCKET_SEND: i32 = -7;
    pub(in crate::ssh) const SOCKET_DISCONNECT: i32 = -13;
    pub(in crate::ssh) const EAGAIN: i32 = -37;
    pub(in crate::ssh) const SOCKET_RECV: i32 = -43;
}

/// The number of a libssh2 error.
pub(super) fn number(error: &ssh2::Error) -> i32 {
    match error.code() {
        ErrorCode::Session(number) | ErrorCode::SFTP(number) => number,
    }
}

/// Whether an error means "not now".
pub(super) fn would_block(error: &ssh2::Error) -> bool {
    number(error) == code::EAGAIN
}

/// AES-GCM is the fastest where the processor helps, which every vSphere host does; the rest
/// is for servers that lack it. CBC, RC4 and the like are never offered.
const CIPHERS: &str = "aes128-gcm@openssh.com,aes256-gcm@openssh.com,\
                       chacha20-poly1305@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr";
const MACS: &str = "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,\
                    hmac-sha2-256,hmac-sha2-512";

/// The key that an unpinned server showed first; it is held to it from then on.
pub(super) type Known = Arc<Mutex<Option<HostKey>>>;

/// Greets the server, checks its host key, and only then logs in.
///
/// The session that comes back never blocks.
pub(super) fn establish(
    settings: &Settings,
    socket: &Arc<Socket>,
    known: &Known,
    monitor: &dyn Monitor,
    shutdown: &Shutdown,
) -> Result<Session, Failure> {
    let key = keys::usable(&settings.key).map_err(|error| Failure::Lasting(error.to_string()))?;
    let address = &settings.address;
    let odd = |error: ssh2::Error| {
        Failure::Lasting(format!(
            "cannot set up SSH to {address}: {}",
            error.message()
        ))
    };
    let mut session = Session::new().map_err(odd)?;
    session.set_blocking(false);
    for (method, wanted) in [
        (MethodType::CryptCs, CIPHERS),
        (MethodType::CryptSc, CIPHERS),
        (MethodType::MacCs, MACS),
        (MethodType::MacSc, MACS),
    ] {
        session.method_pref(method, wanted).map_err(odd)?;
    }
    if let HostKeyPolicy::Exactly(expected) = &settings.host_key {
        let offered = expected
            .preference()
            .map_err(|error| Failure::Lasting(error.to_string()))?;
        session
            .method_pref(MethodType::HostKey, offered)
            .map_err(odd)?;
    }
    session.set_tcp_stream(Arc::clone(socket));
    let drive = Drive {
        session: session.clone(),
        socket,
        deadline: Instant::now() + settings.connect_timeout,
        shutdown,
    };
    drive
        .until(|| session.handshake())
        .map_err(|outcome| greeting_failed(settings, outcome))?;
    check_host_key(settings, &session, known, monitor)?;
    drive
        .until(|| session.userauth_pubkey_memory(&settings.user, None, key.expose(), None))
        .map_err(|outcome| login_failed(settings, outcome))?;
    if !session.authenticated() {
        return Err(login_failed(settings, Outcome::Refused));
    }
    Ok(session)
}

/// Why a step ended without a result.
enum Outcome {
    Error(ssh2::Error),
    Refused,
    TimedOut,
    Stopped,
}

struct Drive<'a> {
    session: Session,
    socket: &'a Arc<Socket>,
    deadline: Instant,
    shutdown: &'a Shutdown,
}

impl Drive<'_> {
    /// Repeats a step until it no longer says "not now".
    fn until<T>(&self, mut step: impl FnMut() -> Result<T, ssh2::Error>) -> Result<T, Outcome> {
        loop {
            match step() {
                Ok(done) => return Ok(done),
                Err(error) if would_block(&error) => {}
                Err(error) => return Err(Outcome::Error(error)),
            }
            if self.shutdown.is_raised() {
                return Err(Outcome::Stopped);
            }
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Outcome::TimedOut);
            }
            let ways = directions(&self.session);
            // A socket that cannot be waited for shows its error in the next step.
            drop(wait_for(self.socket.as_fd(), ways, left.min(LOOK)));
        }
    }
}

/// What a session that said "not now" waits for.
pub(super) fn directions(session: &Session) -> PollFlags {
    match session.block_directions() {
        BlockDirections::Outbound => PollFlags::OUT,
        BlockDirections::Both => PollFlags::IN | PollFlags::OUT,
        BlockDirections::Inbound | BlockDirections::None => PollFlags::IN,
    }
}

fn greeting_failed(settings: &Settings, outcome: Outcome) -> Failure {
    let address = &settings.address;
    match outcome {
        Outcome::Stopped => Failure::Stopped,
        Outcome::TimedOut => Failure::Passing(slow(settings, "greet us")),
        Outcome::Refused => Failure::Passing(format!("the SSH server at {address} refused us")),
        Outcome::Error(error)
            if matches!(
                number(&error),
                code::KEX_FAILURE | code::KEY_EXCHANGE_FAILURE | code::METHOD_NONE
            ) =>
        {
            let wanted = match &settings.host_key {
                HostKeyPolicy::Exactly(key) => format!(
                    ", most likely because it has no host key of type {}; check the expected \
                     host key",
                    key.kind()
                ),
                HostKeyPolicy::Any => "; its algorithms are too old or too new".to_owned(),
            };
            Failure::Lasting(format!(
                "the SSH server at {address} and we found no common algorithms ({}){wanted}",
                error.message()
            ))
        }
        Outcome::Error(error) => Failure::Passing(format!(
            "the server at {address} ended the SSH greeting ({}); check that it is an SSH server \
             and has connections left (MaxStartups in sshd_config)",
            error.message()
        )),
    }
}

fn slow(settings: &Settings, what: &str) -> String {
    format!(
        "the SSH server at {} did not {what} within {} s; check the VM's load, or restart it",
        settings.address,
        Duration::as_secs_f32(&settings.connect_timeout)
    )
}

fn login_failed(settings: &Settings, outcome: Outcome) -> Failure {
    let Settings { address, user, .. } = settings;
    match outcome {
        Outcome::Stopped => Failure::Stopped,
        Outcome::TimedOut => Failure::Passing(slow(settings, "finish the login")),
        Outcome::Error(error)
            if matches!(
                number(&error),
                code::SOCKET_SEND | code::SOCKET_RECV | code::SOCKET_DISCONNECT
            ) =>
        {
            Failure::Passing(format!(
                "the SSH server at {address} ended the connection during the login of user \
                 `{user}` ({}); check its log",
                error.message()
            ))
        }
        Outcome::Error(error)
            if !matches!(
                number(&error),
                code::AUTHENTICATION_FAILED | code::PUBLICKEY_UNVERIFIED
            ) =>
        {
            Failure::Lasting(format!(
                "cannot log in to {address} as user `{user}` with the private key given ({}); \
                 check that the key is whole",
                error.message()
            ))
        }
        Outcome::Error(_) | Outcome::Refused => Failure::Lasting(format!(
            "the SSH server at {address} refused user `{user}` with the private key given; check \
             that the user exists there and that the key belongs to it"
        )),
    }
}

fn check_host_key(
    settings: &Settings,
    session: &Session,
    known: &Known,
    monitor: &dyn Monitor,
) -> Result<(), Failure> {
    let Settings { address, name, .. } = settings;
    let Some(found) = session
        .host_key()
        .and_then(|(blob, _)| HostKey::from_blob(blob))
    else {
        return Err(Failure::Lasting(format!(
            "the SSH server at {address} showed no readable host key; nothing was run there"
        )));
    };
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    let expected = match &settings.host_key {
        HostKeyPolicy::Exactly(expected) => expected,
        HostKeyPolicy::Any => {
            if known.is_none() {
                monitor.warn(&format!(
                    "{name}: the host key of {address} is not checked; it is {}; to pin it, \
                     configure `{found}`",
                    found.fingerprint()
                ));
            }
            known.get_or_insert_with(|| found.clone())
        }
    };
    if *expected == found {
        return Ok(());
    }
    Err(Failure::Lasting(format!(
        "the host key of {address} is {} {}, expected was {} {}; nothing was run there; if the \
         VM was recreated give its new key, else find out who answers at this address",
        found.kind(),
        found.fingerprint(),
        expected.kind(),
        expected.fingerprint()
    )))
}
