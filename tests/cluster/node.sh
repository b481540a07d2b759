# One node: containerd and a kubelet in a network namespace of their own. Sourced by `cluster`, which sets dir, run, gw,
# bridge and number.
# shellcheck shell=bash
# shellcheck disable=SC2154  # the variables above

pause_image() { # kubelet's sandbox image: one static program that waits
  local work
  work=$(mktemp -d)
  cat >"$work/pause.c" <<'C'
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static void stop(int s) { (void)s; _exit(0); }
static void reap(int s) { (void)s; while (waitpid(-1, 0, WNOHANG) > 0) {} }
int main(void) { signal(SIGINT, stop); signal(SIGTERM, stop); signal(SIGCHLD, reap); for (;;) pause(); }
C
  mkdir "$work/rootfs"
  gcc -O2 -static -o "$work/rootfs/pause" "$work/pause.c"
  umoci init --layout "$work/oci"
  umoci new --image "$work/oci:pause"
  umoci insert --image "$work/oci:pause" "$work/rootfs" / >/dev/null 2>&1
  umoci config --image "$work/oci:pause" --config.entrypoint /pause
  skopeo copy -q "oci:$work/oci:pause" "docker-archive:$dir/pause.tar:localhost/pause:tidewaiter"
  rm -rf "$work"
}

node_network() { # I NAMESPACE ADDRESS PODS
  ip netns add "$2"
  ip link add "$bridge-veth$1" type veth peer name eth0 netns "$2"
  ip link set "$bridge-veth$1" master "$bridge" up
  ip -n "$2" address add "$3/24" dev eth0
  ip -n "$2" link set eth0 up
  ip -n "$2" link set lo up
  ip -n "$2" route add default via "$gw"
  ip netns exec "$2" sysctl -q -w net.ipv4.ip_forward=1
  ip route replace "$4" via "$3"
}

node_cgroups() { # NAME: a cgroup root per node, since kubelets that share one delete each other's pods
  local controller knob
  if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then # cgroup v2
    sed 's/\(^\| \)/\1+/g' /sys/fs/cgroup/cgroup.controllers >/sys/fs/cgroup/cgroup.subtree_control 2>/dev/null || true
    mkdir -p "/sys/fs/cgroup/$1"
    return
  fi
  for controller in /sys/fs/cgroup/*/; do
    if [[ -e $controller/cgroup.procs ]]; then mkdir -p "$controller/$1"; fi
  done
  for knob in cpuset.cpus cpuset.mems; do cat "/sys/fs/cgroup/cpuset/$knob" >"/sys/fs/cgroup/cpuset/$1/$knob"; done
}

cni_config() { # HOME PODS
  cat <<K
{"cniVersion": "0.3.1", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "pods0", "isGateway": true, "ipMasq": false,
   "ipam": {"type": "host-local", "dataDir": "$1/ipam", "ranges": [[{"subnet": "$2"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
K
}

containerd_config() { # NAME HOME
  # restrict_oom_score_adj: without it containers fail to start where the sandbox lacks CAP_SYS_RESOURCE.
  # netns_mounts_under_state_dir: pods' namespaces of two clusters must not lie in one folder.
  cat <<K
version = 2
root = "$2/containerd"
state = "$run/$1"
[grpc]
  address = "$run/$1.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:tidewaiter"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$2/cni"
  [plugins."io.containerd.grpc.v1.cri".registry.mirrors."$gw:5000"]
    endpoint = ["http://$gw:5000"]
  [plugins."io.containerd.grpc.v1.cri".registry.mirrors."$gw:5001"]
    endpoint = ["http://$gw:5001"]
K
}

kubelet_config() { # NAME ADDRESS
  cat <<K
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $2
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $dir/pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $dir/pki/$1.crt
tlsPrivateKeyFile: $dir/pki/$1.key
cgroupDriver: cgroupfs
cgroupRoot: /$bridge-$1
failSwapOn: false
clusterDomain: cluster.local
nodeStatusUpdateFrequency: 2s
nodeStatusReportFrequency: 30s
serializeImagePulls: false
registryPullQPS: 0
kubeAPIQPS: 50
kubeAPIBurst: 100
eventRecordQPS: 50
eventBurst: 100
evictionHard: {memory.available: 50Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1%}
imageGCHighThresholdPercent: 100
K
}

node() { # I: one node, registered when the kubelet has had a moment
  local i=$1 name=node$1 ip=10.99.$number.$((10 + $1)) pods=10.$((240 + number)).$1.0/24 home=$dir/node$1
  local in_node=(nsenter "--net=/run/netns/$bridge-$name" --) # ip netns exec would hide the cgroup mounts from the kubelet
  mkdir -p "$home"/{cni,kubelet}
  node_network "$i" "$bridge-$name" "$ip" "$pods"
  node_cgroups "$bridge-$name"
  (cd "$dir/pki" && certificate "$name" "/O=system:nodes/CN=system:node:$name" "DNS:$name,IP:$ip")
  kubeconfig "$name" >"$home/kubeconfig"
  cni_config "$home" "$pods" >"$home/cni/10-pods.conflist"
  containerd_config "$name" "$home" >"$home/containerd.toml"
  kubelet_config "$name" "$ip" >"$home/kubelet.yaml"
  start "containerd-$name" "${in_node[@]}" containerd -c "$home/containerd.toml"
  wait_for 20 "containerd of $name" ctr -a "$run/$name.sock" version
  ctr -a "$run/$name.sock" -n k8s.io images import "$dir/pause.tar" >/dev/null
  start "kubelet-$name" "${in_node[@]}" kubelet --config "$home/kubelet.yaml" --kubeconfig "$home/kubeconfig" --root-dir "$home/kubelet" \
    --container-runtime remote --container-runtime-endpoint "unix://$run/$name.sock" \
    --hostname-override "$name" --node-ip "$ip" --pod-infra-container-image localhost/pause:tidewaiter
}
