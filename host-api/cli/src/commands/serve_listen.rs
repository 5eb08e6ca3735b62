//! Where a server listens and how much it takes on, as `verdict serve` is told.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use verdict_server::{Listen, ListenError, Options, TlsOptions};

/// Where a server listens, and how much it takes on.
#[derive(clap::Args)]
pub(crate) struct ListenArgs {
    /// Where to listen: `IP:PORT`, `tls:IP:PORT` or `unix:PATH`; may be repeated. Other addresses than loopback need `--token-file` or
    /// `--access`
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8181", value_parser = Listen::parse)]
    listen: Vec<Listen>,
    /// Who may connect to Unix sockets: their mode, such as `660`; as the umask has it, if left out
    #[arg(long, value_name = "MODE", value_parser = mode)]
    unix_mode: Option<Mode>,
    /// The certificate for TLS, and those between it and its root, in PEM; read again when it changes, and on SIGHUP
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// The roots of the certificates that clients must show over TLS, in PEM; none are asked for, if left out
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_client_ca: Option<PathBuf>,
    /// The most connections at a time; those beyond are told 503 and closed
    #[arg(long, value_name = "N", default_value = "4096")]
    connections_max: NonZeroUsize,
    /// The most requests under way at a time; those beyond are told 503 before their body is read [default: 1024 for
    /// each core]
    #[arg(long, value_name = "N")]
    requests_max: Option<NonZeroUsize>,
    /// The largest request body, in bytes; what is pushed into a registry has limits of its own
    #[arg(long, value_name = "N", default_value = "2097152")]
    body_bytes_max: NonZeroUsize,
    /// Leave it to the system which cores threads run on: for a machine that is busy with other things, too. Otherwise
    /// each thread that has connections keeps to one of its own, where no quota gives the process fewer than it sees
    #[arg(long)]
    shared_cores: bool,
    /// How long a client may take for the head of a request, such as `5s` or `500ms`
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "5s")]
    header_timeout: Duration,
    /// How long a connection may be idle between two requests
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "75s")]
    idle_timeout: Duration,
    /// How long a request may take, body and answer
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "30s")]
    request_timeout: Duration,
    /// How long to go on when told to stop, while `/health/ready` says no: as long as load balancers take to notice
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "0s")]
    drain_delay: Duration,
    /// How long requests that are under way may then take to finish
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "10s")]
    drain_timeout: Duration,
}

/// The mode of a file. Its digits are octal, so it is no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mode(u32);

impl ListenArgs {
    /// What the server is to know.
    ///
    /// # Errors
    /// When there is no address.
    pub(crate) fn options(&self) -> Result<Options, ListenError> {
        let listen = self.listen.clone();
        let first = listen.first().cloned().ok_or(ListenError::Nowhere)?;
        let default = Options::new(first);
        Ok(Options {
            listen,
            unix_mode: self.unix_mode.map(|Mode(mode)| mode),
            tls: self.tls(),
            connections_max: self.connections_max.get(),
            requests_max: self.requests_max.map_or(default.requests_max, NonZeroUsize::get),
            body_bytes_max: self.body_bytes_max.get(),
            keeps_cores: !self.shared_cores,
            header_timeout: self.header_timeout,
            idle_timeout: self.idle_timeout,
            request_timeout: self.request_timeout,
            drain_delay: self.drain_delay,
            drain_timeout: self.drain_timeout,
            ..default
        })
    }

    fn tls(&self) -> Option<TlsOptions> {
        let (certificate, key) = (self.tls_cert.clone()?, self.tls_key.clone()?);
        Some(TlsOptions { certificate, key, client_ca: self.tls_client_ca.clone() })
    }
}

/// Reads the mode of a file, in octal.
fn mode(text: &str) -> Result<Mode, String> {
    let mode = u32::from_str_radix(text.strip_prefix("0o").unwrap_or(text), 8).ok();
    mode.filter(|mode| *mode <= 0o777)
        .map(Mode)
        .ok_or_else(|| format!("`{text}` is not a mode; expected such as `660`"))
}

/// Reads a time: a number with `ms`, `s` or `m`.
fn time(text: &str) -> Result<Duration, String> {
    let malformed = || format!("`{text}` is not a time; expected such as `500ms`, `30s` or `2m`");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u32 = number.parse().map_err(|_| malformed())?;
    match unit {
        "ms" => Ok(Duration::from_millis(number.into())),
        "s" => Ok(Duration::from_secs(number.into())),
        "m" => Ok(Duration::from_mins(number.into())),
        _ => Err(malformed()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        listen: ListenArgs,
    }

    #[test]
    fn the_defaults_are_those_of_a_server() {
        let options = Command::parse_from(["verdict"]).listen.options().unwrap();
        let default = Options::new(Listen::parse("127.0.0.1:8181").unwrap());
        assert_eq!(format!("{options:?}"), format!("{default:?}"));
        let shared = Command::parse_from(["verdict", "--shared-cores"]).listen.options().unwrap();
        assert!(options.keeps_cores && !shared.keeps_cores);
    }

    #[test]
    fn reads_times_and_modes_and_nothing_that_could_mean_something_else() {
        assert_eq!(time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!((time("0s"), time("2m")), (Ok(Duration::ZERO), Ok(Duration::from_secs(120))));
        for wrong in ["", "5", "s", "-1s", "1.5s", "5 s", "99999999999s", "5h", "٣s"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
        assert_eq!((mode("660"), mode("0o600")), (Ok(Mode(0o660)), Ok(Mode(0o600))));
        for wrong in ["", "8", "1777", "rw", "-1"] {
            assert!(mode(wrong).is_err(), "{wrong}");
        }
    }
}
