//! What is no tenant's own: the whole server's.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use verdict::ledger::SYNC_SECONDS;

use super::{Scrape, family, histogram, moments, single};
use crate::listen::{CLASSES, Protocol};
use crate::times::Timed;

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

impl Scrape {
    pub(super) fn loaded(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let version = [([("version", env!("CARGO_PKG_VERSION"))], 1)];
        family(encoder, ("build_info", "The version of this server", MetricType::Gauge), version)?;
        let began = ("start_time_seconds", "When this server began");
        moments(encoder, began, [([], self.app.began)])?;
        let (shadows, verified) = (self.host.shadow_counts(), self.host.verification_counts());
        let condition = &self.app.condition;
        let gauges = [
            ("policies", "Versions of policies that are loaded", count(self.host.policies().len())),
            ("quarantined", "Artifacts and documents that were refused", count(self.host.quarantine().len())),
            ("registry_reachable", "Whether the registry that is followed can be read", {
                u64::from(self.host.unreachable().is_none())
            }),
            ("old_certificate", "Whether a new certificate could not be read", {
                u64::from(condition.has_old_certificate())
            }),
            ("old_config", "Whether changed settings could not be read", {
                u64::from(condition.old_config_since().is_some())
            }),
            ("leaving", "Whether the server is about to stop", u64::from(condition.is_leaving())),
        ];
        for (name, help, value) in gauges {
            single(encoder, (name, help, MetricType::Gauge), value)?;
        }
        let counters = [
            ("shadows_recorded", "Decisions of shadows", shadows.0),
            ("shadows_left_out", "Questions that no shadow was asked, since too many waited", shadows.1),
            ("resets_compared", "Evaluations that were made again in a new instance", verified.compared),
            ("resets_differed", "Those of them that came out otherwise", verified.differed),
        ];
        for (name, help, value) in counters {
            single(encoder, (name, help, MetricType::Counter), value)?;
        }
        Ok(())
    }

    /// The log; that it is off, its counters say by not being there.
    pub(super) fn log(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let healthy = u64::from(self.host.health().is_ok());
        single(encoder, ("log_healthy", "Whether decisions can be recorded", MetricType::Gauge), healthy)?;
        let Some(stats) = self.host.log_stats() else { return Ok(()) };
        let gauges = [
            ("log_entries", "Entries of the logs of all tenants", stats.entries),
            ("log_unsynced_records", "Records that a loss of power would take", stats.unsynced),
            ("log_queued_bytes", "What waits to be written", stats.queued_bytes),
        ];
        for (name, help, value) in gauges {
            single(encoder, (name, help, MetricType::Gauge), value)?;
        }
        let counted =
            [("recorded", stats.acknowledged), ("failed", stats.failed), ("refused", stats.refused)];
        let appends = counted.map(|(outcome, count)| ([("outcome", outcome)], count));
        family(encoder, ("log_appends", "Records, by what came of them", MetricType::Counter), appends)?;
        let counters = [
            ("log_batches", "Batches that were written", stats.batches),
            ("log_file_syncs", "Syncs of files and folders", stats.fsyncs),
            ("log_checkpoints", "Checkpoints that were signed", stats.checkpoints),
        ];
        for (name, help, value) in counters {
            single(encoder, (name, help, MetricType::Counter), value)?;
        }
        let timed = Timed::of(&SYNC_SECONDS, &stats.sync_times, stats.sync_time);
        let help = "How long it takes until what was written is durable";
        encoder
            .encode_descriptor("log_sync_seconds", help, None, MetricType::Histogram)?
            .encode_histogram::<NoLabelSet>(timed.sum.as_secs_f64(), timed.count(), &timed.ranges, None)
    }

    /// Until when it holds what was read, and how reading it has gone.
    pub(super) fn documents(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let ends = self.app.ends();
        let rows = ends.iter().map(|(document, end)| ([("document", *document)], *end));
        moments(encoder, ("document_expires_timestamp_seconds", "When a document ends"), rows)?;
        let policies = [("policies", Some(self.host.readings())), ("access", self.app.access.readings())];
        let policies = policies.into_iter().filter_map(|(what, readings)| Some((what, readings?)));
        let policies: Vec<_> = policies.collect();
        let rows = policies.iter().flat_map(|(what, readings)| {
            let outcomes = [("succeeded", readings.succeeded), ("failed", readings.failed)];
            outcomes.map(|(outcome, count)| ([("what", *what), ("outcome", outcome)], count))
        });
        let help = "How often policies, trust and data were read";
        family(encoder, ("reloads", help, MetricType::Counter), rows)?;
        let last = policies.iter().filter_map(|(what, readings)| Some(([("what", *what)], readings.last?)));
        moments(encoder, ("reload_timestamp_seconds", "When they were read the last time"), last)
    }

    pub(super) fn traffic(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let traffic = &self.app.condition.traffic;
        let ((open, connections_max), (under_way, requests_max)) =
            (traffic.connections(), traffic.requests());
        let (turned_away, shed) = traffic.refused();
        let gauges = [
            ("connections", "Connections that are open", open),
            ("connections_max", "The most connections that there may be", connections_max),
            ("requests_under_way", "Requests that are under way", under_way),
            ("requests_under_way_max", "The most requests that there may be at a time", requests_max),
            ("long_evaluations", "Evaluations with a large fuel limit that are under way", {
                self.app.long_evaluations_under_way()
            }),
            ("long_evaluations_max", "The most of them that there may be", self.app.long_evaluations_max),
        ];
        for (name, help, value) in gauges {
            single(encoder, (name, help, MetricType::Gauge), count(value))?;
        }
        let counters = [
            ("connections_turned_away", "Connections that were too many", turned_away),
            ("requests_shed", "Requests that were too many", shed),
        ];
        for (name, help, value) in counters {
            single(encoder, (name, help, MetricType::Counter), value)?;
        }
        if let Some(tracing) = &self.app.tracing {
            let rows = tracing.counts().map(|(outcome, count)| ([("outcome", outcome)], count));
            family(encoder, ("spans", "Spans of traces, by what came of them", MetricType::Counter), rows)?;
        }
        self.answers(encoder)
    }

    fn answers(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let traffic = &self.app.condition.traffic;
        let answered: Vec<_> = Protocol::ALL
            .into_iter()
            .filter_map(|protocol| Some((protocol.name(), traffic.answered(protocol)?)))
            .collect();
        let rows = answered.iter().flat_map(|(protocol, (classes, _))| {
            let row =
                |(class, count): (&'static str, &u64)| ([("protocol", *protocol), ("class", class)], *count);
            CLASSES.into_iter().zip(classes).map(row)
        });
        let help = "Requests that were answered, by what they were asked in and by class of status";
        family(encoder, ("requests", help, MetricType::Counter), rows)?;
        let times = answered.into_iter().map(|(protocol, (_, timed))| ([("protocol", protocol)], timed));
        let help = "The time until the head of an answer, recording included";
        histogram(encoder, ("request_seconds", help), times)
    }
}
