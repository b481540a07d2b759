//! Why a scan waits, was cut short, or failed: a stable code, a sentence, and what a person can do.

use scap::protocol::{Failure, FailureCode};

/// A reason; the text inside is what was observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    // The inspector's own (see `scap::protocol::FailureCode`).
    Inspector(Failure),
    /// The registry wants a login, and there are pull secrets that Tidewaiter may not read.
    PullSecretsForbidden {
        namespaces: String,
        detail: String,
    },
    // Waiting.
    /// Which: `the role SmartProxy`.
    NoServerRole(String),
    LimitReached {
        running: i64,
        limit: i64,
        provider: String,
    },
    Unschedulable(String),
    // The cluster.
    NotConfigured(String),
    ClusterUnreachable(String),
    /// It answers, but with an error of its own.
    ClusterError {
        code: u16,
        detail: String,
    },
    ClusterLogin(String),
    Forbidden(String),
    Namespace {
        namespace: String,
        detail: String,
    },
    QuotaExceeded(String),
    PodRejected(String),
    InspectorImage(String),
    PodConfig(String),
    // The pod.
    OutOfMemory(String),
    Evicted(String),
    PodLost(String),
    PodFailed(String),
    Timeout {
        doing: &'static str,
        secs: i64,
        detail: String,
    },
    PodDeadline {
        secs: i64,
    },
    /// The pod's time was over while its first container still pulled.
    PullDeadline {
        secs: i64,
    },
    // The server.
    /// So many servers stopped without a word while they were at this scan and at that step of it.
    ServersStopped {
        servers: i16,
        doing: &'static str,
    },
    // The end.
    WrongReport(String),
    ProviderGone,
    AnalysedElsewhere,
    ScanGone,
    Cancelled,
    Internal(String),
    // Results with gaps.
    NoOperatingSystem,
    PackagesUnreadable(String),
    LayersIncomplete(String),
}

