#![doc = include_str!("../RECORD.md")]

use std::borrow::Cow;
use std::fmt;

use semver::Version;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::digest::Digest;
use crate::jcs::{self, JcsError};
use crate::json::{self, JsonError};
use crate::limits::{LimitError, Limits};
use crate::name::{ChannelName, PolicyName};
use crate::outcome::FaultCode;
use crate::time::Timestamp;

/// The format of a record.
pub const FORMAT: &str = "verdict-record/1";
/// The format of a receipt.
pub const RECEIPT_FORMAT: &str = "verdict-receipt/1";
/// The largest record, in bytes: what an entry of a tile can hold.
pub const RECORD_BYTES_MAX: usize = 65_535;
/// The largest receipt that is read, in bytes.
pub const RECEIPT_BYTES_MAX: usize = 64 << 20;
const ID_BYTES_MAX: usize = 64;
const COMMITMENT_TAG: &[u8] = b"verdict-commitment/1:";

/// 32 random bytes that keep a commitment from being guessed.
pub type Salt = [u8; 32];
/// What a record says of a field.
pub type Commitment = [u8; 32];

macro_rules! fields {
    ($($(#[doc = $doc:literal])* $name:ident, $member:ident $(, $key:ident = $value:literal)*;)*) => {
        /// A field that depends on the input, and so is committed and not in the clear.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Field { $($(#[doc = $doc])* $name,)* }

        impl Field {
            /// Every field, sorted by name.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its name in records and receipts.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($member),)* }
            }
        }

        /// The commitment of every field.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Commitments { $(#[serde(with = "text" $(, $key = $value)*)] $member: Commitment,)* }

        impl Commitments {
            /// The commitment of one field.
            pub fn of(&self, field: Field) -> &Commitment {
                match field { $(Field::$name => &self.$member,)* }
            }
        }

        impl FromIterator<(Field, Commitment)> for Commitments {
            /// A record with a field that is left out cannot be written.
            fn from_iter<I: IntoIterator<Item = (Field, Commitment)>>(commitments: I) -> Self {
                let mut all = Self { $($member: NONE,)* };
                for (field, commitment) in commitments {
                    match field { $(Field::$name => all.$member = commitment,)* }
                }
                all
            }
        }

        /// The fields that a receipt discloses.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Openings {
            $(#[serde(default, skip_serializing_if = "Option::is_none")] $member: Option<Opening>,)*
        }

        impl Openings {
            /// The opening of one field.
            pub fn of(&self, field: Field) -> Option<&Opening> {
                match field { $(Field::$name => self.$member.as_ref(),)* }
            }
        }

        impl FromIterator<(Field, Opening)> for Openings {
            fn from_iter<I: IntoIterator<Item = (Field, Opening)>>(openings: I) -> Self {
                let mut all = Self::default();
                for (field, opening) in openings {
                    match field { $(Field::$name => all.$member = Some(opening),)* }
                }
                all
            }
        }
    };
}

fields! {
    /// The answer's value.
    Answer, answer;
    /// Who asked.
    Caller, caller;
    /// Where answers are cached, the decision that this answer was made for.
    First, first, default = "none", skip_serializing_if = "is_none";
    /// The fuel used.
    Fuel, fuel;
    /// The input document.
    Input, input;
    /// What was read.
    Reads, reads;
    /// Why the answer is what it is.
    Reasons, reasons;
    /// The rule that was asked.
    Rule, rule;
}

/// Stands for a commitment that was not given; nothing is known that hashes to it.
const NONE: Commitment = [0; 32];

const fn none() -> Commitment {
    NONE
}

fn is_none(commitment: &Commitment) -> bool {
    *commitment == NONE
}

impl Field {
    /// Whether a record may lack it: only `first`, in the records of policies whose answers are not cached.
    pub const fn is_optional(self) -> bool {
        matches!(self, Self::First)
    }
}

impl Commitments {
    /// The fields that are committed to.
    pub fn fields(&self) -> impl Iterator<Item = Field> {
        Field::ALL.iter().copied().filter(|field| !is_none(self.of(*field)))
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The commitment of a field's bytes. `salt` is random and used for nothing else.
pub fn commitment(field: Field, salt: &Salt, bytes: &[u8]) -> Commitment {
    let hash = Sha256::new().chain_update(COMMITMENT_TAG).chain_update(field.name()).chain_update([0]);
    hash.chain_update(salt).chain_update(bytes).finalize().into()
}

/// Whether `id` can be a decision's id: 1 to 64 ASCII letters, digits, dots, underscores and hyphens.
pub fn is_id(id: &str) -> bool {
    (1..=ID_BYTES_MAX).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// The channel that a question was asked through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Through {
    /// Its name.
    pub name: ChannelName,
    /// The sequence of the signed state that chose the version.
    pub sequence: u64,
    /// The decision that this one was only made beside: it was recorded, and answered nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow_of: Option<String>,
}

/// What the log keeps of one outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The decision's id, see [`is_id`].
    pub id: String,
    /// The policy that was asked.
    pub policy: PolicyName,
    /// The channel that it was asked through; none where a folder's highest version answers.
    pub channel: Option<Through>,
    /// Its version.
    pub version: Version,
    /// The component that was evaluated.
    pub component: Digest,
    /// The author's statement about it.
    pub statement: Digest,
    /// The data snapshot that it could read.
    pub data: Option<Digest>,
    /// What the policy was told the time is.
    pub decision_time: Timestamp,
    /// When the host received the query.
    pub received_at: Timestamp,
    /// The number of the rules that answer and fuel depend on.
    pub semantics: u32,
    /// The effective limits.
    pub limits: Limits,
    /// The class of the fault; none for an answer.
    pub fault: Option<FaultCode>,
    /// What depends on the input.
    pub commitments: Commitments,
}

/// A record or a receipt cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It is not JSON of the right shape, or too large.
    #[error("the {what} cannot be read: {error}")]
    Malformed {
        /// Record or receipt.
        what: &'static str,
        /// Why.
        error: JsonError,
    },
    /// It is of a format that this version does not know.
    #[error("the {what} has format `{found}`; this version reads `{expected}`")]
    Format {
        /// Record or receipt.
        what: &'static str,
        /// What it says.
        found: String,
        /// What is read.
        expected: &'static str,
    },
    /// It is not the one text of this record.
    #[error("the record is not in canonical form (RFC 8785)")]
    NotCanonical,
    /// It does not fit into the log.
    #[error("the record has {0} bytes; at most {RECORD_BYTES_MAX} fit into the log")]
    TooLarge(usize),
    /// The decision's id cannot be one.
    #[error(
        "`{0}` is not a decision id; expected 1 to {ID_BYTES_MAX} ASCII letters, digits, `.`, `_` and `-`"
    )]
    Id(String),
    /// A limit is out of range.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// A commitment is missing.
    #[error("the record has no commitment of `{0}`")]
    NoCommitment(Field),
    /// It has no canonical form.
    #[error(transparent)]
    Jcs(#[from] JcsError),
    /// The receipt does not disclose a field.
    #[error("the receipt does not open `{0}`; ask for one that does")]
    Undisclosed(Field),
    /// A value is not the one that was recorded.
    #[error("the `{0}` is not what the record commits to")]
    Mismatch(Field),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    channel: Option<Cow<'a, Through>>,
    commitments: Cow<'a, Commitments>,
    component: Digest,
    data: Option<Digest>,
    decision_time: Timestamp,
    fault: Option<FaultCode>,
    format: Cow<'a, str>,
    id: Cow<'a, str>,
    limits: Limits,
    policy: Cow<'a, PolicyName>,
    received_at: Timestamp,
    replayable: bool,
    semantics: u32,
    statement: Digest,
    version: Cow<'a, Version>,
}

