# What the demo and the tests both stand on: a real cluster with its registries and the images in them. To be sourced after progress.sh.
# shellcheck shell=bash
# shellcheck disable=SC2154  # root and cache come from progress.sh

cluster() { "$root/tests/cluster/cluster" "$@"; } # of TIDEWAITER_CLUSTER

# Run by `start_job` in a process of its own: `bash scripts/stack.sh cluster NODES`, `… systems`.
stack_cluster() {
  "$root/tests/cluster/build-kubernetes" && cluster up "$1"
}

stack_systems() { # everything that comes from Debian's mirrors; mostly waiting, so it runs beside the compilers
  "$root/scripts/inspector-image" --rootfs && "$root/scripts/debian-images" && vulnerability_definitions
}

inspector_image() { # REGISTRY: builds and pushes the inspector; prints its name by digest
  local layout work
  work=$(mktemp -d)
  layout=$("$root/scripts/inspector-image" 2>"$work/log" | tail -1) || { cat "$work/log" >&2; return 1; }
  skopeo copy -q --dest-tls-verify=false --preserve-digests --digestfile "$work/digest" "$layout" "docker://$1/tidewaiter/inspector:latest" >&2
  echo "$1/tidewaiter/inspector@$(cat "$work/digest")"
  rm -rf "$work"
}

push_samples() { # REGISTRY PRIVATE_REGISTRY USER:PASSWORD
  local layout name
  "$root/tests/images/build" >/dev/null
  "$root/tests/images/push" "$1"
  "$root/tests/images/push" "$2" --login "$3" vault deb12-tiny
  layout=$("$root/scripts/debian-images" | tail -1)
  for name in debian-main debian-upgraded; do
    skopeo copy -q --dest-tls-verify=false --preserve-digests "oci:$layout:$name" "docker://$1/samples/$name:1"
  done
}

vulnerability_definitions() { # prints the path of an OVAL file of 40,000 definitions, among them those of scripts/debian-oval
  local small big
  small=$("$root/scripts/debian-oval" 2>/dev/null | tail -1) || return 1
  big=${small%.xml.bz2}-40000.xml.bz2
  if [[ ! $big -nt $small || ! $big -nt $root/scripts/big-oval ]]; then "$root/scripts/big-oval" "$big" >/dev/null || return 1; fi
  echo "$big"
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
  set -euo pipefail
  # shellcheck source=scripts/progress.sh
  source "$(dirname "${BASH_SOURCE[0]}")/progress.sh"
  "stack_$1" "${@:2}"
fi
