# The process between a test and its machine, in a mount namespace of its own: DIRECTORY INIT ARGUMENTS...
# Its standard input is a pipe from the test. Its end means that the test is gone, however it ended.
trap '' INT TERM HUP
directory=$1 init=$2
shift 2
fs=$directory/fs

# Ends what is left of a machine's directory and cgroups.
clear() {
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    left=
    for top in "$fs"/cgroup/*/"${1##*/}"; do
      [ -d "$top" ] || continue
      # A frozen process of cgroup v1 does not even die.
      find "$top" -name freezer.state -exec sh -c 'echo THAWED >"$1"' sh {} \; 2>/dev/null
      # What was just entering has its processes here and its namespaces nowhere.
      find "$top" -name cgroup.procs -exec cat {} + 2>/dev/null | while read -r process; do kill -s KILL "$process" 2>/dev/null; done
      find "$top" -depth -type d -exec rmdir {} + 2>/dev/null || left=yes
    done
    [ -n "$left" ] || break
    sleep 0.1
  done
  [ "$1" != "$directory" ] || umount -l "$fs"
  # Without its directory nobody would look for its cgroups again.
  [ -n "$left" ] || rm -rf "$1"
}

prepare() {
  mount -t tmpfs -o mode=755 ms2m-machine "$fs" && mkdir "$fs/upper" "$fs/work" "$fs/root" "$fs/cgroup" || return
  # Also those that the machine does not see: CRIU finds them by itself, and would restore what it found in the host's.
  while IFS=: read -r _ controllers _; do
    case $controllers in
    '') kind=cgroup2 options=rw controllers=unified ;;
    *=*) kind=cgroup options=none,$controllers ;;
    *) kind=cgroup options=$controllers ;;
    esac
    top=$fs/cgroup/$controllers
    mkdir "$top" && mount -t "$kind" -o "$options" cgroup "$top" && mkdir "$top/${directory##*/}" || return
    if [ -e "$top/cpuset.cpus" ]; then
      for file in cpuset.cpus cpuset.mems; do cat "$top/$file" >"$top/${directory##*/}/$file"; done
      echo 1 >"$top/${directory##*/}/cgroup.clone_children"
    fi
  done </proc/self/cgroup
}

if ! prepare; then
  exec >/dev/null
  read -r _
  clear "$directory"
  exit 1
fi
# Machines whose test and keeper were killed together.
find "${directory%/*}" -maxdepth 1 -name 'ms2m-machine-*' -mmin +1 2>/dev/null | while read -r old; do
  (flock --nonblock 8 && clear "$old") 8>"$old/lock"
done 2>/dev/null

# The cgroup in which `unshare` runs becomes the root of the machine's cgroups. It ends with this process, and process 1 with it.
sh -c 'for procs in "$1"/cgroup/*/"$2"/cgroup.procs; do echo $$ >"$procs" || exit; done; shift 2; exec "$@"' sh "$fs" "${directory##*/}" \
  setpriv --pdeathsig KILL unshare --mount --pid --uts --ipc --cgroup --fork --kill-child \
  sh -c "$init" machine-init "$@" </dev/null &
machine=$!
exec >/dev/null
read -r _
kill -s KILL "$(cat "$directory/pid" 2>/dev/null || echo "$machine")" 2>/dev/null
wait "$machine" 2>/dev/null
clear "$directory"
