#!/usr/bin/env bash
# The suite `gpu` on a machine with one GPU and no network, from the kit that `make gpu-kit` packs; it lies in the kit.
#
#   run.sh --minutes N [--out FOLDER] [--rehearse] [--smoke] [--probe] [--skip "tests benchmark kernels cost suite"]
#
# Tests marked gpu, a benchmark, the longest kernels, the paper's cost, then the suite, the most telling parts first. Each part ends in time; one
# that fails is told and does not stop the rest. The tests run beside the drawing of the pictures, and into the first
# training where there is no benchmark. What is finished is packed into FOLDER every 45 seconds and at the end. Called again it
# goes on where it was, in VQDDM_SCRATCH (./gpu-scratch). --rehearse: on the CPU, two steps of each training.
# --smoke: before the suite, its chain with six steps of each training, in a folder of its own. --probe: the VQ-GAN at several
# learning rates. Where the kit holds a benchmark.csv of this kind of card, the lengths of the trainings are taken from it.
# Settings that may be changed at the last minute: seconds of the trainings and of sampling, in the four lines below.
set -uo pipefail
SECONDS_VQGAN=${SECONDS_VQGAN:-170} SECONDS_REFIT=${SECONDS_REFIT:-45} SECONDS_PRIOR=${SECONDS_PRIOR:-65} # alone on the card
SECONDS_SAMPLES=${SECONDS_SAMPLES:-110} # of all sampling, alone on the card; fewer are drawn where it takes longer
SECONDS_TESTS=${SECONDS_TESTS:-110} SECONDS_BENCHMARK=${SECONDS_BENCHMARK:-35} SECONDS_COST=${SECONDS_COST:-60} SECONDS_SMOKE=${SECONDS_SMOKE:-80} SECONDS_PROBE=${SECONDS_PROBE:-90} SECONDS_KERNELS=${SECONDS_KERNELS:-40}
RESERVE=${RESERVE:-35} PACK_EVERY=${PACK_EVERY:-45} # to pack
# VQGAN_RATE, VQGAN_BATCH: its learning rate and batch size, where they are to be others than in params.yaml

KIT=$(cd "$(dirname "$0")" && pwd)
PYTHON=$(command -v "${PYTHON:-python3}")
SCRATCH=${VQDDM_SCRATCH:-$PWD/gpu-scratch}
MINUTES=8 OUT=$PWD/gpu-out REHEARSE="" SMOKE="" PROBE="" SKIP=""
while (($#)); do
    case $1 in
        --minutes) MINUTES=${2:?--minutes N} && shift ;;
        --out) OUT=${2:?--out FOLDER} && shift ;;
        --skip) SKIP=${2:?--skip PARTS} && shift ;;
        --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" && exit 0 ;;
        --rehearse) REHEARSE=yes ;;
        --smoke) SMOKE=yes ;;
        --probe) PROBE=yes ;;
        *) echo "$1: not an option" >&2 && exit 2 ;;
    esac
    shift
done
END=$("$PYTHON" -c "import sys; print(int(float(sys.argv[1]) * 60))" "$MINUTES" 2>/dev/null) ||
    { echo "--minutes $MINUTES: a number is meant" >&2 && exit 2; }
mkdir -p "$OUT" "$SCRATCH" && OUT=$(cd "$OUT" && pwd)

say() { printf '[%3ds] %s\n' $SECONDS "$*" | tee -a "$OUT/log.txt"; }
left() { local rest=$((END - RESERVE - SECONDS)); echo $((rest > 0 ? rest : 0)); }
wanted() { [[ " $SKIP " != *" $1 "* ]]; }

# part NAME MOST COMMAND…: run it for at most so many seconds and never into the time to pack; told, never fatal.
part() {
    local name=$1 most=$2 began=$SECONDS
    shift 2
    local limit=$(($(left) < most ? $(left) : most))
    ((limit >= 5)) || { say "$name: left out for want of time" && return 1; }
    { timeout -s TERM -k 20 "$limit" "$@"; } >"$LOGS/$name.log" 2>&1 # a training that is told to end saves its state
    local status=$?
    case $status in
        0) say "$name: done in $((SECONDS - began)) s" ;;
        124 | 137 | 143) say "$name: stopped after $((SECONDS - began)) s" ;;
        *) say "$name: failed ($status) after $((SECONDS - began)) s" && tail -n 12 "$LOGS/$name.log" | cut -c-200 ;;
    esac
    return $status
}

