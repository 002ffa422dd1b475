#!/usr/bin/env bash
# The product in one page, on a running cluster: submit each verb, follow its log, then ask.
# RAY_ADDRESS is the cluster's dashboard (http://head:8265); STORAGE a place every node reaches.
set -euo pipefail
cd "$(dirname "$0")/.."
storage=${STORAGE:?set STORAGE to a folder or URI that every node of the cluster reaches}
# A job runs the head node's interpreter; PYTHON names it where it is not first on the PATH there.
python=${PYTHON:-python}

submit() { ray job submit --runtime-env jobs/runtime_env.yaml --working-dir . -- "$python" -m "$@"; }

submit aiplat.jobs.ingest source=easy_vqa storage="$storage"
submit aiplat.jobs.train +exp=clip storage="$storage"
submit aiplat.jobs.evaluate model=clip@champion storage="$storage"
submit aiplat.jobs.predict model=clip@champion input.dataset=easy_vqa storage="$storage"
submit aiplat.jobs.serve 'models=[clip@champion]' serve.detach=true storage="$storage"
