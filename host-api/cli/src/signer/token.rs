//! Keys in PKCS#11 tokens (PKCS #11 v3.0, Ed25519 by CKM_EDDSA): hardware modules, smart cards, SoftHSM.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as Pkcs11Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use verdict_core::key::PublicKey;

use super::passphrase::Source;
use super::uri::Uri;
use crate::error::{Error, Problem};

/// The curve by its name, DER of a PrintableString: PKCS #11 v3.0 lets tokens take names as well as numbers, and
/// SoftHSM takes nothing else.
const ED25519: [u8; 14] = *b"\x13\x0cedwards25519";

/// A key that never leaves its token.
pub(crate) struct TokenKey {
    // Not every library bears two calls at once.
    session: Mutex<Session>,
    private: ObjectHandle,
    public: PublicKey,
}

impl TokenKey {
    /// Logs in and looks for the key.
    pub(super) fn open(uri: &Uri) -> Result<Self, Error> {
        let session = log_in(uri, Access::Read)?;
        let private = one(uri, &find(&session, uri, ObjectClass::PRIVATE_KEY)?)?;
        let public = public_of(&session, uri)?;
        Ok(Self { session: Mutex::new(session), private, public })
    }

    pub(super) fn public(&self) -> PublicKey {
        self.public
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<[u8; 64], Error> {
        let mechanism = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure));
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let signature =
            session.sign(&mechanism, self.private, message).map_err(|error| failed("sign", &error))?;
        signature.try_into().map_err(|_| machine("the token's signature has not 64 bytes"))
    }
}

/// The public key that the token shows to anybody.
pub(super) fn public(uri: &Uri) -> Result<PublicKey, Error> {
    public_of(&open_session(uri, Access::Read)?, uri)
}

/// Makes a key pair in the token. Its secret half is marked so that the token never gives it away.
pub(super) fn generate(uri: &Uri) -> Result<PublicKey, Error> {
    let Some(label) = uri.object.as_deref() else {
        return Err(unusable("a new key needs a name", "give it one with `object=NAME` in the URI"));
    };
    let session = log_in(uri, Access::Write)?;
    if !find(&session, uri, ObjectClass::PRIVATE_KEY)?.is_empty() {
        let problem =
            Problem::new("exists", format!("the token has a key `{label}`, which is never written over"));
        return Err(Error::Unusable(problem.help("choose another `object`")));
    }
    let id = uri.id.clone().unwrap_or_else(|| label.as_bytes().to_vec());
    let named = || [Attribute::Token(true), Attribute::Label(label.into()), Attribute::Id(id.clone())];
    let mut public = named().to_vec();
    public.extend([
        Attribute::Private(false),
        Attribute::Verify(true),
        Attribute::EcParams(ED25519.to_vec()),
    ]);
    let mut private = named().to_vec();
    private.extend([Attribute::Private(true), Attribute::Sensitive(true)]);
    private.extend([Attribute::Extractable(false), Attribute::Sign(true)]);
    session
        .generate_key_pair(&Mechanism::EccEdwardsKeyPairGen, &public, &private)
        .map_err(|error| failed("make a key", &error))?;
    public_of(&session, uri)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

/// The library at `path`, loaded and initialised once for the whole program.
fn module(path: &Path) -> Result<Pkcs11, Error> {
    static MODULES: Mutex<BTreeMap<PathBuf, Pkcs11>> = Mutex::new(BTreeMap::new());
    let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(module) = modules.get(path) {
        return Ok(module.clone());
    }
    let module = Pkcs11::new(path).map_err(|error| failed("load its library", &error))?;
    let initialised = module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK));
    initialised.map_err(|error| failed("start", &error))?;
    modules.insert(path.into(), module.clone());
    Ok(module)
}

fn open_session(uri: &Uri, access: Access) -> Result<Session, Error> {
    let module = module(&uri.module)?;
    let slot = slot(&module, uri)?;
    let session = match access {
        Access::Read => module.open_ro_session(slot),
        Access::Write => module.open_rw_session(slot),
    };
    session.map_err(|error| failed("open a session", &error))
}

