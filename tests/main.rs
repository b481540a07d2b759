//! Flows on real parts: a real Postgres, Kubernetes cluster, registry and oscap. `make test` starts them and tells where they are.

#![allow(clippy::unwrap_used)]

mod attack_api;
mod attack_login;
mod attack_provider;
mod attack_report;
mod attack_server;
mod attack_trust;
mod inventory;
mod kill;
mod openshift;
mod outage;
mod product;
mod scan;
mod support;
