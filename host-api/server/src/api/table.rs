//! Every route, with the action that it is. Nothing is served that is not in here.

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

use super::document;
use super::gate::gate;
use super::rule::{Rule, Whose};
use super::{channels, data, events, follow, keys, policies, statements, tenants, trust, usage, versions};
use crate::authzen::{discovery, routes as authzen};
use crate::gateway::{admission, auth_request};
use crate::routes::App;
use crate::{batch, decide, health, metrics, preview, routes as host, tail};

/// Routes on their way into a router. There is no way in but with an action, or by saying that everybody may.
pub(super) struct Table {
    app: Arc<App>,
    /// Those that answer at once.
    quick: OpenApiRouter<Arc<App>>,
    /// Those that take long bodies, or wait.
    patient: OpenApiRouter<Arc<App>>,
}

/// The routes of a method, or of several, at one path.
type Routes = UtoipaMethodRouter<Arc<App>>;

impl Table {
    fn new(app: &Arc<App>) -> Self {
        let quick = OpenApiRouter::with_openapi(document::head());
        Self { app: Arc::clone(app), quick, patient: OpenApiRouter::default() }
    }

    /// A route that the access policy lets through.
    fn route(mut self, action: &'static str, whose: Whose, routes: Routes) -> Self {
        let rule = Rule { action, whose, is_older: false };
        self.quick = self.quick.routes(guarded(&self.app, rule, routes));
        self
    }

    /// A route that was there before problems had their form.
    fn older(mut self, action: &'static str, whose: Whose, routes: Routes) -> Self {
        let rule = Rule { action, whose, is_older: true };
        self.quick = self.quick.routes(guarded(&self.app, rule, routes));
        self
    }

    /// A route that may take long.
    fn patient(mut self, action: &'static str, whose: Whose, routes: Routes) -> Self {
        let rule = Rule { action, whose, is_older: false };
        self.patient = self.patient.routes(guarded(&self.app, rule, routes));
        self
    }

    /// A route that says only in its body, or in a part of its path, which policy it asks: its handler finds out who asks
    /// and whether they may, by [`App::decider`].
    fn asking(mut self, (schemas, mut paths, methods): Routes) -> Self {
        document::complete(&mut paths, Some("decision.decide"));
        self.quick = self.quick.routes((schemas, paths, methods));
        self
    }

    /// OPA's routes, which find out for themselves who asks and whether they may: what is asked is in their paths.
    fn opa(mut self) -> Self {
        for routes in crate::opa::routes() {
            self.quick = self.quick.routes(routes);
        }
        self
    }

    /// A route for everybody.
    fn public(mut self, (schemas, mut paths, methods): Routes) -> Self {
        document::complete(&mut paths, None);
        self.quick = self.quick.routes((schemas, paths, methods));
        self
    }

    /// The routes that answer at once, and those that take long.
    pub(super) fn into_routers(self) -> (Router<Arc<App>>, Router<Arc<App>>) {
        (self.quick.into(), self.patient.into())
    }

    /// What the routes are, for clients.
    #[cfg_attr(not(test), expect(dead_code, reason = "what is served is checked in, and compared by a test"))]
    pub(super) fn into_openapi(self) -> OpenApi {
        let mut openapi = self.quick.into_openapi();
        openapi.merge(self.patient.into_openapi());
        document::plain(&mut openapi);
        openapi
    }
}

fn guarded(app: &Arc<App>, rule: Rule, (schemas, mut paths, methods): Routes) -> Routes {
    document::complete(&mut paths, Some(rule.action));
    let methods = methods.route_layer(from_fn_with_state((Arc::clone(app), rule), gate));
    (schemas, paths, methods)
}

/// Every route.
pub(super) fn table(app: &Arc<App>) -> Table {
    let table = Table::new(app)
        .public(routes!(document::openapi))
        .public(routes!(host::live))
        .public(routes!(host::ready))
        .public(routes!(host::log_resource));
    registry(authzen(gateways(decisions(table))))
        .opa()
        .route("key.list", Whose::Query, routes!(keys::list))
        .route("key.create", Whose::Body, routes!(keys::create))
        .route("key.list", Whose::Key, routes!(keys::read))
        .route("key.revoke", Whose::Key, routes!(keys::revoke))
        .route("event.read", Whose::Query, routes!(events::list))
        .patient("event.read", Whose::Query, routes!(events::stream))
}

fn decisions(table: Table) -> Table {
    table
        .older("host.read", Whose::Own, routes!(host::policies))
        .older("host.read", Whose::Own, routes!(metrics::metrics))
        .route("host.read", Whose::Own, routes!(health::details))
        .older("decision.decide", Whose::Path, routes!(decide::routed))
        .older("decision.decide", Whose::Path, routes!(batch::batch))
        .patient("policy.preview", Whose::Path, routes!(preview::preview))
        .patient("decision.read", Whose::Path, routes!(tail::tail))
        .older("decision.read", Whose::Path, routes!(decide::decision))
        .older("decision.read", Whose::Path, routes!(decide::receipt))
        .older("log.read", Whose::Path, routes!(host::log_entries))
        .route("decision.read", Whose::Path, routes!(usage::read))
}

