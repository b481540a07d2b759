# Progress lines of the scripts: what is being done and how long all of it has taken so far. To be sourced.
# shellcheck shell=bash

# shellcheck disable=SC2034  # for the scripts that source this
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${TIDEWAITER_CACHE:-$HOME/.cache/tidewaiter}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}
export DEBIAN_FRONTEND=noninteractive

progress() { printf '%s [%3d s] %s\n' "${0##*/}" "$SECONDS" "$*"; }

fail() {
  printf '%s [%3d s] failed: %s\n' "${0##*/}" "$SECONDS" "$*" >&2
  exit 1
}

quietly() { # WHAT COMMAND...: its output is kept, and shown only when it fails
  local what=$1 log status=0
  shift
  log=$(mktemp "${TMPDIR:-/tmp}/tidewaiter-step.XXXXXX")
  "$@" >"$log" 2>&1 </dev/null || status=$?
  if ((status)); then
    tail -n 60 "$log" >&2
    rm -f "$log"
    fail "$what (exit $status)"
  fi
  rm -f "$log"
}

jobs_started=()

start_job() { # NAME LOG COMMAND...: in the background, in a session of its own, so that it can be ended with all that it started
  local name=$1 log=$2
  shift 2
  setsid "$@" >"$log" 2>&1 </dev/null 8>&- & # 8: the lock of scripts/test
  jobs_started+=("$!")
  printf -v "job_$name" '%s' "$! $log"
}

finish_job() { # NAME WHAT: waits; shows the end of its log when it failed
  local variable=job_$1 pid log
  read -r pid log <<<"${!variable}"
  if ! wait "$pid"; then
    tail -n 60 "$log" >&2
    fail "$2"
  fi
}

end_jobs() {
  local pid
  for pid in "${jobs_started[@]}"; do kill -- "-$pid" 2>/dev/null || true; done
  jobs_started=()
}
