# What start.sh and stop.sh share; sourced.
HOME_DIR=${VQDDM_SLURM_HOME:-/tmp/vqddm-slurm}
CLUSTER=vqddm-test
NODES=(n0 n1)
export SLURM_CONF=$HOME_DIR/slurm.conf

# The process id of one of our daemons (munged, slurmctld, slurmd.n0, …), if it runs; a killed one that nobody has
# waited for keeps its number and its name, but not its program.
running() {
    local pid
    pid=$(cat "$HOME_DIR/run/$1.pid" 2>/dev/null) && [[ $(cat "/proc/$pid/comm" 2>/dev/null) == "${1%%.*}" ]] \
        && readlink "/proc/$pid/exe" >/dev/null && echo "$pid"
}
