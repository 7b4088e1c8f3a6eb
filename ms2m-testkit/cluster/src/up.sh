# Control plane and nodes, in their machine: DIRECTORY PROGRAMS NODE RUNTIME HOOK SEEN..., of which NODE is the script of a node.
set -e
directory=$1 programs=$2 node=$3 runtime=$4 hook=$5
shift 5
cd "$directory"
mkdir -p bin log
for name in etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kubectl; do ln -s "$programs/testbed-kube" "bin/$name"; done
# For people who look into it.
printf '#!/bin/sh\nexec %s/bin/kubectl --kubeconfig %s/pki/admin.kubeconfig "$@"\n' "$directory" "$directory" >/usr/local/bin/kubectl
chmod +x /usr/local/bin/kubectl

control() {
  local name=$1
  shift
  setsid nsenter --net=/run/netns/control "bin/$name" "$@" >"log/$name" 2>&1 </dev/null &
}
control etcd --data-dir etcd --unsafe-no-fsync --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
  --listen-peer-urls http://127.0.0.1:2380
control kube-apiserver --etcd-servers=http://127.0.0.1:2379 --bind-address=10.77.0.1 --secure-port=6443 \
  --service-cluster-ip-range=10.96.0.0/16 --client-ca-file=pki/ca.crt --tls-cert-file=pki/server.crt --tls-private-key-file=pki/server.key \
  --kubelet-client-certificate=pki/admin.crt --kubelet-client-key=pki/admin.key --kubelet-certificate-authority=pki/ca.crt \
  --kubelet-preferred-address-types=InternalIP --service-account-issuer=https://cluster --service-account-key-file=pki/accounts.pub \
  --service-account-signing-key-file=pki/accounts.key --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
  --allow-privileged=true
# Where pods look for it; nobody else forwards the addresses of services.
setsid nsenter --net=/run/netns/control socat TCP-LISTEN:443,bind=10.96.0.1,reuseaddr,fork TCP:10.77.0.1:6443 >log/forward 2>&1 </dev/null &
# Both nodes see it, and kubelet does not start without.
mknod /dev/kmsg c 1 11
for i in 1 2; do
  setsid nsenter --net="/run/netns/n$i" unshare --mount --pid --uts --ipc --fork --kill-child \
    bash -c "$node" node "$i" "$directory" "$programs" "$runtime" "$hook" "$@" >"log/n$i" 2>&1 </dev/null &
  parent=$!
  until pgrep -P "$parent" >"n$i.pid"; do sleep 0.02; done
done

kubectl() { nsenter --net=/run/netns/control bin/kubectl --kubeconfig pki/admin.kubeconfig "$@"; }
await() {
  local what=$1
  shift
  for _ in $(seq 600); do
    ! "$@" >/dev/null 2>&1 || return 0
    sleep 0.1
  done
  echo "$what did not come up" >&2
  exit 1
}
ready() { [ "$(kubectl get nodes --no-headers | grep -cw Ready)" = 2 ]; }
await "the API server" kubectl get --raw /readyz
control kube-controller-manager --kubeconfig=pki/admin.kubeconfig --service-account-private-key-file=pki/accounts.key --root-ca-file=pki/ca.crt \
  --use-service-account-credentials --leader-elect=false
control kube-scheduler --kubeconfig=pki/admin.kubeconfig --leader-elect=false
await "a node" ready
# Pods are refused until then.
await "the account of pods" kubectl get serviceaccount default