impl Reason {
    /// The stable code, as in `scans.reason_code` and `tasks.reason_code`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Inspector(failure) => inspector_code(failure.code),
            Self::PullSecretsForbidden { .. } => inspector_code(FailureCode::AccessDenied),
            Self::NoServerRole(_) => "no_server_role",
            Self::LimitReached { .. } => "limit_reached",
            Self::Unschedulable(_) => "unschedulable",
            Self::NotConfigured(_) => "not_configured",
            Self::ClusterUnreachable(_) => "cluster_unreachable",
            Self::ClusterError { .. } => "cluster_error",
            Self::ClusterLogin(_) => "cluster_login",
            Self::Forbidden(_) => "forbidden",
            Self::Namespace { .. } => "namespace_missing",
            Self::QuotaExceeded(_) => "quota_exceeded",
            Self::PodRejected(_) => "pod_rejected",
            Self::InspectorImage(_) => "inspector_pull_error",
            Self::PodConfig(_) => "pod_config_error",
            Self::OutOfMemory(_) => "out_of_memory",
            Self::Evicted(_) => "evicted",
            Self::PodLost(_) => "pod_lost",
            Self::PodFailed(_) => "pod_failed",
            Self::Timeout { .. } | Self::PodDeadline { .. } | Self::PullDeadline { .. } => "timeout",
            Self::ServersStopped { .. } => "servers_stopped",
            Self::WrongReport(_) => "wrong_report",
            Self::ProviderGone => "provider_gone",
            Self::AnalysedElsewhere => "analysed_elsewhere",
            Self::ScanGone => "scan_gone",
            Self::Cancelled => "cancelled",
            Self::Internal(_) => "internal",
            Self::NoOperatingSystem => "no_operating_system",
            Self::PackagesUnreadable(_) => "packages_unreadable",
            Self::LayersIncomplete(_) => "layers_incomplete",
        }
    }

    /// One sentence for people.
    pub fn message(&self) -> String {
        match self {
            Self::Inspector(failure) => failure.message.clone(),
            Self::PullSecretsForbidden { namespaces, detail } => format!("{detail} Tidewaiter may not read pull secrets in the namespace {namespaces}."),
            Self::NoServerRole(which) => format!("Waiting: no server has {which}"),
            Self::LimitReached { running, limit, provider } => format!("Waiting: {running} scans already run on {provider} (limit {limit})"),
            Self::Unschedulable(detail) => format!("The cluster has no room for the scan pod: {detail}"),
            Self::NotConfigured(detail) => detail.clone(),
            Self::ClusterUnreachable(detail) => format!("The cluster does not answer: {detail}"),
            Self::ClusterError { code, detail } => format!("The cluster's API server answers with an error ({code}): {detail}"),
            Self::ClusterLogin(detail) => format!("The cluster refuses Tidewaiter's login: {detail}"),
            Self::Forbidden(detail) => format!("Tidewaiter lacks a right on the cluster: {detail}"),
            Self::Namespace { namespace, detail } => format!("The namespace {namespace} is missing and could not be made: {detail}"),
            Self::QuotaExceeded(detail) => format!("A quota of the cluster does not allow the scan pod: {detail}"),
            Self::PodRejected(detail) => format!("The cluster refuses the scan pod: {detail}"),
            Self::InspectorImage(detail) => format!("The node could not get the inspector's image: {detail}"),
            Self::PodConfig(detail) => format!("The node could not make the scan's container: {detail}"),
            Self::OutOfMemory(detail) => format!("The inspection ran out of memory{}", after_colon(detail)),
            Self::Evicted(detail) => format!("The node evicted the scan pod{}", after_colon(detail)),
            Self::PodLost(detail) => format!("The scan pod disappeared twice{}", after_colon(detail)),
            Self::PodFailed(detail) => format!("The scan pod ended before its report was fetched{}", after_colon(detail)),
            Self::Timeout { doing, secs, detail } => format!("{doing} took longer than {secs} seconds{}", after_colon(detail)),
            Self::PodDeadline { secs } => format!("The scan pod ran for longer than {secs} seconds"),
            Self::PullDeadline { secs } => format!("The image was not pulled within the {secs} seconds that the scan pod may run"),
            Self::ServersStopped { servers, doing } => format!("{servers} servers in a row stopped without a word while {doing}; it is not tried again"),
            Self::WrongReport(detail) => format!("The report cannot be used: {detail}"),
            Self::ProviderGone => "The provider was removed".into(),
            Self::AnalysedElsewhere => "Another provider's analysis of the same image is under way, and counts here too".into(),
            Self::ScanGone => "The analysis behind this task is gone".into(),
            Self::Cancelled => "Cancelled".into(),
            Self::Internal(detail) => format!("Tidewaiter failed: {detail}"),
            Self::NoOperatingSystem => "No operating system found in this image".into(),
            Self::PackagesUnreadable(detail) => format!("The package database of this image cannot be read: {detail}"),
            Self::LayersIncomplete(detail) => detail.clone(),
        }
    }

    /// What to do about it; a path in it leads to a page of Tidewaiter.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Inspector(failure) => inspector_advice(failure.code),
            Self::PullSecretsForbidden { .. } => {
                "Bind the ClusterRole tidewaiter-pull-secrets to Tidewaiter's account in that namespace, as config/kubernetes-provider.yaml shows, then retry."
            }
            Self::NoServerRole(_) => "Switch the roles SmartState Analysis and SmartProxy on for one running server: /configuration/server.",
            Self::LimitReached { .. } => "It starts by itself. The limit is smartstate.concurrent_per_provider in the settings.",
            Self::Unschedulable(_) => {
                "Free some CPU, memory or storage, add a node, or lower the requests of the scan pod in the settings (smartstate.memory_request)."
            }
            Self::NotConfigured(_) => "Complete the section [smartstate] of the settings and start the server again.",
            Self::ClusterUnreachable(_) => "Check that the API server runs and that this server can reach it, then retry.",
            Self::ClusterError { .. } => "Look after the cluster's control plane: its API server or etcd is overloaded or broken. Then retry.",
            Self::ClusterLogin(_) => "Renew the provider's credentials, then retry.",
            Self::Forbidden(_) => "Give Tidewaiter's account the rights of config/kubernetes-provider.yaml, then retry.",
            Self::Namespace { .. } => "Make it by hand (kubectl create namespace …) or let Tidewaiter's account create namespaces, then retry.",
            Self::QuotaExceeded(_) => "Raise the quota of Tidewaiter's namespace, or lower the requests of the scan pod in the settings.",
            Self::PodRejected(detail) if detail.contains("openshift.io/sa.scc") => {
                "OpenShift's controllers have given Tidewaiter's namespace no range of users and groups (annotations openshift.io/sa.scc.*): look after them, or make the namespace with oc new-project; then retry."
            }
            Self::PodRejected(detail) if detail.contains("serviceaccount") && detail.contains("not found") => {
                "The cluster's controllers make no service account default in Tidewaiter's namespace: look after the kube-controller-manager, then retry."
            }
            Self::PodRejected(detail) if detail.contains("security context constraint") => {
                "Give the provider the type OpenShift: its scan pods then need no more than the constraints restricted-v2, which every account may use."
            }
            Self::PodRejected(detail) if detail.contains(" usage per ") || detail.contains("ratio per ") => {
                "A limit range of the namespace stands against it: change it, or the pod's requests and limits in the settings (smartstate.cpu_…, memory_…, storage_limit)."
            }
            Self::PodRejected(_) => {
                "An admission policy of the cluster stands against it; allow pods of Pod Security level restricted in Tidewaiter's namespace, with the requests and limits of the section [smartstate] of the settings."
            }
            Self::InspectorImage(_) => "Check smartstate.inspector_image in the settings and that the nodes can reach its registry.",
            Self::PodConfig(_) => "Read the pod's events on the task's page.",
            Self::OutOfMemory(_) => "Raise smartstate.memory_limit in the settings, then retry.",
            Self::Evicted(detail) if detail.contains("exceeds the") => {
                "The image needs more room than smartstate.storage_limit in the settings gives it. Raise it, then retry."
            }
            Self::Evicted(_) => "The node was short of memory or storage. Retry when it has room.",
            Self::PodLost(_) => "Something on the cluster deletes Tidewaiter's pods, or nodes go away. Find out what, then retry.",
            Self::PodFailed(_) => "Read the pod's last log lines and events on the task's page, then retry.",
            Self::Timeout { .. } => "Retry. When it happens again, read the pod's events and log on the task's page.",
            Self::PullDeadline { .. } => {
                "Look at how fast the image's registry answers the node, then retry. When the image is that large, raise smartstate.pod_deadline_secs in the settings."
            }
            Self::PodDeadline { .. } => "Retry. When it happens again, raise smartstate.pod_deadline_secs in the settings.",
            Self::ServersStopped { .. } => {
                "Look into the servers' logs and memory limits of that time. When it happens with one image or provider alone, its scan pod sends what it should not."
            }
            Self::WrongReport(_) => "Check that smartstate.inspector_image belongs to this version of Tidewaiter.",
            Self::ProviderGone | Self::AnalysedElsewhere | Self::Cancelled => "",
            Self::ScanGone => "Its provider was removed, or its database restored from a backup. Ask for the analysis again.",
            Self::Internal(_) => "Retry. When it happens again, look into the server's log.",
            Self::NoOperatingSystem => "Images without a distribution are checked by Tidewaiter's own benchmark alone.",
            Self::PackagesUnreadable(_) => "Rebuild the image with an intact package database; until then its packages are not checked.",
            Self::LayersIncomplete(_) => "The image's page says for each part why it was not evaluated.",
        }
    }
}

