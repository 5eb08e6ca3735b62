//! What can be checked of the settings of `verdict serve` without starting it: nothing is opened that would be changed by
//! it, and nobody is asked over the network.

use std::fs;
use std::path::Path;

use verdict_server::access::Jwks;

use super::serve::{Args, check_activation, followed, unusable};
use crate::error::{Error, Problem};
use crate::evaluation;
use crate::files;
use crate::place;
use crate::settings::Settings;
use crate::signer;

/// The largest document with the data of a tenant, in bytes.
const DATA_BYTES_MAX: u64 = 64 << 20;
const JWKS_BYTES_MAX: u64 = 256 << 10;

/// All that is wrong with these settings.
pub(super) fn problems(args: &Args, settings: &Settings) -> Vec<Error> {
    let checks = [folder, roots, keys, data, registry, access_policy, issuer];
    let mut problems: Vec<Error> = checks.iter().filter_map(|check| check(args).err()).collect();
    problems.extend(listening(args, settings).err());
    problems
}

/// Addresses, TLS, tokens, workloads, budgets and limits.
fn listening(args: &Args, settings: &Settings) -> Result<(), Error> {
    let options = args.options(settings)?;
    args.limits.ceiling(options.body_bytes_max)?;
    options.check(&args.access.options()?).map_err(|error| unusable(&error))
}

/// The folder of policies, and the trust file beside it.
fn folder(args: &Args) -> Result<(), Error> {
    let (Some(dir), Some(trust)) = (&args.dir, &args.trust) else { return Ok(()) };
    is_folder(dir)?;
    evaluation::trust(trust)?;
    let beside = [Some(("trust", trust)), args.data.as_ref().map(|data| ("data", data))];
    for (name, path) in beside.into_iter().flatten().chain(args.state.as_ref().map(|state| ("state", state)))
    {
        let (Ok(inner), Ok(outer)) = (path.canonicalize(), dir.canonicalize()) else { continue };
        if inner.starts_with(outer) {
            let message = format!("`{name}` is below the folder with the policies, which is not trusted");
            return Err(Error::Unusable(Problem::new("untrusted-place", message).help("put it elsewhere")));
        }
    }
    Ok(())
}

fn roots(args: &Args) -> Result<(), Error> {
    let Some(roots) = &args.roots else { return Ok(()) };
    place::roots(roots)?;
    match &args.follow {
        Some(follow) => followed(args, follow, roots).map(drop),
        None => Ok(()),
    }
}

/// The activation key, as far as it can be read without its passphrase, and the passphrase.
fn keys(args: &Args) -> Result<(), Error> {
    args.passphrase.given()?;
    match &args.activation_key {
        Some(path) => check_activation(path, signer::read_file(path)?.role()),
        None => Ok(()),
    }
}

fn data(args: &Args) -> Result<(), Error> {
    let Some(data) = &args.data else { return Ok(()) };
    let failed = |error| Error::file("read", data, &error);
    for entry in fs::read_dir(data).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            evaluation::document(&path, DATA_BYTES_MAX)?;
        }
    }
    Ok(())
}

/// What is made where it is not there has a folder to be made in.
fn registry(args: &Args) -> Result<(), Error> {
    for place in [&args.registry, &args.store].into_iter().flatten() {
        let path = Path::new(place);
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        if !place.contains(':')
            && let Some(parent) = parent
        {
            is_folder(parent)?;
        }
    }
    Ok(())
}

fn access_policy(args: &Args) -> Result<(), Error> {
    if let Some(folder) = &args.access.access {
        is_folder(folder)?;
    }
    args.access.access_trust.as_ref().map_or(Ok(()), |trust| evaluation::trust(trust).map(drop))
}

fn issuer(args: &Args) -> Result<(), Error> {
    let Some(Jwks::File(path)) = args.access.jwks.as_deref().map(Jwks::parse) else { return Ok(()) };
    let text = files::read_text(&path, JWKS_BYTES_MAX)?;
    serde_json::from_str::<serde_json::Value>(&text).map(drop).map_err(|error| {
        Error::Unusable(Problem::new("jwks", format!("`{}` is not JSON: {error}", path.display())))
    })
}

fn is_folder(path: &Path) -> Result<(), Error> {
    fs::read_dir(path).map(drop).map_err(|error| Error::file("read", path, &error))
}
