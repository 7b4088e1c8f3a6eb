//! A private Kubernetes of two nodes for a test, with a registry and, if wanted, a RabbitMQ.
//!
//! The control plane is the real one, the nodes run the real kubelet, containerd, runc, crun and CRIU, all in namespaces of one
//! [machine](ms2m_testkit_machine): nothing of the host is touched, clusters do not meet, and a cluster ends with its test, however that ends.
//! It is up in about ten seconds. When a test panics, what went on in its cluster is printed.
//!
//! # How to write such a test
//!
//! In `tests/cluster_*.rs` of a package that declares `cluster-tests = []` as a feature and requires it for this test (see CONTRIBUTING.md):
//!
//! ```no_run
//! use ms2m_testkit_cluster::{Cluster, Image, Options};
//! use ms2m_testkit_machine::workspace_program;
//!
//! # fn main() -> Result<(), ms2m_testkit_cluster::ClusterError> {
//! let cluster = Cluster::start(&Options::default())?;
//! let image = cluster.push("app", &Image::of(workspace_program("ms2m-testkit-cluster", "ms2m-memory-counter")?))?;
//! cluster.apply(&format!(r#"{{"apiVersion": "v1", "kind": "Pod", "metadata": {{"name": "app"}}, "spec": {{
//!     "nodeName": "n1", "containers": [{{"name": "main", "image": "{image}"}}]}}}}"#))?;
//! cluster.kubectl(&["wait", "--for=condition=Ready", "pod/app"])?;
//! # Ok(())
//! # }
//! ```
//!
//! # What is where
//!
//! The cluster's network cannot be seen from the host: [`Cluster::command`] runs a program in it, [`Cluster::node`] within a node, and
//! [`Cluster::within`] a piece of the test itself, on a thread of its own. There are no kube-proxy and no DNS: pods use addresses. The API server
//! is at `https://10.77.0.1:6443`, for pods also where `KUBERNETES_SERVICE_HOST` says, the registry at [`REGISTRY`] (trusted by the nodes), the nodes are `n1` and `n2`.
//! Programs of the workspace are there under their own paths, also in the nodes.
#![deny(missing_docs)]

mod cluster;
mod diagnosis;
mod error;
mod image;
mod network;
mod options;
mod pki;
mod push;

pub use cluster::Cluster;
pub use error::ClusterError;
pub use image::Image;
pub use options::{Node, Options};

/// Where the registry is, for pods and for who pushes: `10.77.0.1:5000`.
pub const REGISTRY: &str = "10.77.0.1:5000";
/// Where the control plane, the registry and the RabbitMQ are.
pub(crate) const CONTROL: std::net::Ipv4Addr = std::net::Ipv4Addr::new(10, 77, 0, 1);
/// The directory of a cluster in its machine, and in its nodes.
pub(crate) const DIRECTORY: &str = "/var/tmp/cluster";