impl Record {
    /// Whether another host must come to the same outcome.
    pub fn is_replayable(&self) -> bool {
        self.fault.is_none_or(FaultCode::is_replayable)
    }

    /// The bytes of the leaf.
    ///
    /// # Errors
    /// When the record could not be read again: its id or a limit is out of range, a commitment is missing, or it is
    /// too large.
    pub fn to_bytes(&self) -> Result<Vec<u8>, RecordError> {
        let shadow_of = self.channel.as_ref().and_then(|channel| channel.shadow_of.as_deref());
        if !is_id(&self.id) || shadow_of.is_some_and(|id| !is_id(id)) {
            return Err(RecordError::Id(self.id.chars().take(ID_BYTES_MAX).collect()));
        }
        self.limits.checked()?;
        let missing = |field: &&Field| !field.is_optional() && is_none(self.commitments.of(**field));
        if let Some(field) = Field::ALL.iter().find(missing) {
            return Err(RecordError::NoCommitment(*field));
        }
        let bytes = jcs::ordered(&self.text())?.into_bytes();
        if bytes.len() > RECORD_BYTES_MAX { Err(RecordError::TooLarge(bytes.len())) } else { Ok(bytes) }
    }

    fn text(&self) -> Text<'_> {
        Text {
            channel: self.channel.as_ref().map(Cow::Borrowed),
            commitments: Cow::Borrowed(&self.commitments),
            component: self.component,
            data: self.data,
            decision_time: self.decision_time,
            fault: self.fault,
            format: FORMAT.into(),
            id: self.id.as_str().into(),
            limits: self.limits,
            policy: Cow::Borrowed(&self.policy),
            received_at: self.received_at,
            replayable: self.is_replayable(),
            semantics: self.semantics,
            statement: self.statement,
            version: Cow::Borrowed(&self.version),
        }
    }

    /// Reads the bytes of a leaf.
    ///
    /// # Errors
    /// When they are not exactly what [`Record::to_bytes`] gives for the same record.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        let what = "record";
        let text: Text<'static> =
            json::parse(bytes, RECORD_BYTES_MAX).map_err(|error| RecordError::Malformed { what, error })?;
        if text.format != FORMAT {
            return Err(RecordError::Format { what, found: text.format.into_owned(), expected: FORMAT });
        }
        let record = Self {
            id: text.id.into_owned(),
            policy: text.policy.into_owned(),
            channel: text.channel.map(Cow::into_owned),
            version: text.version.into_owned(),
            component: text.component,
            statement: text.statement,
            data: text.data,
            decision_time: text.decision_time,
            received_at: text.received_at,
            semantics: text.semantics,
            limits: text.limits,
            fault: text.fault,
            commitments: text.commitments.into_owned(),
        };
        // Also catches a `replayable` that contradicts the fault.
        if record.to_bytes()? == bytes { Ok(record) } else { Err(RecordError::NotCanonical) }
    }
}

