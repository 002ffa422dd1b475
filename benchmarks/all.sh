#!/usr/bin/env bash
# Every benchmark and what it needs: the data, a model that `optimize` chose an engine for, the
# peers' packages. What is there already is not made again. All of it takes hours, of which nothing
# else should want the cores; any of the scripts can be run alone.
#
#   make bench                                    all
#   make bench BENCH="wake_up train_vs_torchrun"  some
set -euo pipefail
cd "$(dirname "$0")/.."
unset PYTHONDONTWRITEBYTECODE # Ray's workers would compile torch anew, each time they start.

# Apart from the storage one works in: endpoints write their usage down, and aliases move.
export STORAGE=${STORAGE:-storage/benchmarks} PEERS=${PEERS:-.peers}
mkdir -p "$STORAGE"

job() { python -m "aiplat.jobs.$1" "${@:2}" storage="$STORAGE"; }

for source in digits easy_vqa easy_vqa_shapes; do
    [ -d "$STORAGE/datasets/$source" ] || job ingest source="$source"
done

# What a model knows is no matter here, what it computes is: ResNet-50 on 224 pixels, a few steps old.
# Two versions, so that an alias can move.
version() {
    job train +exp=resnet50 name="$1" model.image_size=224 \
        dataset.batch_size=16 loop.max_steps=10 register.name=resnet50 "${@:2}"
}
version bench
version bench_other seed=1 register.alias=null
if [ ! -f "$STORAGE/optimized" ]; then
    job optimize model=resnet50@champion threads=2
    job optimize model=resnet50:2 threads=2 engines=[openvino] precisions=[int8]
    touch "$STORAGE/optimized"
fi

[ -d "$PEERS" ] ||
    uv pip install --quiet --python "$(command -v python)" --target "$PEERS" litserve bentoml

failed=()
for name in ${BENCH:-$(cd benchmarks && grep -l '__main__' -- *.py | sed 's/\.py$//')}; do
    echo "== $name"
    python -m "benchmarks.$name" || failed+=("$name")
done
[ ${#failed[@]} -eq 0 ] || { echo "failed: ${failed[*]}" >&2; exit 1; }
