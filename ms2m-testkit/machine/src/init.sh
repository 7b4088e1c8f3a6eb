# Becomes process 1 of a machine: DIRECTORY CGROUPS(v2|host) ROOT PATHS..., the paths that it sees at their own place, read-only.
set -e
directory=$1 cgroups=$2 base=$3 fs=$1/fs
shift 3
# Still the host's /proc: the machine's process 1 as the host counts.
read -r pid _ </proc/self/stat
mount -t overlay overlay -o "lowerdir=$base,upperdir=$fs/upper,workdir=$fs/work" "$fs/root"
cd "$fs/root"
mkdir -p .host base etc/criu var/tmp
see() { mkdir -p ".$2"; mount --bind "$1" ".$2"; mount -o remount,bind,ro ".$2"; }

mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 run run
mount -t tmpfs -o mode=1777 tmp tmp
mount --bind "$directory/disk" var/tmp
see "$base" /base
for path; do see "$path" "$path"; done

mount -t tmpfs -o mode=755 dev dev
mknod -m 666 dev/null c 1 3; mknod -m 666 dev/zero c 1 5; mknod -m 666 dev/full c 1 7
mknod -m 666 dev/random c 1 8; mknod -m 666 dev/urandom c 1 9; mknod -m 666 dev/tty c 5 0
mkdir dev/net dev/pts dev/shm dev/mqueue
mknod -m 666 dev/net/tun c 10 200
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
mount -t tmpfs -o mode=1777 shm dev/shm
mount -t mqueue mqueue dev/mqueue
ln -s pts/ptmx dev/ptmx; ln -s /proc/self/fd dev/fd; ln -s fd/0 dev/stdin; ln -s fd/1 dev/stdout; ln -s fd/2 dev/stderr

if [ "$cgroups" = v2 ] || [ "$(ls "$fs/cgroup")" = unified ]; then
  mount -t cgroup2 cgroup sys/fs/cgroup
  # A cgroup with processes cannot hand controllers down, and runtimes make theirs beside this one.
  mkdir sys/fs/cgroup/init
  echo 0 >sys/fs/cgroup/init/cgroup.procs
else
  mount -t tmpfs -o mode=755 cgroup sys/fs/cgroup
  for top in "$fs"/cgroup/*; do
    name=${top##*/}
    mkdir "sys/fs/cgroup/${name#*=}"
    case $name in
    unified) mount -t cgroup2 cgroup sys/fs/cgroup/unified ;;
    *=*) mount -t cgroup -o "none,$name" cgroup "sys/fs/cgroup/${name#*=}" ;;
    *) mount -t cgroup -o "$name" cgroup "sys/fs/cgroup/$name" ;;
    esac
  done
fi

cp "$directory"/criu/* etc/criu/ 2>/dev/null || true
echo 127.0.0.1 localhost >etc/hosts
hostname machine
echo "$pid" >"$directory/pid"
pivot_root . .host
cd /
umount -l /.host
rmdir /.host
echo "ready $pid"
# Ignored, so that the kernel reaps what this process inherits. (A shell's `trap '' CHLD` does not do it.)
exec env --ignore-signal=CHLD sleep infinity >/dev/null 2>&1
