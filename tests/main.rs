//! Flows on real parts: a real Postgres, Kubernetes cluster, registry and oscap. `make test` starts them and tells where they are.

#![allow(clippy::unwrap_used)]

mod attack_trust;
mod attack_server;
mod inventory;
mod kill;
mod openshift;
mod outage;
mod product;
mod scan;
mod support;
