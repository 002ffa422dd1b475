#!/usr/bin/env bash
# From pictures and questions to an answering endpoint, on this machine: `make demo` runs it.
# STORAGE=folder and PORT=number move what it makes and where it answers.
set -euo pipefail
cd "$(dirname "$0")/.."
unset PYTHONDONTWRITEBYTECODE # Ray's workers would compile torch anew, each time they start.
export STORAGE=${STORAGE:-storage} PORT=${PORT:-8000}

step() { printf '\n== %s\n' "$*"; }

step "1/4 ingest: pictures, and questions about them"
python -m aiplat.jobs.ingest source=easy_vqa storage="$STORAGE" cluster.address=local

step "2/4 train and register: CLIP fusion of picture and question"
python -m aiplat.jobs.train +exp=clip storage="$STORAGE" cluster.address=local

step "3/4 serve: clip@champion"
python -m aiplat.jobs.serve 'models=[clip@champion]' storage="$STORAGE" cluster.address=local \
    serve.port="$PORT" &
server=$!
trap 'kill -TERM "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true' EXIT
url="http://127.0.0.1:$PORT"
until python -c "import urllib.request as r; r.urlopen('$url/readyz', timeout=2)" 2>/dev/null; do
    kill -0 "$server" # ends the demo, with what the server said, if it did not start
    sleep 1
done

step "4/4 ask one question, with an API key that is good for an hour"
key=$(python -m aiplat.jobs.keys create owner=demo expires=1h quiet=true storage="$STORAGE")
KEY=$key URL=$url python - <<'PYTHON'
import base64, json, os, pathlib, urllib.request
import easy_vqa

texts, answers, images = easy_vqa.get_test_questions()
picture = pathlib.Path(easy_vqa.get_test_image_paths()[images[0]])
row = {"image": base64.b64encode(picture.read_bytes()).decode(), "text": texts[0]}
request = urllib.request.Request(
    f"{os.environ['URL']}/v1/models/clip:predict",
    json.dumps({"inputs": [row]}).encode(),
    {"Content-Type": "application/json", "Authorization": f"Bearer {os.environ['KEY']}"},
)
reply = json.load(urllib.request.urlopen(request, timeout=60))
storage = pathlib.Path(os.environ["STORAGE"]).resolve()
result = json.loads((storage / "runs/clip/finished.json").read_text())
run = json.loads((storage / "runs/clip/run.json").read_text())
print(f"""
picture          {picture.name}
question         {texts[0]}
answer           {reply['predictions'][0]['label']}    (the right one: {answers[0]})

test accuracy    {result['test_metrics']['accuracy']:.4f}
dataset version  {run['dataset']}
model version    clip:{reply['version']}
model card       {storage}/runs/clip/model/card.md
runs             mlflow ui --backend-store-uri sqlite:///{storage}/mlflow.db
serve it again   python -m aiplat.jobs.serve models=[clip@champion] storage={storage}
its pages        /docs of the endpoint; the Ray dashboard at the address printed in step 3
""")
PYTHON
