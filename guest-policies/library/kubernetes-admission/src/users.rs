//! Which users and groups a container may run as. What the container does not set, it takes from its pod.

use verdict_sdk::Reason;

use crate::pod::{IdRule, Parameters, Place, SecurityContext, Spec};
use crate::{of_container, of_each};

const ANY: &str = "RunAsAny";
const NON_ROOT: &str = "MustRunAsNonRoot";
const REQUIRED: &str = "MustRunAs";

pub(crate) fn users(spec: &Spec, parameters: &Parameters, is_pod: bool) -> Vec<Reason> {
    let pod = spec.security_context.as_ref().filter(|_| is_pod);
    of_each(spec, parameters, |place| {
        let contexts = [place.container.security_context.as_ref(), pod];
        let groups = [
            (
                "runAsGroup",
                &parameters.run_as_group,
                first(contexts, |it| it.run_as_group.map(|id| vec![id])),
            ),
            (
                "supplementalGroups",
                &parameters.supplemental_groups,
                first(contexts, |it| it.supplemental_groups.clone()),
            ),
            ("fsGroup", &parameters.fs_group, first(contexts, |it| it.fs_group.map(|id| vec![id]))),
        ];
        let user = parameters.run_as_user.as_ref().and_then(|rule| user(rule, contexts, place));
        let groups = groups.into_iter().filter_map(|(field, rule, ids)| {
            let forbidden = rule.as_ref().is_some_and(|rule| !may_be_in(rule, ids.as_deref()));
            forbidden
                .then(|| violation("group-not-allowed", "runs as a group that is not allowed", place, field))
        });
        user.into_iter().chain(groups).collect::<Vec<_>>()
    })
}

fn user(rule: &IdRule, contexts: [Option<&SecurityContext>; 2], place: &Place<'_>) -> Option<Reason> {
    let (allowed, field) = match first(contexts, |it| it.run_as_user) {
        Some(id) => {
            let allowed = rule.is(ANY)
                || (rule.is(NON_ROOT) && id != 0)
                || (rule.is(REQUIRED) && rule.has_in_range(id));
            (allowed, "runAsUser")
        }
        None if rule.is(NON_ROOT) => (first(contexts, |it| it.run_as_non_root) == Some(true), "runAsNonRoot"),
        None => (!rule.is(REQUIRED), "runAsUser"),
    };
    (!allowed).then(|| violation("user-not-allowed", "runs as a user that is not allowed", place, field))
}

/// `MayRunAs` leaves the choice to the image; `MustRunAs` wants one.
fn may_be_in(rule: &IdRule, groups: Option<&[i64]>) -> bool {
    match groups {
        Some(ids) => {
            let has_ranges = rule.is("MayRunAs") || rule.is(REQUIRED);
            rule.is(ANY) || ids.iter().all(|id| has_ranges && rule.has_in_range(*id))
        }
        None => !rule.is(REQUIRED),
    }
}

fn first<T>(
    contexts: [Option<&SecurityContext>; 2],
    field: impl Fn(&SecurityContext) -> Option<T>,
) -> Option<T> {
    contexts.into_iter().flatten().find_map(field)
}

fn violation(code: &str, message: &str, place: &Place<'_>, field: &str) -> Reason {
    of_container(code, message, place, &["/securityContext/", field].concat())
}
