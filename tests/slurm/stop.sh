#!/usr/bin/env bash
# Stop the Slurm that start.sh started: its jobs, its daemons, its links in /etc/slurm, its folder.
set -uo pipefail
. "$(dirname "$0")/common.sh"

if running slurmctld >/dev/null; then
    timeout 10 scancel --full --user="$(id -un)"
    for _ in $(seq 40); do
        [[ -z $(timeout 5 squeue --noheader 2>/dev/null) ]] && break
        sleep 0.25
    done
fi
daemons=(slurmctld "${NODES[@]/#/slurmd.}" munged)
for daemon in "${daemons[@]}"; do
    pid=$(running "$daemon") && kill "$pid"
done
for daemon in "${daemons[@]}"; do
    for _ in $(seq 20); do
        running "$daemon" >/dev/null || break
        sleep 0.25
    done
    pid=$(running "$daemon") && kill -KILL "$pid"
done
for file in slurm.conf gres.conf cgroup.conf; do
    [[ $(readlink "/etc/slurm/$file") == "$HOME_DIR/$file" ]] && rm "/etc/slurm/$file"
done
rm -rf "$HOME_DIR"
echo "Slurm is stopped"
