# The networks of a cluster, in its machine: `control`, with a bridge to which each node `n1`, `n2` is connected.
set -e
on() { local network=$1; shift; nsenter --net="/run/netns/$network" "$@"; }
ip netns add control
on control ip link set lo up
on control ip link add nodes type bridge
on control ip addr add 10.77.0.1/24 dev nodes
on control ip link set nodes up
# The API server as a service.
on control ip addr add 10.96.0.1/32 dev lo
for i in 1 2; do
  ip netns add "n$i"
  on control ip link add "n$i" type veth peer name eth0 netns "n$i"
  on control ip link set "n$i" master nodes up
  on control ip route add "10.88.$i.0/24" via "10.77.0.1$i"
  on "n$i" ip link set lo up
  on "n$i" ip addr add "10.77.0.1$i/24" dev eth0
  on "n$i" ip link set eth0 up
  on "n$i" ip route add default via 10.77.0.1
  on "n$i" ip route add "10.88.$((3 - i)).0/24" via "10.77.0.1$((3 - i))"
  on "n$i" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
done
