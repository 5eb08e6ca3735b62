//! The messages of `envoy.service.auth.v3`, with the fields that are read and written here; protobuf skips the others.
//!
//! Names and numbers are those of `envoy/service/auth/v3/{attribute_context,external_auth}.proto` and of what these
//! import. They are written out because the crate that has them generated brings all of Envoy's configuration, fifty
//! seconds of compiling, and a second HTTP server.
//!
//! What is read is also what a policy sees of it: in the JSON names of protobuf, without what has its default.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use prost_types::{Struct, Value, value::Kind};
use serde::{Serialize, Serializer};
use serde_json::Number;

/// The largest whole number that a double holds exactly, and all below it.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

#[derive(Clone, PartialEq, Message)]
pub(super) struct CheckRequest {
    #[prost(message, optional, tag = "1")]
    pub(super) attributes: Option<AttributeContext>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AttributeContext {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[prost(message, optional, tag = "1")]
    pub(super) source: Option<Peer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[prost(message, optional, tag = "2")]
    pub(super) destination: Option<Peer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[prost(message, optional, tag = "4")]
    pub(super) request: Option<Request>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[prost(btree_map = "string, string", tag = "10")]
    pub(super) context_extensions: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[prost(message, optional, tag = "11")]
    pub(super) metadata_context: Option<Metadata>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[prost(message, optional, tag = "12")]
    pub(super) tls_session: Option<TlsSession>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[prost(message, optional, tag = "13")]
    pub(super) route_metadata_context: Option<Metadata>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
pub(super) struct Peer {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[prost(message, optional, tag = "1")]
    pub(super) address: Option<Address>,
    #[serde(skip_serializing_if = "String::is_empty")]
    #[prost(string, tag = "2")]
    pub(super) service: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[prost(btree_map = "string, string", tag = "3")]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    #[prost(string, tag = "4")]
    pub(super) principal: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    #[prost(string, tag = "5")]
    pub(super) certificate: String,
}

/// One of the two is there.
#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Address {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[prost(message, optional, tag = "1")]
    pub(super) socket_address: Option<SocketAddress>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[prost(message, optional, tag = "2")]
    pub(super) pipe: Option<Pipe>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SocketAddress {
    /// 0 is TCP, 1 UDP.
    #[serde(skip_serializing_if = "is_zero")]
    #[prost(int32, tag = "1")]
    pub(super) protocol: i32,
    #[serde(skip_serializing_if = "String::is_empty")]
    #[prost(string, tag = "2")]
    pub(super) address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[prost(uint32, optional, tag = "3")]
    pub(super) port_value: Option<u32>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
pub(super) struct Pipe {
    #[serde(skip_serializing_if = "String::is_empty")]
    #[prost(string, tag = "1")]
    pub(super) path: String,
}

#[derive(Clone, PartialEq, Message, Serialize)]
pub(super) struct Request {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[prost(message, optional, tag = "1")]
    pub(super) time: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[prost(message, optional, tag = "2")]
    pub(super) http: Option<HttpRequest>,
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, PartialEq, Message, Serialize)]
pub(super) struct Time {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(super) nanos: i32,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HttpRequest {
    #[serde(skip_serializing_if = "String::is_empty")]
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    #[prost(string, tag = "2")]
    pub(super) method: String,
    #[prost(btree_map = "string, string", tag = "3")]
    pub(super) headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    #[prost(string, tag = "4")]
    pub(super) path: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    #[prost(string, tag = "5")]
    pub(super) host: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    #[prost(string, tag = "6")]
    pub(super) scheme: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    #[prost(string, tag = "7")]
    pub(super) query: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    #[prost(string, tag = "8")]
    pub(super) fragment: String,
    /// In bytes; -1 where it is not known.
    #[serde(skip_serializing_if = "is_zero")]
    #[prost(int64, tag = "9")]
    pub(super) size: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    #[prost(string, tag = "10")]
    pub(super) protocol: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    #[prost(string, tag = "11")]
    pub(super) body: String,
    /// Instead of `body`, where Envoy is told to pack it as bytes.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "base64_text")]
    #[prost(bytes = "vec", tag = "12")]
    pub(super) raw_body: Vec<u8>,
    /// Instead of `headers`, where Envoy is told to encode raw headers; they are put there.
    #[serde(skip)]
    #[prost(message, optional, tag = "13")]
    pub(super) header_map: Option<HeaderMap>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct HeaderMap {
    #[prost(message, repeated, tag = "1")]
    pub(super) headers: Vec<HeaderValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct HeaderValue {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(string, tag = "2")]
    pub(super) value: String,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) raw_value: Vec<u8>,
}

/// Without what filters say in types of their own: nobody here knows the types.
#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    #[serde(skip_serializing_if = "BTreeMap::is_empty", serialize_with = "structs")]
    #[prost(btree_map = "string, message", tag = "1")]
    pub(super) filter_metadata: BTreeMap<String, Struct>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
pub(super) struct TlsSession {
    #[serde(skip_serializing_if = "String::is_empty")]
    #[prost(string, tag = "1")]
    pub(super) sni: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CheckResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) status: Option<Status>,
    /// One of the two is there.
    #[prost(message, optional, tag = "2")]
    pub(super) denied_response: Option<DeniedHttpResponse>,
    #[prost(message, optional, tag = "3")]
    pub(super) ok_response: Option<OkHttpResponse>,
    #[prost(message, optional, tag = "4")]
    pub(super) dynamic_metadata: Option<Struct>,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Status {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DeniedHttpResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) status: Option<HttpStatus>,
    #[prost(message, repeated, tag = "2")]
    pub(super) headers: Vec<HeaderValueOption>,
    #[prost(string, tag = "3")]
    pub(super) body: String,
}

/// `envoy.type.v3.HttpStatus`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct HttpStatus {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct OkHttpResponse {
    #[prost(message, repeated, tag = "2")]
    pub(super) headers: Vec<HeaderValueOption>,
    #[prost(string, repeated, tag = "5")]
    pub(super) headers_to_remove: Vec<String>,
    #[prost(message, repeated, tag = "6")]
    pub(super) response_headers_to_add: Vec<HeaderValueOption>,
    #[prost(message, repeated, tag = "7")]
    pub(super) query_parameters_to_set: Vec<QueryParameter>,
    #[prost(string, repeated, tag = "8")]
    pub(super) query_parameters_to_remove: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct HeaderValueOption {
    #[prost(message, optional, tag = "1")]
    pub(super) header: Option<HeaderValue>,
    /// `google.protobuf.BoolValue`. Its successor, `append_action`, is not read everywhere in this API.
    #[prost(message, optional, tag = "2")]
    pub(super) append: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct QueryParameter {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(string, tag = "2")]
    pub(super) value: String,
}

fn is_zero<T: Copy + Into<i64>>(number: &T) -> bool {
    (*number).into() == 0
}

fn base64_text<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

fn structs<S: Serializer>(all: &BTreeMap<String, Struct>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(all.iter().map(|(name, fields)| (name, object(fields))))
}

fn object(fields: &Struct) -> serde_json::Value {
    fields.fields.iter().map(|(name, value)| (name.clone(), json(value))).collect()
}

/// A value as JSON. Protobuf keeps all numbers as doubles: whole ones are written so.
fn json(value: &Value) -> serde_json::Value {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => serde_json::Value::Null,
        Some(Kind::BoolValue(boolean)) => (*boolean).into(),
        Some(Kind::StringValue(text)) => text.clone().into(),
        #[expect(clippy::cast_possible_truncation, reason = "it is whole, and small enough")]
        Some(Kind::NumberValue(number)) if number.fract() == 0.0 && number.abs() <= WHOLE_MAX => {
            (*number as i64).into()
        }
        Some(Kind::NumberValue(number)) => Number::from_f64(*number).into(),
        Some(Kind::ListValue(list)) => list.values.iter().map(json).collect(),
        Some(Kind::StructValue(fields)) => object(fields),
    }
}

/// An object as protobuf keeps it. Numbers become doubles.
pub(super) fn from_json(members: serde_json::Map<String, serde_json::Value>) -> Struct {
    Struct { fields: members.into_iter().map(|(name, value)| (name, from_value(value))).collect() }
}

fn from_value(value: serde_json::Value) -> Value {
    let kind = match value {
        serde_json::Value::Null => Kind::NullValue(0),
        serde_json::Value::Bool(boolean) => Kind::BoolValue(boolean),
        serde_json::Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        serde_json::Value::String(text) => Kind::StringValue(text),
        serde_json::Value::Array(values) => {
            Kind::ListValue(prost_types::ListValue { values: values.into_iter().map(from_value).collect() })
        }
        serde_json::Value::Object(members) => Kind::StructValue(from_json(members)),
    };
    Value { kind: Some(kind) }
}
