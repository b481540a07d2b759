# The control plane and the registries of one cluster. Sourced by `cluster`, which sets dir, gw and number.
# shellcheck shell=bash
# shellcheck disable=SC2154  # the variables above

registry_user=puller
registry_password=tidewaiter
# Ports on 127.0.0.1 that clusters would otherwise share.
etcd_port=$((24000 + number * 10))
etcd_peer_port=$((etcd_port + 1))
controller_manager_port=$((etcd_port + 2))
scheduler_port=$((etcd_port + 3))

certificate() { # NAME SUBJECT [SAN]
  openssl req -newkey rsa:2048 -nodes -keyout "$1.key" -out "$1.csr" -subj "$2" 2>/dev/null
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -out "$1.crt" \
    -extfile <(echo "subjectAltName=${3:-DNS:localhost}") 2>/dev/null
}

kubeconfig() { # NAME: prints a kubeconfig that logs in with the certificate NAME
  cat <<K
apiVersion: v1
kind: Config
clusters: [{name: lab, cluster: {server: "https://$gw:6443", certificate-authority-data: $(base64 -w0 "$dir/pki/ca.crt")}}]
users: [{name: $1, user: {client-certificate-data: $(base64 -w0 "$dir/pki/$1.crt"), client-key-data: $(base64 -w0 "$dir/pki/$1.key")}}]
contexts: [{name: lab, context: {cluster: lab, user: $1}}]
current-context: lab
K
}

registries() { # one that anyone may use, and one that wants a login to pull
  mkdir -p "$dir"/registry "$dir"/private-registry
  cat >"$dir/registry.yml" <<K
version: 0.1
storage: {filesystem: {rootdirectory: $dir/registry}, delete: {enabled: true}}
http: {addr: "$gw:5000"}
K
  htpasswd -Bbn "$registry_user" "$registry_password" >"$dir/htpasswd"
  cat >"$dir/private-registry.yml" <<K
version: 0.1
storage: {filesystem: {rootdirectory: $dir/private-registry}, delete: {enabled: true}}
http: {addr: "$gw:5001"}
auth: {htpasswd: {realm: tidewaiter, path: $dir/htpasswd}}
K
  start registry docker-registry serve "$dir/registry.yml"
  start private-registry docker-registry serve "$dir/private-registry.yml"
  wait_for 60 "the registry" answers 5000
  wait_for 60 "the private registry" answers 5001
}

certificates() {
  cd "$dir/pki" || return
  openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -keyout ca.key -out ca.crt -subj "/CN=tidewaiter-cluster$number" 2>/dev/null
  certificate apiserver /CN=kube-apiserver "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default.svc,IP:$gw,IP:10.96.0.1"
  certificate admin /O=system:masters/CN=admin
  certificate kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client
  openssl genrsa -out sa.key 2048 2>/dev/null
  kubeconfig admin >"$KUBECONFIG"
  chmod 600 "$KUBECONFIG"
  cd "$OLDPWD" || return
}

apiserver() {
  start apiserver kube-apiserver --etcd-servers="http://127.0.0.1:$etcd_port" \
    --bind-address="$gw" --advertise-address="$gw" --secure-port=6443 \
    --tls-cert-file="$dir/pki/apiserver.crt" --tls-private-key-file="$dir/pki/apiserver.key" --client-ca-file="$dir/pki/ca.crt" \
    --kubelet-client-certificate="$dir/pki/kubelet-client.crt" --kubelet-client-key="$dir/pki/kubelet-client.key" \
    --kubelet-certificate-authority="$dir/pki/ca.crt" --kubelet-preferred-address-types=InternalIP \
    --service-account-issuer=https://kubernetes.default.svc \
    --service-account-signing-key-file="$dir/pki/sa.key" --service-account-key-file="$dir/pki/sa.key" \
    --service-cluster-ip-range=10.96.0.0/16 --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
    --allow-privileged=true --max-requests-inflight=2000 --max-mutating-requests-inflight=1000
  wait_for 180 "the API server" kubectl get --raw /readyz
}

control_plane() {
  certificates
  start etcd etcd --data-dir "$dir/etcd" --unsafe-no-fsync --quota-backend-bytes 8589934592 \
    --listen-client-urls "http://127.0.0.1:$etcd_port" --advertise-client-urls "http://127.0.0.1:$etcd_port" \
    --listen-peer-urls "http://127.0.0.1:$etcd_peer_port" \
    --initial-advertise-peer-urls "http://127.0.0.1:$etcd_peer_port" --initial-cluster "default=http://127.0.0.1:$etcd_peer_port"
  apiserver
  start controller-manager kube-controller-manager --kubeconfig "$KUBECONFIG" \
    --bind-address=127.0.0.1 --port=0 --secure-port="$controller_manager_port" --cert-dir "$dir/pki" --leader-elect=false \
    --service-account-private-key-file="$dir/pki/sa.key" --root-ca-file="$dir/pki/ca.crt" --use-service-account-credentials
  start scheduler kube-scheduler --kubeconfig "$KUBECONFIG" \
    --bind-address=127.0.0.1 --port=0 --secure-port="$scheduler_port" --cert-dir "$dir/pki" --leader-elect=false
}
