//! What the rules know of a pod and of a constraint's parameters. Other fields are skipped.

use serde::Deserialize;
use verdict_sdk::Pointer;

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Spec {
    containers: Option<Vec<Container>>,
    init_containers: Option<Vec<Container>>,
    ephemeral_containers: Option<Vec<Container>>,
    volumes: Option<Vec<Volume>>,
    pub(crate) security_context: Option<SecurityContext>,
    #[serde(rename = "hostPID")]
    pub(crate) host_pid: Option<bool>,
    #[serde(rename = "hostIPC")]
    pub(crate) host_ipc: Option<bool>,
}

impl Spec {
    pub(crate) fn volumes(&self) -> &[Volume] {
        self.volumes.as_deref().unwrap_or_default()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Container {
    pub(crate) name: Option<String>,
    pub(crate) image: Option<String>,
    pub(crate) security_context: Option<SecurityContext>,
    volume_mounts: Option<Vec<VolumeMount>>,
}

impl Container {
    pub(crate) fn mounts(&self) -> &[VolumeMount] {
        self.volume_mounts.as_deref().unwrap_or_default()
    }
}

/// Of a container, or of a pod: the fields that the rules need of both.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SecurityContext {
    pub(crate) privileged: Option<bool>,
    pub(crate) allow_privilege_escalation: Option<bool>,
    pub(crate) run_as_non_root: Option<bool>,
    pub(crate) run_as_user: Option<i64>,
    pub(crate) run_as_group: Option<i64>,
    pub(crate) fs_group: Option<i64>,
    pub(crate) supplemental_groups: Option<Vec<i64>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VolumeMount {
    pub(crate) name: String,
    pub(crate) read_only: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Volume {
    pub(crate) name: String,
    pub(crate) host_path: Option<HostPath>,
}

#[derive(Deserialize)]
pub(crate) struct HostPath {
    pub(crate) path: Option<String>,
}

/// A constraint's `spec.parameters`; each rule uses its own.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Parameters {
    exempt_images: Option<Vec<String>>,
    repos: Option<Vec<String>>,
    allowed_host_paths: Option<Vec<AllowedHostPath>>,
    pub(crate) run_as_user: Option<IdRule>,
    pub(crate) run_as_group: Option<IdRule>,
    pub(crate) supplemental_groups: Option<IdRule>,
    pub(crate) fs_group: Option<IdRule>,
}

impl Parameters {
    pub(crate) fn repos(&self) -> &[String] {
        self.repos.as_deref().unwrap_or_default()
    }

    pub(crate) fn allowed_host_paths(&self) -> &[AllowedHostPath] {
        self.allowed_host_paths.as_deref().unwrap_or_default()
    }

    pub(crate) fn exempts(&self, container: &Container) -> bool {
        let Some(image) = container.image.as_deref() else { return false };
        self.exempt_images.iter().flatten().any(|exempt| match exempt.strip_suffix('*') {
            Some(prefix) => image.starts_with(prefix),
            None => image == exempt,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AllowedHostPath {
    pub(crate) path_prefix: Option<String>,
    pub(crate) read_only: Option<bool>,
}

#[derive(Deserialize)]
pub(crate) struct IdRule {
    rule: String,
    ranges: Option<Vec<IdRange>>,
}

#[derive(Deserialize)]
struct IdRange {
    min: i64,
    max: i64,
}

impl IdRule {
    pub(crate) fn is(&self, rule: &str) -> bool {
        self.rule == rule
    }

    pub(crate) fn has_in_range(&self, id: i64) -> bool {
        self.ranges.iter().flatten().any(|range| (range.min..=range.max).contains(&id))
    }
}

/// A container and where it is.
pub(crate) struct Place<'a> {
    pub(crate) container: &'a Container,
    list: &'static str,
    index: u32,
}

impl Place<'_> {
    /// The container's pointer in the input.
    pub(crate) fn pointer(&self) -> Pointer {
        spec_pointer(self.list).index(self.index)
    }
}

/// Every container of a pod, whatever its kind.
pub(crate) fn containers(spec: &Spec) -> impl Iterator<Item = Place<'_>> {
    let lists = [
        ("containers", &spec.containers),
        ("initContainers", &spec.init_containers),
        ("ephemeralContainers", &spec.ephemeral_containers),
    ];
    lists.into_iter().flat_map(|(list, containers)| {
        let containers = (0..).zip(containers.iter().flatten());
        containers.map(move |(index, container)| Place { container, list, index })
    })
}

/// The pointer of a list in the pod's spec.
pub(crate) fn spec_pointer(list: &str) -> Pointer {
    Pointer::to("request").child("object").child("spec").child(list)
}
