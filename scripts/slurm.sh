#!/usr/bin/env bash
# Trains on several machines of a Slurm cluster. After a preemption or at the end of its time it goes on by itself.
#
#   sbatch --nodes 2 scripts/slurm.sh configs/frih.yaml data.root=/datasets/iHarmony4 run=runs/frih
#
# There is one task for each GPU. Three minutes before the end of the time, or at a preemption, Slurm sends SIGUSR1 or SIGTERM to
# every task. Each finishes its step, the first one saves, and the job is queued again and resumes.
# The run's folder must be given (run=...), on a file system that all machines share.
#
#SBATCH --job-name=frih
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=USR1@180
#SBATCH --requeue
#SBATCH --open-mode=append
set -uo pipefail

run=""
for word in "$@"; do
    case $word in run=*) run=${word#run=} ;; esac
done
if [ -z "$run" ]; then
    echo "error: give the run's folder: run=FOLDER" >&2
    exit 2
fi

# The processes meet on the first machine, at a port that follows from the job's number.
MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))
export MASTER_ADDR MASTER_PORT

if [ -e "$run/config.yaml" ]; then
    set -- --resume "$run"
fi
trap : TERM USR1 # the signals are for the tasks; this script waits for them

# A stopped task leaves a mark and exits with 0 once it has saved, because srun kills the others if one exits with more.
STOPPED=$run/.stopped-$SLURM_JOB_ID
export STOPPED
rm -f "$STOPPED"
# shellcheck disable=SC2016  # the variables are those of each task
srun --kill-on-bad-exit=1 bash -c '
    trap : TERM USR1
    export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID WORLD_SIZE=$SLURM_NTASKS
    python train.py "$@"
    status=$?
    if [ "$status" -eq 130 ]; then
        touch "$STOPPED"
        status=0
    fi
    exit "$status"
' train "$@"
status=$?

if [ "$status" -eq 0 ] && [ -e "$STOPPED" ]; then
    rm -f "$STOPPED"
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
