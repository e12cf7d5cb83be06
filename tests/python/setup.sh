#!/usr/bin/env bash
# Makes .venv in the project's folder with what the Python client needs, and generates the stubs from proto/.
# Does nothing that is done already. The last line of its output is the Python to use.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
here="$root/tests/python"
venv="$root/.venv"
python="$venv/bin/python"

# Tests run side by side: one sets up, the others wait for it.
if command -v flock >/dev/null; then
    exec 9>"$here/.setup.lock"
    flock 9
fi

if ! cmp -s "$here/requirements.txt" "$venv/requirements.txt"; then
    "${PYTHON:-python3}" -m venv --clear "$venv"
    "$python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt" >&2
    cp "$here/requirements.txt" "$venv/requirements.txt"
fi

mkdir -p "$here/generated"
"$python" -m grpc_tools.protoc -I "$root/proto" \
    --python_out="$here/generated" --grpc_python_out="$here/generated" "$root"/proto/combdb/v1/*.proto
echo "$python"
