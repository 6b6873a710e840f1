# What start.sh and stop.sh share; sourced.
HOME_DIR=${VQDDM_SLURM_HOME:-/tmp/vqddm-slurm}
CLUSTER=vqddm-test
NODES=(n0 n1)
export SLURM_CONF=$HOME_DIR/slurm.conf

# The process id of one of our daemons (munged, slurmctld, slurmd.n0, …), if it runs.
running() {
    local pid
    pid=$(cat "$HOME_DIR/run/$1.pid" 2>/dev/null) && [[ $(cat "/proc/$pid/comm" 2>/dev/null) == "${1%%.*}" ]] && echo "$pid"
}
