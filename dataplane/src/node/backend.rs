//! What the control thread asks of the node, and gets.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Handle, unix_seconds};
use crate::control::{
    Answer, Backend, CertificateExpiry, Changed, EntryChoice, ListsChange, Page, Refused, RulesChange,
    Status, Stop, Token, Unexplained,
};
use crate::explain;
use crate::telemetry::MetricsSnapshot;
use crate::upgrade;
use crate::worker::Notice;

impl Backend for Handle {
    fn live(&self) -> bool {
        // One that has finished in a drain is no longer alive, but has not died.
        !self.in_force().workers.iter().any(|worker| worker.died)
    }

    fn ready(&self) -> bool {
        let in_force = self.in_force();
        let generation = in_force.snapshot.generation;
        !self.draining.load(Ordering::Relaxed)
            && in_force.workers.iter().all(|worker| worker.alive && worker.serving == generation)
    }

    fn status(&self) -> Status {
        let origins = self.origin_status();
        let in_force = self.in_force();
        let generation = in_force.snapshot.generation;
        let ready = in_force.workers.iter().filter(|worker| worker.alive && worker.serving == generation);
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            config_digest: in_force.layer.digest(&in_force.files.digest),
            generation,
            config_since_unix_seconds: u64::try_from(in_force.since_unix).unwrap_or(0),
            started_unix_seconds: u64::try_from(self.started_unix).unwrap_or(0),
            workers: u32::try_from(in_force.workers.len()).unwrap_or(u32::MAX),
            workers_ready: u32::try_from(ready.count()).unwrap_or(u32::MAX),
            draining: self.draining.load(Ordering::Relaxed),
            io: self.io_description.clone(),
            client_certificates: in_force
                .snapshot
                .certificate_expiries
                .iter()
                .map(|(name, not_after)| CertificateExpiry {
                    name: name.clone(),
                    not_after_unix_seconds: *not_after,
                })
                .collect(),
            origins,
            names: in_force.names.status(Instant::now()),
            listener_certificates: in_force
                .snapshot
                .listener_certificates
                .iter()
                .map(|(name, not_after)| CertificateExpiry {
                    name: name.clone(),
                    not_after_unix_seconds: *not_after,
                })
                .collect(),
        }
    }

    fn certificate_check_interval(&self) -> Option<Duration> {
        Some(self.in_force().config.node.certificate_check_interval).filter(|interval| !interval.is_zero())
    }

    fn check_certificates(&self) -> bool {
        let snapshot = self.snapshot();
        let mut watch = self.certificates();
        let (files, ends) = &mut *watch;
        let all = snapshot.certificate_expiries.iter().chain(&snapshot.listener_certificates);
        for (certificate, days) in ends.due(all.map(|(name, end)| (name.as_str(), *end)), unix_seconds()) {
            if days < 0 {
                tracing::error!(certificate, "a certificate has expired");
            } else {
                tracing::warn!(certificate, days, "a certificate expires soon");
            }
        }
        files.has_changed()
    }

    fn metrics(&self) -> MetricsSnapshot {
        self.registry.snapshot()
    }

    fn reload(&self) -> Result<u64, Vec<String>> {
        self.reload_files()
    }

    fn rules(&self) -> Answer {
        self.current().rules_answer()
    }

    fn rule(&self, id: u64) -> Option<Answer> {
        self.current().rule_answer(id)
    }

    fn change_rules(&self, change: RulesChange, if_match: Option<&str>) -> Result<Changed, Refused> {
        self.make_rules_change(change, if_match)
    }

    fn ip_lists(&self, choice: &EntryChoice, page: Page) -> Answer {
        self.current().lists_answer(choice, page)
    }

    fn change_ip_lists(&self, change: ListsChange, if_match: Option<&str>) -> Result<Changed, Refused> {
        self.make_lists_change(change, if_match)
    }

    fn drop_expired(&self) {
        // Where it couldn't be done at the start, which has warned of it, it is tried again.
        let _said_at_the_start = self.store_settled();
        self.forget_expired();
    }

    fn explain(&self, request: serde_json::Value) -> Result<serde_json::Value, Unexplained> {
        let described = explain::Described::from_json(&request)?;
        let snapshot = self.snapshot();
        let mut explainer = explain::Explainer::new(&snapshot).map_err(Unexplained::NoMemory)?;
        Ok(explainer.explain(&described)?.to_json())
    }

    fn admin_token(&self) -> Option<Token> {
        self.in_force().config.admin.as_ref()?.token.clone()
    }

    fn upgrade(&self) -> Result<u32, String> {
        if !self.upgradable.load(Ordering::Relaxed) {
            return Err("only `weir run` can be upgraded".to_owned());
        }
        if self.draining.load(Ordering::Relaxed) {
            return Err("this process is stopping already".to_owned());
        }
        // Nothing changes while the successor reads what it will stand for.
        let mut state_folder = self.changing();
        let copies = self.copies_to_hand_over(state_folder.as_ref());
        let copies = copies.map_err(|error| format!("no copies of the sockets: {error}"))?;
        let successor = upgrade::start_successor(&copies)?;
        *state_folder = None;
        let _ = self.stopper.send((0, Notice::Succeeded));
        Ok(successor)
    }

    fn stop(&self, how: Stop) {
        if how == Stop::Now || self.stops.fetch_add(1, Ordering::Relaxed) == 0 {
            let _ = self.stopper.send((0, Notice::StopAsked));
        }
    }
}
