# Processes of one cluster: started in the background, found again by pid file and command line, and ended with
# everything that hangs on them. Sourced by `cluster`, which sets number, dir, run and bridge.
# shellcheck shell=bash
# shellcheck disable=SC2154  # the variables above

start() { # NAME COMMAND...: run in the background; log, pid and the command itself under $dir/log
  local name=$1
  shift
  printf '%s\0' "$@" >"$dir/log/$name.command"
  restart "$name"
}

restart() { # NAME: run again what `start NAME` ran
  local command fd
  mapfile -d '' -t command <"$dir/log/$1.command"
  (
    for fd in /proc/"$BASHPID"/fd/*; do # a piece that outlives us must not hold our caller's pipes and locks
      fd=${fd##*/}
      if ((fd > 2)); then exec {fd}>&-; fi
    done
    exec setsid nohup "${command[@]}" >>"$dir/log/$1.log" 2>&1 </dev/null
  ) &
  echo $! >"$dir/log/$1.pid"
}

running() { # NAME: is the process that `start NAME` began still ours? (a stale pid may belong to someone else by now)
  local pid
  pid=$(cat "$dir/log/$1.pid" 2>/dev/null) || return 1
  [[ -n $pid ]] && { tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null | grep -qF "$dir/"
}

pieces() { find "$dir/log" -name '*.command' -printf '%f\n' 2>/dev/null | sed 's/\.command$//' | sort | paste -sd' '; }

stop() { # NAME...: end these pieces and wait; what has not gone in 5 s is killed
  local name deadline=$((SECONDS + 5))
  for name in "$@"; do
    if running "$name"; then kill "$(cat "$dir/log/$name.pid")" 2>/dev/null || true; fi
  done
  for name in "$@"; do
    while running "$name"; do
      if ((SECONDS >= deadline)); then kill -9 "$(cat "$dir/log/$name.pid")" 2>/dev/null || true; fi
      sleep 0.1
    done
  done
}

wait_for() { # SECONDS WHAT COMMAND...
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || { echo "cluster: $what did not come up; see $dir/log" >&2; return 1; }
    sleep 0.4
  done
}

answers() { timeout 2 bash -c "</dev/tcp/$gw/$1"; } # PORT of the host's address in this cluster

shims() { pgrep -f "^[^ ]*containerd-shim.* $run/" || true; } # containerd's helpers of this cluster; they outlive containerd

pod_processes() { # whatever runs in a cgroup of our nodes
  local cgroup
  for cgroup in /sys/fs/cgroup/"$bridge"-node* /sys/fs/cgroup/*/"$bridge"-node*; do
    if [[ -d $cgroup ]]; then find "$cgroup" -name cgroup.procs -exec cat {} + 2>/dev/null || true; fi
  done | sort -u
}

stop_processes() { # kubelets first, so that nothing is started again; pods are killed, not asked
  local kubelets others pids pid round
  mapfile -t kubelets < <(pieces | tr ' ' '\n' | grep -E '^kubelet-' || true)
  mapfile -t others < <(pieces | tr ' ' '\n' | grep -E . | grep -vE '^kubelet-' || true)
  stop "${kubelets[@]}"
  stop "${others[@]}"
  for ((round = 0; round < 50; round++)); do
    mapfile -t pids < <(shims; pod_processes)
    ((${#pids[@]})) || return 0
    for pid in "${pids[@]}"; do kill -9 "$pid" 2>/dev/null || true; done
    sleep 0.1
  done
}

unmount_all() { # deepest first; lazily, since a dead pod's mount may still be busy
  awk -v dir="$dir/" -v run="$run/" 'index($5, dir) == 1 || index($5, run) == 1 {print $5}' /proc/self/mountinfo |
    sort -r | while read -r target; do umount -l "$(printf '%b' "$target")" 2>/dev/null || true; done
}

remove_networks() {
  local file
  for file in /run/netns/"$bridge"-node*; do
    if [[ -e $file ]]; then ip netns del "${file##*/}" 2>/dev/null || { umount -l "$file" 2>/dev/null; rm -f "$file"; } || true; fi
  done
  ip link del "$bridge" 2>/dev/null || true
}

remove_cgroups() {
  local cgroup round
  for ((round = 0; round < 20; round++)); do
    for cgroup in /sys/fs/cgroup/"$bridge"-node* /sys/fs/cgroup/*/"$bridge"-node*; do
      if [[ -d $cgroup ]]; then find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || true; fi
    done
    compgen -G "/sys/fs/cgroup/$bridge-node*" >/dev/null || compgen -G "/sys/fs/cgroup/*/$bridge-node*" >/dev/null || return 0
    sleep 0.1
  done
}