# --- the environment: what the machine has, and the kit's wheels in a folder before it
revision=$(cat "$KIT/REVISION")
SRC=$SCRATCH/src SITE=$SCRATCH/site BIN=$SCRATCH/bin LOGS=$SCRATCH/src/logs/gpu-run
say "vqddm $(cut -c-12 <<<"$revision"), $MINUTES min, $(nproc) cores, $("$PYTHON" --version), scratch $SCRATCH"
if [[ $(cat "$SCRATCH/REVISION" 2>/dev/null) != "$revision" ]]; then
    mkdir -p "$SRC" && tar xzf "$KIT/source.tar.gz" -C "$SRC" && cp "$KIT/REVISION" "$SCRATCH/REVISION"
fi
mkdir -p "$LOGS" "$BIN"
if [[ ! -e $SITE/.whole ]]; then
    "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target "$SITE" \
        "$KIT"/wheels/*.whl >"$LOGS/pip.log" 2>&1 && touch "$SITE/.whole" || { say "pip failed" && tail -5 "$LOGS/pip.log"; }
fi
printf '#!%s\nfrom vqddm.__main__ import main\n\nif __name__ == "__main__":\n    main()\n' "$PYTHON" >"$BIN/vqddm" && chmod +x "$BIN/vqddm"
export PYTHONPATH=$SRC:$SITE PATH=$BIN:$PATH PYTHONUNBUFFERED=1 MPLCONFIGDIR=$SCRATCH/matplotlib
export VQDDM_SAVE_SECONDS=${VQDDM_SAVE_SECONDS:-150} # a training that is stopped saves its state anyway
export GIT_PYTHON_REFRESH=quiet # Snakemake imports it, and there may be no git
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$([[ $REHEARSE ]] && echo 2 || echo 4)} OPENBLAS_NUM_THREADS=4
cd "$SRC" || exit 1
cp -n params.yaml "$SCRATCH/params-committed.yaml" 2>/dev/null
CARD=$(nvidia-smi --query-gpu=name,memory.total,driver_version,clocks.sm --format=csv,noheader 2>/dev/null | head -1)
say "card: ${CARD:-none}; set up"
if [[ $CARD ]]; then # how busy it was, every 5 seconds
    timeout "$END" nvidia-smi -l 5 --query-gpu=timestamp,utilization.gpu,memory.used,power.draw --format=csv,noheader \
        >>"$LOGS/card.csv" 2>/dev/null &
    CARD_LOG=$!
fi