fn log_in(uri: &Uri, access: Access) -> Result<Session, Error> {
    let session = open_session(uri, access)?;
    let prompt = format!("PIN of token {}: ", uri.token.as_deref().unwrap_or("with this key"));
    let source = Source { file: uri.pin_source.as_deref(), variable: "VERDICT_PIN", prompt: &prompt };
    let pin = source.find()?.ok_or_else(|| {
        let help = "name a file that holds it with `pin-source` in the URI, or give it in VERDICT_PIN";
        Error::Unusable(Problem::new("pin", "the token needs a PIN").help(help))
    })?;
    match session.login(UserType::User, Some(&AuthPin::new(pin.as_str().into()))) {
        // A log-in is the program's, not the session's.
        Ok(()) | Err(Pkcs11Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(session),
        Err(Pkcs11Error::Pkcs11(RvError::PinIncorrect | RvError::PinLenRange | RvError::PinInvalid, _)) => {
            let problem = Problem::new("pin", "the token does not accept the PIN");
            Err(Error::Unusable(problem.help("check it; a token locks itself after a few wrong ones")))
        }
        Err(error) => Err(failed("log in", &error)),
    }
}

/// The one slot whose token the URI means.
fn slot(module: &Pkcs11, uri: &Uri) -> Result<Slot, Error> {
    let slots =
        module.get_slots_with_initialized_token().map_err(|error| failed("list its slots", &error))?;
    let (mut found, mut labels) = (Vec::new(), Vec::new());
    for slot in slots {
        let info = module.get_token_info(slot).map_err(|error| failed("say which it is", &error))?;
        let is = |wanted: &Option<String>, value: &str| wanted.as_ref().is_none_or(|wanted| wanted == value);
        if is(&uri.token, info.label()) && is(&uri.serial, info.serial_number()) {
            found.push(slot);
        }
        labels.push(format!("`{}`", info.label()));
    }
    match found.as_slice() {
        [slot] => Ok(*slot),
        [] => {
            let message = format!("no token is the one of `{}`", uri.text);
            let labels = if labels.is_empty() { "no tokens".into() } else { labels.join(", ") };
            Err(unusable(&message, &format!("the library has {labels}")))
        }
        _ => Err(unusable("several tokens fit the URI", "tell them apart with `serial`")),
    }
}

fn find(session: &Session, uri: &Uri, class: ObjectClass) -> Result<Vec<ObjectHandle>, Error> {
    let mut template = vec![Attribute::Class(class), Attribute::KeyType(KeyType::EC_EDWARDS)];
    template.extend(uri.object.as_ref().map(|label| Attribute::Label(label.clone().into_bytes())));
    template.extend(uri.id.clone().map(Attribute::Id));
    session.find_objects(&template).map_err(|error| failed("look for the key", &error))
}

fn one(uri: &Uri, found: &[ObjectHandle]) -> Result<ObjectHandle, Error> {
    match found {
        [object] => Ok(*object),
        [] => {
            let message = format!("the token has no Ed25519 key like `{}`", uri.text);
            Err(unusable(&message, "`verdict keys new --token URI` makes one"))
        }
        _ => Err(unusable("several keys of the token fit the URI", "tell them apart with `id`")),
    }
}

fn public_of(session: &Session, uri: &Uri) -> Result<PublicKey, Error> {
    let object = one(uri, &find(session, uri, ObjectClass::PUBLIC_KEY)?)?;
    let values = session.get_attributes(object, &[AttributeType::EcPoint]);
    let values = values.map_err(|error| failed("show the public key", &error))?;
    let point = values.iter().find_map(|value| match value {
        Attribute::EcPoint(point) => Some(point.as_slice()),
        _ => None,
    });
    // Tokens differ in whether the 32 bytes are wrapped in a DER OCTET STRING.
    let bytes =
        point.map(|point| point.strip_prefix(b"\x04\x20").filter(|rest| rest.len() == 32).unwrap_or(point));
    let bytes = bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| machine("the token's public key has not 32 bytes"))?;
    PublicKey::from_bytes(bytes).map_err(|error| machine(&format!("the token's public key: {error}")))
}

fn unusable(message: &str, help: &str) -> Error {
    Error::Unusable(Problem::new("pkcs11", message).help(help))
}

fn machine(message: &str) -> Error {
    Error::Machine(Problem::new("pkcs11", message))
}

/// A call that failed, by the names that the specification gives to call and reason.
fn failed(what: &str, error: &Pkcs11Error) -> Error {
    match error {
        Pkcs11Error::Pkcs11(reason, call) => {
            machine(&format!("the token cannot {what}: C_{call:?} says {reason:?}"))
        }
        error => machine(&format!("the token cannot {what}: {error}")),
    }
}
