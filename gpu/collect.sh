#!/usr/bin/env bash
# Put what came back from the GPU machine (gpu/run.sh) into results/gpu/ and results/paper/cost.csv, in the place of the
# run that is there; `fourth_run/`, which the documentation shows, stays.
#
#   gpu/collect.sh FOLDER
set -euo pipefail
FROM=$(cd "${1:?which folder came back? gpu/collect.sh FOLDER}" && pwd)
cd "$(dirname "$0")/.."
aside=$(mktemp -d)
trap 'rm -rf "$aside"' EXIT
cat "$FROM"/results.tar.gz.* | tar xz -C "$aside"
target=results/gpu
mkdir -p $target/curves $target/sheets results/paper
find $target -mindepth 1 -maxdepth 1 ! -name fourth_run -exec rm -rf {} +
mkdir $target/curves $target/sheets
cp -r "$aside"/results/gpu/. $target/
if [[ -d $target/so_far ]]; then # the page was not whole: what there is of it stands for it
    cp -r $target/so_far/. $target/ && rm -rf $target/so_far
    sed -i 's#](../../../#](../../#g' $target/README.md # it lies a folder higher now
fi
sed 's/, scratch .*//' "$FROM"/log.txt >$target/run.log
cp "$FROM"/{benchmark,probe,kernels}.csv $target/ 2>/dev/null || true
(cd "$aside/models" 2>/dev/null && find . -name '*.csv' -printf '%P\n' || true) | while read -r file; do
    cp "$aside/models/$file" "$target/curves/$(cut -d/ -f2- <<<"$file" | tr / _)"
done
for file in "$aside"/gpu-sheets/*.jpg; do
    [[ ! -e $file ]] || cp "$file" "$target/sheets/$(basename "$file" | cut -d- -f2- | tr - _)"
done
[[ ! -e $aside/results/paper/cost.csv ]] || cp "$aside/results/paper/cost.csv" results/paper/cost.csv
echo "$(find $target -type f ! -path '*/fourth_run/*' | wc -l) files in $target, in the place of the run that was there (git has it)"