fn gateways(table: Table) -> Table {
    table
        .patient("decision.decide", Whose::Path, routes!(admission::review))
        .patient("decision.decide", Whose::Path, routes!(admission::review_by_rule))
        .patient("decision.decide", Whose::Path, routes!(admission::review_in_channel))
        .asking(routes!(auth_request::authorize))
}

/// Below a policy, too, the handlers find out who asks, as they do at the root.
fn authzen(table: Table) -> Table {
    table
        .public(routes!(discovery::at_root))
        .asking(routes!(discovery::of_policy))
        .asking(routes!(authzen::evaluation))
        .asking(routes!(authzen::evaluations))
        .asking(routes!(authzen::search_subject))
        .asking(routes!(authzen::search_resource))
        .asking(routes!(authzen::search_action))
        .asking(routes!(authzen::evaluation_of_policy))
        .asking(routes!(authzen::evaluations_of_policy))
        .asking(routes!(authzen::search_subject_of_policy))
        .asking(routes!(authzen::search_resource_of_policy))
        .asking(routes!(authzen::search_action_of_policy))
}

fn registry(table: Table) -> Table {
    let table = table
        .patient("documents.read", Whose::Own, routes!(follow::documents))
        .route("trust.read", Whose::Own, routes!(trust::trust))
        .route("trust.read", Whose::Own, routes!(trust::trust_versions))
        .route("trust.write", Whose::Every, routes!(trust::put_trust))
        .route("revocations.read", Whose::Own, routes!(trust::revocations))
        .route("revocations.write", Whose::Every, routes!(trust::put_revocations))
        .route("tenant.list", Whose::Own, routes!(tenants::list))
        .route("tenant.create", Whose::Every, routes!(tenants::create))
        .route("tenant.read", Whose::Path, routes!(tenants::read))
        .route("tenant.change", Whose::Path, routes!(tenants::change));
    of_data(of_policies(table))
}

fn of_policies(table: Table) -> Table {
    table
        .route("policy.list", Whose::Path, routes!(policies::list))
        .route("policy.create", Whose::Path, routes!(policies::create))
        .route("policy.read", Whose::Path, routes!(policies::read))
        .route("policy.change", Whose::Path, routes!(policies::change))
        .route("version.read", Whose::Path, routes!(versions::list))
        .route("version.read", Whose::Path, routes!(versions::read))
        .route("statement.read", Whose::Path, routes!(statements::list))
        .route("statement.attach", Whose::Path, routes!(statements::attach))
        .route("channel.read", Whose::Path, routes!(channels::list))
        .route("channel.read", Whose::Path, routes!(channels::read))
        .route("channel.read", Whose::Path, routes!(channels::states))
        .route("channel.write", Whose::Path, routes!(channels::put))
        .route("channel.activate", Whose::Path, routes!(channels::activate))
        .route("channel.activate", Whose::Path, routes!(channels::promote))
        .route("channel.activate", Whose::Path, routes!(channels::rollback))
}

fn of_data(table: Table) -> Table {
    table
        .route("data.read", Whose::Path, routes!(data::read))
        .route("data.write", Whose::Path, routes!(data::put))
        .route("data.read", Whose::Path, routes!(data::snapshots))
        .patient("data.read", Whose::Path, routes!(data::document))
        .patient("data.read", Whose::Path, routes!(data::content))
        .patient("data.write", Whose::Path, routes!(data::put_content))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::access::ACTIONS;
    use crate::listen::{Listen, Options};

    fn document() -> serde_json::Value {
        let options = Options::new(Listen::parse("127.0.0.1:0").unwrap());
        serde_json::to_value(table(&Arc::new(App::new(None, &options))).into_openapi()).unwrap()
    }

    /// `VERDICT_WRITE_OPENAPI=1` writes what is compared.
    #[test]
    fn the_document_that_is_checked_in_is_that_of_the_routes() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
        let text = format!("{}\n", serde_json::to_string_pretty(&document()).unwrap());
        if std::env::var_os("VERDICT_WRITE_OPENAPI").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        assert!(
            text == std::fs::read_to_string(path).unwrap(),
            "run with VERDICT_WRITE_OPENAPI=1, and review"
        );
    }

    #[test]
    fn what_the_document_refers_to_is_in_it() {
        let document = document();
        let text = document.to_string();
        for rest in text.split("\"#/components/schemas/").skip(1) {
            let name = rest.split('"').next().unwrap();
            assert!(document["components"]["schemas"][name].is_object(), "{name}");
        }
    }

    #[test]
    fn every_route_asks_for_a_known_action_but_those_for_everybody() {
        let (document, mut open) = (document(), BTreeSet::new());
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                match operation["x-verdict-action"].as_str() {
                    Some(action) => assert!(ACTIONS.contains(&action), "{method} {path}: {action}"),
                    None => drop(open.insert(path.as_str())),
                }
            }
        }
        let expected = [
            "/.well-known/authzen-configuration",
            "/health",
            "/health/live",
            "/health/ready",
            "/v1/openapi.json",
            "/v1/tenants/{tenant}/log/{path}",
            "/v1/tenants/{tenant}/opa/health",
        ];
        assert_eq!(open, expected.into());
    }
}