D=faces256 M=results/gpu/metrics/faces256 MAIN=refit_k1024_p20000 CONFIG=$SCRATCH/budget.yaml
snake() {
    rm -f .snakemake/locks/* # of a run that was stopped; no other is at work here
    exec "$PYTHON" -m snakemake --scheduler greedy --cores all --resources on_gpu="${ON_GPU:-3}" --keep-going \
        --set-threads measure_samples=4 measure_reconstruction=4 measure_floor=4 diffuse_codes=4 measure_inpainting=4 film_sampling=4 \
        --configfile "$CONFIG" --config suite=gpu --nocolor "$@"
}
export -f snake && export PYTHON CONFIG
told() { # what Snakemake's log says of failed jobs, and how far it came
    [[ -e $1 ]] || return
    grep -E '^Error in rule' "$1" | sort | uniq -c | tail -n 6
    grep -E '[0-9]+ of [0-9]+ steps' "$1" | tail -n 1
}
suite() { # suite NAME TARGET…: what is finished of the jobs that these targets need
    local name=$1
    shift
    part "$name" 100000 bash -c 'snake "$@"' snake "$@"
    told "$LOGS/$name.log"
}

# --- what is finished is packed again and again, so that little is lost where the machine goes away
pack() {
    local files=()
    mkdir -p results/gpu && cp "$CONFIG" results/gpu/budget.yaml 2>/dev/null
    for file in results/gpu results/paper/cost.csv logs benchmarks gpu-sheets; do [[ -e $file ]] && files+=("$file"); done
    mapfile -t curves < <(find models -name '*.csv' 2>/dev/null)
    rm -rf "$SCRATCH/parts" && mkdir "$SCRATCH/parts"
    tar cz "${files[@]}" "${curves[@]}" 2>/dev/null | split -b 15M - "$SCRATCH/parts/results.tar.gz."
    rm -f "$OUT"/results.tar.gz.* && mv "$SCRATCH"/parts/* "$OUT"
    cp "$SCRATCH"/{benchmark,kernels,probe}.csv "$OUT" 2>/dev/null
}
while sleep "$PACK_EVERY" && kill -0 $$ 2>/dev/null; do pack; done >/dev/null 2>&1 & # its `sleep` outlives it, and must hold no output open
PACKER=$!

# --- the pictures are drawn beside the tests and the benchmark
begin_data() {
    [[ -e data/$D/test.json || -n ${DATA:-} ]] && return
    (($(left) >= 5)) || { say "data: left out for want of time" && return; }
    timeout -s TERM -k 20 "$(left)" bash -c 'snake "$@"' snake "data/$D/train.npy" >"$LOGS/data.log" 2>&1 &
    DATA=$!
}
await_data() {
    [[ ${DATA:-} ]] || return 0
    wait "$DATA" || say "data: failed: $(tail -n 3 "$LOGS/data.log" | cut -c-200)"
    say "data: $(du -shL data/$D 2>/dev/null | cut -f1)"
    DATA=""
}
if [[ $REHEARSE ]]; then cp gpu/rehearsal.yaml "$CONFIG"; fi
[[ -e $CONFIG ]] || echo "suite: gpu" >"$CONFIG"
if wanted suite || [[ $PROBE ]]; then begin_data; fi

begin_tests() {
    [[ -e $LOGS/tests.done ]] && return
    [[ ! $REHEARSE ]] || local -x VQDDM_GPU_TESTS_ON=cpu
    part tests "$SECONDS_TESTS" "$PYTHON" -m pytest -v -m gpu -p no:cacheprovider \
        --tb=short tests/test_gpu.py -n 4 && touch "$LOGS/tests.done" &
    TESTS=$!
}
await_tests() {
    [[ ${TESTS:-} ]] || return 0
    wait "$TESTS"
    grep -E '^(FAILED|ERROR)|==.* (passed|failed)' "$LOGS/tests.log" | tail -12 | cut -c-200 | tee -a "$OUT/log.txt"
    TESTS=""
}
alone() { await_tests && await_data; } # nothing of ours beside what is timed
if wanted tests; then begin_tests; fi
[[ ! $REHEARSE ]] || await_tests # two cores do one thing at a time
if wanted benchmark && [[ ! -e $LOGS/benchmark.done ]]; then
    alone
    part benchmark $((SECONDS_BENCHMARK + 25)) "$PYTHON" gpu/benchmark.py --dataset $D --out "$SCRATCH/benchmark.csv" \
        --seconds "$SECONDS_BENCHMARK" ${REHEARSE:+--rehearse} && touch "$LOGS/benchmark.done"
    grep -v '^left out' "$LOGS/benchmark.log" | tail -26 | cut -c-120
fi
SPEEDS=$SCRATCH/benchmark.csv # of this card, if it came as far as what the budget needs, else of an earlier run
grep -q 'sampling steps"*,fast' "$SPEEDS" 2>/dev/null || SPEEDS=$KIT/benchmark.csv
if wanted kernels && [[ ! -e $SCRATCH/kernels.csv ]]; then
    alone
    part kernels "$SECONDS_KERNELS" "$PYTHON" gpu/kernels.py --dataset $D --out "$SCRATCH/kernels.csv" ${REHEARSE:+--rehearse}
    cut -c-110 "$LOGS/kernels.log" | tail -24
fi
if wanted cost && [[ ! -e results/paper/cost.csv ]]; then
    alone
    part cost "$SECONDS_COST" "$PYTHON" gpu/cost.py --suite paper --out results/paper/cost.csv ${REHEARSE:+--dry}
fi

# --- the chain with six steps of each training, to see that it runs on this card
if [[ $SMOKE && ! -e $LOGS/smoke.done ]]; then
    alone
    mkdir -p "$SCRATCH/smoke" && tar xzf "$KIT/source.tar.gz" -C "$SCRATCH/smoke" && cd "$SCRATCH/smoke" || exit 1
    # so many steps that one is recorded, in the precision of the suite
    sed 's/steps: 2,/steps: 6,/; s/precision: "no"/precision: bf16/' gpu/rehearsal.yaml >"$SCRATCH/smoke.yaml"
    CONFIG=$SCRATCH/smoke.yaml PYTHONPATH=$PWD:$SITE part smoke "$SECONDS_SMOKE" bash -c 'snake "$@"' snake \
        $M/$MAIN/prior_samples_2.json $M/$MAIN/prior_likelihood.json $M/$MAIN/reconstruction.json evaluation/gpu/$D/$MAIN/prior_inpainting.npz \
        && touch "$LOGS/smoke.done"
    told "$LOGS/smoke.log"
    mkdir -p "$LOGS/smoke" && cp -r logs/*/* "$LOGS/smoke/" 2>/dev/null
    cd "$SRC" || exit 1
fi

if [[ $PROBE && ! -e $SCRATCH/probe.csv ]]; then
    alone
    part probe "$SECONDS_PROBE" "$PYTHON" gpu/probe.py --dataset $D --out "$SCRATCH/probe.csv" ${REHEARSE:+--rehearse}
    tail -n 4 "$LOGS/probe.log" | cut -c-200
fi

# --- the suite: its trainings are as long as the measured speed allows
if wanted suite; then
    if [[ ! $REHEARSE && ! -e $SCRATCH/budget.done ]]; then
        "$PYTHON" gpu/budget.py --benchmark "$SPEEDS" --dataset $D --out "$CONFIG" --left "$(left)" \
            --vqgan "$SECONDS_VQGAN" --refit "$SECONDS_REFIT" --prior "$SECONDS_PRIOR" --samples "$SECONDS_SAMPLES" \
            --rate "${VQGAN_RATE:-0}" --batch "${VQGAN_BATCH:-0}" >"$LOGS/budget.log" 2>&1 && touch "$SCRATCH/budget.done"
        say "budget: $(tail -n 1 "$LOGS/budget.log" | cut -c-200)"
    fi
    await_data
    T=$("$PYTHON" gpu/page.py --config "$CONFIG" --timesteps)
    # What needs the longest chain goes first; all else fills the card where that leaves it idle.
    suite pictures --omit-from measure_speed --prioritize $M/$MAIN/prior_samples_"${T:-4000}".json \
        $M/vqgan_k1024/prior_samples_"${T:-4000}".json
    if [[ ! -e results/gpu/metrics/paper_counts.json && -e $KIT/paper_counts.json ]]; then
        mkdir -p results/gpu/metrics && cp "$KIT/paper_counts.json" results/gpu/metrics/ # counted, not measured: the same everywhere
    fi
    alone
    suite whole # with the times of a step, which are taken alone on the machine
fi
await_tests

# --- pack: once without the page, then with it as far as time allows
[[ -z ${PACKER:-} ]] || kill "$PACKER" 2>/dev/null
[[ -z ${CARD_LOG:-} ]] || kill "$CARD_LOG" 2>/dev/null
pack
RESERVE=4
part page 45 "$PYTHON" gpu/page.py --config "$CONFIG" --suite gpu --sheets gpu-sheets && cat "$LOGS/page.log" | tail -n 3 | cut -c-200
pack
say "packed: $(du -sh "$OUT" | cut -f1) in $(ls "$OUT" | wc -l) files; metrics: $(find results/gpu/metrics -name '*.json' 2>/dev/null | wc -l)"
exit 0
