//! What a server tells those who look after it, as `verdict serve` is told.

use std::fmt;

use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;
use verdict_server::{Correlation, TraceOptions, correlation};

/// The log of what goes on, and traces.
#[derive(clap::Args)]
pub(crate) struct ObserveArgs {
    /// How what goes on is written to stderr: each line of a request has its id, and that of its trace. `RUST_LOG` says
    /// how much [default: text, or json with `--json`]
    #[arg(long, value_name = "FORMAT", value_enum)]
    log_format: Option<LogFormat>,
    /// Export traces to this collector: OTLP over HTTP, the address below which `v1/traces` is. What else the standard
    /// variables say counts too, such as `OTEL_EXPORTER_OTLP_HEADERS` and `OTEL_RESOURCE_ATTRIBUTES`
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT", hide_env_values = true)]
    otlp_endpoint: Option<String>,
    /// The part of the traces that begin here which is exported, 0 to 1. Of those that began elsewhere, it is decided
    /// there
    #[arg(long, value_name = "RATIO", env = "OTEL_TRACES_SAMPLER_ARG", default_value_t = 1.0)]
    trace_ratio: f64,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum LogFormat {
    /// For people
    Text,
    /// One object a line
    Json,
}

impl ObserveArgs {
    /// Where traces go; nowhere where no collector is named.
    pub(crate) fn traces(&self) -> Option<TraceOptions> {
        let endpoint = self.otlp_endpoint.clone().filter(|endpoint| !endpoint.is_empty())?;
        Some(TraceOptions { endpoint, ratio: self.trace_ratio })
    }

    /// Writes what goes on to stderr from now on; as JSON, too, where all output is.
    pub(crate) fn start_logging(&self, json: bool) {
        let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
        let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        let format = self.log_format.unwrap_or(if json { LogFormat::Json } else { LogFormat::Text });
        // Fails only if one is installed already, which is as good.
        let _ = match format {
            LogFormat::Json => subscriber.json().map_event_format(Correlated).try_init(),
            LogFormat::Text => subscriber.map_event_format(Correlated).try_init(),
        };
    }
}

/// Lines as another format has them, with the request that they belong to.
struct Correlated<F>(F);

impl<S, N, F> FormatEvent<S, N> for Correlated<F>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &tracing::Event<'_>,
    ) -> fmt::Result {
        let Some(correlation) = correlation() else {
            return self.0.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        writer.write_str(&with(line.trim_end(), &correlation))?;
        writer.write_char('\n')
    }
}

/// A line, an object or text, with the request that it belongs to.
fn with(line: &str, Correlation { request, trace }: &Correlation) -> String {
    let Some(rest) = line.strip_prefix('{') else {
        let trace = trace.as_ref().map(|trace| format!(" trace_id={trace}")).unwrap_or_default();
        return format!("{line} request_id={request}{trace}");
    };
    let text = |text: &String| serde_json::Value::from(text.as_str()).to_string();
    let trace = trace.as_ref().map(|trace| format!("\"trace_id\":{},", text(trace))).unwrap_or_default();
    format!("{{\"request_id\":{},{trace}{rest}", text(request))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_which_request_it_belongs_to_in_either_form() {
        let known = Correlation { request: "a\"b".into(), trace: Some("0af7".into()) };
        let line = with(r#"{"level":"INFO"}"#, &known);
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        let expected = serde_json::json!({"request_id": "a\"b", "trace_id": "0af7", "level": "INFO"});
        assert_eq!(read, expected);
        assert_eq!(with("INFO it began", &known), "INFO it began request_id=a\"b trace_id=0af7");
        let untraced = Correlation { trace: None, ..known };
        assert_eq!(with("INFO", &untraced), "INFO request_id=a\"b");
    }
}
