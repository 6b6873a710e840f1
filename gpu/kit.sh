#!/usr/bin/env bash
# `make gpu-kit`: pack into the ignored folder gpu-kit/ what a GPU machine without network lacks.
# It gets the wheels of gpu/packages.txt, the project's own files as they are committed, and gpu/run.sh.
# Settings: PYTHON (with pip), PYTHON_VERSION of the GPU machine (3.12).
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
VERSION=${PYTHON_VERSION:-3.12}
KIT=gpu-kit
MOST_MB=55

mkdir -p $KIT/wheels
wanted=$(for name in $(grep -v '^#' gpu/packages.txt); do
    pattern=$(sed 's/-/[-_.]/g' <<<"$name")
    grep -ioE "^$pattern==[^ ;]+" requirements.lock || { echo "$name: not in requirements.lock" >&2; exit 1; }
done)
stamp=$( (echo "$VERSION"; echo "$wanted") | sha256sum)
if [[ $(cat $KIT/wheels/.stamp 2>/dev/null) != "$stamp" ]]; then
    rm -rf $KIT/wheels && mkdir -p $KIT/wheels
    platforms=()
    for glibc in 39 35 34 31 28 27 26 24 17 12 5; do platforms+=(--platform "manylinux_2_${glibc}_x86_64"); done
    platforms+=(--platform manylinux2014_x86_64 --platform manylinux1_x86_64)
    for package in $wanted; do
        "$PYTHON" -m pip download --quiet --no-deps --only-binary=:all: --python-version "$VERSION" \
            --implementation cp "${platforms[@]}" -d $KIT/wheels "$package" 2>/dev/null ||
            "$PYTHON" -m pip wheel --quiet --no-deps -w $KIT/wheels "$package" || # given out as source alone
            { echo "$package: no wheel" >&2; exit 1; }
    done
    if ls $KIT/wheels | grep -E 'cp3[0-9]+-cp3' | grep -v "cp${VERSION/./}-\|abi3"; then
        echo "these wheels are of another Python than $VERSION" >&2
        exit 1
    fi
    echo "$stamp" >$KIT/wheels/.stamp
fi
git archive --format=tar.gz -o $KIT/source.tar.gz HEAD -- . ':!results' ':!dvc.lock' ':!dvc.yaml'
git rev-parse HEAD >$KIT/REVISION
[[ -z $(git status --porcelain) ]] || echo "note: what is not committed is not in the kit" >&2
cp gpu/run.sh $KIT/.run.sh && mv $KIT/.run.sh $KIT/run.sh # one that runs keeps its file
cp results/mini/metrics/paper_counts.json $KIT/ 2>/dev/null || true # taken where counting fails there
[[ ! -e results/gpu/benchmark.csv ]] || cp results/gpu/benchmark.csv $KIT/ # an earlier run's speeds
size=$(du -sm $KIT | cut -f1)
echo "$KIT: $size MB, $(ls $KIT/wheels | wc -l) wheels for Python $VERSION, revision $(cut -c-12 $KIT/REVISION)"
((size <= MOST_MB)) || { echo "more than the $MOST_MB MB that may be carried" >&2; exit 1; }
