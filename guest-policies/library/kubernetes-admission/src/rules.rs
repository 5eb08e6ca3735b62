//! The rules, as functions from a pod and its parameters to violations.

use verdict_sdk::Reason;

use crate::pod::{AllowedHostPath, Parameters, Spec, Volume, containers, spec_pointer};
use crate::{of_container, of_each};

pub(crate) fn privileged_containers(spec: &Spec, parameters: &Parameters) -> Vec<Reason> {
    of_each(spec, parameters, |place| {
        let privileged = place.container.security_context.as_ref()?.privileged?;
        privileged.then(|| {
            of_container(
                "privileged-container",
                "must not be privileged",
                place,
                "/securityContext/privileged",
            )
        })
    })
}

pub(crate) fn host_namespaces(spec: &Spec) -> Vec<Reason> {
    [(spec.host_pid, "hostPID"), (spec.host_ipc, "hostIPC")]
        .into_iter()
        .filter(|(shared, _)| *shared == Some(true))
        .map(|(_, field)| {
            Reason::new("host-namespace", ["the pod must not share the host's namespace: ", field].concat())
                .on(["/request/object/spec/", field].concat())
        })
        .collect()
}

pub(crate) fn allow_privilege_escalation(spec: &Spec, parameters: &Parameters) -> Vec<Reason> {
    of_each(spec, parameters, |place| {
        let context = place.container.security_context.as_ref();
        let forbidden = context.and_then(|it| it.allow_privilege_escalation) == Some(false);
        (!forbidden).then(|| {
            let message = "must set `allowPrivilegeEscalation` to false";
            of_container("privilege-escalation", message, place, "/securityContext/allowPrivilegeEscalation")
        })
    })
}

pub(crate) fn allowed_repos(spec: &Spec, parameters: &Parameters) -> Vec<Reason> {
    let is_allowed = |image: &str| parameters.repos().iter().any(|repo| image.starts_with(repo.as_str()));
    containers(spec)
        .filter(|place| !place.container.image.as_deref().is_some_and(is_allowed))
        .map(|place| {
            of_container("repo-not-allowed", "its image is from another repository", &place, "/image")
        })
        .collect()
}

pub(crate) fn host_filesystem(spec: &Spec, parameters: &Parameters) -> Vec<Reason> {
    let allowed = parameters.allowed_host_paths();
    (0..)
        .zip(spec.volumes())
        .filter(|(_, volume)| volume.host_path.is_some())
        .filter(|(_, volume)| !allowed.iter().any(|path| allows(path, volume, spec)))
        .map(|(index, volume)| {
            let message = ["volume `", &volume.name, "`: this path of the host is not allowed"].concat();
            Reason::new("host-path", message).on(spec_pointer("volumes").index(index).child("hostPath"))
        })
        .collect()
}

fn allows(allowed: &AllowedHostPath, volume: &Volume, spec: &Spec) -> bool {
    let path = volume.host_path.as_ref().and_then(|it| it.path.as_deref());
    let (Some(prefix), Some(path)) = (allowed.path_prefix.as_deref(), path) else { return false };
    is_below(prefix, path) && (allowed.read_only != Some(true) || !is_mounted_writeable(&volume.name, spec))
}

/// By whole steps: `/foo` reaches `/foo`, `/foo/` and `/foo/bar`, not `/fool`.
fn is_below(prefix: &str, path: &str) -> bool {
    let mut steps = steps(path);
    self::steps(prefix).all(|step| steps.next() == Some(step))
}

fn steps(path: &str) -> impl Iterator<Item = &str> {
    path.trim_matches('/').split('/').skip(usize::from(path == "/"))
}

fn is_mounted_writeable(volume: &str, spec: &Spec) -> bool {
    containers(spec)
        .flat_map(|place| place.container.mounts())
        .any(|mount| mount.name == volume && mount.read_only != Some(true))
}