fn after_colon(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(": {detail}") }
}

fn inspector_code(code: FailureCode) -> &'static str {
    match code {
        FailureCode::ImageNotFound => "image_not_found",
        FailureCode::AccessDenied => "access_denied",
        FailureCode::RegistryUnreachable => "registry_unreachable",
        FailureCode::RegistryTls => "registry_tls",
        FailureCode::RateLimited => "rate_limited",
        FailureCode::BadImage => "bad_image",
        FailureCode::NoPlatform => "no_platform",
        FailureCode::TooLarge => "too_large",
        FailureCode::NoSpace => "no_space",
        FailureCode::ContentError => "content_error",
        FailureCode::Timeout => "timeout",
        FailureCode::Internal => "inspector_failed",
    }
}

fn inspector_advice(code: FailureCode) -> &'static str {
    match code {
        FailureCode::ImageNotFound => "The registry has no such image (any more). Push it again, or replace the workloads that use it.",
        FailureCode::AccessDenied => "Give the workload that uses the image a pull secret which the registry accepts, then retry.",
        FailureCode::RegistryUnreachable => "Check that the registry runs and that pods of Tidewaiter's namespace can reach it, then retry.",
        FailureCode::RegistryTls => {
            "Name the registry's certificate authority in smartstate.registry_ca_file, or the registry in smartstate.plain_http_registries."
        }
        FailureCode::RateLimited => "The registry limits pulls. Retry later, or give the workload a pull secret with a higher limit.",
        FailureCode::BadImage => "The image does not match its own digests or is malformed. Build and push it again; do not run it.",
        FailureCode::NoPlatform => "Nothing in the image is made for Linux. Build a variant for Linux, or leave the image out.",
        FailureCode::TooLarge => "The image unpacks to more than the limits allow. Look at what is in it: it may be an archive bomb.",
        FailureCode::NoSpace => "Raise smartstate.storage_limit in the settings, or give the nodes more ephemeral storage.",
        FailureCode::ContentError => "The content could not be used. Check the section [content] of the settings.",
        FailureCode::Timeout => "Retry. When it happens again, raise smartstate.pod_deadline_secs.",
        FailureCode::Internal => "Read the pod's last log lines on the task's page, then retry.",
    }
}