/// What ties a value to a commitment.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// The salt of the commitment.
    #[serde(with = "text")]
    pub salt: Salt,
    /// The field's bytes, all of which are UTF-8; none where the holder has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

impl fmt::Debug for Opening {
    /// Shows neither: both are the caller's own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.value.is_some() { "Opening(with value)" } else { "Opening(without value)" })
    }
}

/// A record's proof and openings: verifiable offline, without the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    format: String,
    proof: String,
    openings: Openings,
}

impl Receipt {
    /// A receipt. `proof` is the text of a C2SP `.tlog-proof` whose extra is the record.
    pub fn new(proof: String, openings: Openings) -> Self {
        Self { format: RECEIPT_FORMAT.into(), proof, openings }
    }

    /// Reads a receipt. Its proof is text here; the ledger's crate reads and verifies it.
    ///
    /// # Errors
    /// When it is too large, or not a receipt of a known format.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        let what = "receipt";
        let receipt: Self =
            json::parse(bytes, RECEIPT_BYTES_MAX).map_err(|error| RecordError::Malformed { what, error })?;
        if receipt.format == RECEIPT_FORMAT {
            Ok(receipt)
        } else {
            Err(RecordError::Format { what, found: receipt.format, expected: RECEIPT_FORMAT })
        }
    }

    /// The receipt's file.
    ///
    /// # Errors
    /// Never for text, which is all there is in it.
    pub fn render(&self) -> Result<String, JcsError> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// The text of the `.tlog-proof`.
    pub fn proof(&self) -> &str {
        &self.proof
    }

    /// The opening of one field.
    pub fn opening(&self, field: Field) -> Option<&Opening> {
        self.openings.of(field)
    }

    /// Checks every value that the receipt discloses against the record.
    ///
    /// # Errors
    /// [`RecordError::Mismatch`] names the first that is not what was recorded.
    pub fn check_openings(&self, record: &Record) -> Result<(), RecordError> {
        for field in Field::ALL {
            let value = self.opening(*field).and_then(|opening| opening.value.as_ref());
            if let Some(value) = value {
                self.check_value(record, *field, value.as_bytes())?;
            }
        }
        Ok(())
    }

    /// Checks a value that the caller has against the record, such as the input it sent.
    ///
    /// # Errors
    /// When it is not what was recorded, or the receipt has no salt for it.
    pub fn check_value(&self, record: &Record, field: Field, bytes: &[u8]) -> Result<(), RecordError> {
        let opening = self.opening(field).ok_or(RecordError::Undisclosed(field))?;
        if commitment(field, &opening.salt, bytes) == *record.commitments.of(field) {
            Ok(())
        } else {
            Err(RecordError::Mismatch(field))
        }
    }
}

