#!/usr/bin/env bash
# Start a real Slurm of two nodes on this machine's loopback, for the tests marked `slurm`.
#
# Installs Debian's packages where they are missing (root). Everything else lies in $VQDDM_SLURM_HOME. Each node pretends
# to have two GPUs. Called again, it starts only what is not running. `stop.sh` ends just what this script started.
set -euo pipefail
. "$(dirname "$0")/common.sh"

fail() { echo "start.sh: $*" >&2; exit 1; }

install_packages() {
    local missing=() package
    for package in slurmctld slurmd slurm-client munge; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    [[ $(id -u) == 0 ]] || fail "only root can install ${missing[*]}"
    command -v apt-get >/dev/null || fail "no apt-get here; install ${missing[*]} by hand"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } \
        >"$HOME_DIR/log/apt.log" 2>&1 || fail "apt-get install ${missing[*]} failed: $(tail -3 "$HOME_DIR/log/apt.log")"
}

write_configuration() {
    [[ -s $HOME_DIR/munge/key ]] || (umask 077 && head -c 128 /dev/urandom >"$HOME_DIR/munge/key")
    # The freezer also holds processes whose parent has died; without it they outlive their job.
    local tracker=proctrack/linuxproc host
    [[ -w /sys/fs/cgroup/freezer/cgroup.procs ]] && tracker=proctrack/cgroup
    host=$(hostname -s)
    cat >"$HOME_DIR/cgroup.conf" <<EOF
CgroupPlugin=cgroup/v1
CgroupMountpoint=/sys/fs/cgroup
EOF
    for node in "${NODES[@]}"; do
        echo "NodeName=$node Name=gpu Type=pretended File=/dev/null"
        echo "NodeName=$node Name=gpu Type=pretended File=/dev/zero"
    done >"$HOME_DIR/gres.conf"
    cat >"$HOME_DIR/slurm.conf" <<EOF
ClusterName=$CLUSTER
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=26817
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$HOME_DIR/run/munge.socket,cred_expire=5
StateSaveLocation=$HOME_DIR/state
SlurmdSpoolDir=$HOME_DIR/spool/%n
SlurmctldPidFile=$HOME_DIR/run/slurmctld.pid
SlurmdPidFile=$HOME_DIR/run/slurmd.%n.pid
SlurmctldLogFile=$HOME_DIR/log/slurmctld.log
SlurmdLogFile=$HOME_DIR/log/slurmd.%n.log
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
ProctrackType=$tracker
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0,sched_min_interval=0
GresTypes=gpu
SlurmdParameters=config_overrides
ReturnToService=2
JobRequeue=1
KillWait=5
MinJobAge=3600
DefMemPerCPU=500
NodeName=n0 NodeHostname=$host NodeAddr=127.0.0.1 Port=26818 CPUs=8 RealMemory=200000 Gres=gpu:pretended:2
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=26819 CPUs=8 RealMemory=200000 Gres=gpu:pretended:2
PartitionName=cpu Nodes=n0,n1 Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=n0,n1 MaxTime=INFINITE State=UP
EOF
    # Snakemake's job step drops SLURM_CONF, so the configuration must lie at Slurm's own place too.
    mkdir -p /etc/slurm
    for file in slurm.conf gres.conf cgroup.conf; do
        [[ ! -e /etc/slurm/$file || $(readlink "/etc/slurm/$file") == "$HOME_DIR/$file" ]] \
            || fail "/etc/slurm/$file belongs to another Slurm; it is left alone"
        ln -sfn "$HOME_DIR/$file" "/etc/slurm/$file"
    done
}

start_daemons() {
    running munged >/dev/null || /usr/sbin/munged --force --socket="$HOME_DIR/run/munge.socket" --key-file="$HOME_DIR/munge/key" \
        --pid-file="$HOME_DIR/run/munged.pid" --log-file="$HOME_DIR/log/munged.log" --seed-file="$HOME_DIR/munge/seed" \
        || fail "munged did not start; see $HOME_DIR/log"
    running slurmctld >/dev/null || /usr/sbin/slurmctld >>"$HOME_DIR/log/slurmctld.out" 2>&1 || fail "slurmctld did not start"
    for node in "${NODES[@]}"; do
        running "slurmd.$node" >/dev/null || /usr/sbin/slurmd -N "$node" >>"$HOME_DIR/log/slurmd.out" 2>&1 || fail "slurmd $node did not start"
    done
}

wait_for_nodes() {
    for _ in $(seq 120); do
        (($(sinfo --noheader --Node --partition=gpu --format=%T 2>/dev/null | grep -cE '^(idle|mixed|allocated)$') == ${#NODES[@]})) \
            && return 0
        sleep 0.25
    done
    sinfo --Node --long >&2 || true
    fail "the nodes did not come up; see $HOME_DIR/log"
}

mkdir -p "$HOME_DIR"/{run,log,state,munge,spool/n0,spool/n1}
chmod 755 "$HOME_DIR" "$HOME_DIR/run" && chmod 700 "$HOME_DIR/munge"
install_packages
write_configuration
start_daemons
wait_for_nodes
echo "Slurm is up: $(sinfo --version), nodes ${NODES[*]}"
