# Becomes a node, in namespaces of its own: NUMBER DIRECTORY PROGRAMS RUNTIME HOOK SEEN..., the paths that it sees at their own place.
set -e
i=$1 directory=$2 programs=$3 runtime=$4 hook=$5 name=n$1
shift 5
own=$directory/$name
mkdir -p "$own"/{root,upper,work,containerd,kubelet}
mount --make-rprivate /
mount -t overlay overlay -o "lowerdir=/base,upperdir=$own/upper,workdir=$own/work" "$own/root"
cd "$own/root"
mkdir -p .old var/lib/containerd var/lib/kubelet etc/containerd etc/cni/net.d etc/criu
mount -t proc proc proc
mount -t sysfs sysfs sys
mount --rbind /sys/fs/cgroup sys/fs/cgroup
mount --rbind /dev dev
mount -t tmpfs run run
mount -t tmpfs tmp tmp
# Not on the overlay: the overlayfs snapshotter cannot stack.
mount --bind "$own/containerd" var/lib/containerd
mount --bind "$own/kubelet" var/lib/kubelet
for path in "$directory" "$programs" "$@"; do
  mkdir -p ".$path"
  mount --bind "$path" ".$path"
done
"$directory/pivot_root" . .old
cd /
umount -l /.old
mount --make-rshared /
hostname "$name"
printf '127.0.0.1 localhost\n10.77.0.1 control\n10.77.0.11 n1\n10.77.0.12 n2\n' >/etc/hosts
# To restore a checkpoint containerd resolves the base image over https, with the system's trust only.
cat "$directory/pki/ca.crt" >>/etc/ssl/certs/ca-certificates.crt
cat >/etc/containerd/config.toml <<EOT
version = 3
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = 'localhost/pause:1'
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  disable_apparmor = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ['/usr/lib/cni']
  conf_dir = '/etc/cni/net.d'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = 'io.containerd.runc.v2'
  pod_annotations = ['migration.ms2m.io/*']
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
    SystemdCgroup = false
    BinaryName = '$runtime'
EOT
cat >/etc/cni/net.d/10-bridge.conflist <<EOT
{"cniVersion":"1.0.0","name":"pods","plugins":[{"type":"bridge","bridge":"cni0","isGateway":true,"ipMasq":false,
 "ipam":{"type":"host-local","ranges":[[{"subnet":"10.88.$i.0/24"}]],"routes":[{"dst":"0.0.0.0/0"}]}}]}
EOT
printf 'tcp-close\nskip-in-flight\n' | tee /etc/criu/runc.conf >/etc/criu/crun.conf
cat >/etc/kubelet.yaml <<EOT
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
failSwapOn: false
cgroupDriver: cgroupfs
cgroupsPerQOS: false
enforceNodeAllocatable: []
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $directory/pki/ca.crt}}
authorization: {mode: Webhook}
evictionHard: {imagefs.available: 1%, nodefs.available: 1%, memory.available: 50Mi}
imageGCHighThresholdPercent: 99
imageGCLowThresholdPercent: 98
resolvConf: ""
nodeStatusUpdateFrequency: 4s
tlsCertFile: $directory/pki/$name.crt
tlsPrivateKeyFile: $directory/pki/$name.key
EOT
[ -z "$hook" ] || sh -ec "$hook" hook "$i"
containerd >"$directory/log/$name-containerd" 2>&1 &
until ctr version >/dev/null 2>&1; do sleep 0.05; done
ctr -n k8s.io images import "$directory/pause.tar" >/dev/null
"$directory/bin/kubelet" --config=/etc/kubelet.yaml --kubeconfig="$directory/pki/$name.kubeconfig" --hostname-override="$name" \
  --node-ip="10.77.0.1$i" -v=2 >"$directory/log/$name-kubelet" 2>&1 &
wait