/// 32 bytes as base64.
mod text {
    use serde::de::Error as _;
    use serde::ser::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::base64;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = [0; 44];
        let text = base64::encode_32(bytes, &mut text).ok_or_else(|| S::Error::custom("no base64"))?;
        serializer.serialize_str(text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(deserializer)?;
        base64::decode_array(&text).ok_or_else(|| D::Error::custom("expected 32 bytes in standard base64"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes_of(field: Field) -> &'static str {
        match field {
            Field::Answer => r#"{"allow":true}"#,
            Field::Caller => "null",
            Field::First => "",
            Field::Fuel => "1234",
            Field::Input => r#"{"income":1}"#,
            Field::Reads => "[]",
            Field::Reasons => r#"[{"code":"ok","message":"fine"}]"#,
            Field::Rule => "eligible",
        }
    }

    fn salt(field: Field) -> Salt {
        [field.name().len() as u8; 32]
    }

    fn through(shadow_of: Option<&str>) -> Through {
        let shadow_of = shadow_of.map(ToOwned::to_owned);
        Through { name: "production".parse().unwrap(), sequence: 7, shadow_of }
    }

    fn record() -> Record {
        let committed =
            |field: &Field| (*field, commitment(*field, &salt(*field), bytes_of(*field).as_bytes()));
        Record {
            id: "0198-a.b_c".into(),
            policy: "acme/loan".parse().unwrap(),
            channel: None,
            version: Version::new(1, 2, 3),
            component: Digest::of(b"component"),
            statement: Digest::of(b"statement"),
            data: None,
            decision_time: "2026-01-31T12:00:00Z".parse().unwrap(),
            received_at: "2026-01-31T12:00:00.5Z".parse().unwrap(),
            semantics: 1,
            limits: Limits::default(),
            fault: None,
            commitments: Field::ALL.iter().map(committed).collect(),
        }
    }

    fn receipt() -> Receipt {
        let opening = |field: &Field| {
            let value = (*field != Field::Input).then(|| bytes_of(*field).into());
            (*field, Opening { salt: salt(*field), value })
        };
        Receipt::new("a proof\n".into(), Field::ALL.iter().map(opening).collect())
    }

    /// The one page that specifies the record, held against what is written.
    #[test]
    fn has_the_bytes_of_the_specification() {
        let text = String::from_utf8(record().to_bytes().unwrap()).unwrap();
        let commitments: Vec<_> = Field::ALL
            .iter()
            .map(|field| {
                format!(r#""{field}":"{}""#, {
                    let mut bytes = b"verdict-commitment/1:".to_vec();
                    bytes.extend(
                        [field.name().as_bytes(), &[0], &salt(*field), bytes_of(*field).as_bytes()].concat(),
                    );
                    crate::base64::encode(Digest::of(&bytes).as_bytes())
                })
            })
            .collect();
        let expected = format!(
            concat!(
                r#"{{"commitments":{{{}}},"component":"{}","data":null,"#,
                r#""decision_time":"2026-01-31T12:00:00.000Z","fault":null,"format":"verdict-record/1","#,
                r#""id":"0198-a.b_c","limits":{{"fuel":100000000,"host_calls":10000,"input_bytes":1048576,"#,
                r#""instances":64,"log_bytes":16384,"memory_bytes":16777216,"output_bytes":262144,"#,
                r#""stack_bytes":524288,"table_elements":20000,"wall_clock_ms":500}},"policy":"acme/loan","#,
                r#""received_at":"2026-01-31T12:00:00.500Z","replayable":true,"semantics":1,"#,
                r#""statement":"{}","version":"1.2.3"}}"#
            ),
            commitments.join(","),
            Digest::of(b"component"),
            Digest::of(b"statement"),
        );
        assert_eq!(text, expected);
        assert_eq!(Record::parse(text.as_bytes()).unwrap(), record());
    }

    #[test]
    fn says_through_which_channel_it_was_asked() {
        for (shadow_of, expected) in [
            (None, r#"{"channel":{"name":"production","sequence":7},"commitments":"#),
            (
                Some("d-1"),
                r#"{"channel":{"name":"production","sequence":7,"shadow_of":"d-1"},"commitments":"#,
            ),
        ] {
            let record = Record { channel: Some(through(shadow_of)), ..record() };
            let bytes = record.to_bytes().unwrap();
            assert!(bytes.starts_with(expected.as_bytes()), "{}", String::from_utf8_lossy(&bytes));
            assert_eq!(Record::parse(&bytes).unwrap(), record);
        }
    }

    #[test]
    fn names_every_member_in_its_specification() {
        let page = include_str!("../RECORD.md");
        let value: serde_json::Value = serde_json::from_slice(&record().to_bytes().unwrap()).unwrap();
        let members =
            |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        for name in [members(&value), members(&value["limits"]), members(&value["commitments"])].concat() {
            assert!(page.contains(&format!("`{name}`")), "{name}");
        }
    }

    #[test]
    fn a_record_has_one_text() {
        let text = String::from_utf8(record().to_bytes().unwrap()).unwrap();
        for (from, to) in [
            ("{\"commitments\"", "{ \"commitments\""),
            ("\"data\":null,", ""),
            ("\"semantics\":1", "\"semantics\":1.0"),
            ("12:00:00.000Z", "12:00:00Z"),
            ("\"replayable\":true", "\"replayable\":false"),
            ("\"fault\":null", "\"fault\":\"deadline\""),
            ("\"acme/loan\"", "\"acme\\/loan\""),
            ("verdict-record/1", "verdict-record/2"),
            ("\"version\"", "\"surprise\":1,\"version\""),
            ("0198-a.b_c", "0198/a"),
            ("\"fuel\":100000000", "\"fuel\":0"),
        ] {
            let changed = text.replacen(from, to, 1);
            assert!(changed != text && Record::parse(changed.as_bytes()).is_err(), "{from}");
        }
    }

    #[test]
    fn only_first_may_be_left_out_and_then_it_is_not_there() {
        let without = |left_out: Field| {
            let fields = Field::ALL.iter().filter(|field| **field != left_out);
            let commitments = fields.map(|field| (*field, *record().commitments.of(*field))).collect();
            Record { commitments, ..record() }
        };
        for field in Field::ALL {
            assert_eq!(without(*field).to_bytes().is_ok(), *field == Field::First, "{field}");
        }
        let bytes = without(Field::First).to_bytes().unwrap();
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert!(!text.contains("first"));
        assert_eq!(Record::parse(&bytes).unwrap(), without(Field::First));
        let zeros = format!("\"first\":\"{}\",\"fuel\"", crate::base64::encode(&NONE));
        assert!(Record::parse(text.replace("\"fuel\"", &zeros).as_bytes()).is_err());
    }

    #[test]
    fn what_could_not_be_read_again_is_not_written() {
        let broken = [
            Record { id: "a/b".into(), ..record() },
            Record { channel: Some(through(Some("a/b"))), ..record() },
            Record { limits: Limits { fuel: 0, ..Limits::default() }, ..record() },
            Record { commitments: Commitments::from_iter([]), ..record() },
            Record { version: format!("1.0.0-{}", "a".repeat(65_535)).parse().unwrap(), ..record() },
        ];
        for record in broken {
            assert!(record.to_bytes().is_err());
        }
    }

    #[test]
    fn a_receipt_opens_what_was_recorded() {
        let read = Receipt::parse(receipt().render().unwrap().as_bytes()).unwrap();
        assert_eq!(read, receipt());
        read.check_openings(&record()).unwrap();
        read.check_value(&record(), Field::Input, bytes_of(Field::Input).as_bytes()).unwrap();
    }

    #[test]
    fn a_receipt_opens_nothing_else() {
        for field in Field::ALL {
            let wrong = receipt().check_value(&record(), *field, b"something else");
            assert!(matches!(wrong, Err(RecordError::Mismatch(found)) if found == *field));
            let mut text: serde_json::Value = serde_json::from_str(&receipt().render().unwrap()).unwrap();
            text["openings"][field.name()] =
                serde_json::json!({"salt": crate::base64::encode(&[9; 32]), "value": bytes_of(*field)});
            let changed = Receipt::parse(text.to_string().as_bytes()).unwrap();
            assert!(changed.check_openings(&record()).is_err(), "{field}");
            text["openings"].as_object_mut().unwrap().remove(field.name());
            let without = Receipt::parse(text.to_string().as_bytes()).unwrap();
            without.check_openings(&record()).unwrap();
            let undisclosed = without.check_value(&record(), *field, bytes_of(*field).as_bytes());
            assert!(matches!(undisclosed, Err(RecordError::Undisclosed(_))));
        }
    }

    #[test]
    fn an_opening_shows_neither_salt_nor_value() {
        let shown = format!("{:?}", receipt());
        assert!(!shown.contains("eligible") && !shown.contains("4, 4"), "{shown}");
    }

    proptest! {
        #[test]
        fn a_commitment_holds_for_its_field_salt_and_bytes_only(
            salt: [u8; 32], bytes: Vec<u8>, other_salt: [u8; 32], other: Vec<u8>,
        ) {
            let mut seen = std::collections::HashSet::new();
            for field in Field::ALL {
                prop_assert!(seen.insert(commitment(*field, &salt, &bytes)));
            }
            if (salt, &bytes) != (other_salt, &other) {
                prop_assert!(seen.insert(commitment(Field::Rule, &other_salt, &other)));
            }
        }

        #[test]
        fn every_flipped_bit_of_a_record_is_noticed(position in 0_usize..2_000, bit in 0_u8..8) {
            let mut bytes = record().to_bytes().unwrap();
            let position = position % bytes.len();
            bytes[position] ^= 1 << bit;
            if let Ok(changed) = Record::parse(&bytes) {
                prop_assert!(changed != record());
            }
        }
    }
}
